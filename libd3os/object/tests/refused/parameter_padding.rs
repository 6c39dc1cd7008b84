//! Whether there is padding is seen when the parameter is known, also deep inside.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record<T> {
    field: T,
    large: u64,
}

#[derive(Persist)]
#[repr(C)]
struct Outer {
    inner: [Record<u8>; 2],
}

fn main() {}
