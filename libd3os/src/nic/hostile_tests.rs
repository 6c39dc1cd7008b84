//! Sides that write what they like.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::descriptor::{NO_WORD, ToConsumer, ToDriver, WORDS_PER_LINE};
use super::layout::Control;
use super::tests::{EPOCH, LIMITS, Shared, attachment};
use super::{Checks, Epoch, FRAME_BYTES, Fault, NotGiven, Port, Request, RxIndex, Sum, TxIndex};
use crate::ring::{Line, Polling, Sender};

/// A peer that sends messages of its own making, and writes into the rings.
struct Peer<'m> {
    sender: Sender<&'m [Line], Polling>,
    region: &'m [Line],
}

impl<'m> Peer<'m> {
    fn driver(shared: &'m Shared) -> Self {
        let ring = Control::new(&shared.region).expect("large enough").to_consumer();
        Self { sender: Sender::new(ring, Polling).expect("large enough"), region: &shared.region }
    }

    fn consumer(shared: &'m Shared) -> Self {
        let ring = Control::new(&shared.region).expect("large enough").to_driver();
        Self { sender: Sender::new(ring, Polling).expect("large enough"), region: &shared.region }
    }

    fn says(&mut self, words: &[u32]) {
        let words = words.iter().copied().chain(core::iter::repeat(NO_WORD)).take(WORDS_PER_LINE);
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        self.sends(EPOCH.0, &bytes);
    }

