//! The half that asks: sends, writes, reads and atomics, and what becomes of them.
//!
//! Requests stand in a ring. Behind `oldest` they are done; between `oldest` and `started` they have
//! packet numbers; `cursor` is the one that is sent next, which is one that was started if something was
//! lost. `una` is the oldest packet that is not acknowledged. Numbers of a read's answers are numbers of
//! the read, so an answer acknowledges as well as an acknowledgement does, and to go back is always to go
//! back to `una` (specification, 9.7.5.1.2: the packets after a lost one are sent again).
//!
//! A long read is asked for in parts of at most a window, one after the other, so that answers are no
//! more in flight than requests would be.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use super::attributes::{self, Attributes, State};
use super::memory::Memory;
use super::queue_pair::QueuePair;
use super::window::Window;
use super::{Context, QpKind, Transmit};
use crate::entries::{Completion, SendEntry, SendFlags, WcStatus, WrOpcode};
use crate::events::Dropped;
use crate::regions::Access;
use crate::wire::{Aeth, AtomicEth, Body, Deth, NakCode, Psn, Received, Reth, Syndrome};

/// Packets between `una` and the newest at most: half of what can be told apart, less a message.
const MOST_SPAN: u32 = 1 << 22;
/// A retry count that never ends.
const FOR_EVER: u8 = 7;

#[derive(Clone, Copy, Debug)]
struct Request {
    entry: SendEntry,
    opcode: WrOpcode,
    length: u32,
    /// Its first packet, once it was started.
    first: Psn,
    packets: u32,
    /// Of a read: packets that were asked for.
    asked: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Requester {
    ring: Box<[Request]>,
    oldest: u64,
    cursor: u64,
    started: u64,
    posted: u64,
    /// The next packet of the request at the cursor.
    packet: u32,
    una: Psn,
    next: Psn,
    /// Reads and atomics that wait for their answers.
    reading: u8,
    /// Packets since an acknowledgement was asked for.
    unasked: u32,
    retries: u8,
    rnr_retries: u8,
    /// It went back for a packet that is still missing.
    recovering: bool,
    window: Window,
    /// When an answer is missed.
    deadline: Option<Duration>,
    /// When the peer may have a receive.
    resume: Option<Duration>,
}

impl Requester {
    pub(super) fn new(capacity: u16) -> Self {
        let empty = Request {
            entry: SendEntry::default(),
            opcode: WrOpcode::Send,
            length: 0,
            first: Psn::default(),
            packets: 0,
            asked: 0,
        };
        Self {
            ring: vec![empty; usize::from(capacity)].into_boxed_slice(),
            oldest: 0,
            cursor: 0,
            started: 0,
            posted: 0,
            packet: 0,
            una: Psn::default(),
            next: Psn::default(),
            reading: 0,
            unasked: 0,
            retries: 0,
            rnr_retries: 0,
            recovering: false,
            window: Window::default(),
            deadline: None,
            resume: None,
        }
    }

    /// Packets are numbered from here on.
    pub(super) fn begin(&mut self, attributes: &Attributes) {
        self.una = attributes.sq_psn;
        self.next = attributes.sq_psn;
        self.refill(attributes);
    }

    fn refill(&mut self, attributes: &Attributes) {
        self.retries = attributes.retry_cnt;
        self.rnr_retries = attributes.rnr_retry;
    }

    pub(super) const fn next_psn(&self) -> Psn {
        self.next
    }

    pub(super) const fn has_room(&self) -> bool {
        self.posted - self.oldest < self.ring.len() as u64
    }

