//! The 16550 serial port driver.
fn main() {}
