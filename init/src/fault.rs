//! Fault messages: from the kernel's words to a report that a person can read.

use alloc::format;
use alloc::string::{String, ToString};
use core::ops::Range;

use libd3os::abi::FaultLabel;
use libd3os::service::supervisor::{FaultKind, FaultReport};
use libd3os::start::layout::PAGE_SIZE;

/// How far below the stack an access still counts as its overflow: the guard page, and what a
/// large frame without a probe may skip.
const OVERFLOW_REACH: u64 = 16 * PAGE_SIZE;

/// Bits of the page-fault error code.
const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;

/// Processor exceptions that have a kind of their own.
const DIVIDE_ERROR: u64 = 0;
const INVALID_OPCODE: u64 = 6;
const GENERAL_PROTECTION: u64 = 13;

/// The report of a fault message of `program`, whose stack is `stack`; `symbol` names addresses.
/// Missing words read as zero: the kernel always sends them, and a report is due in any case.
pub fn report(
    program: &str,
    label: u64,
    words: &[u64],
    stack: &Range<u64>,
    symbol: impl Fn(u64) -> Option<String>,
) -> FaultReport {
    let word = |index: usize| words.get(index).copied().unwrap_or(0);
    let (kind, address, ip, detail) = match FaultLabel::from_number(label) {
        Some(FaultLabel::VmFault) => vm_fault(word(0), word(1), word(2) != 0, word(3), stack),
        Some(FaultLabel::Cap) => cap_fault(word(0), word(1), word(2) != 0, word(3)),
        Some(FaultLabel::UserException) => user_exception(word(0), word(3), word(4)),
        Some(FaultLabel::UnknownSyscall) => {
            let number = word(18);
            (
                FaultKind::UnknownSyscall,
                number,
                word(15),
                format!("number {}", number.cast_signed()),
            )
        }
        Some(FaultLabel::Timeout) => {
            (FaultKind::Timeout, 0, 0, format!("after {} microseconds", word(1)))
        }
        Some(FaultLabel::Null) | None => {
            (FaultKind::Exception(u8::MAX), 0, 0, format!("the kernel sent fault {label}"))
        }
    };
    FaultReport { program: program.to_string(), kind, address, ip, symbol: symbol(ip), detail }
}

/// The event at which a program ended itself as it was told (`last`), if that is what this fault is: it
/// does so by an illegal instruction, having counted that event.
#[must_use]
pub fn ordered_end(kind: FaultKind, last: Option<u64>, events: u64) -> Option<u64> {
    last.filter(|last| kind == FaultKind::IllegalInstruction && events > *last)
}

type Decoded = (FaultKind, u64, u64, String);

fn vm_fault(ip: u64, address: u64, instruction: bool, code: u64, stack: &Range<u64>) -> Decoded {
    let below_stack = stack.start.saturating_sub(OVERFLOW_REACH)..stack.start;
    let kind = match () {
        () if below_stack.contains(&address) => FaultKind::StackOverflow,
        () if address < PAGE_SIZE => FaultKind::NullDereference,
        () if instruction => FaultKind::BadJump,
        () if code & (PRESENT | WRITE) == PRESENT | WRITE => FaultKind::ReadOnlyWrite,
        () => FaultKind::BadAddress,
    };
    let access = match () {
        () if instruction => "execute",
        () if code & WRITE != 0 => "write",
        () => "read",
    };
    (kind, address, ip, format!("tried to {access} {address:#x}"))
}

fn cap_fault(ip: u64, slot: u64, receiving: bool, failure: u64) -> Decoded {
    let action = if receiving { "receiving from" } else { "using" };
    let why = match failure {
        1 => "its capability space is not one",
        2 => "there is no capability",
        3 => "the address has too few or too many bits",
        4 => "the address does not match the guard",
        _ => "the look-up failed",
    };
    (FaultKind::BadCapability, slot, ip, format!("{action} slot {slot:#x}: {why}"))
}

