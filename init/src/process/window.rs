//! A part of init's own address space through which it fills and reads other frames, and looks after
//! the rings and ring directories of programs.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on both sides")]

use core::ptr::NonNull;

use libd3os::abi::{CapRights, FrameSize, VmAttributes};
use libd3os::cap::{Capability, Error, Frame};
use libd3os::control::Block;
use libd3os::memory::AddressSpace;
use libd3os::region::Region;
use libd3os::ring::{Directory, Mapping, Pair, RingError, directory_at};
use libd3os::start::layout::{CONTROL, IPC_BUFFER, PAGE_SIZE, RING_SPAN};
use libd3os::sys::Cptr;

use super::kernel::{MEMORY, OwnSlots, VSPACE, own_slot};
use super::memory::Memory;
use super::trouble::{Doing, Refused};

/// Where the window is: 512 GiB in which there is nothing else.
const ADDRESS: u64 = 0x6000_0000_0000;
const BYTES: usize = PAGE_SIZE as usize;

/// Frames of a pair of rings.
pub(super) const PAIR_FRAMES: usize = (RING_SPAN / PAGE_SIZE) as usize;

/// The window. There is one, and only while a method of it runs is anything mapped there.
#[derive(Debug)]
pub(super) struct Window {
    /// A slot for a second capability to a frame that is mapped elsewhere.
    spare: u64,
}

impl Window {
    /// Makes the paging structures over the window.
    pub(super) fn open(memory: &mut Memory) -> Result<Self, Refused> {
        let make = |_: &mut OwnSlots, object| memory.make(object, 0);
        AddressSpace::new(VSPACE)
            .prepare(&mut { MEMORY }, make, ADDRESS, FrameSize::Small)
            .doing("making the copy window")?;
        Ok(Self { spare: memory.slots(1).doing("taking a slot")? })
    }

    /// Fills a frame that is mapped nowhere with zeros.
    pub(super) fn clear(&mut self, frame: Frame) -> Result<(), Error> {
        frame.map(VSPACE, ADDRESS, CapRights::READ_WRITE, VmAttributes::default())?;
        let target = core::ptr::with_exposed_provenance_mut::<u8>(ADDRESS as usize);
        // SAFETY: `frame` is mapped writable at ADDRESS and has so many bytes; nothing else in this
        // program refers to the window.
        unsafe { core::ptr::write_bytes(target, 0, BYTES) };
        frame.unmap()
    }

    /// Works on a program's ring directory, in the frame whose capability is in this slot.
    pub(super) fn with_directory<R>(
        &mut self,
        slot: u64,
        work: impl FnOnce(&Directory) -> R,
    ) -> Result<R, Error> {
        self.with_copy(slot, || {
            // SAFETY: the frame was zeros when it was made, is mapped writable until `work` is done,
            // and is used as a directory only.
            let directory = unsafe { directory_at(window()) };
            directory.map(work).map_err(|_| Error::Alignment)
        })
    }

    /// Works on a program's control block, in the page of its IPC buffer, whose capability is in this
    /// slot.
    pub(super) fn with_control<R>(
        &mut self,
        slot: u64,
        work: impl FnOnce(&Block) -> R,
    ) -> Result<R, Error> {
        const OFFSET: usize = (CONTROL - IPC_BUFFER) as usize;
        self.with_copy(slot, || {
            let block = core::ptr::with_exposed_provenance::<Block>(ADDRESS as usize + OFFSET);
            // SAFETY: the frame was zeros when it was made and is mapped writable until `work` is done;
            // the block lies in it, aligned. It is only atomic words, valid whatever the program
            // has written there.
            Ok(work(unsafe { &*block }))
        })
    }

    /// Maps a frame that is mapped elsewhere, whose capability is in this slot, while `work` runs.
    fn with_copy<R>(
        &mut self,
        slot: u64,
        work: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        let spare = own_slot(self.spare);
        spare.copy_from(own_slot(slot), CapRights::READ_WRITE)?;
        let frame = Frame::from_cptr(Cptr::new(self.spare));
        let mapped = frame.map(VSPACE, ADDRESS, CapRights::READ_WRITE, VmAttributes::default());
        let result = mapped.and_then(|()| work());
        // Deleting the capability unmaps the frame.
        spare.delete()?;
        result
    }

    /// Works on the pair of rings in these frames, which this instance has mapped nowhere by these
    /// capabilities.
    pub(super) fn with_pair<R>(
        &mut self,
        region: Region,
        frames: [Frame; PAIR_FRAMES],
        work: impl FnOnce(&Pair<'_>) -> R,
    ) -> Result<R, Error> {
        for (page, frame) in (0..).zip(frames) {
            let address = ADDRESS + page * PAGE_SIZE;
            frame.map(VSPACE, address, CapRights::READ_WRITE, VmAttributes::default())?;
        }
        // SAFETY: the region's frames are mapped writable until `work` is done; everyone reaches
        // the memory through atomic words only.
        let mapping = unsafe { Mapping::new(region, window()) };
        let result = mapping.and_then(|mapping| Pair::new(mapping.lines()).map(|pair| work(&pair)));
        for frame in frames {
            frame.unmap()?;
        }
        result.map_err(|error| match error {
            RingError::TooSmall | RingError::Misaligned | RingError::Denied => Error::Alignment,
        })
    }

    /// Writes `bytes` into `frame` from `offset` on. What does not fit in the page is left out.
    pub(super) fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        frame.map(VSPACE, ADDRESS, CapRights::READ_WRITE, VmAttributes::default())?;
        let fit = bytes.len().min(BYTES.saturating_sub(offset));
        let target = core::ptr::with_exposed_provenance_mut::<u8>(ADDRESS as usize + offset);
        // SAFETY: `frame` is mapped writable at ADDRESS and `fit` ends within its page; nothing
        // else in this program refers to the window, and `bytes` lies outside of it.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), target, fit) };
        frame.unmap()
    }

    /// Reads from `frame`, from `offset` on, into `bytes`. What lies beyond the page is left as it
    /// is.
    pub(super) fn read(
        &mut self,
        frame: Frame,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<(), Error> {
        frame.map(VSPACE, ADDRESS, CapRights::READ, VmAttributes::default())?;
        let fit = bytes.len().min(BYTES.saturating_sub(offset));
        let source = core::ptr::with_exposed_provenance::<u8>(ADDRESS as usize + offset);
        // SAFETY: `frame` is mapped at ADDRESS and `fit` ends within its page; `bytes` lies
        // outside of the window.
        unsafe { core::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), fit) };
        frame.unmap()
    }
}

fn window() -> NonNull<u8> {
    const PLACE: core::num::NonZeroUsize =
        core::num::NonZeroUsize::new(ADDRESS as usize).expect("the window is not at address 0");
    NonNull::with_exposed_provenance(PLACE)
}
