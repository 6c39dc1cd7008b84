//! Machines at a simulated Ethernet, and programs on them that use the real sockets.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use libd3os::call::Bytes;
use libd3os::call::{Answer, CallError, Caller, Later, Loopback, Request, Transport};
use libd3os::net::{Bell, Stack};
use libd3os::ring::Line;
use libd3os::service::net::{LinkState, Net, NetClient, NetError};
use libd3os::task::{Alarm, block_on};

use super::router::Router;
use super::wire::{Faults, Hub, SimCard, clock, set_clock};
use crate::core::{Core, Progress};
use crate::interface::{Addressing, CardInfo};
use crate::service::Service;

pub(super) const REGION: &str = "net-test";
pub(super) const CARD: &str = "card";
pub(super) const CALLER: Caller = Caller(7);
/// Simulated time in which everything has to be done.
const PATIENCE: Duration = Duration::from_secs(20_000);

type Dispatch = fn(&mut Service<SimCard>, Request<'_>);
type Server = Loopback<Service<SimCard>, Dispatch>;

/// A machine's server, as programs on it call it.
#[derive(Clone)]
pub(super) struct Machine {
    server: Rc<RefCell<Rc<Server>>>,
    memory: &'static [Line],
    /// Whether a program has rung since the last turn.
    rung: Rc<Cell<bool>>,
    mac: [u8; 6],
    /// How often a card was plugged in.
    plugged: Rc<Cell<u32>>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}

impl Transport for Machine {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        let server = Rc::clone(&self.server.borrow());
        server.call(method, request)
    }
}

impl Machine {
    fn new(number: u8, card: SimCard, bytes: usize) -> Self {
        let memory: Vec<Line> = (0..bytes / 64).map(|_| Line::default()).collect();
        let memory: &'static [Line] = memory.leak();
        let mac = [2, 0, 0, 0, 0, number];
        let server = start(number.into(), memory);
        let machine = Self {
            server: Rc::new(RefCell::new(server)),
            memory,
            rung: Rc::default(),
            mac,
            plugged: Rc::default(),
        };
        machine.plug(card);
        machine
    }

    pub(super) fn info(&self) -> CardInfo {
        CardInfo { mac: self.mac, mtu: 1500, link: LinkState::Up, instance: 0 }
    }

    /// Each time by another instance of the driver.
    pub(super) fn plug(&self, card: SimCard) {
        let instance = self.plugged.get();
        self.plugged.set(instance + 1);
        let info = CardInfo { instance, ..self.info() };
        let plugged =
            self.core(|core| core.attach_card(CARD, card, info, Addressing::Dhcp, clock()));
        plugged.expect("a sound card");
    }

    pub(super) fn memory(&self) -> &'static [Line] {
        self.memory
    }

    /// Works with the server's decisions.
    pub(super) fn core<T>(&self, work: impl FnOnce(&mut Core<SimCard>) -> T) -> T {
        let server = Rc::clone(&self.server.borrow());
        let mut service = server.server();
        work(&mut service.core)
    }

    /// Ends the server and starts another one with the same region; the card goes with it.
    pub(super) fn restart(&self) {
        let card = self.core(|core| core.lose_card(CARD)).expect("a card");
        *self.server.borrow_mut() = start(99, self.memory);
        self.plug(card.again());
    }

    /// A program's network.
    pub(super) fn stack(&self) -> Stack<Self> {
        let rung = Rc::clone(&self.rung);
        let bell = Bell::new(move || rung.set(true));
        let client = NetClient::new(self.clone());
        Stack::attach(client, REGION, self.memory, bell, 17).expect("the region is its own")
    }

    /// Calls an operation that is answered later.
    pub(super) fn call<T>(
        &self,
        call: impl FnOnce(&mut Service<SimCard>, Later<Result<T, NetError>>),
    ) -> Answer<Result<T, NetError>> {
        let (later, answer) = Later::channel();
        let server = Rc::clone(&self.server.borrow());
        call(&mut server.server(), later);
        answer
    }

    fn turn(&self) -> bool {
        let server = Rc::clone(&self.server.borrow());
        let mut service = server.server();
        let progress = service.core.turn(clock());
        service.answer();
        let rung = service.core.rung().count() > 0;
        // A bell that is needed and does not ring is found: nobody looks unless he must.
        let ready = service.core.arm();
        rung | ready | (progress == Progress::More) | self.rung.take()
    }

    fn deadline(&self) -> Option<Duration> {
        self.core(|core| core.deadline(clock()))
    }
}

fn start(seed: u64, memory: &'static [Line]) -> Rc<Server> {
    let mut core = Core::new(seed);
    core.add_region(REGION, memory).expect("large enough");
    Rc::new(Loopback::new(Service::new(core, clock, |_| ()), CALLER, Net::dispatch as Dispatch))
}

/// Machines, a router and a hub between them.
pub(super) struct World {
    pub(super) machines: Vec<Machine>,
    hub: Hub,
    router: Router,
    pub(super) alarm: Alarm,
}

impl World {
    /// So many machines, each with a region of so many bytes.
    pub(super) fn new(machines: u8, region: usize, seed: u64) -> Self {
        set_clock(Duration::ZERO);
        let mut hub = Hub::new(seed);
        let router = Router::new(hub.plug());
        let machines = (1..=machines).map(|number| Machine::new(number, hub.plug(), region));
        let machines = machines.collect();
        Self { machines, hub, router, alarm: Alarm::new(clock) }
    }

    /// Two machines with addresses, and from now on such a hub between them.
    pub(super) fn ready(seed: u64, faults: Faults) -> Self {
        let mut world = Self::new(2, 256 << 10, seed);
        world.wait_for_addresses();
        world.hub.faults = faults;
        world
    }

    pub(super) fn wait_for_addresses(&mut self) {
        let all = |world: &Self| {
            world.machines.iter().all(|machine| {
                machine.core(|core| {
                    core.interfaces().any(|it| it.addresses.iter().any(|a| a.address.is_ipv4()))
                })
            })
        };
        while !all(self) {
            self.step();
        }
    }

    /// Runs a program.
    pub(super) fn run<F: Future>(&mut self, program: F) -> F::Output {
        block_on(program, || self.step())
    }

    /// Waits for an answer that is owed.
    pub(super) fn wait<T: serde::de::DeserializeOwned>(
        &mut self,
        answer: &Answer<Result<T, NetError>>,
    ) -> Result<T, NetError> {
        loop {
            if let Some(answer) = answer.take() {
                return answer.expect("an answer");
            }
            self.step();
        }
    }

    /// Does what is to be done now, or waits until something is.
    pub(super) fn step(&mut self) {
        let mut busy = self.hub.carry();
        self.router.turn();
        for machine in &self.machines {
            busy |= machine.turn();
        }
        let deadlines = self.machines.iter().filter_map(Machine::deadline);
        let program = self.alarm.take_earliest();
        busy |= self.hub.carry();
        let next = self.hub.next().into_iter().chain(deadlines).chain(program);
        let next =
            next.chain(self.router.deadline().map(|at| at.max(clock() + Duration::from_millis(1))));
        if !busy {
            let next = next.min().expect("nothing would ever happen again");
            set_clock(next.max(clock()));
            assert!(clock() < PATIENCE, "it takes too long");
        }
    }
}
