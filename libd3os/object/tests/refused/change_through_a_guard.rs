//! A guard reads.
use libd3os_object::{Guard, View};
use libd3os_object::medium::Mapped;

fn change(guard: &Guard<'_, u64, Mapped>) {
    let value: &mut u64 = guard.base().unwrap();
    *value += 1;
}

fn main() {}
