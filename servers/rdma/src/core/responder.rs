//! The half that answers: messages into receives and regions, reads and atomics, acknowledgements.
//!
//! Requests are carried out in the order of their numbers. Answers to reads and atomics stand in a queue and
//! are made when there is room for them on the wire; behind them stands at most one acknowledgement or
//! refusal, which speaks for everything up to it. So acknowledgements coalesce by themselves, and none
//! overtakes an answer. A number that was seen already is a duplicate (specification, 9.7.5.1.3): a send
//! or a write is acknowledged again, a read is read again, an atomic is answered with what was saved,
//! and never carried out twice.

use alloc::collections::VecDeque;

use super::attributes::{Attributes, State};
use super::memory::{Gone, Memory};
use super::queue_pair::QueuePair;
use super::{Context, MAX_MESSAGE, Transmit};
use crate::entries::{Completion, ReceiveEntry, WcFlags, WcOpcode, WcStatus};
use crate::events::{Dropped, Event};
use crate::regions::{Access, DomainId, Key};
use crate::wire::{Aeth, AtomicEth, Body, Deth, GRH_BYTES, NakCode, Psn, Received, Reth, Syndrome};

/// The message that is coming in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Assembly {
    /// None.
    #[default]
    Idle,
    /// A send, into the receive that was taken for it; so many bytes of it are there.
    Send { received: u64 },
    /// A write; the part that is missing.
    Write { missing: Reth, length: u32 },
}

/// An answer that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reply {
    psn: Psn,
    msn: u32,
    /// Whether it was asked for again.
    again: bool,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The bytes of a read, of which so many packets were sent.
    Read { reth: Reth, sent: u32 },
    /// What an atomic found.
    Atomic { before: u64 },
}

/// What an atomic found, in case that it is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Saved {
    psn: Psn,
    before: u64,
}

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// There is no receive.
    NotReady,
    /// It is refused for good.
    Nak(NakCode),
}

const INVALID: Refusal = Refusal::Nak(NakCode::InvalidRequest);
const NO_ACCESS: Refusal = Refusal::Nak(NakCode::RemoteAccessError);
const FAILED: Refusal = Refusal::Nak(NakCode::RemoteOperationalError);

#[derive(Clone, Debug, Default)]
pub(super) struct Responder {
    expected: Psn,
    /// Messages that were completed, modulo 2²⁴.
    msn: u32,
    assembly: Assembly,
    /// The receive of the message that is coming in, or of one that was given up.
    receive: Option<(ReceiveEntry, DomainId)>,
    /// A packet is missing, or there was no receive, and the peer was told.
    told: bool,
    refusal: Option<(Psn, Syndrome)>,
    acknowledge: bool,
    established: bool,
    replies: VecDeque<Reply>,
    saved: VecDeque<Saved>,
    /// Answers and saved ones at most, each.
    most: usize,
}

impl Responder {
    /// Packets come with numbers from here on.
    pub(super) fn begin(&mut self, attributes: &Attributes) {
        self.expected = attributes.rq_psn;
        self.most = attributes.max_dest_rd_atomic.into();
        // Half of them for what is asked again.
        self.replies.reserve(2 * self.most);
        self.saved.reserve(self.most);
    }

    pub(super) const fn expected(&self) -> Psn {
        self.expected
    }

    /// Nothing is answered any more.
    pub(super) fn silence(&mut self) {
        self.replies.clear();
        self.refusal = None;
        self.acknowledge = false;
    }

    /// Whether something is to be answered.
    pub(super) fn has_output(&self) -> bool {
        self.acknowledge || self.refusal.is_some() || !self.replies.is_empty()
    }

    /// Whether this is the first packet.
    pub(super) const fn establish(&mut self) -> bool {
        !core::mem::replace(&mut self.established, true)
    }

    /// The receive of a message that is not complete.
    pub(super) fn take_receive(&mut self) -> Option<ReceiveEntry> {
        self.assembly = Assembly::Idle;
        self.receive.take().map(|(entry, _)| entry)
    }

    /// The next packet is expected; the message may be complete.
    const fn advance(&mut self, packets: u32, completes: bool) {
        self.expected = self.expected.plus(packets);
        if completes {
            self.msn = (self.msn + 1) & 0x00ff_ffff;
        }
    }