    /// Adds a request for which there is room.
    pub(super) fn post(&mut self, entry: SendEntry, opcode: WrOpcode, length: u32) {
        let place = self.place(self.posted);
        let (first, packets, asked) = (Psn::default(), 0, 0);
        self.ring[place] = Request { entry, opcode, length, first, packets, asked };
        self.posted += 1;
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the length of the ring")]
    const fn place(&self, request: u64) -> usize {
        (request % self.ring.len() as u64) as usize
    }

    fn at(&self, request: u64) -> &Request {
        &self.ring[self.place(request)]
    }

    /// Whether something is to be sent, if it may.
    pub(super) const fn has_output(&self) -> bool {
        self.cursor < self.posted && self.resume.is_none()
    }

    /// Whether nothing that was begun is undone.
    pub(super) const fn is_drained(&self) -> bool {
        self.oldest == self.started
    }

    pub(super) fn meet_congestion(&mut self) {
        self.window_cut();
    }

    fn window_cut(&mut self) {
        self.window.cut(self.next);
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        [self.deadline, self.resume].into_iter().flatten().min()
    }

    /// The number of the packet at the cursor.
    fn cursor_psn(&self) -> Psn {
        if self.cursor < self.started {
            self.at(self.cursor).first.plus(self.packet)
        } else {
            self.next
        }
    }

    /// Sends again from the oldest packet that is not acknowledged.
    fn go_back(&mut self) {
        self.cursor = self.oldest;
        self.packet = self.progress_of_oldest();
        self.deadline = None;
        self.unasked = 0;
    }

    /// Packets of the oldest request that are acknowledged.
    fn progress_of_oldest(&self) -> u32 {
        if self.oldest == self.started { 0 } else { self.una.since(self.at(self.oldest).first) }
    }

    /// After `una` or `oldest` moved: what is acknowledged need not be sent again.
    fn catch_up(&mut self) {
        let progress = self.progress_of_oldest();
        if self.cursor < self.oldest {
            self.cursor = self.oldest;
            self.packet = progress;
        } else if self.cursor == self.oldest {
            self.packet = self.packet.max(progress);
        }
    }

    /// Starts the request at the cursor: it gets its packets' numbers.
    fn number(&mut self, packets: u32) {
        let (place, first) = (self.place(self.cursor), self.next);
        let request = &mut self.ring[place];
        request.first = first;
        request.packets = packets;
        self.reading += u8::from(request.opcode.awaits_response());
        self.next = first.plus(packets);
        self.started += 1;
        self.packet = 0;
    }

    /// Puts the oldest request behind.
    fn pop(&mut self) -> Request {
        let request = *self.at(self.oldest);
        if self.oldest < self.started && request.opcode.awaits_response() {
            self.reading -= 1;
        }
        self.oldest += 1;
        self.started = self.started.max(self.oldest);
        if self.cursor < self.oldest {
            self.cursor = self.oldest;
            self.packet = 0;
        }
        request
    }
}

impl Request {
    /// Bytes before a packet.
    fn offset(&self, packet: u32, mtu: u32) -> u64 {
        u64::from(packet) * u64::from(mtu)
    }

    /// Bytes in a packet.
    fn bytes(&self, packet: u32, mtu: u32) -> u32 {
        let left = u64::from(self.length) - self.offset(packet, mtu);
        u32::try_from(left).map_or(mtu, |left| left.min(mtu))
    }

    fn flags(&self) -> SendFlags {
        self.entry.send_flags()
    }

    fn immediate(&self) -> Option<u32> {
        self.opcode.has_immediate().then_some(self.entry.imm_data)
    }

    fn reth(&self) -> Reth {
        let SendEntry { remote_addr: address, rkey: key, .. } = self.entry;
        Reth { address, key, length: self.length }
    }

    /// What a packet of a send or a write is.
    fn body(&self, packet: u32) -> Body {
        let (first, last) = (packet == 0, packet + 1 == self.packets);
        match (self.opcode.is_send(), first, last) {
            (true, true, true) => Body::SendOnly(self.immediate()),
            (true, true, false) => Body::SendFirst,
            (true, false, false) => Body::SendMiddle,
            (true, false, true) => Body::SendLast(self.immediate()),
            (false, true, true) => Body::WriteOnly(self.reth(), self.immediate()),
            (false, true, false) => Body::WriteFirst(self.reth()),
            (false, false, false) => Body::WriteMiddle,
            (false, false, true) => Body::WriteLast(self.immediate()),
        }
    }

    /// What a read asks for with a part of its packets.
    fn part(&self, packet: u32, packets: u32, mtu: u32) -> Body {
        let (skip, end) = (self.offset(packet, mtu), self.offset(packet + packets, mtu));
        let length = end.min(u64::from(self.length)) - skip;
        Body::ReadRequest(Reth {
            address: self.entry.remote_addr.wrapping_add(skip),
            key: self.entry.rkey,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        })
    }

