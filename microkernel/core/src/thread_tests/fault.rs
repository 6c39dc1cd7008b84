//! Faults and timeouts: their messages, and what answers do (manual, chapter 6.2).

use crate::cap::Cap;
use crate::kernel::Event;
use crate::memory::{Link, Ref};
use crate::objects::{Tcb, TcbSlot, ThreadState};
use crate::thread_bench::Bench;
use d3os_abi::{CapRights, FaultLabel, Syscall};

const IP: u64 = 0x40_1000;

struct Setup {
    bench: Bench,
    handler: Ref<Tcb>,
    endpoint: u64,
    reply: u64,
    thread: Ref<Tcb>,
}

/// A handler of priority 100 that waits, and a thread of priority 50 whose faults it gets.
fn setup(slot: TcbSlot) -> Setup {
    let mut bench = Bench::new();
    let object = bench.endpoint();
    let endpoint = bench.endpoint_cap(object, 0, CapRights::ALL);
    let (_, reply) = bench.reply();
    let handler = bench.running(100);
    bench.receive(handler, endpoint, reply);
    let thread = bench.running_on(50, 1000, 10_000);
    bench.set_slot(thread, slot, Cap::Endpoint { object, badge: 6, rights: CapRights::ALL });
    let context = bench.registers(thread);
    context.rip = IP;
    context.fault_ip = IP;
    Setup { bench, handler, endpoint, reply, thread }
}

impl Setup {
    fn answer(&mut self, label: u64, words: &[u64]) {
        self.bench.reply_receive(self.handler, self.endpoint, self.reply, label, words);
    }

    fn message(&self, length: usize) -> Vec<u64> {
        self.bench.words(self.handler, length)
    }

    #[track_caller]
    fn assert_fault(&mut self, label: FaultLabel, length: usize) {
        self.bench.assert_runs(self.handler);
        let got = self.bench.received(self.handler);
        assert_eq!((got.badge, got.label, got.length), (6, label as u64, length));
        assert_eq!(self.bench.state(self.thread), ThreadState::BLOCKED_ON_REPLY);
    }
}

#[test]
fn page_fault() {
    let mut s = setup(TcbSlot::FaultHandler);
    s.bench.enter(Event::PageFault { address: 0x0dea_d000, error_code: 0x14 });
    s.assert_fault(FaultLabel::VmFault, 4);
    assert_eq!(s.message(4), [IP, 0x0dea_d000, 1, 0x14]);
    s.answer(0, &[]);
    s.bench.assert_runs(s.thread);
    assert_eq!(s.bench.registers(s.thread).rip, IP);
    s.bench.enter(Event::PageFault { address: 8, error_code: 6 });
    assert_eq!(s.message(4), [IP, 8, 0, 6]);
}

#[test]
fn user_exception_may_be_answered_with_registers() {
    let mut s = setup(TcbSlot::FaultHandler);
    s.bench.registers(s.thread).rsp = 0x7000;
    s.bench.registers(s.thread).rflags = 0x246;
    s.bench.enter(Event::Exception { vector: 13, error_code: 0x50 });
    s.assert_fault(FaultLabel::UserException, 5);
    assert_eq!(s.message(5), [IP, 0x7000, 0x246, 13, 0x50]);
    s.answer(0, &[0x5000, 0x6000, u64::MAX]);
    s.bench.assert_runs(s.thread);
    let context = *s.bench.registers(s.thread);
    assert_eq!((context.rip, context.rsp, context.full_frame), (0x5000, 0x6000, 1));
    assert_eq!(context.rflags & 0x3_7000, 0, "IOPL, NT, RF, VM");
    // A label other than zero leaves it stopped.
    s.bench.enter(Event::Exception { vector: 0, error_code: 0 });
    s.answer(1, &[]);
    assert_eq!(s.bench.state(s.thread), ThreadState::INACTIVE);
}

#[test]
fn unknown_system_call_shows_and_takes_every_register() {
    let mut s = setup(TcbSlot::FaultHandler);
    let context = s.bench.registers(s.thread);
    (context.rax, context.rbx, context.rcx, context.rdx) = (1, 2, 3, 4);
    (context.rsi, context.rdi, context.rbp) = (5, 6, 7);
    (context.r8, context.r9, context.r10, context.r11) = (8, 9, 10, 11);
    (context.r12, context.r13, context.r14, context.r15) = (12, 13, 14, 15);
    (context.rip, context.rsp) = (IP + 2, 17);
    s.bench.enter(Event::Syscall(-99));
    s.assert_fault(FaultLabel::UnknownSyscall, 19);
    let mut expected: Vec<u64> = (1..=15).collect();
    expected.extend([IP, 17, 0x202, (-99_i64).cast_unsigned()]);
    assert_eq!(s.message(19), expected);
    let mut answer: Vec<u64> = (101..=115).collect();
    answer.extend([IP + 2, 0x9000, 0x202]);
    s.answer(0, &answer);
    s.bench.assert_runs(s.thread);
    let context = *s.bench.registers(s.thread);
    assert_eq!((context.rax, context.rdi, context.r8, context.r15), (101, 106, 108, 115));
    assert_eq!((context.rip, context.rsp, context.full_frame), (IP + 2, 0x9000, 1));
}

