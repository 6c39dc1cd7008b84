//! Code is elsewhere in the next program.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: fn(),
}

fn main() {}