    fn atomic(&self) -> Body {
        let SendEntry { remote_addr: address, rkey: key, compare_add, swap, .. } = self.entry;
        if self.opcode == WrOpcode::AtomicFetchAndAdd {
            return Body::FetchAdd(AtomicEth {
                address,
                key,
                swap_or_add: compare_add,
                compare: 0,
            });
        }
        Body::CompareSwap(AtomicEth { address, key, swap_or_add: swap, compare: compare_add })
    }
}

/// What comes of the request at the cursor.
enum Next {
    /// It can be sent.
    Go,
    /// Nothing is to be sent now.
    Wait,
    /// It failed, and what was before it is done.
    Failed(WcStatus),
}

impl QueuePair {
    /// Flushes all sends.
    pub(super) fn flush_sends<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        while self.requester.oldest < self.requester.posted {
            self.finish_oldest(WcStatus::WrFlushErr, cx);
        }
        self.requester.deadline = None;
        self.requester.resume = None;
    }

    /// Completes the oldest request.
    fn finish_oldest<M>(&mut self, status: WcStatus, cx: &mut Context<'_, M>) {
        let request = self.requester.pop();
        let silent = !self.init().sq_sig_all && !request.flags().contains(SendFlags::SIGNALED);
        if silent && status == WcStatus::Success {
            return;
        }
        let read = request.opcode.awaits_response() && status == WcStatus::Success;
        let completion = Completion {
            wr_id: request.entry.wr_id,
            status: status as u8,
            opcode: request.opcode.completed() as u8,
            byte_len: if read { request.length } else { 0 },
            qp_num: self.number(),
            pkey_index: self.attributes.pkey_index.into(),
            ..Completion::default()
        };
        cx.complete(self.init().send_cq, completion);
    }

    /// The oldest request failed: a reliable queue pair ends, an unreliable one stops sending.
    fn fail_oldest<M: Memory>(&mut self, status: WcStatus, cx: &mut Context<'_, M>) {
        if self.requester.oldest < self.requester.posted {
            self.finish_oldest(status, cx);
        }
        if self.is_reliable() {
            self.fail(cx);
        } else {
            self.stop_sending();
            self.flush_sends(cx);
        }
    }

    /// Writes the next packet of a request.
    pub(super) fn transmit_request<M: Memory>(
        &mut self,
        buffer: &mut [u8],
        cx: &mut Context<'_, M>,
    ) -> Option<Transmit> {
        let result = match self.prepare(cx) {
            Next::Wait => return None,
            Next::Failed(status) => Err(status),
            Next::Go => self.emit_request(buffer, cx),
        };
        match result {
            Ok(transmit) => {
                self.sent(cx);
                Some(transmit)
            }
            // What was sent before it may still be acknowledged, and is completed first.
            Err(_) if self.requester.cursor > self.requester.oldest => None,
            Err(status) => {
                self.fail_oldest(status, cx);
                None
            }
        }
    }

    /// Whether the request at the cursor can be sent, which is started if it was not.
    fn prepare<M: Memory>(&mut self, cx: &Context<'_, M>) -> Next {
        let sending = matches!(self.state(), State::Rts | State::Sqd);
        let requester = &self.requester;
        if !sending || requester.resume.is_some() || requester.cursor == requester.posted {
            return Next::Wait;
        }
        if requester.cursor == requester.started {
            return self.start(cx);
        }
        if self.is_reliable() && !self.fits_window() {
            return Next::Wait;
        }
        Next::Go
    }

    /// Whether another packet may be in flight. A part of a read waits for the parts before it.
    fn fits_window(&self) -> bool {
        let requester = &self.requester;
        let request = requester.at(requester.cursor);
        let in_flight = requester.cursor_psn().since(requester.una);
        let in_order =
            request.opcode != WrOpcode::RdmaRead || requester.packet == 0 || in_flight == 0;
        in_order && in_flight < requester.window.packets()
    }

