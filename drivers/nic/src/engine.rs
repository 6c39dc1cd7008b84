//! Frames between a card and its consumers: sans-IO over a [`Card`].
//!
//! [`Engine::run`] makes passes until neither the card nor a consumer has anything left, and arms
//! both: it is called when either has woken the driver. While it runs nobody needs to be woken, so
//! that under load there are few interrupts and few signals for many frames.
//!
//! A receive buffer is the card's, or a consumer's; a frame that cannot be handed on goes back to
//! the card at once. The card has none before the first consumer attaches: what a consumer of an
//! earlier instance of the driver still reads is not written to until it has let go.

use alloc::vec::Vec;

use libd3os::mark::{Phase, mark};
use libd3os::nic::{
    Attachment, BUFFER_BYTES, Buffers, CONTROL_BYTES, Consumer, Epoch, FRAME_OFFSET, Limits,
    NotGiven, Port, Request, RxIndex, TRANSMIT_MOST, TxIndex, Wake, buffers_in, steer,
};
use libd3os::ring::Line;
use libd3os::service::nic::{CardState, NicError};

use crate::card::{Arrival, Card, Flaw, Received, Rest, SLOTS_MOST, Slot};
use crate::journal::{Event, Journal, Pass};

/// Frames that are taken from the card in a pass, before consumers and their frames are looked at.
const FRAMES_A_PASS: u16 = 64;

/// Runs between two looks at what the card itself has counted, and at its line.
const RUNS_A_LOOK: u32 = 1024;

/// Requests of a consumer that are done in a pass.
const REQUESTS_A_PASS: u16 = 256;

/// What the image has for one consumer: its region, and its notification.
#[derive(Debug)]
pub struct Station<'m, W> {
    /// Who it is.
    pub consumer: Consumer,
    /// The region's lines.
    pub lines: &'m [Line],
    /// Where the card finds the region.
    pub bus: u64,
    /// Wakes the consumer.
    pub wake: W,
}

impl<W> Station<'_, W> {
    fn transmit_buffers(&self) -> u16 {
        let bytes = size_of_val(self.lines).saturating_sub(CONTROL_BYTES);
        buffers_in(bytes, TRANSMIT_MOST)
    }

    fn frame(&self, index: TxIndex) -> u64 {
        let offset = CONTROL_BYTES + usize::from(index.number()) * BUFFER_BYTES + FRAME_OFFSET;
        self.bus + offset as u64
    }
}

/// A station, and the port of whoever is attached to it.
struct Seat<'m, W: Wake> {
    station: Station<'m, W>,
    port: Option<Port<'m, W>>,
    epoch: Epoch,
}

/// Whose frame is in a slot of the card's.
#[derive(Clone, Copy, Debug)]
struct Owner {
    seat: u8,
    index: TxIndex,
    epoch: Epoch,
}

/// Moves frames between a card and its consumers.
pub struct Engine<'m, C, W: Wake> {
    card: C,
    receive: Buffers<'m>,
    seats: Vec<Seat<'m, W>>,
    owners: [Option<Owner>; SLOTS_MOST],
    epoch: Epoch,
    /// Whether the card has been given the receive buffers.
    filled: bool,
    up: bool,
    runs: u32,
    /// Frames were moved, or dropped, since the driver was started.
    has_moved: bool,
    journal: Journal,
}

impl<'m, C: Card, W: Wake + Clone> Engine<'m, C, W> {
    /// An engine for this card and these consumers. `epoch` is one that the last instance of the
    /// driver is unlikely to have used.
    #[must_use]
    pub fn new(card: C, receive: Buffers<'m>, stations: Vec<Station<'m, W>>, epoch: Epoch) -> Self {
        let seat = |station| Seat { station, port: None, epoch };
        Self {
            card,
            receive,
            seats: stations.into_iter().map(seat).collect(),
            owners: [None; SLOTS_MOST],
            epoch,
            filled: false,
            up: false,
            runs: 0,
            has_moved: false,
            journal: Journal::default(),
        }
    }

    /// What the driver tells of itself.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The card.
    pub const fn card(&mut self) -> &mut C {
        &mut self.card
    }

    /// The card's address and the state of its line, asked anew.
    pub fn state(&mut self) -> CardState {
        let journal = &self.journal;
        self.card.statistics(&mut |name, amount| journal.count(name, amount));
        self.line()
    }

