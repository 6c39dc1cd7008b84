//! What all sockets are: a place in the region, and the two rings there.

use alloc::rc::Rc;
use core::fmt;
use core::net::SocketAddr;
use core::task::Poll;

use super::stack::Shared;
use super::{Bell, SocketError, Status};
use crate::ring::{Line, ReceiveError, Received, Receiver, SendError, Sender};
use crate::service::net::Opened;

type Out = Sender<&'static [Line], Bell>;
pub(super) type In = Receiver<&'static [Line], Bell>;

/// A place of the region, opened. Dropping it closes the socket.
pub(super) struct Socket<T> {
    shared: Rc<Shared<T>>,
    place: u16,
    generation: u32,
    pub(super) local: SocketAddr,
    /// Gone once this side has said that it sends no more.
    out: Option<Out>,
    back: Option<In>,
}

impl<T> Socket<T> {
    /// The socket that the server opened at this place: it has cleared the rings.
    pub(super) fn new(
        shared: Rc<Shared<T>>,
        place: u16,
        opened: Opened,
    ) -> Result<Self, SocketError> {
        let (out, back) = shared.plan.rings(place).ok_or(SocketError::Protocol)?;
        let out = Sender::new(out, shared.bell.clone()).map_err(|_| SocketError::Protocol)?;
        let back = Receiver::new(back, shared.bell.clone()).map_err(|_| SocketError::Protocol)?;
        shared.mark(place, true);
        let Opened { generation, local } = opened;
        Ok(Self { shared, place, generation, local, out: Some(out), back: Some(back) })
    }

    pub(super) const fn place(&self) -> u16 {
        self.place
    }

    /// How it is doing.
    pub(super) fn status(&self) -> Result<Status, SocketError> {
        self.shared.status(self.place, self.generation)
    }

    /// Bytes of the longest message to the server.
    pub(super) fn longest(&self) -> usize {
        self.out.as_ref().map_or(0, Sender::longest)
    }

    /// Sends no more; the other side gets what was sent.
    pub(super) fn finish(&mut self) {
        self.out = None;
    }

    /// Sends a message, as soon as there is room.
    pub(super) fn poll_send(&mut self, bytes: &[u8]) -> Poll<Result<(), SocketError>> {
        self.poll_send_by(bytes.len(), |out| out.try_send(0, bytes))
    }

    /// As [`Self::poll_send`], for a message whose bytes lie in two places.
    pub(super) fn poll_send_parts(
        &mut self,
        head: &[u8],
        body: &[u8],
    ) -> Poll<Result<(), SocketError>> {
        self.poll_send_by(head.len() + body.len(), |out| out.try_send_parts(0, head, body))
    }

    #[inline]
    fn poll_send_by(
        &mut self,
        bytes: usize,
        send: impl Fn(&mut Out) -> Result<(), SendError>,
    ) -> Poll<Result<(), SocketError>> {
        if let Err(error) = self.status() {
            return Poll::Ready(Err(error));
        }
        let Some(out) = &mut self.out else { return Poll::Ready(Err(SocketError::Closed)) };
        out.disarm();
        loop {
            match send(out).and_then(|()| out.flush()) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(SendError::Full) if out.arm(bytes) => out.disarm(),
                Err(SendError::Full) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(self.send_failure(error))),
            }
        }
    }

    /// Takes a message, as soon as there is one; `None` when no more will come.
    pub(super) fn poll_receive(
        &mut self,
        buffer: &mut [u8],
    ) -> Poll<Result<Option<Received>, SocketError>> {
        self.poll_receive_by(|back| back.try_receive(buffer))
    }

    /// As [`Self::poll_receive`], with a `receive` of the caller's.
    #[inline]
    pub(super) fn poll_receive_by<R>(
        &mut self,
        mut receive: impl FnMut(&mut In) -> Result<Option<R>, ReceiveError>,
    ) -> Poll<Result<Option<R>, SocketError>> {
        if let Err(error) = self.shared.check() {
            return Poll::Ready(Err(error));
        }
        let Some(back) = &mut self.back else { return Poll::Ready(Ok(None)) };
        loop {
            match receive(back) {
                Ok(Some(received)) => return Poll::Ready(Ok(Some(received))),
                Err(error) => return Poll::Ready(Err(receive_failure(error))),
                // What failed is told after all that came before it.
                Ok(None) if back.is_closed() => {
                    return Poll::Ready(
                        self.shared.status(self.place, self.generation).map(|_| None),
                    );
                }
                Ok(None) if back.arm() => back.disarm(),
                Ok(None) => return Poll::Pending,
            }
        }
    }

    /// A ring that the server has left: it says why in the status, unless the connection ended in
    /// order.
    fn send_failure(&self, error: SendError) -> SocketError {
        match error {
            SendError::Closed => self.status().err().unwrap_or(SocketError::Closed),
            SendError::TooLong => SocketError::TooLong,
            SendError::Full | SendError::Corrupt => SocketError::Protocol,
        }
    }
}

fn receive_failure(error: ReceiveError) -> SocketError {
    match error {
        ReceiveError::TooLong { .. } => SocketError::TooLong,
        ReceiveError::Corrupt | ReceiveError::Closed => SocketError::Protocol,
    }
}

impl<T> Drop for Socket<T> {
    fn drop(&mut self) {
        self.out = None;
        self.back = None;
        self.shared.mark(self.place, false);
    }
}

impl<T> fmt::Debug for Socket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, generation, local, .. } = self;
        f.debug_struct("Socket")
            .field("place", place)
            .field("generation", generation)
            .field("local", local)
            .finish_non_exhaustive()
    }
}