    /// Numbers the packets of the request at the cursor, if it may begin.
    fn start<M: Memory>(&mut self, cx: &Context<'_, M>) -> Next {
        let requester = &self.requester;
        let request = requester.at(requester.cursor);
        if self.state() != State::Rts || self.must_wait(request) {
            return Next::Wait;
        }
        if let Err(status) = self.check_elements(request, cx) {
            let alone = requester.cursor == requester.oldest;
            return if alone { Next::Failed(status) } else { Next::Wait };
        }
        let packets = if request.opcode.is_atomic() { 1 } else { self.packets(request.length) };
        if !self.has_span(packets) {
            return Next::Wait;
        }
        self.requester.number(packets);
        Next::Go
    }

    /// Whether what a request sends, or what is to come, may be reached.
    fn check_elements<M: Memory>(
        &self,
        request: &Request,
        cx: &Context<'_, M>,
    ) -> Result<(), WcStatus> {
        let answers = request.opcode.awaits_response();
        let right = if answers { Access::LOCAL_WRITE } else { Access::empty() };
        if request.flags().contains(SendFlags::INLINE) {
            return Ok(());
        }
        cx.check_all(request.entry.sges(), self.domain(), right)
    }

    /// Whether so many packets more can be told apart, and one more be in flight.
    fn has_span(&self, packets: u32) -> bool {
        let requester = &self.requester;
        let span = requester.next.since(requester.una);
        let window_full = self.is_reliable() && span >= requester.window.packets();
        !window_full && (span == 0 || span + packets <= MOST_SPAN)
    }

    /// Whether a request waits for reads and atomics before it.
    fn must_wait(&self, request: &Request) -> bool {
        let reading = self.requester.reading;
        let fenced = request.flags().contains(SendFlags::FENCE) && reading > 0;
        let full = request.opcode.awaits_response() && reading >= self.attributes.max_rd_atomic;
        fenced || full
    }

    /// Packets of so many bytes; at least one.
    fn packets(&self, length: u32) -> u32 {
        length.div_ceil(self.mtu()).max(1)
    }

    fn emit_request<M: Memory>(
        &mut self,
        buffer: &mut [u8],
        cx: &mut Context<'_, M>,
    ) -> Result<Transmit, WcStatus> {
        let (request, packet) = (*self.requester.at(self.requester.cursor), self.requester.packet);
        if self.init().kind.is_datagram() {
            return self.emit_message(buffer, &request, cx);
        }
        let mut bth = self.bth(request.first.plus(packet), cx);
        let none = |_: &mut [u8]| Ok(());
        if request.opcode.awaits_response() {
            bth.ack_request = true;
            let body = self.question(&request, packet);
            return self.emit(buffer, &bth, &body, 0, none);
        }
        let last = packet + 1 == request.packets;
        bth.solicited = last && request.flags().contains(SendFlags::SOLICITED);
        bth.ack_request = self.is_reliable() && (last || self.must_ask());
        let (skip, bytes) = (request.offset(packet, self.mtu()), request.bytes(packet, self.mtu()));
        let fill = |room: &mut [u8]| cx.gather(&request.entry, self.domain(), skip, room);
        self.emit(buffer, &bth, &request.body(packet), bytes, fill)
    }

    fn emit_message<M: Memory>(
        &self,
        buffer: &mut [u8],
        request: &Request,
        cx: &mut Context<'_, M>,
    ) -> Result<Transmit, WcStatus> {
        let mut bth = self.bth(request.first, cx);
        bth.destination = request.entry.remote_qpn & 0x00ff_ffff;
        bth.solicited = request.flags().contains(SendFlags::SOLICITED);
        // The highest bit says that the queue pair's own key is to be used (specification, 10.2.5).
        let own = request.entry.remote_qkey >> 31 == 1;
        let queue_key = if own { self.attributes.qkey } else { request.entry.remote_qkey };
        let deth = Deth { queue_key, source: self.number() };
        let body = Body::Datagram(deth, request.immediate());
        self.emit_datagram(buffer, &request.entry, &bth, &body, request.length, cx)
    }

    /// What a read or an atomic sends.
    fn question(&self, request: &Request, packet: u32) -> Body {
        if request.opcode.is_atomic() {
            return request.atomic();
        }
        request.part(packet, self.part_packets(request, packet), self.mtu())
    }

