//! A pair of rings in one piece of memory: a client's requests, and the server's answers.

use super::error::RingError;
use super::line::{LINE_BYTES, Line};
use super::{layout, presence};
use crate::start::layout::RING_SPAN;

/// Lines of a pair.
pub const PAIR_LINES: usize = 128;

/// Lines of each of its rings.
pub(super) const RING_LINES: usize = PAIR_LINES / 2;

const _: () = assert!((PAIR_LINES * LINE_BYTES) as u64 == RING_SPAN);

/// One end of a pair: who holds it sends in one ring and receives from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends requests.
    Client,
    /// Sends answers.
    Server,
}

/// A pair of rings as the one sees it who attaches and detaches it, and neither sends nor
/// receives.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'m> {
    requests: &'m [Line],
    answers: &'m [Line],
}

impl<'m> Pair<'m> {
    /// The pair in this memory; what is behind it is not used.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] for fewer than [`PAIR_LINES`].
    pub fn new(memory: &'m [Line]) -> Result<Self, RingError> {
        let memory = memory.get(..PAIR_LINES).ok_or(RingError::TooSmall)?;
        let (requests, answers) = memory.split_at(RING_LINES);
        Ok(Self { requests, answers })
    }

    /// The ring from client to server.
    #[must_use]
    pub const fn requests(&self) -> &'m [Line] {
        self.requests
    }

    /// The ring from server to client.
    #[must_use]
    pub const fn answers(&self) -> &'m [Line] {
        self.answers
    }

    /// Says in the place of one that ended without saying so that it is gone. It must not run any
    /// more, or not reach this memory. Whoever calls this rings the other side's bell.
    pub fn end(&self, side: Side) {
        let (sends, receives) = self.rings(side);
        presence::end(layout::sender_state(sends));
        presence::end(layout::receiver_state(receives));
    }

    /// Whether this side has said that it is gone. It does not touch the memory again.
    #[must_use]
    pub fn has_ended(&self, side: Side) -> bool {
        let (sends, receives) = self.rings(side);
        presence::gone(layout::sender_state(sends))
            && presence::gone(layout::receiver_state(receives))
    }

    /// The ring that this side sends in, and the one that it receives from.
    const fn rings(&self, side: Side) -> (&'m [Line], &'m [Line]) {
        match side {
            Side::Client => (self.requests, self.answers),
            Side::Server => (self.answers, self.requests),
        }
    }
}

/// Whether the receiver of the ring in this memory has said that it is gone: for one who has
/// dropped its sender and wants to know when the memory can be used anew.
#[must_use]
pub fn receiver_has_ended(memory: &[Line]) -> bool {
    memory.len() >= layout::MIN_LINES && presence::gone(layout::receiver_state(memory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{CallError, MAX_BYTES, Transport};
    use crate::ring::model_tests::memory;
    use crate::ring::{Polling, ReceiveError, Receiver, RingTransport, Sender};
    use alloc::vec;

    #[test]
    fn each_ring_carries_calls_with_room_for_more() {
        let memory = memory(PAIR_LINES);
        let pair = Pair::new(&memory).expect("large enough");
        let mut sender = Sender::new(pair.requests(), Polling).expect("large enough");
        let longest = vec![0; MAX_BYTES];
        let sent = core::iter::repeat_with(|| sender.try_send(0, &longest));
        assert_eq!(sent.take_while(Result::is_ok).count(), 3);
        assert_eq!(pair.answers().len(), RING_LINES);
        assert_eq!(Pair::new(&memory[1..]).err(), Some(RingError::TooSmall));
    }

    #[test]
    fn ends_are_told_apart() {
        let memory = memory(PAIR_LINES);
        let pair = Pair::new(&memory).expect("large enough");
        let ended = || (pair.has_ended(Side::Client), pair.has_ended(Side::Server));
        let client = RingTransport::new(pair.requests(), pair.answers(), Polling);
        let receiver = Receiver::new(pair.requests(), Polling).expect("large enough");
        let sender = Sender::new(pair.answers(), Polling).expect("large enough");
        assert_eq!(ended(), (false, false));
        drop(sender);
        assert_eq!(ended(), (false, false), "half of the server");
        drop(receiver);
        assert_eq!(ended(), (false, true));
        drop(client);
        assert_eq!(ended(), (true, true));
    }

    #[test]
    fn who_ended_without_a_word_is_seen_to_be_gone() {
        let memory = memory(PAIR_LINES);
        let pair = Pair::new(&memory).expect("large enough");
        let client = RingTransport::new(pair.requests(), pair.answers(), Polling);
        pair.end(Side::Server);
        assert_eq!(client.expect("fits").call(0, &[]), Err(CallError::Restarted));

        let memory = super::super::model_tests::memory(PAIR_LINES);
        let pair = Pair::new(&memory).expect("large enough");
        let mut requests = Receiver::new(pair.requests(), Polling).expect("large enough");
        pair.end(Side::Client);
        assert!(pair.has_ended(Side::Client) && !pair.has_ended(Side::Server));
        assert_eq!(requests.wait(), Err(ReceiveError::Closed));
    }
}
