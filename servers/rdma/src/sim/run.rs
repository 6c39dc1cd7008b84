//! One seed: two hosts, what they ask of each other, the network between them, and the judgement.

use core::fmt;
use core::time::Duration;

use fastrand::Rng;

use super::host::{BASE, Host, Link, OBJECT, QUEUE_KEY, pair, status};
use super::network::{Fates, Faults, Network};
use super::plan::{INBOX, INBOX_SLOT, LANDING, MEMORY, MOST, Model, Plan, SECRET, SLOT, TARGET};
use crate::core::{PathMtu, QpKind, State};
use crate::entries::{Completion, WcFlags, WcOpcode, WcStatus, WrOpcode};
use crate::events::{Counters, Event};
use crate::regions::{Access, Key, Place, Region};
use crate::wire::{GRH_BYTES, global_route};

/// Steps after which a run is stuck.
const PATIENCE: u32 = 200_000;
/// When a card takes more.
const PACE: Duration = Duration::from_micros(1);

fn draw_link(random: &mut Rng) -> Link {
    let kind = match random.u32(..10) {
        0 => QpKind::Uc,
        1 => QpKind::Ud,
        _ => QpKind::Rc,
    };
    let mtus = [PathMtu::B256, PathMtu::B256, PathMtu::B512, PathMtu::B1024];
    Link {
        kind,
        mtu: mtus[random.usize(..mtus.len())],
        // Often where numbers wrap.
        psn: if random.bool() { 0x00ff_fff0 + random.u32(..20) } else { random.u32(..) },
        timeout: random.u8(5..10),
        retry_cnt: random.u8(1..8),
        rnr_retry: [1, 3, 7, 7, 7, 7][random.usize(..6)],
        min_rnr_timer: random.u8(1..14),
        rd_atomic: random.u8(1..6),
        shared: random.u32(..4) == 0,
        sq_sig_all: random.u32(..4) == 0,
        version_6: random.u32(..4) == 0,
    }
}

/// A host with what it asks for and what came of it.
struct Side {
    host: Host,
    plan: Plan,
    /// When it posts the receives that its peer's requests need.
    needed: Vec<Duration>,
    /// The region that the peer works in, and when it is taken away.
    target: Key,
    revoked: Option<Duration>,
    posted: usize,
    received: usize,
    sends: Vec<Completion>,
    receives: Vec<Completion>,
    events: Vec<Event>,
}

struct World {
    link: Link,
    now: Duration,
    sides: [Side; 2],
    network: Network,
    faultless: bool,
    /// Packets that a card takes in a microsecond.
    burst: u32,
}

impl World {
    fn draw(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let link = draw_link(&mut random);
        let faults = Faults::draw(&mut random);
        let [mut a, mut b] = pair(MEMORY, u16::try_from(MOST).expect("few"), &link);
        let (for_a, for_b) = (register_target(&mut b), register_target(&mut a));
        let mut first = draw_plan(&mut a, &b, for_a, &link, &mut random);
        let mut second = draw_plan(&mut b, &a, for_b, &link, &mut random);
        let needed = [&mut second, &mut first].map(|plan| core::mem::take(&mut plan.receives));
        let [for_first, for_second] = needed;
        let mut side = |host, plan, needed, target| {
            let revoked = (link.kind == QpKind::Rc && random.u32(..16) == 0)
                .then(|| Duration::from_micros(random.u64(..300)));
            Side::new(host, plan, needed, target, revoked)
        };
        let sides = [side(a, first, for_first, for_b), side(b, second, for_second, for_a)];
        let burst = random.u32(1..20);
        let network = Network::new(faults, random);
        Self { link, now: Duration::ZERO, sides, network, faultless: faults.is_none(), burst }
    }

