//! Which bit pattern means nothing is not written down.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: Option<u64>,
}

fn main() {}
