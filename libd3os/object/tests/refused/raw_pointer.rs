//! An address means something in one program only.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: *const u64,
}

fn main() {}
