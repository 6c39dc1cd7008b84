//! A parameter lives in the object as well.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record<T> {
    field: T,
}

#[derive(Persist)]
#[repr(C)]
struct Outer {
    inner: Record<&'static str>,
}

fn main() {}
