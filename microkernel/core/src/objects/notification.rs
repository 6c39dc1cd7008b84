//! Notifications: words of signals (manual, chapter 5).

use crate::objects::{Queue, SchedContext, Tcb, ThreadState};
use crate::syscall::Blocking;
use crate::{Kernel, Link, Machine, Preempted, Ref};
use d3os_abi::MessageInfo;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A notification: idle, active with a word of badges, or with a queue of waiting threads.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Notification {
    /// 1 while a signal waits to be received; only then is `word` meaningful, and `waiting` empty.
    pub(crate) active: u64,
    /// Badges of the signals that wait, or-ed.
    pub(crate) word: u64,
    /// Threads that wait for a signal, by priority.
    pub(crate) waiting: Queue,
    /// The thread that also gets signals while it waits on an endpoint.
    pub(crate) bound_thread: Link<Tcb>,
    /// Time lent to a passive thread that receives a signal.
    pub(crate) sched_context: Link<SchedContext>,
    pub(crate) unused: [u64; 2],
}

const _: () = assert!(size_of::<Notification>() == 1 << d3os_abi::size_bits::NOTIFICATION);

impl Notification {
    /// Keeps a signal until somebody receives it.
    #[inline]
    pub(crate) fn keep(&mut self, badge: u64) {
        self.active = 1;
        self.word |= badge;
    }

    /// Takes the signals that were kept, if there are any.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<u64> {
        (core::mem::take(&mut self.active) != 0).then(|| core::mem::take(&mut self.word))
    }

    /// Whether a thread may receive from it: only the bound one may, if there is one.
    #[inline]
    pub(crate) fn may_receive(&self, thread: Ref<Tcb>) -> bool {
        self.bound_thread.is_none() || self.bound_thread == Link::to(thread)
    }
}

impl<M: Machine> Kernel<M> {
    /// Signals a notification: its badge reaches a waiting thread, the bound thread if that
    /// receives, or is kept.
    #[inline]
    pub(crate) fn signal(&mut self, notification: Ref<Notification>, badge: u64) {
        if let Some(thread) = self.signal_receiver(notification) {
            self.deliver_signal(thread, notification, badge);
            self.wake_with_refills(thread);
        } else {
            self.get_mut(notification).keep(badge);
        }
    }

    /// Whom a signal reaches at once.
    #[inline(always)]
    pub(crate) fn signal_receiver(&self, notification: Ref<Notification>) -> Option<Ref<Tcb>> {
        let object = self.get(notification);
        object.waiting.head.get().or_else(|| {
            let bound = object.bound_thread.get()?;
            let receives = self.get(bound).state == ThreadState::BLOCKED_ON_RECEIVE;
            (receives && object.active == 0).then_some(bound)
        })
    }

    /// Ends a thread's wait by a signal; it is still to be woken.
    #[inline(always)]
    pub(crate) fn deliver_signal(
        &mut self,
        thread: Ref<Tcb>,
        notification: Ref<Notification>,
        badge: u64,
    ) {
        if self.get(thread).state == ThreadState::BLOCKED_ON_NOTIFICATION {
            self.remove_signal_waiter(notification, thread);
        } else {
            self.cancel_ipc(thread);
        }
        self.get_mut(thread).state = ThreadState::RUNNING;
        self.finish_message(thread, badge, MessageInfo(0));
        self.lend_sched_context(notification, thread);
    }

    /// Receives from a notification.
    pub(crate) fn receive_signal(
        &mut self,
        thread: Ref<Tcb>,
        notification: Ref<Notification>,
        blocking: Blocking,
    ) {
        if self.take_signal(thread, notification) {
            return;
        }
        if blocking == Blocking::Wait {
            self.wait_for_signal(thread, notification);
        } else {
            self.finish_message(thread, 0, MessageInfo(0));
        }
    }

    /// Lets a thread wait for a signal, without the time that the notification has lent it.
    #[inline]
    pub(crate) fn wait_for_signal(&mut self, thread: Ref<Tcb>, notification: Ref<Notification>) {
        let tcb = self.get_mut(thread);
        tcb.state = ThreadState::BLOCKED_ON_NOTIFICATION;
        tcb.blocked_on = notification.address();
        self.return_sched_context(notification, thread);
        let queue = self.insert_waiting(self.get(notification).waiting, thread);
        self.get_mut(notification).waiting = queue;
    }

    /// Receives the signals that were kept, if there are any.
    pub(crate) fn take_signal(
        &mut self,
        thread: Ref<Tcb>,
        notification: Ref<Notification>,
    ) -> bool {
        let Some(badge) = self.get_mut(notification).take() else { return false };
        self.finish_message(thread, badge, MessageInfo(0));
        if self.lend_sched_context(notification, thread)
            && let Some(context) = self.get(thread).sched_context.get()
        {
            self.wake_sporadic(context);
        }
        true
    }

    /// Lends the notification's scheduling context, if nobody runs on it, to a thread without one.
    fn lend_sched_context(&mut self, notification: Ref<Notification>, thread: Ref<Tcb>) -> bool {
        if !self.get(thread).sched_context.is_none() {
            return false;
        }
        match self.get(notification).sched_context.get() {
            Some(context) if self.get(context).thread.is_none() => {
                self.donate(context, thread);
                true
            }
            _ => false,
        }
    }

    /// Takes the notification's scheduling context back from a thread that goes to wait.
    #[inline]
    pub(crate) fn return_sched_context(
        &mut self,
        notification: Ref<Notification>,
        thread: Ref<Tcb>,
    ) {
        if let Some(context) = self.get(notification).sched_context.get()
            && self.get(thread).sched_context == Link::to(context)
        {
            self.get_mut(context).thread = Link::NONE;
            self.get_mut(thread).sched_context = Link::NONE;
        }
    }

    /// Takes a thread out of the queue.
    #[inline]
    pub(crate) fn remove_signal_waiter(
        &mut self,
        notification: Ref<Notification>,
        thread: Ref<Tcb>,
    ) {
        let queue = self.remove_waiting(self.get(notification).waiting, thread);
        self.get_mut(notification).waiting = queue;
    }

    /// Separates a notification from the thread bound to it.
    pub(crate) fn unbind_notification(&mut self, thread: Ref<Tcb>) {
        if let Some(notification) = self.get(thread).notification.get() {
            self.get_mut(notification).bound_thread = Link::NONE;
            self.get_mut(thread).notification = Link::NONE;
        }
    }

    /// The notification is going away: it lends and wakes nobody any more, and whoever waits
    /// repeats its system call.
    ///
    /// # Errors
    /// `Preempted`: some do, the others still wait.
    pub(crate) fn finalise_notification(
        &mut self,
        notification: Ref<Notification>,
    ) -> Result<(), Preempted> {
        let object = *self.get(notification);
        if let Some(context) = object.sched_context.get() {
            self.get_mut(context).notification = Link::NONE;
            self.get_mut(notification).sched_context = Link::NONE;
        }
        if let Some(thread) = object.bound_thread.get() {
            self.unbind_notification(thread);
        }
        while let Some(thread) = self.get(notification).waiting.head.get() {
            self.remove_signal_waiter(notification, thread);
            self.get_mut(thread).state = ThreadState::RESTART;
            self.wake_with_refills(thread);
            self.reschedule();
            self.preemption_point()?;
        }
        Ok(())
    }
}