    fn sends(&mut self, tag: u16, bytes: &[u8]) {
        // A ring that is full or broken takes nothing.
        let _full = self.sender.try_send(tag, bytes);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Says(Vec<u32>),
    Sends(u16, Vec<u8>),
    Scribbles(usize, u64),
    Give(u16, u16),
    Sent(u16),
    Take,
    GiveBack,
    Send(usize),
    Flush,
}

/// Words that are nearly right are worse than random ones.
fn word() -> impl Strategy<Value = u32> {
    let near = (0u16..10, prop_oneof![Just(0u16), 0u16..70, Just(4544), 4545u16..8192]);
    prop_oneof![
        1 => any::<u32>(),
        4 => near.clone().prop_map(|(index, length)| {
            let checks = Checks::default();
            ToConsumer::Received { index: RxIndex::new(index), length, checks }.encode()
        }),
        4 => near.prop_map(|(index, length)| {
            ToDriver::Transmit { index: TxIndex::new(index), length, sum: Sum::Made }.encode()
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let tag = prop_oneof![6 => Just(EPOCH.0), 1 => any::<u16>()];
    prop_oneof![
        6 => prop::collection::vec(word(), 0..16).prop_map(Step::Says),
        1 => (tag, prop_oneof![prop::collection::vec(any::<u8>(), 56), prop::collection::vec(any::<u8>(), 0..200)]).prop_map(|(t, b)| Step::Sends(t, b)),
        1 => (0usize..1024, prop_oneof![any::<u64>(), 0u64..64]).prop_map(|(l, v)| Step::Scribbles(l, v)),
        3 => (0u16..10, 0u16..100).prop_map(|(index, length)| Step::Give(index, length)),
        2 => (0u16..6).prop_map(Step::Sent),
        4 => Just(Step::Take),
        2 => Just(Step::GiveBack),
        2 => (0usize..5_000).prop_map(Step::Send),
        2 => Just(Step::Flush),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..if cfg!(miri) { 40 } else { 300 })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 1_024 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever a consumer writes, the driver sends no buffer twice at once, takes back only what
    /// it lent, and reaches for nothing that does not exist.
    #[test]
    fn a_hostile_consumer_gets_nothing_from_the_driver(steps in steps()) {
        let shared = Shared::new();
        let mut port = shared.port();
        let mut consumer = Peer::consumer(&shared);
        let (mut lent, mut posted) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Says(words) => consumer.says(&words),
                Step::Sends(tag, bytes) => consumer.sends(tag, &bytes),
                Step::Scribbles(line, word) => consumer.region[line].set_word(word),
                Step::Give(index, length) => {
                    let ended = port.fault();
                    match port.give(RxIndex::new(index), length, Checks::default()) {
                        Ok(()) => prop_assert!(lent.insert(index) && index < LIMITS.receive),
                        Err(NotGiven::Quota) => prop_assert_eq!(lent.len(), usize::from(LIMITS.quota)),
                        Err(NotGiven::Fault(fault)) => prop_assert_eq!(Some(fault), ended),
                        Err(NotGiven::Invalid) => {
                            prop_assert!(lent.contains(&index) || index >= LIMITS.receive || length < 14);
                        }
                    }
                }
                Step::Sent(index) => {
                    posted.remove(&index);
                    port.sent(TxIndex::new(index));
                }
                Step::Flush => port.flush(),
                Step::Take | Step::GiveBack | Step::Send(_) => {
                    for _ in 0..20 {
                        match port.request() {
                            Some(Request::GivenBack(index)) => {
                                prop_assert!(lent.remove(&index.number()), "it was lent");
                            }
                            Some(Request::Transmit(index, length, _)) => {
                                prop_assert!(index.number() < LIMITS.transmit);
                                prop_assert!((14..=FRAME_BYTES).contains(&usize::from(length)));
                                prop_assert!(posted.insert(index.number()), "it was not under way");
                            }
                            None => break,
                        }
                    }
                }
            }
            prop_assert_eq!(usize::from(port.posted()), posted.len());
        }
        while let Some(index) = port.reclaim() {
            prop_assert!(lent.remove(&index.number()));
        }
        prop_assert!(lent.is_empty());
    }

    /// Whatever a driver writes, the consumer holds no buffer twice and reads only frames that
    /// lie in the memory.
    #[test]
    fn a_hostile_driver_gets_nothing_from_the_consumer(steps in steps()) {
        let shared = Shared::new();
        let mut link = shared.link();
        let mut driver = Peer::driver(&shared);
        let (first, end) = (shared.receive.as_ptr_range().start.addr(), shared.receive.as_ptr_range().end.addr());
        let mut frames = Vec::new();
        for step in steps {
            match step {
                Step::Says(words) => driver.says(&words),
                Step::Sends(tag, bytes) => driver.sends(tag, &bytes),
                Step::Scribbles(line, word) => driver.region[line].set_word(word),
                Step::Take => {
                    if let Some(frame) = link.receive() {
                        let at = frame.as_ptr().addr();
                        prop_assert!(at >= first && at + frame.len() <= end);
                        let twice = frames.iter().any(|other: &super::Frame<'_>| other.as_ptr() == frame.as_ptr());
                        prop_assert!(!twice, "one buffer in two hands");
                        frames.push(frame);
                    }
                }
                Step::GiveBack => {
                    if let Some(frame) = frames.pop() {
                        link.give_back(frame);
                    }
                }
                Step::Send(length) => {
                    if let Some(mut outgoing) = link.take() {
                        outgoing[0] = 1;
                        link.send(outgoing, length, Sum::Made);
                    }
                }
                Step::Flush | Step::Give(..) | Step::Sent(_) => link.flush(),
            }
        }
        frames.into_iter().for_each(|frame| link.give_back(frame));
        prop_assert!(link.close().is_ok(), "nothing is left in use");
    }
}

#[test]
fn each_refusal_is_counted_and_the_port_goes_on() {
    let shared = Shared::new();
    let mut port = shared.port();
    let mut consumer = Peer::consumer(&shared);
    let transmit = |index| {
        ToDriver::Transmit { index: TxIndex::new(index), length: 60, sum: Sum::Made }.encode()
    };
    let back = |index| ToDriver::GivenBack(RxIndex::new(index)).encode();
    port.give(RxIndex::new(1), 60, Checks::default()).expect("room");
    consumer.says(&[1 << 31, back(1), back(1), back(200), transmit(4), transmit(0), transmit(0)]);
    let requests: Vec<_> = core::iter::from_fn(|| port.request()).collect();
    let wanted =
        [Request::GivenBack(RxIndex::new(1)), Request::Transmit(TxIndex::new(0), 60, Sum::Made)];
    assert_eq!(requests, wanted);
    let refused = port.refusals();
    assert_eq!((refused.words, refused.receive, refused.transmit), (1, 2, 2));
    assert_eq!(port.fault(), None);
}

#[test]
fn what_is_not_of_this_attachment_ends_it() {
    let fault = |tag: u16, bytes: &[u8]| {
        let shared = Shared::new();
        let mut port = shared.port();
        Peer::consumer(&shared).sends(tag, bytes);
        assert_eq!(port.request(), None);
        port.fault()
    };
    assert_eq!(fault(EPOCH.next().0, &[0xff; 56]), Some(Fault::Foreign));
    assert_eq!(fault(EPOCH.0, &[0xff; 55]), Some(Fault::Foreign), "less than a line");
    assert_eq!(fault(EPOCH.0, &[]), Some(Fault::Foreign));
    assert_eq!(fault(EPOCH.0, &[0; 60]), Some(Fault::Foreign), "more than a line");
    assert_eq!(fault(EPOCH.0, &[0xff; 56]), Some(Fault::Foreign), "no words");
}

#[test]
fn a_peer_that_sends_nothing_but_nonsense_is_given_up() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    let mut consumer = Peer::consumer(&shared);
    let mut rounds = 0;
    while port.fault().is_none() {
        consumer.says(&[1 << 31; 14]);
        assert_eq!(port.request(), None);
        rounds += 1;
    }
    assert_eq!((port.fault(), rounds), (Some(Fault::Foreign), 4_096usize.div_ceil(14)));
    let mut driver = Peer::driver(&shared);
    while link.fault().is_none() {
        driver.says(&[1 << 31; 14]);
        assert!(link.receive().is_none());
    }
    assert_eq!(link.fault(), Some(Fault::Foreign));
}

#[test]
fn a_consumer_that_gives_back_what_it_has_not_taken_ends_itself() {
    let shared = Shared::new();
    let mut port = shared.port();
    let mut consumer = Peer::consumer(&shared);
    for _ in 0..2_000 {
        if port.give(RxIndex::new(0), 60, Checks::default()).is_ok() {
            port.flush();
        }
        consumer.says(&[ToDriver::GivenBack(RxIndex::new(0)).encode()]);
        while port.request().is_some() {}
    }
    assert_eq!(port.fault(), Some(Fault::Full));
}

#[test]
fn an_end_that_is_gone_is_noticed() {
    let shared = Shared::new();
    let (mut port, link) = (shared.port(), shared.link());
    drop(link);
    assert_eq!((port.request(), port.fault()), (None, Some(Fault::Closed)));
    let mut port = Port::new(&shared.region, &shared.consumer, LIMITS, Epoch(0)).expect("fits");
    let again = attachment(Epoch(0));
    let mut link = super::Link::new(shared.memory(), &shared.driver, &again).expect("fits");
    assert!(port.request().is_none() && link.receive().is_none());
    drop(port);
    assert!(link.receive().is_none());
    assert_eq!(link.fault(), Some(Fault::Closed));
}
