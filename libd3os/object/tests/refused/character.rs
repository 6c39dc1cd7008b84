//! Most numbers are no character.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: char,
}

fn main() {}
