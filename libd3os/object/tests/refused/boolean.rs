//! 254 of 256 bit patterns are no truth value.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: bool,
}

fn main() {}
