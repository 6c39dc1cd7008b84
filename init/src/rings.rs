//! Which pairs of rings there are between programs on different cores: core 0's decisions.
//!
//! A program that calls a service of another core has a *connection* for as long as it lives, and
//! through it, while the service's program lives too, a pair of rings in a *chunk* of the pool. The
//! memory of a pair that one side lost is not touched before the other has said that it is done
//! with it, or is dead, however long that takes: a program that does not run says nothing. Then it is
//! taken away, and cleared before it is used again. What a program can hold on to so is bounded by
//! the places of its window.
//!
//! ```text
//!            server starts                 either ends
//!    Idle ------------------> Open(chunk) -------------> Closing(chunk)
//!     ^                                                    |  when both are done with the chunk:
//!     +---------- the client lives, the server does not ---+---> Open(another), if both live
//!                                                          +---> gone, if the client does not
//! ```
//!
//! A state machine without side effects: events are methods, and what has to be done comes back as
//! [`Action`]s, in order.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use libd3os::abi::SIGNAL_LINES;
use libd3os::call::Caller;
use libd3os::region::Region;
use libd3os::ring::Side;
use libd3os::service::supervisor::RingShortage;
use libd3os::start::layout::{RING_PLACES, RING_SPAN};

use crate::board;
use crate::message::{Attachment, Bell, RingChange, Route};
use crate::supervise::ProgramNumber;

/// How long after a program's end its peers are looked at often: those that run let go at once, and
/// wait. Others are looked at with every heartbeat.
pub const PRESSING_US: u64 = 500_000;

/// The signal line of every core that is init's own.
pub const INIT_LINE: u8 = 0;

/// What the process has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fill the memory with zeros.
    Clear(Region),
    /// Say in the rings, in the place of a side that ended, that it is gone.
    End(Region, Side),
    /// Change a program's rings, where it runs.
    Change(RingChange),
}

/// Something that a program holds for its part in rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its signal line.
    Line(Bell),
    /// A pair at this place, in which it serves `client`.
    Pair {
        /// Place in its ring window.
        place: u16,
        /// Who calls.
        client: ProgramNumber,
    },
}

/// A program as it is about to run.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which.
    pub program: ProgramNumber,
    /// Where it is to run.
    pub core: u32,
    /// The session that it is to belong to.
    pub session: u8,
    /// Whether it serves anything.
    pub serves: bool,
    /// The services of other cores that it calls, and their programs.
    pub calls: Vec<(String, ProgramNumber)>,
}

/// With which rings a program starts, and what is to be done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seating {
    /// Its signal line.
    pub line: Option<u8>,
    /// Its ways to services of other cores.
    pub routes: Vec<Route>,
    /// To be done before it starts.
    pub before: Vec<Action>,
    /// To be done after it has been made.
    pub after: Vec<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    program: ProgramNumber,
    place: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Open(Region),
    Closing {
        chunk: Region,
        /// Whether the client, the server is done with the chunk: or is gone itself.
        client_done: bool,
        server_done: bool,
        since_us: u64,
    },
}

#[derive(Clone, Debug)]
struct Connection {
    client: End,
    server: End,
    /// The client still runs.
    has_client: bool,
    state: State,
}

/// What is known of a program.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    bell: Option<Bell>,
    session: u8,
    /// It is not there and will be started again.
    returns: bool,
    /// Bit i: place i of its window is taken.
    places: u64,
}

const _: () = assert!(RING_PLACES as u32 == u64::BITS);

/// Signal lines, ring windows, and the pool's chunks.
#[derive(Debug)]
pub struct Rings {
    seats: Vec<Seat>,
    connections: Vec<Connection>,
    /// By core: bit i says that line i is taken.
    lines: Vec<u16>,
    /// The part of the pool that was never used.
    fresh: Range<u64>,
    free: Vec<Region>,
}

const _: () = assert!(SIGNAL_LINES as u32 == u16::BITS);

