//! The program's heap.
//!
//! The allocator is talc: heaps are small (a manifest says how small), and talc splits them to
//! the word and grows blocks in place, where a buddy allocator rounds every request up to a power
//! of two and copies on growth. The lock only serves the type: a program has one thread.

use talc::TalcLock;
use talc::source::Manual;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Gives the heap its memory.
///
/// # Safety
/// The memory is mapped, writable and used by nothing else for the rest of the program's life.
pub(crate) unsafe fn add(base: *mut u8, bytes: usize) {
    // SAFETY: the caller hands the memory over for good.
    let claimed = unsafe { HEAP.lock().claim(base, bytes) };
    debug_assert!(claimed.is_some(), "the heap is too small for its own tables");
}
