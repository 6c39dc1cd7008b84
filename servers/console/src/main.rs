//! The console server: terminal input and output, the foreground program.
fn main() {}
