//! Memory outside of RAM: frames at given addresses, for a look at the firmware's tables.
//!
//! The library's pools hand out any block; here the address decides which one is split.

use alloc::vec::Vec;

use libd3os::abi::{FrameSize, ObjectType};
use libd3os::cap::Frame;
use libd3os::memory::{Kernel, MemoryError, SlotPool};
use libd3os::start::layout::PAGE_BITS;
use libd3os::sys::Cptr;

/// An untyped of which nothing is used.
#[derive(Clone, Copy, Debug)]
struct Piece {
    slot: u64,
    paddr: u64,
    bits: u8,
}

impl Piece {
    fn contains(&self, paddr: u64) -> bool {
        paddr.wrapping_sub(self.paddr) >> self.bits == 0
    }

    /// Both halves of this piece, as new pieces.
    fn halves(
        self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
    ) -> Result<[Self; 2], MemoryError> {
        let bits = self.bits - 1;
        let first = slots.take_run(2)?;
        kernel.retype(self.slot, ObjectType::Untyped, bits, first, 2)?;
        let half = |slot, paddr| Self { slot, paddr, bits };
        Ok([half(first, self.paddr), half(first + 1, self.paddr + (1 << bits))])
    }
}

/// Device memory that the kernel handed out.
#[derive(Debug, Default)]
pub(super) struct DeviceMemory {
    pieces: Vec<Piece>,
    frames: Vec<(u64, Frame)>,
}

impl DeviceMemory {
    /// Adds a device untyped.
    pub(super) fn add(&mut self, slot: u64, paddr: u64, bits: u8) {
        self.pieces.push(Piece { slot, paddr, bits });
    }

    /// A frame over the page of physical memory at `paddr`; `None` where the kernel handed out
    /// nothing there. Frames are kept, since device memory can be made into a frame once only.
    pub(super) fn frame(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        paddr: u64,
    ) -> Result<Option<Frame>, MemoryError> {
        if let Some((_, frame)) = self.frames.iter().find(|(page, _)| *page == paddr) {
            return Ok(Some(*frame));
        }
        let Some(index) = self.pieces.iter().position(|piece| piece.contains(paddr)) else {
            return Ok(None);
        };
        let mut piece = self.pieces.swap_remove(index);
        while piece.bits > PAGE_BITS {
            let [low, high] = piece.halves(kernel, slots)?;
            let (wanted, spare) = if high.contains(paddr) { (high, low) } else { (low, high) };
            self.pieces.push(spare);
            piece = wanted;
        }
        let slot = slots.take()?;
        kernel.retype(piece.slot, FrameSize::Small.object_type(), 0, slot, 1)?;
        let frame = Frame::new(Cptr::new(slot));
        self.frames.push((paddr, frame));
        Ok(Some(frame))
    }
}
