//! A lock changes outside transactions, and outlives its holder.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: std::sync::Mutex<u64>,
}

fn main() {}
