//! Words from one side to the other, a line's worth at a time: what both ends have in common.

use core::fmt;
use core::hint::spin_loop;

use super::Epoch;
use super::descriptor::WORDS_PER_LINE;
use crate::cap::Notification;
use crate::ring::{
    Doorbell, Line, PAYLOAD_BYTES, ReceiveError, Receiver, RingError, SendError, Sender,
};

/// Wakes the program at the other end.
pub trait Wake {
    /// Wakes it, or makes it look again before it next sleeps.
    fn wake(&self);
}

impl Wake for Notification {
    fn wake(&self) {
        self.signal();
    }
}

impl<W: Wake + ?Sized> Wake for &W {
    fn wake(&self) {
        (**self).wake();
    }
}

/// Why a link or a port has ended. Nothing more comes through it; the consumer attaches anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer is gone.
    Closed,
    /// The peer has broken the ring's protocol.
    Corrupt,
    /// A message that is not of this attachment, or not made of words.
    Foreign,
    /// The peer let its ring run full, which the ownership of buffers rules out for an honest one.
    Full,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the other end is gone",
            Self::Corrupt => "the other end broke the ring's protocol",
            Self::Foreign => "a message that does not belong to this attachment",
            Self::Full => "the other end takes no messages",
        })
    }
}

impl core::error::Error for Fault {}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full | SendError::TooLong => Self::Full,
            SendError::Corrupt => Self::Corrupt,
            SendError::Closed => Self::Closed,
        }
    }
}

impl From<ReceiveError> for Fault {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::TooLong { .. } => Self::Foreign,
            ReceiveError::Corrupt => Self::Corrupt,
            ReceiveError::Closed => Self::Closed,
        }
    }
}

/// Up to a line's worth of words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Words {
    words: [u32; WORDS_PER_LINE],
    length: usize,
}

impl Words {
    pub(super) fn as_slice(&self) -> &[u32] {
        self.words.get(..self.length).unwrap_or(&[])
    }

    /// Adds a word to words that are not full; tells whether they are now.
    #[inline]
    fn push(&mut self, word: u32) -> bool {
        if let Some(place) = self.words.get_mut(self.length) {
            *place = word;
            self.length += 1;
        }
        self.length == WORDS_PER_LINE
    }

    /// The bytes of a message, and how many there are.
    #[inline]
    fn to_bytes(self) -> ([u8; PAYLOAD_BYTES], usize) {
        let mut bytes = [0; PAYLOAD_BYTES];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.as_slice()) {
            *place = word.to_le_bytes();
        }
        (bytes, self.length * 4)
    }

    /// The words of a message; `None` for bytes that are not words.
    #[inline]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks();
        if chunks.is_empty() || !rest.is_empty() {
            return None;
        }
        let mut words = Self { length: chunks.len().min(WORDS_PER_LINE), ..Self::default() };
        for (place, chunk) in words.words.iter_mut().zip(chunks) {
            *place = u32::from_le_bytes(*chunk);
        }
        Some(words)
    }
}

/// A ring's bell that only wakes the peer: the ends here never wait in a ring, their programs do
/// it at one place for everything.
struct PeerBell<W>(W);

impl<W: Wake> Doorbell for PeerBell<W> {
    fn signal(&self) {
        self.0.wake();
    }

    fn wait(&self) {
        spin_loop();
    }
}

/// One side's ends of the two rings.
pub(super) struct Channel<'m, W: Wake> {
    sender: Sender<&'m [Line], PeerBell<W>>,
    receiver: Receiver<&'m [Line], PeerBell<W>>,
    tag: u16,
    outbox: Words,
    /// Lines were sent that the peer, if it sleeps, was not woken for.
    unannounced: bool,
    fault: Option<Fault>,
}

impl<'m, W: Wake + Clone> Channel<'m, W> {
    pub(super) fn new(
        outgoing: &'m [Line],
        incoming: &'m [Line],
        wake: W,
        epoch: Epoch,
    ) -> Result<Self, RingError> {
        Ok(Self {
            sender: Sender::new(outgoing, PeerBell(wake.clone()))?,
            receiver: Receiver::new(incoming, PeerBell(wake))?,
            tag: epoch.0,
            outbox: Words::default(),
            unannounced: false,
            fault: None,
        })
    }
}

impl<W: Wake> Channel<'_, W> {
    pub(super) const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Adds a word to the line that is sent next.
    #[inline]
    pub(super) fn queue(&mut self, word: u32) {
        if self.outbox.push(word) {
            self.publish();
        }
    }

    /// Words that were not yet sent.
    pub(super) const fn queued(&self) -> usize {
        self.outbox.length
    }

    /// Sends what was collected. A peer that sleeps goes on sleeping.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.outbox.length == 0 {
            return;
        }
        let (bytes, length) = core::mem::take(&mut self.outbox).to_bytes();
        if self.fault.is_none() {
            match self.sender.try_send(self.tag, &bytes[..length]) {
                Ok(()) => self.unannounced = true,
                Err(error) => self.fault = Some(error.into()),
            }
        }
    }

    /// Sends what was collected, and wakes the peer if it sleeps and something was sent.
    #[inline]
    pub(super) fn flush(&mut self) {
        self.publish();
        if core::mem::take(&mut self.unannounced)
            && let Err(error) = self.sender.flush()
        {
            self.fault.get_or_insert(error.into());
        }
    }

    /// The peer's next line, if there is one.
    #[inline]
    pub(super) fn fetch(&mut self) -> Option<Words> {
        if self.fault.is_some() {
            return None;
        }
        self.try_fetch().unwrap_or_else(|fault| {
            self.fault = Some(fault);
            None
        })
    }

    #[inline]
    fn try_fetch(&mut self) -> Result<Option<Words>, Fault> {
        let mut bytes = [0; PAYLOAD_BYTES];
        let Some(message) = self.receiver.try_receive(&mut bytes)? else {
            return if self.receiver.is_closed() { Err(Fault::Closed) } else { Ok(None) };
        };
        if message.tag != self.tag {
            return Err(Fault::Foreign);
        }
        Words::from_bytes(&bytes[..message.length]).map(Some).ok_or(Fault::Foreign)
    }

    /// Asks to be woken. `true` where there is something to look at already.
    pub(super) fn arm(&mut self) -> bool {
        self.fault.is_none() && self.receiver.arm()
    }

    pub(super) fn disarm(&mut self) {
        self.receiver.disarm();
    }
}

impl<W: Wake> fmt::Debug for Channel<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sender, receiver, tag, fault, .. } = self;
        f.debug_struct("Channel")
            .field("sender", sender)
            .field("receiver", receiver)
            .field("tag", tag)
            .field("fault", fault)
            .finish_non_exhaustive()
    }
}
