//! TCP: streams, and the listeners that they come from.

use alloc::boxed::Box;
use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::ops::Range;
use core::task::Poll;

use super::socket::Socket;
use super::stack::Own;
use super::{Phase, STREAM_CHUNK, SocketError, Stack};
use crate::call::Transport;
use crate::connection::Connection;
use crate::service::net::NetError;

/// A TCP connection. Dropping it ends the connection: what was written is still sent.
pub struct TcpStream<T = Connection> {
    socket: Socket<T>,
    peer: SocketAddr,
    /// A message of which a part was read, and that part's rest.
    chunk: Box<[u8; STREAM_CHUNK]>,
    rest: Range<usize>,
}

impl<T> fmt::Debug for TcpStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("socket", &self.socket)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<T: Transport> TcpStream<T> {
    /// Waits until the socket is connected.
    pub(super) async fn connected(
        socket: Socket<T>,
        peer: SocketAddr,
    ) -> Result<Self, SocketError> {
        poll_fn(|_| match socket.status() {
            Err(error) => Poll::Ready(Err(error)),
            Ok(status) if status.phase == Phase::Opening => Poll::Pending,
            Ok(_) => Poll::Ready(Ok(())),
        })
        .await?;
        Ok(Self::new(socket, peer))
    }

    fn new(socket: Socket<T>, peer: SocketAddr) -> Self {
        Self { socket, peer, chunk: Box::new([0; STREAM_CHUNK]), rest: 0..0 }
    }

    /// The other side's address.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This side's address.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.socket.local
    }

    /// Reads what has come, one byte at least, as soon as there is any; 0 when the other side
    /// sends no more.
    ///
    /// # Errors
    /// [`SocketError`], after all bytes that came before it.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SocketError> {
        poll_fn(|_| self.poll_read(buffer)).await
    }

    /// [`Self::read`], for those who write futures.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<Result<usize, SocketError>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(self.take_rest(buffer)));
        }
        // Straight to where it is wanted, if there is room for whatever comes.
        let whole = buffer.get_mut(..STREAM_CHUNK);
        let is_whole = whole.is_some();
        let received = self.socket.poll_receive(whole.unwrap_or(&mut self.chunk[..]));
        received.map(|received| {
            let length = received?.map_or(0, |received| received.length);
            if is_whole {
                return Ok(length);
            }
            self.rest = 0..length;
            Ok(self.take_rest(buffer))
        })
    }

    /// Takes of what was received and not yet read; tells how much.
    fn take_rest(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.rest.len().min(buffer.len());
        let end = self.rest.start + count;
        buffer[..count].copy_from_slice(&self.chunk[self.rest.start..end]);
        self.rest.start = end;
        count
    }

    /// Writes all of the bytes, waiting for room meanwhile. They are sent as soon as possible.
    ///
    /// # Errors
    /// [`SocketError`]; a part may have been written then.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), SocketError> {
        for chunk in bytes.chunks(STREAM_CHUNK) {
            poll_fn(|_| self.socket.poll_send(chunk)).await?;
        }
        Ok(())
    }

    /// Says that nothing more will be written. Reading goes on.
    pub fn finish(&mut self) {
        self.socket.finish();
    }
}

/// Takes connections at a port. Dropping it takes no more; those that were accepted stay.
#[derive(Debug)]
pub struct TcpListener<T = Connection> {
    stack: Stack<T>,
    socket: Socket<T>,
}

impl<T: Transport> TcpListener<T> {
    pub(super) const fn new(stack: Stack<T>, socket: Socket<T>) -> Self {
        Self { stack, socket }
    }

    /// Where it listens.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.socket.local
    }

    /// Waits for a connection. While the program has as many sockets as it can, it waits in the
    /// backlog.
    ///
    /// # Errors
    /// [`SocketError`].
    pub async fn accept(&self) -> Result<TcpStream<T>, SocketError> {
        loop {
            poll_fn(|_| match self.socket.status() {
                Err(error) => Poll::Ready(Err(error)),
                Ok(status) if status.waiting == 0 => Poll::Pending,
                Ok(_) => Poll::Ready(Ok(())),
            })
            .await?;
            self.stack.place(Own::Wait).await?;
            if let Some(stream) = self.take()? {
                return Ok(stream);
            }
        }
    }

    /// A connection that waits, unless it has gone meanwhile.
    fn take(&self) -> Result<Option<TcpStream<T>>, SocketError> {
        let mut peer = None;
        let opened = self.stack.open(|client, place| {
            let accepted = client.accept(place, self.socket.place())?;
            peer = Some(accepted.peer);
            Ok(accepted.opened)
        });
        match (opened, peer) {
            (Ok(socket), Some(peer)) => Ok(Some(TcpStream::new(socket, peer))),
            (Err(SocketError::Refusal(NetError::NothingWaits)), _) => Ok(None),
            (Err(error), _) => Err(error),
            (Ok(_), None) => Err(SocketError::Protocol),
        }
    }
}
