//! Even what is only named is held to the rule, as one may be made of it.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: core::marker::PhantomData<Box<u64>>,
}

fn main() {}
