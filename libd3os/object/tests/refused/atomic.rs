//! An atomic changes outside transactions.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: core::sync::atomic::AtomicU64,
}

fn main() {}
