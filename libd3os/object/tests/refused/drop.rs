//! Nobody drops it when the object's memory is freed.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: u64,
}

impl Drop for Record {
    fn drop(&mut self) {}
}

fn main() {}
