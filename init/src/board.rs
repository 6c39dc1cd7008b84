//! The board: the beginning of the shared pool, where the inits of all cores meet.
//!
//! ```text
//! page 0          header: magic, version, number of cores        written by core 0, once
//! from page 1 on  a post for each core from 1 up:
//!                   32 KiB  a pair of rings: commands to it, reports from it  (`crate::message`)
//!                    8 KiB  its heartbeat and its status                      written by it
//! ```
//!
//! Core 0 clears the board, writes the header, and then signals line 0 of every other core, whose
//! init looks at the board only after such a signal: whatever an earlier boot left there is gone by
//! then. The heartbeat and the status are there to be read at any time, so that who wants to know
//! how a core is doing never waits for that core.
//!
//! The status is a postcard value under a sequence lock: the writer makes the number odd, writes,
//! and makes it even; a reader that sees an odd number, or another one afterwards, has read
//! nothing.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use libd3os::region::{ByteRange, Region, RegionId, Rights};
use libd3os::service::supervisor::MemoryReport;
use libd3os::start::layout::PAGE_SIZE;
use serde::{Deserialize, Serialize};

/// The identity of the shared pool in regions.
pub const POOL: RegionId = RegionId(0);
/// Bytes of the pair of rings between core 0 and another one.
pub const LINK_BYTES: u64 = 32 << 10;
/// Bytes of a core's heartbeat and status.
pub const STATUS_BYTES: u64 = STATUS_LENGTH as u64;
/// The same, as a length in memory.
const STATUS_LENGTH: usize = 8 << 10;
/// Bytes of a core's post.
pub const POST_BYTES: u64 = LINK_BYTES + STATUS_BYTES;
/// Bytes of the header.
pub const HEADER_BYTES: u64 = PAGE_SIZE;

const MAGIC: u64 = u64::from_le_bytes(*b"D3OSPOOL");
/// Version of the board's layout and of the messages over it.
const VERSION: u64 = 1;
/// A reader tries so often while the writer writes.
const ATTEMPTS: u32 = 8;

/// Bytes of the board of a machine with so many cores.
#[must_use]
pub const fn bytes(cores: u32) -> u64 {
    post_offset(if cores == 0 { 1 } else { cores })
}

/// Where the post of a core (not core 0, which has none) begins, in bytes from the pool's start.
#[must_use]
pub const fn post_offset(core: u32) -> u64 {
    HEADER_BYTES + (core.saturating_sub(1) as u64) * POST_BYTES
}

/// The region of the pool of `bytes` bytes from `offset` on, to be read and written; `None` where
/// there can be no such region.
#[must_use]
pub fn region(offset: u64, bytes: u64) -> Option<Region> {
    ByteRange::new(offset, bytes).ok().map(|range| Region::new(POOL, range, Rights::READ_WRITE))
}

/// The header, as both sides see it.
#[derive(Clone, Copy, Debug)]
pub struct Header<'m>(&'m [AtomicU64]);

impl<'m> Header<'m> {
    /// The header in this memory.
    #[must_use]
    pub const fn new(words: &'m [AtomicU64]) -> Self {
        Self(words)
    }

    /// Says that the board is laid out for so many cores. To be called last.
    pub fn announce(&self, cores: u32) {
        self.put(1, VERSION);
        self.put(2, cores.into());
        if let Some(word) = self.0.first() {
            word.store(MAGIC, Ordering::Release);
        }
    }

    /// Whether the board is laid out, in a version that this init knows, with a post for `core`.
    #[must_use]
    pub fn has_post(&self, core: u32) -> bool {
        let is_there = self.0.first().is_some_and(|word| word.load(Ordering::Acquire) == MAGIC);
        is_there && self.get(1) == VERSION && u64::from(core) < self.get(2)
    }

