//! The board in this init's address space, and the line at which it is woken.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on both sides")]

use core::num::NonZeroUsize;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::AtomicU64;

use init::badge::LINE_BADGE;
use init::board::{HEADER_BYTES, LINK_BYTES, POST_BYTES, StatusPage, clear, post_offset, region};
use init::message::Link;
use init::rings::INIT_LINE;
use libd3os::abi::{CapRights, FrameSize};
use libd3os::cap::{IrqHandler, Signal};
use libd3os::memory::{AddressSpace, MemoryError};
use libd3os::ring::{CoreBell, Line, Mapping};
use libd3os::start::layout::PAGE_SIZE;
use libd3os::sys::Cptr;

use super::kernel::{IRQ_CONTROL, MEMORY, OwnSlots, VSPACE, own_slot};
use super::memory::Memory;
use super::resources::Shared;
use super::trouble::{Doing, Refused};

/// Where the board is: 512 GiB in which there is nothing else.
const ADDRESS: u64 = 0x6100_0000_0000;

/// The connection between two inits.
pub(super) type InitLink = Link<&'static [Line], CoreBell>;

/// The part of the board that this init has mapped, for good.
#[derive(Debug)]
pub(super) struct Board {
    space: AddressSpace,
}

impl Board {
    /// Nothing of it yet.
    pub(super) fn new() -> Self {
        Self { space: AddressSpace::new(VSPACE) }
    }

    /// Maps the header.
    pub(super) fn header(&mut self, memory: &mut Memory) -> Result<&'static [AtomicU64], Refused> {
        self.map(memory, 0..HEADER_BYTES)?;
        Ok(words(0, HEADER_BYTES))
    }

    /// Maps the post of a core.
    pub(super) fn post(&mut self, memory: &mut Memory, core: u32) -> Result<Post, Refused> {
        let offset = post_offset(core);
        self.map(memory, offset..offset + POST_BYTES)?;
        let impossible = MemoryError::OutOfMemory { bits: FrameSize::Small.bits() };
        let status = StatusPage::new(words(offset + LINK_BYTES, POST_BYTES - LINK_BYTES));
        let status = status.ok_or(impossible).doing("reading the board")?;
        Ok(Post { offset, status })
    }

    fn map(&mut self, memory: &mut Memory, bytes: Range<u64>) -> Result<(), Refused> {
        for offset in bytes.step_by(PAGE_SIZE as usize) {
            let frame = (memory.pool_frame(offset)?, FrameSize::Small);
            let make = |_: &mut OwnSlots, object| memory.make(object, 0);
            let rights = CapRights::READ_WRITE;
            self.space
                .map(&mut { MEMORY }, make, frame, ADDRESS + offset, rights)
                .doing("mapping the board")?;
        }
        Ok(())
    }
}

/// A core's post.
#[derive(Clone, Copy, Debug)]
pub(super) struct Post {
    offset: u64,
    /// Its heartbeat and status.
    pub(super) status: StatusPage<'static>,
}

/// Which end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkEnd {
    /// Core 0's.
    System,
    /// The post's core's.
    Hand,
}

impl Post {
    /// Clears all of it, before the other side is told of it.
    pub(super) fn clear(&self) {
        clear(words(self.offset, POST_BYTES));
    }

    /// One end of its link, which must be cleared or the other end's. `None` only if the board were
    /// too small for its own rings.
    pub(super) fn link(&self, end: LinkEnd, bell: CoreBell) -> Option<InitLink> {
        let region = region(self.offset, LINK_BYTES)?;
        let base = NonNull::with_exposed_provenance(NonZeroUsize::new(address(self.offset))?);
        // SAFETY: a post exists for mapped memory only, which is never unmapped; both inits reach
        // it through atomic words only.
        let mapping = unsafe { Mapping::new(region, base) }.ok()?;
        let (commands, reports) = mapping.split_at(LINK_BYTES / 2).ok()?;
        let link = match end {
            LinkEnd::System => Link::new(commands.lines(), reports.lines(), bell),
            LinkEnd::Hand => Link::new(reports.lines(), commands.lines(), bell),
        };
        link.ok()
    }
}

fn address(offset: u64) -> usize {
    (ADDRESS + offset) as usize
}

/// Words of the board, all of which the caller has mapped.
fn words(offset: u64, bytes: u64) -> &'static [AtomicU64] {
    let base = ptr::with_exposed_provenance::<AtomicU64>(address(offset));
    // SAFETY: `Board` has mapped the memory for good, a page begins at a word, and words that
    // others change at any time are what atomic words are for.
    unsafe { slice::from_raw_parts(base, (bytes / 8) as usize) }
}

/// Takes init's own line, so that signals of other inits end its waiting.
pub(super) fn take_line(shared: &Shared, memory: &mut Memory) -> Result<IrqHandler, Refused> {
    let slot = memory.slots(1).doing("taking a slot")?;
    let badged = shared.signaller(None, LINE_BADGE, memory)?;
    IRQ_CONTROL.get_signal(own_slot(slot), INIT_LINE.into()).doing("taking init's signal line")?;
    let line = IrqHandler::new(Cptr::new(slot));
    line.set_notification(badged).and_then(|()| line.ack()).doing("listening to other cores")?;
    Ok(line)
}

/// What wakes the init of another core.
pub(super) fn bell_of(
    core: u32,
    line: IrqHandler,
    shared: &Shared,
    memory: &mut Memory,
) -> Result<CoreBell, Refused> {
    let slot = memory.slots(1).doing("taking a slot")?;
    IRQ_CONTROL
        .issue_signal(own_slot(slot), core, INIT_LINE.into())
        .doing("making the bell of another core")?;
    Ok(CoreBell { peer: Signal::new(Cptr::new(slot)), own: shared.own_notification(), line })
}
