//! A ring against a queue.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::patience::Patience;
use super::{CONTROL_LINES, Line, MIN_LINES, PAYLOAD_BYTES, Polling};
use super::{ReceiveError, Received, Receiver, RingError, SendError, Sender};

type Memory = Arc<[Line]>;

pub(super) fn memory(lines: usize) -> Memory {
    (0..lines).map(|_| Line::default()).collect()
}

fn ring(capacity: usize) -> (Sender<Memory, Polling>, Receiver<Memory, Polling>) {
    let memory = memory(CONTROL_LINES + capacity);
    let sender = Sender::new(Arc::clone(&memory), Polling).expect("large enough");
    (sender, Receiver::new(memory, Polling).expect("large enough"))
}

/// Bytes that differ from message to message and from place to place.
fn bytes(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (seed * 31 + place * 7 + place / 256) % 251)
        .map(|value| u8::try_from(value).expect("below 251"))
        .collect()
}

/// What a ring is: a queue of messages with a bound in lines.
struct Model {
    queue: VecDeque<(u16, Vec<u8>)>,
    capacity: usize,
    used: usize,
}

impl Model {
    fn lines(length: usize) -> usize {
        length.div_ceil(PAYLOAD_BYTES).max(1)
    }

    fn longest(&self) -> usize {
        (self.capacity / 2 * PAYLOAD_BYTES).min(65_535)
    }

