//! A first program: says hello, with what it was told when it started.
#![cfg_attr(target_os = "none", no_std, no_main)]

use libd3os::println;
use libd3os::start::StartInfo;

libd3os::program! {
    main: run,
    calls: ["console", "log", "supervisor"],
}

/// Turns of the processor that pass between two greetings of `--forever`.
const PAUSE: u32 = 100;

fn run(start: &'static StartInfo) -> i32 {
    let forever = start.args.iter().any(|arg| arg == "--forever");
    let mut round: u64 = 1;
    loop {
        greet(start, round);
        if !forever {
            return 0;
        }
        (0..PAUSE).for_each(|_| libd3os::sys::yield_now());
        round += 1;
    }
}

fn greet(start: &StartInfo, round: u64) {
    println!("Hello from {} on core {} ({round}).", start.name, start.core);
    if round > 1 {
        return;
    }
    for (number, arg) in start.args.iter().enumerate() {
        println!("  argument {number}: {arg}");
    }
    for grant in &start.grants {
        println!("  slot {}: {} {}", grant.slot, grant.kind, grant.name);
    }
}
