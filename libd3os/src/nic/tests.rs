//! Both ends in one program, over plain memory.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::Cell;

use proptest::prelude::*;

use super::layout::{BUFFER_BYTES, CONTROL_BYTES};
use super::{
    Attachment, Buffers, Checks, Epoch, Frame, Limits, Link, LinkError, Memory, NotGiven, Outgoing,
    Port, Refusals, Request, RxIndex, Sum, TxIndex, Wake,
};
use crate::ring::{LINE_BYTES, Line};
use crate::service::nic;

pub(super) const LIMITS: Limits = Limits { receive: 8, quota: 5, transmit: 4, sums: true };
pub(super) const EPOCH: Epoch = Epoch(77);

/// What the two sides share.
pub(super) struct Shared {
    pub(super) region: Vec<Line>,
    pub(super) receive: Vec<Line>,
    pub(super) driver: Bell,
    pub(super) consumer: Bell,
}

/// Counts the signals to one side.
#[derive(Debug, Default)]
pub(super) struct Bell(Cell<u32>);

impl Bell {
    /// Signals since the last look.
    pub(super) fn take(&self) -> u32 {
        self.0.take()
    }

    fn rung(&self) -> bool {
        self.0.get() > 0
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.0.set(self.0.get() + 1);
    }
}

fn lines(bytes: usize) -> Vec<Line> {
    (0..bytes / LINE_BYTES).map(|_| Line::default()).collect()
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            region: lines(CONTROL_BYTES + usize::from(LIMITS.transmit) * BUFFER_BYTES),
            receive: lines(usize::from(LIMITS.receive) * BUFFER_BYTES),
            driver: Bell::default(),
            consumer: Bell::default(),
        }
    }

    pub(super) fn memory(&self) -> Memory<'_> {
        Memory::of_test(&self.region, &self.receive)
    }

    pub(super) fn port(&self) -> Port<'_, &Bell> {
        Port::new(&self.region, &self.consumer, LIMITS, EPOCH).expect("large enough")
    }

    pub(super) fn link(&self) -> Link<'_, &Bell> {
        Link::new(self.memory(), &self.driver, &attachment(EPOCH)).expect("fits")
    }

    pub(super) fn card(&self) -> Card<'_> {
        let transmit = &self.region[CONTROL_BYTES / LINE_BYTES..];
        Card { receive: Buffers::of_test(&self.receive), transmit: Buffers::of_test(transmit) }
    }
}

/// The memory as the card sees it.
pub(super) struct Card<'m> {
    pub(super) receive: Buffers<'m>,
    pub(super) transmit: Buffers<'m>,
}

pub(super) fn attachment(epoch: Epoch) -> Attachment {
    let Limits { receive, quota, transmit, sums } = LIMITS;
    let card = nic::CardState { mac: [2, 0, 0, 0, 0, 1], mtu: 1500, line: nic::Line::Up(0) };
    Attachment { epoch, receive, quota, transmit, sums, card }
}

fn frame(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|place| seed.wrapping_add(place.to_le_bytes()[0])).collect()
}

#[test]
fn a_frame_that_comes_in_is_read_where_it_lies_and_given_back() {
    let shared = Shared::new();
    let (mut port, mut link, card) = (shared.port(), shared.link(), shared.card());
    card.receive.put(3, &frame(1, 60));
    let checks = Checks { ipv4: true, transport: true };
    assert_eq!(port.give(RxIndex::new(3), 60, checks), Ok(()));
    assert!(link.receive().is_none(), "not flushed yet");
    port.flush();
    let received = link.receive().expect("a frame");
    assert_eq!((&*received, received.checks()), (&*frame(1, 60), checks));
    assert_eq!(received.as_ptr().addr(), shared.receive.as_ptr().addr() + 3 * BUFFER_BYTES + 64);
    link.give_back(received);
    link.flush();
    assert_eq!(port.request(), Some(Request::GivenBack(RxIndex::new(3))));
    assert_eq!(port.request(), None);
    assert_eq!(link.refusals().total() + port.refusals().total(), 0);
}

#[test]
fn a_frame_that_goes_out_is_sent_from_where_it_was_written() {
    let shared = Shared::new();
    let (mut port, mut link, card) = (shared.port(), shared.link(), shared.card());
    let mut outgoing = link.take().expect("a buffer");
    assert_eq!(outgoing.len(), super::FRAME_BYTES);
    outgoing[..1514].copy_from_slice(&frame(9, 1514));
    link.send(outgoing, 1514, Sum::Made);
    link.flush();
    let Some(Request::Transmit(index, 1514, Sum::Made)) = port.request() else {
        panic!("a frame to send")
    };
    assert_eq!(card.transmit.look(index.number(), 1514), frame(9, 1514));
    assert_eq!((port.request(), port.posted()), (None, 1));
    port.sent(index);
    assert_eq!(port.posted(), 0);
    assert_eq!(port.refusals(), Refusals::default());
}

