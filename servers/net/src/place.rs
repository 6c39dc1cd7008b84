//! The server's ends of a place's rings: bytes and datagrams between a program and the stack.
//!
//! Nothing here trusts what lies in the region: a ring that breaks its protocol, or a message that
//! is longer than it may be, is an error for that one socket.

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use libd3os::net::plan::RING_LINES;
use libd3os::net::{Bell, Phase, STREAM_CHUNK, SocketError, Status, decode_sender, encode_header};
use libd3os::ring::{
    Line, ReceiveError, Receiver, RingError, SendError, Sender, receiver_has_ended,
};
use smoltcp::socket::{tcp, udp};

type Memory = &'static [Line];

/// What moving bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Nothing could be moved.
    Nothing,
    /// Something was.
    Something,
    /// The program sends no more, and all that it sent was moved.
    Over,
}

/// The ring breaks its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A place that is in use: its rings' ends here, and what the program was told.
pub struct Place {
    from: Receiver<Memory, Bell>,
    /// Dropped when no more will come for the program.
    to: Option<Sender<Memory, Bell>>,
    /// The ring to the program, whose end there outlives the one here.
    back: Memory,
    status: Memory,
    bell: Bell,
    told: Status,
    /// The program's next message waits for room in the stack, not the other way round.
    blocked: bool,
    /// Something for the program waits until it has made room.
    starved: bool,
}

/// What became of a datagram for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the ring.
    Yes,
    /// There is no room at present.
    Later,
    /// There is nobody to take it, or it is too long.
    Never,
}

