//! A queue pair: its state, what is posted, and which half a packet is for.

use core::net::IpAddr;
use core::time::Duration;

use super::attributes::{self, AttrMask, Attributes, ModifyError, State};
use super::memory::{Memory, total};
use super::receives::ReceiveQueue;
use super::requester::Requester;
use super::responder::Responder;
use super::{Context, CqId, MAX_MESSAGE, MAX_RD_ATOMIC, PostError, QpInit, QpKind, Transmit};
use crate::entries::{
    Completion, MAX_INLINE, RECEIVE_SGES, ReceiveEntry, SEND_SGES, SendEntry, SendFlags, WcStatus,
    WrOpcode,
};
use crate::events::{Dropped, Event};
use crate::regions::{Access, DomainId};
use crate::wire::{Body, Bth, EmitError, Psn, Received, Route, Service, emit};

/// Source ports are these and those behind them (Annex A17.4.1).
const SOURCE_PORTS: u16 = 0xc000;
/// The bit of a partition key that says full membership.
const FULL_MEMBER: u16 = 1 << 15;
/// A queue pair sends at most one congestion notification in this time, as DCQCN's receivers do.
const NOTIFICATION_PACE: Duration = Duration::from_micros(50);

/// Which half sends next, if both can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Responder,
    Requester,
}

#[derive(Clone, Debug)]
pub(super) struct QueuePair {
    number: u32,
    init: QpInit,
    state: State,
    pub(super) attributes: Attributes,
    /// How its packets go, once it is connected.
    route: Option<Route>,
    pub(super) receives: ReceiveQueue,
    pub(super) requester: Requester,
    pub(super) responder: Responder,
    turn: Turn,
    /// When a congestion notification may be sent again, and whether one is due.
    notify_after: Duration,
    notify: bool,
    /// Whether it is in the core's list of those that may have something to send.
    pub(super) queued: bool,
}

impl QueuePair {
    pub(super) fn new(number: u32, init: QpInit) -> Self {
        let receives = if init.srq.is_some() { 0 } else { init.max_recv_wr.into() };
        Self {
            number,
            init,
            state: State::Reset,
            attributes: Attributes::default(),
            route: None,
            receives: ReceiveQueue::new(receives),
            requester: Requester::new(init.max_send_wr),
            responder: Responder::default(),
            turn: Turn::Responder,
            notify_after: Duration::ZERO,
            notify: false,
            queued: false,
        }
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    pub(super) const fn init(&self) -> &QpInit {
        &self.init
    }

    pub(super) const fn domain(&self) -> DomainId {
        self.init.domain
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) const fn is_reliable(&self) -> bool {
        matches!(self.init.kind, QpKind::Rc)
    }

    pub(super) const fn mtu(&self) -> u32 {
        self.attributes.path_mtu.bytes()
    }

    /// Its attributes and its state, with the numbers of the next packets.
    pub(super) fn query(&self) -> Attributes {
        let (qp_state, cur_qp_state) = (self.state, self.state);
        let (sq_psn, rq_psn) = (self.requester.next_psn(), self.responder.expected());
        Attributes { qp_state, cur_qp_state, sq_psn, rq_psn, ..self.attributes }
    }

    pub(super) fn modify<M: Memory>(
        &mut self,
        wanted: &Attributes,
        mask: AttrMask,
        cx: &mut Context<'_, M>,
    ) -> Result<(), ModifyError> {
        if mask.contains(AttrMask::CUR_STATE) && wanted.cur_qp_state != self.state {
            return Err(ModifyError::State);
        }
        let to = if mask.contains(AttrMask::STATE) { wanted.qp_state } else { self.state };
        let rule = attributes::rule(self.init.kind, self.state, to);
        let (required, optional) = rule.ok_or(ModifyError::Transition)?;
        let given = mask - AttrMask::STATE;
        if !given.contains(required) {
            return Err(ModifyError::Missing(required - given));
        }
        if !(required | optional).contains(given) {
            return Err(ModifyError::Excess(given - (required | optional)));
        }
        wanted.check(mask, MAX_RD_ATOMIC)?;
        let route = self.check_for_port(wanted, mask, cx)?;
        self.attributes.take(wanted, given);
        self.route = route.or(self.route);
        self.enter(to, cx);
        Ok(())
    }

    /// Whether the port has what is wanted; the route to the peer, if it changes.
    fn check_for_port<M>(
        &self,
        wanted: &Attributes,
        mask: AttrMask,
        cx: &Context<'_, M>,
    ) -> Result<Option<Route>, ModifyError> {
        if mask.contains(AttrMask::PKEY_INDEX)
            && usize::from(wanted.pkey_index) >= cx.port.partitions.len()
        {
            return Err(ModifyError::Value(AttrMask::PKEY_INDEX));
        }
        if mask.contains(AttrMask::PATH_MTU) && wanted.path_mtu > cx.port.mtu {
            return Err(ModifyError::Value(AttrMask::PATH_MTU));
        }
        let Some(vector) = wanted.ah_attr.filter(|_| mask.contains(AttrMask::AV)) else {
            return Ok(None);
        };
        let from = cx.port.address_for(vector.destination);
        let from = from.ok_or(ModifyError::Value(AttrMask::AV))?;
        Ok(Some(self.route(from, &vector)))
    }

    /// A route of its own: its source port is made from its number.
    fn route(&self, from: IpAddr, vector: &super::AddressVector) -> Route {
        #[expect(clippy::cast_possible_truncation, reason = "a hash of it")]
        let hash = (self.number ^ self.number >> 14) as u16;
        Route {
            from,
            to: vector.destination,
            source_port: SOURCE_PORTS | hash & !SOURCE_PORTS,
            traffic_class: vector.traffic_class,
            hop_limit: vector.hop_limit,
        }
    }

    fn enter<M: Memory>(&mut self, to: State, cx: &mut Context<'_, M>) {
        let from = self.state;
        match (from, to) {
            (_, State::Reset) => {
                // What it has posted is gone without completions.
                let fresh = Self::new(self.number, self.init);
                *self = Self { queued: self.queued, ..fresh };
            }
            (State::Err, State::Err) => {}
            (_, State::Err) => {
                self.responder.silence();
                self.fail(cx);
            }
            (State::Init, State::Rtr) => self.get_ready_to_receive(cx),
            (State::Rtr, State::Rts) => self.requester.begin(&self.attributes),
            _ => {}
        }
        if to != State::Err {
            self.state = to;
        }
        self.tell_when_drained(cx);
    }

    fn get_ready_to_receive<M>(&mut self, cx: &Context<'_, M>) {
        if self.init.kind.is_datagram() {
            self.attributes.path_mtu = cx.port.mtu;
        }
        self.responder.begin(&self.attributes);
    }

    /// Ends in the state ERR: what is posted is flushed. A refusal that is due is still sent.
    pub(super) fn fail<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        if self.state == State::Err {
            return;
        }
        self.state = State::Err;
        self.flush_sends(cx);
        while let Some(entry) = self.responder.take_receive().or_else(|| self.receives.take()) {
            self.complete_receive(&entry, WcStatus::WrFlushErr, Completion::default(), cx);
        }
        if self.init.srq.is_some() {
            cx.journal.tell(Event::QpLastWqeReached(self.number));
        }
    }

