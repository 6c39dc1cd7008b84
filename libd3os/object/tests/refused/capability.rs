//! A capability is a number in the table of one program.

use libd3os_object::Persist;

#[derive(Persist)]
#[repr(C)]
struct Record {
    field: libd3os::cap::Notification,
}

fn main() {}
