//! A peer that writes what it likes, when it likes.

extern crate std;

use alloc::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use proptest::prelude::*;

use super::line::Header;
use super::model_tests::memory;
use super::sync::{AtomicU64, Ordering};
use super::{Doorbell, Line, Polling, ReceiveError, Receiver, SendError, Sender};

const LINES: usize = 24;

/// The words of the memory that the protocol reads: each line's first.
fn word(memory: &[Line], line: usize) -> &AtomicU64 {
    &memory[line % memory.len()].header
}

#[derive(Clone, Debug)]
enum Step {
    Scribble { line: usize, value: u64 },
    Send(usize),
    Receive,
    Discard,
}

/// Words that look right are worse than random ones.
fn value() -> impl Strategy<Value = u64> {
    let header = (0u32..4, any::<u16>(), any::<u16>())
        .prop_map(|(lap, tag, length)| Header { lap, tag, length }.to_word());
    prop_oneof![any::<u64>(), 0u64..64, header]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..LINES, value()).prop_map(|(line, value)| Step::Scribble { line, value }),
        (0usize..1_000).prop_map(Step::Send),
        Just(Step::Receive),
        Just(Step::Discard),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 1_024 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_words_make_a_side_panic_or_overrun(
        steps in prop::collection::vec(step(), 0..if cfg!(miri) { 40 } else { 200 }),
    ) {
        let memory = memory(LINES);
        let mut sender = Sender::new(Arc::clone(&memory), Polling).expect("large enough");
        let mut receiver = Receiver::new(Arc::clone(&memory), Polling).expect("large enough");
        let longest = receiver.longest();
        for step in steps {
            match step {
                Step::Scribble { line, value } => {
                    word(&memory, line).store(value, Ordering::Relaxed);
                }
                Step::Send(length) => {
                    let outcome = sender.try_send(1, &alloc::vec![1; length]);
                    prop_assert_eq!(outcome == Err(SendError::TooLong), length > longest);
                    let _closed = sender.flush();
                }
                Step::Receive => {
                    let mut buffer = alloc::vec![0; longest];
                    match receiver.try_receive(&mut buffer) {
                        Ok(Some(received)) => prop_assert!(received.length <= longest),
                        Ok(None) | Err(ReceiveError::Corrupt) => {}
                        Err(error) => prop_assert!(false, "{error:?}"),
                    }
                }
                Step::Discard => {
                    let outcome = receiver.discard();
                    prop_assert!(matches!(outcome, Ok(()) | Err(ReceiveError::Corrupt)));
                }
            }
        }
    }
}

fn corrupt(line: usize, header: Header) -> Result<(), ReceiveError> {
    let memory = memory(LINES);
    let mut sender = Sender::new(Arc::clone(&memory), Polling).expect("large enough");
    let mut receiver = Receiver::new(Arc::clone(&memory), Polling).expect("large enough");
    sender.try_send(3, &[5; 100]).expect("room");
    word(&memory, line).store(header.to_word(), Ordering::Relaxed);
    receiver.try_receive(&mut [0; 1_000]).map(drop)
}

#[test]
fn each_broken_header_is_corrupt() {
    let first = Header { lap: 1, tag: 3, length: 100 };
    let second = Header { length: 44, ..first };
    assert_eq!(corrupt(8, first), Ok(()));
    assert_eq!(corrupt(9, second), Ok(()));
    let broken = Err(ReceiveError::Corrupt);
    assert_eq!(corrupt(8, Header { lap: 2, ..first }), broken, "a round ahead");
    assert_eq!(corrupt(8, Header { length: 449, ..first }), broken, "more than half of the ring");
    assert_eq!(corrupt(9, Header { lap: 0, ..second }), broken, "first line without the second");
    assert_eq!(corrupt(9, Header { tag: 4, ..second }), broken, "another message's line");
    assert_eq!(corrupt(9, Header { length: 45, ..second }), broken, "lengths that do not fit");
}

#[test]
fn impossible_acknowledgements_are_corrupt() {
    let memory = memory(10);
    let mut sender = Sender::new(Arc::clone(&memory), Polling).expect("large enough");
    let acknowledge = |count| word(&memory, 0).store(count, Ordering::Relaxed);
    assert_eq!([(); 2].map(|()| sender.try_send(0, &[])), [Ok(()); 2]);
    assert_eq!(sender.try_send(0, &[]), Err(SendError::Full));
    acknowledge(3);
    assert_eq!(sender.try_send(0, &[]), Err(SendError::Corrupt), "more than was sent");
    acknowledge(2);
    assert_eq!([(); 2].map(|()| sender.try_send(0, &[])), [Ok(()); 2]);
    acknowledge(1);
    assert_eq!(sender.try_send(0, &[]), Err(SendError::Corrupt), "less than before");
    assert_eq!(sender.send(0, &[]), Err(SendError::Corrupt), "waiting does not hide it");
}

/// A doorbell that never rings, for a side that must not sleep in a test.
#[derive(Clone, Copy)]
struct Silent;

impl Doorbell for Silent {
    fn signal(&self) {}

    fn wait(&self) {}
}

#[test]
fn a_peer_that_writes_all_the_time_does_no_harm() {
    let memory = memory(LINES);
    let stop = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 50 } else { 50_000 };
    thread::scope(|scope| {
        scope.spawn(|| scribble(&memory, &stop));
        let mut sender = Sender::new(Arc::clone(&memory), Silent).expect("large enough");
        let mut receiver = Receiver::new(Arc::clone(&memory), Silent).expect("large enough");
        let mut buffer = [0; 1_000];
        for round in 0..rounds {
            let _refused = sender.try_send(1, &buffer[..round % 449]).and(sender.flush());
            if let Ok(Some(received)) = receiver.try_receive(&mut buffer) {
                assert!(received.length <= receiver.longest());
            }
            let _closed = receiver.wait();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn scribble(memory: &[Line], stop: &AtomicBool) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    while !stop.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let line = (random >> 40) as usize;
        word(memory, line).store((random >> 20) & 0x3_0001_01ff, Ordering::Relaxed);
    }
}
