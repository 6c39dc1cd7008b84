//! The engine between a model of a card and the real ends of consumers.

use super::*;
use libd3os::dma::Dma;
use libd3os::nic::{Checks, Fault, Frame, Link, Memory, ROCE_PORT, Sum};
use libd3os::observe::Observable;
use libd3os::ring::LINE_BYTES;
use libd3os::service::nic::Line as Wire;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::Rc;

const RECEIVE: u16 = 8;
const TRANSMIT: u16 = 4;
const SLOTS: u16 = 3;

/// A card at whose other end the test sits. It reaches memory by address, as a device does.
#[derive(Default)]
struct Model {
    empty: VecDeque<RxIndex>,
    arrived: VecDeque<Arrival>,
    free: Vec<u16>,
    given: VecDeque<(Slot, u64, u16)>,
    gone: VecDeque<Slot>,
    armed: bool,
    armed_sent: bool,
    up: bool,
    broken: bool,
    stopped: bool,
}

type Shared = Rc<RefCell<Model>>;

/// The driver's hold of the model.
struct Hand(Shared);

#[derive(Debug, PartialEq, Eq)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

use std::fmt;

impl Card for Hand {
    type Broken = Broken;

    fn interrupted(&mut self) -> bool {
        true
    }
    fn state(&mut self) -> CardState {
        let line = if self.0.borrow().up { Wire::Up(1000) } else { Wire::Down };
        CardState { mac: [2, 0, 0, 0, 0, 1], mtu: 1500, line }
    }
    fn receive_buffers(&self) -> u16 {
        RECEIVE
    }
    fn refill(&mut self, index: RxIndex) {
        let mut model = self.0.borrow_mut();
        assert!(index.number() < RECEIVE && !model.empty.contains(&index), "{index} twice");
        model.empty.push_back(index);
    }
    fn receive(&mut self) -> Result<Option<Arrival>, Broken> {
        let mut model = self.0.borrow_mut();
        if model.broken { Err(Broken) } else { Ok(model.arrived.pop_front()) }
    }
    fn has_room(&self) -> bool {
        !self.0.borrow().free.is_empty()
    }
    fn transmit(&mut self, bus: u64, length: u16, sum: Sum) -> Option<Slot> {
        let mut model = self.0.borrow_mut();
        assert_eq!(sum, Sum::Made, "it makes none");
        let slot = Slot(model.free.pop()?);
        model.given.push_back((slot, bus, length));
        Some(slot)
    }
    fn sent(&mut self) -> Result<Option<Slot>, Broken> {
        let mut model = self.0.borrow_mut();
        let slot = model.gone.pop_front();
        model.free.extend(slot.map(|slot| slot.0));
        Ok(slot)
    }
    fn publish(&mut self) {}
    fn arm(&mut self, sent: bool) -> bool {
        let mut model = self.0.borrow_mut();
        (model.armed, model.armed_sent) = (true, sent);
        !model.arrived.is_empty() || sent && !model.gone.is_empty()
    }
    fn disarm(&mut self) {
        let mut model = self.0.borrow_mut();
        (model.armed, model.armed_sent) = (false, false);
    }
    fn stop(&mut self) {
        self.0.borrow_mut().stopped = true;
    }
}

/// Counts the signals to one program.
#[derive(Clone, Debug, Default)]
struct Bell(Rc<Cell<u32>>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Memory that driver, consumers and card share.
struct Ram(Vec<Line>);

impl Ram {
    fn new(bytes: usize) -> Self {
        Self((0..bytes / LINE_BYTES).map(|_| Line::default()).collect())
    }

    fn base(&self) -> NonNull<u8> {
        NonNull::from(&self.0[..]).cast()
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }

    /// The memory as a card finds it, at this address.
    fn dma(&self, bus: u64) -> Dma<'_> {
        // SAFETY: lines are atomic words, which may be written through shared references, and the
        // test runs everybody in turn.
        unsafe { Dma::new(self.base(), self.bytes(), bus) }
    }

    fn buffers(&self) -> Buffers<'_> {
        // SAFETY: as above.
        let buffers = unsafe { Buffers::new(self.base(), self.bytes()) };
        // SAFETY: the lines can be written.
        unsafe { buffers.writable() }
    }

    fn memory<'m>(&'m self, receive: &'m Self) -> Memory<'m> {
        // SAFETY: as above.
        unsafe { Memory::new(self.base(), self.bytes(), receive.buffers()) }.expect("fits")
    }
}

