//! A program and a peer that keep to no rules: whatever they do, memory that is not theirs is neither read
//! nor written, and nothing panics.
//!
//! A host has a region that is open to both, and another one, of another domain, that is not. Each step is
//! a forged packet (any kind, numbers near those that are expected, keys and addresses of either
//! region, or any), a work request of any bits, a change of attributes, the end of the open region, or
//! time. After each one the secret is where it was, and in no packet.
//!
//! `FUZZ_STEPS` and `FUZZ_SEED` in the environment change how many hosts are tried and from which seed
//! on; a failure prints its seed, and `FUZZ_SEED=that FUZZ_STEPS=1` repeats it.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::BTreeMap;

use fastrand::Rng;

use super::host::{BASE, Host, Link, OBJECT, QUEUE_KEY};
use super::setting;
use crate::core::{AddressVector, AttrMask, Attributes, PathMtu, QpKind, State};
use crate::entries::{ReceiveEntry, SendEntry, Sge};
use crate::events::Dropped;
use crate::regions::{Access, Key, Place, Region};
use crate::wire::{
    Aeth, AtomicEth, Body, Bth, Deth, NakCode, Psn, Received, Reth, Route, Service, Syndrome, emit,
};

/// Hosts that a run tries.
const HOSTS: u64 = 20_000;
/// Steps with each.
const STEPS: u32 = 60;
/// Bytes that are open; behind them is the secret.
const OPEN: usize = 1024;
const MEMORY: usize = 4096;
/// What nothing but the secret holds.
const SECRET: u8 = 0xee;

/// Tells the seed that a failure happened with.
struct Trail(u64);

impl Drop for Trail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with seed {0}: FUZZ_SEED={0} FUZZ_STEPS=1", self.0);
        }
    }
}

struct Arena {
    host: Host,
    link: Link,
    peer: core::net::IpAddr,
    open: Key,
    secret: Key,
    handle: u32,
    now: Duration,
    random: Rng,
}

/// What became of forged packets.
type Tally = BTreeMap<&'static str, u64>;

impl Arena {
    fn draw(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let kind = [QpKind::Rc, QpKind::Rc, QpKind::Uc, QpKind::Ud][random.usize(..4)];
        // Headers of version 4 have a sum, which could look like the secret in a receive.
        let link = Link { kind, version_6: true, shared: random.bool(), ..Link::default() };
        let mut host = Host::new(1, MEMORY, 8, &link);
        let peer = Host::new(2, 8, 8, &link);
        host.connect(peer.address, peer.qp, &link);
        let everything = host.domain;
        host.core.dereg_mr(host.key, everything).expect("it was registered");
        host.memory.0[OPEN..].fill(SECRET);
        let other = host.core.alloc_pd().expect("room");
        let mut register = |domain, from: usize, length: usize| {
            let (start, length) = (BASE + from as u64, length as u64);
            let place = Place { backing: OBJECT, offset: from as u64 };
            let region = Region { domain, start, length, access: Access::all(), place };
            host.core.reg_mr(region, Access::all()).expect("room")
        };
        let open = register(everything, 0, OPEN);
        let secret = register(other, OPEN, MEMORY - OPEN);
        let handle = host.handle_of(peer.address).number();
        let (peer, now) = (peer.address, Duration::ZERO);
        Self { host, link, peer, open, secret, handle, now, random }
    }

    fn step(&mut self, tally: &mut Tally) {
        match self.random.u32(..20) {
            0..10 => self.forge(tally),
            10..14 => self.post_send(),
            14..16 => self.post_receive(),
            16 => self.modify(),
            17 => self.reopen(),
            _ => self.wait(),
        }
        self.look();
    }

    /// A key of either region, or any.
    fn key(&mut self) -> u32 {
        match self.random.u32(..8) {
            0..5 => self.open.0,
            5..7 => self.secret.0,
            _ => self.random.u32(..),
        }
    }

    /// An address near an end of either region, or any.
    fn address(&mut self) -> u64 {
        let edges = [0, OPEN, MEMORY, 512, 64];
        let edge = BASE + edges[self.random.usize(..edges.len())] as u64;
        match self.random.u32(..6) {
            0 => edge.wrapping_add_signed(self.random.i64(-300..300)),
            1 => self.random.u64(..),
            _ => edge,
        }
    }

    fn length(&mut self) -> u32 {
        let edges = [0, 1, 8, 255, 256, 257, 600, 1 << 30, u32::MAX];
        edges[self.random.usize(..edges.len())]
    }

    fn reth(&mut self) -> Reth {
        Reth { address: self.address(), key: self.key(), length: self.length() }
    }

    fn atomic(&mut self) -> AtomicEth {
        let (address, key) = (self.address(), self.key());
        // Small numbers, so that what is open never comes to look like the secret.
        AtomicEth { address, key, swap_or_add: self.random.u64(..2), compare: self.random.u64(..2) }
    }

