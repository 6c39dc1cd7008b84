//! The driver against the model of a virtio card.

use super::*;
use crate::model::Model;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use virtio::model::{Device as Virtio, scribble};
use virtio::regs::Status;

const BUFFERS: u16 = 6;
const RINGS: usize = 2048;
const TRANSMIT: usize = RINGS + BUFFERS as usize * BUFFER_BYTES;
const BYTES: usize = TRANSMIT + 4 * BUFFER_BYTES;
const BUS: u64 = 0x1_2345_6000;
const ALL: Features = WANTED.union(Features::VERSION_1).union(Features::ACCESS_PLATFORM);

fn memory() -> Vec<u64> {
    vec![0x5555_5555_5555_5555; BYTES / 8]
}

fn transport(memory: Dma<'_>, offers: Features) -> Transport<Model<'_>> {
    let model = Model::new(memory, offers, [8, 8]);
    Transport::find(&Virtio::config(), &Virtio::openings(), model).expect("structures")
}

fn frames() -> Frames {
    Frames { bus: BUS + (RINGS + FRAME_OFFSET) as u64, count: BUFFERS }
}

fn device(words: &mut [u64], offers: Features) -> (Device<'_, Model<'_>>, Dma<'_>) {
    let memory = Dma::of_words(words, BUS);
    let rings = memory.part(0, RINGS).expect("there");
    let device = Device::new(transport(memory, offers), rings, frames(), Some(0));
    (device.expect("set up"), memory)
}

impl<'m> Device<'m, Model<'m>> {
    fn model(&mut self) -> &mut Model<'m> {
        self.transport.windows()
    }

    fn fill(&mut self) {
        (0..self.receive_buffers()).for_each(|index| self.refill(RxIndex::new(index)));
        self.publish();
    }
}

fn bytes(memory: Dma<'_>, offset: usize, length: usize) -> Vec<u8> {
    let row = memory.row::<AtomicU8>(offset, length).expect("there");
    row.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
}

fn put(memory: Dma<'_>, offset: usize, bytes: &[u8]) {
    let row = memory.row::<AtomicU8>(offset, bytes.len()).expect("there");
    row.iter().zip(bytes).for_each(|(place, byte)| place.store(*byte, Ordering::Relaxed));
}

fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|place| seed.wrapping_mul(31).wrapping_add(place.to_le_bytes()[0])).collect()
}

#[test]
fn is_set_up_with_what_it_needs_and_no_more() {
    let mut words = memory();
    let offers = ALL | Features::from_bits_retain(0x8003 | 1 << 17);
    let (mut device, _) = device(&mut words, offers);
    assert_eq!(device.model().0.accepted(), ALL);
    assert!(device.model().0.status().contains(Status::DRIVER_OK));
    let state = device.state();
    assert_eq!(state, CardState { mac: [2, 0, 0, 0, 0, 7], mtu: 4200, line: Line::Up(1000) });
    device.model().0.reconfigure(6, &[0]);
    assert_eq!(device.state().line, Line::Down);
}

#[test]
fn a_card_that_tells_little_is_taken_as_usual() {
    let mut words = memory();
    let (mut device, _) = device(&mut words, MAC | Features::VERSION_1);
    device.model().0.reconfigure(6, &[0]);
    assert_eq!((device.state().mtu, device.state().line), (1500, Line::Up(0)));
}

#[test]
fn a_card_without_an_address_is_refused() {
    let mut words = memory();
    let memory = Dma::of_words(&mut words, BUS);
    let transport = transport(memory, ALL - MAC);
    let refused = Device::new(transport, memory, frames(), None).map(drop);
    assert_eq!(refused, Err(SetupError::NoAddress));
}

#[test]
fn frames_come_into_the_buffers_and_go_out_of_them() {
    let mut words = memory();
    let (mut device, memory) = device(&mut words, ALL);
    assert!(!device.model().arrives(&content(1, 60)), "no buffer was given");
    device.fill();
    assert!(device.model().arrives(&content(1, 4544)));
    let arrival = device.receive().expect("sound").expect("a frame");
    assert_eq!(arrival.frame.map(|frame| frame.length), Ok(4544));
    let place = RINGS + usize::from(arrival.index.number()) * BUFFER_BYTES + FRAME_OFFSET;
    assert_eq!(bytes(memory, place, 4544), content(1, 4544));
    put(memory, TRANSMIT + 64, &content(2, 1514));
    let slot = device.transmit(BUS + TRANSMIT as u64 + 64, 1514, Sum::Made).expect("room");
    device.publish();
    assert_eq!(device.sent(), Ok(None));
    assert_eq!(device.model().leaves(), Some(content(2, 1514)));
    assert_eq!(device.sent(), Ok(Some(slot)));
    device.stop();
    assert_eq!(device.model().0.resets, 2);
}

#[test]
fn what_is_no_frame_is_a_flaw() {
    let mut words = memory();
    let (mut device, _) = device(&mut words, ALL);
    device.fill();
    assert!(device.model().arrives(&content(1, 13)));
    let arrival = device.receive().expect("sound").expect("a buffer");
    assert_eq!(arrival.frame, Err(Flaw::Short));
    device.model().0.push_raw(0, 1, ROOM + 1);
    assert!(matches!(device.receive(), Err(Broken::Length { .. })));
}

