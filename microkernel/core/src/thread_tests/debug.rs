//! The Debug* system calls.

use crate::kernel::Event;
use crate::objects::ThreadState;
use crate::thread_bench::Bench;
use d3os_abi::{CapRights, Syscall};

#[test]
fn characters_reach_the_console() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    for byte in b"hi" {
        bench.registers(thread).rdi = u64::from(*byte);
        bench.syscall(thread, Syscall::DebugPutChar);
    }
    assert_eq!(bench.kernel.machine.console, b"hi");
}

#[test]
fn capabilities_tell_their_type() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    let (endpoint, empty) = (bench.endpoint(), bench.empty());
    let cptr = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let own = bench.thread_cap(thread);
    for (cptr, expected) in [(cptr, 4), (own, 12), (empty, 0), (1 << 40, 0)] {
        bench.registers(thread).rdi = cptr;
        bench.syscall(thread, Syscall::DebugCapIdentify);
        assert_eq!(bench.registers(thread).rdi, expected);
    }
}

#[test]
fn a_named_thread_is_told_by_name_when_it_stops() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    let own = bench.thread_cap(thread);
    let word = u64::from_le_bytes(*b"worker\0x");
    // The name lies in the buffer, also its first words.
    bench.set_buffer_word(thread, 0, word);
    bench.registers(thread).rdi = own;
    bench.syscall(thread, Syscall::DebugNameThread);
    assert_eq!(bench.kernel.thread_name(thread), b"worker");
    bench.enter(Event::PageFault { address: 0x10, error_code: 4 });
    assert_eq!(bench.state(thread), ThreadState::INACTIVE);
    let console = String::from_utf8(bench.kernel.machine.console.clone()).unwrap();
    assert!(console.contains("\"worker\"") && console.contains("no handler"), "{console}");
}

#[test]
fn dumps_show_what_is_there() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    bench.running(40);
    bench.syscall(thread, Syscall::DebugDumpScheduler);
    let console = String::from_utf8(bench.kernel.machine.console.clone()).unwrap();
    assert_eq!(console.lines().count(), 2, "{console}");
    bench.kernel.machine.console.clear();
    bench.syscall(thread, Syscall::DebugSnapshot);
    let console = String::from_utf8(bench.kernel.machine.console.clone()).unwrap();
    assert!(console.contains("SchedControl"), "{console}");
}