    /// Sends no more after an error of its own; receives as before.
    pub(super) const fn stop_sending(&mut self) {
        self.state = State::Sqe;
    }

    /// Puts a completion of a receive into its queue; `more` is what it says besides.
    pub(super) fn complete_receive<M>(
        &self,
        entry: &ReceiveEntry,
        status: WcStatus,
        more: Completion,
        cx: &mut Context<'_, M>,
    ) {
        let (wr_id, status, qp_num) = (entry.wr_id, status as u8, self.number);
        let pkey_index = self.attributes.pkey_index.into();
        cx.complete(self.recv_cq(), Completion { wr_id, status, qp_num, pkey_index, ..more });
    }

    const fn recv_cq(&self) -> CqId {
        self.init.recv_cq
    }

    pub(super) fn post_recv<M: Memory>(
        &mut self,
        entry: &ReceiveEntry,
        cx: &mut Context<'_, M>,
    ) -> Result<(), PostError> {
        check_receive(entry)?;
        match self.state {
            State::Reset => return Err(PostError::State),
            _ if self.init.srq.is_some() => return Err(PostError::Shared),
            State::Err => {
                self.complete_receive(entry, WcStatus::WrFlushErr, Completion::default(), cx);
                return Ok(());
            }
            _ => {}
        }
        if !self.receives.has_room() {
            return Err(PostError::Full);
        }
        self.receives.post(*entry);
        Ok(())
    }

    pub(super) fn post_send<M: Memory>(
        &mut self,
        entry: &SendEntry,
        cx: &mut Context<'_, M>,
    ) -> Result<(), PostError> {
        if matches!(self.state, State::Reset | State::Init | State::Rtr) {
            return Err(PostError::State);
        }
        let (opcode, length) = self.check_send(entry, cx)?;
        if !self.requester.has_room() {
            return Err(PostError::Full);
        }
        self.requester.post(*entry, opcode, length);
        if matches!(self.state, State::Err | State::Sqe) {
            self.flush_sends(cx);
        }
        Ok(())
    }

