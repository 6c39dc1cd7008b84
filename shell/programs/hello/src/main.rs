//! A first program: says hello.
fn main() {}