impl Rings {
    /// No program runs. The chunks lie in a pool of `pool_bytes`, behind the board.
    #[must_use]
    pub fn new(programs: usize, cores: u32, pool_bytes: u64) -> Self {
        let behind_board = board::bytes(cores).next_multiple_of(RING_SPAN);
        Self {
            seats: alloc::vec![Seat::default(); programs],
            connections: Vec::new(),
            lines: alloc::vec![1 << INIT_LINE; cores as usize],
            fresh: behind_board..pool_bytes,
            free: Vec::new(),
        }
    }

    /// What a program holds of rings beside its routes: its line, and the pairs in which it serves.
    pub fn held_by(&self, program: ProgramNumber) -> impl Iterator<Item = Held> {
        let line = self.seat(program).bell.map(Held::Line);
        let served = self.connections.iter().filter(move |known| known.server.program == program);
        let served = served.filter(|known| matches!(known.state, State::Open(_)));
        let pairs = served
            .map(|known| Held::Pair { place: known.server.place, client: known.client.program });
        line.into_iter().chain(pairs)
    }

    /// Whether [`Self::tick`] has something to do.
    #[must_use]
    pub fn has_closing(&self) -> bool {
        self.connections.iter().any(|known| matches!(known.state, State::Closing { .. }))
    }

    /// Whether it should be called soon.
    #[must_use]
    pub fn is_pressing(&self, now_us: u64) -> bool {
        self.connections.iter().any(|known| match known.state {
            State::Closing { since_us, .. } => now_us < since_us + PRESSING_US,
            State::Idle | State::Open(_) => false,
        })
    }

    /// A program is about to be started.
    ///
    /// # Errors
    /// [`RingShortage`]; nothing has changed then.
    pub fn start(&mut self, candidate: &Candidate) -> Result<Seating, RingShortage> {
        let Candidate { program, core, session, serves, ref calls } = *candidate;
        let mut seating = Seating::default();
        if !serves && calls.is_empty() {
            return Ok(seating);
        }
        let line = self.take_line(core).ok_or(RingShortage::Lines)?;
        seating.line = Some(line);
        let seat = self.seat_mut(program);
        (seat.bell, seat.session) = (Some(Bell { core, line }), session);
        for (service, server) in calls {
            match self.connect(program, *server) {
                Ok((connection, before)) => {
                    let place = connection.client.place;
                    let pair = self.attachment(&connection, Side::Client);
                    seating.routes.push(Route { service: service.clone(), place, pair });
                    seating.before.extend(before);
                    seating.after.extend(self.attach(&connection, Side::Server));
                    self.connections.push(connection);
                }
                Err(shortage) => {
                    self.forget(program);
                    return Err(shortage);
                }
            }
        }
        seating.after.extend(self.open_all(program));
        Ok(seating)
    }

    /// A program has ended, or could not be made after all. `returns`: it will be started again.
    pub fn ended(&mut self, program: ProgramNumber, returns: bool, now_us: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for known in &mut self.connections {
            let side = match program {
                client if known.has_client && client == known.client.program => Side::Client,
                server if server == known.server.program => Side::Server,
                _ => continue,
            };
            known.has_client &= side != Side::Client;
            match &mut known.state {
                State::Idle => {}
                State::Open(chunk) => {
                    actions.push(Action::End(*chunk, side));
                    actions.push(Action::Change(match side {
                        Side::Client => {
                            RingChange::Retract(known.server.program, known.server.place)
                        }
                        // Its entry stays: calls wait until it is known whether the server
                        // comes back.
                        Side::Server => RingChange::Wake(known.client.program),
                    }));
                    let (client_done, server_done) = (side == Side::Client, side == Side::Server);
                    let chunk = *chunk;
                    known.state =
                        State::Closing { chunk, client_done, server_done, since_us: now_us };
                }
                State::Closing { client_done, server_done, .. } => {
                    *client_done |= side == Side::Client;
                    *server_done |= side == Side::Server;
                }
            }
        }
        self.leave(program, returns);
        self.drop_dead();
        actions
    }