/// What the program sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// A message of so many bytes, which was taken.
    Message(usize),
    /// A message for which there is no room where it should go.
    TooLong,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, told, blocked, .. } = self;
        f.debug_struct("Place")
            .field("from", from)
            .field("to", to)
            .field("told", told)
            .field("blocked", blocked)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Takes a place that nobody uses: makes its rings afresh.
    ///
    /// # Errors
    /// The region has no room for rings, which the plan rules out.
    pub fn claim(
        (from, to): (Memory, Memory),
        status: &'static Line,
        bell: &Bell,
        generation: u32,
        phase: Phase,
    ) -> Result<Self, RingError> {
        from.iter().chain(to).for_each(Line::clear);
        let status = core::slice::from_ref(status);
        let mut place = Self {
            from: Receiver::new(from, bell.clone())?,
            to: Some(Sender::new(to, bell.clone())?),
            back: to,
            status,
            bell: bell.clone(),
            told: Status { generation, waiting: 0, phase: Phase::Free },
            blocked: false,
            starved: false,
        };
        place.tell(phase, 0);
        Ok(place)
    }

    /// What the program was told.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.told
    }

    /// Tells the program how it is doing, if that is news.
    pub fn tell(&mut self, phase: Phase, waiting: u8) {
        let status = Status { generation: self.told.generation, waiting, phase };
        if status != self.told {
            self.status.iter().for_each(|line| line.set_word(status.to_word()));
            self.told = status;
            ring(&self.bell);
        }
    }

    /// Tells the program that nothing works any more, and why; what came before is still read.
    pub fn fail(&mut self, error: SocketError) {
        self.tell(Phase::Failed(error), 0);
        self.to = None;
    }

    /// No more will come for the program.
    pub fn end_of_input(&mut self) {
        self.to = None;
    }

    /// Whether the program has been told that no more will come.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.to.is_none()
    }

    /// Whether the program has dropped the socket: it neither sends nor receives.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.from.is_closed() && receiver_has_ended(self.back)
    }

    /// Gives the place free.
    pub fn release(mut self) {
        self.tell(Phase::Free, 0);
    }

    /// Whether the program has sent something or left its sending side, or may have made room that
    /// something waits for.
    #[inline]
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.starved || !self.blocked && (self.from.is_ready() || self.from.is_closed())
    }

    /// Asks to be woken when the program sends. `true` where there is something to do already.
    pub fn arm(&mut self) -> bool {
        // A program that has left is looked at with every turn until its socket is gone.
        !self.blocked && !self.from.is_closed() && self.from.arm()
    }

    /// Moves bytes from the program into a stream.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn send_stream(&mut self, stream: &mut tcp::Socket<'_>) -> Result<Moved, Broken> {
        let mut moved = Moved::Nothing;
        loop {
            self.blocked = !can_take(stream);
            if self.blocked {
                return Ok(moved);
            }
            match self.chunk(stream)? {
                Some(_) => moved = Moved::Something,
                None if self.from.is_closed() => return Ok(Moved::Over),
                None => return Ok(moved),
            }
        }
    }

    /// Moves the next message: straight into the stream's buffer where that has so much room in
    /// one piece.
    fn chunk(&mut self, stream: &mut tcp::Socket<'_>) -> Result<Option<usize>, Broken> {
        let from = &mut self.from;
        let direct = stream.send(|buffer| match buffer.get_mut(..STREAM_CHUNK) {
            Some(buffer) => match from.try_receive(buffer) {
                Ok(received) => {
                    let length = received.map_or(0, |received| received.length);
                    (length, Ok(Some(received.map(|_| length))))
                }
                Err(error) => (0, Err(broken(error))),
            },
            None => (0, Ok(None)),
        });
        match direct {
            Ok(Ok(Some(moved))) => return Ok(moved),
            Ok(Err(broken)) => return Err(broken),
            // It is checked that the stream can send.
            Ok(Ok(None)) | Err(_) => {}
        }
        let mut buffer = [0; STREAM_CHUNK];
        let received = self.from.try_receive(&mut buffer).map_err(broken)?;
        let Some(received) = received else { return Ok(None) };
        // There is room for a whole chunk.
        let _sent = stream.send_slice(&buffer[..received.length]);
        Ok(Some(received.length))
    }

    /// Drops what the program sends into a stream that takes no more. Tells whether it has said
    /// that it sends no more.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn discard(&mut self) -> Result<Moved, Broken> {
        self.blocked = false;
        for _ in 0..RING_LINES {
            if !self.from.is_ready() {
                break;
            }
            self.from.discard().map_err(broken)?;
        }
        Ok(if self.from.is_closed() { Moved::Over } else { Moved::Nothing })
    }

    /// Moves bytes from a stream to the program.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn receive_stream(&mut self, stream: &mut tcp::Socket<'_>) -> Result<Moved, Broken> {
        let Some(to) = &mut self.to else { return Ok(Moved::Nothing) };
        let (mut moved, mut asked) = (Moved::Nothing, false);
        to.disarm();
        self.starved = false;
        while stream.can_recv() {
            let sent = stream.recv(|bytes| {
                let count = bytes.len().min(STREAM_CHUNK);
                let sent = to.try_send(0, &bytes[..count]);
                (if sent.is_ok() { count } else { 0 }, sent)
            });
            match sent {
                Ok(Ok(())) => (moved, asked) = (Moved::Something, false),
                // A ring that was left asks for nothing, however full it is.
                Ok(Err(SendError::Full)) if !asked && to.arm(STREAM_CHUNK) => {
                    to.disarm();
                    asked = true;
                }
                Ok(Err(SendError::Full)) => {
                    self.starved = true;
                    break;
                }
                Err(_) => break,
                Ok(Err(_)) => return Err(Broken),
            }
        }
        flush(to, moved);
        Ok(moved)
    }

    /// Takes the next message that the program sends into `buffer`.
    ///
    /// # Errors
    /// [`Broken`].
    #[inline]
    pub fn next_message(&mut self, buffer: &mut [u8]) -> Result<Next, Broken> {
        match self.from.try_receive(buffer) {
            Ok(None) => Ok(Next::Nothing),
            Ok(Some(received)) => Ok(Next::Message(received.length)),
            Err(ReceiveError::TooLong { .. }) => Ok(Next::TooLong),
            Err(_) => Err(Broken),
        }
    }

    /// The next datagram that the program sends, with its destination; `None` where there is none.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn next_datagram<'b>(
        &mut self,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<(SocketAddr, &'b [u8])>, Broken> {
        buffer.resize(self.from.longest(), 0);
        let Some(received) = self.from.try_receive(buffer).map_err(broken)? else {
            return Ok(None);
        };
        decode_sender(buffer.get(..received.length).unwrap_or(&[])).map(Some).ok_or(Broken)
    }

    /// Whether the program has sent something that was not yet taken.
    #[inline]
    #[must_use]
    pub fn has_message(&self) -> bool {
        self.from.is_ready()
    }

    /// Whether the stack can take no datagram at present.
    pub fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// Moves a datagram to the program, if it has room.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn deliver(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<Delivered, Broken> {
        let Some(to) = &mut self.to else { return Ok(Delivered::Never) };
        if core::mem::take(&mut self.starved) {
            to.disarm();
        }
        let header = encode_header(from);
        let mut sent = to.try_send_parts(0, &header, bytes);
        if sent == Err(SendError::Full) {
            if to.arm(header.len() + bytes.len()) {
                to.disarm();
                sent = to.try_send_parts(0, &header, bytes);
            }
            self.starved = sent == Err(SendError::Full);
        }
        match sent {
            Ok(()) => {
                flush(to, Moved::Something);
                Ok(Delivered::Yes)
            }
            Err(SendError::Full) => Ok(Delivered::Later),
            Err(SendError::TooLong) => Ok(Delivered::Never),
            Err(SendError::Corrupt | SendError::Closed) => Err(Broken),
        }
    }

    /// Moves datagrams from the stack to the program, as long as it has room. Tells how many, and how
    /// many it can never have.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn receive_datagrams(
        &mut self,
        socket: &mut udp::Socket<'_>,
    ) -> Result<(u16, u16), Broken> {
        let (mut taken, mut dropped) = (0, 0);
        while let Ok((bytes, metadata)) = socket.peek() {
            let from = SocketAddr::new(metadata.endpoint.addr.into(), metadata.endpoint.port);
            match self.deliver(from, bytes)? {
                Delivered::Yes => taken += 1,
                Delivered::Never => dropped += 1,
                Delivered::Later => break,
            }
            let _taken = socket.recv();
        }
        Ok((taken, dropped))
    }
}

/// Whether a chunk fits into the stream's buffer.
fn can_take(stream: &tcp::Socket<'_>) -> bool {
    stream.may_send() && stream.send_capacity() - stream.send_queue() >= STREAM_CHUNK
}

fn ring(bell: &Bell) {
    use libd3os::ring::Doorbell;
    bell.signal();
}

/// Wakes the program if something was sent. That it may be gone shows elsewhere.
fn flush(to: &mut Sender<Memory, Bell>, moved: Moved) {
    if moved == Moved::Something {
        let _gone = to.flush();
    }
}

fn broken(_: ReceiveError) -> Broken {
    Broken
}