const RECEIVE_BUS: u64 = 0x10_0000;
const NET_BUS: u64 = 0x20_0000;
const RDMA_BUS: u64 = 0x40_0000;

struct World {
    receive: Ram,
    net: Ram,
    rdma: Ram,
    driver: Bell,
    bells: [Bell; 2],
    model: Shared,
}

impl World {
    fn new() -> Self {
        let region = CONTROL_BYTES + usize::from(TRANSMIT) * BUFFER_BYTES;
        let model = Model { free: (0..SLOTS).collect(), up: true, ..Model::default() };
        Self {
            receive: Ram::new(usize::from(RECEIVE) * BUFFER_BYTES),
            net: Ram::new(region),
            rdma: Ram::new(region),
            driver: Bell::default(),
            bells: Default::default(),
            model: Rc::new(RefCell::new(model)),
        }
    }

    fn engine(&self) -> Engine<'_, Hand, Bell> {
        let station = |consumer, ram: &'_ Ram, bus, bell: &Bell| {
            // SAFETY: a station's lines outlive the engine: both borrow the world.
            let lines = unsafe { std::slice::from_raw_parts(ram.0.as_ptr(), ram.0.len()) };
            Station { consumer, lines, bus, wake: bell.clone() }
        };
        let [net, rdma] = &self.bells;
        let stations = vec![
            station(Consumer::Net, &self.net, NET_BUS, net),
            station(Consumer::Rdma, &self.rdma, RDMA_BUS, rdma),
        ];
        Engine::new(Hand(Rc::clone(&self.model)), self.receive.buffers(), stations, Epoch(9))
    }

    fn memory(&self, consumer: Consumer) -> Memory<'_> {
        let ram = if consumer == Consumer::Net { &self.net } else { &self.rdma };
        ram.memory(&self.receive)
    }

    fn attach<'m>(
        &'m self,
        engine: &mut Engine<'m, Hand, Bell>,
        consumer: Consumer,
        memory: Memory<'m>,
    ) -> Link<'m, Bell> {
        memory.ticket(77);
        let attachment = engine.attach(consumer, 77).expect("attaches");
        Link::new(memory, self.driver.clone(), &attachment)
            .map_err(|(error, _)| error)
            .expect("fits")
    }

    /// A frame comes in; `false` where the card has no buffer.
    fn arrives(&self, bytes: &[u8]) -> bool {
        let mut model = self.model.borrow_mut();
        let Some(index) = model.empty.pop_front() else { return false };
        let offset = usize::from(index.number()) * BUFFER_BYTES + FRAME_OFFSET;
        write(self.receive.dma(RECEIVE_BUS), offset, bytes);
        let length = u16::try_from(bytes.len()).expect("short");
        let received = Received { length, checks: Checks::default(), rest: None };
        model.arrived.push_back(Arrival { index, frame: Ok(received) });
        true
    }

    /// The next frame goes out.
    fn leaves(&self) -> Option<Vec<u8>> {
        let mut model = self.model.borrow_mut();
        let (slot, bus, length) = model.given.pop_front()?;
        model.gone.push_back(slot);
        let memories = [self.net.dma(NET_BUS), self.rdma.dma(RDMA_BUS)];
        let found = memories.iter().find_map(|memory| Some((memory, memory.offset(bus)?)));
        let (memory, offset) = found.expect("a frame in a consumer's memory");
        let row = memory.row::<core::sync::atomic::AtomicU8>(offset, length.into()).expect("there");
        Some(row.iter().map(|byte| byte.load(core::sync::atomic::Ordering::Relaxed)).collect())
    }
}

fn write(memory: Dma<'_>, offset: usize, bytes: &[u8]) {
    let row = memory.row::<core::sync::atomic::AtomicU8>(offset, bytes.len()).expect("there");
    for (place, byte) in row.iter().zip(bytes) {
        place.store(*byte, core::sync::atomic::Ordering::Relaxed);
    }
}

fn frame(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| if place == 12 { 0xff } else { seed ^ place.to_le_bytes()[0] })
        .collect()
}

/// A RoCEv2 packet over IPv4.
fn roce(seed: u8) -> Vec<u8> {
    let mut frame = frame(seed, 80);
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[20..22].copy_from_slice(&[0, 0]);
    frame[23] = 17;
    frame[36..38].copy_from_slice(&ROCE_PORT.to_be_bytes());
    frame
}

fn counter(engine: &Engine<'_, Hand, Bell>, name: &str) -> u64 {
    engine.journal().recorder().value(name)
}