    /// Whether this outcome of sending is one that the documentation promises.
    fn allows(&self, length: usize, outcome: Result<(), SendError>) -> bool {
        let needed = self.used + Self::lines(length);
        let unacknowledged = (self.capacity / 4).max(1) - 1;
        match outcome {
            Ok(()) => length <= self.longest() && needed <= self.capacity,
            Err(SendError::TooLong) => length > self.longest(),
            Err(SendError::Full) => {
                length <= self.longest() && self.used > 0 && needed + unacknowledged > self.capacity
            }
            Err(_) => false,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Receive { room: usize },
    Discard,
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![4 => 0usize..130, 1 => 0usize..3_000];
    prop_oneof![
        4 => length.prop_map(Step::Send),
        4 => prop_oneof![Just(3_000usize), 0usize..200].prop_map(|room| Step::Receive { room }),
        1 => Just(Step::Discard),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_ring_is_a_bounded_queue(
        capacity in 2usize..100,
        steps in prop::collection::vec(step(), 0..if cfg!(miri) { 40 } else { 400 }),
    ) {
        let (mut sender, mut receiver) = ring(capacity);
        let mut model = Model { queue: VecDeque::new(), capacity, used: 0 };
        prop_assert_eq!(sender.longest(), model.longest());
        for (number, step) in steps.into_iter().enumerate() {
            prop_assert_eq!(receiver.is_ready(), !model.queue.is_empty());
            match step {
                Step::Send(length) => send(&mut sender, &mut model, number, length)?,
                Step::Receive { room } => receive(&mut receiver, &mut model, room)?,
                Step::Discard => {
                    prop_assert_eq!(receiver.discard(), Ok(()));
                    drop_first(&mut model);
                }
            }
        }
    }
}

fn send(
    sender: &mut Sender<Memory, Polling>,
    model: &mut Model,
    number: usize,
    length: usize,
) -> Result<(), TestCaseError> {
    let (tag, bytes) = (u16::try_from(number).expect("few steps"), bytes(number, length));
    let outcome = sender.try_send(tag, &bytes);
    prop_assert!(model.allows(length, outcome), "{outcome:?} with {} lines used", model.used);
    if outcome.is_ok() {
        model.used += Model::lines(length);
        model.queue.push_back((tag, bytes));
    }
    Ok(())
}

fn receive(
    receiver: &mut Receiver<Memory, Polling>,
    model: &mut Model,
    room: usize,
) -> Result<(), TestCaseError> {
    let mut buffer = alloc::vec![0xee; room];
    let outcome = receiver.try_receive(&mut buffer);
    match model.queue.front() {
        None => prop_assert_eq!(outcome, Ok(None)),
        Some((_, bytes)) if bytes.len() > room => {
            prop_assert_eq!(outcome, Err(ReceiveError::TooLong { length: bytes.len() }));
        }
        Some((tag, bytes)) => {
            let length = bytes.len();
            prop_assert_eq!(outcome, Ok(Some(Received { tag: *tag, length })));
            prop_assert_eq!(&buffer[..length], &bytes[..]);
            prop_assert!(buffer[length..].iter().all(|byte| *byte == 0xee));
            drop_first(model);
        }
    }
    Ok(())
}

fn drop_first(model: &mut Model) {
    if let Some((_, bytes)) = model.queue.pop_front() {
        model.used -= Model::lines(bytes.len());
    }
}

#[test]
fn every_length_arrives_whole() {
    let (mut sender, mut receiver) = ring(9);
    let mut buffer = alloc::vec![0; sender.longest()];
    for length in 0..=sender.longest() {
        let sent = bytes(length, length);
        sender.try_send(7, &sent).expect("the ring is empty");
        let received = receiver.try_receive(&mut buffer);
        assert_eq!(received, Ok(Some(Received { tag: 7, length })));
        assert_eq!(&buffer[..length], &sent[..]);
    }
    assert_eq!(sender.try_send(7, &bytes(0, 225)), Err(SendError::TooLong));
}

#[test]
#[cfg_attr(miri, ignore = "copies too much for an interpreter")]
fn lengths_beyond_the_header_are_refused() {
    let (mut sender, mut receiver) = ring(4_000);
    assert_eq!(sender.longest(), 65_535);
    let longest = bytes(1, 65_535);
    assert_eq!(sender.try_send(0, &longest), Ok(()));
    let mut buffer = alloc::vec![0; 65_536];
    assert_eq!(receiver.try_receive(&mut buffer), Ok(Some(Received { tag: 0, length: 65_535 })));
    assert_eq!(&buffer[..65_535], &longest[..]);
    assert_eq!(sender.try_send(0, &buffer), Err(SendError::TooLong));
}

#[test]
fn a_full_ring_refuses_until_a_batch_is_taken() {
    let (mut sender, mut receiver) = ring(16);
    let sent = (0..).take_while(|number| sender.try_send(*number, &[]).is_ok()).count();
    assert_eq!((sent, sender.try_send(0, &[])), (16, Err(SendError::Full)));
    for tag in 0..4 {
        assert_eq!(sender.try_send(0, &[]), Err(SendError::Full));
        assert_eq!(receiver.try_receive(&mut []), Ok(Some(Received { tag, length: 0 })));
    }
    assert_eq!(sender.try_send(16, &[]), Ok(()));
}

#[test]
fn too_little_memory_is_refused() {
    assert!(Sender::new(memory(MIN_LINES), Polling).is_ok());
    let small = Sender::new(memory(MIN_LINES - 1), Polling).err();
    assert_eq!(small, Some(RingError::TooSmall));
    assert_eq!(Receiver::new(memory(0), Polling).err(), Some(RingError::TooSmall));
}

#[test]
fn the_last_messages_outlive_their_sender() {
    let (mut sender, mut receiver) = ring(4);
    sender.try_send(1, b"last words").expect("room");
    drop(sender);
    let mut buffer = [0; 16];
    assert_eq!(receiver.receive(&mut buffer), Ok(Received { tag: 1, length: 10 }));
    assert_eq!(receiver.receive(&mut buffer), Err(ReceiveError::Closed));
}

#[test]
fn a_sender_learns_that_its_receiver_is_gone() {
    let (mut sender, receiver) = ring(4);
    assert_eq!(sender.send(1, b"read"), Ok(()));
    drop(receiver);
    assert_eq!(sender.send(1, b"unread"), Err(SendError::Closed));
    // Full, and nobody will ever make room: waiting ends too.
    while sender.try_send(1, b"").is_ok() {}
    assert_eq!(sender.send(1, b"unread"), Err(SendError::Closed));
}

fn looks(patience: &mut Patience, found_at: u32) -> u32 {
    let mut looks = 0;
    let found = patience.look(|| {
        looks += 1;
        looks > found_at
    });
    assert_eq!(found, looks > found_at);
    looks
}

#[test]
fn looking_in_vain_becomes_short_and_success_is_found_again() {
    let mut patience = Patience::default();
    let vain: u32 = (0..100).map(|_| looks(&mut patience, u32::MAX)).sum();
    assert!(vain < 100 * 100, "{vain} looks");
    let found = (0..16).filter(|_| looks(&mut patience, 200) > 200).count();
    assert!(found > 0, "a probe finds that it pays");
    assert_eq!((0..9).filter(|_| looks(&mut patience, 200) > 200).count(), 9);
}
