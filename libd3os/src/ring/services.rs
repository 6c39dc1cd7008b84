//! The services that a program calls over rings.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use super::RingEntry;
use super::transport::{Failed, Link};
use super::window::Window;
use crate::call::{Bytes, CallError};
use crate::start::RingGrant;

/// The client's ends of all pairs of rings that lead from a program to its services.
///
/// A service that is attached anew, because it was restarted, is found at the next call.
pub struct Services<W: Window> {
    window: W,
    seats: Vec<Seat<W>>,
}

/// A service, and the pair that last led there.
struct Seat<W: Window> {
    /// The place that stands for it.
    place: u16,
    generation: u32,
    /// `None` once the pair has come to its end.
    link: Option<Link<W::Memory, W::Bell>>,
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
    /// What the server answers; [`CallError::Restarted`] where it came to its end and has not been
    /// attached again, [`CallError::Unavailable`] where nothing is attached,
    /// [`CallError::Malformed`] where it broke the rings' protocol.
    pub fn call(
        &mut self,
        ring: RingGrant,
        method: u16,
        request: &[u8],
    ) -> Result<Bytes, CallError> {
        let seat = self.seat(ring)?;
        let link = seat.link.as_mut().ok_or(CallError::Restarted)?;
        link.call(method, request).map_err(|failed| match failed {
            Failed::Call(error) => error,
            Failed::Link(error) => {
                seat.link = None;
                error
            }
        })
    }

    /// The service's seat, up to date with the directory.
    fn seat(&mut self, ring: RingGrant) -> Result<&mut Seat<W>, CallError> {
        let entry = self.window.directory().get(ring.place);
        let generation = entry.map(|entry| entry.generation);
        let is_over =
            |seat: &mut Seat<W>| seat.place == ring.place && Some(seat.generation) != generation;
        // Forgotten, not dropped: the memory is not there any more, or is another pair's already.
        self.seats.extract_if(.., is_over).for_each(|seat| mem::forget(seat.link));
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
        self.seats.push(Seat { place, generation, link: Some(link) });
        Ok(self.seats.len() - 1)
    }
}

impl<W: Window> fmt::Debug for Services<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.seats.iter().map(|seat| (seat.place, seat.generation));
        f.debug_map().entries(places).finish()
    }
}