#[test]
fn a_consumer_has_no_more_than_its_quota() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    for index in 0..5 {
        assert_eq!(port.give(RxIndex::new(index), 60, Checks::default()), Ok(()));
    }
    let sixth = RxIndex::new(5);
    assert_eq!(port.give(sixth, 60, Checks::default()), Err(NotGiven::Quota));
    port.flush();
    let received = link.receive().expect("a frame");
    link.give_back(received);
    link.flush();
    assert_eq!(port.request(), Some(Request::GivenBack(RxIndex::new(0))));
    assert_eq!(port.give(sixth, 60, Checks::default()), Ok(()));
}

#[test]
fn what_a_driver_cannot_have_is_refused() {
    let shared = Shared::new();
    let mut port = shared.port();
    let mut give = |index, length| port.give(RxIndex::new(index), length, Checks::default());
    assert_eq!(give(8, 60), Err(NotGiven::Invalid), "no such buffer");
    assert_eq!(give(1, 13), Err(NotGiven::Invalid), "no such frame");
    assert_eq!(give(1, 4545), Err(NotGiven::Invalid), "no such frame");
    assert_eq!(give(1, 4544), Ok(()));
    assert_eq!(give(1, 60), Err(NotGiven::Invalid), "given already");
    port.sent(TxIndex::new(2));
    assert_eq!(port.refusals().transmit, 1, "the card had no such frame");
}

#[test]
fn transmit_buffers_run_out_and_come_back_with_a_signal() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    while let Some(outgoing) = link.take() {
        link.send(outgoing, 60, Sum::Made);
    }
    link.flush();
    assert!(!link.arm());
    let posted: Vec<_> = core::iter::from_fn(|| port.request()).collect();
    assert_eq!(posted.len(), 4);
    assert!(port.starved());
    shared.consumer.take();
    let Request::Transmit(index, 60, Sum::Made) = posted[0] else { panic!("a frame to send") };
    port.sent(index);
    port.flush();
    assert_eq!(shared.consumer.take(), 1);
    assert!(link.take().is_some() && link.take().is_none());
}

#[test]
fn a_card_is_told_to_make_sums_only_where_it_does() {
    for sums in [true, false] {
        let shared = Shared::new();
        let limits = Limits { sums, ..LIMITS };
        let mut port = Port::new(&shared.region, &shared.consumer, limits, EPOCH).expect("fits");
        let mut link = shared.link();
        for sum in [Sum::Tcp, Sum::Udp, Sum::Made] {
            let outgoing = link.take().expect("a buffer");
            link.send(outgoing, 60, sum);
        }
        link.flush();
        let asked: Vec<_> = core::iter::from_fn(|| port.request())
            .map(|request| matches!(request, Request::Transmit(_, 60, sum) if sum == Sum::Made))
            .collect();
        assert_eq!(asked, if sums { &[false, false, true][..] } else { &[true] });
        assert_eq!(port.refusals().transmit, if sums { 0 } else { 2 });
    }
}

#[test]
fn sent_alone_wakes_nobody_who_still_has_buffers() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    let outgoing = link.take().expect("a buffer");
    link.send(outgoing, 60, Sum::Made);
    link.flush();
    assert!(!link.arm());
    let Some(Request::Transmit(index, 60, Sum::Made)) = port.request() else {
        panic!("a frame to send")
    };
    port.sent(index);
    port.flush();
    assert_eq!(shared.consumer.take(), 0);
}

#[test]
fn only_a_sleeper_is_signalled_and_once() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    let mut send = |bell: &Bell| {
        let outgoing = link.take().expect("a buffer");
        link.send(outgoing, 60, Sum::Made);
        link.flush();
        bell.take()
    };
    assert_eq!(send(&shared.driver), 0, "awake");
    assert!(port.request().is_some() && port.request().is_none());
    assert!(!port.arm());
    assert_eq!(send(&shared.driver), 1);
    assert_eq!(send(&shared.driver), 0, "signalled already");
    assert!(port.arm(), "there is something to take");
    assert!(port.request().is_some(), "and to be awake for");
    assert_eq!(send(&shared.driver), 0, "awake");
}

