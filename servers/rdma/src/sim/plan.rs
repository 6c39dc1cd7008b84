//! What one host asks of the other, and what must come of it: requests one after the other, without
//! packets.

use core::time::Duration;

use fastrand::Rng;

use super::host::{BASE, Host};
use crate::core::QpKind;
use crate::entries::{MAX_INLINE, SEND_SGES, SendEntry, SendFlags, WrOpcode};

/// Requests of a host at most.
pub(super) const MOST: usize = 16;
/// Bytes of a request at most.
pub(super) const SLOT: usize = 3072;
/// What a host's memory is divided into, each with a slot for each request.
pub(super) const SOURCE: usize = 0;
pub(super) const LANDING: usize = SOURCE + MOST * SLOT;
pub(super) const TARGET: usize = LANDING + MOST * SLOT;
pub(super) const INBOX: usize = TARGET + MOST * SLOT;
pub(super) const INBOX_SLOT: usize = SLOT + 64;
pub(super) const MEMORY: usize = INBOX + MOST * INBOX_SLOT;
/// Of a target, what reads and writes of reliable connections share, so that they often meet.
const SHARED: usize = 4096;
/// Where atomics work: behind it.
const WORDS: usize = SHARED;
/// What a target holds that was taken away and is used for something else. Nothing else holds it.
pub(super) const SECRET: u8 = 0xee;

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) entry: SendEntry,
    pub(super) opcode: WrOpcode,
    pub(super) length: usize,
    /// Where in the peer's target.
    pub(super) at: usize,
    pub(super) data: Vec<u8>,
    pub(super) when: Duration,
}

impl Request {
    /// Whether it takes a receive.
    pub(super) const fn takes_receive(&self) -> bool {
        self.opcode.is_send() || self.opcode.has_immediate()
    }
}

/// What one host asks of the other.
pub(super) struct Plan {
    pub(super) requests: Vec<Request>,
    /// When the other host posts its receives; as many as are needed.
    pub(super) receives: Vec<Duration>,
}

fn opcode(kind: QpKind, random: &mut Rng) -> WrOpcode {
    use WrOpcode as W;
    let all = [
        W::SendWithImm,
        W::RdmaWriteWithImm,
        W::RdmaWrite,
        W::Send,
        W::RdmaRead,
        W::RdmaRead,
        W::AtomicFetchAndAdd,
        W::AtomicCmpAndSwp,
    ];
    let choices = match kind {
        QpKind::Rc => &all[..],
        QpKind::Uc => &all[..3],
        QpKind::Ud | QpKind::Gsi => &all[..1],
    };
    choices[random.usize(..choices.len())]
}

/// A time for each request, in order, all within so many microseconds.
fn times(spread: u64, random: &mut Rng) -> Vec<Duration> {
    let mut times: Vec<Duration> =
        (0..MOST).map(|_| Duration::from_micros(random.u64(..spread))).collect();
    times.sort_unstable();
    times
}

impl Plan {
    /// Draws what `host` asks for, and puts the bytes of it into its memory.
    pub(super) fn draw(
        host: &mut Host,
        kind: QpKind,
        key: u32,
        mtu: usize,
        random: &mut Rng,
    ) -> Self {
        let posts = times(random.u64(1..200), random);
        // One in eight hosts is slow to post its receives.
        let slow = random.u32(..8) == 0;
        let mut receives = times(if slow { 20_000 } else { 200 }, random);
        let count = random.usize(..=MOST);
        let mut reads = Vec::new();
        let mut requests: Vec<Request> = (0..count)
            .map(|at| Request::draw(host, kind, key, mtu, at, posts[at], &mut reads, random))
            .collect();
        if let Some(last) = requests.last_mut() {
            last.entry.flags |= SendFlags::SIGNALED.bits();
        }
        let needed = requests.iter().filter(|request| request.takes_receive()).count();
        // Some are there from the beginning.
        let early = random.usize(..=needed);
        receives[..early].fill(Duration::ZERO);
        receives.truncate(needed);
        Self { requests, receives }
    }
}