    const fn aeth(&self, syndrome: Syndrome) -> Aeth {
        Aeth { syndrome, msn: self.msn }
    }

    /// How many first answers are still to be made.
    fn new_replies(&self) -> usize {
        self.replies.iter().filter(|reply| !reply.again).count()
    }

    fn save(&mut self, saved: Saved) {
        if self.saved.len() >= self.most {
            self.saved.pop_front();
        }
        self.saved.push_back(saved);
    }

    /// Answers once more, unless it is about to anyway, or has more to do than it ever should.
    fn answer_again(&mut self, psn: Psn, answer: Answer) {
        let about_to = self.replies.iter().any(|reply| {
            reply.psn == psn && !matches!(reply.answer, Answer::Read { sent: 1.., .. })
        });
        if !about_to && self.replies.len() < 2 * self.most {
            self.replies.push_back(Reply { psn, msn: self.msn, again: true, answer });
        }
    }
}

impl QueuePair {
    /// A request on a reliable connection.
    pub(super) fn on_reliable<M: Memory>(
        &mut self,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Dropped> {
        self.establish(cx);
        let (psn, expected) = (packet.bth.psn, self.responder.expected);
        if psn.is_before(expected) {
            cx.journal.counters.duplicates += 1;
            return self.on_duplicate(packet, cx);
        }
        if psn != expected {
            cx.journal.counters.out_of_sequence += 1;
            self.tell_missing();
            return Err(Dropped::Sequence);
        }
        match self.execute(packet, cx) {
            Ok(()) => {
                self.responder.told = false;
                self.responder.refusal = None;
                // An answer acknowledges as well.
                self.responder.acknowledge |= packet.bth.ack_request && !asks(&packet.body);
            }
            Err(Refusal::NotReady) => {
                cx.journal.counters.not_ready += 1;
                let timer = self.attributes.min_rnr_timer;
                self.responder.told = true;
                self.responder.refusal = Some((psn, Syndrome::ReceiverNotReady { timer }));
            }
            Err(Refusal::Nak(code)) => self.refuse(psn, code, cx),
        }
        Ok(())
    }

    /// Tells the peer, once, which packet is missing.
    const fn tell_missing(&mut self) {
        if !self.responder.told {
            self.responder.told = true;
            let missing = Syndrome::Nak(NakCode::PsnSequenceError);
            self.responder.refusal = Some((self.responder.expected, missing));
        }
    }

    /// Refuses a request for good. The queue pair ends; the peer is still told.
    fn refuse<M: Memory>(&mut self, psn: Psn, code: NakCode, cx: &mut Context<'_, M>) {
        cx.journal.counters.refused += 1;
        cx.journal.tell(match code {
            NakCode::RemoteAccessError => Event::QpAccessErr(self.number()),
            NakCode::RemoteOperationalError => Event::QpFatal(self.number()),
            NakCode::InvalidRequest | NakCode::PsnSequenceError => Event::QpReqErr(self.number()),
        });
        self.responder.refusal = Some((psn, Syndrome::Nak(code)));
        self.fail(cx);
    }

    fn on_duplicate<M: Memory>(
        &mut self,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Dropped> {
        let psn = packet.bth.psn;
        match packet.body {
            Body::ReadRequest(reth) => {
                let packets = reth.length.div_ceil(self.mtu()).max(1);
                if self.responder.expected.since(psn) < packets {
                    return Err(Dropped::Sequence);
                }
                if self.check_remote(&reth, Access::REMOTE_READ, cx).is_err() {
                    self.refuse(psn, NakCode::RemoteAccessError, cx);
                    return Ok(());
                }
                self.responder.answer_again(psn, Answer::Read { reth, sent: 0 });
            }
            Body::CompareSwap(_) | Body::FetchAdd(_) => {
                let saved = self.responder.saved.iter().find(|saved| saved.psn == psn);
                let before = saved.ok_or(Dropped::Sequence)?.before;
                self.responder.answer_again(psn, Answer::Atomic { before });
            }
            _ => self.responder.acknowledge = true,
        }
        Ok(())
    }

    /// A packet of an unreliable connection: a message that misses a part is given up (specification,
    /// 9.8.2.2).
    pub(super) fn on_unreliable<M: Memory>(
        &mut self,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Dropped> {
        self.establish(cx);
        let begins = matches!(
            packet.body,
            Body::SendFirst | Body::SendOnly(_) | Body::WriteFirst(_) | Body::WriteOnly(..)
        );
        let in_order = packet.bth.psn == self.responder.expected;
        if begins {
            self.responder.assembly = Assembly::Idle;
        }
        self.responder.expected = packet.bth.psn;
        let result = if begins || in_order { self.execute(packet, cx) } else { Err(INVALID) };
        self.responder.expected = packet.bth.psn.plus(1);
        result.map_err(|refusal| {
            self.responder.assembly = Assembly::Idle;
            if refusal == Refusal::NotReady { Dropped::NoReceive } else { Dropped::Message }
        })
    }

    /// Carries out the packet that is expected next. Nothing has changed if it is refused, except that
    /// a receive may have ended in error, and the part of a write that could be done is done.
    fn execute<M: Memory>(
        &mut self,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Refusal> {
        self.check_length(packet)?;
        let (assembly, bytes) = (self.responder.assembly, packet.payload);
        match (packet.body, assembly) {
            (Body::SendFirst, Assembly::Idle) => {
                self.begin_send(cx)?;
                self.take_send(0, bytes, cx)?;
            }
            (Body::SendMiddle, Assembly::Send { received }) => {
                self.take_send(received, bytes, cx)?;
            }
            (Body::SendLast(_), Assembly::Send { received }) => {
                self.take_send(received, bytes, cx)?;
                self.end_send(packet, cx);
            }
            (Body::SendOnly(_), Assembly::Idle) => {
                self.begin_send(cx)?;
                self.take_send(0, bytes, cx)?;
                self.end_send(packet, cx);
            }
            (Body::WriteFirst(reth), Assembly::Idle) => {
                self.check_remote(&reth, Access::REMOTE_WRITE, cx)?;
                self.take_write(reth, reth.length, bytes, cx)?;
            }
            (Body::WriteMiddle, Assembly::Write { missing, length }) => {
                self.take_write(missing, length, bytes, cx)?;
            }
            (Body::WriteLast(immediate), Assembly::Write { missing, length }) => {
                self.end_write(missing, length, immediate, packet, cx)?;
            }
            (Body::WriteOnly(reth, immediate), Assembly::Idle) => {
                self.check_remote(&reth, Access::REMOTE_WRITE, cx)?;
                self.end_write(reth, reth.length, immediate, packet, cx)?;
            }
            (Body::ReadRequest(reth), Assembly::Idle) => return self.begin_read(reth, cx),
            (Body::CompareSwap(atomic) | Body::FetchAdd(atomic), Assembly::Idle) => {
                return self.execute_atomic(&packet.body, &atomic, cx);
            }
            _ => return Err(INVALID),
        }
        let completes = self.responder.assembly == Assembly::Idle;
        self.responder.advance(1, completes);
        Ok(())
    }

    /// First and middle packets are full, last ones not empty (specification, 9.7.4.1.6).
    fn check_length(&self, packet: &Received<'_>) -> Result<(), Refusal> {
        let mtu = u64::from(self.mtu());
        let length = packet.payload.len() as u64;
        let right = match packet.body {
            Body::SendFirst | Body::SendMiddle | Body::WriteFirst(_) | Body::WriteMiddle => {
                length == mtu
            }
            Body::SendLast(_) | Body::WriteLast(_) => length > 0 && length <= mtu,
            _ => length <= mtu,
        };
        if right { Ok(()) } else { Err(INVALID) }
    }

    /// Has a receive for a message: the one of a message that was given up, or the next one.
    fn begin_send<M>(&mut self, cx: &mut Context<'_, M>) -> Result<(), Refusal> {
        if self.responder.receive.is_none() {
            self.responder.receive = Some(self.next_receive(cx).ok_or(Refusal::NotReady)?);
        }
        Ok(())
    }

    fn next_receive<M>(&mut self, cx: &mut Context<'_, M>) -> Option<(ReceiveEntry, DomainId)> {
        let Some(id) = self.init().srq else {
            return self.receives.take().map(|entry| (entry, self.domain()));
        };
        let shared = cx.shared.get_mut(id.0)?;
        let (entry, low) = shared.take()?;
        let domain = shared.domain;
        if low {
            cx.journal.tell(Event::SrqLimitReached(id.0));
        }
        Some((entry, domain))
    }

    /// Puts a part of a send into its receive.
    fn take_send<M: Memory>(
        &mut self,
        received: u64,
        bytes: &[u8],
        cx: &mut Context<'_, M>,
    ) -> Result<(), Refusal> {
        let (entry, domain) = self.responder.receive.ok_or(FAILED)?;
        match cx.scatter(entry.sges(), domain, received, bytes) {
            Ok(()) => {
                let received = received + bytes.len() as u64;
                self.responder.assembly = Assembly::Send { received };
                Ok(())
            }
            Err(status) => {
                self.spoil_receive(status, cx);
                Err(if status == WcStatus::LocLenErr { INVALID } else { FAILED })
            }
        }
    }

    /// Ends a receive that cannot take its message; an unreliable queue pair ends with it.
    fn spoil_receive<M: Memory>(&mut self, status: WcStatus, cx: &mut Context<'_, M>) {
        if let Some(entry) = self.responder.take_receive() {
            self.complete_receive(&entry, status, Completion::default(), cx);
        }
        if !self.is_reliable() {
            cx.journal.tell(Event::QpFatal(self.number()));
            self.fail(cx);
        }
    }

    fn end_send<M>(&mut self, packet: &Received<'_>, cx: &mut Context<'_, M>) {
        let Assembly::Send { received } = self.responder.assembly else { return };
        if let Some(entry) = self.responder.take_receive() {
            let more = received_as(WcOpcode::Recv, received, packet);
            self.complete_receive(&entry, WcStatus::Success, more, cx);
        }
    }

    /// Whether the peer may do so; an empty range needs no region (specification, 9.7.4.1.5).
    fn check_remote<M>(
        &self,
        reth: &Reth,
        right: Access,
        cx: &Context<'_, M>,
    ) -> Result<(), Refusal> {
        if !self.allows(right) || u64::from(reth.length) > MAX_MESSAGE {
            return Err(INVALID);
        }
        if reth.length == 0 {
            return Ok(());
        }
        let checked =
            cx.regions.check(Key(reth.key), self.domain(), reth.address, reth.length.into(), right);
        checked.map(|_| ()).map_err(|_| NO_ACCESS)
    }

    /// Writes a part of a write; the region may have ended since the last one.
    fn take_write<M: Memory>(
        &mut self,
        missing: Reth,
        length: u32,
        bytes: &[u8],
        cx: &mut Context<'_, M>,
    ) -> Result<(), Refusal> {
        let part = u32::try_from(bytes.len()).map_err(|_| INVALID)?;
        let left = missing.length.checked_sub(part).ok_or(INVALID)?;
        // A first or a middle packet leaves something for the last.
        if left == 0 {
            return Err(INVALID);
        }
        self.write(&missing, bytes, cx)?;
        let missing =
            Reth { address: missing.address.wrapping_add(part.into()), length: left, ..missing };
        self.responder.assembly = Assembly::Write { missing, length };
        Ok(())
    }

    fn write<M: Memory>(
        &self,
        to: &Reth,
        bytes: &[u8],
        cx: &mut Context<'_, M>,
    ) -> Result<(), Refusal> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (length, right) = (bytes.len() as u64, Access::REMOTE_WRITE);
        let place = cx.regions.check(Key(to.key), self.domain(), to.address, length, right);
        cx.memory.write(place.map_err(|_| NO_ACCESS)?, bytes).map_err(|Gone| NO_ACCESS)
    }

    /// The last part of a write, and the receive that tells of it if there is immediate data.
    fn end_write<M: Memory>(
        &mut self,
        missing: Reth,
        length: u32,
        immediate: Option<u32>,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Refusal> {
        if u32::try_from(packet.payload.len()) != Ok(missing.length) {
            return Err(INVALID);
        }
        if immediate.is_some() {
            self.begin_send(cx)?;
        }
        self.write(&missing, packet.payload, cx)?;
        self.responder.assembly = Assembly::Idle;
        if immediate.is_none() {
            return Ok(());
        }
        if let Some(entry) = self.responder.take_receive() {
            let more = received_as(WcOpcode::RecvRdmaWithImm, length.into(), packet);
            self.complete_receive(&entry, WcStatus::Success, more, cx);
        }
        Ok(())
    }

    fn begin_read<M>(&mut self, reth: Reth, cx: &Context<'_, M>) -> Result<(), Refusal> {
        self.check_remote(&reth, Access::REMOTE_READ, cx)?;
        let responder = &self.responder;
        if responder.new_replies() >= responder.most {
            return Err(INVALID);
        }
        let packets = reth.length.div_ceil(self.mtu()).max(1);
        let psn = self.responder.expected;
        self.responder.advance(packets, true);
        self.reply(psn, Answer::Read { reth, sent: 0 });
        Ok(())
    }

    fn execute_atomic<M: Memory>(
        &mut self,
        body: &Body,
        atomic: &AtomicEth,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Refusal> {
        let right = Access::REMOTE_ATOMIC;
        let responder = &self.responder;
        let full = responder.new_replies() >= responder.most;
        if !self.allows(right) || full || !atomic.address.is_multiple_of(8) {
            return Err(INVALID);
        }
        let place = cx.regions.check(Key(atomic.key), self.domain(), atomic.address, 8, right);
        let place = place.map_err(|_| NO_ACCESS)?;
        let before = if matches!(body, Body::FetchAdd(_)) {
            cx.memory.fetch_add(place, atomic.swap_or_add)
        } else {
            cx.memory.compare_swap(place, atomic.compare, atomic.swap_or_add)
        };
        let before = before.map_err(|Gone| NO_ACCESS)?;
        let psn = self.responder.expected;
        self.responder.advance(1, true);
        self.responder.save(Saved { psn, before });
        self.reply(psn, Answer::Atomic { before });
        Ok(())
    }

    fn reply(&mut self, psn: Psn, answer: Answer) {
        let msn = self.responder.msn;
        self.responder.replies.push_back(Reply { psn, msn, again: false, answer });
    }

    /// Writes the next packet of an answer, an acknowledgement or a refusal.
    pub(super) fn transmit_response<M: Memory>(
        &mut self,
        buffer: &mut [u8],
        cx: &mut Context<'_, M>,
    ) -> Option<Transmit> {
        while let Some(reply) = self.responder.replies.front().copied() {
            if let Some(transmit) = self.transmit_reply(buffer, &reply, cx) {
                return Some(transmit);
            }
        }
        let (psn, syndrome) = self.next_acknowledgement()?;
        let bth = self.bth(psn, cx);
        let body = Body::Acknowledge(self.responder.aeth(syndrome));
        self.emit(buffer, &bth, &body, 0, |_| Ok(())).ok()
    }

    /// A refusal acknowledges what is before it, too.
    fn next_acknowledgement(&mut self) -> Option<(Psn, Syndrome)> {
        if let Some(refusal) = self.responder.refusal.take() {
            self.responder.acknowledge = false;
            return Some(refusal);
        }
        let last = self.responder.expected.minus(1);
        core::mem::take(&mut self.responder.acknowledge).then_some((last, Syndrome::ACK))
    }

    /// Writes the next packet of the first answer; `None` if it is none any more.
    fn transmit_reply<M: Memory>(
        &mut self,
        buffer: &mut [u8],
        reply: &Reply,
        cx: &mut Context<'_, M>,
    ) -> Option<Transmit> {
        let aeth = Aeth { syndrome: Syndrome::ACK, msn: reply.msn };
        match reply.answer {
            Answer::Atomic { before } => {
                self.responder.replies.pop_front();
                let bth = self.bth(reply.psn, cx);
                self.emit(buffer, &bth, &Body::AtomicAcknowledge(aeth, before), 0, |_| Ok(())).ok()
            }
            Answer::Read { reth, sent } => {
                let result = self.emit_read(buffer, reply.psn, &reth, sent, aeth, cx);
                match result {
                    Ok(transmit) => {
                        self.count_sent(reth.length);
                        Some(transmit)
                    }
                    Err(_) => {
                        self.give_up_reading(reply.psn.plus(sent), cx);
                        None
                    }
                }
            }
        }
    }

    /// One more packet of the first answer was sent.
    fn count_sent(&mut self, length: u32) {
        let packets = length.div_ceil(self.mtu()).max(1);
        let Some(Reply { answer: Answer::Read { sent, .. }, .. }) =
            self.responder.replies.front_mut()
        else {
            return;
        };
        *sent += 1;
        if *sent == packets {
            self.responder.replies.pop_front();
        }
    }

    /// What is read cannot be reached any more: that is what the peer gets instead.
    fn give_up_reading<M: Memory>(&mut self, psn: Psn, cx: &mut Context<'_, M>) {
        self.responder.replies.clear();
        if self.state() == State::Err {
            self.responder.refusal = Some((psn, Syndrome::Nak(NakCode::RemoteAccessError)));
        } else {
            self.refuse(psn, NakCode::RemoteAccessError, cx);
        }
    }

    fn emit_read<M: Memory>(
        &self,
        buffer: &mut [u8],
        psn: Psn,
        reth: &Reth,
        sent: u32,
        aeth: Aeth,
        cx: &mut Context<'_, M>,
    ) -> Result<Transmit, WcStatus> {
        let mtu = self.mtu();
        let skip = u64::from(sent) * u64::from(mtu);
        let left = u64::from(reth.length) - skip;
        let bytes = u32::try_from(left).map_or(mtu, |left| left.min(mtu));
        let body = match (sent == 0, left == u64::from(bytes)) {
            (true, true) => Body::ReadResponseOnly(aeth),
            (true, false) => Body::ReadResponseFirst(aeth),
            (false, false) => Body::ReadResponseMiddle,
            (false, true) => Body::ReadResponseLast(aeth),
        };
        let bth = self.bth(psn.plus(sent), cx);
        let from = Reth { address: reth.address.wrapping_add(skip), length: bytes, ..*reth };
        self.emit(buffer, &bth, &body, bytes, |room| self.read(&from, room, cx))
    }

    fn read<M: Memory>(
        &self,
        from: &Reth,
        room: &mut [u8],
        cx: &mut Context<'_, M>,
    ) -> Result<(), WcStatus> {
        if room.is_empty() {
            return Ok(());
        }
        let (length, right) = (from.length.into(), Access::REMOTE_READ);
        let place = cx.regions.check(Key(from.key), self.domain(), from.address, length, right);
        let place = place.map_err(|_| WcStatus::RemAccessErr)?;
        cx.memory.read(place, room).map_err(|Gone| WcStatus::RemAccessErr)
    }

    /// A datagram. One that is too long for its receive is dropped and the receive stays, so that
    /// a stranger can end nothing.
    pub(super) fn on_datagram<M: Memory>(
        &mut self,
        deth: &Deth,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Dropped> {
        if deth.queue_key != self.attributes.qkey {
            return Err(Dropped::QueueKey);
        }
        self.begin_send(cx).map_err(|_| Dropped::NoReceive)?;
        let (entry, domain) = self.responder.receive.ok_or(Dropped::NoReceive)?;
        let all = GRH_BYTES as u64 + packet.payload.len() as u64;
        if super::memory::total(entry.sges()) < all {
            return Err(Dropped::NoReceive);
        }
        let header = packet.global_route();
        let result = cx
            .scatter(entry.sges(), domain, 0, &header)
            .and_then(|()| cx.scatter(entry.sges(), domain, GRH_BYTES as u64, packet.payload));
        if let Err(status) = result {
            self.spoil_receive(status, cx);
            return Ok(());
        }
        let mut more = received_as(WcOpcode::Recv, all, packet);
        more.src_qp = deth.source;
        more.wc_flags |= WcFlags::GRH.bits();
        if let Some(entry) = self.responder.take_receive() {
            self.complete_receive(&entry, WcStatus::Success, more, cx);
        }
        Ok(())
    }
}

/// Whether a request is answered with more than an acknowledgement.
const fn asks(body: &Body) -> bool {
    matches!(body, Body::ReadRequest(_) | Body::CompareSwap(_) | Body::FetchAdd(_))
}

/// What a receive's completion says besides.
fn received_as(opcode: WcOpcode, bytes: u64, packet: &Received<'_>) -> Completion {
    let immediate = packet.body.immediate();
    let mut flags = WcFlags::empty();
    flags.set(WcFlags::WITH_IMM, immediate.is_some());
    flags.set(WcFlags::SOLICITED, packet.bth.solicited);
    Completion {
        opcode: opcode as u8,
        wc_flags: flags.bits(),
        byte_len: u32::try_from(bytes).unwrap_or(u32::MAX),
        imm_data: immediate.unwrap_or_default(),
        ..Completion::default()
    }
}