#[test]
fn the_card_has_no_buffers_before_somebody_attaches() {
    let world = World::new();
    let mut engine = world.engine();
    assert_eq!(engine.run(), Ok(false));
    assert!(!world.arrives(&frame(1, 60)));
    let _link = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    assert!(world.arrives(&frame(1, 60)));
}

#[test]
fn frames_go_to_whom_they_are_for() {
    let world = World::new();
    let mut engine = world.engine();
    let mut net = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    assert!(world.arrives(&roce(1)) && world.arrives(&frame(2, 60)));
    assert_eq!(engine.run(), Ok(true));
    assert_eq!(net.receive().map(|frame| frame.to_vec()), Some(frame(2, 60)));
    assert!(net.receive().is_none());
    assert_eq!(counter(&engine, "dropped: nobody attached"), 1);
    let mut rdma = world.attach(&mut engine, Consumer::Rdma, world.memory(Consumer::Rdma));
    assert!(world.arrives(&roce(3)));
    assert_eq!(engine.run(), Ok(true));
    assert_eq!(rdma.receive().map(|frame| frame.to_vec()), Some(roce(3)));
    assert!(net.receive().is_none());
    assert_eq!(counter(&engine, "frames received"), 2);
    assert_eq!(counter(&engine, "bytes received"), 140);
}

#[test]
fn a_ticket_or_a_region_that_is_not_there_attaches_nobody() {
    let world = World::new();
    let mut engine = world.engine();
    assert_eq!(engine.attach(Consumer::Net, 5), Err(NicError::Ticket));
    world.memory(Consumer::Net).ticket(5);
    assert_eq!(engine.attach(Consumer::Net, 6), Err(NicError::Ticket));
    assert_eq!(engine.attach(Consumer::Net, 0), Err(NicError::Ticket));
    let hand = Hand(Rc::clone(&world.model));
    let mut none = Engine::<_, Bell>::new(hand, world.receive.buffers(), Vec::new(), Epoch(0));
    assert_eq!(none.attach(Consumer::Net, 5), Err(NicError::NoRegion));
}

#[test]
fn flawed_frames_are_counted_by_their_flaw() {
    let world = World::new();
    let mut engine = world.engine();
    let _net = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    for flaw in [Flaw::Short, Flaw::Long, Flaw::Damaged, Flaw::Damaged] {
        let mut model = world.model.borrow_mut();
        let index = model.empty.pop_front().expect("a buffer");
        model.arrived.push_back(Arrival { index, frame: Err(flaw) });
    }
    assert_eq!(engine.run(), Ok(true));
    let counters = ["short", "long", "damaged"].map(|flaw| {
        let name = match flaw {
            "short" => "dropped: too short",
            "long" => "dropped: too long",
            _ => "dropped: damaged",
        };
        counter(&engine, name)
    });
    assert_eq!(counters, [1, 1, 2]);
    assert_eq!(world.model.borrow().empty.len(), RECEIVE.into(), "the card has them again");
}

#[test]
fn a_frame_in_two_buffers_is_handed_on_in_one() {
    let world = World::new();
    let mut engine = world.engine();
    let mut net = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    for seed in [1, 2] {
        assert!(world.arrives(&frame(seed, 100)));
        let mut model = world.model.borrow_mut();
        let rest = model.empty.pop_front().expect("a buffer");
        let offset = usize::from(rest.number()) * BUFFER_BYTES + FRAME_OFFSET;
        write(world.receive.dma(RECEIVE_BUS), offset, &[seed; 50]);
        let received = model.arrived.back_mut().expect("a frame").frame.as_mut().expect("whole");
        // The second says to be shorter than its own rest.
        received.length = if seed == 1 { 150 } else { 20 };
        received.rest = Some(Rest { index: rest, length: 50 });
    }
    assert_eq!(engine.run(), Ok(true));
    let received = net.receive().expect("a frame");
    assert_eq!(received.to_vec(), [&frame(1, 100)[..], &[1; 50]].concat());
    assert!(net.receive().is_none());
    assert_eq!(counter(&engine, "dropped: too long"), 1);
    assert_eq!(world.model.borrow().empty.len(), usize::from(RECEIVE) - 1);
}

#[test]
fn a_consumer_that_gives_nothing_back_costs_frames_and_not_the_card() {
    let world = World::new();
    let mut engine = world.engine();
    let mut net = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    for seed in 0..20 {
        assert!(world.arrives(&frame(seed, 60)), "the card has buffers");
        engine.run().expect("sound");
    }
    assert_eq!(counter(&engine, "dropped: no buffers given back"), 20 - u64::from(RECEIVE / 2));
    let first = net.receive().expect("a frame");
    net.give_back(first);
    net.flush();
    assert!(world.arrives(&frame(9, 60)));
    engine.run().expect("sound");
    assert_eq!(counter(&engine, "frames received"), 5);
}

