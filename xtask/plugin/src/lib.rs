//! A QEMU plugin that counts executed instructions from the kernel's first one to a last mark,
//! and tells those of the kernel's half of the address space apart: what `cargo xtask bench`
//! measures with.
//!
//! Arguments: `entry=0xADDRESS` (the kernel's first instruction), `poll=0xADDRESS` (where it asks
//! whether an interrupt waits), `last=N` (the mark that ends the run), `out=FILE`. Without `entry`,
//! as for a kernel that is not ours, counting begins with the first mark of a lap, or with the mark
//! `first=N`. At the last mark
//! the plugin writes a line for the entry (phase 0) and each mark, which `Counter::report`
//! describes, and ends QEMU. Instructions are counted one by one, because a translated block may be
//! left in its middle; a repeated string instruction counts once per repetition, and `hlt` counts
//! once however long it waits.
//!
//! A *stretch* is what the kernel executes without letting an interrupt in: from an entry or a
//! question whether one waits to the next question or exit (SYSRET, IRETQ, HLT).

mod counter;
#[cfg(not(test))]
#[expect(unsafe_code, reason = "QEMU's plugin interface is C")]
mod ffi;
mod mark;
