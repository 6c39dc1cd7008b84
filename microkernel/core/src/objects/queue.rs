//! Queues of threads: doubly linked lists through the threads themselves. A thread has links for two
//! of them, the scheduler's and that of the object it waits on.
//!
//! The latter is in order of priority. However many threads wait, a place in it is found in as many
//! steps as there are priorities: the first and the last thread of a *run*, of those that are next to
//! each other with the same priority, have links to each other.

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
        while let Some(last) = at.prev.get()
            && self.get(last).priority <= priority
        {
            let first = self.first_of_run(last);
            if self.get(last).priority == priority {
                self.get_mut(first).run = Link::to(thread);
                self.get_mut(thread).run = Link::to(first);
                break;
            }
            at = Neighbours { prev: self.get(first).waiting.prev, next: Link::to(first) };
        }
        self.link(queue, thread, at, |tcb| &mut tcb.waiting)
    }

    /// Takes a thread out of those that wait on an object.
    #[inline]
    pub(crate) fn remove_waiting(&mut self, queue: Queue, thread: Ref<Tcb>) -> Queue {
        let Neighbours { prev, next } = self.get(thread).waiting;
        if self.cancellation.next == Link::to(thread) {
            self.cancellation.next = next;
        }
        // The end of a run leaves its place to the thread beside it.
        match (self.if_in_run(thread, prev), self.if_in_run(thread, next)) {
            (None, Some(end)) | (Some(end), None) => self.link_run(end, self.get(thread).run),
            _ => {}
        }
        self.unlink(queue, thread, |tcb| &mut tcb.waiting)
    }

    /// Where the run begins that ends with `last`.
    fn first_of_run(&self, last: Ref<Tcb>) -> Ref<Tcb> {
        let tcb = self.get(last);
        self.if_in_run(last, tcb.waiting.prev).and_then(|_| tcb.run.get()).unwrap_or(last)
    }

    /// A neighbour of `thread`, if it has the same priority.
    fn if_in_run(&self, thread: Ref<Tcb>, neighbour: Link<Tcb>) -> Option<Ref<Tcb>> {
        let priority = self.get(thread).priority;
        neighbour.get().filter(|other| self.get(*other).priority == priority)
    }

    fn link_run(&mut self, end: Ref<Tcb>, other: Link<Tcb>) {
        self.get_mut(end).run = other;
        if let Some(other) = other.get() {
            self.get_mut(other).run = Link::to(end);
        }
    }
}
