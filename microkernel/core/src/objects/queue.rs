//! Queues of threads: doubly linked lists through the threads themselves. A thread has links for two
//! of them, the scheduler's and that of the object it waits on.
//!
//! The threads that wait on an object are in order of priority, those in the release queue in order of
//! time. A place in such a queue is found by walking it from its end, without a preemption point: six to
//! ten instructions for each thread that is passed, 10,000 for a thousand of them. With more waiters at
//! one object, or passive budgets at one core, insertion is the kernel's longest stretch. Links that
//! skip threads of one priority were tried: every message paid 30 to 50 instructions for them.

use crate::objects::Tcb;
use crate::{Kernel, Link, Machine, Ref};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The threads before and after one in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct Neighbours {
    pub(crate) prev: Link<Tcb>,
    pub(crate) next: Link<Tcb>,
}

/// The ends of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct Queue {
    pub(crate) head: Link<Tcb>,
    pub(crate) tail: Link<Tcb>,
}

impl Queue {
    /// Nobody.
    pub(crate) const EMPTY: Self = Self { head: Link::NONE, tail: Link::NONE };
}

impl<M: Machine> Kernel<M> {
    /// Adds a thread between two neighbours (none: it becomes an end), by its `links`.
    #[inline]
    pub(crate) fn link(
        &mut self,
        mut queue: Queue,
        thread: Ref<Tcb>,
        at: Neighbours,
        links: impl Fn(&mut Tcb) -> &mut Neighbours,
    ) -> Queue {
        *links(self.get_mut(thread)) = at;
        match at.prev.get() {
            Some(prev) => links(self.get_mut(prev)).next = Link::to(thread),
            None => queue.head = Link::to(thread),
        }
        match at.next.get() {
            Some(next) => links(self.get_mut(next)).prev = Link::to(thread),
            None => queue.tail = Link::to(thread),
        }
        queue
    }

    /// Takes a thread out of the queue that it is in by its `links`.
    #[inline]
    pub(crate) fn unlink(
        &mut self,
        mut queue: Queue,
        thread: Ref<Tcb>,
        links: impl Fn(&mut Tcb) -> &mut Neighbours,
    ) -> Queue {
        let at = core::mem::take(links(self.get_mut(thread)));
        match at.prev.get() {
            Some(prev) => links(self.get_mut(prev)).next = at.next,
            None => queue.head = at.next,
        }
        match at.next.get() {
            Some(next) => links(self.get_mut(next)).prev = at.prev,
            None => queue.tail = at.prev,
        }
        queue
    }

    /// Adds a thread to those that wait on an object: after all of its priority and above.
    #[inline]
    pub(crate) fn insert_waiting(&mut self, queue: Queue, thread: Ref<Tcb>) -> Queue {
        let priority = self.get(thread).priority;
        let mut at = Neighbours { prev: queue.tail, next: Link::NONE };
        while let Some(lower) = at.prev.get()
            && self.get(lower).priority < priority
        {
            at = Neighbours { prev: self.get(lower).waiting.prev, next: at.prev };
        }
        self.link(queue, thread, at, |tcb| &mut tcb.waiting)
    }

    /// Takes a thread out of those that wait on an object.
    #[inline]
    pub(crate) fn remove_waiting(&mut self, queue: Queue, thread: Ref<Tcb>) -> Queue {
        self.unlink(queue, thread, |tcb| &mut tcb.waiting)
    }
}