#[test]
fn a_card_without_vectors_is_asked_why() {
    let mut words = memory();
    let memory = Dma::of_words(&mut words, BUS);
    let rings = memory.part(0, RINGS).expect("there");
    let transport = transport(memory, ALL);
    let mut device = Device::new(transport, rings, frames(), None).expect("set up");
    device.fill();
    assert!(!device.arm(false) && device.model().arrives(&content(1, 60)));
    assert!(!device.interrupted(), "a frame");
    device.model().0.reconfigure(6, &[0]);
    assert!(device.interrupted(), "the line");
    assert_eq!(device.model().0.interrupts, 0, "no vector");
}

#[derive(Clone, Debug)]
enum Step {
    Arrives(usize),
    Receive,
    Refill,
    Transmit(usize),
    Leaves,
    Sent,
    Publish,
    Sleep(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (14usize..=4544).prop_map(Step::Arrives),
        3 => Just(Step::Receive),
        3 => Just(Step::Refill),
        3 => (14usize..=4544).prop_map(Step::Transmit),
        3 => Just(Step::Leaves),
        3 => Just(Step::Sent),
        3 => Just(Step::Publish),
        1 => any::<bool>().prop_map(Step::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Frames come and go in order and unchanged; a driver that sleeps is interrupted for each
    /// thing that it asked to be.
    #[test]
    fn nothing_is_lost_on_the_way(event_index: bool, steps in prop::collection::vec(step(), 0..800)) {
        let offers = if event_index { ALL } else { ALL - Features::EVENT_INDEX };
        let mut words = memory();
        let (mut device, memory) = device(&mut words, offers);
        device.fill();
        let (mut seed, mut spare) = (0u8, Vec::new());
        let (mut arrived, mut left) = (VecDeque::new(), VecDeque::new());
        let mut given: VecDeque<(usize, Slot, Vec<u8>)> = VecDeque::new();
        for step in steps {
            seed = seed.wrapping_add(1);
            match step {
                Step::Arrives(length) => {
                    if device.model().arrives(&content(seed, length)) {
                        arrived.push_back(content(seed, length));
                    }
                }
                Step::Receive => {
                    let arrival = device.receive().expect("sound");
                    prop_assert_eq!(arrival.is_some(), !arrived.is_empty());
                    let Some(Arrival { index, frame }) = arrival else { continue };
                    let place = RINGS + usize::from(index.number()) * BUFFER_BYTES + FRAME_OFFSET;
                    let length = usize::from(frame.expect("a frame").length);
                    prop_assert_eq!(Some(bytes(memory, place, length)), arrived.pop_front());
                    spare.push(index);
                }
                Step::Refill => spare.drain(..).for_each(|index| device.refill(index)),
                Step::Transmit(length) => {
                    // Buffers of frames that are under way are not written to.
                    let place = given.len() + left.len();
                    prop_assert_eq!(device.has_room(), place < 4);
                    if place < 4 {
                        let place = TRANSMIT + usize::from(seed % 4) * BUFFER_BYTES;
                        if given.iter().any(|(taken, ..)| *taken == place) {
                            continue;
                        }
                        put(memory, place, &content(seed, length));
                        let bus = BUS + place as u64;
                        let length = u16::try_from(length).expect("short");
                        let slot = device.transmit(bus, length, Sum::Made).expect("room");
                        given.push_back((place, slot, content(seed, length.into())));
                    }
                }
                Step::Leaves => {
                    if let Some(frame) = device.model().leaves() {
                        let (_, slot, expected) = given.pop_front().expect("given");
                        prop_assert_eq!(frame, expected);
                        left.push_back(slot);
                    }
                }
                Step::Sent => prop_assert_eq!(device.sent(), Ok(left.pop_front())),
                Step::Publish => device.publish(),
                Step::Sleep(sent) => {
                    device.publish();
                    let ready = device.arm(sent);
                    prop_assert!(ready || arrived.is_empty());
                    if !ready {
                        let before = device.model().0.interrupts;
                        if device.model().arrives(&content(seed, 60)) {
                            arrived.push_back(content(seed, 60));
                            prop_assert!(device.model().0.interrupts > before);
                        }
                    }
                    device.disarm();
                }
            }
        }
    }

    /// Whatever the card writes into its rings, buffers and slots come back only once.
    #[test]
    fn a_hostile_card_gets_nothing(
        steps in prop::collection::vec((0u8..6, 0u32..12, any::<u32>(), 0usize..36), 0..200),
    ) {
        let mut words = memory();
        let (mut device, memory) = device(&mut words, ALL);
        device.fill();
        let mut in_card: BTreeSet<u16> = (0..BUFFERS).collect();
        let mut slots = BTreeSet::new();
        // The device's rings of both queues.
        let layout = Layout::new(8).bytes();
        for (kind, small, any, at) in steps {
            match kind {
                0 => device.model().0.push_raw(0, small, any % 5_000),
                1 => device.model().0.push_raw(1, small, any % 2),
                2 => scribble(memory, at % 2 * layout + 156 + 4 * (at / 2), any),
                3 => {
                    if let Some(Slot(slot)) = device.transmit(BUS, 60, Sum::Made) {
                        prop_assert!(slots.insert(slot) && slot < 4);
                    }
                    device.publish();
                }
                4 => match device.receive() {
                    Ok(None) => {}
                    Ok(Some(Arrival { index, frame })) => {
                        prop_assert!(in_card.remove(&index.number()));
                        if let Ok(frame) = frame {
                            prop_assert!((14..=4544).contains(&frame.length));
                        }
                        device.refill(index);
                        in_card.insert(index.number());
                        device.publish();
                    }
                    Err(_) => return Ok(()),
                },
                _ => match device.sent() {
                    Ok(None) => {}
                    Ok(Some(Slot(slot))) => prop_assert!(slots.remove(&slot)),
                    Err(_) => return Ok(()),
                },
            }
        }
    }
}