    /// The same, without what the card itself has counted.
    fn line(&mut self) -> CardState {
        let state = self.card.state();
        let up = state.line != libd3os::service::nic::Line::Down;
        if core::mem::replace(&mut self.up, up) != up {
            self.journal.note(Event::Line { up });
        }
        state
    }

    /// The card has interrupted: ends that, before the interrupt is acknowledged. [`Self::run`]
    /// comes after.
    pub fn interrupted(&mut self) {
        if self.card.interrupted() {
            self.state();
        }
    }

    /// The interrupt brought no frame: looks whether the line has changed.
    pub fn look(&mut self) {
        let before = self.up;
        self.line();
        if self.up == before {
            self.journal.note(Event::Spurious);
        }
    }

    /// Attaches a consumer that has shown this ticket, in place of the one that was.
    ///
    /// # Errors
    /// [`NicError::NoRegion`], [`NicError::Ticket`].
    pub fn attach(&mut self, consumer: Consumer, ticket: u64) -> Result<Attachment, NicError> {
        let number = self.seats.iter().position(|seat| seat.station.consumer == consumer);
        let number = number.ok_or(NicError::NoRegion)?;
        if !Port::<W>::admits(self.seats[number].station.lines, ticket) {
            return Err(NicError::Ticket);
        }
        self.detach(number);
        self.epoch = self.epoch.next();
        let limits = self.limits(number);
        let seat = &mut self.seats[number];
        let Station { lines, wake, .. } = &seat.station;
        let port = Port::new(lines, wake.clone(), limits, self.epoch);
        seat.port = Some(port.map_err(|_| NicError::NoRegion)?);
        seat.epoch = self.epoch;
        self.fill();
        self.journal.attached(consumer);
        let (Limits { receive, quota, transmit, sums }, epoch) = (limits, self.epoch);
        Ok(Attachment { epoch, receive, quota, transmit, sums, card: self.state() })
    }

    /// A consumer may have half of the receive buffers, so that the card always has some, and the
    /// other consumers frames.
    fn limits(&self, seat: usize) -> Limits {
        let receive = self.receive_buffers();
        let transmit = self.seats[seat].station.transmit_buffers();
        Limits { receive, quota: (receive / 2).max(1), transmit, sums: self.card.sums() }
    }

    fn receive_buffers(&self) -> u16 {
        self.receive.count().min(self.card.receive_buffers())
    }

    /// Takes all that a consumer has back.
    fn detach(&mut self, seat: usize) {
        let Some(mut port) = self.seats[seat].port.take() else { return };
        while let Some(index) = port.reclaim() {
            self.card.refill(index);
        }
    }

    fn fill(&mut self) {
        if !core::mem::replace(&mut self.filled, true) {
            (0..self.receive_buffers()).for_each(|index| self.card.refill(RxIndex::new(index)));
        }
    }

    /// Moves frames until there is nothing left to move, and arms card and consumers. Tells
    /// whether anything was done.
    ///
    /// # Errors
    /// What the card did that no card may. It has been stopped.
    pub fn run(&mut self) -> Result<bool, C::Broken> {
        self.runs = self.runs.wrapping_add(1);
        if self.runs.is_multiple_of(RUNS_A_LOOK) {
            self.state();
        }
        let mut done = false;
        loop {
            self.card.disarm();
            let pass = self.pass().inspect_err(|_| self.card.stop())?;
            if !pass.is_empty() {
                if !core::mem::replace(&mut self.has_moved, true) {
                    mark(Phase::FirstFrame);
                }
                done = true;
                self.journal.passed(&pass);
            }
            if !self.arm() {
                return Ok(done);
            }
            self.seats.iter().for_each(|seat| seat.station.wake.hurry());
        }
    }

    /// Arms everybody. `true` where somebody has something already.
    fn arm(&mut self) -> bool {
        let ports = || self.seats.iter().filter_map(|seat| seat.port.as_ref());
        let starved = ports().any(Port::starved) || !self.card.has_room();
        let mut ready = self.card.arm(starved);
        for port in self.seats.iter_mut().filter_map(|seat| seat.port.as_mut()) {
            ready |= port.arm() && self.card.has_room();
        }
        ready
    }

    fn pass(&mut self) -> Result<Pass, C::Broken> {
        let mut pass = Pass::default();
        self.finish_sent()?;
        for seat in 0..self.seats.len() {
            self.serve(seat, &mut pass);
        }
        self.hand_on(&mut pass)?;
        self.card.publish();
        for seat in &mut self.seats {
            if let Some(port) = &mut seat.port {
                port.flush();
            }
        }
        Ok(pass)
    }