fn user_exception(ip: u64, number: u64, code: u64) -> Decoded {
    let (kind, detail) = match number {
        DIVIDE_ERROR => (FaultKind::DivideError, String::new()),
        INVALID_OPCODE => (FaultKind::IllegalInstruction, String::new()),
        GENERAL_PROTECTION => (
            FaultKind::IllegalInstruction,
            format!("general protection, code {code:#x}: privileged, or not a canonical address"),
        ),
        _ => {
            let number = u8::try_from(number).unwrap_or(u8::MAX);
            (FaultKind::Exception(number), format!("error code {code:#x}"))
        }
    };
    (kind, ip, ip, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STACK: Range<u64> = 0x7ffe_ffff_0000..0x7fff_0000_0000;

    fn kind(label: u64, words: &[u64]) -> (FaultKind, u64, u64) {
        let report = report("p", label, words, &STACK, |_| None);
        (report.kind, report.address, report.ip)
    }

    #[test]
    fn page_faults_are_told_apart() {
        let vm = |address, instruction, code| kind(6, &[0x40_1000, address, instruction, code]);
        assert_eq!(vm(8, 0, 4), (FaultKind::NullDereference, 8, 0x40_1000));
        assert_eq!(vm(0x1_0000, 0, 4).0, FaultKind::BadAddress);
        assert_eq!(vm(0x1_0000, 0, 6).0, FaultKind::BadAddress);
        assert_eq!(vm(0x40_2000, 0, 7).0, FaultKind::ReadOnlyWrite);
        assert_eq!(vm(0x9_0000, 1, 0x14).0, FaultKind::BadJump);
        assert_eq!(vm(STACK.start - 8, 0, 6).0, FaultKind::StackOverflow);
        assert_eq!(vm(STACK.start - OVERFLOW_REACH - 8, 0, 6).0, FaultKind::BadAddress);
    }

    #[test]
    fn exceptions_are_told_apart() {
        let exception = |number| kind(3, &[0x40_1000, 0x7000, 0x202, number, 0]);
        assert_eq!(exception(0), (FaultKind::DivideError, 0x40_1000, 0x40_1000));
        assert_eq!(exception(6).0, FaultKind::IllegalInstruction);
        assert_eq!(exception(13).0, FaultKind::IllegalInstruction);
        assert_eq!(exception(17).0, FaultKind::Exception(17));
    }

    #[test]
    fn a_bad_capability_says_which_and_how() {
        let report = report("p", 1, &[0x40_1000, 99, 0, 2, 5], &STACK, |_| None);
        assert_eq!((report.kind, report.address), (FaultKind::BadCapability, 99));
        assert_eq!(report.detail, "using slot 0x63: there is no capability");
    }

    #[test]
    fn an_unknown_system_call_is_shown_with_its_number() {
        let mut words = [0; 19];
        words[15] = 0x40_1002;
        words[18] = (-77i64).cast_unsigned();
        let report = report("p", 2, &words, &STACK, |ip| Some(format!("f+{ip:#x}")));
        assert_eq!((report.kind, report.ip), (FaultKind::UnknownSyscall, 0x40_1002));
        assert_eq!((&*report.detail, report.symbol.as_deref()), ("number -77", Some("f+0x401002")));
    }

    #[test]
    fn an_end_that_was_ordered_is_no_fault() {
        let illegal = FaultKind::IllegalInstruction;
        assert_eq!(ordered_end(illegal, Some(7), 8), Some(7));
        assert_eq!(ordered_end(illegal, Some(7), 7), None, "it has not come so far");
        assert_eq!(ordered_end(illegal, None, 8), None);
        assert_eq!(ordered_end(FaultKind::BadAddress, Some(7), 8), None);
    }

    proptest! {
        #[test]
        fn any_message_gives_a_report(label in 0u64..10, words in prop::collection::vec(any::<u64>(), 0..21)) {
            let report = report("p", label, &words, &STACK, |_| None);
            prop_assert_eq!(report.program, "p");
        }
    }
}
