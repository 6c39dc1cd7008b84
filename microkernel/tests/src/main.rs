//! The root task that tests the kernel: every object of the API, in the real kernel, in QEMU.
//!
//! It prints `test NAME ... ok` or `test NAME ... FAILED: why` for each test and at last
//! `kernel tests: N passed, N failed` to the first serial port, and ends QEMU through its exit
//! device (0xf4): 0 when all passed, 1 otherwise. Where a test hangs, its name is the last thing
//! printed.
//!
//! Each test gets an arena of memory, slots and addresses; everything made of it is revoked after
//! the test, so no test sees another's leftovers. Other threads run beside the test (`worker`),
//! below its priority unless a test says otherwise: they run when the test waits.
//!
//! On a machine with several cores the same root task runs on each. The first core's tests the others
//! (group `multikernel`), which do what it tells them to (`peer`).
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod arena;
mod check;
mod console;
#[expect(unsafe_code, reason = "tests registers, memory and faults, which takes instructions")]
mod machine;
mod mailbox;
mod peer;
mod raw;
mod suite;
mod worker;

use alloc::string::String;
use libd3os::abi::{BootInfo, MachineChunk, chunk};

use crate::arena::Arena;
use crate::check::Outcome;
use crate::console::Console;

libd3os::root! { main: run, heap: 1 << 20, stack: 64 << 10 }

/// A test and its name.
struct Test {
    name: &'static str,
    body: fn(&mut Arena) -> Outcome,
    /// A debug kernel prints something while it runs, so its own line comes after.
    noisy: bool,
}

fn run(boot: &'static BootInfo) -> i32 {
    let domains = option(boot, "domains=").and_then(|word| word.parse().ok()).unwrap_or(1);
    if boot.node_id != 0 {
        peer::serve(boot, domains);
    }
    let console = Console::new(boot);
    let mut arena = Arena::new(boot, console, domains);
    let filter = option(boot, "filter=").unwrap_or("");
    let (several_domains, several_cores) = (arena.domains() > 1, boot.num_nodes > 1);
    let (mut passed, mut failed) = (0, 0);
    for (group, tests) in suite::GROUPS {
        for test in *tests {
            let name = alloc::format!("{group}::{}", test.name);
            let possible = (several_domains || *group != suite::DOMAINS)
                && (several_cores == (*group == suite::SEVERAL_CORES));
            if possible && name.contains(filter) {
                let ok = report(console, &name, &mut arena, test);
                *(if ok { &mut passed } else { &mut failed }) += 1;
            }
        }
    }
    console.print(&alloc::format!("kernel tests: {passed} passed, {failed} failed\n"));
    console.exit(u32::from(failed > 0));
    i32::from(failed > 0)
}

/// Runs a test and prints how it ended; tells whether it passed.
fn report(console: Console, name: &str, arena: &mut Arena, test: &Test) -> bool {
    let line = alloc::format!("test {name} ... ");
    if !test.noisy {
        console.print(&line);
    }
    let result = run_one(arena, test);
    if test.noisy {
        console.print(&line);
    }
    match &result {
        Ok(()) => console.print("ok\n"),
        Err(why) => console.print(&alloc::format!("FAILED: {why}\n")),
    }
    for note in arena.take_notes() {
        console.print(&alloc::format!("  {note}\n"));
    }
    result.is_ok()
}

/// What the kernel's command line says after `name`: `filter=TEXT`, only tests whose name contains it;
/// `domains=N`, how many the kernel has; `second_node=ADDRESS` (decimal), where the memory of the second
/// of two nodes begins.
fn option(boot: &'static BootInfo, name: &str) -> Option<&'static str> {
    let machine = machine::boot_info_chunks(boot).find(|(id, _)| *id == chunk::D3OS_MACHINE);
    let line = machine.and_then(|(_, bytes)| bytes.get(size_of::<MachineChunk>()..));
    let line = line.and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("");
    let mut words = line.trim_end_matches('\0').split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix(name))
}

fn run_one(arena: &mut Arena, test: &Test) -> Result<(), String> {
    let result = (test.body)(arena).map_err(|failure| alloc::format!("{failure}"));
    let cleaned = arena.reset().map_err(|error| alloc::format!("cleaning up: {error}"));
    result.and(cleaned)
}
