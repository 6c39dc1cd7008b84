//! The `Net` interface over the server's decisions: who is answered when.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use libd3os::call::{Caller, Later};
use libd3os::service::Page;
use libd3os::service::net::{
    Accepted, EchoReply, EchoRequest, InterfaceStatus, Net, NetError, Opened, SocketStatus,
};
use serde::Serialize;

use crate::core::{Core, Effect, Ticket};
use crate::device::Card;

/// The interface's state: the decisions, a clock, and the answers that are owed.
pub struct Service<C: Card> {
    /// The decisions.
    pub core: Core<C>,
    clock: fn() -> Duration,
    refresh: fn(&mut Core<C>),
    owed: BTreeMap<Ticket, Owed>,
}

#[derive(Debug)]
enum Owed {
    Ready(Later<Result<(), NetError>>),
    Addresses(Later<Result<Vec<IpAddr>, NetError>>),
    Echo(Later<Result<EchoReply, NetError>>),
}

impl<C: Card> fmt::Debug for Service<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, owed, .. } = self;
        f.debug_struct("Service").field("core", core).field("owed", owed).finish_non_exhaustive()
    }
}

impl<C: Card> Service<C> {
    /// The interface over these decisions, with the time since the machine started. `refresh` asks
    /// the drivers how their lines are.
    pub const fn new(core: Core<C>, clock: fn() -> Duration, refresh: fn(&mut Core<C>)) -> Self {
        Self { core, clock, refresh, owed: BTreeMap::new() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.clock)()
    }

    /// Gives the answers that have become known.
    pub fn answer(&mut self) {
        for effect in self.core.effects() {
            match effect {
                Effect::Ready(ticket, result) => {
                    if let Some(Owed::Ready(later)) = self.owed.remove(&ticket) {
                        later.answer(&result);
                    }
                }
                Effect::Resolved(ticket, result) => {
                    if let Some(Owed::Addresses(later)) = self.owed.remove(&ticket) {
                        later.answer(&result);
                    }
                }
                Effect::Echoed(ticket, result) => {
                    if let Some(Owed::Echo(later)) = self.owed.remove(&ticket) {
                        later.answer(&result);
                    }
                }
            }
        }
    }

    fn owe<T: Serialize>(
        &mut self,
        begun: Result<Ticket, NetError>,
        later: Later<Result<T, NetError>>,
        owed: fn(Later<Result<T, NetError>>) -> Owed,
    ) {
        match begun {
            Ok(ticket) => drop(self.owed.insert(ticket, owed(later))),
            Err(error) => later.answer(&Err(error)),
        }
    }
}

impl<C: Card> Net for Service<C> {
    fn interfaces(&mut self, _: Caller, from: u32) -> Result<Page<InterfaceStatus>, NetError> {
        (self.refresh)(&mut self.core);
        Ok(Page::fill(from, self.core.interfaces()))
    }

    fn sockets(&mut self, _: Caller, from: u32) -> Result<Page<SocketStatus>, NetError> {
        Ok(Page::fill(from, self.core.sockets()))
    }

    fn ready(&mut self, _: Caller, timeout_ms: u32, later: Later<Result<(), NetError>>) {
        let timeout = Duration::from_millis(timeout_ms.into());
        let begun = self.core.ready(timeout, self.now());
        self.owe(begun, later, Owed::Ready);
    }

    fn resolve(&mut self, _: Caller, name: String, later: Later<Result<Vec<IpAddr>, NetError>>) {
        let begun = self.core.resolve(name, self.now());
        self.owe(begun, later, Owed::Addresses);
    }

    fn ping(&mut self, _: Caller, request: EchoRequest, later: Later<Result<EchoReply, NetError>>) {
        let begun = self.core.ping(request, self.now());
        self.owe(begun, later, Owed::Echo);
    }

    fn attach(&mut self, caller: Caller, region: String, proof: u64) -> Result<u64, NetError> {
        self.core.attach(caller.program().into(), &region, proof)
    }

    fn connect_to(
        &mut self,
        caller: Caller,
        place: u16,
        remote: SocketAddr,
    ) -> Result<Opened, NetError> {
        self.core.connect_to(caller.program().into(), place, remote, self.now())
    }

    fn listen(
        &mut self,
        caller: Caller,
        place: u16,
        port: u16,
        backlog: u8,
    ) -> Result<Opened, NetError> {
        self.core.listen(caller.program().into(), place, port, backlog)
    }

    fn accept(&mut self, caller: Caller, place: u16, listener: u16) -> Result<Accepted, NetError> {
        self.core.accept(caller.program().into(), place, listener, self.now())
    }

    fn bind(&mut self, caller: Caller, place: u16, port: u16) -> Result<Opened, NetError> {
        self.core.bind(caller.program().into(), place, port)
    }
}