#[test]
fn capability_faults_tell_phase_and_reason() {
    let mut s = setup(TcbSlot::FaultHandler);
    s.bench.registers(s.thread).rdi = 1 << 30;
    s.bench.registers(s.thread).r12 = 0;
    s.bench.syscall(s.thread, Syscall::Send);
    // A guard of 54 zero bits meets a one: kind 4, bits left, guard, guard's bits.
    s.assert_fault(FaultLabel::Cap, 7);
    assert_eq!(s.message(7), [IP, 1 << 30, 0, 4, 64, 0, 54]);
    s.answer(0, &[]);
    // The system call is repeated; receiving from an empty slot is a fault as well.
    s.bench.assert_runs(s.thread);
    assert_eq!(s.bench.registers(s.thread).rip, IP);
    let empty = s.bench.empty();
    s.bench.wait(s.thread, empty);
    s.assert_fault(FaultLabel::Cap, 5);
    assert_eq!(s.message(5), [IP, empty, 1, 2, 0]);
}

#[test]
fn a_send_that_does_not_block_does_not_fault() {
    let mut s = setup(TcbSlot::FaultHandler);
    s.bench.registers(s.thread).rdi = 1 << 30;
    s.bench.syscall(s.thread, Syscall::NBSend);
    s.bench.assert_runs(s.thread);
}

#[test]
fn without_a_handler_a_fault_stops_the_thread() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    bench.enter(Event::PageFault { address: 0, error_code: 4 });
    assert_eq!(bench.state(thread), ThreadState::INACTIVE);
}

#[test]
fn a_passive_handler_runs_on_the_time_of_the_thread_that_faulted() {
    let mut s = setup(TcbSlot::FaultHandler);
    let own = s.bench.time_of(s.handler).get().unwrap();
    s.bench.kernel.take_from_thread(own);
    let time = s.bench.time_of(s.thread);
    s.bench.enter(Event::PageFault { address: 0, error_code: 4 });
    s.assert_fault(FaultLabel::VmFault, 4);
    assert_eq!(s.bench.time_of(s.handler), time);
    s.answer(0, &[]);
    s.bench.assert_runs(s.thread);
    assert_eq!((s.bench.time_of(s.thread), s.bench.time_of(s.handler)), (time, Link::NONE));
}

#[test]
fn a_fault_waits_for_a_busy_handler() {
    let mut s = setup(TcbSlot::FaultHandler);
    let endpoint = match s.bench.kernel.cap_at(s.bench.slot(s.endpoint)) {
        Cap::Endpoint { object, .. } => object,
        other => panic!("{other:?}"),
    };
    let other = s.bench.running(40);
    s.bench.set_slot(
        other,
        TcbSlot::FaultHandler,
        Cap::Endpoint { object: endpoint, badge: 8, rights: CapRights::ALL },
    );
    s.bench.enter(Event::PageFault { address: 0, error_code: 4 });
    // The handler goes to sleep elsewhere for a while; the other thread faults meanwhile.
    let notification = s.bench.notification();
    let cptr = s.bench.notification_cap(notification, 1);
    s.bench.wait(s.handler, cptr);
    s.bench.assert_runs(other);
    s.bench.enter(Event::Exception { vector: 6, error_code: 0 });
    assert_eq!(s.bench.state(other), ThreadState::BLOCKED_ON_SEND);
    s.bench.kernel.signal(notification, 1);
    s.bench.enter(Event::Timer);
    s.answer(0, &[]);
    s.bench.assert_runs(s.handler);
    let got = s.bench.received(s.handler);
    assert_eq!((got.badge, got.label), (8, FaultLabel::UserException as u64));
}

#[test]
fn a_timeout_reaches_its_handler_and_is_answered_with_registers() {
    let mut s = setup(TcbSlot::TimeoutHandler);
    let context = s.bench.time_of(s.thread).get().unwrap();
    s.bench.kernel.get_mut(context).badge = 99;
    s.bench.run_for(1500);
    s.assert_fault(FaultLabel::Timeout, 2);
    assert_eq!(s.message(2), [99, 1000]);
    // The thread's budget is used up, so after the answer it waits for the next period.
    let mut registers = vec![IP + 8, 0x8000, 0x202];
    registers.extend(1..=16);
    s.answer(0, &registers);
    assert_ne!(s.bench.next, crate::Next::Thread(s.thread));
    s.bench.run_for(10_000);
    assert!(s.bench.registers(s.thread).rsp == 0x8000 && s.bench.registers(s.thread).rip == IP + 8);
    assert_eq!(s.bench.registers(s.thread).rax, 1);
    assert_eq!(s.bench.registers(s.thread).fs_base, 16);
}

#[test]
fn a_caller_answered_after_its_budget_ran_out_times_out() {
    let mut s = setup(TcbSlot::TimeoutHandler);
    let endpoint = s.bench.endpoint();
    let cptr = s.bench.endpoint_cap(endpoint, 1, CapRights::ALL);
    let (_, reply) = s.bench.reply();
    let server = s.bench.running(60);
    s.bench.receive(server, cptr, reply);
    s.bench.assert_runs(s.thread);
    s.bench.call(s.thread, cptr, 0, &[]);
    s.bench.assert_runs(server);
    // Meanwhile the caller's budget is taken away from under it.
    let context = s.bench.time_of(s.thread).get().unwrap();
    s.bench.kernel.charge_refills(context, 1000 * crate::thread_bench::US);
    s.bench.reply_receive(server, cptr, reply, 7, &[]);
    s.assert_fault(FaultLabel::Timeout, 2);
    // Its call is complete; it goes on behind it when the handler lets it.
    s.answer(0, &[]);
    s.bench.run_for(20_000);
    assert_eq!(s.bench.received(s.thread).label, 7);
    assert_eq!(s.bench.registers(s.thread).rip, IP + 2);
}
