//! Queue pairs between two hosts, by example: what each operation does, and what each mistake leads to.

use core::convert::Infallible;
use core::time::Duration;

use super::*;
use crate::entries::{SendFlags, WcFlags, WcOpcode, WcStatus, WrOpcode};
use crate::sim::host::{BASE, Host, Link, OBJECT, QUEUE_KEY, pair, status};
use crate::wire::{
    Aeth, AtomicEth, Body, Bth, Deth, NakCode, Psn, Reth, Route, Service, Syndrome, emit,
};

const MEMORY: usize = 1 << 16;
const NOW: Duration = Duration::from_micros(1);

fn linked(link: &Link) -> [Host; 2] {
    pair(MEMORY, 16, link)
}

fn two() -> [Host; 2] {
    linked(&Link::default())
}

/// Hands all packets over, in order, at one time; how many there were.
fn exchange(hosts: &mut [Host; 2], now: Duration) -> usize {
    exchange_but(hosts, now, |_| true)
}

/// Hands over the packets that are let through by their number, in order.
fn exchange_but(
    hosts: &mut [Host; 2],
    now: Duration,
    mut lets: impl FnMut(usize) -> bool,
) -> usize {
    let (mut buffer, mut count) = (vec![0; 8192], 0);
    loop {
        let before = count;
        for at in 0..2 {
            while let Some(length) = transmit(&mut hosts[at], now, &mut buffer) {
                let packet = buffer[..length].to_vec();
                count += 1;
                if lets(count - 1) {
                    give(&mut hosts[1 - at], now, &packet);
                }
            }
        }
        if count == before {
            return count;
        }
    }
}

fn transmit(host: &mut Host, now: Duration, buffer: &mut [u8]) -> Option<usize> {
    host.core.transmit(now, buffer, &mut host.memory).map(|transmit| transmit.length)
}

fn give(host: &mut Host, now: Duration, packet: &[u8]) {
    // Why it was dropped is counted.
    let _ = host.core.receive(now, packet, &mut host.memory);
}

fn send(host: &Host, opcode: WrOpcode, from: usize, length: usize) -> SendEntry {
    let mut entry = SendEntry {
        wr_id: 7,
        opcode: opcode as u8,
        flags: SendFlags::SIGNALED.bits(),
        num_sge: 1,
        ..SendEntry::default()
    };
    entry.sg_list[0] = host.sge(from, length);
    entry
}

/// A request that goes to a place of the peer's.
fn remote(hosts: &[Host; 2], opcode: WrOpcode, from: usize, to: usize, length: usize) -> SendEntry {
    let mut entry = send(&hosts[0], opcode, from, length);
    entry.remote_addr = BASE + to as u64;
    entry.rkey = hosts[1].key.0;
    entry
}

fn statuses(host: &mut Host) -> Vec<WcStatus> {
    host.completions(host.send_cq).iter().map(status).collect()
}

/// A packet of somebody who is not bound by anything.
fn forged(hosts: &[Host; 2], service: Service, psn: Psn, body: &Body, payload: &[u8]) -> Vec<u8> {
    forged_with(hosts, service, &Bth { psn, ..base(hosts) }, body, payload)
}

fn base(hosts: &[Host; 2]) -> Bth {
    Bth { partition: 0xffff, destination: hosts[1].qp.0, ack_request: true, ..Bth::default() }
}

fn forged_with(
    hosts: &[Host; 2],
    service: Service,
    bth: &Bth,
    body: &Body,
    payload: &[u8],
) -> Vec<u8> {
    let [from, to] = [hosts[0].address, hosts[1].address];
    let route = Route { from, to, source_port: 50_000, traffic_class: 0, hop_limit: 64 };
    let mut buffer = vec![0; 8192];
    let fill = |room: &mut [u8]| {
        room.copy_from_slice(payload);
        Ok::<(), Infallible>(())
    };
    let length = emit(&mut buffer, &route, service, bth, body, payload.len(), fill);
    buffer.truncate(length.expect("room"));
    buffer
}

/// What the second host answers to a forged packet.
fn answer(hosts: &mut [Host; 2], packet: &[u8]) -> Option<Syndrome> {
    give(&mut hosts[1], NOW, packet);
    let mut buffer = [0; 8192];
    let length = transmit(&mut hosts[1], NOW, &mut buffer)?;
    match Received::parse(&buffer[..length]).expect("sound").body {
        Body::Acknowledge(Aeth { syndrome, .. }) => Some(syndrome),
        _ => None,
    }
}

