//! Endpoints: synchronous message passing (manual, chapter 4).

use crate::objects::{Queue, Tcb, ThreadState};
use crate::{Kernel, Link, Machine, PhysAddr, Preempted, Ref};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Threads that wait in an endpoint all wait for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For a receiver of their message.
    Senders,
    /// For a message.
    Receivers,
}

/// In an endpoint's first word: the threads wait to receive.
const RECEIVERS: u64 = 1;

/// An endpoint: a queue of threads that all wait to send or all wait to receive.
///
/// The low bit of the head tells which (1: receivers); threads are 2 KiB aligned.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Endpoint {
    head_and_kind: u64,
    tail: Link<Tcb>,
}

const _: () = assert!(size_of::<Endpoint>() == 1 << d3os_abi::size_bits::ENDPOINT);

impl Endpoint {
    /// The threads that wait, and for what (meaningless for an empty queue).
    #[inline]
    pub(crate) fn queue(&self) -> (Waiting, Queue) {
        let receive = self.head_and_kind & RECEIVERS != 0;
        let kind = if receive { Waiting::Receivers } else { Waiting::Senders };
        let head = self.head_and_kind & !RECEIVERS;
        let head = if head == 0 { Link::NONE } else { Link::to(Ref::at(PhysAddr(head))) };
        (kind, Queue { head, tail: self.tail })
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.queue().1.head.is_none()
    }

    /// Lets `thread`, which is in no queue, be the only one that waits: for a message.
    #[inline]
    pub(crate) fn set_only_receiver(&mut self, thread: Ref<Tcb>) {
        self.head_and_kind = thread.address().0 | RECEIVERS;
        self.tail = Link::to(thread);
    }

    /// Lets `thread` be the last of those that wait, of which there are some.
    #[inline]
    pub(crate) fn set_last_receiver(&mut self, thread: Ref<Tcb>) {
        self.tail = Link::to(thread);
    }

    /// The last of those that wait for a message, if anybody waits; `None` if they wait to send.
    #[inline(always)]
    pub(crate) fn last_receiver(&self) -> Option<Option<Ref<Tcb>>> {
        if self.head_and_kind <= RECEIVERS {
            return Some(None);
        }
        (self.head_and_kind & RECEIVERS != 0).then(|| self.tail.get())
    }

    /// Lets the second receiver, if there is one, be the first.
    #[inline]
    pub(crate) fn remove_first_receiver(&mut self, next: Link<Tcb>) {
        self.head_and_kind = next.get().map_or(0, |next| next.address().0) | RECEIVERS;
        if next.is_none() {
            self.tail = Link::NONE;
        }
    }

    /// Replaces the queue.
    #[inline]
    pub(crate) fn set_queue(&mut self, kind: Waiting, queue: Queue) {
        let head = queue.head.get().map_or(0, |thread| thread.address().0);
        self.head_and_kind = head | u64::from(kind == Waiting::Receivers);
        self.tail = queue.tail;
    }
}

impl<M: Machine> Kernel<M> {
    /// The endpoint is going away: whoever waits in it repeats its system call, and finds out.
    ///
    /// # Errors
    /// `Preempted`: some do, the others still wait.
    pub(crate) fn finalise_endpoint(&mut self, endpoint: Ref<Endpoint>) -> Result<(), Preempted> {
        while let Some(thread) = self.get(endpoint).queue().1.head.get() {
            self.send_back(endpoint, thread);
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Takes a thread out of those that wait in an endpoint.
    pub(crate) fn leave_endpoint(&mut self, endpoint: Ref<Endpoint>, thread: Ref<Tcb>) {
        let (kind, queue) = self.get(endpoint).queue();
        let queue = self.remove_waiting(queue, thread);
        self.get_mut(endpoint).set_queue(kind, queue);
    }

    /// Takes a thread out of waiting in an endpoint: it repeats its system call, or stops if it
    /// waited to tell a fault.
    fn send_back(&mut self, endpoint: Ref<Endpoint>, thread: Ref<Tcb>) {
        self.leave_endpoint(endpoint, thread);
        if let Some(reply) = self.get(thread).reply.get() {
            self.unlink_reply(reply, thread);
        }
        let tcb = self.get_mut(thread);
        if tcb.fault.label == 0 {
            tcb.state = ThreadState::RESTART;
            self.wake_with_refills(thread);
            self.reschedule();
        } else {
            tcb.state = ThreadState::INACTIVE;
        }
    }

    /// Sends back whoever waits to send through a capability with this badge. To pass by another
    /// sender takes no longer than in [`Kernel::insert_waiting`], and is no unit of work: an attempt
    /// that is started again gets past those that it has seen.
    ///
    /// # Errors
    /// `Preempted`: some were, the others still wait.
    pub(crate) fn cancel_badged_sends(
        &mut self,
        endpoint: Ref<Endpoint>,
        badge: u64,
    ) -> Result<(), Preempted> {
        let (Waiting::Senders, queue) = self.get(endpoint).queue() else { return Ok(()) };
        let mut next = queue.head;
        while let Some(thread) = next.get() {
            next = self.get(thread).waiting.next;
            if self.get(thread).sending.badge == badge {
                self.send_back(endpoint, thread);
                self.preemption_point()?;
            }
        }
        Ok(())
    }
}
