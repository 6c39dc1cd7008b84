//! The side of a ring that receives.

use core::fmt;
use core::ops::Deref;

use super::doorbell::Doorbell;
use super::error::{ReceiveError, RingError};
use super::layout::{Cursor, Ring, lines_for};
use super::line::{Header, Line, PAYLOAD_BYTES, PAYLOAD_LENGTH};
use super::patience::Patience;
use super::presence::{self, Presence};
use super::sync::Ordering;

/// What a message is beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The sender's tag.
    pub tag: u16,
    /// Bytes of the message, now at the beginning of the buffer.
    pub length: usize,
}

/// Receives messages from a ring. Dropping it tells the sender that it is gone.
// Two ends beside each other, used by two cores, would drag each other's lines back and forth.
#[repr(align(128))]
pub struct Receiver<M: Deref<Target = [Line]>, D: Doorbell> {
    ring: Ring<M>,
    bell: D,
    presence: Presence,
    patience: Patience,
    cursor: Cursor,
    /// Lines taken, in all.
    taken: u64,
    /// Lines taken, in all, as the sender was told last.
    acknowledged: u64,
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Receiver<M, D> {
    /// The receiving side of the ring in this memory, which must be zeros or already a sender's.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] for fewer than [`super::MIN_LINES`].
    pub fn new(memory: M, bell: D) -> Result<Self, RingError> {
        let ring = Ring::new(memory)?;
        Ok(Self {
            ring,
            bell,
            presence: Presence::default(),
            patience: Patience::default(),
            cursor: Cursor::START,
            taken: 0,
            acknowledged: 0,
        })
    }

    /// Bytes of the longest message.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.ring.longest_bytes()
    }

    /// Takes a message if there is one, and returns at once.
    ///
    /// # Errors
    /// [`ReceiveError::TooLong`] where the buffer is shorter than the message,
    /// [`ReceiveError::Corrupt`].
    #[inline]
    pub fn try_receive(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, ReceiveError> {
        let line = self.ring.line(self.cursor);
        let Some(header) = self.peek(line)? else { return Ok(None) };
        let length = usize::from(header.length);
        let Some(bytes) = buffer.get_mut(..length) else {
            return Err(ReceiveError::TooLong { length });
        };
        let end = self.read(line, header, bytes)?;
        self.take(end, lines_for(length));
        Ok(Some(Received { tag: header.tag, length }))
    }

    /// As [`Self::try_receive`], for a message whose bytes go to two places: `head` is filled first,
    /// and what follows lies in `body`. The length that is told is that of both.
    ///
    /// # Errors
    /// As [`Self::try_receive`]; [`ReceiveError::TooLong`] also for a message that does not fill a
    /// head of up to [`PAYLOAD_BYTES`], or for a longer head.
    pub fn try_receive_parts(
        &mut self,
        head: &mut [u8],
        body: &mut [u8],
    ) -> Result<Option<Received>, ReceiveError> {
        let line = self.ring.line(self.cursor);
        let Some(header) = self.peek(line)? else { return Ok(None) };
        let length = usize::from(header.length);
        let mut first = [0; PAYLOAD_BYTES];
        line.load_all(&mut first);
        let body = length.checked_sub(head.len()).and_then(|rest| body.get_mut(..rest));
        let (Some(body), Some((begin, room))) = (body, first.split_at_checked(head.len())) else {
            return Err(ReceiveError::TooLong { length });
        };
        head.copy_from_slice(begin);
        let (here, rest) = body.split_at_mut(body.len().min(room.len()));
        here.copy_from_slice(&room[..here.len()]);
        let next = self.ring.next(self.cursor);
        let end = if rest.is_empty() { next } else { self.read_rest(next, header, rest)? };
        self.take(end, lines_for(length));
        Ok(Some(Received { tag: header.tag, length }))
    }

    /// Drops the next message, for example one that is too long.
    ///
    /// # Errors
    /// [`ReceiveError::Corrupt`].
    pub fn discard(&mut self) -> Result<(), ReceiveError> {
        if let Some(header) = self.peek(self.ring.line(self.cursor))? {
            let lines = lines_for(usize::from(header.length));
            self.take(self.ring.ahead(self.cursor, lines), lines);
        }
        Ok(())
    }

    /// Receives a message: waits until there is one, first looking for it, then asleep.
    ///
    /// # Errors
    /// [`ReceiveError::TooLong`], [`ReceiveError::Corrupt`], [`ReceiveError::Closed`].
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, ReceiveError> {
        loop {
            if let Some(received) = self.try_receive(buffer)? {
                return Ok(received);
            }
            self.wait()?;
        }
    }

    /// Waits until there may be a message. May return without one, so that the caller can look at
    /// other things.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`].
    pub fn wait(&mut self) -> Result<(), ReceiveError> {
        if self.looks_ready() {
            return Ok(());
        }
        self.acknowledge();
        if D::SLEEPS {
            if !self.arm() {
                self.bell.wait();
            }
            self.disarm();
        }
        if self.is_closed() { Err(ReceiveError::Closed) } else { Ok(()) }
    }

    /// Looks for a message as long as it is worth it.
    fn looks_ready(&mut self) -> bool {
        let mut patience = self.patience;
        let found = patience.look(|| self.is_ready());
        self.patience = patience;
        found
    }

    /// Whether the next [`Self::try_receive`] finds a message, or finds the ring corrupt.
    #[must_use]
    #[inline]
    pub fn is_ready(&self) -> bool {
        header(self.ring.line(self.cursor)).lap != self.cursor.lap.wrapping_sub(1)
    }

    /// Whether there is nothing to take at present, from a sender that is there.
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        !self.is_ready() && !presence::gone(self.ring.sender_state())
    }

