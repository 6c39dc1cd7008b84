//! The side of a ring that sends.

use core::fmt;
use core::ops::Deref;

use super::doorbell::Doorbell;
use super::error::{RingError, SendError};
use super::layout::{Cursor, Ring, lines_for};
use super::line::{Header, Line, PAYLOAD_BYTES, PAYLOAD_LENGTH};
use super::presence::{self, Presence};
use super::sync::{LOOKS_BEFORE_SLEEP, Ordering, spin_loop};

/// Sends messages into a ring. Dropping it closes the ring: the receiver gets what was sent and
/// then `Closed`.
// Two ends beside each other, used by two cores, would drag each other's lines back and forth.
#[repr(align(128))]
pub struct Sender<M: Deref<Target = [Line]>, D: Doorbell> {
    ring: Ring<M>,
    bell: D,
    presence: Presence,
    cursor: Cursor,
    /// Lines written, in all.
    sent: u64,
    /// Lines that the receiver has taken, in all, as it said last.
    acknowledged: u64,
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Sender<M, D> {
    /// The sending side of the ring in this memory, which must be zeros. There must be one sender
    /// and one receiver; a second one breaks the ring's protocol and nothing else.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] for fewer than [`super::MIN_LINES`].
    pub fn new(memory: M, bell: D) -> Result<Self, RingError> {
        let ring = Ring::new(memory)?;
        let presence = Presence::default();
        Ok(Self { ring, bell, presence, cursor: Cursor::START, sent: 0, acknowledged: 0 })
    }

    /// Bytes of the longest message.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.ring.longest_bytes()
    }

    /// Puts a message into the ring and returns at once. A receiver that polls sees it; one that
    /// sleeps is woken by [`Self::flush`], which may follow after several messages.
    ///
    /// # Errors
    /// [`SendError::Full`] where the receiver has not yet given back enough room (it tells of
    /// what it took in batches of a quarter of the ring, so up to that may be free already),
    /// [`SendError::TooLong`] beyond [`Self::longest`], [`SendError::Corrupt`].
    #[inline]
    pub fn try_send(&mut self, tag: u16, bytes: &[u8]) -> Result<(), SendError> {
        let length = self.admit(bytes.len())?;
        let (head, rest) = bytes.split_at(bytes.len().min(PAYLOAD_BYTES));
        self.write(tag, length, head, rest);
        Ok(())
    }

    /// As [`Self::try_send`], for a message whose bytes lie in two places: a head that fits in a
    /// line, and what follows it.
    ///
    /// # Errors
    /// As [`Self::try_send`]; [`SendError::TooLong`] also for a head of more than
    /// [`PAYLOAD_BYTES`].
    pub fn try_send_parts(&mut self, tag: u16, head: &[u8], body: &[u8]) -> Result<(), SendError> {
        let mut first = [0; PAYLOAD_BYTES];
        let (place, room) = first.split_at_mut_checked(head.len()).ok_or(SendError::TooLong)?;
        let length = self.admit(head.len() + body.len())?;
        let (begin, rest) = body.split_at(body.len().min(room.len()));
        place.copy_from_slice(head);
        room[..begin.len()].copy_from_slice(begin);
        self.write(tag, length, &first[..head.len() + begin.len()], rest);
        Ok(())
    }

    /// Takes the lines of a message of so many bytes, which is written next; its length.
    #[inline]
    fn admit(&mut self, bytes: usize) -> Result<u16, SendError> {
        let length = u16::try_from(bytes).map_err(|_| SendError::TooLong)?;
        if bytes > self.ring.longest_bytes() {
            return Err(SendError::TooLong);
        }
        let lines = lines_for(bytes);
        if lines > self.room() && !self.sees_room(lines)? {
            return Err(SendError::Full);
        }
        self.sent += lines as u64;
        Ok(length)
    }

    /// Wakes the receiver if it sleeps.
    ///
    /// # Errors
    /// [`SendError::Closed`] where it is gone.
    pub fn flush(&mut self) -> Result<(), SendError> {
        self.presence.rouse(self.ring.receiver_state(), &self.bell);
        if self.is_closed() { Err(SendError::Closed) } else { Ok(()) }
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        presence::gone(self.ring.receiver_state())
    }

