//! Deleting and revoking, in steps of bounded work between which an interrupt can be let in.
//!
//! Deleting the last capability to a CNode or thread deletes what is in its slots, which may be
//! the last capabilities to further ones, to any depth and in circles. There is no stack for that:
//!
//! - The capability under deletion becomes a *zombie*. Its cursor moves from the object's last slot
//!   to its first and empties each slot it passes.
//! - A CNode or thread whose last capability is met at the cursor becomes a zombie too. It trades
//!   places with what lies at its own cursor, so that it now rests in the last slot of its own
//!   object that may hold something (its *waiting* place, which tells object and cursor), and joins
//!   the first zombie's worklist: a list, linked both ways, of waiting zombies.
//! - When the first zombie's object is empty, the slot under deletion takes over a zombie from the
//!   worklist, until there is none.
//!
//! ```text
//!  T: zombie of A ──next──▶ B[3]: zombie of B ──next──▶ C[1]: zombie of C
//!     cursor A[5]               (cursor B[3])              (cursor C[1])
//! ```
//!
//! Every state between two steps is a state the system can stay in for ever: a thread that is
//! killed amid a deletion leaves zombies, which are capabilities like others. They stay in the
//! derivation list, so the memory of their objects is not reused before they are gone, and revoking
//! the untyped finds each of them, also a waiting one, which then leaves the worklist.
//!
//! A zombie can lie in a slot of its own object, where circles lead: the cursor skips it. It then
//! is the last thing in the object, and goes together with it.

use crate::cap::{RawCap, tag};
use crate::{Cap, Kernel, Machine, PhysAddr, Ref, Slot, Zombie, ZombieKind, ZombieState};
use d3os_abi::CapRights;

/// An interrupt waits: what was done is kept, and the operation is to be started again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preempted;

/// Units of work, of a few hundred instructions at most, between two questions whether an interrupt
/// waits: asking takes seven slow reads of the interrupt controller.
const PREEMPTION_INTERVAL: u32 = if cfg!(test) { 1 } else { 16 };

/// What is left to do after a step of a deletion.
enum Step {
    Done,
    /// Go on with this slot.
    Continue(Ref<Slot>),
}

impl<M: Machine> Kernel<M> {
    /// Empties `slot`; the last capability to an object destroys the object.
    ///
    /// # Errors
    /// [`Preempted`] where it is to be called again.
    pub(crate) fn delete(&mut self, slot: Ref<Slot>) -> Result<(), Preempted> {
        let mut target = slot;
        loop {
            match self.delete_step(target)? {
                Step::Done => return Ok(()),
                Step::Continue(next) => target = next,
            }
            self.preemption_point()?;
        }
    }