    /// What an entry asks for, and how many bytes it moves.
    fn check_send<M>(
        &self,
        entry: &SendEntry,
        cx: &Context<'_, M>,
    ) -> Result<(WrOpcode, u32), PostError> {
        let opcode = WrOpcode::from_number(entry.opcode).ok_or(PostError::Opcode)?;
        let known = match self.init.kind {
            QpKind::Rc => true,
            QpKind::Uc => !opcode.awaits_response(),
            QpKind::Ud | QpKind::Gsi => opcode.is_send(),
        };
        if !known {
            return Err(PostError::Opcode);
        }
        let length = send_length(entry, opcode)?;
        let datagram = self.init.kind.is_datagram();
        let most = if datagram { u64::from(cx.port.mtu.bytes()) } else { MAX_MESSAGE };
        if length > most || opcode.is_atomic() && length != 8 {
            return Err(PostError::Length);
        }
        if opcode.is_atomic() && !entry.remote_addr.is_multiple_of(8) {
            return Err(PostError::Alignment);
        }
        let handle = || cx.handles.get(entry.ah).filter(|handle| handle.domain == self.domain());
        if datagram && handle().is_none() {
            return Err(PostError::AddressHandle);
        }
        Ok((opcode, u32::try_from(length).map_err(|_| PostError::Length)?))
    }

    /// Takes a packet that is for this queue pair.
    pub(super) fn receive<M: Memory>(
        &mut self,
        packet: &Received<'_>,
        cx: &mut Context<'_, M>,
    ) -> Result<(), Dropped> {
        self.check_packet(packet, cx)?;
        if packet.body == Body::CongestionNotification {
            cx.journal.counters.notifications_received += 1;
            self.requester.meet_congestion();
            return Ok(());
        }
        self.notice_congestion(packet, cx.now);
        let result = match packet.body {
            Body::Datagram(deth, _) => self.on_datagram(&deth, packet, cx),
            Body::Acknowledge(aeth) => self.on_acknowledge(&aeth, packet.bth.psn, cx),
            Body::ReadResponseFirst(_)
            | Body::ReadResponseMiddle
            | Body::ReadResponseLast(_)
            | Body::ReadResponseOnly(_)
            | Body::AtomicAcknowledge(..) => self.on_response(packet, cx),
            _ if self.is_reliable() => self.on_reliable(packet, cx),
            _ => self.on_unreliable(packet, cx),
        };
        self.after(cx);
        result
    }

    fn check_packet<M>(&self, packet: &Received<'_>, cx: &Context<'_, M>) -> Result<(), Dropped> {
        let service = match self.init.kind {
            QpKind::Rc => Service::Rc,
            QpKind::Uc => Service::Uc,
            QpKind::Ud | QpKind::Gsi => Service::Ud,
        };
        if packet.service != service {
            return Err(Dropped::Service);
        }
        if matches!(self.state, State::Reset | State::Init | State::Err) {
            return Err(Dropped::State);
        }
        if !matches(packet.bth.partition, self.partition(cx)) {
            return Err(Dropped::Partition);
        }
        let from = packet.route.from;
        if self.route.is_some_and(|route| route.to != from) {
            return Err(Dropped::Peer);
        }
        Ok(())
    }

    fn partition<M>(&self, cx: &Context<'_, M>) -> u16 {
        cx.port.partitions.get(usize::from(self.attributes.pkey_index)).copied().unwrap_or(0)
    }

    /// Tells the peer of congestion that its packets met; not too often.
    fn notice_congestion(&mut self, packet: &Received<'_>, now: Duration) {
        if packet.met_congestion() && self.is_reliable() && now >= self.notify_after {
            self.notify = true;
            self.notify_after = now + NOTIFICATION_PACE;
        }
    }

