//! A pool in memory that does not last, of which nothing is written back.

use std::ptr::NonNull;

use libd3os_object::medium::{Durability, Mapped};

use super::*;

#[repr(align(4096))]
struct Memory([u8; BYTES]);

/// RAM of this process, for good.
fn ram() -> Mapped {
    let memory = Box::leak(Box::new(Memory([0; BYTES])));
    // SAFETY: nobody else has the memory, which is never freed.
    unsafe { Mapped::new(NonNull::from(&mut memory.0).cast(), BYTES, Durability::Never) }
}

#[test]
fn a_pool_in_ram_is_whole_after_random_operations_and_a_restart() {
    let (mut random, expected) = (Random::new(11), Expected::default());
    let ram = ram();
    let mut pool = Pool::create(ram, LAYOUT, Ground::Unknown).expect("it is empty");
    let mut done = 0;
    for number in 1..400 {
        let model = expected.lock().expect("a state")[1].clone();
        done += u32::from(carry_out(&mut pool, step(&mut random, &model, number), &expected));
        assert_eq!(state(&pool), Ok(expected.lock().expect("a state")[1].clone()));
        if number % 50 == 0 {
            drop(pool);
            pool = Pool::open(ram).expect("whole").pool;
            assert_eq!(state(&pool), Ok(expected.lock().expect("a state")[1].clone()));
        }
    }
    assert!(done > 100, "{done}");
}
