//! Thread-local storage, as the x86_64 ABI lays it out for statically linked programs.
//!
//! The image of `.tdata`, then the zeros of `.tbss`, end (rounded up to their alignment) at the
//! thread pointer, which is the FS base. The word there holds the thread pointer itself.
//!
//! The alignment is the larger of the two sections'. Where `.tdata` is empty, the linker may have
//! reckoned with less: then there is nothing to copy, and zeros are in place anywhere.

use alloc::alloc::{Layout, alloc_zeroed};
use core::ptr;

use crate::sys;

/// The thread pointer is aligned at least to a cache line.
const MIN_ALIGN: usize = 64;
/// What lies at the thread pointer.
const SELF_POINTER_BYTES: usize = size_of::<u64>();

unsafe extern "C" {
    static __tdata_start: u8;
    static __tdata_end: u8;
    static __tbss_end: u8;
    static __tls_align: u8;
}

/// Makes this thread's storage from the heap and sets the FS base.
///
/// # Safety
/// The heap works, and no thread-local variable of this thread was used before.
pub(super) unsafe fn set_up() {
    let start = &raw const __tdata_start;
    let image_bytes = (&raw const __tdata_end).addr() - start.addr();
    let used_bytes = (&raw const __tbss_end).addr() - start.addr();
    let align = (&raw const __tls_align).addr().max(1);
    let block_bytes = used_bytes.next_multiple_of(align);
    // The block ends at the thread pointer; room before it keeps the pointer itself aligned.
    let pointer_offset = block_bytes.next_multiple_of(align.max(MIN_ALIGN));
    let layout = Layout::from_size_align(pointer_offset + SELF_POINTER_BYTES, align.max(MIN_ALIGN))
        .expect("thread-local storage fits the address space");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    assert!(!memory.is_null(), "the heap has no room for thread-local storage");
    // SAFETY: `pointer_offset` is less than the size of the allocation.
    let thread_pointer = unsafe { memory.add(pointer_offset) };
    // SAFETY: the block lies in the allocation, before the thread pointer.
    let block = unsafe { thread_pointer.sub(block_bytes) };
    // SAFETY: the image is that of the linker script and fits in the block, which was just made.
    unsafe { ptr::copy_nonoverlapping(start, block, image_bytes) };
    // SAFETY: the allocation has a word there, aligned.
    unsafe { thread_pointer.cast::<u64>().write(thread_pointer.addr() as u64) };
    sys::set_tls_base(thread_pointer.addr() as u64);
}
