//! A box leads to the heap of one program.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: Box<u64>,
}

fn main() {}
