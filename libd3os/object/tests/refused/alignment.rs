//! No allocator promises so much.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C, align(128))]
struct Record {
    field: [u64; 16],
}

fn main() {}
