//! A program's region: who has it, and the sockets at its places.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::net::SocketAddr;
use core::time::Duration;

use libd3os::net::plan::Plan;
use libd3os::net::{Bell, Phase};
use libd3os::ring::{Line, RingError};
use libd3os::service::net::NetError;
use smoltcp::iface::SocketHandle;

use crate::place::Place;

/// A socket of the stack: the interface's number, and its handle there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Which interface.
    pub interface: usize,
    /// Which socket there.
    pub handle: SocketHandle,
}

/// A TCP connection of a program.
#[derive(Debug)]
pub struct Stream {
    /// The stack's socket.
    pub at: At,
    /// This side.
    pub local: SocketAddr,
    /// The other side.
    pub peer: SocketAddr,
    /// When something was last seen to go forward: bytes acknowledged, received, a new state.
    pub moved: Duration,
    /// Bytes that were not yet acknowledged then.
    pub queued: usize,
    /// The program sends no more, and the stack was told.
    pub finished: bool,
}

/// What a place's socket is.
#[derive(Debug)]
pub enum Kind {
    /// A TCP connection.
    Stream(Stream),
    /// Takes TCP connections.
    Listener {
        /// At this port.
        port: u16,
        /// How many may wait at an interface.
        backlog: u8,
        /// Sockets that listen, or that shake hands.
        listening: Vec<At>,
        /// Connections that wait to be accepted, in order.
        waiting: VecDeque<At>,
    },
    /// UDP.
    Datagram {
        /// At this port.
        port: u16,
        /// A socket at each interface, for what does not go past the stack.
        at: Vec<At>,
        /// Datagrams that wait there because the program did not take those before.
        waiting: u16,
    },
}

/// A socket of a program.
#[derive(Debug)]
pub struct Socket {
    /// Its place.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// A region.
#[derive(Debug)]
pub struct Region {
    /// Its name in the manifest.
    pub name: String,
    /// The program that is attached, by its badge.
    pub caller: Option<u64>,
    /// By place.
    pub sockets: Vec<Option<Socket>>,
    plan: Plan<'static>,
    bell: Bell,
    rung: Rc<Cell<bool>>,
    instance: u64,
    generation: u32,
}

impl Region {
    /// The region in this memory, taken over from whichever server had it before: its program is
    /// told that this is another instance.
    ///
    /// # Errors
    /// It is too small for one place.
    pub fn new(name: &str, memory: &'static [Line], instance: u64) -> Result<Self, RingError> {
        let plan = Plan::new(memory)?;
        plan.instance().set_word(instance);
        let (name, caller) = (name.to_string(), None);
        let rung = Rc::new(Cell::new(true));
        let flag = Rc::clone(&rung);
        let sockets = (0..plan.places()).map(|_| None).collect();
        let bell = Bell::new(move || flag.set(true));
        Ok(Self { name, caller, sockets, plan, bell, rung, instance, generation: 0 })
    }

    /// Whether its program was to be woken since the last time that it was asked.
    pub fn take_rung(&self) -> bool {
        self.rung.take()
    }

    /// Whether the caller has shown by this number that it can write here.
    #[must_use]
    pub fn proves(&self, proof: u64) -> bool {
        proof != 0 && self.plan.proof().word() == proof
    }

    /// Gives all places free. Their sockets are the caller's to end.
    pub fn reset(&mut self) -> Vec<Kind> {
        let kinds = self.sockets.iter_mut().filter_map(Option::take).map(|socket| socket.kind);
        let kinds = kinds.collect();
        // The program may have written over it.
        self.plan.instance().set_word(self.instance);
        for place in 0..self.plan.places() {
            if let Some(status) = self.plan.status(place) {
                status.set_word(0);
            }
        }
        kinds
    }

    /// Whether a socket can be opened there.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn check_free(&self, place: u16) -> Result<(), NetError> {
        match self.sockets.get(usize::from(place)) {
            None => Err(NetError::NoSuchPlace),
            Some(Some(_)) => Err(NetError::PlaceInUse),
            Some(None) => Ok(()),
        }
    }

    /// Opens a socket; tells its generation.
    ///
    /// # Errors
    /// [`NetError`]; then the stack's sockets are still the caller's to end.
    pub fn open(&mut self, place: u16, kind: Kind, phase: Phase) -> Result<u32, (NetError, Kind)> {
        let places = self.plan.rings(place).zip(self.plan.status(place));
        let entry = self.sockets.get_mut(usize::from(place)).filter(|entry| entry.is_none());
        let (Some((rings, status)), Some(entry)) = (places, entry) else {
            return Err((NetError::NoSuchPlace, kind));
        };
        self.generation = self.generation.wrapping_add(1);
        match Place::claim(rings, status, &self.bell, self.generation, phase) {
            Err(_) => Err((NetError::NoSuchPlace, kind)),
            Ok(place) => {
                *entry = Some(Socket { place, kind });
                Ok(self.generation)
            }
        }
    }
}
