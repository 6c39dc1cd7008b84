//! The D3OS microkernel.
fn main() {}
