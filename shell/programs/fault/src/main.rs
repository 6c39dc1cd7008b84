//! A program that dies in the way it is told to, to show that the system goes on.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "does on purpose what no program may")]
mod instructions;

use libd3os::println;
use libd3os::start::StartInfo;

libd3os::program! {
    main: run,
    calls: ["console", "log", "supervisor"],
}

/// A way to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Divide,
    Illegal,
    Stack,
    ReadOnly,
    BadCap,
    Panic,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Null,
        Self::Divide,
        Self::Illegal,
        Self::Stack,
        Self::ReadOnly,
        Self::BadCap,
        Self::Panic,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Divide => "divide",
            Self::Illegal => "illegal",
            Self::Stack => "stack",
            Self::ReadOnly => "readonly",
            Self::BadCap => "badcap",
            Self::Panic => "panic",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::Null => "reads from address 0",
            Self::Divide => "divides by zero",
            Self::Illegal => "executes an instruction that does not exist",
            Self::Stack => "calls itself until the stack is used up",
            Self::ReadOnly => "writes to its own constants",
            Self::BadCap => "uses a capability that it does not hold",
            Self::Panic => "finds a mistake of its own and ends itself",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

fn run(start: &'static StartInfo) -> i32 {
    match start.args.first().map(|word| Kind::from_word(word)) {
        Some(Some(kind)) => {
            die(kind);
            println!("fault: still alive, which is a fault of the system");
            1
        }
        Some(None) => {
            println!("fault: there is no such kind");
            list();
            2
        }
        None => {
            list();
            0
        }
    }
}

fn list() {
    println!("usage: fault KIND, where KIND is one of");
    for kind in Kind::ALL {
        println!("  {:<9} {}", kind.word(), kind.about());
    }
}

#[cfg(target_os = "none")]
fn die(kind: Kind) {
    match kind {
        Kind::Null => instructions::read_null(),
        Kind::Divide => instructions::divide_by_zero(),
        Kind::Illegal => instructions::execute_nonsense(),
        Kind::Stack => {
            exhaust_stack(0);
        }
        Kind::ReadOnly => instructions::write_constant(),
        Kind::BadCap => use_missing_capability(),
        Kind::Panic => panic!("told to"),
    }
}

/// On a host there is nothing to show: the program only says what it would do.
#[cfg(not(target_os = "none"))]
fn die(kind: Kind) {
    println!("{}: {}", kind.word(), kind.about());
}

/// Never reaches its limit: each call needs more stack than the last.
#[cfg(target_os = "none")]
fn exhaust_stack(depth: u64) -> u64 {
    let page = core::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { exhaust_stack(depth + 1) + page[0] }
}

#[cfg(target_os = "none")]
#[inline(never)]
fn use_missing_capability() {
    use libd3os::abi::MessageInfo;
    use libd3os::sys::{self, Cptr};

    let _ = sys::call(Cptr::new(0xbad), MessageInfo::default());
}
