//! A cell changes outside transactions.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: core::cell::Cell<u64>,
}

fn main() {}
