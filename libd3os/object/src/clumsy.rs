//! A medium that makes mistakes, and one that counts: for tests of the tests, and of costs.

use core::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::interleaving_tests::Turns;
use crate::medium::{Line, Medium};
use crate::sim::SimMedium;

/// What a library might get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// Lines are not written back.
    NoFlush,
    /// Nothing waits.
    NoFence,
    /// Lines past the cache are stored when the fence has passed already.
    LateLines,
    /// After so many operations, the thread stops for good.
    StallsAfter(u64),
}

/// Passes on what it is asked to do, mostly.
#[derive(Clone)]
pub(crate) struct Clumsy {
    medium: SimMedium,
    mistake: Mistake,
    late: Arc<std::sync::Mutex<Vec<(usize, Line)>>>,
    counts: Arc<Counters>,
    /// As whom it takes turns, if it does.
    turns: Option<(Arc<Turns>, usize)>,
}

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fences: AtomicU64,
    pub(crate) operations: AtomicU64,
}

impl Clumsy {
    pub(crate) fn new(medium: SimMedium, mistake: Mistake, counts: Arc<Counters>) -> Self {
        Self { medium, mistake, late: Arc::default(), counts, turns: None }
    }

    /// One that waits for this thread's turn before each operation.
    pub(crate) fn taking_turns(self, turns: Option<&Arc<Turns>>, thread: usize) -> Self {
        Self { turns: turns.map(|turns| (Arc::clone(turns), thread)), ..self }
    }

    fn operate(&self) {
        if let Some((turns, me)) = &self.turns {
            turns.pass(*me);
        }
        let count = self.counts.operations.fetch_add(1, Ordering::Relaxed);
        if self.mistake == Mistake::StallsAfter(count) {
            loop {
                std::thread::park();
            }
        }
    }
}

// SAFETY: it is the medium within.
unsafe impl Medium for Clumsy {
    fn base(&self) -> NonNull<u8> {
        self.medium.base()
    }

    fn bytes(&self) -> usize {
        self.medium.bytes()
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        self.medium.read(at, into);
    }

    fn load_word(&self, at: usize) -> u64 {
        self.medium.load_word(at)
    }

    fn store(&self, at: usize, from: &[u8]) {
        self.operate();
        self.medium.store(at, from);
    }

    fn store_word(&self, at: usize, word: u64) {
        self.operate();
        self.medium.store_word(at, word);
    }

    fn store_line(&self, at: usize, line: &Line) {
        self.operate();
        if self.mistake == Mistake::LateLines {
            self.late.lock().expect("no panic").push((at, *line));
        } else {
            self.medium.store_line(at, line);
        }
    }

    fn flush(&self, at: usize) {
        self.operate();
        if self.mistake != Mistake::NoFlush {
            self.medium.flush(at);
        }
    }

    fn fence(&self) {
        self.operate();
        self.counts.fences.fetch_add(1, Ordering::Relaxed);
        if self.mistake == Mistake::NoFence {
            self.medium.sim().examine();
        } else {
            self.medium.fence();
        }
        for (at, line) in self.late.lock().expect("no panic").drain(..) {
            self.medium.store_line(at, &line);
        }
    }
}