    /// Deletes everything that was derived from the capability in `slot`.
    ///
    /// # Errors
    /// [`Preempted`] where it is to be called again.
    pub(crate) fn revoke(&mut self, slot: Ref<Slot>) -> Result<(), Preempted> {
        while let Some(child) = self.first_child(slot) {
            self.delete(child)?;
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Counts a unit of work; after enough of them looks whether an interrupt waits (the timer's,
    /// when the budget is used up, is one of them).
    ///
    /// # Errors
    /// [`Preempted`] if one does.
    pub(crate) fn preemption_point(&mut self) -> Result<(), Preempted> {
        self.work += 1;
        if self.work < PREEMPTION_INTERVAL {
            return Ok(());
        }
        self.work = 0;
        if self.machine.interrupt_pending() { Err(Preempted) } else { Ok(()) }
    }

    #[inline(always)]
    fn delete_step(&mut self, target: Ref<Slot>) -> Result<Step, Preempted> {
        let cap = self.get(target).raw;
        match cap.tag() {
            tag::NULL => Ok(Step::Done),
            tag::ZOMBIE => self.delete_zombie(target, cap.unpack_zombie()),
            _ => self.finalise(target),
        }
    }

    #[inline(never)]
    fn delete_zombie(&mut self, target: Ref<Slot>, zombie: Zombie) -> Result<Step, Preempted> {
        match zombie.state {
            ZombieState::Active { cursor } => self.zombie_step(target, zombie, cursor),
            ZombieState::Waiting { previous } => Ok(self.leave_worklist(target, zombie, previous)),
        }
    }

    /// Undoes what the capability in `slot` stands for, if it is the last one to its object. Then the
    /// slot is empty, or holds a zombie to go on with.
    #[inline(always)]
    fn finalise(&mut self, slot: Ref<Slot>) -> Result<Step, Preempted> {
        let cap = self.get(slot).raw;
        if cap.tag() == tag::FRAME {
            self.finalise_frame(cap);
        } else if self.is_final(slot) {
            if let Some(zombie) = self.finalise_object(slot, cap)? {
                self.update_cap(slot, zombie);
                return Ok(Step::Continue(slot));
            }
        } else if cap.tag() == tag::VSPACE {
            // It may have been a thread's.
            self.space_epoch += 1;
        }
        self.vacate(slot);
        Ok(Step::Done)
    }

    #[inline(never)]
    fn finalise_object(
        &mut self,
        slot: Ref<Slot>,
        cap: RawCap,
    ) -> Result<Option<Zombie>, Preempted> {
        // It may take several attempts, and who is sent back meanwhile is to find nothing to wait in.
        self.update_cap(slot, cap.mask_rights(CapRights::NONE));
        match cap.tag() {
            tag::ENDPOINT => self.finalise_endpoint(cap.object())?,
            tag::NOTIFICATION => self.finalise_notification(cap.object())?,
            tag::REPLY => self.finalise_reply(cap.object()),
            tag::CNODE => {
                return Ok(Some(Zombie::new(cap.object(), ZombieKind::CNode(cap.size_bits()))));
            }
            tag::THREAD => {
                self.finalise_thread(cap.object());
                return Ok(Some(Zombie::new(cap.object(), ZombieKind::Tcb)));
            }
            tag::SCHED_CONTEXT => self.finalise_sched_context(cap.object()),
            tag::TABLE => self.finalise_table(cap),
            tag::VSPACE => self.finalise_vspace(cap),
            _ => match cap.unpack() {
                Cap::AsidPool { object, base } => self.finalise_asid_pool(object, base),
                Cap::IrqHandler { vector } => self.finalise_irq_handler(vector)?,
                Cap::IoPort { first, last } => self.finalise_io_port(first, last),
                _ => {}
            },
        }
        Ok(None)
    }

    /// Empties the slot at the cursor, or moves the cursor on.
    fn zombie_step(
        &mut self,
        target: Ref<Slot>,
        zombie: Zombie,
        cursor: Ref<Slot>,
    ) -> Result<Step, Preempted> {
        let cap = self.get(cursor).raw;
        if cursor == target || cap.is_null() {
            return Ok(self.advance(target, zombie, cursor));
        }
        if cap.tag() == tag::ZOMBIE {
            self.take_in(target, cursor, cap.unpack_zombie());
        } else {
            self.finalise(cursor)?;
        }
        Ok(Step::Continue(target))
    }

    /// Moves the cursor from an empty slot to the one before it; after the first, the object is empty.
    fn advance(&mut self, target: Ref<Slot>, zombie: Zombie, cursor: Ref<Slot>) -> Step {
        let object = zombie.kind.object_of(cursor);
        if cursor.address() == object {
            return self.finish(target, zombie);
        }
        let cursor = Ref::at(PhysAddr(cursor.address().0 - size_of::<Slot>() as u64));
        self.update_cap(target, Zombie { state: ZombieState::Active { cursor }, ..zombie });
        Step::Continue(target)
    }

    /// The object of the zombie in `target` is empty: goes on with the worklist.
    fn finish(&mut self, target: Ref<Slot>, zombie: Zombie) -> Step {
        let inside_itself = zombie.kind.object_of(target) == zombie.object(target);
        self.vacate(target);
        let Some(next) = zombie.next else { return Step::Done };
        let Cap::Zombie(waiting) = self.cap_at(next) else { return Step::Done };
        let active = Zombie { state: ZombieState::Active { cursor: next }, ..waiting };
        if inside_itself {
            // `target` has just become free memory.
            self.update_cap(next, active);
            return Step::Continue(next);
        }
        self.move_cap(target, next, active);
        Step::Continue(target)
    }

    /// Adds the zombie that was met at the cursor of `target`'s zombie to its worklist.
    fn take_in(&mut self, target: Ref<Slot>, cursor: Ref<Slot>, inner: Zombie) {
        match (inner.state, inner.next) {
            // It has a worklist of its own, from a deletion that was given up: that first.
            (_, Some(member)) => {
                self.steal(cursor, member);
                self.join_worklist(target, member);
            }
            (ZombieState::Active { cursor: rest }, None) => self.lay_to_rest(target, cursor, rest),
            // A waiting zombie lies in its own object, and `target` holds that object's only one.
            (ZombieState::Waiting { .. }, None) => self.vacate(cursor),
        }
    }

    /// Takes `member`, the first of the worklist of `owner`'s zombie, out of it.
    fn steal(&mut self, owner: Ref<Slot>, member: Ref<Slot>) {
        let mut rest = None;
        self.edit_zombie(member, |zombie| rest = zombie.next.take());
        self.edit_zombie(owner, |zombie| zombie.next = rest);
        self.zombie_was_moved(owner);
    }

    /// Moves the zombie at `cursor` to `rest`, its place in its own object, and adds it to the
    /// worklist of `target`; what lay at `rest` is now at `cursor` and is emptied next.
    fn lay_to_rest(&mut self, target: Ref<Slot>, cursor: Ref<Slot>, rest: Ref<Slot>) {
        self.swap_caps(cursor, rest);
        if rest == target {
            // The two zombies have changed roles: the one that was under deletion is at its own
            // cursor, with its worklist, and the one that was met there goes first.
            self.edit_zombie(cursor, |zombie| {
                zombie.state = ZombieState::Waiting { previous: target }
            });
            self.edit_zombie(target, |zombie| zombie.next = Some(cursor));
        } else {
            self.join_worklist(target, rest);
        }
    }

    /// Puts the zombie in `member`, which lies in its place in its own object, at the front of the
    /// worklist of `target`'s.
    fn join_worklist(&mut self, target: Ref<Slot>, member: Ref<Slot>) {
        let mut behind = None;
        self.edit_zombie(target, |zombie| behind = zombie.next.replace(member));
        self.edit_zombie(member, |zombie| {
            zombie.state = ZombieState::Waiting { previous: target };
            zombie.next = behind;
        });
        self.zombie_was_moved(member);
    }

    /// A waiting zombie is deleted itself: it becomes active, out of the worklist.
    fn leave_worklist(&mut self, target: Ref<Slot>, zombie: Zombie, previous: Ref<Slot>) -> Step {
        self.edit_zombie(previous, |before| before.next = zombie.next);
        if let Some(next) = zombie.next {
            self.edit_zombie(next, |behind| behind.state = ZombieState::Waiting { previous });
        }
        let state = ZombieState::Active { cursor: target };
        self.update_cap(target, Zombie { state, next: None, ..zombie });
        Step::Continue(target)
    }

    /// If `slot` holds a zombie with a worklist: lets the list know that it lies there now.
    pub(crate) fn zombie_was_moved(&mut self, slot: Ref<Slot>) {
        let moved = self.get(slot).raw;
        if moved.tag() == tag::ZOMBIE
            && let Some(next) = moved.unpack_zombie().next
        {
            self.edit_zombie(next, |behind| behind.state = ZombieState::Waiting { previous: slot });
        }
    }

    fn edit_zombie(&mut self, slot: Ref<Slot>, edit: impl FnOnce(&mut Zombie)) {
        if let Cap::Zombie(mut zombie) = self.cap_at(slot) {
            edit(&mut zombie);
            self.update_cap(slot, zombie);
        }
    }
}

impl Zombie {
    /// Nothing emptied yet.
    const fn new(slots: Ref<Slot>, kind: ZombieKind) -> Self {
        let cursor = slots.index(kind.slots() - 1);
        Self { kind, state: ZombieState::Active { cursor }, next: None }
    }
}
