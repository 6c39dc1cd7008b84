//! The control block: words that a program shares with its supervisor, in the page of its IPC buffer
//! ([`layout::CONTROL`]).
//!
//! | word | written by | what it says |
//! |---|---|---|
//! | `beats` | the program | how often it came back to its event loop and found that it was asked whether it is alive |
//! | `calling` | the program | 1 while it waits for the answer to a call: not it is late then, but who owes the answer |
//! | `events` | the program | how many events its traces have noted since it started |
//! | `limit` | the supervisor | the program ends itself when it has noted so many events; 0: it does not |
//!
//! The supervisor trusts none of it: a program that writes nonsense here is ended too late, or too
//! early, and nobody else is.

use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(doc)]
use crate::start::layout;

/// The words. All zero at the program's start.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Block {
    beats: AtomicU64,
    calling: AtomicU64,
    events: AtomicU64,
    limit: AtomicU64,
}

/// What a supervisor reads of a [`Block`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Questions answered.
    pub beats: u64,
    /// The program waits for another's answer.
    pub is_calling: bool,
    /// Events noted.
    pub events: u64,
}

impl Block {
    /// What the program has written.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading {
            beats: self.beats.load(Ordering::Relaxed),
            is_calling: self.calling.load(Ordering::Relaxed) != 0,
            events: self.events.load(Ordering::Relaxed),
        }
    }

    /// Lets the program end itself when it has noted `more` events from now on, and at least one.
    /// Tells the number of the last; events count from 0.
    pub fn end_after(&self, more: u64) -> u64 {
        let last = self.events.load(Ordering::Relaxed).saturating_add(more.max(1) - 1);
        self.limit.store(last.saturating_add(1), Ordering::Relaxed);
        last
    }

    /// Notes an event; tells whether the program is to end itself now.
    fn note(&self) -> bool {
        let events = add_one(&self.events);
        let limit = self.limit.load(Ordering::Relaxed);
        limit != 0 && events >= limit
    }
}

/// Adds without a locked instruction: only the program itself writes these words, with one thread.
fn add_one(word: &AtomicU64) -> u64 {
    let sum = word.load(Ordering::Relaxed).wrapping_add(1);
    word.store(sum, Ordering::Relaxed);
    sum
}

/// The program notes an event in one of its traces, or takes a request, a signal or an observer's
/// question. If its supervisor wants it to end at this event, it ends here, by an illegal
/// instruction.
pub fn note_event() {
    if place::block().is_some_and(Block::note) {
        place::end();
    }
}

/// Events of the program since it started: those that it noted in its traces, and requests, signals and
/// observers' questions that it took; none in a root task.
#[must_use]
pub fn events() -> u64 {
    place::block().map_or(0, |block| block.read().events)
}

/// The program has come back to its event loop and was asked whether it is alive.
pub fn beat() {
    if let Some(block) = place::block() {
        add_one(&block.beats);
    }
}

/// Calls another program: while that owes an answer, this one need not be heard of.
pub fn calling<R>(call: impl FnOnce() -> R) -> R {
    let Some(block) = place::block() else { return call() };
    block.calling.store(1, Ordering::Relaxed);
    let answer = call();
    block.calling.store(0, Ordering::Relaxed);
    answer
}

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "refers to the page that every program has at a fixed address")]
mod place {
    //! The block of this program.

    use super::Block;
    use crate::program;
    use crate::start::layout;

    /// `None` in a root task, which nobody supervises.
    pub(super) fn block() -> Option<&'static Block> {
        program::start_info()?;
        let address = usize::try_from(layout::CONTROL).ok()?;
        let block = core::ptr::with_exposed_provenance::<Block>(address);
        // SAFETY: where there is start information, init has mapped the page of the IPC buffer for as long
        // as the program runs; the block lies in it, aligned, behind the buffer. It is only
        // atomic words, valid whatever they contain and whoever changes them.
        Some(unsafe { &*block })
    }

    pub(super) fn end() -> ! {
        program::abort()
    }
}

#[cfg(not(target_os = "none"))]
mod place {
    //! A block of the thread's own, for tests.

    extern crate std;

    use std::boxed::Box;

    use super::Block;

    std::thread_local! {
        static BLOCK: &'static Block = Box::leak(Box::default());
    }

    #[expect(clippy::unnecessary_wraps, reason = "as on the target, where a root task has none")]
    pub(super) fn block() -> Option<&'static Block> {
        Some(BLOCK.with(|block| *block))
    }

    pub(super) fn end() -> ! {
        panic!("the program ends at this event");
    }
}

/// The block of the calling thread, for tests of what writes it.
#[cfg(test)]
pub(crate) fn of_this_thread() -> &'static Block {
    place::block().expect("a host always has one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_behind_the_ipc_buffer_and_fits_its_page() {
        use crate::start::layout::{CONTROL, IPC_BUFFER, PAGE_SIZE};
        assert!(CONTROL >= IPC_BUFFER + d3os_abi::IPC_BUFFER_SIZE as u64);
        assert!(CONTROL + size_of::<Block>() as u64 <= IPC_BUFFER + PAGE_SIZE);
        assert!(CONTROL.is_multiple_of(align_of::<Block>() as u64));
    }

    #[test]
    fn a_program_ends_at_the_event_that_it_was_told() {
        let block = Block::default();
        assert!((0..5).all(|_| !block.note()));
        assert_eq!(block.end_after(3), 7);
        assert_eq!([block.note(), block.note(), block.note()], [false, false, true]);
        assert_eq!(block.read().events, 8);
        assert!(block.note(), "should it live on, it ends at the next");
    }

    #[test]
    fn at_least_one_event_comes_first() {
        let block = Block::default();
        assert_eq!(block.end_after(0), 0);
        assert!(block.note());
        block.end_after(u64::MAX);
        assert!(!block.note());
    }

    #[test]
    fn calls_and_beats_are_seen() {
        let block = of_this_thread();
        let before = block.read();
        beat();
        assert!(calling(|| block.read().is_calling));
        let expected = Reading { beats: before.beats + 1, is_calling: false, ..before };
        assert_eq!(block.read(), expected);
    }
}