    fn aeth(&mut self) -> Aeth {
        let syndrome = match self.random.u32(..8) {
            0 => Syndrome::ReceiverNotReady { timer: self.random.u8(..32) },
            1 => Syndrome::Nak(NakCode::PsnSequenceError),
            2 => Syndrome::Nak(NakCode::RemoteAccessError),
            _ => Syndrome::ACK,
        };
        Aeth { syndrome, msn: self.random.u32(..1 << 24) }
    }

    fn body(&mut self) -> Body {
        let immediate = self.random.bool().then(|| self.random.u32(..));
        match self.random.u32(..19) {
            _ if self.link.kind.is_datagram() => {
                let queue_key = if self.random.u32(..8) == 0 { 1 } else { QUEUE_KEY };
                Body::Datagram(Deth { queue_key, source: self.random.u32(..1 << 24) }, immediate)
            }
            0 => Body::SendFirst,
            1 => Body::SendMiddle,
            2 => Body::SendLast(immediate),
            3 => Body::SendOnly(immediate),
            4 => Body::WriteFirst(self.reth()),
            5 => Body::WriteMiddle,
            6 => Body::WriteLast(immediate),
            7 => Body::WriteOnly(self.reth(), immediate),
            8..10 => Body::ReadRequest(self.reth()),
            10 => Body::ReadResponseFirst(self.aeth()),
            11 => Body::ReadResponseMiddle,
            12 => Body::ReadResponseLast(self.aeth()),
            13 => Body::ReadResponseOnly(self.aeth()),
            14 => Body::Acknowledge(self.aeth()),
            15 => Body::AtomicAcknowledge(self.aeth(), self.random.u64(..2)),
            16 => Body::CompareSwap(self.atomic()),
            17 => Body::FetchAdd(self.atomic()),
            _ => Body::CongestionNotification,
        }
    }

    /// Numbers near the ones that come next, of either half.
    fn psn(&mut self) -> Psn {
        let query = self.host.core.query_qp(self.host.qp).expect("there");
        let near = if self.random.bool() { query.rq_psn } else { query.sq_psn };
        match self.random.u32(..8) {
            0 => Psn::new(self.random.u32(..)),
            1 => near.plus(self.random.u32(..8)),
            2..4 => near.minus(self.random.u32(..8)),
            _ => query.rq_psn,
        }
    }

    fn forge(&mut self, tally: &mut Tally) {
        self.revive();
        let (body, psn) = (self.body(), self.psn());
        let service = match self.link.kind {
            QpKind::Rc => Service::Rc,
            QpKind::Uc => Service::Uc,
            QpKind::Ud | QpKind::Gsi => Service::Ud,
        };
        let payload = match (&body, self.random.u32(..8)) {
            (Body::ReadRequest(_) | Body::Acknowledge(_), _) => 0,
            (Body::CompareSwap(_) | Body::FetchAdd(_) | Body::AtomicAcknowledge(..), _) => 0,
            (Body::WriteOnly(reth, _), 1..) => reth.length.min(256) as usize,
            (_, 0) => self.random.usize(..300),
            _ => [256, 8, 0][self.random.usize(..3)],
        };
        let bth = Bth {
            psn,
            partition: 0xffff,
            destination: self.host.qp.0,
            ack_request: self.random.bool(),
            solicited: self.random.bool(),
            fecn: self.random.u32(..8) == 0,
            ..Bth::default()
        };
        let route = Route {
            from: self.peer,
            to: self.host.address,
            source_port: 50_000,
            traffic_class: 0,
            hop_limit: 64,
        };
        let mut buffer = [0; 1024];
        let random = &mut self.random;
        let fill = |room: &mut [u8]| {
            room.iter_mut().for_each(|byte| *byte = random.u8(1..0x80));
            Ok::<(), Infallible>(())
        };
        let length = emit(&mut buffer, &route, service, &bth, &body, payload, fill).expect("room");
        let host = &mut self.host;
        let result = host.core.receive(self.now, &buffer[..length], &mut host.memory);
        *tally.entry(name(result)).or_default() += 1;
    }

    fn sge(&mut self) -> Sge {
        let length = if self.random.bool() { self.random.u32(..600) } else { self.length() };
        Sge { addr: self.address(), length, lkey: self.key() }
    }

    fn post_send(&mut self) {
        let mut entry = SendEntry {
            wr_id: self.random.u64(..),
            opcode: self.random.u8(..8),
            flags: self.random.u8(..),
            num_sge: self.random.u8(..6),
            inline_bytes: self.random.u8(..80),
            remote_addr: self.random.u64(..) & !7,
            remote_qpn: self.random.u32(..),
            remote_qkey: self.random.u32(..),
            ah: if self.random.bool() { self.handle } else { self.random.u32(..) },
            ..SendEntry::default()
        };
        // Bytes that are inline, or elements, but no bytes that look like the secret.
        for at in 0..entry.sg_list.len() {
            entry.sg_list[at] = self.sge();
        }
        if entry.send_flags().contains(crate::entries::SendFlags::INLINE) {
            entry.sg_list = Default::default();
        }
        let host = &mut self.host;
        // Why it was not taken is of no concern.
        let _ = host.core.post_send(self.now, host.qp, &entry, &mut host.memory);
    }

