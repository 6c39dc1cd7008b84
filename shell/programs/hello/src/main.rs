//! A first program: says hello, with what it was told when it started.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::time::Duration;

use libd3os::start::StartInfo;
use libd3os::time::Clock;
use libd3os::{println, sys};

libd3os::program! {
    main: run,
    calls: ["console", "log", "supervisor"],
}

/// What passes between two greetings of `--forever`.
const PAUSE: Duration = Duration::from_millis(500);

fn run(start: &'static StartInfo) -> i32 {
    let forever = start.args.iter().any(|arg| arg == "--forever");
    let mut round: u64 = 1;
    loop {
        greet(start, round);
        if !forever {
            return 0;
        }
        pause(&Clock::new(start.tsc_mhz, start.boot_tsc));
        round += 1;
    }
}

/// Waits, and leaves the processor to others meanwhile.
fn pause(clock: &Clock) {
    let end = clock.now() + PAUSE;
    while clock.now() < end {
        sys::yield_now();
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
        match grant.ring {
            None => println!("  slot {}: {} {}", grant.slot, grant.kind, grant.name),
            Some(ring) => println!("  rings {}: {} {}", ring.place, grant.kind, grant.name),
        }
    }
}