const fn first_psn() -> Psn {
    Psn::new(0x00ff_fffd)
}

#[test]
fn a_send_arrives_in_the_receive() {
    let mut hosts = two();
    hosts[0].memory.0[..600].fill(5);
    let receive = hosts[1].receive_into(9, 1000, 2000);
    hosts[1].post_receive(NOW, &receive);
    let mut entry = send(&hosts[0], WrOpcode::SendWithImm, 0, 600);
    entry.imm_data = 0xabcd;
    hosts[0].post_send(NOW, &entry);
    // Three packets of at most 256 bytes, and one acknowledgement.
    assert_eq!(exchange(&mut hosts, NOW), 4);
    let [a, b] = &mut hosts;
    let received = b.completions(b.recv_cq);
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].wr_id, status(&received[0])), (9, WcStatus::Success));
    assert_eq!((received[0].byte_len, received[0].imm_data), (600, 0xabcd));
    assert_eq!(received[0].opcode, WcOpcode::Recv as u8);
    assert_eq!(received[0].wc_flags, WcFlags::WITH_IMM.bits());
    assert_eq!(b.memory.0[1000..1600], [5; 600]);
    assert_eq!(b.memory.0[1600], 0);
    let sent = a.completions(a.send_cq);
    assert_eq!((sent[0].wr_id, status(&sent[0])), (7, WcStatus::Success));
    assert_eq!(sent[0].qp_num, a.qp.0);
}

#[test]
fn acknowledgements_of_what_came_together_are_one() {
    let mut hosts = two();
    for _ in 0..4 {
        let entry = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 8);
        hosts[0].post_send(NOW, &entry);
    }
    assert_eq!(exchange(&mut hosts, NOW), 4 + 1);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success; 4]);
}

#[test]
fn a_read_is_asked_for_again_from_what_is_missing() {
    let mut hosts = two();
    (0..1000).for_each(|at| hosts[1].memory.0[at] = u8::try_from(at % 251).expect("small"));
    let entry = remote(&hosts, WrOpcode::RdmaRead, 5000, 0, 1000);
    hosts[0].post_send(NOW, &entry);
    // Of the four packets of the answer, the second is lost. The third tells of it.
    assert_eq!(exchange_but(&mut hosts, NOW, |number| number != 2), 1 + 4 + 1 + 3);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success]);
    assert_eq!(hosts[0].memory.0[5000..6000], hosts[1].memory.0[..1000]);
    assert_eq!(hosts[0].core.counters().retries, 1);
}

#[test]
fn a_long_read_is_asked_for_again_up_to_where_it_was_asked_for() {
    let mut hosts = two();
    hosts[1].memory.0[..5120].fill(3);
    let entry = remote(&hosts, WrOpcode::RdmaRead, 8192, 0, 5120);
    hosts[0].post_send(NOW, &entry);
    // Ten of twenty packets are asked for at first; of their answers, one is lost. No time passes.
    exchange_but(&mut hosts, NOW, |number| number != 4);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success]);
    assert_eq!(hosts[0].memory.0[8192..8192 + 5120], [3; 5120]);
}

#[test]
fn an_acknowledgement_does_not_overtake_an_answer() {
    let mut hosts = two();
    let read = remote(&hosts, WrOpcode::RdmaRead, 0, 0, 512);
    let write = remote(&hosts, WrOpcode::RdmaWrite, 1024, 1024, 8);
    let mut buffer = vec![0; 8192];
    for entry in [read, write] {
        hosts[0].post_send(NOW, &entry);
        let length = transmit(&mut hosts[0], NOW, &mut buffer).expect("a request");
        give(&mut hosts[1], NOW, &buffer[..length]);
    }
    let answers = core::iter::from_fn(|| {
        let length = transmit(&mut hosts[1], NOW, &mut buffer)?;
        Some(Received::parse(&buffer[..length]).expect("sound").body)
    });
    let answers: Vec<Body> = answers.collect();
    let aeth = |msn| Aeth { syndrome: Syndrome::ACK, msn };
    let expected = [
        Body::ReadResponseFirst(aeth(1)),
        Body::ReadResponseLast(aeth(1)),
        Body::Acknowledge(aeth(2)),
    ];
    assert_eq!(answers, expected);
}

