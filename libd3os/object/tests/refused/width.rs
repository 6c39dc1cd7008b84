//! The width would be the processor's.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: usize,
}

fn main() {}