    /// A program that was to be started again will not be.
    pub fn given_up(&mut self, program: ProgramNumber) {
        self.seat_mut(program).returns = false;
    }

    /// Looks after pairs that lost a side. `has_ended` tells whether a side has said that it is
    /// done with a pair.
    pub fn tick(&mut self, mut has_ended: impl FnMut(Region, Side) -> bool) -> Vec<Action> {
        let mut actions = Vec::new();
        for index in 0..self.connections.len() {
            let mut known = self.connections[index].clone();
            if !is_drained(&mut known, &mut has_ended) {
                self.connections[index] = known;
                continue;
            }
            actions.extend(self.settle(&mut known));
            self.connections[index] = known;
        }
        self.drop_dead();
        actions
    }

    /// What becomes of a pair that nobody uses any more.
    fn settle(&mut self, known: &mut Connection) -> Vec<Action> {
        let State::Closing { chunk, .. } = known.state else { return Vec::new() };
        let server = self.seat(known.server.program);
        let (serves, returns) = (server.bell.is_some(), server.returns);
        if known.has_client && !serves && returns {
            // The client's entry stays as long as the server is expected.
            return Vec::new();
        }
        let mut actions = Vec::new();
        let detach = |End { program, place }| Action::Change(RingChange::Detach(program, place));
        if known.has_client {
            if !serves {
                let End { program, place } = known.client;
                actions.push(Action::Change(RingChange::Retract(program, place)));
            }
            actions.push(detach(known.client));
        } else if serves {
            actions.push(detach(known.server));
        }
        known.state = State::Idle;
        self.free.push(chunk);
        if known.has_client && serves {
            actions.extend(self.open(known));
        }
        actions
    }

    /// A new connection, open if the server lives.
    fn connect(
        &mut self,
        client: ProgramNumber,
        server: ProgramNumber,
    ) -> Result<(Connection, Vec<Action>), RingShortage> {
        let client_place = free_place(self.seat(client).places).ok_or(RingShortage::Places)?;
        let server_place = free_place(self.seat(server).places).ok_or(RingShortage::Places)?;
        let mut connection = Connection {
            client: End { program: client, place: client_place },
            server: End { program: server, place: server_place },
            has_client: true,
            state: State::Idle,
        };
        let mut before = Vec::new();
        if self.seat(server).bell.is_some() {
            let chunk = self.take_chunk().ok_or(RingShortage::Pool)?;
            connection.state = State::Open(chunk);
            before.push(Action::Clear(chunk));
        }
        self.seat_mut(client).places |= 1 << client_place;
        self.seat_mut(server).places |= 1 << server_place;
        Ok((connection, before))
    }

    /// Opens every connection to a server that has come.
    fn open_all(&mut self, server: ProgramNumber) -> Vec<Action> {
        let mut actions = Vec::new();
        for index in 0..self.connections.len() {
            let mut known = self.connections[index].clone();
            if known.server.program == server && known.state == State::Idle {
                actions.extend(self.open(&mut known));
                self.connections[index] = known;
            }
        }
        actions
    }

    /// Gives an idle connection, both of whose programs live, a pair. Where the pool has no memory
    /// left it stays idle, and its client's calls fail as `Unavailable`.
    fn open(&mut self, known: &mut Connection) -> Vec<Action> {
        let Some(chunk) = self.take_chunk() else { return Vec::new() };
        known.state = State::Open(chunk);
        let mut actions = alloc::vec![Action::Clear(chunk)];
        actions.extend(self.attach(known, Side::Server));
        actions.extend(self.attach(known, Side::Client));
        actions
    }

    fn attach(&self, known: &Connection, side: Side) -> Option<Action> {
        self.attachment(known, side).map(|pair| Action::Change(RingChange::Attach(pair)))
    }

