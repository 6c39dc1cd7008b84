//! Some bit patterns are no value.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(u8)]
enum Colour {
    Red,
    Blue,
}

fn main() {}
