//! The server's decisions: what it does for whom, and when.
//!
//! Sans-IO. Time and requests come in as arguments; frames go through [`Card`]s, programs' bytes
//! through their regions' rings. [`Core::turn`] moves whatever can be moved and tells whether
//! there is more; [`Core::deadline`] says when it has to be called even if nothing comes;
//! [`Core::effects`] are answers that are owed, [`Core::rung`] programs to be woken.
//!
//! # Several interfaces
//!
//! Every interface has a stack and a set of sockets of its own. A connection belongs to the
//! interface through which its peer is reached; a listener and a UDP socket have a socket at each.
//! The way to an address is the interface that works and knows the longest prefix of it, else one
//! with a router; of equal ones the first.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use libd3os::net::Phase;
use libd3os::observe::{Counter, Recorder};
use libd3os::ring::{Line, RingError};
use libd3os::service::net::{
    Accepted, DropReason, EchoReply, EchoRequest, InterfaceStatus, LinkState, NetError, Opened,
    SocketKind, SocketStatus,
};

use crate::device::Card;
use crate::echoes::Echoes;
use crate::interface::{Addressing, CardInfo, Interface, Pace};
use crate::names::{self, Names};
use crate::random::Random;
use crate::region::{At, Kind, Region, Socket};
use crate::streams::{self, Desk, Turn};

/// Rounds of moving before others get their turn.
const ROUNDS: u32 = 32;
/// First port of those that are drawn (RFC 6335).
const DYNAMIC_PORTS: u16 = 49152;
/// Ports that are not for programs: the DHCP client's, and RoCE's, which the drivers steer away.
const TAKEN_PORTS: [u16; 2] = [68, 4791];
/// Connections that a listener lets wait at an interface, at most.
const BACKLOG: u8 = 8;
/// Programs that wait for an address at most.
const WAITERS: usize = 16;
/// How long one waits at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What is late already is tried again after this time.
const BREATH: Duration = Duration::from_millis(1);
/// Events that the trace remembers.
pub const TRACE_EVENTS: usize = 128;

/// A request that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u32);

/// An answer that is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To who waited for an address.
    Ready(Ticket, Result<(), NetError>),
    /// To who asked for a name.
    Resolved(Ticket, Result<Vec<IpAddr>, NetError>),
    /// To who sent an echo request.
    Echoed(Ticket, Result<EchoReply, NetError>),
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing that could be done is left.
    Quiet,
    /// There is.
    More,
}

/// What the server did, for its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This interface was added.
    Added(u8),
    /// Its driver came back.
    Renewed(u8),
    /// Its driver is gone.
    Lost(u8),
    /// Its line changed.
    Line(u8, LinkState),
    /// Its first IPv4 address changed.
    Address(u8, Option<Ipv4Addr>),
    /// The program with this badge took its region over.
    Attached(u64),
    /// It is gone.
    Ended(u64),
    /// A connection was begun.
    Connect(SocketAddr),
    /// A listener was opened.
    Listen(u16),
    /// A connection was accepted.
    Accept(SocketAddr),
    /// A UDP socket was opened.
    Bind(u16),
    /// A socket was closed.
    Closed,
    /// A name was asked for.
    Resolve,
    /// An echo request was sent.
    Ping(IpAddr),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(index) => write!(f, "interface {index}: added"),
            Self::Renewed(index) => write!(f, "interface {index}: its driver is back"),
            Self::Lost(index) => write!(f, "interface {index}: its driver is gone"),
            Self::Line(index, link) => write!(f, "interface {index}: the line is {link}"),
            Self::Address(index, Some(address)) => write!(f, "interface {index}: is {address}"),
            Self::Address(index, None) => write!(f, "interface {index}: has no address"),
            Self::Attached(caller) => write!(f, "program {caller:#x} has its region"),
            Self::Ended(caller) => write!(f, "program {caller:#x} has ended"),
            Self::Connect(remote) => write!(f, "connects to {remote}"),
            Self::Listen(port) => write!(f, "listens at port {port}"),
            Self::Accept(peer) => write!(f, "accepted {peer}"),
            Self::Bind(port) => write!(f, "takes datagrams at port {port}"),
            Self::Closed => f.write_str("a socket was closed"),
            Self::Resolve => f.write_str("asks for a name"),
            Self::Ping(destination) => write!(f, "pings {destination}"),
        }
    }
}

