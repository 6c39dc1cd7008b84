//! UDP: datagrams.

use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use super::socket::{In, Socket};
use super::{DATAGRAM_HEADER, SocketError, decode_sender, encode_header};
use crate::call::Transport;
use crate::connection::Connection;
use crate::ring::ReceiveError;

/// Sends and receives datagrams. Datagrams may be lost: on the way, and here when they come faster
/// than they are taken.
pub struct UdpSocket<T = Connection> {
    socket: Socket<T>,
    /// A datagram, with its header, that does not fit where it was to go.
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
        if bytes.len() > self.longest() {
            return Err(SocketError::TooLong);
        }
        let header = encode_header(to);
        poll_fn(|_| self.socket.poll_send_parts(&header, bytes)).await
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
        let message = &mut self.message;
        let received = self.socket.poll_receive_by(|ring| receive(ring, buffer, message));
        received.map(|received| match received? {
            Some((count, header)) => {
                let (from, _) = decode_sender(&header).ok_or(SocketError::Protocol)?;
                Ok((count, from))
            }
            None => Err(SocketError::Closed),
        })
    }
}

/// Takes the next datagram straight into `buffer`; one that does not fit there is cut off.
fn receive(
    ring: &mut In,
    buffer: &mut [u8],
    message: &mut [u8],
) -> Result<Option<(usize, [u8; DATAGRAM_HEADER])>, ReceiveError> {
    let mut header = [0; DATAGRAM_HEADER];
    match ring.try_receive_parts(&mut header, buffer) {
        Ok(received) => Ok(received.map(|received| (received.length - DATAGRAM_HEADER, header))),
        Err(ReceiveError::TooLong { .. }) => {
            let received = ring.try_receive(message)?;
            Ok(received.map(|received| cut(&message[..received.length], buffer)))
        }
        Err(error) => Err(error),
    }
}

/// The datagram in a message, as far as it fits, and its header. A message that is shorter than a
/// header gets one that says nothing.
fn cut(message: &[u8], buffer: &mut [u8]) -> (usize, [u8; DATAGRAM_HEADER]) {
    match message.split_first_chunk() {
        Some((header, bytes)) => {
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            (count, *header)
        }
        None => (0, [0; DATAGRAM_HEADER]),
    }
}
