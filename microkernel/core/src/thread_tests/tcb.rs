//! Invocations of threads (manual, chapter 6 and 10.3.9).

use crate::cap::{Asid, Cap};
use crate::kernel::{Event, Next};
use crate::memory::{Link, PhysAddr, Ref};
use crate::objects::{AsidPool, Tcb, TcbSlot, ThreadState};
use crate::thread_bench::{Bench, SPARE_VECTOR};
use d3os_abi::{CNodeCapData, CapRights, Label, REGISTERS, Syscall};

/// A bench with a running thread of priority 50 and a stopped one of 40, with its capability.
fn setup() -> (Bench, Ref<Tcb>, Ref<Tcb>, u64) {
    let mut bench = Bench::new();
    let main = bench.running(50);
    let other = bench.thread(40);
    let cptr = bench.thread_cap(other);
    (bench, main, other, cptr)
}

#[test]
fn registers_are_read_as_they_were_written() {
    let (mut bench, main, other, cptr) = setup();
    let mut words = vec![0, REGISTERS as u64];
    words.extend((0..REGISTERS as u64).map(|index| 0x1000 + index));
    words[2 + 2] = 0xd5; // the flags' arithmetic bits
    assert_eq!(bench.invoke(main, cptr, Label::TcbWriteRegisters, &words, &[]).label, 0);
    assert_eq!(bench.registers(other).rip, 0x1000);
    assert_eq!(bench.registers(other).full_frame, 1);
    let answer = bench.invoke(main, cptr, Label::TcbReadRegisters, &[0, 20], &[]);
    assert_eq!((answer.label, answer.length), (0, 20));
    words[2 + 2] = 0x2d7;
    assert_eq!(bench.words(main, 20), words[2..]);
}

#[test]
fn only_as_many_registers_as_asked_for() {
    let (mut bench, main, other, cptr) = setup();
    let words = [0, 2, 0x5000, 0x6000, u64::MAX];
    assert_eq!(bench.invoke(main, cptr, Label::TcbWriteRegisters, &words, &[]).label, 0);
    assert_eq!((bench.registers(other).rip, bench.registers(other).rsp), (0x5000, 0x6000));
    assert_eq!(bench.registers(other).rflags, 0x202);
    assert_eq!(bench.invoke(main, cptr, Label::TcbReadRegisters, &[0, 3], &[]).length, 3);
    for count in [0, 21] {
        let answer = bench.invoke(main, cptr, Label::TcbReadRegisters, &[0, count], &[]);
        assert_eq!((answer.label, answer.words[0], answer.words[1]), (4, 1, 20));
    }
    assert_eq!(bench.invoke(main, cptr, Label::TcbWriteRegisters, &[0, 3, 1, 2], &[]).label, 7);
    let own = bench.thread_cap(main);
    assert_eq!(bench.invoke(main, own, Label::TcbReadRegisters, &[0, 3], &[]).label, 3);
    assert_eq!(bench.invoke(main, own, Label::TcbWriteRegisters, &[0, 0], &[]).label, 3);
}

#[test]
fn registers_are_copied_by_group() {
    let (mut bench, main, other, cptr) = setup();
    let source = bench.thread(40);
    let source_cap = bench.thread_cap(source);
    let context = bench.registers(source);
    (context.fault_ip, context.rax, context.fs_base) = (0x7000, 5, 0x9000);
    let answer = bench.invoke(main, cptr, Label::TcbCopyRegisters, &[4], &[source_cap]);
    assert_eq!(answer.label, 0);
    let context = *bench.registers(other);
    assert_eq!((context.rip, context.rax, context.fs_base), (0x7000, 5, 0));
    bench.invoke(main, cptr, Label::TcbCopyRegisters, &[8], &[source_cap]);
    assert_eq!(bench.registers(other).fs_base, 0x9000);
    let endpoint = bench.endpoint();
    let wrong = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let answer = bench.invoke(main, cptr, Label::TcbCopyRegisters, &[0], &[wrong]);
    assert_eq!((answer.label, answer.words[0]), (2, 1));
}

#[test]
fn priorities_are_bounded_by_the_authority() {
    let (mut bench, main, other, cptr) = setup();
    bench.kernel.get_mut(main).mcp = 80;
    let authority = bench.thread_cap(main);
    let answer = bench.invoke(main, cptr, Label::TcbSetPriority, &[81], &[authority]);
    assert_eq!((answer.label, answer.words[0], answer.words[1]), (4, 0, 80));
    let answer = bench.invoke(main, cptr, Label::TcbSetMcPriority, &[256], &[authority]);
    assert_eq!(answer.label, 4);
    assert_eq!(bench.invoke(main, cptr, Label::TcbSetPriority, &[80], &[authority]).label, 0);
    assert_eq!(bench.invoke(main, cptr, Label::TcbSetMcPriority, &[70], &[authority]).label, 0);
    assert_eq!((bench.kernel.get(other).priority, bench.kernel.get(other).mcp), (80, 70));
    assert_eq!(bench.invoke(main, cptr, Label::TcbSetPriority, &[80], &[]).label, 7);
    let endpoint = bench.endpoint();
    let wrong = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let answer = bench.invoke(main, cptr, Label::TcbSetPriority, &[1], &[wrong]);
    assert_eq!((answer.label, answer.words[0]), (2, 1));
}

