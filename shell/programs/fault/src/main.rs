//! A program that dies in the way it is told to, to show that the system goes on.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "does on purpose what no program may")]
mod instructions;

use libd3os::println;
use libd3os::program::Death;
use libd3os::start::StartInfo;

libd3os::program! {
    main: run,
    calls: ["console", "log", "supervisor"],
}

fn run(start: &'static StartInfo) -> i32 {
    match start.args.first().map(|word| Death::from_word(word)) {
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
    for kind in Death::ALL {
        println!("  {:<9} {}", kind.word(), kind.about());
    }
}

#[cfg(target_os = "none")]
fn die(kind: Death) {
    match kind {
        Death::Null => instructions::read_null(),
        Death::Divide => instructions::divide_by_zero(),
        Death::Illegal => instructions::execute_nonsense(),
        Death::Stack => {
            exhaust_stack(0);
        }
        Death::ReadOnly => instructions::write_constant(),
        Death::BadCap => use_missing_capability(),
        Death::Panic => panic!("told to"),
        Death::Hang => loop {
            core::hint::spin_loop();
        },
    }
}

/// On a host there is nothing to show: the program only says what it would do.
#[cfg(not(target_os = "none"))]
fn die(kind: Death) {
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
