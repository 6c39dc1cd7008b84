//! The services that a program calls over rings.

use alloc::vec::Vec;
use core::fmt;

use super::transport::{Failed, Link};
use super::window::Window;
use super::{Doorbell, RingEntry};
use crate::call::{Bytes, CallError};
use crate::start::RingGrant;

/// The client's ends of all pairs of rings that lead from a program to its services.
///
/// A call of a service whose server has ended waits until it is attached anew or its entry is
/// cleared, as a call through an endpoint waits for the server's next life.
pub struct Services<W: Window> {
    window: W,
    seats: Vec<Seat<W>>,
}

/// A service, and the pair that last led there.
struct Seat<W: Window> {
    /// The place that stands for it.
    place: u16,
    generation: u32,
    state: State<W>,
}

/// What has become of a pair. Whatever is not open has said in the rings that it is over, and does
/// not touch the memory any more.
enum State<W: Window> {
    Open(Link<W::Memory, W::Bell>),
    /// The server has ended: another may be attached.
    Over,
    /// The server has broken the protocol, and as long as it lives, no other is attached.
    Broken(CallError),
}

impl<W: Window> Services<W> {
    /// The services behind this window.
    #[must_use]
    pub const fn new(window: W) -> Self {
        Self { window, seats: Vec::new() }
    }

    /// Makes a call over the pair of rings of this grant.
    ///
    /// # Errors
    /// What the server answers; [`CallError::Restarted`] where it came to its end during the call,
    /// [`CallError::Unavailable`] where nothing is attached, [`CallError::Malformed`] where it broke
    /// the rings' protocol.
    pub fn call(
        &mut self,
        ring: RingGrant,
        method: u16,
        request: &[u8],
    ) -> Result<Bytes, CallError> {
        loop {
            // Read before the entry: what changes after that ends the wait.
            let changes = self.window.directory().changes();
            let seat = self.seat(ring)?;
            match &mut seat.state {
                State::Open(link) if !link.is_over() => return seat.call(method, request),
                State::Broken(error) => return Err(*error),
                State::Open(_) | State::Over => seat.state = State::Over,
            }
            self.wait_for_change(ring, changes);
        }
    }

    /// Waits until the directory has changed since it had this number of changes.
    fn wait_for_change(&self, ring: RingGrant, changes: u64) {
        let bell = self.window.bell(ring.bell);
        while self.window.directory().changes() == changes {
            bell.wait();
        }
    }

    /// The service's seat, up to date with the directory.
    fn seat(&mut self, ring: RingGrant) -> Result<&mut Seat<W>, CallError> {
        let entry = self.window.directory().get(ring.place);
        let generation = entry.map(|entry| entry.generation);
        let is_over =
            |seat: &mut Seat<W>| seat.place == ring.place && Some(seat.generation) != generation;
        // One that is still open is dropped, and so says that it is over: until then its memory stays.
        self.seats.retain_mut(|seat| !is_over(seat));
        let entry = entry.ok_or(CallError::Unavailable)?;
        let known = self.seats.iter().position(|seat| seat.place == ring.place);
        let index = known.map_or_else(|| self.take_seat(ring.place, entry), Ok)?;
        self.seats.get_mut(index).ok_or(CallError::Unavailable)
    }

    fn take_seat(&mut self, place: u16, entry: RingEntry) -> Result<usize, CallError> {
        let (requests, answers) = self.window.pair(entry.peer).ok_or(CallError::Unavailable)?;
        let bell = self.window.bell(entry.bell);
        let link = Link::new(requests, answers, bell).map_err(|_| CallError::Unavailable)?;
        let generation = entry.generation;
        self.seats.push(Seat { place, generation, state: State::Open(link) });
        Ok(self.seats.len() - 1)
    }
}

impl<W: Window> Seat<W> {
    fn call(&mut self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        let State::Open(link) = &mut self.state else { return Err(CallError::Restarted) };
        link.call(method, request).map_err(|failed| match failed {
            Failed::Call(error) => error,
            Failed::Link(CallError::Restarted) => {
                self.state = State::Over;
                CallError::Restarted
            }
            Failed::Link(error) => {
                self.state = State::Broken(error);
                error
            }
        })
    }
}

impl<W: Window> fmt::Debug for Services<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.seats.iter().map(|seat| (seat.place, seat.generation));
        f.debug_map().entries(places).finish()
    }
}
