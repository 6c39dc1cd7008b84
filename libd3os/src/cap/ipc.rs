//! Endpoints, notifications and reply objects.

use d3os_abi::MessageInfo;

use super::{Capability, capabilities, later};
use crate::sys::{self, Received};

capabilities! {
    /// Where messages are sent and received.
    Endpoint;
    /// A word of signals.
    Notification;
    /// The right to answer one call.
    Reply;
}

/// The message is what was composed in the IPC buffer before ([`sys::set_word`]); what came lies
/// there after.
impl Endpoint {
    /// Sends and waits for the answer.
    #[must_use]
    #[inline]
    pub fn call(self, info: MessageInfo) -> MessageInfo {
        later::send();
        sys::call(self.cptr(), info)
    }

    /// Sends; waits until somebody takes it.
    #[inline]
    pub fn send(self, info: MessageInfo) {
        later::send();
        sys::send(self.cptr(), info);
    }

    /// Sends if somebody waits for it.
    #[inline]
    pub fn nb_send(self, info: MessageInfo) {
        sys::nb_send(self.cptr(), info);
    }

    /// Waits for a message; `reply` will answer its sender.
    #[must_use]
    #[inline]
    pub fn recv(self, reply: Reply) -> Received {
        match later::take() {
            None => sys::recv(self.cptr(), reply.cptr()),
            Some(kept) => sys::signal_recv(kept, self.cptr(), reply.cptr()),
        }
    }

    /// Takes a message if one is there. Without one, badge and info are zero.
    #[must_use]
    #[inline]
    pub fn nb_recv(self, reply: Reply) -> Received {
        sys::nb_recv(self.cptr(), reply.cptr())
    }

    /// Answers through `reply`, then waits for the next message, which `reply` will answer.
    #[must_use]
    #[inline]
    pub fn reply_recv(self, info: MessageInfo, reply: Reply) -> Received {
        later::send();
        sys::reply_recv(self.cptr(), info, reply.cptr())
    }
}

impl Notification {
    /// Sets the bits of this capability's badge.
    #[inline]
    pub fn signal(self) {
        sys::signal(self.cptr());
    }

    /// Sets the bits of this capability's badge with the program's next system call that may wait:
    /// the two are then one call. Whoever goes on working instead, and whose peer should not wait
    /// for that, says so ([`Self::send_kept`]).
    #[inline]
    pub fn signal_later(self) {
        later::keep(self.cptr());
    }

    /// Sends the signal that [`Self::signal_later`] has kept, if there is one.
    #[inline]
    pub fn send_kept() {
        later::send();
    }

    /// Waits until bits are set, takes and tells them.
    #[must_use]
    #[inline]
    pub fn wait(self) -> u64 {
        match later::take() {
            None => sys::wait(self.cptr()).badge,
            Some(kept) => sys::signal_wait(kept, self.cptr()).badge,
        }
    }

    /// Takes and tells the bits that are set; 0 if there are none.
    #[must_use]
    #[inline]
    pub fn poll(self) -> u64 {
        sys::nb_wait(self.cptr()).badge
    }
}

impl Reply {
    /// Answers the call that this object holds; without one, does nothing.
    #[inline]
    pub fn send(self, info: MessageInfo) {
        sys::send(self.cptr(), info);
    }
}
