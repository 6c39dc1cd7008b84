//! The memory for the IOMMU's tables: a region that outlives this program.

use core::arch::x86_64::{_mm_clflush, _mm_mfence};
use core::sync::atomic::Ordering;

use libd3os::shared::SharedMemory;
use platform::iommu::tables::{PAGE_BYTES, TableMemory, WORDS};

/// Bytes of a word of a table.
const WORD_BYTES: usize = 8;

/// Pages that the units read.
#[derive(Debug)]
pub(crate) struct TablePages {
    memory: SharedMemory,
    bus: u64,
}

impl TablePages {
    /// The pages of a region; `None` where devices do not reach it.
    pub(crate) fn new(memory: SharedMemory) -> Option<Self> {
        let bus = memory.bus()?;
        Some(Self { memory, bus })
    }
}

fn offset(page: usize, word: usize) -> usize {
    (page * WORDS + word) * WORD_BYTES
}

impl TableMemory for TablePages {
    fn pages(&self) -> usize {
        self.memory.bytes() / (WORDS * WORD_BYTES)
    }

    fn bus(&self, page: usize) -> u64 {
        self.bus + page as u64 * PAGE_BYTES
    }

    fn write(&mut self, page: usize, word: usize, value: u64) {
        // Pages are counted from 0 to `pages`: there is no other word.
        if let Ok(cell) = self.memory.atomic64(offset(page, word)) {
            cell.store(value, Ordering::SeqCst);
        }
    }

    fn read(&self, page: usize, word: usize) -> u64 {
        let cell = self.memory.atomic64(offset(page, word));
        cell.map_or(0, |cell| cell.load(Ordering::SeqCst))
    }

    fn flush(&mut self, page: usize, word: usize) {
        let Ok(cell) = self.memory.atomic64(offset(page, word)) else { return };
        // SAFETY: the line of a word that is there is written to memory; nothing changes.
        unsafe { _mm_clflush(core::ptr::from_ref(cell).cast()) };
        // SAFETY: a fence only orders accesses.
        unsafe { _mm_mfence() };
    }
}