#[test]
fn an_atomic_is_carried_out_once_however_often_it_is_asked_for() {
    let mut hosts = two();
    let mut entry = remote(&hosts, WrOpcode::AtomicFetchAndAdd, 8, 64, 8);
    entry.compare_add = 5;
    hosts[0].post_send(NOW, &entry);
    let mut now = NOW;
    // The answer is lost three times; the request comes again each time.
    for _ in 0..3 {
        exchange_but(&mut hosts, now, |number| number != 1);
        now = hosts[0].core.deadline().expect("it waits");
        let host = &mut hosts[0];
        host.core.tick(now, &mut host.memory);
    }
    assert_eq!(statuses(&mut hosts[0]), []);
    exchange(&mut hosts, now);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success]);
    assert_eq!(hosts[1].memory.0[64], 5);
    assert_eq!(hosts[0].memory.0[8], 0, "what was there before");
    assert_eq!(hosts[1].core.counters().duplicates, 3);
}

#[test]
fn comparing_and_swapping_tells_what_was_there() {
    let mut hosts = two();
    hosts[1].memory.0[0] = 3;
    for (compare_add, swap) in [(4, 9), (3, 8)] {
        let mut entry = remote(&hosts, WrOpcode::AtomicCmpAndSwp, 8, 0, 8);
        (entry.compare_add, entry.swap) = (compare_add, swap);
        hosts[0].post_send(NOW, &entry);
        exchange(&mut hosts, NOW);
        assert_eq!(hosts[0].memory.0[8], 3);
    }
    assert_eq!(hosts[1].memory.0[0], 8);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success; 2]);
}

/// What became of a request, at both ends.
fn outcome(mut hosts: [Host; 2], entry: &SendEntry) -> (Vec<WcStatus>, [State; 2], Vec<Event>) {
    hosts[0].post_send(NOW, entry);
    hosts[0].post_send(NOW, entry);
    exchange(&mut hosts, NOW);
    let states = [hosts[0].state(), hosts[1].state()];
    (statuses(&mut hosts[0]), states, hosts[1].events())
}

#[test]
fn a_request_without_the_right_is_refused() {
    use WcStatus::{RemAccessErr, WrFlushErr};
    let refused = (vec![RemAccessErr, WrFlushErr], [State::Err; 2]);
    let check = |opcode, change: fn(&mut SendEntry)| {
        let hosts = two();
        let mut entry = remote(&hosts, opcode, 0, 0, 8);
        change(&mut entry);
        let number = hosts[1].qp.0;
        let (statuses, states, events) = outcome(hosts, &entry);
        assert_eq!((statuses, states), refused);
        assert_eq!(events, [Event::QpAccessErr(number)]);
    };
    for opcode in [WrOpcode::RdmaWrite, WrOpcode::RdmaRead, WrOpcode::AtomicFetchAndAdd] {
        check(opcode, |entry| entry.rkey ^= 1);
        check(opcode, |entry| entry.remote_addr = BASE + MEMORY as u64);
        check(opcode, |entry| entry.remote_addr = BASE - 8);
        check(opcode, |entry| entry.remote_addr = 0u64.wrapping_sub(8));
    }
}

#[test]
fn a_queue_pair_that_allows_nothing_finds_requests_invalid() {
    for opcode in [WrOpcode::RdmaWrite, WrOpcode::RdmaRead, WrOpcode::AtomicCmpAndSwp] {
        let mut hosts = two();
        let none = Attributes::default();
        hosts[1].modify(&none, AttrMask::ACCESS_FLAGS);
        let entry = remote(&hosts, opcode, 0, 0, 8);
        let number = hosts[1].qp.0;
        let (statuses, states, events) = outcome(hosts, &entry);
        assert_eq!(statuses, [WcStatus::RemInvReqErr, WcStatus::WrFlushErr]);
        assert_eq!((states, events), ([State::Err; 2], vec![Event::QpReqErr(number)]));
    }
}

#[test]
fn a_region_of_another_domain_is_out_of_reach() {
    let mut hosts = two();
    let other = hosts[1].core.alloc_pd().expect("room");
    let place = crate::regions::Place { backing: OBJECT, offset: 0 };
    let region = Region { domain: other, start: BASE, length: 64, access: Access::all(), place };
    let key = hosts[1].core.reg_mr(region, Access::all()).expect("room");
    let mut entry = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 8);
    entry.rkey = key.0;
    assert_eq!(outcome(hosts, &entry).0, [WcStatus::RemAccessErr, WcStatus::WrFlushErr]);
}

