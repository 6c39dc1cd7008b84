//! Sessions that hold an object's lock and do nothing with it, while others wait: they are put out.
//!
//! Who waits says so now and then; whoever is seen to hold the lock each time, for [`BOUND`], without
//! having made a version meanwhile, stalls. What he has committed is completed, what he has not is forgotten. The
//! objects stay where he has them, but only to be read, so that the transaction that he is in ends by a typed error
//! when it comes to commit; his log is gone. What the rest of that transaction reads may be of several
//! versions; nothing of it is ever committed.
//!
//! That concerns who writes or is about to. Who waits for *readers* waits: a reader that is put out would have
//! to be withdrawn what it looks at, and there is no telling one long look from many short ones.

use core::time::Duration;

use libd3os::region::Rights;
use libd3os::service::pmem::PmemError;
use libd3os_object::ObjectId;
use libd3os_object::control::Slot;

use super::{Left, Medium, Session, Store, World};
use crate::events::{Event, Journal};

/// So long somebody may hold an object for which others wait.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// Somebody waits for somebody else.
pub(super) struct Contest {
    holder: Slot,
    version: u64,
    since: Duration,
}

impl Left {
    /// What a session leaves; the program is shown the objects still, if it is named.
    pub(super) fn of(session: Session, shown_to: Option<u16>) -> Self {
        let Session { slot, principal, objects } = session;
        let objects = objects.into_iter().map(|(id, shown)| (id, shown.rights)).collect();
        Self { slot, principal, objects, shown_to, is_complete: false }
    }
}

impl<M: Medium + Clone> Store<M> {
    /// A program waits for the lock of an object that it has open. When this returns, it can try again.
    pub(crate) fn contest(
        &mut self,
        program: u16,
        id: ObjectId,
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<(), PmemError> {
        self.tidy(journal);
        let session = self.session(program)?;
        let own = session.slot;
        let open = session.objects.get(&id).and(self.open.get(&id)).ok_or(PmemError::NotOpen)?;
        let control = open.mapping.control();
        let (holder, version) = (control.lock().writer(), control.version());
        let Some(holder) = holder.filter(|holder| *holder != own) else {
            self.contests.remove(&id);
            return Ok(());
        };
        let now = world.now();
        let new = || Contest { holder, version, since: now };
        let known = self.contests.entry(id).or_insert_with(new);
        if (known.holder, known.version) != (holder, version) {
            *known = new();
        }
        if now.saturating_sub(known.since) >= BOUND {
            self.contests.remove(&id);
            self.put_out(holder, id, world, journal);
        }
        Ok(())
    }

    fn put_out(&mut self, slot: Slot, id: ObjectId, world: &mut impl World, journal: &Journal) {
        let holder = self.sessions.iter().find(|(_, session)| session.slot == slot);
        if let Some(program) = holder.map(|(program, _)| *program) {
            self.disarm(program, world);
            journal.note(Event::PutOut(program, id));
        } else if let Some(open) = self.open.get(&id)
            && !self.left.iter().any(|left| left.slot == slot && !left.is_complete)
        {
            // It has taken the lock after it was put out, or it is nobody at all.
            open.mapping.control().lock().put_out(slot);
        }
        self.tidy(journal);
    }

    /// Takes a program its log, and all that it can write but controls.
    fn disarm(&mut self, program: u16, world: &mut impl World) {
        let Some(session) = self.sessions.remove(&program) else { return };
        world.withdraw(program, self.log(session.slot));
        for (id, shown) in &session.objects {
            let Some(open) = self.open.get(id) else { continue };
            if shown.rights.contain(Rights::WRITE) {
                world.withdraw(program, open.extent);
                // Without, the program faults when it looks at the object, and ends.
                let _ = world.lend(program, open.extent, Rights::READ);
            }
        }
        self.left.push(Left::of(session, Some(program)));
    }

    /// Withdraws what a program was shown that was put out.
    pub(super) fn hide(&mut self, program: u16, world: &mut impl World) {
        let mut left = core::mem::take(&mut self.left);
        for left in left.iter_mut().filter(|left| left.shown_to == Some(program)) {
            left.objects.keys().for_each(|id| self.withdraw(program, *id, world));
            left.shown_to = None;
        }
        self.left = left;
    }
}
