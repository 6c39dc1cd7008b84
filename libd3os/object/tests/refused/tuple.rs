//! The layout of a tuple is promised to nobody.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: (u32, u32),
}

fn main() {}