#[test]
fn a_thread_that_lowers_itself_is_preempted() {
    let (mut bench, main, ..) = setup();
    let other = bench.running(45);
    let own = bench.thread_cap(main);
    bench.prepare(main, Label::TcbSetPriority.number(), &[44], &[own]);
    bench.registers(main).rdi = own;
    bench.syscall(main, Syscall::Call);
    bench.assert_runs(other);
}

#[test]
fn scheduling_parameters_give_time_and_a_handler() {
    let (mut bench, main, other, cptr) = setup();
    let authority = bench.thread_cap(main);
    let context = bench.budget(1000, 5000);
    let context_cap = bench.give(Cap::SchedContext { object: context, size_bits: 9 });
    let endpoint = bench.endpoint();
    let handler = bench.endpoint_cap(endpoint, 5, CapRights::ALL);
    let weak = bench.endpoint_cap(endpoint, 5, CapRights::WRITE);
    let mut set = |caps: &[u64]| bench.invoke(main, cptr, Label::TcbSetSchedParams, &[9, 30], caps);
    assert_eq!(set(&[authority, context_cap]).label, 7);
    let answer = set(&[authority, handler, handler]);
    assert_eq!((answer.label, answer.words[0]), (2, 2));
    let answer = set(&[authority, context_cap, weak]);
    assert_eq!((answer.label, answer.words[0]), (2, 3));
    assert_eq!(set(&[authority, context_cap, handler]).label, 0);
    assert_eq!(set(&[authority, context_cap, handler]).label, 3, "it has one already");
    let tcb = bench.kernel.get(other);
    assert_eq!((tcb.mcp, tcb.priority, tcb.sched_context), (9, 30, Link::to(context)));
    let slot = crate::Kernel::<crate::simulation::SimulatedMachine>::tcb_slot(
        other,
        TcbSlot::FaultHandler,
    );
    assert!(matches!(bench.kernel.cap_at(slot), Cap::Endpoint { badge: 5, .. }));
    // Null takes both away again.
    let null = bench.empty();
    let caps = [authority, null, null];
    assert_eq!(bench.invoke(main, cptr, Label::TcbSetSchedParams, &[9, 30], &caps).label, 0);
    assert_eq!(bench.time_of(other), Link::NONE);
    assert_eq!(bench.kernel.cap_at(slot), Cap::Null);
}

#[test]
fn suspend_and_resume() {
    let (mut bench, main, ..) = setup();
    let other = bench.running(60);
    bench.registers(other).rip = 0x1234;
    let cptr = bench.thread_cap(other);
    let notification = bench.notification();
    let notification = bench.notification_cap(notification, 1);
    bench.wait(other, notification);
    bench.assert_runs(main);
    assert_eq!(bench.invoke(main, cptr, Label::TcbSuspend, &[], &[]).label, 0);
    assert_eq!(bench.state(other), ThreadState::INACTIVE);
    bench.prepare(main, Label::TcbResume.number(), &[], &[]);
    bench.registers(main).rdi = cptr;
    bench.syscall(main, Syscall::Call);
    // The system call that was interrupted is repeated.
    bench.assert_runs(other);
    assert_eq!(bench.registers(other).rip, 0x1234);
    // A thread suspended in user mode goes on where it was.
    bench.registers(other).rip = 0x4444;
    bench.kernel.suspend(other);
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(main);
    bench.kernel.resume(other);
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(other);
    assert_eq!(bench.registers(other).rip, 0x4444);
}

