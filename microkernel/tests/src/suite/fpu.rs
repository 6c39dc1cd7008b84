//! FPU registers belong to threads.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::FaultLabel;
use libd3os::cap::{Bandwidth, Capability};
use libd3os::sys;

use super::tests;
use crate::arena::Arena;
use crate::check::{Outcome, check_eq};
use crate::machine::{self, FpuValues};
use crate::worker::{Options, Worker};

tests![
    registers_survive_a_yield,
    registers_survive_preemption,
    registers_of_a_new_thread_are_clean,
    a_thread_without_the_fpu_faults,
];

/// Rounding towards zero, exceptions masked.
const TOWARDS_ZERO: u32 = 0x7f80;

fn values(number: u64) -> FpuValues {
    let mxcsr = if number.is_multiple_of(2) { 0x1f80 } else { TOWARDS_ZERO };
    FpuValues::new(number * 0x1111_1111, !number, mxcsr)
}

/// Whether all of `count` threads kept their registers over `through`.
fn all_keep(
    arena: &mut Arena,
    count: u64,
    through: impl Fn(FpuValues) -> FpuValues + Clone + 'static,
) -> Outcome {
    let kept = Arc::new(AtomicU64::new(0));
    let mut workers = alloc::vec::Vec::new();
    for number in 1..=count {
        let (kept, through) = (Arc::clone(&kept), through.clone());
        workers.push(arena.worker(100, move |_| {
            let same = (0..20).filter(|_| through(values(number)) == values(number)).count();
            kept.fetch_add(same as u64, Ordering::Relaxed);
        })?);
    }
    workers.into_iter().for_each(Worker::join);
    check_eq!(kept.load(Ordering::Relaxed), 20 * count);
    Ok(())
}

fn registers_survive_a_yield(arena: &mut Arena) -> Outcome {
    all_keep(arena, 5, machine::fpu_over_yield)
}

/// A thread that spins until another, which uses the same registers, has set a flag.
fn registers_survive_preemption(arena: &mut Arena) -> Outcome {
    let flag = Arc::new(AtomicU64::new(0));
    let results = Arc::new(AtomicU64::new(0));
    let (seen, count) = (Arc::clone(&flag), Arc::clone(&results));
    let turn = Bandwidth { budget_us: 1000, period_us: 1000, ..Bandwidth::default() };
    let options = Options { bandwidth: Some(turn), ..Options::priority(100) };
    let spinner = arena.spawn(options, move |_| {
        let same = machine::fpu_over_spin(values(1), &seen) == values(1);
        count.fetch_add(u64::from(same), Ordering::Relaxed);
    })?;
    let setter = arena.worker(100, move |_| {
        machine::fpu_over_yield(values(2));
        flag.store(1, Ordering::Relaxed);
    })?;
    spinner.join();
    setter.join();
    check_eq!(results.load(Ordering::Relaxed), 1);
    Ok(())
}

fn registers_of_a_new_thread_are_clean(arena: &mut Arena) -> Outcome {
    let dirty = arena.worker(100, |_| {
        machine::fpu_over_yield(values(3));
    })?;
    dirty.join();
    let seen = Arc::new([AtomicU64::new(1), AtomicU64::new(1)]);
    let tell = Arc::clone(&seen);
    let clean = arena.worker(100, move |_| {
        let found = machine::fpu_now();
        tell[0].store(found.xmm0 | found.xmm15, Ordering::Relaxed);
        tell[1].store(found.mxcsr.into(), Ordering::Relaxed);
    })?;
    clean.join();
    check_eq!(seen[0].load(Ordering::Relaxed), 0, "another thread's values");
    check_eq!(seen[1].load(Ordering::Relaxed), 0x1f80, "MXCSR");
    Ok(())
}

fn a_thread_without_the_fpu_faults(arena: &mut Arena) -> Outcome {
    let (faults, reply) = (arena.endpoint()?, arena.reply()?);
    let options = Options { start: false, ..Options::faults_to(faults) };
    let worker = arena.spawn(options, |_| machine::touch_fpu())?;
    worker.tcb.set_flags(0, libd3os::abi::TCB_FLAG_FPU_DISABLED)?;
    worker.tcb.resume()?;
    let fault = faults.recv(reply);
    check_eq!(fault.info.label(), FaultLabel::UserException as u64);
    check_eq!(sys::word(3), 7, "device not available");
    worker.tcb.set_flags(libd3os::abi::TCB_FLAG_FPU_DISABLED, 0)?;
    reply.send(crate::raw::info(0, 0));
    worker.join();
    check_eq!(worker.tcb.cptr().address() > 0, true);
    Ok(())
}