    /// What one side of an open connection is given.
    fn attachment(&self, known: &Connection, side: Side) -> Option<Attachment> {
        let State::Open(chunk) = known.state else { return None };
        let (own, other) = match side {
            Side::Client => (known.client, known.server),
            Side::Server => (known.server, known.client),
        };
        Some(Attachment {
            program: own.program,
            place: own.place,
            region: chunk,
            peer: self.seat(other.program).bell?,
            caller: self.caller(known.client.program).0,
        })
    }

    /// Takes back what a failed start had been given.
    fn forget(&mut self, program: ProgramNumber) {
        let is_new = |known: &mut Connection| known.has_client && known.client.program == program;
        let dropped: Vec<_> = self.connections.extract_if(.., is_new).collect();
        for known in dropped {
            if let State::Open(chunk) = known.state {
                self.free.push(chunk);
            }
            release(&mut self.seats, known.client);
            release(&mut self.seats, known.server);
        }
        self.leave(program, false);
    }

    /// The program has no line any more.
    fn leave(&mut self, program: ProgramNumber, returns: bool) {
        let bell = self.seat_mut(program).bell.take();
        self.seat_mut(program).returns = returns;
        if let Some(Bell { core, line }) = bell
            && let Some(lines) = self.lines.get_mut(core as usize)
        {
            *lines &= !(1 << line);
        }
    }

    /// Forgets the connections of clients that are gone, whose memory nobody uses any more.
    fn drop_dead(&mut self) {
        let seats = &mut self.seats;
        self.connections.retain(|known| {
            let is_kept = known.has_client || known.state != State::Idle;
            if !is_kept {
                release(seats, known.client);
                release(seats, known.server);
            }
            is_kept
        });
    }

    fn take_line(&mut self, core: u32) -> Option<u8> {
        let lines = self.lines.get_mut(core as usize)?;
        let line = u8::try_from(lines.trailing_ones()).ok().filter(|line| *line < SIGNAL_LINES)?;
        *lines |= 1 << line;
        Some(line)
    }

    fn take_chunk(&mut self) -> Option<Region> {
        if let Some(chunk) = self.free.pop() {
            return Some(chunk);
        }
        let chunk = board::region(self.fresh.start, RING_SPAN)?;
        (chunk.range().end() <= self.fresh.end).then(|| {
            self.fresh.start += RING_SPAN;
            chunk
        })
    }

    /// Who a client is to its servers.
    fn caller(&self, client: ProgramNumber) -> Caller {
        client.caller(self.seat(client).session)
    }

    fn seat(&self, program: ProgramNumber) -> Seat {
        self.seats.get(program.index()).copied().unwrap_or_default()
    }

    fn seat_mut(&mut self, program: ProgramNumber) -> &mut Seat {
        // Numbers are those of the image's programs, for which there is a seat each.
        let index = program.index();
        if index >= self.seats.len() {
            self.seats.resize(index + 1, Seat::default());
        }
        &mut self.seats[index]
    }
}

/// Whether nobody uses a closing pair's memory any more.
fn is_drained(known: &mut Connection, has_ended: &mut impl FnMut(Region, Side) -> bool) -> bool {
    let State::Closing { chunk, client_done, server_done, .. } = &mut known.state else {
        return false;
    };
    *client_done = *client_done || has_ended(*chunk, Side::Client);
    *server_done = *server_done || has_ended(*chunk, Side::Server);
    *client_done && *server_done
}

fn release(seats: &mut [Seat], end: End) {
    if let Some(seat) = seats.get_mut(end.program.index()) {
        seat.places &= !(1 << end.place);
    }
}

/// The lowest place that is free.
fn free_place(places: u64) -> Option<u16> {
    u16::try_from(places.trailing_ones()).ok().filter(|place| *place < RING_PLACES)
}

#[cfg(test)]
mod tests;