    /// Lets everything happen, until nothing more does.
    fn go(&mut self) {
        let mut buffer = vec![0; self.sides[0].host.core.buffer_bytes()];
        for _ in 0..PATIENCE {
            let mut busy = false;
            for at in 0..2 {
                self.sides[at].act(self.now);
                busy |= self.send(at, &mut buffer);
                self.sides[at].collect();
            }
            let soon = busy.then_some(self.now + PACE);
            let Some(next) = self.next().into_iter().chain(soon).min() else { return };
            self.now = next;
            while let Some((to, packet)) = self.network.arrive(next) {
                self.sides[to].take(next, &packet);
            }
            for side in &mut self.sides {
                side.host.core.tick(next, &mut side.host.memory);
            }
        }
        panic!("it does not end: {:?}", self.link);
    }

    /// Sends what a card takes at once; whether there may be more.
    fn send(&mut self, at: usize, buffer: &mut [u8]) -> bool {
        for _ in 0..self.burst {
            let Some(sent) = self.sides[at].transmit(self.now, buffer) else { return false };
            self.network.send(self.now, 1 - at, &buffer[..sent]);
        }
        true
    }

    fn next(&self) -> Option<Duration> {
        let sides = self.sides.iter().filter_map(Side::next);
        sides.chain(self.network.next()).min().map(|next| next.max(self.now))
    }
}

/// Registers the part of a host's memory that its peer works in.
fn register_target(host: &mut Host) -> Key {
    let region = Region {
        domain: host.domain,
        start: BASE + TARGET as u64,
        length: (MOST * SLOT) as u64,
        access: Access::all(),
        place: Place { backing: OBJECT, offset: TARGET as u64 },
    };
    host.core.reg_mr(region, Access::all()).expect("room")
}

fn draw_plan(host: &mut Host, peer: &Host, key: Key, link: &Link, random: &mut Rng) -> Plan {
    let mut plan = Plan::draw(host, link.kind, key.0, link.mtu.bytes() as usize, random);
    if link.kind.is_datagram() {
        let handle = host.handle_of(peer.address);
        for request in &mut plan.requests {
            request.entry.ah = handle.number();
            request.entry.remote_qpn = peer.qp.0;
            request.entry.remote_qkey = QUEUE_KEY;
        }
    }
    plan
}

