//! Queues of threads that wait on an object, highest priority first.

use crate::objects::Tcb;
use crate::{Kernel, Link, Machine, Ref};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A queue of threads, linked through their `wait_prev` and `wait_next`: higher priorities first,
/// those of one priority in order of arrival.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub(crate) struct WaitQueue {
    pub(crate) head: Link<Tcb>,
    pub(crate) tail: Link<Tcb>,
}

impl Tcb {
    /// Forgets its neighbours in a queue that is being emptied.
    pub(crate) fn unlink_waiting(&mut self) {
        self.wait_prev = Link::NONE;
        self.wait_next = Link::NONE;
    }
}

impl<M: Machine> Kernel<M> {
    /// Adds a thread after all of its priority and above.
    #[inline]
    pub(crate) fn insert_waiting(&mut self, queue: WaitQueue, thread: Ref<Tcb>) -> WaitQueue {
        let priority = self.get(thread).priority;
        let (mut prev, mut next) = (queue.tail, Link::NONE);
        while let Some(lower) = prev.get()
            && self.get(lower).priority < priority
        {
            next = prev;
            prev = self.get(lower).wait_prev;
        }
        let this = Link::to(thread);
        let tcb = self.get_mut(thread);
        tcb.wait_prev = prev;
        tcb.wait_next = next;
        let mut queue = queue;
        match prev.get() {
            Some(prev) => self.get_mut(prev).wait_next = this,
            None => queue.head = this,
        }
        match next.get() {
            Some(next) => self.get_mut(next).wait_prev = this,
            None => queue.tail = this,
        }
        queue
    }

    /// Takes a thread out of the queue that it is in.
    #[inline]
    pub(crate) fn remove_waiting(&mut self, queue: WaitQueue, thread: Ref<Tcb>) -> WaitQueue {
        let tcb = self.get_mut(thread);
        let (prev, next) = (tcb.wait_prev, tcb.wait_next);
        tcb.unlink_waiting();
        let mut queue = queue;
        match prev.get() {
            Some(prev) => self.get_mut(prev).wait_next = next,
            None => queue.head = next,
        }
        match next.get() {
            Some(next) => self.get_mut(next).wait_prev = prev,
            None => queue.tail = prev,
        }
        queue
    }
}