#[test]
fn a_message_that_is_longer_than_the_receive_ends_both() {
    let mut hosts = two();
    for id in [1, 2] {
        let receive = hosts[1].receive_into(id, 0, 100);
        hosts[1].post_receive(NOW, &receive);
    }
    let entry = send(&hosts[0], WrOpcode::Send, 0, 101);
    hosts[0].post_send(NOW, &entry);
    exchange(&mut hosts, NOW);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::RemInvReqErr]);
    let host = &mut hosts[1];
    let received: Vec<_> = host.completions(host.recv_cq).iter().map(status).collect();
    assert_eq!(received, [WcStatus::LocLenErr, WcStatus::WrFlushErr]);
}

#[test]
fn memory_that_is_taken_away_in_mid_read_is_an_access_error() {
    let mut hosts = two();
    hosts[1].memory.0[..2048].fill(1);
    let entry = remote(&hosts, WrOpcode::RdmaRead, 5000, 0, 2048);
    hosts[0].post_send(NOW, &entry);
    let mut buffer = vec![0; 8192];
    let asked = transmit(&mut hosts[0], NOW, &mut buffer).expect("a request");
    give(&mut hosts[1], NOW, &buffer[..asked]);
    let first = transmit(&mut hosts[1], NOW, &mut buffer).expect("an answer");
    let first = buffer[..first].to_vec();
    give(&mut hosts[0], NOW, &first);
    assert_eq!(hosts[1].core.withdraw(OBJECT), 1);
    hosts[1].memory.0.fill(2);
    exchange(&mut hosts, NOW);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::RemAccessErr]);
    assert_eq!(hosts[0].memory.0[5000..5256], [1; 256]);
    assert!(!hosts[0].memory.0.contains(&2));
}

#[test]
fn a_peer_that_is_gone_is_an_error_after_all_tries() {
    let link = Link { timeout: 10, retry_cnt: 3, ..Link::default() };
    let mut hosts = linked(&link);
    let entry = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 8);
    hosts[0].post_send(Duration::ZERO, &entry);
    let (host, mut buffer) = (&mut hosts[0], vec![0; 8192]);
    let (mut tries, mut now) = (0, Duration::ZERO);
    while let Some(deadline) = {
        while transmit(host, now, &mut buffer).is_some() {
            tries += 1;
        }
        host.core.deadline()
    } {
        now = deadline;
        host.core.tick(now, &mut host.memory);
    }
    assert_eq!(tries, 1 + 3);
    // Four times 4.096 µs · 2¹⁰.
    assert_eq!(now, 4 * Duration::from_nanos(4096 << 10));
    assert_eq!(statuses(host), [WcStatus::RetryExcErr]);
    assert_eq!(host.state(), State::Err);
}

#[test]
fn a_peer_without_receives_is_asked_again_later() {
    let link = Link { rnr_retry: 2, min_rnr_timer: 12, ..Link::default() };
    for late in [false, true] {
        let mut hosts = linked(&link);
        let entry = send(&hosts[0], WrOpcode::Send, 0, 8);
        hosts[0].post_send(NOW, &entry);
        let mut now = NOW;
        for round in 0..2 {
            exchange(&mut hosts, now);
            now += Duration::from_micros(640);
            if late && round == 1 {
                let receive = hosts[1].receive_into(1, 0, 8);
                hosts[1].post_receive(now, &receive);
            }
            let host = &mut hosts[0];
            host.core.tick(now - Duration::from_nanos(1), &mut host.memory);
            assert_eq!(exchange(&mut hosts, now), 0, "not before its time");
            let host = &mut hosts[0];
            host.core.tick(now, &mut host.memory);
        }
        exchange(&mut hosts, now);
        let expected = if late { WcStatus::Success } else { WcStatus::RnrRetryExcErr };
        assert_eq!(statuses(&mut hosts[0]), [expected]);
    }
}

#[test]
fn a_fence_waits_for_reads() {
    let mut hosts = two();
    let read = remote(&hosts, WrOpcode::RdmaRead, 0, 0, 8);
    let mut write = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 8);
    write.flags |= SendFlags::FENCE.bits();
    for entry in [read, write] {
        hosts[0].post_send(NOW, &entry);
    }
    let mut buffer = vec![0; 8192];
    assert!(transmit(&mut hosts[0], NOW, &mut buffer).is_some());
    assert_eq!(transmit(&mut hosts[0], NOW, &mut buffer), None, "the read is not answered");
}

