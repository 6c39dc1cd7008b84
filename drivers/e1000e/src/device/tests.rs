//! The driver against the model of the 82574.

use super::*;
use crate::model::Chip;
use crate::queue::RINGS_BYTES;
use libd3os::nic::FRAME_OFFSET;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};

const BUFFERS: u16 = 6;
const TRANSMIT: usize = RINGS_BYTES + BUFFERS as usize * BUFFER_BYTES;
const BYTES: usize = TRANSMIT + 4 * BUFFER_BYTES;
const BUS: u64 = 0x1_2345_6000;
const FRAMES: u64 = BUS + (RINGS_BYTES + FRAME_OFFSET) as u64;

fn memory() -> Vec<u64> {
    vec![0x5555_5555_5555_5555; BYTES / 8]
}

fn device(words: &mut [u64], interrupts: Interrupts) -> (Device<'_, Chip<'_>>, Dma<'_>) {
    let memory = Dma::of_words(words, BUS);
    let chip = Chip::new(memory, interrupts == Interrupts::Vector);
    let rings = memory.part(0, RINGS_BYTES).expect("there");
    (Device::new(chip, rings, FRAMES, BUFFERS, interrupts).expect("set up"), memory)
}

fn fill(device: &mut Device<'_, Chip<'_>>) {
    (0..BUFFERS).for_each(|index| device.refill(RxIndex::new(index)));
    device.publish();
}