    /// Whether the sender is gone and nothing of what it sent is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        presence::gone(self.ring.sender_state()) && !self.is_ready()
    }

    /// Asks the sender to signal the doorbell with its next message. Returns `true` where there
    /// is something to see already and the caller must not wait. For a program that waits for
    /// several rings at once: arm all, wait if none is ready, disarm all.
    pub fn arm(&mut self) -> bool {
        self.presence.doze(self.ring.receiver_state());
        self.is_ready() || presence::gone(self.ring.sender_state())
    }

    /// Ends what [`Self::arm`] began.
    pub fn disarm(&mut self) {
        self.presence.wake(self.ring.receiver_state());
    }

    /// The next message's header, if there is one; `line` is the cursor's. A line is this round's, or still the last
    /// round's; anything else was not written by the protocol.
    #[inline]
    fn peek(&self, line: &Line) -> Result<Option<Header>, ReceiveError> {
        let header = header(line);
        if header.lap != self.cursor.lap {
            let empty = header.lap == self.cursor.lap.wrapping_sub(1);
            return if empty { Ok(None) } else { Err(ReceiveError::Corrupt) };
        }
        if usize::from(header.length) > self.ring.longest_bytes() {
            return Err(ReceiveError::Corrupt);
        }
        Ok(Some(header))
    }

    /// Copies the message's bytes out; returns where the next message begins. Whatever the sender
    /// does meanwhile, each shared word is read once.
    #[inline]
    fn read(&self, line: &Line, header: Header, bytes: &mut [u8]) -> Result<Cursor, ReceiveError> {
        let next = self.ring.next(self.cursor);
        let (head, rest) = bytes.split_at_mut(bytes.len().min(PAYLOAD_BYTES));
        line.load(head);
        if rest.is_empty() { Ok(next) } else { self.read_rest(next, header, rest) }
    }

    fn read_rest(
        &self,
        mut cursor: Cursor,
        first: Header,
        mut rest: &mut [u8],
    ) -> Result<Cursor, ReceiveError> {
        let mut length = first.length;
        while !rest.is_empty() {
            let run = self.ring.run(cursor);
            let lines = lines_for(rest.len()).min(run.len());
            let (here, further) = rest.split_at_mut(rest.len().min(lines * PAYLOAD_BYTES));
            let (chunks, last) = here.as_chunks_mut::<PAYLOAD_BYTES>();
            let mut lines_here = run.iter();
            for (chunk, line) in chunks.iter_mut().zip(&mut lines_here) {
                length -= PAYLOAD_LENGTH;
                expect(line, Header { lap: cursor.lap, length, ..first })?;
                line.load_all(chunk);
            }
            if let Some(line) = lines_here.next().filter(|_| !last.is_empty()) {
                length -= PAYLOAD_LENGTH;
                expect(line, Header { lap: cursor.lap, length, ..first })?;
                line.load(last);
            }
            cursor = self.ring.ahead(cursor, lines);
            rest = further;
        }
        Ok(cursor)
    }

    /// Goes on behind a message. A side that takes something is awake: what comes next while it works
    /// needs no signal, and a ring of which nothing was taken needs not be told.
    #[inline]
    fn take(&mut self, end: Cursor, lines: usize) {
        self.presence.wake(self.ring.receiver_state());
        self.cursor = end;
        self.taken += lines as u64;
        if self.taken - self.acknowledged >= self.ring.batch() {
            self.acknowledge();
        }
    }

    /// Gives the lines that were taken back to the sender.
    #[cold]
    fn acknowledge(&mut self) {
        if self.acknowledged != self.taken {
            self.acknowledged = self.taken;
            self.ring.acknowledged().store(self.taken, Ordering::Release);
            self.presence.rouse(self.ring.sender_state(), &self.bell);
        }
    }
}

/// A line after a message's first has this header, or the sender does not keep to the protocol.
#[inline]
fn expect(line: &Line, header: Header) -> Result<(), ReceiveError> {
    let found = line.header.load(Ordering::Relaxed) == header.to_word();
    if found { Ok(()) } else { Err(ReceiveError::Corrupt) }
}

/// A line's header. What was written before it is then there to be seen.
#[inline]
fn header(line: &Line) -> Header {
    Header::from_word(line.header.load(Ordering::Acquire))
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Drop for Receiver<M, D> {
    fn drop(&mut self) {
        presence::leave(self.ring.receiver_state(), &self.bell);
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> fmt::Debug for Receiver<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, acknowledged, .. } = self;
        f.debug_struct("Receiver")
            .field("taken", taken)
            .field("acknowledged", acknowledged)
            .finish_non_exhaustive()
    }
}
