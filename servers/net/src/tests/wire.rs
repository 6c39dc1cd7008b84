//! A simulated Ethernet: a hub that loses, doubles, damages and delays frames as it is told, in
//! simulated time.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use libd3os::nic::{Checks, FRAME_BYTES, Sum};

use crate::checksum::tests::made_by_card;
use crate::device::Card;
use crate::random::Random;

thread_local! {
    static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The simulated time.
pub(super) fn clock() -> Duration {
    TIME.with(Cell::get)
}

pub(super) fn set_clock(time: Duration) {
    TIME.with(|clock| clock.set(time));
}

/// What the hub does to frames, in thousandths of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) damaged: u64,
    /// Frames take up to this much longer than others, and so overtake each other.
    pub(super) jitter: Duration,
}

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
/// Transmit buffers of a card.
const BUFFERS: usize = 64;
const LATENCY: Duration = Duration::from_micros(200);

type Frame = Vec<u8>;
type Queue = Rc<RefCell<VecDeque<Frame>>>;

/// The hub.
pub(super) struct Hub {
    ports: Vec<(Queue, Queue)>,
    under_way: BinaryHeap<Reverse<(Duration, u64, usize, Frame)>>,
    sent: u64,
    random: Random,
    pub(super) faults: Faults,
}

impl Hub {
    pub(super) fn new(seed: u64) -> Self {
        let under_way = BinaryHeap::new();
        let random = Random::new(seed);
        Self { ports: Vec::new(), under_way, sent: 0, random, faults: Faults::default() }
    }

    /// A card whose cable ends here. Every other one makes checksums.
    pub(super) fn plug(&mut self) -> SimCard {
        let (to, from) = (Queue::default(), Queue::default());
        self.ports.push((Rc::clone(&to), Rc::clone(&from)));
        let (buffers, sums) = (Rc::new(Cell::new(BUFFERS)), self.ports.len() % 2 == 1);
        SimCard { received: to, sent: from, buffers, sums, missing: 0 }
    }

    /// Takes what the cards sent, and hands out what arrives by now; tells whether there was any.
    pub(super) fn carry(&mut self) -> bool {
        let sent: Vec<_> = self.ports.iter().map(|(_, from)| from.take()).collect();
        for (port, frames) in sent.into_iter().enumerate() {
            frames.into_iter().for_each(|frame| self.send(port, &frame));
        }
        let mut arrived = false;
        while self.next().is_some_and(|time| time <= clock()) {
            if let Some(Reverse((_, _, port, frame))) = self.under_way.pop() {
                self.ports[port].0.borrow_mut().push_back(frame);
                arrived = true;
            }
        }
        arrived
    }

    /// When the next frame arrives.
    pub(super) fn next(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse((time, ..))| *time)
    }

    fn send(&mut self, from: usize, frame: &[u8]) {
        for port in (0..self.ports.len()).filter(|port| *port != from) {
            if self.happens(self.faults.lost) {
                continue;
            }
            let copies = if self.happens(self.faults.doubled) { 2 } else { 1 };
            for _ in 0..copies {
                self.launch(port, frame.to_vec());
            }
        }
    }

    fn launch(&mut self, port: usize, mut frame: Frame) {
        // ARP has no sum of its own, and relies on the card's.
        let summed = frame.get(12..14) != Some(&[8, 6]) && frame.len() > HEADER;
        if self.happens(self.faults.damaged) && summed {
            let at = HEADER + usize::from(self.random.next_u16()) % (frame.len() - HEADER);
            frame[at] ^= 1 << (self.random.next_u64() % 8);
        }
        let jitter = u64::from(self.faults.jitter.subsec_micros());
        let late = Duration::from_micros(self.random.next_u64() % (jitter + 1));
        self.sent += 1;
        self.under_way.push(Reverse((clock() + LATENCY + late, self.sent, port, frame)));
    }

    fn happens(&mut self, thousandths: u64) -> bool {
        self.random.next_u64() % 1000 < thousandths
    }
}

/// A card at the hub.
#[derive(Debug)]
pub(crate) struct SimCard {
    received: Queue,
    sent: Queue,
    /// Transmit buffers that are free.
    buffers: Rc<Cell<usize>>,
    /// Whether it makes checksums.
    sums: bool,
    /// Frames that were taken and not given back.
    missing: usize,
}

impl SimCard {
    /// Another card at the same port: for a driver that was started again.
    pub(super) fn again(&self) -> Self {
        let (received, sent) = (Rc::clone(&self.received), Rc::clone(&self.sent));
        let (buffers, sums) = (Rc::new(Cell::new(BUFFERS)), self.sums);
        Self { received, sent, buffers, sums, missing: 0 }
    }

    /// Puts a frame before the card.
    pub(super) fn inject(&self, frame: Frame) {
        self.received.borrow_mut().push_back(frame);
    }
}

impl Drop for SimCard {
    fn drop(&mut self) {
        assert!(self.missing == 0 || std::thread::panicking(), "frames were not given back");
    }
}

impl Card for SimCard {
    type Frame = Frame;
    type Buffer = Frame;

    fn receive(&mut self) -> Option<(Frame, Checks)> {
        let frame = self.received.borrow_mut().pop_front()?;
        self.missing += 1;
        Some((frame, Checks::default()))
    }

    fn give_back(&mut self, _: Frame) {
        self.missing -= 1;
    }

    fn take(&mut self) -> Option<Frame> {
        let left = self.buffers.get().checked_sub(1)?;
        self.buffers.set(left);
        Some(vec![0xaa; FRAME_BYTES])
    }

    fn sums(&self) -> bool {
        self.sums
    }

    fn send(&mut self, mut buffer: Frame, length: usize, sum: Sum) {
        self.buffers.set(self.buffers.get() + 1);
        buffer.truncate(length);
        assert!(self.sums || sum == Sum::Made, "it makes none");
        made_by_card(&mut buffer, sum);
        self.sent.borrow_mut().push_back(buffer);
    }

    fn give_up(&mut self, _: Frame) {
        self.buffers.set(self.buffers.get() + 1);
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        !self.received.borrow().is_empty()
    }
}
