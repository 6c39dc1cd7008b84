//! UDP: datagrams.

use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use super::socket::Socket;
use super::{DATAGRAM_HEADER, SocketError, decode_sender, encode_header};
use crate::call::Transport;
use crate::connection::Connection;

/// Sends and receives datagrams. Datagrams may be lost: on the way, and here when they come faster
/// than they are taken.
pub struct UdpSocket<T = Connection> {
    socket: Socket<T>,
    /// A datagram with its header, on its way out or just received.
    message: Vec<u8>,
}

impl<T> fmt::Debug for UdpSocket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl<T: Transport> UdpSocket<T> {
    pub(super) fn new(socket: Socket<T>) -> Self {
        let message = alloc::vec![0; socket.longest()];
        Self { socket, message }
    }

    /// Its address: unspecified, with the port.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.socket.local
    }

    /// Bytes of the longest datagram that the region carries.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.message.len().saturating_sub(DATAGRAM_HEADER)
    }

    /// Sends a datagram. Whether it arrives nobody tells.
    ///
    /// # Errors
    /// [`SocketError::TooLong`] beyond [`Self::longest`], and the other [`SocketError`]s.
    pub async fn send_to(&mut self, bytes: &[u8], to: SocketAddr) -> Result<(), SocketError> {
        let end = DATAGRAM_HEADER + bytes.len();
        let message = self.message.get_mut(..end).ok_or(SocketError::TooLong)?;
        let (header, payload) = message.split_at_mut(DATAGRAM_HEADER);
        header.copy_from_slice(&encode_header(to));
        payload.copy_from_slice(bytes);
        poll_fn(|_| self.socket.poll_send(&self.message[..end])).await
    }

    /// Receives a datagram: its length, and who sent it. What does not fit in `buffer` is cut off.
    ///
    /// # Errors
    /// [`SocketError`].
    pub async fn receive_from(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr), SocketError> {
        poll_fn(|_| self.poll_receive_from(buffer)).await
    }

    /// [`Self::receive_from`], for those who write futures.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn poll_receive_from(
        &mut self,
        buffer: &mut [u8],
    ) -> Poll<Result<(usize, SocketAddr), SocketError>> {
        let received = match self.socket.poll_receive(&mut self.message) {
            Poll::Ready(Ok(Some(received))) => received,
            Poll::Ready(Ok(None)) => return Poll::Ready(Err(SocketError::Closed)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        let Some((from, bytes)) = decode_sender(&self.message[..received.length]) else {
            return Poll::Ready(Err(SocketError::Protocol));
        };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Poll::Ready(Ok((count, from)))
    }
}
