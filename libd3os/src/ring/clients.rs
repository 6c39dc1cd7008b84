//! The clients that a program serves over rings.

use alloc::vec::Vec;
use core::fmt;

use super::patience::Patience;
use super::transport::RingServer;
use super::window::Window;
use super::{RingEntry, TakenCall};
use crate::call::Caller;
use crate::start::layout::RING_PLACES;

/// The server's ends of all pairs of rings that lead from clients to a program.
///
/// Clients take turns: one that calls all the time does not keep others waiting. One that is gone
/// or breaks the protocol is dropped, and others do not notice.
pub struct Clients<W: Window> {
    window: W,
    seats: Vec<Seat<W>>,
    /// Which seat is looked at first.
    turn: usize,
    /// The directory's changes that were looked at.
    seen: Option<u64>,
    patience: Patience,
}

/// A place of the window, and what was last attached there.
struct Seat<W: Window> {
    place: u16,
    generation: u32,
    /// `None` once the pair has come to its end.
    client: Option<RingServer<W::Memory, W::Bell>>,
}

impl<W: Window> Clients<W> {
    /// The clients behind this window.
    #[must_use]
    pub fn new(window: W) -> Self {
        Self { window, seats: Vec::new(), turn: 0, seen: None, patience: Patience::default() }
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> &W {
        &self.window
    }

    /// Takes the next call if there is one, and returns at once.
    pub fn take(&mut self) -> Option<TakenCall> {
        self.refresh();
        let count = self.seats.len();
        for seat in (self.turn..count).chain(0..self.turn.min(count)) {
            if let Some(call) = self.seats[seat].take() {
                self.turn = seat + 1;
                return Some(call);
            }
        }
        None
    }

    /// Looks for calls as long as it is worth it. Tells whether there may be one.
    pub fn look(&mut self) -> bool {
        if self.clients().next().is_none() {
            return false;
        }
        let mut patience = self.patience;
        let found = patience.look(|| self.may_have_news());
        self.patience = patience;
        found
    }

    /// Asks all clients to ring for their next call. Returns `true` where there is something to
    /// see already and the caller must not wait.
    pub fn arm(&mut self) -> bool {
        let mut news = false;
        for client in self.clients() {
            news |= client.requests().arm();
        }
        news || self.seen != Some(self.window.directory().changes())
    }

    /// Ends what [`Self::arm`] began.
    pub fn disarm(&mut self) {
        self.clients().for_each(|client| client.requests().disarm());
    }

    fn clients(&mut self) -> impl Iterator<Item = &mut RingServer<W::Memory, W::Bell>> {
        self.seats.iter_mut().filter_map(|seat| seat.client.as_mut())
    }

    fn may_have_news(&mut self) -> bool {
        self.clients().any(|client| client.requests().is_ready())
    }

    /// Takes in who was attached and drops who was detached since the last look.
    fn refresh(&mut self) {
        // Read before the entries: what changes after that is looked at the next time.
        let changes = self.window.directory().changes();
        if self.seen != Some(changes) {
            self.seen = Some(changes);
            (0..RING_PLACES).for_each(|place| self.refresh_place(place));
        }
    }

    fn refresh_place(&mut self, place: u16) {
        if self.window.calls_through(place) {
            return;
        }
        let entry = self.window.directory().get(place);
        let generation = entry.map(|entry| entry.generation);
        self.seats.retain(|seat| seat.place != place || Some(seat.generation) == generation);
        if let Some(entry) = entry
            && !self.seats.iter().any(|seat| seat.place == place)
        {
            let client = self.admit(place, entry);
            self.seats.push(Seat { place, generation: entry.generation, client });
        }
    }

    fn admit(&self, place: u16, entry: RingEntry) -> Option<RingServer<W::Memory, W::Bell>> {
        let (requests, answers) = self.window.pair(place.into())?;
        let bell = self.window.bell(entry.bell);
        // Fails only where the window's pairs are too small for calls: there is nothing to serve.
        RingServer::new(requests, answers, bell, Caller(entry.peer)).ok()
    }
}

impl<W: Window> Seat<W> {
    /// The client's next call. A client that is gone, or that has broken the protocol, is dropped.
    fn take(&mut self) -> Option<TakenCall> {
        let client = self.client.as_mut()?;
        match client.take() {
            Ok(Some(call)) => Some(call),
            Ok(None) if !client.requests().is_closed() => None,
            Ok(None) | Err(_) => {
                self.client = None;
                None
            }
        }
    }
}

impl<W: Window> fmt::Debug for Clients<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.seats.iter().map(|seat| (seat.place, &seat.client));
        f.debug_map().entries(places).finish()
    }
}
