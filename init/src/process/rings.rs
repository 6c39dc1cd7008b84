//! Pairs of rings in the programs of this core: mapped and taken away, with what wakes their peers.

use init::memory::PageUse;
use init::message::Attachment;
use libd3os::abi::CapRights;
use libd3os::call::Caller;
use libd3os::cap::{Capability, Frame, IrqHandler, Notification};
use libd3os::start::layout::{PAGE_SIZE, RING_SPAN, RING_WINDOW};
use libd3os::sys::Cptr;

use super::kernel::{IRQ_CONTROL, own_slot};
use super::memory::Memory;
use super::program::Program;
use super::trouble::{Doing, Refused};
use super::window::{PAIR_FRAMES, Window};

/// A pair of rings that is mapped in a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    place: u16,
    /// The first of init's slots for the capabilities by which it is mapped.
    frames: u64,
}

impl Program {
    /// Gives the program, which is being made, a signal line of this core.
    pub(super) fn hang_bell(&self, line: u8, own: Notification) -> Result<(), Refused> {
        let handler = own_slot(self.handler);
        IRQ_CONTROL.get_signal(handler, line.into()).doing("taking its signal line")?;
        let bell = IrqHandler::new(Cptr::new(self.handler));
        bell.set_notification(self.bell).and_then(|()| bell.ack()).doing("binding its line")?;
        let slots = self.ring_slots();
        let own = own_slot(own.cptr().address());
        self.slot(slots.handler)
            .copy_from(handler, CapRights::ALL)
            .and_then(|()| self.slot(slots.notification).copy_from(own, CapRights::READ))
            .doing("granting its bell")
    }

    /// Maps a pair and says so.
    pub(super) fn attach(
        &mut self,
        pair: &Attachment,
        window: &mut Window,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        self.detach(pair.place, memory)?;
        let frames = memory.slots(PAIR_FRAMES as u64).doing("taking slots")?;
        // From here on a failure leaves what `detach` or the program's end clears away.
        self.attached.push(Attached { place: pair.place, frames });
        self.map_pair(pair, frames, memory)?;
        let bell = self.ring_slots().bell(pair.place);
        IRQ_CONTROL
            .issue_signal(self.slot(bell), pair.peer.core, pair.peer.line.into())
            .doing("granting a peer's bell")?;
        let directory = self.frame_for(PageUse::RingDirectory);
        let is_client = u32::from(Caller(pair.caller).program()) == pair.program.number();
        window
            .with_directory(directory, |entries| match is_client {
                true => entries.attach_service(pair.place, bell, pair.place),
                false => entries.attach_client(pair.place, bell, pair.caller),
            })
            .doing("writing a ring directory")?;
        self.wake();
        Ok(())
    }

    /// Says that there is no pair at this place any longer. Its memory stays.
    pub(super) fn retract(&mut self, place: u16, window: &mut Window) -> Result<(), Refused> {
        let directory = self.frame_for(PageUse::RingDirectory);
        window
            .with_directory(directory, |entries| entries.detach(place))
            .doing("writing a ring directory")?;
        self.wake();
        Ok(())
    }

    /// Takes the pair at this place away, if there is one. What the directory says stays.
    pub(super) fn detach(&mut self, place: u16, memory: &mut Memory) -> Result<(), Refused> {
        let Some(index) = self.attached.iter().position(|known| known.place == place) else {
            return Ok(());
        };
        let known = self.attached.swap_remove(index);
        let bell = self.ring_slots().bell(place);
        self.slot(bell).delete().doing("withdrawing a peer's bell")?;
        drop_frames(known, memory)
    }

    /// Wakes the program: something happened in its rings.
    pub(super) fn wake(&self) {
        self.bell.signal();
    }

    /// Takes everything that the program has of rings, without a word: it does not run any more.
    pub(super) fn drop_rings(&mut self, memory: &mut Memory) -> Result<(), Refused> {
        for known in core::mem::take(&mut self.attached) {
            drop_frames(known, memory)?;
        }
        if self.handler == 0 {
            return Ok(());
        }
        own_slot(self.handler).delete().doing("giving back a signal line")
    }

    fn map_pair(&self, pair: &Attachment, slots: u64, memory: &mut Memory) -> Result<(), Refused> {
        let base = RING_WINDOW + u64::from(pair.place) * RING_SPAN;
        let frames: [Frame; PAIR_FRAMES] = memory.pool_frames(&pair.region)?;
        for (page, source) in (0..).zip(frames) {
            let source = own_slot(source.cptr().address());
            let copy = Frame::new(Cptr::new(slots + page));
            own_slot(slots + page)
                .copy_from(source, CapRights::READ_WRITE)
                .and_then(|()| {
                    let address = base + page * PAGE_SIZE;
                    let attributes = libd3os::abi::VmAttributes::default();
                    copy.map(self.vspace(), address, CapRights::READ_WRITE, attributes)
                })
                .doing("mapping rings")?;
        }
        Ok(())
    }
}

/// Deleting a frame's capability unmaps it.
fn drop_frames(known: Attached, memory: &mut Memory) -> Result<(), Refused> {
    for page in 0..PAIR_FRAMES as u64 {
        own_slot(known.frames + page).delete().doing("unmapping rings")?;
    }
    memory.give_back_slots(known.frames, PAIR_FRAMES as u64);
    Ok(())
}
