//! The root task of the system: reads the image manifest, starts and supervises programs.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod process;

// The heap holds the log, the manifest and a few hundred bytes a program.
libd3os::root! { main: process::run, heap: 1 << 20, stack: 64 << 10 }