    fn post_receive(&mut self) {
        let num_sge = self.random.u32(..5);
        let mut entry = ReceiveEntry { wr_id: 1, num_sge, ..ReceiveEntry::default() };
        for at in 0..entry.sg_list.len() {
            entry.sg_list[at] = self.sge();
        }
        let host = &mut self.host;
        // Why it was not taken is of no concern.
        let _ = match host.srq {
            Some(srq) => host.core.post_srq_recv(srq, &entry),
            None => host.core.post_recv(self.now, host.qp, &entry, &mut host.memory),
        };
    }

    fn modify(&mut self) {
        let states =
            [State::Reset, State::Init, State::Rtr, State::Rts, State::Sqd, State::Sqe, State::Err];
        let vector = AddressVector { destination: self.peer, traffic_class: 0, hop_limit: 9 };
        let attributes = Attributes {
            qp_state: states[self.random.usize(..7)],
            path_mtu: if self.random.bool() { PathMtu::B256 } else { PathMtu::B4096 },
            qkey: QUEUE_KEY,
            rq_psn: Psn::new(self.random.u32(..)),
            sq_psn: Psn::new(self.random.u32(..)),
            dest_qp_num: self.random.u32(..1 << 25),
            qp_access_flags: Access::all(),
            ah_attr: self.random.bool().then_some(vector),
            pkey_index: self.random.u16(..2),
            port_num: self.random.u8(..2),
            max_rd_atomic: self.random.u8(..20),
            max_dest_rd_atomic: self.random.u8(..20),
            timeout: self.random.u8(..40),
            retry_cnt: self.random.u8(..9),
            rnr_retry: self.random.u8(..9),
            ..Attributes::default()
        };
        let mask = AttrMask::from_bits_truncate(self.random.u32(..) | self.random.u32(..) & 1);
        let host = &mut self.host;
        // Most changes break a rule.
        let _ = host.core.modify_qp(self.now, host.qp, &attributes, mask, &mut host.memory);
    }

    /// What has ended begins anew, as a rule.
    fn revive(&mut self) {
        if self.host.state() == State::Rts || self.random.u32(..4) == 0 {
            return;
        }
        self.host.modify(&Attributes::default(), AttrMask::STATE);
        let number = self.host.qp;
        self.host.connect(self.peer, number, &self.link);
    }

    /// The open region ends; its key is not the next one's.
    fn reopen(&mut self) {
        let domain = self.host.domain;
        let region = self.host.core.dereg_mr(self.open, domain).expect("it was registered");
        let open = self.host.core.reg_mr(region, Access::all()).expect("room");
        assert_ne!(open, self.open);
        self.open = open;
    }

    fn wait(&mut self) {
        let after = self.now + Duration::from_micros(self.random.u64(..200));
        self.now = self.host.core.deadline().map_or(after, |deadline| deadline.max(self.now));
        self.host.core.tick(self.now, &mut self.host.memory);
    }

    /// The secret is where it was, and in no packet.
    fn look(&mut self) {
        let host = &mut self.host;
        let mut buffer = vec![0; host.core.buffer_bytes()];
        for _ in 0..64 {
            let sent = host.core.transmit(self.now, &mut buffer, &mut host.memory);
            let Some(sent) = sent else { break };
            let packet = Received::parse(&buffer[..sent.length]).expect("sound");
            assert!(!packet.payload.contains(&SECRET), "the secret was sent");
            if let Body::AtomicAcknowledge(_, before) = packet.body {
                assert!(!before.to_le_bytes().contains(&SECRET), "the secret was told");
            }
        }
        assert!(host.memory.0[OPEN..].iter().all(|byte| *byte == SECRET), "the secret has changed");
        let queues = [host.send_cq, host.recv_cq];
        queues.into_iter().for_each(|queue| drop(host.completions(queue)));
        host.events();
    }
}

const fn name(result: Result<(), Dropped>) -> &'static str {
    match result {
        Ok(()) => "taken",
        Err(Dropped::State) => "state",
        Err(Dropped::QueueKey) => "queue key",
        Err(Dropped::NoReceive) => "no receive",
        Err(Dropped::Message) => "message",
        Err(Dropped::Sequence) => "sequence",
        Err(Dropped::Answer) => "answer",
        Err(_) => "other",
    }
}

#[test]
fn what_is_not_theirs_is_out_of_reach() {
    let hosts = setting("FUZZ_STEPS", HOSTS);
    let first = setting("FUZZ_SEED", 1);
    let mut tally = Tally::new();
    for seed in first..first + hosts {
        let _trail = Trail(seed);
        let mut arena = Arena::draw(seed);
        (0..STEPS).for_each(|_| arena.step(&mut tally));
    }
    println!("{hosts} hosts: {tally:?}");
    if hosts >= HOSTS {
        let names = ["taken", "queue key", "no receive", "message", "sequence", "answer"];
        for name in names {
            assert!(
                tally.get(name).is_some_and(|count| *count >= hosts / 100),
                "{name}: {tally:?}"
            );
        }
    }
}
