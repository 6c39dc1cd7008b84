//! Every interleaving of a few holders of a lock, by loom.
//!
//! The lock's own file is compiled a second time here, with loom's atomic operations in the place
//! of the processor's: what is checked is what is shipped.
#![expect(dead_code, unreachable_pub, clippy::duplicate_mod, reason = "of the file a part is used")]

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

mod sync {
    //! Loom's atomic operations.

    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "lock.rs"]
mod lock;

use lock::{Lock, Slot};

/// Two words that are only ever changed together. Loom reports an access to them that does not happen
/// before or after one that changes them.
#[derive(Default)]
struct Shared {
    lock: Lock,
    words: [UnsafeCell<u64>; 2],
}

// `with` and `with_mut` hand out raw pointers; the accesses through them stay in these functions.
impl Shared {
    fn change(&self) {
        for word in &self.words {
            // SAFETY: loom checks that nobody else is here.
            word.with_mut(|word| unsafe { *word += 1 });
        }
    }

    fn assert_whole(&self) {
        // SAFETY: loom checks that nobody changes it.
        let [left, right] = [0, 1].map(|at: usize| self.words[at].with(|word| unsafe { *word }));
        assert_eq!(left, right, "changed by half");
    }
}

fn slot(number: u8) -> Slot {
    Slot::new(number).expect("below 56")
}

fn check(model: impl Fn(&Arc<Shared>) + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || model(&Arc::new(Shared::default())));
}

fn write(shared: &Shared, by: Slot) {
    while !shared.lock.claim(by) {
        thread::yield_now();
    }
    while !shared.lock.readers_are_gone() {
        thread::yield_now();
    }
    assert_eq!(shared.lock.writer(), Some(by));
    shared.change();
    shared.lock.end_write(by);
}

fn read(shared: &Shared, by: Slot) {
    while !shared.lock.try_read(by) {
        thread::yield_now();
    }
    shared.assert_whole();
    shared.lock.end_read(by);
}

#[test]
fn a_writer_is_alone() {
    check(|shared| {
        let other = Arc::clone(shared);
        let writer = thread::spawn(move || write(&other, slot(1)));
        write(shared, slot(2));
        writer.join().expect("no panic");
        shared.assert_whole();
    });
}

#[test]
fn a_reader_sees_all_or_nothing_of_a_change() {
    check(|shared| {
        let other = Arc::clone(shared);
        let writer = thread::spawn(move || write(&other, slot(1)));
        read(shared, slot(0));
        writer.join().expect("no panic");
    });
}

#[test]
fn who_only_tries_is_refused_or_alone() {
    check(|shared| {
        let other = Arc::clone(shared);
        let reader = thread::spawn(move || read(&other, slot(1)));
        if shared.lock.try_write(slot(0)) {
            shared.change();
            shared.lock.end_write(slot(0));
        }
        reader.join().expect("no panic");
        assert!(shared.lock.try_write(slot(3)), "everybody has gone");
    });
}

#[test]
fn who_was_put_out_cannot_end_what_others_do() {
    check(|shared| {
        assert!(shared.lock.try_write(slot(0)));
        let other = Arc::clone(shared);
        let late = thread::spawn(move || other.lock.end_write(slot(0)));
        shared.lock.put_out(slot(0));
        assert!(shared.lock.try_write(slot(1)));
        late.join().expect("no panic");
        assert_eq!(shared.lock.writer(), Some(slot(1)));
    });
}