/// The server.
pub struct Core<C: Card> {
    interfaces: Vec<Interface<C>>,
    regions: Vec<Region>,
    desk: Desk,
    /// Where programs' sockets are.
    open: Vec<Open>,
    /// The stack has something to do.
    stirred: bool,
    /// When the stack, or somebody who waits, has something to do even if nothing comes; `None` where
    /// that is to be asked.
    due: Option<Duration>,
    names: Names,
    echoes: Echoes,
    waiters: Vec<(Ticket, Duration)>,
    effects: Vec<Effect>,
    random: Random,
    instance: u64,
    next_ticket: u32,
    trace: Recorder<Event, TRACE_EVENTS>,
    turns: Counter,
}

/// The place of a socket, and the port that datagrams come for to it.
#[derive(Clone, Copy, Debug)]
struct Open {
    region: usize,
    place: usize,
    port: Option<u16>,
    /// Whether its program has to be asked to ring: a listener's only leaves, and that rings.
    is_armed: bool,
}

impl<C: Card> fmt::Debug for Core<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interfaces, regions, .. } = self;
        f.debug_struct("Core")
            .field("interfaces", interfaces)
            .field("regions", regions)
            .finish_non_exhaustive()
    }
}

impl<C: Card> Core<C> {
    /// A server without interfaces and regions. `seed` differs from start to start.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let trace = Recorder::default();
        let turns = trace.counter("rounds of moving");
        Self {
            interfaces: Vec::new(),
            regions: Vec::new(),
            desk: Desk::default(),
            open: Vec::new(),
            stirred: true,
            due: None,
            names: Names::default(),
            echoes: Echoes::new(random.next_u16().max(1)),
            waiters: Vec::new(),
            effects: Vec::new(),
            instance: random.next_u64().max(1),
            random,
            next_ticket: 0,
            trace,
            turns,
        }
    }

    /// Shares this region with whichever program has it too.
    ///
    /// # Errors
    /// It is too small.
    pub fn add_region(&mut self, name: &str, memory: &'static [Line]) -> Result<(), RingError> {
        self.regions.push(Region::new(name, memory, self.instance)?);
        Ok(())
    }

    /// Takes a card into use, as a new interface or as the one that has this name.
    ///
    /// # Errors
    /// The card back, where what it says of itself cannot be.
    pub fn attach_card(
        &mut self,
        name: &str,
        card: C,
        info: CardInfo,
        addressing: Addressing,
        now: Duration,
    ) -> Result<(), C> {
        if !info.is_sound() {
            return Err(card);
        }
        self.stirred = true;
        if let Some((index, interface)) = self.interface(name) {
            interface.renew(card, info);
            self.trace.note(Event::Renewed(index));
            return Ok(());
        }
        let (seed, ident) = (self.random.next_u64(), self.echoes.ident());
        self.trace.note(Event::Added(u8::try_from(self.interfaces.len()).unwrap_or(u8::MAX)));
        let interface = Interface::new(name, card, info, addressing, seed, ident, now);
        self.interfaces.push(interface);
        Ok(())
    }

    /// Takes the card of an interface away: its driver is gone.
    pub fn lose_card(&mut self, name: &str) -> Option<C> {
        self.stirred = true;
        let (index, interface) = self.interface(name)?;
        let card = interface.lose();
        if card.is_some() {
            self.trace.note(Event::Lost(index));
        }
        card
    }

    /// The line of an interface went up or down.
    pub fn set_link(&mut self, name: &str, link: LinkState) {
        if let Some((index, interface)) = self.interface(name)
            && interface.set_link(link)
        {
            self.trace.note(Event::Line(index, link));
            self.stirred = true;
        }
    }

    /// Works with an interface's card, if it has one.
    pub fn with_card<T>(&self, name: &str, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        self.interfaces.iter().find(|interface| interface.name() == name)?.with_card(work)
    }

    /// Moves what has come, and whatever the stack makes of it, up to a bound. What comes
    /// meanwhile, [`Self::arm`] tells of.
    pub fn turn(&mut self, now: Duration) -> Progress {
        for _ in 0..ROUNDS {
            if !self.round(now) {
                return Progress::Quiet;
            }
        }
        Progress::More
    }

    /// When [`Self::turn`] has to be called even if nothing comes; always after `now`.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let due = match self.due {
            Some(due) => due,
            None => {
                let due = self.next_due(now);
                *self.due.insert(due)
            }
        };
        (due < Duration::MAX).then(|| due.max(now + BREATH))
    }

    fn next_due(&mut self, now: Duration) -> Duration {
        let pace = if self.is_calm() { Pace::Calm } else { Pace::Brisk };
        let stacks = self.interfaces.iter_mut().map(|interface| interface.deadline(now, pace));
        let waiters = self.waiters.iter().map(|(_, deadline)| *deadline);
        let lingering = self.desk.lingering.deadline();
        let others = [self.names.deadline(), self.echoes.deadline(), lingering];
        let all = stacks.chain(waiters).chain(others.into_iter().flatten());
        all.min().unwrap_or(Duration::MAX)
    }

    /// Answers that are owed since the last time.
    pub fn effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }

    /// Which regions' programs are to be woken since the last time, by number.
    pub fn rung(&self) -> impl Iterator<Item = usize> + '_ {
        let rung = self.regions.iter().enumerate().filter(|(_, region)| region.take_rung());
        rung.map(|(index, _)| index)
    }

    /// Asks drivers and programs to wake the server. `true` where there is something to do
    /// already, and it must not sleep. Who was asked, and of whom nothing was taken since, may wake it
    /// once more; so there is nothing to be taken back before the next turn.
    pub fn arm(&mut self) -> bool {
        let mut ready = false;
        for interface in &self.interfaces {
            ready |= interface.with_card(C::arm).unwrap_or(false);
        }
        for_each_armed(&self.open, &mut self.regions, |socket| ready |= socket.place.arm());
        ready
    }

    /// A program has ended: its sockets are closed, and its region is nobody's.
    pub fn ended(&mut self, caller: u64) {
        let Some(index) = self.region_of(caller) else { return };
        self.trace.note(Event::Ended(caller));
        self.clear(index);
    }

    /// A program takes its region over.
    ///
    /// # Errors
    /// [`NetError::NoSuchRegion`], [`NetError::Unproven`].
    pub fn attach(&mut self, caller: u64, name: &str, proof: u64) -> Result<u64, NetError> {
        let index = self.regions.iter().position(|region| region.name == name);
        let index = index.ok_or(NetError::NoSuchRegion)?;
        if !self.regions.get(index).is_some_and(|region| region.proves(proof)) {
            return Err(NetError::Unproven);
        }
        if let Some(other) = self.region_of(caller) {
            self.clear(other);
        }
        self.clear(index);
        if let Some(region) = self.regions.get_mut(index) {
            region.caller = Some(caller);
        }
        self.trace.note(Event::Attached(caller));
        Ok(self.instance)
    }

    /// Begins a connection.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn connect_to(
        &mut self,
        caller: u64,
        place: u16,
        remote: SocketAddr,
        now: Duration,
    ) -> Result<Opened, NetError> {
        let region = self.free_place(caller, place)?;
        if remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast() {
            return Err(NetError::BadAddress);
        }
        let port = self.draw_port(SocketKind::Stream)?;
        let stream = streams::connect(&mut self.interfaces, remote, port, now)?;
        let local = stream.local;
        self.trace.note(Event::Connect(remote));
        self.open(region, place, Kind::Stream(stream), Phase::Opening, local)
    }

    /// Takes connections at a port.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn listen(
        &mut self,
        caller: u64,
        place: u16,
        port: u16,
        backlog: u8,
    ) -> Result<Opened, NetError> {
        let region = self.free_place(caller, place)?;
        let port = self.claim_port(SocketKind::Listener, port)?;
        let backlog = backlog.clamp(1, BACKLOG);
        let (listening, waiting) = (Vec::new(), VecDeque::new());
        let kind = Kind::Listener { port, backlog, listening, waiting };
        self.trace.note(Event::Listen(port));
        self.open(region, place, kind, Phase::Listening, everywhere(port))
    }

    /// Gives a connection that waits a place.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn accept(
        &mut self,
        caller: u64,
        place: u16,
        listener: u16,
        now: Duration,
    ) -> Result<Accepted, NetError> {
        let region = self.free_place(caller, place)?;
        let stream = loop {
            let Some(at) = self.waiting(region, listener)?.pop_front() else {
                self.tell_waiting(region, listener);
                return Err(NetError::NothingWaits);
            };
            if let Some(stream) = streams::accepted(&mut self.interfaces, at, now) {
                break stream;
            }
        };
        self.tell_waiting(region, listener);
        let (local, peer) = (stream.local, stream.peer);
        self.trace.note(Event::Accept(peer));
        let opened = self.open(region, place, Kind::Stream(stream), Phase::Open, local)?;
        Ok(Accepted { opened, peer })
    }

    /// Opens a UDP socket.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn bind(&mut self, caller: u64, place: u16, port: u16) -> Result<Opened, NetError> {
        let region = self.free_place(caller, place)?;
        let port = self.claim_port(SocketKind::Datagram, port)?;
        self.trace.note(Event::Bind(port));
        let kind = Kind::Datagram { port, at: Vec::new(), waiting: 0 };
        self.open(region, place, kind, Phase::Open, everywhere(port))
    }

    /// Waits until an interface has an address that others can reach.
    ///
    /// # Errors
    /// [`NetError::TooMany`].
    pub fn ready(&mut self, timeout: Duration, now: Duration) -> Result<Ticket, NetError> {
        if self.waiters.len() == WAITERS {
            return Err(NetError::TooMany);
        }
        let ticket = self.ticket();
        self.stirred = true;
        self.waiters.push((ticket, now + timeout.min(LONGEST_WAIT)));
        Ok(ticket)
    }

    /// Asks for a name's addresses. A name that is an address is answered with the next
    /// [`Self::effects`].
    ///
    /// # Errors
    /// [`NetError`].
    pub fn resolve(&mut self, name: String, now: Duration) -> Result<Ticket, NetError> {
        let ticket = self.ticket();
        self.stirred = true;
        match names::parse(name)? {
            Ok(address) => {
                self.effects.push(Effect::Resolved(ticket, Ok(alloc::vec![address])));
            }
            Err(name) => {
                self.names.ask(&name, &mut self.interfaces, ticket, now)?;
                self.trace.note(Event::Resolve);
            }
        }
        Ok(ticket)
    }

    /// Sends an echo request.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn ping(&mut self, request: EchoRequest, now: Duration) -> Result<Ticket, NetError> {
        let ticket = self.ticket();
        self.stirred = true;
        self.echoes.send(request, &mut self.interfaces, ticket, now)?;
        self.trace.note(Event::Ping(request.destination));
        Ok(ticket)
    }

    /// The interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceStatus> + '_ {
        self.interfaces.iter().map(Interface::status)
    }

    /// The sockets of all programs.
    pub fn sockets(&self) -> impl Iterator<Item = SocketStatus> + '_ {
        self.regions.iter().flat_map(move |region| {
            let sockets = region.sockets.iter().flatten();
            sockets.map(move |socket| self.describe(&region.name, socket))
        })
    }

    /// Connections that their programs have left, and that have not ended.
    #[must_use]
    pub fn lingering(&self) -> usize {
        self.desk.lingering.len()
    }

    /// What is counted and noted.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.trace
    }

    /// Whether no connection and no question is under way.
    fn is_calm(&self) -> bool {
        let mut sockets = self.regions.iter().flat_map(|region| region.sockets.iter().flatten());
        let addressed = self.interfaces.iter().all(|interface| interface.ipv4().is_some());
        let questions = self.names.is_empty() && self.echoes.is_empty();
        let quiet = questions && self.desk.lingering.is_empty() && addressed;
        quiet && !sockets.any(|socket| matches!(socket.kind, Kind::Stream(_)))
    }

    /// One round of moving; tells whether there is another to be made.
    ///
    /// Datagrams go past the stack where they can, and cost what they themselves cost. The stack, whose
    /// every turn looks at all sockets, gets one when something came for it, a program has done
    /// something that concerns it, or something is due.
    fn round(&mut self, now: Duration) -> bool {
        self.turns.increment();
        self.receive(now);
        self.stirred |= self.due.is_some_and(|due| now >= due)
            || self.interfaces.iter().any(Interface::is_stirred);
        self.serve_sockets(now);
        let busy = core::mem::take(&mut self.stirred) && self.turn_stack(now);
        self.interfaces.iter().for_each(Interface::flush);
        busy
    }

    /// Takes what has come in.
    fn receive(&mut self, now: Duration) {
        let Self { interfaces, regions, open, desk, stirred, .. } = self;
        for interface in interfaces {
            let mut lost = 0;
            *stirred |= interface.receive(now, |datagram| {
                let port = Some(datagram.to.port());
                let open = open.iter().find(|open| open.port == port);
                match open.and_then(|open| socket_at(regions, open)) {
                    None => false,
                    Some(socket) => streams::offer(socket, datagram).unwrap_or_else(|_| {
                        lost += 1;
                        true
                    }),
                }
            });
            (0..lost).for_each(|_| interface.dropped(DropReason::ReceiverFull));
            if interface.take_ways_changed() {
                desk.ways.clear();
            }
        }
    }

    /// Lets the stack do what it has to, and whoever waits for it go on; tells whether anything was
    /// sent.
    #[inline(never)]
    fn turn_stack(&mut self, now: Duration) -> bool {
        let mut busy = false;
        for index in 0..self.interfaces.len() {
            busy |= self.turn_interface(index, now);
        }
        self.desk.lingering.turn(&mut self.interfaces, now);
        let resolved = self.names.turn(&mut self.interfaces, now);
        let echoed = self.echoes.turn(&mut self.interfaces, now);
        self.effects.extend(resolved.into_iter().map(|(ticket, it)| Effect::Resolved(ticket, it)));
        self.effects.extend(echoed.into_iter().map(|(ticket, it)| Effect::Echoed(ticket, it)));
        self.answer_waiters(now);
        self.due = None;
        // What was sent has made room that somebody may wait for.
        self.stirred |= busy;
        busy
    }

    fn turn_interface(&mut self, index: usize, now: Duration) -> bool {
        let Some(interface) = self.interfaces.get_mut(index) else { return false };
        let before = interface.ipv4();
        let busy = interface.send(now);
        let after = interface.ipv4();
        if interface.take_ways_changed() {
            self.desk.ways.clear();
        }
        for seen in interface.take_seen() {
            self.desk.ways.learn(index, seen, now);
        }
        if before != after {
            self.trace.note(Event::Address(u8::try_from(index).unwrap_or(u8::MAX), after));
        }
        busy
    }

    /// Serves the sockets whose programs have done something; all of them where the stack has
    /// something to do.
    fn serve_sockets(&mut self, now: Duration) {
        let Self { regions, interfaces, open, desk, stirred, .. } = self;
        let (all, mut over) = (*stirred, Vec::new());
        for open in open {
            let Some(socket) = socket_at(regions, open) else { continue };
            if !all && !streams::has_news(socket) {
                continue;
            }
            match streams::serve(socket, interfaces, desk, now) {
                Turn::Idle | Turn::Aside => {}
                Turn::Busy => *stirred = true,
                Turn::Over => over.push(*open),
            }
        }
        if !over.is_empty() {
            self.close(&over);
        }
    }

    /// Gives places free whose sockets are over.
    fn close(&mut self, over: &[Open]) {
        for open in over {
            let region = self.regions.get_mut(open.region);
            let entry = region.and_then(|region| region.sockets.get_mut(open.place));
            let socket = entry.and_then(Option::take);
            socket.into_iter().for_each(|socket| socket.place.release());
            self.trace.note(Event::Closed);
        }
        self.stirred = true;
        self.find_open();
    }

    fn answer_waiters(&mut self, now: Duration) {
        let has_ipv4 = self.interfaces.iter().any(|interface| interface.ipv4().is_some());
        // A router's IPv6 address comes first, and not everything can be reached from it.
        let reachable = has_ipv4 || self.interfaces.iter().any(Interface::is_reachable);
        let over = |deadline: Duration| has_ipv4 || now >= deadline;
        let answered = self.waiters.extract_if(.., |(_, deadline)| over(*deadline));
        let answer = if reachable { Ok(()) } else { Err(NetError::TimedOut) };
        self.effects.extend(answered.map(|(ticket, _)| Effect::Ready(ticket, answer)));
    }

    /// Closes all sockets of a region, whose program is gone or begins anew.
    fn clear(&mut self, index: usize) {
        let Some(region) = self.regions.get_mut(index) else { return };
        region.caller = None;
        self.stirred = true;
        for mut kind in region.reset() {
            streams::abandon(&mut kind, &mut self.interfaces);
            self.trace.note(Event::Closed);
        }
        self.find_open();
    }

    /// Notes where sockets are: there are many more places.
    fn find_open(&mut self) {
        self.open.clear();
        for (region, sockets) in self.regions.iter().map(|region| &region.sockets).enumerate() {
            let open = sockets.iter().enumerate().filter_map(|(place, socket)| {
                let (port, is_armed) = match socket.as_ref()?.kind {
                    Kind::Datagram { port, .. } => (Some(port), true),
                    Kind::Stream(_) => (None, true),
                    Kind::Listener { .. } => (None, false),
                };
                Some(Open { region, place, port, is_armed })
            });
            self.open.extend(open);
        }
    }

    /// The caller's region, if a socket can be opened at this place of it.
    fn free_place(&self, caller: u64, place: u16) -> Result<usize, NetError> {
        let index = self.region_of(caller).ok_or(NetError::NotAttached)?;
        self.regions.get(index).ok_or(NetError::NotAttached)?.check_free(place)?;
        Ok(index)
    }

    fn open(
        &mut self,
        region: usize,
        place: u16,
        kind: Kind,
        phase: Phase,
        local: SocketAddr,
    ) -> Result<Opened, NetError> {
        let opened = match self.regions.get_mut(region) {
            Some(region) => region.open(place, kind, phase),
            None => Err((NetError::NotAttached, kind)),
        };
        match opened {
            Ok(generation) => {
                self.stirred = true;
                self.find_open();
                Ok(Opened { generation, local })
            }
            Err((error, mut kind)) => {
                streams::abandon(&mut kind, &mut self.interfaces);
                self.stirred = true;
                Err(error)
            }
        }
    }

    /// The connections that wait at a listener.
    fn waiting(&mut self, region: usize, listener: u16) -> Result<&mut VecDeque<At>, NetError> {
        match self.socket(region, listener).map(|socket| &mut socket.kind) {
            Some(Kind::Listener { waiting, .. }) => Ok(waiting),
            _ => Err(NetError::NotListening),
        }
    }

    /// Tells a listener's program how many still wait: it asks again for as long as there are.
    fn tell_waiting(&mut self, region: usize, listener: u16) {
        if let Some(Socket { place, kind: Kind::Listener { waiting, .. } }) =
            self.socket(region, listener)
        {
            place.tell(Phase::Listening, u8::try_from(waiting.len()).unwrap_or(u8::MAX));
        }
    }

    fn socket(&mut self, region: usize, place: u16) -> Option<&mut Socket> {
        self.regions.get_mut(region)?.sockets.get_mut(usize::from(place))?.as_mut()
    }

    /// This port, or for 0 a free one.
    fn claim_port(&mut self, kind: SocketKind, port: u16) -> Result<u16, NetError> {
        match port {
            0 => self.draw_port(kind),
            _ if self.is_free(kind, port) => Ok(port),
            _ => Err(NetError::PortInUse),
        }
    }

    fn draw_port(&mut self, kind: SocketKind) -> Result<u16, NetError> {
        let first = self.random.next_u16();
        let ports =
            (0..=u16::MAX - DYNAMIC_PORTS).map(|step| DYNAMIC_PORTS | first.wrapping_add(step));
        ports.into_iter().find(|port| self.is_free(kind, *port)).ok_or(NetError::TooMany)
    }

    /// Whether no other socket of this kind has the port. TCP's ports and UDP's are two things.
    fn is_free(&self, kind: SocketKind, port: u16) -> bool {
        let is_udp = |kind| kind == SocketKind::Datagram;
        let mut sockets = self.regions.iter().flat_map(|region| region.sockets.iter().flatten());
        let taken = sockets.any(|socket| {
            let (other, local) = match &socket.kind {
                Kind::Stream(stream) => (SocketKind::Stream, stream.local.port()),
                Kind::Listener { port, .. } => (SocketKind::Listener, *port),
                Kind::Datagram { port, .. } => (SocketKind::Datagram, *port),
            };
            // Streams of a listener have its port, too.
            let counts = other != SocketKind::Stream || kind == SocketKind::Stream;
            counts && local == port && is_udp(other) == is_udp(kind)
        });
        let reserved = is_udp(kind) && TAKEN_PORTS.contains(&port);
        !taken && !reserved
    }

    fn describe(&self, region: &str, socket: &Socket) -> SocketStatus {
        let (kind, local, remote, state) = match &socket.kind {
            Kind::Stream(stream) => {
                let state = streams::state(&self.interfaces, stream.at);
                (SocketKind::Stream, stream.local, Some(stream.peer), alloc::format!("{state}"))
            }
            Kind::Listener { port, waiting, .. } => {
                let state = alloc::format!("LISTEN, {} waiting", waiting.len());
                (SocketKind::Listener, everywhere(*port), None, state)
            }
            Kind::Datagram { port, .. } => {
                (SocketKind::Datagram, everywhere(*port), None, String::new())
            }
        };
        SocketStatus { region: region.into(), kind, local, remote, state }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        Ticket(self.next_ticket)
    }

    fn region_of(&self, caller: u64) -> Option<usize> {
        self.regions.iter().position(|region| region.caller == Some(caller))
    }

    fn interface(&mut self, name: &str) -> Option<(u8, &mut Interface<C>)> {
        let mut interfaces = (0..).zip(&mut self.interfaces);
        interfaces.find(|(_, interface)| interface.name() == name)
    }
}

fn socket_at<'r>(regions: &'r mut [Region], open: &Open) -> Option<&'r mut Socket> {
    regions.get_mut(open.region)?.sockets.get_mut(open.place)?.as_mut()
}

fn for_each_armed(open: &[Open], regions: &mut [Region], mut work: impl FnMut(&mut Socket)) {
    for open in open.iter().filter(|open| open.is_armed) {
        socket_at(regions, open).into_iter().for_each(&mut work);
    }
}

/// All of the machine's addresses.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}
