//! Blocks of keys and values behind a line that describes them.
//!
//! Where one key or two are compared, as in a hash map's bucket, a key and its value lie side by side,
//! [`Entries`]: what is found is mostly in the line that was compared, and what is added changes one line
//! beside the block's first. Where a key is searched among many, as in a tree's node, the keys lie
//! together, [`Arrays`]: measured with a million records of 64 bytes, looking one up takes a third less.

use alloc::collections::VecDeque;
use core::marker::PhantomData;

use crate::editor::Editor;
use crate::medium::LINE_BYTES;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

/// Counts blocks on a way through them. In an object that somebody else has written they may form
/// circles; but there are no more of them than lines.
pub(super) struct Steps(u64);

impl Steps {
    pub(super) fn in_object(view: &impl View) -> Self {
        Self(view.end() / HEAD_BYTES)
    }

    pub(super) fn step<T>(&mut self, to: PPtr<T>) -> Result<(), PointerError> {
        let outside = PointerError::Outside { offset: to.offset() };
        self.0 = self.0.checked_sub(1).ok_or(outside)?;
        Ok(())
    }
}

/// So many entries wait for the head of their block, and so many for their place in it.
const AHEAD: usize = 4;

/// Puts each entry in place, after what it needs was fetched while earlier ones were put in place, in two
/// steps: `find` has the head of its block fetched, and `approach`, which goes by that, its place.
pub(super) fn ahead<R, E, B>(
    editor: &mut Editor<'_, R>,
    entries: impl IntoIterator<Item = E>,
    mut find: impl FnMut(&Editor<'_, R>, &E) -> Result<B, PointerError>,
    mut approach: impl FnMut(&Editor<'_, R>, &B) -> Result<(), PointerError>,
    mut put: impl FnMut(&mut Editor<'_, R>, E, B) -> Result<(), TxError>,
) -> Result<(), TxError> {
    let (mut far, mut near) = (VecDeque::new(), VecDeque::new());
    let mut entries = entries.into_iter().fuse();
    loop {
        let mut waiting = 0;
        if let Some(entry) = entries.next() {
            let block = find(editor, &entry)?;
            far.push_back((entry, block));
            waiting = AHEAD;
        }
        if let Some((entry, block)) = pop_beyond(&mut far, waiting) {
            approach(editor, &block)?;
            near.push_back((entry, block));
        }
        let waiting = if far.is_empty() { 0 } else { AHEAD };
        match pop_beyond(&mut near, waiting) {
            Some((entry, block)) => put(editor, entry, block)?,
            None if far.is_empty() => return Ok(()),
            None => {}
        }
    }
}

/// Takes the first one, unless no more than so many are waiting.
fn pop_beyond<E>(queue: &mut VecDeque<E>, waiting: usize) -> Option<E> {
    if queue.len() > waiting { queue.pop_front() } else { None }
}

/// Bytes of the line that describes a block.
pub(super) const HEAD_BYTES: u64 = LINE_BYTES as u64;

/// A block that begins with a head, followed by `N` of `A`, then by `N` of `B`. Where it costs little room,
/// no `B` lies in two lines: then it is changed with one, and written back as one.
pub(super) struct Arrays<A, B> {
    types: PhantomData<fn() -> (A, B)>,
}

impl<A: Persist, B: Persist> Arrays<A, B> {
    /// From one `B` to the next.
    const STRIDE: u64 = {
        let (bytes, whole) = (size_of::<B>() as u64, (size_of::<B>() as u64).next_power_of_two());
        if whole <= HEAD_BYTES && bytes * 8 >= whole * 7 { whole } else { bytes }
    };
    const ALIGN: u64 = {
        let lines = Self::STRIDE.is_power_of_two() && Self::STRIDE <= HEAD_BYTES;
        if lines { HEAD_BYTES } else { align_of::<B>() as u64 }
    };

    /// How many fit into a block of so many bytes, with one more of `B` if so; so many at least, and at
    /// most.
    pub(super) const fn fit(bytes: u64, more: u64, least: u64, most: u64) -> u64 {
        let mut count = least;
        while count < most && Self::bytes(count + 1, more) <= bytes {
            count += 1;
        }
        count
    }

    /// Where the second array begins.
    const fn second(count: u64) -> u64 {
        let end = HEAD_BYTES + count * size_of::<A>() as u64;
        end.next_multiple_of(Self::ALIGN)
    }

    /// How long the block is, if there are so many more of `B`.
    pub(super) const fn bytes(count: u64, more: u64) -> u64 {
        Self::second(count) + (count + more) * Self::STRIDE
    }

    pub(super) const fn first_at<H>(block: PPtr<H>, index: u64) -> PPtr<A> {
        block.byte_add(HEAD_BYTES + index * size_of::<A>() as u64)
    }

    pub(super) const fn second_at<H>(block: PPtr<H>, count: u64, index: u64) -> PPtr<B> {
        block.byte_add(Self::second(count) + index * Self::STRIDE)
    }

    /// Has the head and all of the first array fetched, where that is a few lines.
    #[inline]
    pub(super) fn prefetch<H>(view: &impl View, block: PPtr<H>, count: u64) {
        let bytes = count * size_of::<A>() as u64;
        if bytes <= FEW_LINES * HEAD_BYTES {
            view.prefetch_bytes(block, HEAD_BYTES + bytes);
        }
    }
}

/// So many lines are worth to be fetched before it is known which is needed.
const FEW_LINES: u64 = 8;

/// A block that begins with a head, followed by entries of an `A` and a `B` each.
pub(super) struct Entries<A, B> {
    types: PhantomData<fn() -> (A, B)>,
}

impl<A: Persist, B: Persist> Entries<A, B> {
    const SECOND: u64 = (size_of::<A>() as u64).next_multiple_of(align_of::<B>() as u64);
    const STRIDE: u64 = {
        let align =
            if align_of::<A>() > align_of::<B>() { align_of::<A>() } else { align_of::<B>() };
        (Self::SECOND + size_of::<B>() as u64).next_multiple_of(align as u64)
    };

    /// How many fit into a block of so many bytes; so many at least, and at most.
    pub(super) const fn fit(bytes: u64, least: u64, most: u64) -> u64 {
        let count = (bytes - HEAD_BYTES) / Self::STRIDE;
        if count < least {
            least
        } else if count > most {
            most
        } else {
            count
        }
    }

    /// How long the block is.
    pub(super) const fn bytes(count: u64) -> u64 {
        HEAD_BYTES + count * Self::STRIDE
    }

    /// Copies an entry of one block to a place of another.
    pub(super) fn copy<H, R>(
        editor: &mut Editor<'_, R>,
        from: (PPtr<H>, u64),
        to: (PPtr<H>, u64),
    ) -> Result<(), PointerError> {
        let [from, to] = [from, to].map(|(block, index)| Self::first_at(block, index).cast::<u8>());
        editor.copy_elements(from, to, Self::STRIDE)
    }

    pub(super) const fn first_at<H>(block: PPtr<H>, index: u64) -> PPtr<A> {
        block.byte_add(HEAD_BYTES + index * Self::STRIDE)
    }

    pub(super) const fn second_at<H>(block: PPtr<H>, index: u64) -> PPtr<B> {
        block.byte_add(HEAD_BYTES + index * Self::STRIDE + Self::SECOND)
    }
}