impl Side {
    const fn new(
        host: Host,
        plan: Plan,
        needed: Vec<Duration>,
        target: Key,
        revoked: Option<Duration>,
    ) -> Self {
        Self {
            host,
            plan,
            needed,
            target,
            revoked,
            posted: 0,
            received: 0,
            sends: Vec::new(),
            receives: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Posts what is due, and takes the target away if that is.
    fn act(&mut self, now: Duration) {
        while self.plan.requests.get(self.posted).is_some_and(|request| request.when <= now) {
            let entry = self.plan.requests[self.posted].entry;
            self.host.post_send(now, &entry);
            self.posted += 1;
        }
        while self.needed.get(self.received).is_some_and(|when| *when <= now) {
            let slot = INBOX + self.received * INBOX_SLOT;
            let entry = self.host.receive_into(self.received as u64, slot, INBOX_SLOT);
            self.host.post_receive(now, &entry);
            self.received += 1;
        }
        if self.revoked.is_some_and(|revoked| revoked <= now) {
            self.revoked = None;
            let domain = self.host.domain;
            self.host.core.dereg_mr(self.target, domain).expect("it was registered");
            self.host.memory.0[TARGET..TARGET + MOST * SLOT].fill(SECRET);
        }
    }

    fn is_revoked(&self) -> bool {
        self.host.memory.0[TARGET] == SECRET
    }

    fn take(&mut self, now: Duration, packet: &[u8]) {
        // Why a packet was dropped is counted.
        let _ = self.host.core.receive(now, packet, &mut self.host.memory);
        self.collect();
    }

    fn transmit(&mut self, now: Duration, buffer: &mut [u8]) -> Option<usize> {
        let host = &mut self.host;
        host.core.transmit(now, buffer, &mut host.memory).map(|transmit| transmit.length)
    }

    fn collect(&mut self) {
        let host = &mut self.host;
        while let Some(completion) = host.core.poll_cq(host.send_cq) {
            self.sends.push(completion);
        }
        while let Some(completion) = host.core.poll_cq(host.recv_cq) {
            self.receives.push(completion);
        }
        while let Some(event) = host.core.next_event() {
            self.events.push(event);
        }
    }

    /// When something happens here by itself.
    fn next(&self) -> Option<Duration> {
        let request = self.plan.requests.get(self.posted).map(|request| request.when);
        let receive = self.needed.get(self.received).copied();
        let times = [self.host.core.deadline(), request, receive, self.revoked];
        times.into_iter().flatten().min()
    }

    /// Of its requests, how many are done; and how the next one failed, if one did.
    fn outcome(&self, link: &Link) -> (usize, Option<WcStatus>) {
        let requests = &self.plan.requests;
        let failed = self.sends.iter().find(|sent| status(sent) != WcStatus::Success);
        let (done, error) = match failed {
            Some(failed) => (usize::try_from(failed.wr_id).expect("small"), Some(status(failed))),
            None => (requests.len(), None),
        };
        // Each has its completion, in order: those that are done if it was asked for, the others always.
        let told = |number: &usize| {
            let flags = requests[*number].entry.send_flags();
            let signalled = flags.contains(crate::entries::SendFlags::SIGNALED);
            *number >= done || link.sq_sig_all || signalled
        };
        let expected: Vec<u64> = (0..requests.len()).filter(told).map(|at| at as u64).collect();
        let told: Vec<u64> = self.sends.iter().map(|sent| sent.wr_id).collect();
        assert_eq!(told, expected, "completions of sends");
        for sent in &self.sends {
            let number = usize::try_from(sent.wr_id).expect("small");
            if number < done {
                assert_eq!(sent.opcode, requests[number].opcode.completed() as u8);
                assert_eq!(sent.qp_num, self.host.qp.0);
            } else if number > done {
                assert_eq!(status(sent), WcStatus::WrFlushErr);
            }
        }
        (done, error)
    }

    /// The bytes of the receive of this number.
    fn inbox(&self, number: usize, length: u32) -> &[u8] {
        let from = INBOX + number * INBOX_SLOT;
        &self.host.memory.0[from..from + length as usize]
    }
}

/// Judges what `from` asked of `to` over a reliable connection.
fn judge_reliable(from: &Side, to: &Side, link: &Link) -> Option<WcStatus> {
    let (done, error) = from.outcome(link);
    let model = Model::of(&from.plan.requests, done);
    judge_memory(from, to, &model);
    judge_receives(from, to, done);
    assert_eq!(error.is_some() || from.host.state() == State::Err, from.host.state() == State::Err);
    error
}

fn judge_memory(from: &Side, to: &Side, model: &Model) {
    let target = &to.host.memory.0[TARGET..TARGET + MOST * SLOT];
    if to.is_revoked() {
        assert!(target.iter().all(|byte| *byte == SECRET), "written after it was taken away");
        let landing = &from.host.memory.0[LANDING..LANDING + MOST * SLOT];
        assert!(!landing.contains(&SECRET), "read after it was taken away");
    } else {
        let wrong = target
            .iter()
            .zip(&model.target)
            .position(|(is, expected)| expected.is_some_and(|expected| expected != *is));
        assert_eq!(wrong, None, "the target is wrong there");
    }
    for (number, expected) in model.landing.iter().enumerate() {
        let Some(expected) = expected else { continue };
        let at = LANDING + number * SLOT;
        assert!(from.host.memory.0[at..at + expected.len()] == **expected, "answer {number}");
    }
}

/// Receives hold what was sent, in the order in which it was sent, and none is missing of what is done.
fn judge_receives(from: &Side, to: &Side, done: usize) {
    let requests = from.plan.requests.iter().enumerate();
    let mut sent = requests.filter(|(_, request)| request.takes_receive());
    let mut arrived = 0;
    for (number, received) in to.receives.iter().enumerate() {
        assert_eq!(received.wr_id, number as u64, "receives in order");
        if status(received) != WcStatus::Success {
            assert_eq!(status(received), WcStatus::WrFlushErr);
            continue;
        }
        assert_eq!(arrived, number, "nothing arrives behind an error");
        let (at, request) = sent.next().expect("nothing arrives that was not sent");
        judge_receive(to, number, received, request);
        assert!(at < from.posted);
        arrived = number + 1;
    }
    let missing = sent.find(|(at, _)| *at < done);
    assert!(missing.is_none(), "{missing:?} is done and did not arrive");
}

fn judge_receive(to: &Side, number: usize, received: &Completion, request: &super::plan::Request) {
    assert_eq!(received.byte_len as usize, request.length);
    let flags = WcFlags::from_bits_truncate(received.wc_flags);
    assert_eq!(flags.contains(WcFlags::WITH_IMM), request.opcode.has_immediate());
    if request.opcode.has_immediate() {
        assert_eq!(received.imm_data, request.entry.imm_data);
    }
    if request.opcode.is_send() {
        assert_eq!(received.opcode, WcOpcode::Recv as u8);
        assert!(to.inbox(number, received.byte_len) == request.data, "receive {number}");
    } else {
        assert_eq!(received.opcode, WcOpcode::RecvRdmaWithImm as u8);
    }
}

/// Judges unreliable connections and datagrams: what arrives is one of the messages, whole.
fn judge_unreliable(from: &Side, to: &Side, link: &Link) {
    let (done, error) = from.outcome(link);
    assert_eq!((done, error), (from.plan.requests.len(), None));
    assert_eq!(from.host.state(), State::Rts);
    for received in &to.receives {
        assert_eq!(status(received), WcStatus::Success);
        let request = &from.plan.requests[received.imm_data as usize];
        let number = usize::try_from(received.wr_id).expect("small");
        if link.kind.is_datagram() {
            judge_datagram(from, to, number, received, &request.data);
        } else {
            judge_receive(to, number, received, request);
        }
    }
    for request in &from.plan.requests {
        judge_unreliable_write(to, request);
    }
}

fn judge_datagram(from: &Side, to: &Side, number: usize, received: &Completion, data: &[u8]) {
    assert_eq!(received.src_qp, from.host.qp.0);
    let (header, payload) = to.inbox(number, received.byte_len).split_at(GRH_BYTES);
    assert_eq!(payload, data, "datagram {number}");
    let header = header.try_into().expect("forty bytes");
    assert_eq!(global_route(header), Some(from.host.address));
}

/// A write is there, or parts of it; if a receive told of it, all of it.
fn judge_unreliable_write(to: &Side, request: &super::plan::Request) {
    if request.opcode.is_send() {
        return;
    }
    let at = TARGET + request.at;
    let written = &to.host.memory.0[at..at + request.length];
    let told = to.receives.iter().any(|received| {
        received.opcode == WcOpcode::RecvRdmaWithImm as u8
            && received.imm_data == request.entry.imm_data
            && request.opcode == WrOpcode::RdmaWriteWithImm
    });
    let right = |(is, data): (&u8, &u8)| is == data || !told && *is == 0;
    assert!(written.iter().zip(&request.data).all(right), "a write of something else");
}

/// What happened in all runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    runs: u64,
    requests: u64,
    done: u64,
    bytes: u64,
    /// Runs in which a request failed.
    failed: u64,
    by_retries: u64,
    by_receives: u64,
    by_access: u64,
    fates: Fates,
    duplicates: u64,
    timeouts: u64,
    retries: u64,
    not_ready: u64,
    notifications: u64,
    wrong_icrc: u64,
}

/// Runs one seed and judges it.
pub(super) fn run(seed: u64, tally: &mut Tally) {
    let mut world = World::draw(seed);
    world.go();
    tally.runs += 1;
    let World { link, sides: [a, b], .. } = &world;
    for (from, to) in [(a, b), (b, a)] {
        tally.requests += from.plan.requests.len() as u64;
        let done = if link.kind == QpKind::Rc {
            let error = judge_reliable(from, to, link);
            tally.fail(error);
            from.outcome(link).0
        } else {
            judge_unreliable(from, to, link);
            from.plan.requests.len()
        };
        tally.done += done as u64;
        tally.bytes +=
            from.plan.requests[..done].iter().map(|request| request.length as u64).sum::<u64>();
        tally.count(from.host.core.counters());
    }
    judge_events(&world);
    tally.fates(&world.network.fates);
}

/// Hosts that do what the specification says refuse nothing of each other's, except what was taken away.
fn judge_events(world: &World) {
    let revoked = world.sides.iter().any(Side::is_revoked);
    for side in &world.sides {
        for event in &side.events {
            match event {
                Event::QpAccessErr(_) => assert!(revoked, "{event:?}"),
                Event::QpLastWqeReached(_) => assert!(world.link.shared),
                event => panic!("{event:?}"),
            }
        }
        let counters = side.host.core.counters();
        if world.faultless && !revoked && world.link.rnr_retry == 7 {
            assert_eq!(side.host.state(), State::Rts, "nothing went wrong");
            assert_eq!((counters.wrong_icrc, counters.malformed), (0, 0));
        }
    }
}

impl Tally {
    fn fail(&mut self, error: Option<WcStatus>) {
        let Some(error) = error else { return };
        self.failed += 1;
        match error {
            WcStatus::RetryExcErr => self.by_retries += 1,
            WcStatus::RnrRetryExcErr => self.by_receives += 1,
            WcStatus::RemAccessErr => self.by_access += 1,
            // The peer's target was taken away while it asked something itself.
            WcStatus::WrFlushErr => {}
            error => panic!("{error:?} of a peer that is right"),
        }
    }