impl Request {
    #[expect(clippy::too_many_arguments, reason = "what a drawing needs")]
    fn draw(
        host: &mut Host,
        kind: QpKind,
        key: u32,
        mtu: usize,
        number: usize,
        when: Duration,
        reads: &mut Vec<(usize, usize)>,
        random: &mut Rng,
    ) -> Self {
        let opcode = opcode(kind, random);
        let most = if kind.is_datagram() { mtu } else { SLOT };
        let length = match random.u32(..8) {
            _ if opcode.is_atomic() => 8,
            0 => 0,
            1 => mtu * random.usize(1..=most / mtu),
            2 => random.usize(..MAX_INLINE),
            _ => random.usize(..=most),
        };
        let at = if opcode.is_atomic() {
            WORDS + 8 * random.usize(..4)
        } else if kind == QpKind::Rc {
            random.usize(..=SHARED - length)
        } else {
            number * SLOT
        };
        let data: Vec<u8> = (0..length).map(|_| random.u8(1..0x80)).collect();
        let mut entry = SendEntry {
            wr_id: number as u64,
            opcode: opcode as u8,
            imm_data: u32::try_from(number).expect("few"),
            remote_addr: BASE + (TARGET + at) as u64,
            rkey: key,
            compare_add: random.u64(..3),
            swap: random.u64(..3),
            ..SendEntry::default()
        };
        if random.bool() {
            entry.flags |= SendFlags::SIGNALED.bits();
        }
        if random.bool() {
            entry.flags |= SendFlags::SOLICITED.bits();
        }
        let mut request = Self { entry, opcode, length, at, data, when };
        request.fence(reads);
        request.place(host, number, random);
        request
    }

    /// What changes bytes that a read before it may still read again waits for that.
    fn fence(&mut self, reads: &mut Vec<(usize, usize)>) {
        let (from, until) = (self.at, self.at + self.length);
        match self.opcode {
            WrOpcode::RdmaRead => reads.push((from, until)),
            WrOpcode::Send | WrOpcode::SendWithImm => {}
            _ => {
                if reads.iter().any(|(start, end)| *start < until && from < *end) {
                    self.entry.flags |= SendFlags::FENCE.bits();
                    reads.clear();
                }
            }
        }
    }

    /// Puts the request's bytes into the entry or into the memory, in several pieces.
    fn place(&mut self, host: &mut Host, number: usize, random: &mut Rng) {
        let answers = self.opcode.awaits_response();
        if !answers && self.length <= MAX_INLINE && random.bool() {
            assert!(self.entry.set_inline_data(&self.data));
            return;
        }
        let from = if answers { LANDING } else { SOURCE } + number * SLOT;
        if !answers {
            host.memory.0[from..from + self.length].copy_from_slice(&self.data);
        }
        let pieces = random.usize(1..=SEND_SGES);
        let mut cuts: Vec<usize> = (1..pieces).map(|_| random.usize(..=self.length)).collect();
        cuts.extend([0, self.length]);
        cuts.sort_unstable();
        for (piece, cut) in cuts.windows(2).enumerate() {
            self.entry.sg_list[piece] = host.sge(from + cut[0], cut[1] - cut[0]);
        }
        self.entry.num_sge = u8::try_from(pieces).expect("few");
    }
}

/// What the peer's target and the own landing must hold.
pub(super) struct Model {
    /// `None` where nothing can be said.
    pub(super) target: Vec<Option<u8>>,
    /// By request.
    pub(super) landing: Vec<Option<Vec<u8>>>,
}

impl Model {
    /// Carries out the first `done` requests of a reliable connection; what became of the others is
    /// not known.
    pub(super) fn of(requests: &[Request], done: usize) -> Self {
        let target = vec![Some(0); MOST * SLOT];
        let mut model = Self { target, landing: Vec::new() };
        for (number, request) in requests.iter().enumerate() {
            let landing = if number < done {
                model.carry_out(request)
            } else {
                model.forget(request);
                None
            };
            model.landing.push(landing);
        }
        model
    }

    fn range(&mut self, request: &Request) -> &mut [Option<u8>] {
        &mut self.target[request.at..request.at + request.length]
    }

    fn carry_out(&mut self, request: &Request) -> Option<Vec<u8>> {
        use WrOpcode as W;
        let range = self.range(request);
        let before: Option<Vec<u8>> = range.iter().copied().collect();
        let SendEntry { compare_add, swap, .. } = request.entry;
        match request.opcode {
            W::Send | W::SendWithImm => return None,
            W::RdmaWrite | W::RdmaWriteWithImm => {
                range.iter_mut().zip(&request.data).for_each(|(to, from)| *to = Some(*from));
                return None;
            }
            W::RdmaRead => {}
            W::AtomicFetchAndAdd | W::AtomicCmpAndSwp => {
                let word = before.as_deref().and_then(|bytes| bytes.try_into().ok());
                let word = u64::from_le_bytes(word.expect("done ones are before others"));
                let after = match request.opcode {
                    W::AtomicFetchAndAdd => word.wrapping_add(compare_add),
                    _ if word == compare_add => swap,
                    _ => word,
                };
                range.iter_mut().zip(after.to_le_bytes()).for_each(|(to, byte)| *to = Some(byte));
            }
        }
        before
    }

    fn forget(&mut self, request: &Request) {
        use WrOpcode as W;
        if !matches!(request.opcode, W::Send | W::SendWithImm | W::RdmaRead) {
            self.range(request).fill(None);
        }
    }
}