#[test]
fn a_consumer_that_attaches_again_begins_anew() {
    let world = World::new();
    let mut engine = world.engine();
    let mut net = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    assert!(world.arrives(&frame(1, 60)));
    let outgoing = net.take().expect("a buffer");
    net.send(outgoing, 60, Sum::Made);
    net.flush();
    engine.run().expect("sound");
    drop(net);
    let mut net = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    assert_eq!(world.model.borrow().empty.len(), RECEIVE.into(), "all buffers are the card's");
    // The frame of the old attachment goes out: its buffer is nobody's to give back.
    assert!(world.leaves().is_some());
    engine.run().expect("sound");
    assert!(net.receive().is_none());
    assert_eq!((net.refusals().total(), counter(&engine, "refused descriptors")), (0, 0));
    assert!(
        (0..TRANSMIT)
            .all(|_| net.take().map(|outgoing| net.send(outgoing, 60, Sum::Made)).is_some())
    );
}

#[test]
fn a_consumer_that_ends_gives_all_back() {
    let world = World::new();
    let mut engine = world.engine();
    let net = world.attach(&mut engine, Consumer::Net, world.memory(Consumer::Net));
    assert!(world.arrives(&frame(1, 60)));
    engine.run().expect("sound");
    drop(net);
    engine.run().expect("sound");
    assert_eq!(world.model.borrow().empty.len(), RECEIVE.into());
    let events = engine.journal().recorder().recent(0);
    assert!(events.iter().any(|(_, e)| *e == Event::Ended(Consumer::Net, Fault::Closed)));
    assert!(world.arrives(&frame(2, 60)));
    engine.run().expect("sound");
    assert_eq!(counter(&engine, "dropped: nobody attached"), 1);
}

#[test]
fn a_broken_card_is_stopped() {
    let world = World::new();
    let mut engine = world.engine();
    world.model.borrow_mut().broken = true;
    assert_eq!(engine.run(), Err(Broken));
    assert!(world.model.borrow().stopped);
}

#[test]
fn the_line_is_looked_at_when_an_interrupt_brings_nothing_else() {
    let world = World::new();
    let mut engine = world.engine();
    engine.look();
    engine.look();
    world.model.borrow_mut().up = false;
    engine.interrupted();
    let events: Vec<_> =
        engine.journal().recorder().recent(0).into_iter().map(|(_, e)| e).collect();
    assert_eq!(events, [Event::Line { up: true }, Event::Spurious, Event::Line { up: false }]);
    assert_eq!(engine.journal().recorder().page(0).events[1].what, "an interrupt without a cause");
}