#[test]
fn configure_sets_spaces_and_buffer() {
    let (mut bench, main, other, cptr) = setup();
    let pool: Ref<AsidPool> = Ref::at(PhysAddr(crate::simulation::RAM_BASE + 0x30_0000));
    let root = Ref::at(PhysAddr(crate::simulation::RAM_BASE + 0x30_1000));
    bench.kernel.asid_pools[0] = Link::to(pool);
    bench.kernel.get_mut(pool).roots[7] = Link::to(root);
    let vspace = bench.give(Cap::VSpace { root, asid: Some(Asid(7)) });
    let unmapped = bench.give(Cap::VSpace { root, asid: None });
    let cnode = bench.cnode_cap();
    let Cap::Frame { base, size, rights, .. } =
        bench.kernel.get(main).slots[TcbSlot::IpcBuffer as usize].cap()
    else {
        panic!("a thread of the bench has a buffer")
    };
    let frame = bench.give(Cap::Frame { base, size, rights, device: false, mapping: None });
    let device = bench.give(Cap::Frame { base, size, rights, device: true, mapping: None });
    let guard = CNodeCapData::new(0, 50).0;
    let mut configure = |words: &[u64], caps: &[u64]| {
        bench.invoke(main, cptr, Label::TcbConfigure, words, caps).label
    };
    assert_eq!(configure(&[guard, 0], &[cnode, vspace, frame]), 7);
    assert_eq!(configure(&[guard, 0, 0x400], &[cnode, vspace]), 7);
    assert_eq!(configure(&[guard, 0, 0x401], &[cnode, vspace, frame]), 5);
    assert_eq!(configure(&[guard, 0, 0x400], &[cnode, vspace, device]), 3);
    assert_eq!(configure(&[guard, 0, 0x400], &[vspace, vspace, frame]), 3);
    assert_eq!(configure(&[guard, 0, 0x400], &[cnode, unmapped, frame]), 3);
    // A guard of 60 bits and ten of the radix are more than an address has.
    assert_eq!(configure(&[CNodeCapData::new(0, 60).0, 0, 0x400], &[cnode, vspace, frame]), 3);
    assert_eq!(configure(&[guard, 0, 0x400], &[cnode, vspace, frame]), 0);
    let tcb = bench.kernel.get(other);
    assert!(matches!(tcb.slots[0].cap(), Cap::CNode { guard_size: 50, radix: 10, .. }));
    assert_eq!(tcb.slots[1].cap(), Cap::VSpace { root, asid: Some(Asid(7)) });
    assert_eq!(tcb.ipc_buffer, base.offset(0x400));
    // The buffer is gone with the capability to its frame, or by address zero.
    assert!(bench.kernel.ipc_buffer(other).is_some());
    let answer = bench.invoke(main, cptr, Label::TcbSetIpcBuffer, &[0], &[frame]);
    assert_eq!(answer.label, 0);
    assert!(bench.kernel.ipc_buffer(other).is_none());
    // The address space is active when the thread runs.
    let context = bench.budget(1000, 1000);
    bench.kernel.set_priority(other, 99);
    bench.kernel.donate(context, other);
    bench.kernel.resume(other);
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(other);
    assert_eq!(bench.kernel.machine.address_space, root.address());
}

#[test]
fn thread_local_storage_and_flags() {
    let (mut bench, main, other, cptr) = setup();
    assert_eq!(bench.invoke(main, cptr, Label::TcbSetTlsBase, &[0x1_2345_6000], &[]).label, 0);
    assert_eq!(bench.registers(other).fs_base, 0x1_2345_6000);
    let answer = bench.invoke(main, cptr, Label::TcbSetFlags, &[0, u64::MAX], &[]);
    assert_eq!((answer.length, answer.words[0]), (1, 1));
    let answer = bench.invoke(main, cptr, Label::TcbSetFlags, &[1, 0], &[]);
    assert_eq!(answer.words[0], 0);
    // The system call is for oneself.
    bench.registers(main).rdi = 0x7777_0000;
    bench.syscall(main, Syscall::SetTLSBase);
    assert_eq!(bench.registers(main).fs_base, 0x7777_0000);
    bench.registers(main).rdi = 1 << 63;
    bench.syscall(main, Syscall::SetTLSBase);
    assert_eq!(bench.registers(main).fs_base, 0);
}

#[test]
fn wrong_labels_are_illegal() {
    let (mut bench, main, _, cptr) = setup();
    let (_, context) = bench.context();
    let control = bench.control;
    let domain = bench.give(Cap::Domain);
    for cptr in [cptr, context, control, domain] {
        for label in [0, Label::UntypedRetype.number(), 59, 12345] {
            bench.prepare(main, label, &[0; 6], &[]);
            bench.registers(main).rdi = cptr;
            bench.syscall(main, Syscall::Call);
            assert_eq!(bench.received(main).label, 3, "{label} on {cptr}");
        }
    }
    let empty = bench.empty();
    bench.call(main, empty, 0, &[]);
    assert_eq!(bench.received(main).label, 2);
}

#[test]
fn deleting_a_thread_stops_it() {
    let (mut bench, main, ..) = setup();
    let other = bench.running(60);
    let cptr = bench.thread_cap(other);
    bench.kernel.delete(bench.slot(cptr)).unwrap();
    assert_eq!(bench.enter(Event::Interrupt(SPARE_VECTOR)), Next::Thread(main));
    assert_eq!(bench.time_of(other), Link::NONE);
}