    /// Sends a message: waits until there is room for it, and wakes the receiver.
    ///
    /// # Errors
    /// [`SendError::TooLong`], [`SendError::Corrupt`], [`SendError::Closed`].
    pub fn send(&mut self, tag: u16, bytes: &[u8]) -> Result<(), SendError> {
        loop {
            match self.try_send(tag, bytes) {
                Ok(()) => return self.flush(),
                Err(SendError::Full) => self.wait(lines_for(bytes.len()))?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks the receiver to signal the doorbell when it gives back room. Returns `true` where there
    /// is room for a message of so many bytes already, or there never will be, and the caller must
    /// not wait. The counterpart of [`super::Receiver::arm`].
    pub fn arm(&mut self, bytes: usize) -> bool {
        self.presence.doze(self.ring.sender_state());
        self.sees_room(lines_for(bytes)) != Ok(false) || self.is_closed()
    }

    /// Ends what [`Self::arm`] began.
    pub fn disarm(&mut self) {
        self.presence.wake(self.ring.sender_state());
    }

    /// Waits until there may be room for so many lines.
    fn wait(&mut self, lines: usize) -> Result<(), SendError> {
        self.flush()?;
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if self.sees_room(lines)? {
                return Ok(());
            }
            spin_loop();
        }
        if !D::SLEEPS {
            return Ok(());
        }
        self.presence.doze(self.ring.sender_state());
        let proceed = self.sees_room(lines).map(|room| {
            if !room && !self.is_closed() {
                self.bell.wait();
            }
        });
        self.presence.wake(self.ring.sender_state());
        proceed
    }

    #[inline]
    fn room(&self) -> usize {
        // Both counts only grow, and `refresh` keeps their distance within the capacity.
        self.ring.capacity() - usize::try_from(self.sent - self.acknowledged).unwrap_or(usize::MAX)
    }

    #[cold]
    fn sees_room(&mut self, lines: usize) -> Result<bool, SendError> {
        self.refresh()?;
        Ok(self.room() >= lines)
    }

    /// Reads how much the receiver has taken: no less than before, and no more than was sent.
    fn refresh(&mut self) -> Result<(), SendError> {
        let acknowledged = self.ring.acknowledged().load(Ordering::Acquire);
        if acknowledged < self.acknowledged || acknowledged > self.sent {
            return Err(SendError::Corrupt);
        }
        self.acknowledged = acknowledged;
        Ok(())
    }

    /// Writes a message: the bytes of its first line, and the rest. Its first line's header goes last and publishes all of its lines, so the
    /// receiver sees either nothing of a message or all of it.
    #[inline]
    fn write(&mut self, tag: u16, length: u16, head: &[u8], rest: &[u8]) {
        let first = self.cursor;
        self.cursor = self.ring.next(first);
        let line = self.ring.line(first);
        let header = Header { lap: first.lap, tag, length };
        line.store(head);
        if !rest.is_empty() {
            self.cursor = self.write_rest(header, rest);
        }
        line.header.store(header.to_word(), Ordering::Release);
    }

    /// Writes the lines after the first; returns where the next message begins.
    fn write_rest(&self, first: Header, mut rest: &[u8]) -> Cursor {
        let (mut cursor, mut length) = (self.cursor, first.length);
        while !rest.is_empty() {
            let run = self.ring.run(cursor);
            let lines = lines_for(rest.len()).min(run.len());
            let (here, further) = rest.split_at(rest.len().min(lines * PAYLOAD_BYTES));
            let (chunks, last) = here.as_chunks::<PAYLOAD_BYTES>();
            let mut places = run.iter();
            let mut head = |line: &Line| {
                length -= PAYLOAD_LENGTH;
                let header = Header { lap: cursor.lap, length, ..first };
                line.header.store(header.to_word(), Ordering::Relaxed);
            };
            for (chunk, line) in chunks.iter().zip(&mut places) {
                line.store_all(chunk);
                head(line);
            }
            if let Some(line) = places.next().filter(|_| !last.is_empty()) {
                line.store(last);
                head(line);
            }
            cursor = self.ring.ahead(cursor, lines);
            rest = further;
        }
        cursor
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Drop for Sender<M, D> {
    fn drop(&mut self) {
        presence::leave(self.ring.sender_state(), &self.bell);
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> fmt::Debug for Sender<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, acknowledged, .. } = self;
        f.debug_struct("Sender")
            .field("sent", sent)
            .field("acknowledged", acknowledged)
            .finish_non_exhaustive()
    }
}