#[derive(Clone, Debug)]
enum Step {
    Arrives(bool, usize),
    Leaves,
    Driver,
    Take(bool),
    GiveBack(bool),
    Send(bool, usize),
    Sleep(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let length = 14usize..=4544;
    prop_oneof![
        4 => (any::<bool>(), length.clone()).prop_map(|(net, length)| Step::Arrives(net, length)),
        2 => Just(Step::Leaves),
        2 => Just(Step::Driver),
        3 => any::<bool>().prop_map(Step::Take),
        3 => any::<bool>().prop_map(Step::GiveBack),
        3 => (any::<bool>(), length).prop_map(|(net, length)| Step::Send(net, length)),
        2 => any::<bool>().prop_map(Step::Sleep),
    ]
}

/// A consumer, and a slow obvious account of its frames.
struct Client<'m> {
    link: Link<'m, Bell>,
    bell: Bell,
    taken: VecDeque<Frame<'m>>,
    /// In the card or on the way here.
    coming: VecDeque<Vec<u8>>,
    going: VecDeque<Vec<u8>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Between an honest card and honest consumers no frame is changed, doubled or reordered; what
    /// is lost is counted; and nobody sleeps over work: where the driver sleeps, the card is armed
    /// and its consumers ring.
    #[test]
    fn all_frames_are_accounted_for(steps in prop::collection::vec(step(), 0..600)) {
        let world = World::new();
        let mut engine = world.engine();
        let mut clients: Vec<Client<'_>> = [Consumer::Net, Consumer::Rdma]
            .into_iter()
            .zip(&world.bells)
            .map(|(consumer, bell)| Client {
                link: world.attach(&mut engine, consumer, world.memory(consumer)),
                bell: bell.clone(),
                taken: VecDeque::new(),
                coming: VecDeque::new(),
                going: VecDeque::new(),
            })
            .collect();
        let (mut seed, mut arrived, mut taken, mut sent, mut left) = (0u8, 0u64, 0u64, 0u64, 0u64);
        for step in steps {
            seed = seed.wrapping_add(1);
            match step {
                Step::Arrives(net, length) => {
                    let bytes = if net { frame(seed, length) } else { roce(seed) };
                    if world.arrives(&bytes) {
                        arrived += 1;
                        clients[usize::from(!net)].coming.push_back(bytes);
                    }
                }
                Step::Leaves => if let Some(bytes) = world.leaves() {
                    left += 1;
                    let known = clients.iter_mut().any(|client| {
                        let found = client.going.front() == Some(&bytes);
                        found.then(|| client.going.pop_front()).is_some()
                    });
                    prop_assert!(known, "a frame that nobody sent, or not in its turn");
                },
                Step::Driver => {
                    world.driver.0.take();
                    prop_assert!(engine.run().is_ok());
                    let model = world.model.borrow();
                    prop_assert!(model.armed && model.arrived.is_empty());
                }
                Step::Take(net) => {
                    let client = &mut clients[usize::from(!net)];
                    if let Some(frame) = client.link.receive() {
                        taken += 1;
                        // Frames before it may have been dropped.
                        let place = client.coming.iter().position(|bytes| **bytes == *frame);
                        prop_assert!(place.is_some(), "a frame that never came");
                        client.coming.drain(..=place.unwrap_or(0));
                        client.taken.push_back(frame);
                    }
                }
                Step::GiveBack(net) => {
                    let client = &mut clients[usize::from(!net)];
                    if let Some(frame) = client.taken.pop_front() {
                        client.link.give_back(frame);
                    }
                }
                Step::Send(net, length) => {
                    let client = &mut clients[usize::from(!net)];
                    if let Some(mut outgoing) = client.link.take() {
                        let bytes = [&[seed, net.into()], &frame(seed, length)[2..]].concat();
                        outgoing[..length].copy_from_slice(&bytes);
                        client.link.send(outgoing, length, Sum::Made);
                        client.going.push_back(bytes);
                        sent += 1;
                    }
                }
                Step::Sleep(net) => {
                    // The driver sleeps first, and then wakes for the consumer.
                    prop_assert!(engine.run().is_ok());
                    let client = &mut clients[usize::from(!net)];
                    world.driver.0.take();
                    client.link.flush();
                    if world.driver.0.take() > 0 {
                        prop_assert!(engine.run().is_ok());
                    }
                    let posted = world.model.borrow().given.len() + world.model.borrow().gone.len();
                    prop_assert!(posted > 0 || client.going.is_empty(), "a frame that waits for ever");
                    client.bell.0.take();
                    if !client.link.arm() {
                        let before = counter(&engine, "frames received");
                        let bytes = if net { frame(seed, 60) } else { roce(seed) };
                        if world.arrives(&bytes) {
                            arrived += 1;
                            client.coming.push_back(bytes);
                            prop_assert!(world.model.borrow().armed, "the card interrupts");
                            prop_assert!(engine.run().is_ok());
                            let given = counter(&engine, "frames received") > before;
                            prop_assert!(!given || client.bell.0.take() > 0, "asleep over a frame");
                        }
                    }
                }
            }
            for client in &clients {
                prop_assert_eq!((client.link.fault(), client.link.refusals().total()), (None, 0));
            }
        }
        prop_assert!(engine.run().is_ok());
        clients.iter_mut().for_each(|client| {
            while let Some(frame) = client.link.receive() {
                taken += 1;
                client.link.give_back(frame);
            }
            client.taken.drain(..).for_each(|frame| client.link.give_back(frame));
            client.link.flush();
        });
        prop_assert!(engine.run().is_ok());
        while world.leaves().is_some() {
            left += 1;
            prop_assert!(engine.run().is_ok());
        }
        let dropped = counter(&engine, "dropped: no buffers given back");
        prop_assert_eq!(arrived, taken + dropped);
        prop_assert_eq!(counter(&engine, "frames received"), taken);
        prop_assert_eq!(world.model.borrow().empty.len(), usize::from(RECEIVE), "no buffer is lost");
        prop_assert_eq!((sent, counter(&engine, "frames sent")), (left, left));
        prop_assert_eq!(counter(&engine, "refused descriptors"), 0);
    }
}
