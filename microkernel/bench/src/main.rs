//! The root task that `cargo xtask bench kernel` counts: it repeats each operation of
//! [`Operation`] between marks, then carries out each [`LongOperation`], and prints nothing unless
//! something goes wrong.
//!
//! An operation is repeated N and then 2N times, so that what the difference of both counts tells is
//! free of what happens once. The first loop ends where the second begins: three marks an operation.
//! Peers run in an address space of their own. The system calls are those that every program makes.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod capabilities;
mod crowd;
mod deep;
mod devices;
mod long;
#[expect(unsafe_code, reason = "faults on purpose, and makes system calls of its own")]
mod machine;
mod messages;
mod peer;
mod signals;
mod spaces;

use kernel_workbench::{TCB, Workbench};
use libd3os::abi::BootInfo;
use libd3os::cap::Error;
use libd3os::mark::{LongOperation, Operation, Phase, mark};

libd3os::root! { main: run, heap: 512 << 10, stack: 64 << 10 }

/// Rounds of the first loop.
const ROUNDS: u32 = 10_000;

fn run(boot: &'static BootInfo) -> Result<(), Error> {
    let mut bench = Workbench::new(boot, 0);
    for operation in Operation::ALL {
        measure(&mut bench, operation)?;
        bench.reset()?;
    }
    mark(Phase::Measured);
    for operation in LongOperation::ALL {
        TCB.set_priority(TCB, long::PRIORITY)?;
        long::measure(&mut bench, operation)?;
        bench.reset()?;
    }
    mark(Phase::LongMeasured);
    Ok(())
}

fn measure(bench: &mut Workbench, operation: Operation) -> Result<(), Error> {
    match operation {
        Operation::Call0 => messages::call(bench, 0),
        Operation::Call4 => messages::call(bench, 4),
        Operation::Call10 => messages::call(bench, 10),
        Operation::Call120 => messages::call(bench, 120),
        Operation::SignalWait => signals::signal_wait(bench),
        Operation::PingPong => signals::ping_pong(bench),
        Operation::Yield => signals::yield_alone(),
        Operation::MapUnmap => capabilities::map_unmap(bench),
        Operation::Fault => messages::fault(bench),
        Operation::Interrupt => devices::interrupt(bench),
        Operation::CopyDelete => capabilities::copy_delete(bench),
        Operation::RetypeEndpoint => capabilities::retype_endpoint(bench),
        Operation::RetypeFrame => capabilities::retype_frame(bench),
    }
}

/// Repeats `round` between marks.
#[inline(always)]
fn laps(mut round: impl FnMut()) {
    round();
    mark(Phase::Lap);
    for _ in 0..ROUNDS {
        round();
    }
    mark(Phase::Lap);
    for _ in 0..2 * ROUNDS {
        round();
    }
    mark(Phase::Lap);
}

/// As [`laps`], for what can be refused.
#[inline(always)]
fn checked_laps(mut round: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let mut result = Ok(());
    laps(|| {
        if let Err(error) = round() {
            result = Err(error);
        }
    });
    result
}
