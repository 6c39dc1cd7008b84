//! The compiler arranges it as it likes, and differently next time.

use libd3os_object::Persist;

#[derive(Persist)]
struct Record {
    field: u64,
}

fn main() {}
