//! Words from one side to the other, a line's worth at a time: what both ends have in common.

use core::fmt;
use core::hint::spin_loop;

use super::descriptor::{NO_WORD, WORDS_PER_LINE};
use super::{Epoch, Refusals};
use crate::cap::Notification;
use crate::ring::{
    Doorbell, Line, PAYLOAD_BYTES, ReceiveError, Receiver, RingError, SendError, Sender,
};

/// Refused words that end an attachment.
const REFUSALS_MOST: u64 = 4_096;

/// Wakes the program at the other end.
pub trait Wake {
    /// Wakes it, or makes it look again before it next sleeps: at the latest when this program
    /// waits.
    fn wake(&self);

    /// This program goes on working: those that were to be woken are woken now.
    fn hurry(&self) {}
}

impl Wake for Notification {
    fn wake(&self) {
        self.signal_later();
    }

    fn hurry(&self) {
        Self::send_kept();
    }
}

impl<W: Wake + ?Sized> Wake for &W {
    fn wake(&self) {
        (**self).wake();
    }

    fn hurry(&self) {
        (**self).hurry();
    }
}

/// Why a link or a port has ended. Nothing more comes through it; the consumer attaches anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer is gone.
    Closed,
    /// The peer has broken the ring's protocol.
    Corrupt,
    /// A message that is not of this attachment, or not made of words; or thousands of words that
    /// were refused.
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

/// A line's worth of words, or fewer: the rest of the line is [`NO_WORD`]s. Always a whole line,
/// because rings move those straight through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    bytes: [u8; PAYLOAD_BYTES],
    /// Where the next word is put, or taken from.
    at: usize,
}

impl Default for Words {
    /// None.
    #[inline]
    fn default() -> Self {
        Self { bytes: [u8::MAX; PAYLOAD_BYTES], at: 0 }
    }
}

impl Words {
    /// Adds a word to words that are not full; tells whether they are now.
    #[inline]
    fn push(&mut self, word: u32) -> bool {
        if let Some(place) = self.bytes.as_chunks_mut().0.get_mut(self.at) {
            *place = word.to_le_bytes();
            self.at += 1;
        }
        self.at == WORDS_PER_LINE
    }

    /// Whether there is no first word.
    #[inline]
    fn is_empty(&self) -> bool {
        self.bytes.first_chunk() == Some(&NO_WORD.to_le_bytes())
    }

    /// The next word, `None` behind the last one.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u32> {
        let word = u32::from_le_bytes(*self.bytes.as_chunks().0.get(self.at)?);
        self.at += 1;
        (word != NO_WORD).then_some(word)
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

    /// Ends the channel where so many of the peer's words were refused that it is not worth while
    /// to look at more: one that sends nothing else would keep this side busy for ever.
    #[cold]
    pub(super) fn judge(&mut self, refusals: &Refusals) {
        if refusals.total() >= REFUSALS_MOST {
            self.fault.get_or_insert(Fault::Foreign);
        }
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
        self.outbox.at
    }

    /// Sends what was collected. A peer that sleeps goes on sleeping.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.outbox.at == 0 {
            return;
        }
        if self.fault.is_none() {
            match self.sender.try_send(self.tag, &self.outbox.bytes) {
                Ok(()) => self.unannounced = true,
                Err(error) => self.fault = Some(error.into()),
            }
        }
        self.outbox = Words::default();
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

    /// Whether [`Self::fetch`] finds nothing.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.fault.is_some() || self.receiver.is_idle()
    }

    /// Takes the peer's next line into `words`; `false` where there is none.
    #[inline]
    pub(super) fn fetch(&mut self, words: &mut Words) -> bool {
        if self.is_idle() {
            return false;
        }
        match self.try_fetch(words) {
            Ok(found) => found,
            Err(fault) => {
                // Nothing of what was read counts.
                *words = Words::default();
                self.fault = Some(fault);
                false
            }
        }
    }

    #[inline]
    fn try_fetch(&mut self, words: &mut Words) -> Result<bool, Fault> {
        let Some(message) = self.receiver.try_receive(&mut words.bytes)? else {
            return if self.receiver.is_closed() { Err(Fault::Closed) } else { Ok(false) };
        };
        words.at = 0;
        let whole = message.tag == self.tag && message.length == PAYLOAD_BYTES;
        if whole && !words.is_empty() { Ok(true) } else { Err(Fault::Foreign) }
    }

    /// Asks to be woken. `true` where there is something to look at already.
    pub(super) fn arm(&mut self) -> bool {
        self.fault.is_none() && self.receiver.arm()
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