    fn count(&mut self, counters: &Counters) {
        self.duplicates += counters.duplicates;
        self.timeouts += counters.timeouts;
        self.retries += counters.retries;
        self.not_ready += counters.not_ready;
        self.notifications += counters.notifications_received;
        self.wrong_icrc += counters.wrong_icrc;
    }

    fn fates(&mut self, fates: &Fates) {
        let all = &mut self.fates;
        all.sent += fates.sent;
        all.lost += fates.lost;
        all.doubled += fates.doubled;
        all.damaged += fates.damaged;
        all.reordered += fates.reordered;
        all.marked += fates.marked;
        all.cut += fates.cut;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.requests += other.requests;
        self.done += other.done;
        self.bytes += other.bytes;
        self.failed += other.failed;
        self.by_retries += other.by_retries;
        self.by_receives += other.by_receives;
        self.by_access += other.by_access;
        self.duplicates += other.duplicates;
        self.timeouts += other.timeouts;
        self.retries += other.retries;
        self.not_ready += other.not_ready;
        self.notifications += other.notifications;
        self.wrong_icrc += other.wrong_icrc;
        self.fates(&other.fates);
    }

    /// That so many seeds were really what they are for.
    pub(super) fn demand(&self, seeds: u64) {
        assert_eq!(self.runs, seeds);
        assert!(self.done * 10 > self.requests * 7, "most requests are done");
        let least = [
            ("failed by retries", self.by_retries),
            ("failed for want of receives", self.by_receives),
            ("failed by access", self.by_access),
            ("lost", self.fates.lost),
            ("doubled", self.fates.doubled),
            ("damaged", self.fates.damaged),
            ("reordered", self.fates.reordered),
            ("cut off", self.fates.cut),
            ("duplicates", self.duplicates),
            ("timeouts", self.timeouts),
            ("found no receive", self.not_ready),
            ("congestion notifications", self.notifications),
            ("wrong CRCs", self.wrong_icrc),
        ];
        for (what, count) in least {
            assert!(count * 1000 >= seeds, "{what}: only {count}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fates { sent, lost, doubled, damaged, reordered, marked, cut } = self.fates;
        write!(f, "{} runs, {} of {} requests done", self.runs, self.done, self.requests)?;
        write!(f, " ({} bytes); {sent} packets: {lost} lost, {doubled} doubled", self.bytes)?;
        write!(f, ", {damaged} damaged, {reordered} reordered, {marked} marked, {cut} cut off; ")?;
        write!(f, "{} duplicates, {} timeouts, ", self.duplicates, self.timeouts)?;
        write!(f, "{} retries, {} without a receive, ", self.retries, self.not_ready)?;
        write!(f, "{} notifications, {} wrong CRCs; ", self.notifications, self.wrong_icrc)?;
        write!(f, "{} sides failed: {} by retries, ", self.failed, self.by_retries)?;
        write!(f, "{} for want of receives, {} by access", self.by_receives, self.by_access)
    }
}
