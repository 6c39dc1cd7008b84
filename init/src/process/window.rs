//! A page of init's own address space through which it fills and reads other frames.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on both sides")]

use libd3os::abi::{CapRights, FrameSize, VmAttributes};
use libd3os::cap::{Error, Frame};
use libd3os::memory::{AddressSpace, RootCNode};
use libd3os::start::layout::PAGE_SIZE;

use super::kernel::{MEMORY, VSPACE};
use super::memory::Memory;
use super::trouble::{Doing, Refused};

/// Where the window is: 512 GiB in which there is nothing else.
const ADDRESS: u64 = 0x6000_0000_0000;
const BYTES: usize = PAGE_SIZE as usize;

/// The window. There is one, and only while a method of it runs is anything mapped there.
#[derive(Debug)]
pub(super) struct Window(());

impl Window {
    /// Makes the paging structures over the window.
    pub(super) fn open(memory: &mut Memory) -> Result<Self, Refused> {
        let make = |_: &mut RootCNode, object| memory.make(object, 0);
        AddressSpace::new(VSPACE)
            .prepare(&mut { MEMORY }, make, ADDRESS, FrameSize::Small)
            .doing("making the copy window")?;
        Ok(Self(()))
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