fn place(index: RxIndex) -> usize {
    RINGS_BYTES + usize::from(index.number()) * BUFFER_BYTES + FRAME_OFFSET
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
fn is_set_up_for_long_frames_and_all_multicast() {
    for interrupts in [Interrupts::Vector, Interrupts::Single] {
        let mut words = memory();
        let (mut device, _) = device(&mut words, interrupts);
        let chip = &device.registers;
        assert_eq!(chip.register(0x100), 0x0603_8032, "receive control");
        assert_eq!(chip.register(0x5008), 0x1000, "no interrupts for acknowledgements");
        assert_eq!(chip.register(0x400) & 0xff, 0xfa, "transmit control");
        assert_eq!(chip.register(0) & 0x41, 0x41, "link up, full duplex");
        assert_eq!((chip.register(0x5200 + 20), chip.resets), (0, 1));
        let expected = if interrupts == Interrupts::Vector { 0x0150_0000 } else { 0 };
        assert_eq!(chip.register(0xdc), expected);
        let state = device.state();
        let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
        assert_eq!(state, CardState { mac, mtu: 1500, line: Line::Up(1000) });
        device.registers.set_link(false);
        assert_eq!(device.state().line, Line::Down);
    }
}

#[test]
fn a_dead_card_is_found_out() {
    let refused = |change: &dyn Fn(&mut Chip<'_>)| {
        let mut words = memory();
        let memory = Dma::of_words(&mut words, BUS);
        let mut chip = Chip::new(memory, true);
        change(&mut chip);
        Device::new(chip, memory, FRAMES, BUFFERS, Interrupts::Vector).map(drop)
    };
    let forever = u32::MAX;
    let unfinished = refused(&|chip| chip.reset_takes = forever);
    assert_eq!(unfinished, Err(SetupError::ResetUnfinished));
    assert_eq!(refused(&|chip| chip.eeprom_takes = forever), Err(SetupError::NoEeprom));
    assert_eq!(refused(&|chip| chip.mac = [0; 6]), Err(SetupError::NoAddress));
    assert_eq!(refused(&|chip| chip.mac = [1, 0, 0, 0, 0, 1]), Err(SetupError::NoAddress));
    let mut words = [0; 16];
    let small = Dma::of_words(&mut words, BUS);
    let refused = Device::new(Chip::new(small, true), small, 0, 1, Interrupts::Vector);
    assert_eq!(refused.map(drop), Err(SetupError::Memory(DmaError::Outside)));
}

#[test]
fn checksums_are_vouched_for_only_where_they_were_checked() {
    let checks = |status, errors| {
        let Checks { ipv4, transport } = checks(status, errors);
        (ipv4, transport)
    };
    assert_eq!(checks(0x63, 0), (true, true), "IPv4 and TCP");
    assert_eq!(checks(0x53, 0), (true, true), "IPv4 and UDP");
    assert_eq!(checks(0x43, 0), (true, false), "IPv4");
    assert_eq!(checks(0x63, 0x20), (true, false), "TCP wrong");
    assert_eq!(checks(0x63, 0x40), (false, true), "IPv4 wrong");
    assert_eq!(checks(0x67, 0), (false, false), "ignore");
    assert_eq!(checks(0x03, 0), (false, false), "not checked");
}

#[test]
fn a_frame_may_take_two_buffers_but_no_more_than_fits_in_one() {
    let mut words = memory();
    let (mut device, memory) = device(&mut words, Interrupts::Vector);
    fill(&mut device);
    assert!(device.registers.arrives(&content(1, 4544), 0x60, 0));
    let arrival = device.receive().expect("sound").expect("a frame");
    let received = arrival.frame.expect("whole");
    let rest = received.rest.expect("in two");
    assert_eq!((received.length, rest.length, received.checks.transport), (4544, 448, true));
    let both = [bytes(memory, place(arrival.index), 4096), bytes(memory, place(rest.index), 448)];
    assert_eq!(both.concat(), content(1, 4544));
    for length in [4545, 8192, 8193, 9000] {
        let parts = usize::div_ceil(length, 4096);
        device.refill(arrival.index);
        fill_up(&mut device);
        assert!(device.registers.arrives(&content(2, length), 0, 0));
        let flaws: Vec<_> = std::iter::from_fn(|| device.receive().expect("sound")).collect();
        assert!(flaws.iter().all(|arrival| arrival.frame == Err(Flaw::Long)));
        assert_eq!(flaws.len(), parts, "{length}");
        assert!(device.registers.arrives(&content(3, 60), 0, 0), "the next one is whole");
        let next = device.receive().expect("sound").expect("a frame");
        assert_eq!(next.frame.map(|frame| frame.length), Ok(60));
    }
}

/// Gives the card all descriptors that it can have; in this test buffers are not told apart.
fn fill_up(device: &mut Device<'_, Chip<'_>>) {
    (0..4).for_each(|index| device.refill(RxIndex::new(index)));
    device.publish();
}

#[test]
fn damaged_and_short_frames_are_flawed() {
    let mut words = memory();
    let (mut device, _) = device(&mut words, Interrupts::Vector);
    fill(&mut device);
    assert!(device.registers.arrives(&content(1, 60), 0, 1));
    assert!(device.registers.arrives(&content(1, 13), 0, 0));
    let mut flaw = || device.receive().expect("sound").expect("a buffer").frame;
    assert_eq!([flaw(), flaw()], [Err(Flaw::Damaged), Err(Flaw::Short)]);
    device.registers.write_back(4097, 3, 0);
    assert!(device.receive().is_err(), "more than a buffer holds");
}

#[test]
fn interrupts_come_only_to_a_driver_that_sleeps() {
    for interrupts in [Interrupts::Vector, Interrupts::Single] {
        let mut words = memory();
        let (mut device, _) = device(&mut words, interrupts);
        fill(&mut device);
        assert!(device.registers.arrives(&content(1, 60), 0, 0));
        assert_eq!(device.registers.interrupts, 0, "masked");
        assert!(device.arm(false), "it is there");
        assert!(device.receive().expect("sound").is_some());
        assert!(!device.arm(false));
        assert_eq!(device.registers.interrupts, 0, "its cause is gone");
        assert!(device.registers.arrives(&content(1, 60), 0, 0));
        assert_eq!(device.registers.interrupts, 1);
        assert!(!device.interrupted(), "not the line");
        device.disarm();
        assert!(device.registers.arrives(&content(1, 60), 0, 0));
        device.transmit(BUS + TRANSMIT as u64, 60, Sum::Made).expect("room");
        device.publish();
        while device.receive().expect("sound").is_some() {}
        assert!(!device.arm(true));
        assert!(device.registers.leaves().is_some());
        assert_eq!(device.registers.interrupts, 2, "frames that went out");
        device.disarm();
        let before = device.registers.interrupts;
        device.registers.set_link(false);
        assert_eq!(device.registers.interrupts, before + 1, "the line always");
        assert_eq!(device.interrupted(), interrupts == Interrupts::Single);
    }
}

#[test]
fn what_the_card_counts_is_told() {
    let mut words = memory();
    let (mut device, _) = device(&mut words, Interrupts::Vector);
    device.registers.write(Register::Missed, 3);
    let mut told = Vec::new();
    device.statistics(&mut |name, amount| told.push((name, amount)));
    assert_eq!(told[0], ("card: no room", 3));
    device.stop();
    assert_eq!(device.registers.resets, 2);
}

/// The frame with the checksum that the card makes (RFC 1071).
fn sealed(mut frame: Vec<u8>, sum: Sum) -> Vec<u8> {
    let Some(place) = sum.place().map(usize::from) else { return frame };
    let words = frame[34..].chunks(2).map(|word| match word {
        [high, low] => u64::from(*high) << 8 | u64::from(*low),
        rest => u64::from(rest[0]) << 8,
    });
    let rest = words.sum::<u64>() % 0xffff;
    // A sum of words that are not all 0 is never 0: it is all ones instead.
    let made = u16::try_from(if rest == 0 { 0 } else { 0xffff - rest }).expect("folded");
    frame[place..place + 2].copy_from_slice(&made.to_be_bytes());
    frame
}

#[test]
fn a_context_holds_for_all_frames_of_its_kind() {
    let mut words = memory();
    let (mut device, memory) = device(&mut words, Interrupts::Vector);
    put(memory, TRANSMIT, &content(5, 100));
    let kinds = [Sum::Udp, Sum::Udp, Sum::Made, Sum::Udp, Sum::Tcp, Sum::Udp];
    let mut places = Vec::new();
    for kind in kinds {
        places.push(device.transmit(BUS + TRANSMIT as u64, 100, kind).expect("room").0);
        device.publish();
        assert_eq!(device.registers.leaves(), Some(sealed(content(5, 100), kind)), "{kind:?}");
    }
    assert_eq!(places, [1, 2, 3, 4, 6, 8], "a descriptor more where the kind changes");
    let sent: Vec<_> = std::iter::from_fn(|| device.sent().expect("sound")).collect();
    assert_eq!(sent, places.into_iter().map(Slot).collect::<Vec<_>>(), "of frames alone");
    assert!(device.sums());
}

#[derive(Clone, Debug)]
enum Step {
    Arrives(usize),
    Receive,
    Refill,
    Transmit(usize, Sum),
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
        3 => (14usize..=4544).prop_map(|length| Step::Transmit(length, Sum::Made)),
        3 => (52usize..=4544, prop_oneof![Just(Sum::Udp), Just(Sum::Tcp)])
            .prop_map(|(length, sum)| Step::Transmit(length, sum)),
        3 => Just(Step::Leaves),
        3 => Just(Step::Sent),
        3 => Just(Step::Publish),
        1 => any::<bool>().prop_map(Step::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Frames come and go in order and unchanged, over many rounds of the rings; a driver that
    /// sleeps is interrupted.
    #[test]
    fn nothing_is_lost_on_the_way(vector: bool, steps in prop::collection::vec(step(), 0..2_000)) {
        let interrupts = if vector { Interrupts::Vector } else { Interrupts::Single };
        let mut words = memory();
        let (mut device, memory) = device(&mut words, interrupts);
        fill(&mut device);
        let (mut seed, mut spare) = (0u8, Vec::new());
        let (mut arrived, mut left) = (VecDeque::new(), VecDeque::new());
        let mut given: VecDeque<(usize, Slot, Vec<u8>)> = VecDeque::new();
        for step in steps {
            seed = seed.wrapping_add(1);
            match step {
                Step::Arrives(length) => {
                    if device.registers.arrives(&content(seed, length), 0, 0) {
                        arrived.push_back(content(seed, length));
                    }
                }
                Step::Receive => {
                    let arrival = device.receive().expect("sound");
                    prop_assert_eq!(arrival.is_some(), !arrived.is_empty());
                    let Some(Arrival { index, frame }) = arrival else { continue };
                    let Received { length, rest, .. } = frame.expect("a frame");
                    let rest = rest.map(|rest| {
                        spare.push(rest.index);
                        bytes(memory, place(rest.index), rest.length.into())
                    });
                    let first = usize::from(length) - rest.as_ref().map_or(0, Vec::len);
                    let mut whole = bytes(memory, place(index), first);
                    whole.extend(rest.unwrap_or_default());
                    prop_assert_eq!(Some(whole), arrived.pop_front());
                    spare.push(index);
                }
                Step::Refill => spare.drain(..).for_each(|index| device.refill(index)),
                Step::Transmit(length, sum) => {
                    let place = TRANSMIT + usize::from(seed % 4) * BUFFER_BYTES;
                    if given.iter().any(|(taken, ..)| *taken == place) {
                        continue;
                    }
                    put(memory, place, &content(seed, length));
                    let wide = u16::try_from(length).expect("short");
                    prop_assert!(device.has_room());
                    let slot = device.transmit(BUS + place as u64, wide, sum).expect("room");
                    given.push_back((place, slot, sealed(content(seed, length), sum)));
                }
                Step::Leaves => if let Some(frame) = device.registers.leaves() {
                    let (_, slot, expected) = given.pop_front().expect("given");
                    prop_assert_eq!(frame, expected);
                    left.push_back(slot);
                },
                Step::Sent => prop_assert_eq!(device.sent(), Ok(left.pop_front())),
                Step::Publish => device.publish(),
                Step::Sleep(sent) => {
                    device.publish();
                    let ready = device.arm(sent);
                    prop_assert_eq!(ready, !arrived.is_empty() || sent && !left.is_empty());
                    let before = device.registers.interrupts;
                    if !ready && device.registers.arrives(&content(seed, 60), 0, 0) {
                        arrived.push_back(content(seed, 60));
                        prop_assert_eq!(device.registers.interrupts, before + 1);
                    }
                    device.disarm();
                }
            }
        }
    }

    /// Whatever the card writes back, each buffer is told of once, and no length is beyond it.
    #[test]
    fn a_hostile_card_gets_nothing(
        steps in prop::collection::vec((0u8..3, any::<u16>(), any::<u8>(), any::<u8>()), 0..400),
    ) {
        let mut words = memory();
        let (mut device, _) = device(&mut words, Interrupts::Vector);
        fill(&mut device);
        let mut in_card: BTreeSet<u16> = (0..BUFFERS).collect();
        for (kind, length, status, errors) in steps {
            if kind == 0 {
                device.registers.write_back(length % 5_000, status | 1, errors);
                continue;
            }
            let Ok(arrival) = device.receive() else { return Ok(()) };
            let Some(Arrival { index, frame }) = arrival else { continue };
            let rest = frame.ok().and_then(|frame| frame.rest);
            for index in [Some(index), rest.map(|rest| rest.index)].into_iter().flatten() {
                prop_assert!(in_card.remove(&index.number()));
                device.refill(index);
                in_card.insert(index.number());
            }
            if let Ok(Received { length, rest, .. }) = frame {
                prop_assert!((14..=4544).contains(&length));
                prop_assert!(rest.is_none_or(|rest| rest.length <= length));
            }
            device.publish();
        }
    }
}
