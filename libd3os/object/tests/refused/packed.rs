//! A field could not be borrowed.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C, packed)]
struct Record {
    small: u8,
    large: u64,
}

fn main() {}