    /// How many packets a read asks for at once. What was asked for already ends where it ended then,
    /// because the peer has counted on.
    fn part_packets(&self, request: &Request, packet: u32) -> u32 {
        let in_flight = self.requester.cursor_psn().since(self.requester.una);
        let window = self.requester.window.packets().saturating_sub(in_flight).max(1);
        let end = if packet < request.asked { request.asked } else { request.packets };
        window.min(end - packet)
    }

    /// Whether half a window is sent without a word from the peer.
    fn must_ask(&self) -> bool {
        self.requester.unasked + 1 >= self.requester.window.packets().div_ceil(2)
    }

    /// After a packet was written.
    fn sent<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        let request = *self.requester.at(self.requester.cursor);
        let packet = self.requester.packet;
        let last = packet + 1 == request.packets;
        let sent = match request.opcode {
            WrOpcode::RdmaRead => self.part_packets(&request, packet),
            _ => 1,
        };
        let asked = last || request.opcode.awaits_response() || self.must_ask();
        let requester = &mut self.requester;
        let place = requester.place(requester.cursor);
        requester.ring[place].asked = request.asked.max(packet + sent);
        requester.unasked = if asked { 0 } else { requester.unasked + 1 };
        requester.packet += sent;
        if requester.packet == request.packets {
            requester.cursor += 1;
            requester.packet = 0;
        }
        if self.init().kind == QpKind::Rc {
            let timeout = self.attributes.ack_timeout();
            let requester = &mut self.requester;
            requester.deadline = requester.deadline.or(timeout.map(|timeout| cx.now + timeout));
        } else if last {
            self.requester.una = request.first.plus(request.packets);
            self.finish_oldest(WcStatus::Success, cx);
        }
    }

    /// Everything before `until` is done, except that reads and atomics wait for their answers.
    fn acknowledge<M: Memory>(&mut self, until: Psn, cx: &mut Context<'_, M>) {
        let before = self.requester.una;
        while self.requester.oldest < self.requester.started {
            let request = self.requester.at(self.requester.oldest);
            if request.opcode.awaits_response() {
                break;
            }
            let end = request.first.plus(request.packets);
            if until.is_before(end) {
                if self.requester.una.is_before(until) {
                    self.requester.una = until;
                }
                break;
            }
            self.requester.una = end;
            self.finish_oldest(WcStatus::Success, cx);
        }
        self.progress(before, cx);
    }

    /// After `una` moved on from `before`, if it did.
    fn progress<M>(&mut self, before: Psn, cx: &Context<'_, M>) {
        let packets = self.requester.una.since(before);
        if packets == 0 {
            return;
        }
        self.requester.refill(&self.attributes);
        let requester = &mut self.requester;
        requester.recovering = false;
        requester.window.grow(packets, requester.una);
        requester.catch_up();
        let waiting = requester.cursor_psn() != requester.una;
        let timeout = self.attributes.ack_timeout().filter(|_| waiting);
        requester.deadline = timeout.map(|timeout| cx.now + timeout);
    }

    /// Whether a number is one of a packet that was sent and is not acknowledged.
    fn is_awaited(&self, psn: Psn) -> bool {
        let requester = &self.requester;
        psn.since(requester.una) < requester.next.since(requester.una)
    }

