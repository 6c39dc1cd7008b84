//! Untyped memory: pieces for programs, and frames of device memory for a look at it.

use alloc::vec::Vec;

use init::memory::Stock;
use libd3os::abi::{BootInfo, FrameSize, ObjectType};
use libd3os::cap::{Frame, Untyped};
use libd3os::start::layout::PAGE_BITS;
use libd3os::sys::Cptr;

use super::kernel::{Slots, make};
use super::trouble::{Doing, Trouble};

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
    fn halves(self, slots: &mut Slots) -> Result<[Self; 2], Trouble> {
        let bits = self.bits - 1;
        let first = slots.take(2)?;
        let untyped = Untyped::new(Cptr::new(self.slot));
        make(untyped, ObjectType::Untyped, bits, first, 2).doing("splitting untyped memory")?;
        let half = |slot, paddr| Self { slot, paddr, bits };
        Ok([half(first, self.paddr), half(first + 1, self.paddr + (1 << bits))])
    }
}

/// The untyped memory that nobody uses yet.
#[derive(Debug)]
pub(super) struct Memory {
    ram: Vec<Piece>,
    device: Vec<Piece>,
    frames: Vec<(u64, Frame)>,
    /// Bytes of RAM that the kernel handed out.
    pub(super) total: u64,
}

impl Memory {
    /// What the kernel handed out.
    pub(super) fn new(info: &BootInfo) -> Self {
        let slots = info.untyped.start..info.untyped.end;
        let pieces = slots.zip(&info.untyped_list).map(|(slot, descriptor)| {
            let piece = Piece { slot, paddr: descriptor.paddr, bits: descriptor.size_bits };
            (descriptor.is_device != 0, piece)
        });
        let (device, ram): (Vec<_>, Vec<_>) = pieces.partition(|(is_device, _)| *is_device);
        let plain = |pieces: Vec<(bool, Piece)>| -> Vec<Piece> {
            pieces.into_iter().map(|(_, piece)| piece).collect()
        };
        let ram = plain(ram);
        let total = ram.iter().map(|piece| 1u64 << piece.bits).sum();
        Self { ram, device: plain(device), frames: Vec::new(), total }
    }

    /// The free memory by size.
    pub(super) fn stock(&self) -> Stock {
        let mut stock = Stock::default();
        self.ram.iter().for_each(|piece| stock.add(piece.bits));
        stock
    }

    /// A piece of `1 << bits` bytes, cut from the smallest that is large enough, as
    /// [`Stock::take`] does.
    pub(super) fn take(&mut self, slots: &mut Slots, bits: u8) -> Result<Untyped, Trouble> {
        let fitting = self.ram.iter().enumerate().filter(|(_, piece)| piece.bits >= bits);
        let Some((index, _)) = fitting.min_by_key(|(_, piece)| piece.bits) else {
            let available = self.stock().bytes();
            return Err(Trouble::Memory { needed: 1 << bits, available });
        };
        let mut piece = self.ram.swap_remove(index);
        while piece.bits > bits {
            let [kept, spare] = piece.halves(slots)?;
            self.ram.push(spare);
            piece = kept;
        }
        Ok(Untyped::new(Cptr::new(piece.slot)))
    }

    /// A frame over the page of physical memory at `paddr`, which lies outside of RAM; `None`
    /// where the kernel handed out nothing there. Frames are kept, since device memory
    /// can be made into a frame once only.
    pub(super) fn device_frame(
        &mut self,
        slots: &mut Slots,
        paddr: u64,
    ) -> Result<Option<Frame>, Trouble> {
        if let Some((_, frame)) = self.frames.iter().find(|(page, _)| *page == paddr) {
            return Ok(Some(*frame));
        }
        let Some(index) = self.device.iter().position(|piece| piece.contains(paddr)) else {
            return Ok(None);
        };
        let mut piece = self.device.swap_remove(index);
        while piece.bits > PAGE_BITS {
            let [low, high] = piece.halves(slots)?;
            let (wanted, spare) = if high.contains(paddr) { (high, low) } else { (low, high) };
            self.device.push(spare);
            piece = wanted;
        }
        let slot = slots.take(1)?;
        let untyped = Untyped::new(Cptr::new(piece.slot));
        make(untyped, FrameSize::Small.object_type(), 0, slot, 1).doing("making a device frame")?;
        let frame = Frame::new(Cptr::new(slot));
        self.frames.push((paddr, frame));
        Ok(Some(frame))
    }
}
