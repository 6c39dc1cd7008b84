//! The visible image, and the medium over it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

use super::Sim;
use crate::medium::{LINE_BYTES, Line, Medium, WORD_BYTES, assert_unit, assert_within};

/// Objects are read where they lie, at any alignment that a page gives.
const ALIGNMENT: usize = 4096;

/// Bytes at an address that stays.
pub(super) struct Memory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it is memory; who may access it when is settled by those who hold media over it.
unsafe impl Send for Memory {}
// SAFETY: the same.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn holding(image: &[u8]) -> Self {
        assert!(!image.is_empty() && image.len().is_multiple_of(LINE_BYTES), "not whole lines");
        let layout = Layout::from_size_align(image.len(), ALIGNMENT).expect("a size that exists");
        // SAFETY: the layout is not empty.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })
            .unwrap_or_else(|| handle_alloc_error(layout));
        let memory = Self { base, layout };
        memory.store(0, image);
        memory
    }

    fn address(&self, at: usize) -> *mut u8 {
        self.base.as_ptr().wrapping_add(at)
    }

    fn store(&self, at: usize, from: &[u8]) {
        // SAFETY: callers have checked that the bytes are within; no reference to them lives, see
        // `Medium`.
        unsafe { ptr::copy(from.as_ptr(), self.address(at), from.len()) };
    }

    fn load(&self, at: usize, into: &mut [u8]) {
        // SAFETY: callers have checked that the bytes are within; `into` is other memory.
        unsafe { ptr::copy_nonoverlapping(self.address(at), into.as_mut_ptr(), into.len()) };
    }

    pub(super) fn contents(&self) -> Vec<u8> {
        let mut contents = vec![0; self.layout.size()];
        self.load(0, &mut contents);
        contents
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `holding` by this layout, and nothing uses it any more.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// A [`Sim`] as one thread of the simulated machine writes it.
#[derive(Clone)]
pub struct SimMedium {
    sim: Sim,
    thread: usize,
}

impl SimMedium {
    pub(super) const fn new(sim: Sim, thread: usize) -> Self {
        Self { sim, thread }
    }

    /// The simulator.
    #[must_use]
    pub const fn sim(&self) -> &Sim {
        &self.sim
    }
}

// SAFETY: the memory is held by the simulator, which this holds; it does not move.
unsafe impl Medium for SimMedium {
    fn base(&self) -> NonNull<u8> {
        self.sim.memory.base
    }

    fn bytes(&self) -> usize {
        self.sim.memory.layout.size()
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        assert_within(self, at, into.len());
        self.sim.memory.load(at, into);
    }

    fn load_word(&self, at: usize) -> u64 {
        assert_unit(self, at, WORD_BYTES);
        let mut word = [0; WORD_BYTES];
        self.sim.memory.load(at, &mut word);
        u64::from_le_bytes(word)
    }

    fn store(&self, at: usize, from: &[u8]) {
        assert_within(self, at, from.len());
        let mut state = self.sim.state();
        self.sim.memory.store(at, from);
        state.pending.store(at, from);
        state.stored();
    }

    fn store_word(&self, at: usize, word: u64) {
        assert_unit(self, at, WORD_BYTES);
        self.store(at, &word.to_le_bytes());
    }

    fn store_line(&self, at: usize, line: &Line) {
        assert_unit(self, at, LINE_BYTES);
        let mut state = self.sim.state();
        self.sim.memory.store(at, line);
        state.pending.store_line(self.thread, at, line);
        state.stored();
    }

    fn flush(&self, at: usize) {
        assert_within(self, at, 1);
        self.sim.state().pending.flush(self.thread, at);
    }

    fn fence(&self) {
        self.sim.state().fence(self.thread);
    }
}
