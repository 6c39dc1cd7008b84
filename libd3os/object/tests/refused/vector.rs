//! A vector leads to the heap of one program.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: Vec<u64>,
}

fn main() {}
