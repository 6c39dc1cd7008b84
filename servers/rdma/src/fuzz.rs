//! A fuzzer of packets: whatever comes, nothing panics, and what is refused is refused for a reason.
//!
//! Each step takes a sound packet of any kind, damages it (bytes, words at the ends of what fields can
//! be, a part over another, other lengths), makes the sums right again as a rule, so that the damage
//! reaches the parsers behind them, and reads it. What is accepted is written again and must be the
//! same but for what is reserved.
//!
//! `FUZZ_STEPS` and `FUZZ_SEED` in the environment change how many packets are read and from which
//! seed on; a failure prints the seed of its packet, and `FUZZ_SEED=that FUZZ_STEPS=1` repeats it.

use core::convert::Infallible;
use std::collections::BTreeMap;
use std::thread;

use fastrand::Rng;

use crate::wire::{Received, WireError, emit};

/// Packets that a run reads.
const STEPS: u64 = 1_000_000;
/// Damages to a packet at most.
const DAMAGES: usize = 4;
/// One in so many keeps its wrong sums.
const UNSEALED: u32 = 8;
/// Bytes at the ends of what fields can be.
const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
/// Each reason is met at least so often in a whole run.
const AT_LEAST: u64 = 100;

/// Tells the seed of the packet that a failure happened with.
struct Trail(u64);

impl Drop for Trail {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with the packet of seed {0}: FUZZ_SEED={0} FUZZ_STEPS=1", self.0);
        }
    }
}

/// Bytes of an IP header of either version.
fn ip_header(datagram: &[u8]) -> usize {
    if datagram.first().is_some_and(|first| first >> 4 == 6) { 40 } else { 20 }
}

/// A datagram with sound headers of IP and UDP and anything behind them.
fn datagram(random: &mut Rng) -> Vec<u8> {
    let ip = if random.bool() { 20 } else { 40 };
    let payload = random.usize(0..80);
    let length = ip + 8 + 12 + payload + 4;
    let mut datagram: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
    datagram[0] = if ip == 20 { 0x45 } else { 0x60 };
    if ip == 20 {
        (datagram[6], datagram[7], datagram[9]) = (0x40, 0, 17);
    } else {
        datagram[6] = 17;
    }
    datagram[ip + 2..ip + 4].copy_from_slice(&4791_u16.to_be_bytes());
    let base = [0, 0x20, 0x60, 0x80][random.usize(..4)];
    datagram[ip + 8] = base | random.u8(..0x18);
    datagram[ip + 9] &= 0xf0;
    lengths(&mut datagram);
    datagram
}

/// Makes the lengths of IP and UDP right.
fn lengths(datagram: &mut [u8]) {
    let ip = ip_header(datagram);
    let total = u16::try_from(datagram.len()).expect("short");
    let udp = total - u16::try_from(ip).expect("short");
    let (at, length) = if ip == 20 { (2, total) } else { (4, udp) };
    datagram[at..at + 2].copy_from_slice(&length.to_be_bytes());
    datagram[ip + 4..ip + 6].copy_from_slice(&udp.to_be_bytes());
}