    pub(super) fn on_acknowledge<M: Memory>(
        &mut self,
        aeth: &Aeth,
        psn: Psn,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Dropped> {
        if !self.is_awaited(psn) {
            return Err(Dropped::Answer);
        }
        match aeth.syndrome {
            Syndrome::Ack { .. } => {
                self.acknowledge(psn.plus(1), cx);
                // It was not acknowledged because an answer before it is missing.
                if self.is_awaited(psn) {
                    self.go_back_once(cx);
                }
            }
            Syndrome::ReceiverNotReady { timer } => {
                self.acknowledge(psn, cx);
                self.wait_for_receive(timer, cx);
            }
            Syndrome::Nak(NakCode::PsnSequenceError) => {
                self.acknowledge(psn, cx);
                self.go_back_once(cx);
            }
            Syndrome::Nak(code) => {
                self.acknowledge(psn, cx);
                self.fail_oldest(refused(code), cx);
            }
        }
        Ok(())
    }

    fn wait_for_receive<M: Memory>(&mut self, timer: u8, cx: &mut Context<'_, M>) {
        if self.requester.rnr_retries == 0 {
            self.fail_oldest(WcStatus::RnrRetryExcErr, cx);
            return;
        }
        if self.attributes.rnr_retry != FOR_EVER {
            self.requester.rnr_retries -= 1;
        }
        cx.journal.counters.retries += 1;
        self.requester.go_back();
        self.requester.resume = Some(cx.now + attributes::rnr_time(timer));
    }

    /// Goes back because the peer is missing something, or we are; not again for the same reason.
    fn go_back_once<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        if self.requester.recovering || self.requester.is_drained() {
            return;
        }
        self.requester.window_cut();
        self.retry(cx);
        self.requester.recovering = true;
    }

    fn retry<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        let Some(left) = self.requester.retries.checked_sub(1) else {
            self.fail_oldest(WcStatus::RetryExcErr, cx);
            return;
        };
        cx.journal.counters.retries += 1;
        self.requester.retries = left;
        self.requester.go_back();
    }

    /// The answer to a read or an atomic.
    pub(super) fn on_response<M: Memory>(
        &mut self,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Dropped> {
        let psn = packet.bth.psn;
        if !self.is_awaited(psn) {
            return Err(Dropped::Answer);
        }
        self.acknowledge(psn, cx);
        if self.requester.una != psn {
            self.go_back_once(cx);
            return Ok(());
        }
        let request = *self.requester.at(self.requester.oldest);
        let result = match (packet.body, request.opcode) {
            (Body::AtomicAcknowledge(_, before), opcode) if opcode.is_atomic() => {
                let before = before.to_le_bytes();
                cx.scatter(request.entry.sges(), self.domain(), 0, &before)
            }
            (body, WrOpcode::RdmaRead) if !matches!(body, Body::AtomicAcknowledge(..)) => {
                self.take_answer(&request, packet.payload, cx)
            }
            _ => Err(WcStatus::BadRespErr),
        };
        match result {
            Ok(()) => self.answered(&request, cx),
            Err(status) => self.fail_oldest(status, cx),
        }
        Ok(())
    }

    /// Puts a packet of a read's answer where it belongs.
    fn take_answer<M: Memory>(
        &self,
        request: &Request,
        payload: &[u8],
        cx: &mut Context<'_, M>,
    ) -> Result<(), WcStatus> {
        let packet = self.requester.una.since(request.first);
        let expected = request.bytes(packet, self.mtu());
        if u32::try_from(payload.len()) != Ok(expected) {
            return Err(WcStatus::BadRespErr);
        }
        cx.scatter(request.entry.sges(), self.domain(), request.offset(packet, self.mtu()), payload)
    }

    /// One more packet of the oldest request, a read or an atomic, is answered.
    fn answered<M: Memory>(&mut self, request: &Request, cx: &mut Context<'_, M>) {
        let before = self.requester.una;
        self.requester.una = before.plus(1);
        if self.requester.una == request.first.plus(request.packets) {
            self.finish_oldest(WcStatus::Success, cx);
        }
        self.progress(before, cx);
    }

    /// What is due by the clock.
    pub(super) fn on_time<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        if self.requester.resume.is_some_and(|resume| resume <= cx.now) {
            self.requester.resume = None;
        }
        if self.requester.deadline.is_some_and(|deadline| deadline <= cx.now) {
            self.requester.deadline = None;
            self.requester.recovering = false;
            self.requester.window.collapse();
            cx.journal.counters.timeouts += 1;
            self.retry(cx);
        }
    }
}

const fn refused(code: NakCode) -> WcStatus {
    match code {
        NakCode::InvalidRequest => WcStatus::RemInvReqErr,
        NakCode::RemoteAccessError => WcStatus::RemAccessErr,
        NakCode::RemoteOperationalError => WcStatus::RemOpErr,
        // Handled before; if not, what it leads to in the end.
        NakCode::PsnSequenceError => WcStatus::RetryExcErr,
    }
}
