//! The root task that tests the kernel in QEMU.
fn main() {}