/// Makes the sums right, if there is room for them.
fn seal(datagram: &mut [u8]) {
    let ip = ip_header(datagram);
    if datagram.len() < ip + 24 {
        return;
    }
    if ip == 20 {
        datagram[10..12].fill(0);
        let words =
            datagram[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        let sum = !u16::try_from(sum).expect("folded");
        datagram[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let crc = slow_crc(datagram, ip).to_le_bytes();
    let end = datagram.len() - 4;
    datagram[end..].copy_from_slice(&crc);
}

/// The invariant CRC bit by bit, as the specification says it: the slow, obvious one.
fn slow_crc(datagram: &[u8], ip: usize) -> u32 {
    let variant: &[usize] = if ip == 20 { &[1, 8, 10, 11] } else { &[1, 2, 3, 7] };
    let masked = |(place, byte): (usize, &u8)| match place {
        0 if ip == 40 => byte | 0x0f,
        place if variant.contains(&place) => 0xff,
        place if [ip + 6, ip + 7, ip + 12].contains(&place) => 0xff,
        _ => *byte,
    };
    let bytes = datagram[..datagram.len() - 4].iter().enumerate().map(masked);
    let sum = [0xff; 8].into_iter().chain(bytes).fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    });
    !sum
}

fn damage(datagram: &mut Vec<u8>, random: &mut Rng) {
    let at = random.usize(..datagram.len());
    match random.u32(..10) {
        0..3 => datagram[at] = random.u8(..),
        3..5 => datagram[at] ^= 1 << random.u32(..8),
        5..8 => datagram[at] = EDGES[random.usize(..EDGES.len())],
        8 => {
            let bytes = random.usize(1..16).min(datagram.len() - at);
            let from = random.usize(..=datagram.len() - bytes);
            datagram.copy_within(from..from + bytes, at);
        }
        _ => {
            datagram.truncate(at.max(1));
        }
    }
}

/// Reads the packet of one seed.
fn run(seed: u64, tally: &mut BTreeMap<&'static str, u64>) {
    let _trail = Trail(seed);
    let mut random = Rng::with_seed(seed);
    let mut datagram = datagram(&mut random);
    for _ in 0..random.usize(..=DAMAGES) {
        damage(&mut datagram, &mut random);
    }
    if random.u32(..UNSEALED) > 0 {
        if random.bool() && datagram.len() >= ip_header(&datagram) + 8 {
            lengths(&mut datagram);
        }
        seal(&mut datagram);
    }
    let result = Received::parse(&datagram);
    *tally.entry(name(result.as_ref().err())).or_default() += 1;
    if let Ok(packet) = result {
        read_again(&packet);
    }
}

const fn name(error: Option<&WireError>) -> &'static str {
    match error {
        None => "sound",
        Some(WireError::Truncated) => "truncated",
        Some(WireError::NotRoce) => "not RoCE",
        Some(WireError::Checksum) => "checksum",
        Some(WireError::Length) => "length",
        Some(WireError::Icrc) => "CRC",
        Some(WireError::Version(_)) => "version",
        Some(WireError::Opcode(_)) => "opcode",
        Some(WireError::Pad) => "pad",
        Some(WireError::Syndrome(_)) => "syndrome",
        Some(WireError::Payload) => "payload",
    }
}

/// Reasons, and the sound ones.
const NAMES: usize = 11;

/// What was accepted and is written again says the same.
fn read_again(packet: &Received<'_>) {
    let mut buffer = [0; 256];
    let fill = |room: &mut [u8]| {
        let bytes = packet.payload.len().min(room.len());
        room[..bytes].copy_from_slice(&packet.payload[..bytes]);
        Ok::<(), Infallible>(())
    };
    let Received { route, service, bth, body, payload, .. } = packet;
    let length = emit(&mut buffer, route, *service, bth, body, payload.len(), fill);
    let again = Received::parse(&buffer[..length.expect("there is room")]).expect("sound");
    assert_eq!(
        (again.route, again.service, again.bth, again.body),
        (*route, *service, *bth, *body)
    );
    if *body != crate::wire::Body::CongestionNotification {
        assert_eq!(again.payload, *payload);
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn damaged_packets_are_refused_for_a_reason() {
    let steps = setting("FUZZ_STEPS", STEPS);
    let first = setting("FUZZ_SEED", 1);
    let mut tally = BTreeMap::new();
    (first..first + steps).for_each(|seed| run(seed, &mut tally));
    println!("{steps} packets: {tally:?}");
    if steps >= STEPS {
        assert_eq!(tally.len(), NAMES, "every reason occurs: {tally:?}");
        assert!(tally.values().all(|count| *count >= AT_LEAST), "{tally:?}");
    }
}
