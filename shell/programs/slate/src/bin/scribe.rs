//! Writes its first argument on the slates, and dies of a second.
#![cfg_attr(target_os = "none", no_std, no_main)]

use libd3os::start::StartInfo;
use libd3os::{println, program};
use slate::{SLATES, write};

libd3os::program! {
    main: run,
    calls: ["console", "log", "supervisor"],
    regions: ["slate", "large-slate"],
}

fn run(start: &'static StartInfo) -> i32 {
    let text = start.args.first().map_or("", |text| text);
    for name in SLATES {
        let written = program::region(name).map(|slate| write(&slate, text));
        match written {
            Ok(Ok(())) => println!("scribe: wrote on {name}"),
            Ok(Err(error)) => println!("scribe: {name}: {error}"),
            Err(missing) => println!("scribe: {missing}"),
        }
    }
    if start.args.len() > 1 {
        end();
    }
    0
}

/// Ends as a program does that has no time to tidy up.
fn end() {
    #[cfg(target_os = "none")]
    program::abort();
}
