//! A string leads to the heap of one program.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: String,
}

fn main() {}