    /// What follows from whatever happened.
    fn after<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        if core::mem::take(&mut cx.overrun) && self.state != State::Err {
            cx.journal.tell(Event::QpFatal(self.number));
            self.fail(cx);
        }
        self.tell_when_drained(cx);
    }

    fn tell_when_drained<M>(&mut self, cx: &mut Context<'_, M>) {
        let wanted = self.state == State::Sqd && self.attributes.en_sqd_async_notify;
        if wanted && self.requester.is_drained() {
            self.attributes.en_sqd_async_notify = false;
            cx.journal.tell(Event::SqDrained(self.number));
        }
    }

    /// Tells once that the first packet came before the program knew that its peer is ready.
    pub(super) fn establish<M>(&mut self, cx: &mut Context<'_, M>) {
        if self.state == State::Rtr && self.responder.establish() {
            cx.journal.tell(Event::CommEst(self.number));
        }
    }

    /// Whether it may have something to send; if not, it certainly has nothing.
    pub(super) fn has_output(&self) -> bool {
        self.notify || self.responder.has_output() || self.requester.has_output()
    }

    /// Writes its next packet.
    pub(super) fn transmit<M: Memory>(
        &mut self,
        buffer: &mut [u8],
        cx: &mut Context<'_, M>,
    ) -> Option<Transmit> {
        let transmit = self.transmit_notification(buffer, cx).or_else(|| match self.turn {
            Turn::Responder => {
                self.turn = Turn::Requester;
                self.transmit_response(buffer, cx).or_else(|| self.transmit_request(buffer, cx))
            }
            Turn::Requester => {
                self.turn = Turn::Responder;
                self.transmit_request(buffer, cx).or_else(|| self.transmit_response(buffer, cx))
            }
        });
        self.after(cx);
        transmit
    }

    fn transmit_notification<M: Memory>(
        &mut self,
        buffer: &mut [u8],
        cx: &mut Context<'_, M>,
    ) -> Option<Transmit> {
        if !core::mem::take(&mut self.notify) {
            return None;
        }
        cx.journal.counters.notifications_sent += 1;
        let bth = Bth { becn: true, ..self.bth(Psn::default(), cx) };
        let none = |room: &mut [u8]| {
            room.fill(0);
            Ok::<(), WcStatus>(())
        };
        let route = self.route?;
        written(
            emit(buffer, &route, Service::Rc, &bth, &Body::CongestionNotification, 0, none),
            &route,
        )
        .ok()
    }

    /// A base header to the peer.
    pub(super) fn bth<M>(&self, psn: Psn, cx: &Context<'_, M>) -> Bth {
        let (partition, destination) = (self.partition(cx), self.attributes.dest_qp_num);
        Bth { partition, destination, psn, ..Bth::default() }
    }

    /// Writes a packet to the peer of a connection.
    pub(super) fn emit(
        &self,
        buffer: &mut [u8],
        bth: &Bth,
        body: &Body,
        payload: u32,
        fill: impl FnOnce(&mut [u8]) -> Result<(), WcStatus>,
    ) -> Result<Transmit, WcStatus> {
        let service = if self.is_reliable() { Service::Rc } else { Service::Uc };
        let route = self.route.ok_or(WcStatus::LocQpOpErr)?;
        let payload = usize::try_from(payload).map_err(|_| WcStatus::LocLenErr)?;
        written(emit(buffer, &route, service, bth, body, payload, fill), &route)
    }

    /// Writes a datagram to wherever its address handle leads.
    pub(super) fn emit_datagram<M: Memory>(
        &self,
        buffer: &mut [u8],
        entry: &SendEntry,
        bth: &Bth,
        body: &Body,
        payload: u32,
        cx: &mut Context<'_, M>,
    ) -> Result<Transmit, WcStatus> {
        let handle = cx.handles.get(entry.ah).ok_or(WcStatus::LocQpOpErr)?;
        let from = cx.port.address_for(handle.vector.destination).ok_or(WcStatus::LocQpOpErr)?;
        let route = self.route(from, &handle.vector);
        let payload = usize::try_from(payload).map_err(|_| WcStatus::LocLenErr)?;
        let fill = |room: &mut [u8]| cx.gather(entry, self.domain(), 0, room);
        written(emit(buffer, &route, Service::Ud, bth, body, payload, fill), &route)
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.requester.next_deadline()
    }

    pub(super) fn tick<M: Memory>(&mut self, cx: &mut Context<'_, M>) {
        self.on_time(cx);
        self.after(cx);
    }

    /// Whether the peer may do such things at all.
    pub(super) const fn allows(&self, access: Access) -> bool {
        self.attributes.qp_access_flags.contains(access)
    }
}

fn written(
    result: Result<usize, EmitError<WcStatus>>,
    route: &Route,
) -> Result<Transmit, WcStatus> {
    match result {
        Ok(length) => Ok(Transmit { length, to: route.to }),
        Err(EmitError::Payload(status)) => Err(status),
        Err(EmitError::NoRoom | EmitError::Versions) => Err(WcStatus::LocQpOpErr),
    }
}

/// Partition keys match if they are of one partition and not both of limited members
/// (specification, 10.9.3).
const fn matches(one: u16, other: u16) -> bool {
    (one ^ other) & !FULL_MEMBER == 0 && (one | other) & FULL_MEMBER != 0
}

pub(super) fn check_receive(entry: &ReceiveEntry) -> Result<(), PostError> {
    let few = usize::try_from(entry.num_sge).is_ok_and(|count| count <= RECEIVE_SGES);
    if few { Ok(()) } else { Err(PostError::Segments) }
}

fn send_length(entry: &SendEntry, opcode: WrOpcode) -> Result<u64, PostError> {
    if entry.send_flags().contains(SendFlags::INLINE) {
        let too_long = usize::from(entry.inline_bytes) > MAX_INLINE;
        if too_long || opcode.awaits_response() {
            return Err(PostError::Inline);
        }
        return Ok(entry.inline_bytes.into());
    }
    if usize::from(entry.num_sge) > SEND_SGES {
        return Err(PostError::Segments);
    }
    Ok(total(entry.sges()))
}