    fn put(&self, index: usize, value: u64) {
        if let Some(word) = self.0.get(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn get(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// What a core's init tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The core's memory.
    pub memory: MemoryReport,
    /// Processor time of init's main thread, in microseconds.
    pub main_us: u64,
    /// Processor time of its clock.
    pub ticker_us: u64,
    /// Processor time of every program of the image on this core, in the image's order.
    pub programs_us: Vec<u64>,
}

/// A core's heartbeat and status in shared memory.
#[derive(Clone, Copy, Debug)]
pub struct StatusPage<'m> {
    words: &'m [AtomicU64],
}

/// Words before the status: heartbeat, sequence number, length in bytes. They are a cache line.
const STATUS_AT: usize = 8;
const BEAT: usize = 0;
const SEQUENCE: usize = 1;
const LENGTH: usize = 2;

impl<'m> StatusPage<'m> {
    /// The one in this memory; `None` where it is too small for any.
    #[must_use]
    pub fn new(words: &'m [AtomicU64]) -> Option<Self> {
        (words.len() > STATUS_AT).then_some(Self { words })
    }

    /// Says that the core's init was alive at this time: microseconds since the machine started.
    pub fn beat(&self, now_us: u64) {
        self.words[BEAT].store(now_us, Ordering::Relaxed);
    }

    /// When it last was; 0 if it never said so.
    #[must_use]
    pub fn last_beat_us(&self) -> u64 {
        self.words[BEAT].load(Ordering::Relaxed)
    }

    /// Writes the status. One that does not fit leaves the last one there.
    pub fn publish(&self, status: &Status) {
        let mut bytes = [0; STATUS_LENGTH];
        let Ok(used) = postcard::to_slice(status, &mut bytes) else { return };
        let length = used.len();
        let body = &self.words[STATUS_AT..];
        if length.div_ceil(8) > body.len() {
            return;
        }
        let sequence = &self.words[SEQUENCE];
        let next = sequence.load(Ordering::Relaxed) | 1;
        sequence.store(next, Ordering::Relaxed);
        fence(Ordering::Release);
        self.words[LENGTH].store(length as u64, Ordering::Relaxed);
        for (word, chunk) in body.iter().zip(bytes[..length.next_multiple_of(8)].as_chunks().0) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        sequence.store(next.wrapping_add(1), Ordering::Release);
    }

    /// Reads the status; `None` where none was written, or it is being written, or makes no sense.
    #[must_use]
    pub fn read(&self) -> Option<Status> {
        (0..ATTEMPTS).find_map(|_| self.try_read())
    }

    fn try_read(&self) -> Option<Status> {
        let sequence = &self.words[SEQUENCE];
        let before = sequence.load(Ordering::Acquire);
        if before & 1 == 1 {
            core::hint::spin_loop();
            return None;
        }
        let body = &self.words[STATUS_AT..];
        let length = usize::try_from(self.words[LENGTH].load(Ordering::Relaxed)).ok()?;
        let body = body.get(..length.div_ceil(8))?;
        let words = body.iter().map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        let bytes: Vec<u8> = words.flatten().take(length).collect();
        fence(Ordering::Acquire);
        if sequence.load(Ordering::Relaxed) != before {
            return None;
        }
        postcard::from_bytes(&bytes).ok()
    }
}

/// Clears memory before it is given to anyone.
pub fn clear(words: &[AtomicU64]) {
    words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    fence(Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn words(bytes: u64) -> Vec<AtomicU64> {
        (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
    }

    fn status(value: u64, programs: usize) -> Status {
        let memory =
            MemoryReport { ram_bytes: value, frames_used: value, ..MemoryReport::default() };
        Status { memory, main_us: value, ticker_us: value, programs_us: vec![value; programs] }
    }

    #[test]
    fn posts_follow_the_header_and_do_not_overlap() {
        assert_eq!(post_offset(1), HEADER_BYTES);
        for core in 1..64 {
            assert_eq!(post_offset(core) + POST_BYTES, post_offset(core + 1));
            assert_eq!(post_offset(core) % PAGE_SIZE, 0);
            assert!(post_offset(core) + POST_BYTES <= bytes(core + 1));
        }
        assert_eq!((bytes(0), bytes(1)), (HEADER_BYTES, HEADER_BYTES));
    }

    #[test]
    fn a_board_of_another_version_or_with_fewer_cores_is_none() {
        let memory = words(HEADER_BYTES);
        let header = Header::new(&memory);
        assert!(!header.has_post(1));
        header.announce(4);
        assert!(header.has_post(3) && !header.has_post(4));
        memory[1].store(VERSION + 1, Ordering::Relaxed);
        assert!(!header.has_post(3));
        assert!(!Header::new(&[]).has_post(0));
    }

    #[test]
    fn a_status_is_read_whole_or_not_at_all() {
        let memory = words(STATUS_BYTES);
        let page = StatusPage::new(&memory).expect("large enough");
        assert_eq!(page.read(), None);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for (value, programs) in (0..20_000u64).zip((0..40).cycle()) {
                    page.publish(&status(value << (value % 50), programs));
                }
                done.store(true, Ordering::Release);
            });
            let mut seen = 0u32;
            while !done.load(Ordering::Acquire) || seen == 0 {
                let Some(read) = page.read() else { continue };
                assert_eq!(read, status(read.main_us, read.programs_us.len()));
                seen += 1;
            }
        });
    }

    #[test]
    fn a_status_that_does_not_fit_leaves_the_last() {
        let memory = words(STATUS_BYTES);
        let page = StatusPage::new(&memory).expect("large enough");
        page.publish(&status(7, 3));
        page.publish(&status(u64::MAX, 2000));
        assert_eq!(page.read(), Some(status(7, 3)));
        page.beat(9);
        assert_eq!(page.last_beat_us(), 9);
        clear(&memory);
        assert_eq!((page.read(), page.last_beat_us()), (None, 0));
    }

    proptest! {
        #[test]
        fn nothing_in_the_memory_makes_a_reader_panic(values in prop::collection::vec(any::<u64>(), 9..40)) {
            let memory: Vec<_> = values.into_iter().map(AtomicU64::new).collect();
            let page = StatusPage::new(&memory).expect("large enough");
            let _ = page.read();
            let _ = Header::new(&memory).has_post(1);
        }
    }
}