#[test]
fn reads_in_flight_are_limited() {
    let mut hosts = linked(&Link { rd_atomic: 2, ..Link::default() });
    for _ in 0..3 {
        let read = remote(&hosts, WrOpcode::RdmaRead, 0, 0, 8);
        hosts[0].post_send(NOW, &read);
    }
    let mut buffer = vec![0; 8192];
    let sent = core::iter::from_fn(|| transmit(&mut hosts[0], NOW, &mut buffer)).count();
    assert_eq!(sent, 2);
}

#[test]
fn one_who_asks_for_more_reads_than_agreed_is_refused() {
    let mut hosts = linked(&Link { rd_atomic: 1, ..Link::default() });
    let reth = Reth { address: BASE, key: hosts[1].key.0, length: 8 };
    let body = Body::ReadRequest(reth);
    for at in 0..2 {
        let packet = forged(&hosts, Service::Rc, first_psn().plus(at), &body, &[]);
        give(&mut hosts[1], NOW, &packet);
    }
    assert_eq!(hosts[1].state(), State::Err);
    let number = hosts[1].qp.0;
    assert_eq!(hosts[1].events(), [Event::QpReqErr(number)]);
}

#[test]
fn a_drained_queue_is_told_of_and_goes_on() {
    let mut hosts = two();
    let entry = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 600);
    hosts[0].post_send(NOW, &entry);
    let mut buffer = vec![0; 8192];
    let first = transmit(&mut hosts[0], NOW, &mut buffer).expect("a packet");
    let first = buffer[..first].to_vec();
    let drain =
        Attributes { qp_state: State::Sqd, en_sqd_async_notify: true, ..Attributes::default() };
    hosts[0].modify(&drain, AttrMask::STATE | AttrMask::EN_SQD_ASYNC_NOTIFY);
    hosts[0].post_send(NOW, &entry);
    assert_eq!(hosts[0].events(), []);
    give(&mut hosts[1], NOW, &first);
    exchange(&mut hosts, NOW);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success]);
    let number = hosts[0].qp.0;
    assert_eq!(hosts[0].events(), [Event::SqDrained(number)]);
    let go_on = Attributes { qp_state: State::Rts, ..Attributes::default() };
    hosts[0].modify(&go_on, AttrMask::STATE);
    exchange(&mut hosts, NOW);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success]);
}

#[test]
fn an_error_of_its_own_ends_a_reliable_sender_and_stops_an_unreliable_one() {
    for (kind, state) in [(QpKind::Rc, State::Err), (QpKind::Uc, State::Sqe)] {
        let mut hosts = linked(&Link { kind, ..Link::default() });
        let good = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 8);
        let mut bad = good;
        bad.sg_list[0].lkey ^= 1;
        [good, bad, good].iter().for_each(|entry| hosts[0].post_send(NOW, entry));
        exchange(&mut hosts, NOW);
        let expected = [WcStatus::Success, WcStatus::LocProtErr, WcStatus::WrFlushErr];
        assert_eq!(statuses(&mut hosts[0]), expected);
        assert_eq!(hosts[0].state(), state);
        hosts[0].post_send(NOW, &good);
        assert_eq!(statuses(&mut hosts[0]), [WcStatus::WrFlushErr]);
        if kind == QpKind::Uc {
            let again = Attributes { qp_state: State::Rts, ..Attributes::default() };
            hosts[0].modify(&again, AttrMask::STATE);
            hosts[0].post_send(NOW, &good);
            exchange(&mut hosts, NOW);
            assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success]);
        }
    }
}

#[test]
fn attributes_are_changed_by_the_rules() {
    use AttrMask as M;
    let mut host = Host::new(1, 64, 4, &Link::default());
    let mut modify = |attributes: &Attributes, mask| {
        host.core.modify_qp(NOW, host.qp, attributes, mask, &mut host.memory)
    };
    let mut wanted = Attributes { qp_state: State::Init, ..Attributes::default() };
    let begin = M::STATE | M::PKEY_INDEX | M::PORT | M::ACCESS_FLAGS;
    assert_eq!(
        modify(&wanted, M::STATE | M::PORT),
        Err(ModifyError::Missing(M::PKEY_INDEX | M::ACCESS_FLAGS))
    );
    assert_eq!(modify(&wanted, begin | M::QKEY), Err(ModifyError::Excess(M::QKEY)));
    assert_eq!(modify(&wanted, begin), Err(ModifyError::Value(M::PORT)));
    wanted.port_num = 1;
    wanted.pkey_index = 1;
    assert_eq!(modify(&wanted, begin), Err(ModifyError::Value(M::PKEY_INDEX)));
    wanted.pkey_index = 0;
    assert_eq!(modify(&wanted, begin), Ok(()));
    wanted.qp_state = State::Rts;
    assert_eq!(modify(&wanted, M::STATE | M::SQ_PSN), Err(ModifyError::Transition));
    wanted.cur_qp_state = State::Rts;
    assert_eq!(modify(&wanted, M::CUR_STATE), Err(ModifyError::State));
}

