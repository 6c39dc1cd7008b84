//! Tells what stands on the slates. With the argument `write`, tries to write on them; with `force`,
//! past what its library allows.
#![cfg_attr(target_os = "none", no_std, no_main)]

use libd3os::shared::SharedMemory;
use libd3os::start::StartInfo;
use libd3os::{println, program};
use slate::{SLATES, read};

libd3os::program! {
    main: run,
    calls: ["console", "log", "supervisor"],
    reads: ["slate", "large-slate"],
}

fn run(start: &'static StartInfo) -> i32 {
    let how = start.args.first().map_or("read", |how| how);
    for name in SLATES {
        match program::region(name) {
            Ok(slate) => show(name, &slate, how),
            Err(missing) => println!("reader: {missing}"),
        }
    }
    0
}

fn show(name: &str, slate: &SharedMemory, how: &str) {
    match how {
        "write" => match slate.write(0, b"graffiti") {
            Ok(()) => println!("reader: wrote on {name}, which it must not"),
            Err(error) => println!("reader: {name}: {error}"),
        },
        "force" => force::write(slate),
        _ => match read(slate) {
            Ok([first, last]) => println!("reader: {name} says '{first}' and '{last}'"),
            Err(error) => println!("reader: {name}: {error}"),
        },
    }
}

#[expect(unsafe_code, reason = "does on purpose what this program may not")]
mod force {
    use libd3os::println;
    use libd3os::shared::SharedMemory;

    /// Writes a byte past the check.
    pub(super) fn write(slate: &SharedMemory) {
        // SAFETY: the byte is mapped for as long as the program lives; that it must not be written
        // is what the processor is to say.
        unsafe { slate.base().write_volatile(b'g') };
        println!("reader: wrote what it must not");
    }
}
