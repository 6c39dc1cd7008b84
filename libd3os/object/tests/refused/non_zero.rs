//! Zero is a bit pattern as well.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: core::num::NonZeroU64,
}

fn main() {}