#[test]
fn frames_given_back_wake_the_driver_at_half_of_the_quota() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    (0..5).for_each(|index| port.give(RxIndex::new(index), 60, Checks::default()).expect("room"));
    port.flush();
    assert!(!port.arm());
    let mut wakes = Vec::new();
    for _ in 0..5 {
        let received = link.receive().expect("a frame");
        link.give_back(received);
        link.flush();
        wakes.push(shared.driver.take());
    }
    assert_eq!(wakes, [0, 0, 1, 0, 0]);
    assert_eq!(core::iter::from_fn(|| port.request()).count(), 5, "all are seen without a signal");
}

#[test]
fn a_ticket_is_good_once_and_only_as_it_was_written() {
    let shared = Shared::new();
    let admits = |ticket| Port::<&Bell>::admits(&shared.region, ticket);
    assert!(!admits(0), "nothing was written");
    shared.memory().ticket(5);
    assert!(!admits(6) && !admits(5), "a wrong guess spoils it");
    shared.memory().ticket(5);
    assert!(admits(5) && !admits(5));
    assert!(!Port::<&Bell>::admits(&shared.region[..100], 5), "too small a region");
}

#[test]
fn an_attachment_begins_with_all_buffers() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    port.give(RxIndex::new(2), 60, Checks::default()).expect("room");
    port.flush();
    let outgoing = link.take().expect("a buffer");
    link.send(outgoing, 60, Sum::Made);
    link.flush();
    let memory = link.close().expect("no frame was taken");
    assert_eq!(core::iter::from_fn(|| port.reclaim()).collect::<Vec<_>>(), [RxIndex::new(2)]);
    drop(port);
    let epoch = EPOCH.next();
    let mut port = Port::new(&shared.region, &shared.consumer, LIMITS, epoch).expect("fits");
    let mut link = Link::new(memory, &shared.driver, &attachment(epoch)).expect("fits");
    assert!(link.receive().is_none() && port.request().is_none());
    assert_eq!(core::iter::from_fn(|| link.take()).map(core::mem::forget).count(), 4);
    assert_eq!((link.fault(), port.fault()), (None, None));
}

#[test]
fn the_rest_of_a_frame_is_appended_where_it_fits() {
    let shared = Shared::new();
    let receive = shared.card().receive;
    receive.put(1, &frame(1, 4096));
    receive.put(2, &frame(2, 448));
    let append = |to, length, from, bytes| {
        receive.append(RxIndex::new(to), length, RxIndex::new(from), bytes)
    };
    assert!(append(1, 4096, 2, 448));
    assert_eq!(receive.look(1, 4544), [frame(1, 4096), frame(2, 448)].concat());
    assert!(!append(1, 4096, 2, 449) && !append(1, usize::MAX, 2, 1), "no room");
    assert!(!append(1, 0, 8, 1) && !append(8, 0, 1, 1), "no such buffer");
}

#[test]
fn a_link_with_frames_in_use_does_not_close() {
    let shared = Shared::new();
    let (mut port, mut link) = (shared.port(), shared.link());
    port.give(RxIndex::new(2), 60, Checks::default()).expect("room");
    port.flush();
    let received = link.receive().expect("a frame");
    let mut link = link.close().expect_err("a frame is in use");
    link.give_back(received);
    let outgoing = link.take().expect("a buffer");
    let mut link = link.close().expect_err("a buffer is being filled");
    link.give_up(outgoing);
    assert!(link.close().is_ok());
}

#[test]
fn a_driver_with_more_buffers_than_the_memory_is_refused() {
    let shared = Shared::new();
    let more = Attachment { receive: 9, ..attachment(EPOCH) };
    let refused = Link::new(shared.memory(), &shared.driver, &more);
    assert_eq!(refused.map_err(|(error, _)| error).err(), Some(LinkError::Buffers));
    let more = Attachment { transmit: 5, ..attachment(EPOCH) };
    let refused = Link::new(shared.memory(), &shared.driver, &more);
    assert_eq!(refused.map_err(|(error, _)| error).err(), Some(LinkError::Buffers));
}

/// What the two sides do in turn.
#[derive(Clone, Debug)]
enum Step {
    Arrive(usize),
    Complete,
    DriverRuns,
    ConsumerTakes,
    ConsumerGivesBack,
    ConsumerSends(usize),
    ConsumerSleeps,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (14usize..=4544).prop_map(Step::Arrive),
        2 => Just(Step::Complete),
        2 => Just(Step::DriverRuns),
        3 => Just(Step::ConsumerTakes),
        3 => Just(Step::ConsumerGivesBack),
        3 => (14usize..=4544).prop_map(Step::ConsumerSends),
        1 => Just(Step::ConsumerSleeps),
    ]
}

