//! A declaration without the derive proves nothing.

use libd3os_object::Persist;

#[repr(C)]
struct Inner {
    field: u64,
}

#[derive(Persist)]
#[repr(C)]
struct Outer {
    inner: Inner,
}

fn main() {}
