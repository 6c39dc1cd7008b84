//! The network: what it does to each packet is drawn from the seed.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use fastrand::Rng;

/// What a network does, of a thousand packets each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) lost: u32,
    pub(super) doubled: u32,
    pub(super) damaged: u32,
    /// Held up by up to this many times the delay, so that others overtake.
    pub(super) reordered: u32,
    pub(super) marked: u32,
    /// Nothing passes between these times, in microseconds.
    pub(super) cut: Option<(u64, u64)>,
    pub(super) delay: Duration,
}

impl Faults {
    /// What a seed's network is like; a quarter of them is faultless.
    pub(super) fn draw(random: &mut Rng) -> Self {
        let delay = Duration::from_nanos(random.u64(500..30_000));
        if random.u32(..4) == 0 {
            return Self { delay, ..Self::default() };
        }
        let mut rate = || [0, 0, 5, 20, 60, 200][random.usize(..6)];
        let [lost, doubled, damaged, reordered, marked] = core::array::from_fn(|_| rate());
        let cut = (random.u32(..8) == 0).then(|| {
            let from = random.u64(..400);
            let long = if random.bool() { u64::MAX / 4000 } else { random.u64(..3000) };
            (from, from + long)
        });
        Self { lost, doubled, damaged, reordered, marked, cut, delay }
    }

    pub(super) const fn is_none(&self) -> bool {
        self.lost + self.doubled + self.damaged + self.reordered + self.marked == 0
            && self.cut.is_none()
    }

    fn cuts(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.cut.is_some_and(|(from, until)| (from..until).contains(&now))
    }
}

/// A packet on its way: when it arrives, its number, to which host, its bytes.
type Flight = (Duration, u64, usize, Vec<u8>);

/// What happened to packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fates {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) damaged: u64,
    pub(super) reordered: u64,
    pub(super) marked: u64,
    pub(super) cut: u64,
}

pub(super) struct Network {
    faults: Faults,
    random: Rng,
    flights: BinaryHeap<Reverse<Flight>>,
    number: u64,
    pub(super) fates: Fates,
}

impl Network {
    pub(super) fn new(faults: Faults, random: Rng) -> Self {
        let (flights, fates) = (BinaryHeap::new(), Fates::default());
        Self { faults, random, flights, number: 0, fates }
    }

    fn chance(&mut self, of_a_thousand: u32) -> bool {
        of_a_thousand > 0 && self.random.u32(..1000) < of_a_thousand
    }

    /// Takes a packet for a host.
    pub(super) fn send(&mut self, now: Duration, to: usize, packet: &[u8]) {
        self.fates.sent += 1;
        if self.faults.cuts(now) {
            self.fates.cut += 1;
        } else if self.chance(self.faults.lost) {
            self.fates.lost += 1;
        } else {
            self.fly(now, to, packet);
            if self.chance(self.faults.doubled) {
                self.fates.doubled += 1;
                self.fly(now, to, packet);
            }
        }
    }

    fn fly(&mut self, now: Duration, to: usize, packet: &[u8]) {
        let mut packet = packet.to_vec();
        if self.chance(self.faults.marked) {
            self.fates.marked += 1;
            mark(&mut packet);
        }
        if self.chance(self.faults.damaged) {
            self.fates.damaged += 1;
            for _ in 0..self.random.u32(1..4) {
                let at = self.random.usize(..packet.len());
                packet[at] ^= self.random.u8(1..);
            }
        }
        let mut delay = self.faults.delay;
        if self.chance(self.faults.reordered) {
            self.fates.reordered += 1;
            delay += self.faults.delay * self.random.u32(1..20) / 4;
        }
        self.number += 1;
        self.flights.push(Reverse((now + delay, self.number, to, packet)));
    }

    /// When the next packet arrives.
    pub(super) fn next(&self) -> Option<Duration> {
        self.flights.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next packet that has arrived, and where.
    pub(super) fn arrive(&mut self, now: Duration) -> Option<(usize, Vec<u8>)> {
        if self.next()? > now {
            return None;
        }
        self.flights.pop().map(|Reverse((_, _, to, packet))| (to, packet))
    }
}

/// Marks a packet as a router does that meets congestion: ECN in the IP header, whose sum is renewed.
fn mark(packet: &mut [u8]) {
    if packet[0] >> 4 == 6 {
        packet[1] |= 0x30;
        return;
    }
    packet[1] |= 3;
    packet[10..12].fill(0);
    let words = packet[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let sum = !u16::try_from(sum).expect("folded");
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}
