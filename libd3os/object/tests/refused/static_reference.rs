//! A reference leads into the memory of one program, however long it lives there.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: &'static u64,
}

fn main() {}