#[test]
fn requests_that_cannot_be_are_not_taken() {
    let mut hosts = two();
    let entry = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 8);
    let mut refusal = |change: fn(&mut SendEntry)| {
        let (mut entry, host) = (entry, &mut hosts[0]);
        change(&mut entry);
        host.core.post_send(NOW, host.qp, &entry, &mut host.memory).expect_err("wrong")
    };
    assert_eq!(refusal(|entry| entry.opcode = 7), PostError::Opcode);
    assert_eq!(refusal(|entry| entry.num_sge = 5), PostError::Segments);
    assert_eq!(refusal(|entry| entry.sg_list[0].length = 1 << 31), PostError::Length);
    let inline = |entry: &mut SendEntry| entry.flags |= SendFlags::INLINE.bits();
    assert_eq!(refusal(|entry| (entry.flags, entry.inline_bytes) = (8, 65)), PostError::Inline);
    let atomic = WrOpcode::AtomicFetchAndAdd as u8;
    let mut wrong = entry;
    inline(&mut wrong);
    wrong.opcode = atomic;
    let host = &mut hosts[0];
    let result = host.core.post_send(NOW, host.qp, &wrong, &mut host.memory);
    assert_eq!(result, Err(PostError::Inline));
    wrong = SendEntry { opcode: atomic, remote_addr: BASE + 4, ..entry };
    let result = host.core.post_send(NOW, host.qp, &wrong, &mut host.memory);
    assert_eq!(result, Err(PostError::Alignment));
    for _ in 0..16 {
        host.post_send(NOW, &entry);
    }
    let result = host.core.post_send(NOW, host.qp, &entry, &mut host.memory);
    assert_eq!(result, Err(PostError::Full));
}

#[test]
fn what_is_not_for_the_queue_pair_is_counted_and_dropped() {
    let mut hosts = two();
    let body = Body::SendOnly(None);
    let packet = forged(&hosts, Service::Rc, first_psn(), &body, &[1; 8]);
    let variants = [
        (Bth { destination: 0x1234, ..base(&hosts) }, Dropped::QueuePair),
        (Bth { destination: 0, ..base(&hosts) }, Dropped::QueuePair),
        (Bth { destination: 1, ..base(&hosts) }, Dropped::QueuePair),
        (Bth { partition: 0xfffe, ..base(&hosts) }, Dropped::Partition),
    ];
    for (bth, expected) in variants {
        let packet = forged_with(&hosts, Service::Rc, &bth, &body, &[]);
        let host = &mut hosts[1];
        assert_eq!(host.core.receive(NOW, &packet, &mut host.memory), Err(expected));
    }
    let wrong = forged(&hosts, Service::Uc, first_psn(), &body, &[]);
    let host = &mut hosts[1];
    assert_eq!(host.core.receive(NOW, &wrong, &mut host.memory), Err(Dropped::Service));
    let mut damaged = packet.clone();
    damaged[45] ^= 1;
    let result = host.core.receive(NOW, &damaged, &mut host.memory);
    assert_eq!(result, Err(Dropped::Wire(crate::wire::WireError::Icrc)));
    hosts[0].address = core::net::IpAddr::from([10, 0, 0, 9]);
    let stranger = forged(&hosts, Service::Rc, first_psn(), &body, &[]);
    let host = &mut hosts[1];
    assert_eq!(host.core.receive(NOW, &stranger, &mut host.memory), Err(Dropped::Peer));
    let counters = host.core.counters();
    assert_eq!((counters.unknown, counters.foreign_partition, counters.wrong_icrc), (3, 1, 1));
    assert_eq!(counters.dropped, 2);
    assert_eq!(host.state(), State::Rts);
}

