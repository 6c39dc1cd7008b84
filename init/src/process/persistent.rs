//! Persistent memory in programs' windows: pieces of it, mapped while somebody looks at them.

use alloc::collections::BTreeMap;

use init::supervise::ProgramNumber;
use libd3os::abi::{CapRights, VmAttributes};
use libd3os::call::Caller;
use libd3os::cap::Frame;
use libd3os::region::Rights;
use libd3os::service::log::Level;
use libd3os::service::persistent::{Persistent, PersistentError};
use libd3os::service::supervisor::CapabilityInfo;
use libd3os::start::layout::{PERSISTENT_BYTES, PERSISTENT_PLACES, PERSISTENT_WINDOW};
use libd3os::sys::Cptr;

use init::own::row;

use super::kernel::own_slot;
use super::memory::Memory;
use super::program::Program;
use super::serve::program_of;
use super::system::System;
use super::trouble::{Doing, Refused};

/// What is shown where: by program and place.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<(ProgramNumber, u16), Shown>);

/// A piece in a place: the slot of the capability by which it is mapped there.
#[derive(Clone, Copy, Debug)]
struct Shown {
    slot: u64,
    paddr: u64,
}

impl Persistent for System {
    fn show(
        &mut self,
        caller: Caller,
        place: u16,
        range: u16,
        offset: u64,
    ) -> Result<Rights, PersistentError> {
        let number = place_of(caller, place)?;
        let site = &mut self.site;
        let (windows, memory) = (&mut site.held.persistent, &mut site.platform.memory);
        let piece = site.held.devices.persistent(range, offset);
        let program = site.programs.get(number.index()).ok_or(PersistentError::Refused)?;
        let done = windows.hide(number, place, memory).and_then(|()| match piece {
            Ok(piece) => windows.show((number, place), piece, program, memory),
            Err(_) => Ok(()),
        });
        let (_, rights) = piece?;
        self.said(done).map(|()| rights)
    }

    fn hide(&mut self, caller: Caller, place: u16) -> Result<(), PersistentError> {
        let number = place_of(caller, place)?;
        let memory = &mut self.site.platform.memory;
        let done = self.site.held.persistent.hide(number, place, memory);
        self.said(done)
    }
}

/// Whose place it is, if there is such a place.
fn place_of(caller: Caller, place: u16) -> Result<ProgramNumber, PersistentError> {
    if place >= PERSISTENT_PLACES {
        return Err(PersistentError::NoSuchPlace(place));
    }
    program_of(caller).ok_or(PersistentError::Refused)
}

impl System {
    /// What the caller is told; what it cannot know goes into the log.
    fn said(&mut self, done: Result<(), Refused>) -> Result<(), PersistentError> {
        done.map_err(|refused| {
            self.note(Level::Error, format_args!("{refused}"));
            PersistentError::Refused
        })
    }
}

impl Windows {
    fn show(
        &mut self,
        (number, place): (ProgramNumber, u16),
        (paddr, rights): (u64, Rights),
        program: &Program,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let frame = memory.persistent_frame(paddr)?;
        let slot = memory.slots(1).doing("taking a slot for persistent memory")?;
        // From here on it is taken away again when anything fails.
        self.0.insert((number, place), Shown { slot, paddr });
        let rights = match rights.contain(Rights::WRITE) {
            true => CapRights::READ_WRITE,
            false => CapRights::READ,
        };
        let address = PERSISTENT_WINDOW + u64::from(place) * PERSISTENT_BYTES;
        let copied = own_slot(slot).copy_from(own_slot(frame), rights);
        let copy = Frame::new(Cptr::new(slot));
        let vspace = program.vspace();
        let mapped = copied
            .and_then(|()| copy.map(vspace, address, rights, VmAttributes::WriteBack))
            .doing("mapping persistent memory");
        mapped.or_else(|refused| self.hide(number, place, memory).and(Err(refused)))
    }

    /// Empties a place. A piece that nobody looks at any more gives its capabilities back.
    fn hide(
        &mut self,
        number: ProgramNumber,
        place: u16,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let Some(Shown { slot, paddr }) = self.0.remove(&(number, place)) else { return Ok(()) };
        own_slot(slot).delete().doing("unmapping persistent memory")?;
        memory.give_back_slots(slot, 1);
        match self.0.values().any(|other| other.paddr == paddr) {
            true => Ok(()),
            false => memory.give_up_frame(paddr),
        }
    }

    /// Empties all places of a program, which has ended.
    pub(super) fn close(
        &mut self,
        number: ProgramNumber,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let places: alloc::vec::Vec<u16> =
            self.0.range((number, 0)..=(number, u16::MAX)).map(|((_, place), _)| *place).collect();
        places.into_iter().try_for_each(|place| self.hide(number, place, memory))
    }

    /// Empties all places: what they show is not what it was.
    pub(super) fn close_all(&mut self, memory: &mut Memory) -> Result<(), Refused> {
        let places: alloc::vec::Vec<_> = self.0.keys().copied().collect();
        places.into_iter().try_for_each(|(number, place)| self.hide(number, place, memory))
    }

    /// Rows for what `caps init` shows.
    pub(super) fn rows(&self) -> impl Iterator<Item = CapabilityInfo> {
        self.0.values().map(|shown| {
            let detail = alloc::format!("persistent memory at {:#x}, shown", shown.paddr);
            row(shown.slot, "frame", detail)
        })
    }
}
