//! What borrows ends with what it borrows from.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record<'a> {
    field: &'a u64,
}

fn main() {}
