//! A program that dies in the way it is told to.
fn main() {}
