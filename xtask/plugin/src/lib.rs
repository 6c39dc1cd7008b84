//! A QEMU plugin that counts executed instructions from the kernel's first one to a last mark,
//! and tells those of the kernel's half of the address space apart: what `cargo xtask bench`
//! measures with.
//!
//! Arguments: `entry=0xADDRESS` (the kernel's first instruction), `last=N` (the mark that ends
//! the run), `out=FILE`. At the last mark the plugin writes a line `PHASE INSTRUCTIONS KERNEL` for
//! the entry (phase 0) and each mark, and ends QEMU. Instructions are counted one by one, because a
//! translated block may be left in its middle; a repeated string instruction counts once per
//! repetition, and `hlt` counts once however long it waits.

mod counter;
#[cfg(not(test))]
#[expect(unsafe_code, reason = "QEMU's plugin interface is C")]
mod ffi;
mod mark;