#[test]
fn forged_requests_are_refused_as_the_specification_says() {
    let nak = |code| Some(Syndrome::Nak(code));
    let check = |body: fn(u32) -> Body, payload: usize, expected| {
        let mut hosts = two();
        let body = body(hosts[1].key.0);
        let packet = forged(&hosts, Service::Rc, first_psn(), &body, &vec![0; payload]);
        assert_eq!(answer(&mut hosts, &packet), expected, "{body:?}");
        assert!(hosts[1].memory.0.iter().all(|byte| *byte == 0));
    };
    let invalid = nak(NakCode::InvalidRequest);
    check(|_| Body::SendMiddle, 256, invalid);
    check(|_| Body::SendLast(None), 8, invalid);
    check(|_| Body::WriteMiddle, 256, invalid);
    check(|_| Body::SendFirst, 255, invalid);
    check(|_| Body::SendOnly(None), 257, invalid);
    check(|key| Body::WriteFirst(Reth { address: BASE, key, length: 256 }), 256, invalid);
    check(|key| Body::WriteOnly(Reth { address: BASE, key, length: 9 }, None), 8, invalid);
    check(|key| Body::ReadRequest(Reth { address: BASE, key, length: u32::MAX }), 0, invalid);
    check(
        |key| Body::FetchAdd(AtomicEth { address: BASE + 4, key, ..AtomicEth::default() }),
        0,
        invalid,
    );
    let access = nak(NakCode::RemoteAccessError);
    check(|key| Body::ReadRequest(Reth { address: BASE, key, length: 1 << 20 }), 0, access);
    check(|key| Body::WriteOnly(Reth { address: BASE, key: !key, length: 8 }, None), 8, access);
    check(|_| Body::WriteOnly(Reth::default(), None), 0, Some(Syndrome::ACK));
}

#[test]
fn a_gap_is_told_once() {
    let mut hosts = two();
    let reth = Reth { address: BASE, key: hosts[1].key.0, length: 4 };
    let body = Body::WriteOnly(reth, None);
    let packet =
        |hosts: &[Host; 2], at| forged(hosts, Service::Rc, first_psn().plus(at), &body, &[9; 4]);
    let (second, third) = (packet(&hosts, 1), packet(&hosts, 2));
    assert_eq!(answer(&mut hosts, &second), Some(Syndrome::Nak(NakCode::PsnSequenceError)));
    assert_eq!(answer(&mut hosts, &third), None);
    let first = packet(&hosts, 0);
    assert_eq!(answer(&mut hosts, &first), Some(Syndrome::ACK));
    assert_eq!(answer(&mut hosts, &third), Some(Syndrome::Nak(NakCode::PsnSequenceError)));
    let query = hosts[1].core.query_qp(hosts[1].qp).expect("there");
    assert_eq!(query.rq_psn, first_psn().plus(1));
}

#[test]
fn a_full_completion_queue_ends_its_queue_pair() {
    let mut hosts = two();
    let number = hosts[1].qp.0;
    let queue = hosts[1].recv_cq.0;
    for round in 0..5 {
        for id in 0..16 {
            if hosts[1].state() == State::Err {
                break;
            }
            let receive = hosts[1].receive_into(id, 0, 64);
            hosts[1].post_receive(NOW, &receive);
            let entry = send(&hosts[0], WrOpcode::Send, 0, 8);
            hosts[0].post_send(NOW, &entry);
        }
        exchange(&mut hosts, NOW + Duration::from_micros(round));
    }
    assert_eq!(hosts[1].state(), State::Err);
    let events = hosts[1].events();
    assert_eq!(events, [Event::CqErr(queue), Event::QpFatal(number)]);
}

#[test]
fn a_shared_queue_tells_when_it_runs_low() {
    let mut hosts = linked(&Link { shared: true, ..Link::default() });
    let srq = hosts[1].srq.expect("it has one");
    hosts[1].core.modify_srq(srq, 2).expect("there");
    for id in 0..3 {
        let receive = hosts[1].receive_into(id, 0, 64);
        hosts[1].post_receive(NOW, &receive);
    }
    for _ in 0..3 {
        let entry = send(&hosts[0], WrOpcode::Send, 0, 8);
        hosts[0].post_send(NOW, &entry);
    }
    exchange(&mut hosts, NOW);
    assert_eq!(hosts[1].events(), [Event::SrqLimitReached(srq.0)]);
    let failed = Attributes { qp_state: State::Err, ..Attributes::default() };
    hosts[1].modify(&failed, AttrMask::STATE);
    let number = hosts[1].qp.0;
    assert_eq!(hosts[1].events(), [Event::QpLastWqeReached(number)]);
    assert_eq!(hosts[1].core.destroy_srq(srq), Err(CoreError::Busy));
}