/// Both sides, and a slow obvious account of what is under way.
struct Pair<'m> {
    shared: &'m Shared,
    port: Port<'m, &'m Bell>,
    link: Link<'m, &'m Bell>,
    card: Card<'m>,
    seed: u8,
    driver_owns: VecDeque<u16>,
    arriving: VecDeque<Vec<u8>>,
    taken: VecDeque<Frame<'m>>,
    leaving: VecDeque<Vec<u8>>,
    in_card: VecDeque<TxIndex>,
    driver_sleeps: bool,
}

impl<'m> Pair<'m> {
    fn new(shared: &'m Shared) -> Self {
        Self {
            shared,
            port: shared.port(),
            link: shared.link(),
            card: shared.card(),
            seed: 0,
            driver_owns: (0..LIMITS.receive).collect(),
            arriving: VecDeque::new(),
            taken: VecDeque::new(),
            leaving: VecDeque::new(),
            in_card: VecDeque::new(),
            driver_sleeps: false,
        }
    }

    fn content(&mut self, length: usize) -> Vec<u8> {
        self.seed = self.seed.wrapping_add(1);
        frame(self.seed, length)
    }

    fn arrive(&mut self, length: usize) {
        let bytes = self.content(length);
        let Some(index) = self.driver_owns.pop_front() else { return };
        self.card.receive.put(index, &bytes);
        let length = u16::try_from(length).expect("short");
        match self.port.give(RxIndex::new(index), length, Checks::default()) {
            Ok(()) => self.arriving.push_back(bytes),
            Err(error) => {
                assert_eq!(error, NotGiven::Quota);
                self.driver_owns.push_front(index);
            }
        }
    }

    fn driver_runs(&mut self) {
        while let Some(request) = self.port.request() {
            match request {
                Request::GivenBack(index) => self.driver_owns.push_back(index.number()),
                Request::Transmit(index, length, _) => {
                    let sent = self.card.transmit.look(index.number(), length);
                    assert_eq!(Some(sent), self.leaving.pop_front(), "frames go out in order");
                    self.in_card.push_back(index);
                }
            }
        }
        self.port.flush();
        self.shared.driver.take();
        self.driver_sleeps = !self.port.arm();
    }

    fn consumer_takes(&mut self) {
        let Some(received) = self.link.receive() else { return };
        assert_eq!(Some(received.to_vec()), self.arriving.pop_front(), "frames come in order");
        self.taken.push_back(received);
    }

    fn consumer_sends(&mut self, length: usize) {
        let Some(mut outgoing): Option<Outgoing<'_>> = self.link.take() else { return };
        let bytes = self.content(length);
        outgoing[..length].copy_from_slice(&bytes);
        self.link.send(outgoing, length, Sum::Made);
        self.leaving.push_back(bytes);
    }

    /// A side that sleeps while there is something for it has been signalled.
    fn consumer_sleeps(&mut self) {
        self.link.flush();
        assert!(!self.driver_sleeps || self.leaving.is_empty() || self.shared.driver.rung());
        self.shared.consumer.take();
        if !self.link.arm() {
            let before = self.arriving.len();
            self.arrive(60);
            self.port.flush();
            let woken = self.shared.consumer.take() > 0;
            assert!(woken || self.arriving.len() == before, "asleep over a frame");
        }
    }

    fn check(&self) {
        assert_eq!((self.port.fault(), self.link.fault()), (None, None));
        assert_eq!(self.port.refusals().total() + self.link.refusals().total(), 0);
        assert!(self.arriving.len() + self.taken.len() <= LIMITS.quota.into());
        assert!(self.leaving.len() + self.in_card.len() <= LIMITS.transmit.into());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// No frame is lost, doubled, reordered or changed between honest sides, no buffer is lost,
    /// and nobody sleeps over work.
    #[test]
    fn honest_sides_lose_nothing(
        steps in prop::collection::vec(step(), 0..if cfg!(miri) { 60 } else { 1_500 }),
    ) {
        let shared = Shared::new();
        let mut pair = Pair::new(&shared);
        for step in steps {
            match step {
                Step::Arrive(length) => pair.arrive(length),
                Step::Complete => {
                    if let Some(index) = pair.in_card.pop_front() {
                        pair.port.sent(index);
                    }
                }
                Step::DriverRuns => pair.driver_runs(),
                Step::ConsumerTakes => pair.consumer_takes(),
                Step::ConsumerGivesBack => {
                    if let Some(frame) = pair.taken.pop_front() {
                        pair.link.give_back(frame);
                    }
                }
                Step::ConsumerSends(length) => pair.consumer_sends(length),
                Step::ConsumerSleeps => pair.consumer_sleeps(),
            }
            pair.check();
        }
    }
}
