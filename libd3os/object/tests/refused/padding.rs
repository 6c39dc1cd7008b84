//! Undefined bytes would be logged as data.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    small: u8,
    large: u64,
}

fn main() {}