    /// Gives the buffers of frames that have gone out back to those who sent them.
    #[inline]
    fn finish_sent(&mut self) -> Result<(), C::Broken> {
        while let Some(Slot(slot)) = self.card.sent()? {
            let Some(place) = self.owners.get_mut(usize::from(slot)) else { continue };
            let Some(Owner { seat, index, epoch }) = place.take() else { continue };
            // A frame of an earlier attachment went out: its buffer is the consumer's already.
            let seat = self.seats.get_mut(usize::from(seat)).filter(|seat| seat.epoch == epoch);
            if let Some(port) = seat.and_then(|seat| seat.port.as_mut()) {
                port.sent(index);
            }
        }
        Ok(())
    }

    /// Does what a consumer wants, as long as the card takes frames.
    #[inline]
    fn serve(&mut self, number: usize, pass: &mut Pass) {
        let Some(seat) = self.seats.get_mut(number) else { return };
        let Some(port) = &mut seat.port else { return };
        let before = port.refusals().total();
        for _ in 0..REQUESTS_A_PASS {
            if !self.card.has_room() {
                break;
            }
            let Some(request) = port.request() else { break };
            match request {
                Request::GivenBack(index) => self.card.refill(index),
                Request::Transmit(index, length, sum) => {
                    let slot = self.card.transmit(seat.station.frame(index), length, sum);
                    let Some(Slot(slot)) = slot else { continue };
                    let owner = Owner { seat: number.to_le_bytes()[0], index, epoch: seat.epoch };
                    if let Some(place) = self.owners.get_mut(usize::from(slot)) {
                        *place = Some(owner);
                    }
                    pass.sent += 1;
                    pass.sent_bytes += u64::from(length);
                }
            }
        }
        let refused = port.refusals().total() - before;
        if refused != 0 {
            self.journal.refused(refused);
        }
        if let Some(fault) = port.fault() {
            self.end(number, fault);
        }
    }

    /// A port has ended: what the consumer had is the card's again.
    #[cold]
    fn end(&mut self, seat: usize, fault: libd3os::nic::Fault) {
        self.journal.note(Event::Ended(self.seats[seat].station.consumer, fault));
        self.detach(seat);
    }

    /// Hands frames that have come in to those they are for.
    #[inline]
    fn hand_on(&mut self, pass: &mut Pass) -> Result<(), C::Broken> {
        for _ in 0..FRAMES_A_PASS {
            let Some(Arrival { index, frame }) = self.card.receive()? else { break };
            match frame {
                Ok(received) => self.steer(index, received, pass),
                Err(flaw) => {
                    pass.flawed += 1;
                    self.journal.flawed(flaw);
                    self.card.refill(index);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn steer(&mut self, index: RxIndex, received: Received, pass: &mut Pass) {
        let Received { length, checks, rest } = received;
        if let Some(rest) = rest
            && !self.join(index, length, rest)
        {
            pass.flawed += 1;
            self.journal.flawed(Flaw::Long);
            return self.card.refill(index);
        }
        let consumer = steer(&self.receive.head(index), length);
        let seat = self.seats.iter_mut().find(|seat| seat.station.consumer == consumer);
        let given = match seat.and_then(|seat| seat.port.as_mut()) {
            Some(port) => port.give(index, length, checks),
            None => Err(NotGiven::Fault(libd3os::nic::Fault::Closed)),
        };
        match given {
            Ok(()) => {
                pass.received += 1;
                pass.received_bytes += u64::from(length);
                return;
            }
            Err(NotGiven::Quota) => pass.quota += 1,
            Err(NotGiven::Fault(_)) => pass.nobody += 1,
            Err(NotGiven::Invalid) => pass.flawed += 1,
        }
        self.card.refill(index);
    }

    /// Brings a frame that lies in two buffers into its first, and gives the second back.
    #[cold]
    fn join(&mut self, index: RxIndex, length: u16, rest: Rest) -> bool {
        let whole = length.checked_sub(rest.length).is_some_and(|first| {
            self.receive.append(index, first.into(), rest.index, rest.length.into())
        });
        self.card.refill(rest.index);
        whole
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "shares memory between the ends of one test")]
mod tests;