#[test]
fn strangers_cannot_end_a_datagram_queue_pair() {
    let mut hosts = linked(&Link { kind: QpKind::Ud, ..Link::default() });
    let receive = hosts[1].receive_into(3, 0, 48);
    hosts[1].post_receive(NOW, &receive);
    let mut check = |queue_key, length: usize| {
        let body = Body::Datagram(Deth { queue_key, source: 5 }, None);
        let packet = forged(&hosts, Service::Ud, Psn::new(99), &body, &vec![7; length]);
        let host = &mut hosts[1];
        host.core.receive(NOW, &packet, &mut host.memory)
    };
    assert_eq!(check(QUEUE_KEY ^ 1, 8), Err(Dropped::QueueKey));
    assert_eq!(check(QUEUE_KEY, 9), Err(Dropped::NoReceive));
    assert_eq!(check(QUEUE_KEY, 8), Ok(()));
    assert_eq!(check(QUEUE_KEY, 8), Err(Dropped::NoReceive));
    let host = &mut hosts[1];
    let received = host.completions(host.recv_cq);
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].src_qp, received[0].byte_len), (5, 48));
    assert_eq!(host.memory.0[40..48], [7; 8]);
    assert_eq!(host.state(), State::Rts);
}

#[test]
fn what_is_reset_leaves_nothing() {
    let mut hosts = two();
    let write = remote(&hosts, WrOpcode::RdmaWrite, 0, 0, 8);
    hosts[0].post_send(NOW, &write);
    exchange(&mut hosts, NOW);
    hosts[0].post_send(NOW, &write);
    let reset = Attributes { qp_state: State::Reset, ..Attributes::default() };
    hosts[0].modify(&reset, AttrMask::STATE);
    assert_eq!(statuses(&mut hosts[0]), []);
    assert_eq!(exchange(&mut hosts, NOW), 0);
    let [a, b] = &mut hosts;
    a.connect(b.address, b.qp, &Link { psn: 0x00ff_fffe, ..Link::default() });
    a.post_send(NOW, &write);
    exchange(&mut hosts, NOW);
    assert_eq!(statuses(&mut hosts[0]), [WcStatus::Success]);
}

#[test]
fn what_is_used_is_not_taken_away() {
    let mut host = Host::new(1, 64, 4, &Link::default());
    assert_eq!(host.core.dealloc_pd(host.domain), Err(CoreError::Busy));
    assert_eq!(host.core.destroy_cq(host.send_cq), Err(CoreError::Busy));
    assert_eq!(host.core.destroy_qp(host.qp), Ok(()));
    assert_eq!(host.core.destroy_qp(host.qp), Err(CoreError::Unknown));
    assert_eq!(host.core.destroy_cq(host.send_cq), Ok(()));
    assert_eq!(host.core.dealloc_pd(host.domain), Err(CoreError::Busy));
    assert!(host.core.dereg_mr(host.key, host.domain).is_ok());
    assert_eq!(host.core.dealloc_pd(host.domain), Ok(()));
}

#[test]
fn there_is_one_queue_pair_of_the_general_services() {
    let mut host = Host::new(1, 64, 4, &Link::default());
    let init = QpInit {
        kind: QpKind::Gsi,
        domain: host.domain,
        send_cq: host.send_cq,
        recv_cq: host.recv_cq,
        srq: None,
        max_send_wr: 4,
        max_recv_wr: 4,
        sq_sig_all: false,
    };
    assert_eq!(host.core.create_qp(init), Ok(QpNumber(GENERAL_SERVICES)));
    assert_eq!(host.core.create_qp(init), Err(CoreError::Busy));
    assert_eq!(host.core.destroy_qp(QpNumber(GENERAL_SERVICES)), Ok(()));
    assert_eq!(host.core.create_qp(init), Ok(QpNumber(GENERAL_SERVICES)));
}

#[test]
fn congestion_is_told_to_whoever_causes_it() {
    let mut hosts = two();
    let reth = Reth { address: BASE, key: hosts[1].key.0, length: 4 };
    let bth = Bth { psn: first_psn(), fecn: true, ..base(&hosts) };
    let packet = forged_with(&hosts, Service::Rc, &bth, &Body::WriteOnly(reth, None), &[9; 4]);
    give(&mut hosts[1], NOW, &packet);
    exchange(&mut hosts, NOW);
    assert_eq!(hosts[1].core.counters().notifications_sent, 1);
    assert_eq!(hosts[0].core.counters().notifications_received, 1);
}
