//! The Debug* system calls: there in debug builds, unknown elsewhere.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::{FaultLabel, Syscall};
use libd3os::cap::Capability;
use libd3os::sys::{self, Cptr, Registers};

use super::tests;
use crate::arena::Arena;
use crate::check::{Outcome, check, check_eq};
use crate::worker::Options;

tests![debug_calls_are_all_there_or_all_unknown];

/// What a debug call made by a worker did: its result in RDI, or a fault.
fn ask(
    arena: &mut Arena,
    call: Syscall,
    argument: u64,
) -> Result<Option<u64>, crate::check::Failure> {
    let (events, reply) = (arena.endpoint()?, arena.reply()?);
    let result = Arc::new(AtomicU64::new(0));
    let (tell, target) = (Arc::clone(&result), events.cptr());
    arena.spawn(Options::faults_to(events), move |_| {
        let registers = Registers { rdi: argument, ..Registers::default() };
        tell.store(sys::raw(call, registers).rdi, Ordering::Relaxed);
        crate::raw::send(target, crate::raw::info(0x77, 0), [0; 4]);
    })?;
    match events.recv(reply).info.label() {
        0x77 => Ok(Some(result.load(Ordering::Relaxed))),
        label => {
            check_eq_ok(label)?;
            Ok(None)
        }
    }
}

fn check_eq_ok(label: u64) -> Outcome {
    check_eq!(label, FaultLabel::UnknownSyscall as u64);
    Ok(())
}

fn debug_calls_are_all_there_or_all_unknown(arena: &mut Arena) -> Outcome {
    let endpoint = arena.endpoint()?.cptr().address();
    let known = ask(arena, Syscall::DebugCapIdentify, endpoint)?;
    let empty = ask(arena, Syscall::DebugCapIdentify, Cptr::NULL.address())?;
    check_eq!(known.is_some(), empty.is_some());
    let affinity = ask(arena, Syscall::DebugGetThreadAffinity, libd3os::abi::slot::TCB)?;
    check_eq!(known.is_some(), affinity.is_some());
    if let (Some(known), Some(empty), Some(affinity)) = (known, empty, affinity) {
        check!(known != 0 && empty == 0, "an endpoint is {known}, nothing is {empty}");
        check_eq!(affinity, 0, "the only core");
        let same = ask(arena, Syscall::DebugCapIdentify, endpoint)?;
        check_eq!(same, Some(known));
    }
    Ok(())
}
