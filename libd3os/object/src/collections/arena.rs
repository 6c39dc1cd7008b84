//! Values that are given back together.

use alloc::vec::Vec;

use crate::editor::Editor;
use crate::medium::LINE_BYTES;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

use super::node::Steps;

/// Takes values one after the other and gives all of them back at once: for what belongs together, a
/// graph for example, whose parts need not be found one by one to be given back.
#[derive(Clone, Copy, Debug, Default, Persist)]
#[repr(C)]
pub struct PArena {
    block: PPtr<Block>,
    used: u64,
}

/// What a block of the heap begins with.
#[derive(Clone, Copy, Persist)]
#[repr(C)]
struct Block {
    next: PPtr<Self>,
    bytes: u64,
}

/// A block takes two pages, of which the heap needs a line.
const BLOCK_BYTES: u64 = 2 * 4096 - LINE_BYTES as u64;
const FIRST: u64 = size_of::<Block>() as u64;

impl PPtr<PArena> {
    /// Takes a place for this value and puts it there.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn alloc<T: Persist, B>(
        self,
        editor: &mut Editor<'_, B>,
        value: T,
    ) -> Result<PPtr<T>, TxError> {
        let place = self.take(editor, size_of::<T>() as u64, align_of::<T>() as u64)?.cast();
        editor.set(place, value)?;
        Ok(place)
    }

    /// Takes a place for copies of these elements.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn alloc_slice<T: Persist + Copy, B>(
        self,
        editor: &mut Editor<'_, B>,
        values: &[T],
    ) -> Result<PPtr<T>, TxError> {
        let place = self.take(editor, size_of_val(values) as u64, align_of::<T>() as u64)?.cast();
        editor.modify_slice(place, values.len())?.copy_from_slice(values);
        Ok(place)
    }

    /// Gives everything back.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn clear<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        for block in self.blocks(editor)? {
            editor.free(block)?;
        }
        Ok(editor.set(self, PArena::default())?)
    }

    /// The blocks that the arena has of the heap.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn blocks(self, view: &impl View) -> Result<Vec<PPtr<u8>>, PointerError> {
        let (mut blocks, mut steps) = (Vec::new(), Steps::in_object(view));
        let mut block = view.get(self)?.block;
        while !block.is_null() {
            steps.step(block)?;
            blocks.push(block.cast());
            block = view.get(block)?.next;
        }
        Ok(blocks)
    }

    fn take<B>(
        self,
        editor: &mut Editor<'_, B>,
        bytes: u64,
        align: u64,
    ) -> Result<PPtr<u8>, TxError> {
        let PArena { block, used } = *editor.get(self)?;
        let room = if block.is_null() { 0 } else { editor.get(block)?.bytes };
        if let Some(end) = end(used, bytes, align).filter(|end| *end <= room) {
            editor.modify(self)?.used = end;
            return Ok(block.byte_add(end - bytes));
        }
        let outside = PointerError::Outside { offset: self.offset() };
        let end = end(FIRST, bytes, align).ok_or(outside)?;
        let size = end.max(BLOCK_BYTES);
        let new = editor.alloc_bytes(size, LINE_BYTES as u64)?.cast();
        editor.set(new, Block { next: block, bytes: size })?;
        editor.set(self, PArena { block: new, used: end })?;
        Ok(new.byte_add(end - bytes))
    }
}

/// Where so many aligned bytes end if they are put behind these.
fn end(used: u64, bytes: u64, align: u64) -> Option<u64> {
    used.checked_next_multiple_of(align)?.checked_add(bytes)
}
