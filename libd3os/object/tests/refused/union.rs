//! Which member is meant is not written down.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
union Either {
    number: u64,
    bytes: [u8; 8],
}

fn main() {}
