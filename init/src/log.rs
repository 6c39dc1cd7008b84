//! The system's log: a bounded ring of records, oldest dropped first.

use alloc::collections::VecDeque;
use alloc::string::String;

use libd3os::call::{MAX_BYTES, encode};
use libd3os::service::log::{Level, LogError, LogPage, LogRecord};

/// Records that are kept.
pub const CAPACITY: usize = 512;
/// Bytes that a record's target keeps.
pub const TARGET_BYTES: usize = 48;
/// Bytes that a record's message keeps, so that any record fits in a page.
pub const MESSAGE_BYTES: usize = 640;
/// Bytes of a page that are not records: counts, numbers, the result around it.
const PAGE_OVERHEAD: usize = 40;

/// The ring. Record numbers start at 0 and are never reused.
#[derive(Debug, Default)]
pub struct LogRing {
    records: VecDeque<LogRecord>,
    next: u64,
}

impl LogRing {
    /// Adds a record; the oldest one makes room where the ring is full. Long texts are cut.
    pub fn append(
        &mut self,
        time_us: u64,
        program: &str,
        level: Level,
        target: &str,
        message: &str,
    ) -> &LogRecord {
        if self.records.len() == CAPACITY {
            self.records.pop_front();
        }
        let record = LogRecord {
            seq: self.next,
            time_us,
            program: cut(program, TARGET_BYTES),
            level,
            target: cut(target, TARGET_BYTES),
            message: cut(message, MESSAGE_BYTES),
        };
        self.next += 1;
        self.records.push_back(record);
        &self.records[self.records.len() - 1]
    }

    /// Records from number `from` on, as many as fit in a message.
    ///
    /// # Errors
    /// [`LogError::InTheFuture`] where `from` is beyond the number of the next record.
    pub fn read(&self, from: u64) -> Result<LogPage, LogError> {
        if from > self.next {
            return Err(LogError::InTheFuture);
        }
        let oldest = self.next - self.records.len() as u64;
        let lost = oldest.saturating_sub(from);
        let skip = usize::try_from(from.saturating_sub(oldest)).unwrap_or(CAPACITY);
        let mut page = LogPage { records: alloc::vec::Vec::new(), next: from + lost, lost };
        let mut room = MAX_BYTES - PAGE_OVERHEAD;
        for record in self.records.iter().skip(skip) {
            let bytes = encode(record).map_or(usize::MAX, |bytes| bytes.len());
            let Some(rest) = room.checked_sub(bytes) else { break };
            room = rest;
            page.next = record.seq + 1;
            page.records.push(record.clone());
        }
        Ok(page)
    }
}

/// The longest prefix of at most `bytes` bytes that ends between characters.
fn cut(text: &str, bytes: usize) -> String {
    String::from(&text[..text.floor_char_boundary(bytes)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(ring: &mut LogRing, count: usize) {
        for n in 0..count {
            ring.append(n as u64, "p", Level::Info, "t", &format!("message {n}"));
        }
    }

    #[test]
    fn a_reader_that_keeps_up_loses_nothing() {
        let mut ring = LogRing::default();
        fill(&mut ring, 100);
        let (mut from, mut seen) = (0, 0);
        while let Some(last) = ring.read(from).expect("known").records.last() {
            let page = ring.read(from).expect("known");
            assert_eq!((page.records[0].seq, page.lost, page.next), (from, 0, last.seq + 1));
            seen += page.records.len();
            from = page.next;
        }
        assert_eq!((seen, from), (100, 100));
    }

    #[test]
    fn a_late_reader_is_told_what_it_missed() {
        let mut ring = LogRing::default();
        fill(&mut ring, CAPACITY + 10);
        let page = ring.read(3).expect("known");
        assert_eq!((page.lost, page.records[0].seq), (7, 10));
    }

    #[test]
    fn the_future_is_refused_and_the_present_is_empty() {
        let mut ring = LogRing::default();
        fill(&mut ring, 2);
        assert_eq!(ring.read(2), Ok(LogPage { records: vec![], next: 2, lost: 0 }));
        assert_eq!(ring.read(3), Err(LogError::InTheFuture));
        assert_eq!(ring.read(u64::MAX), Err(LogError::InTheFuture));
    }

    proptest! {
        #[test]
        fn every_record_fits_in_a_page(target in ".{0,100}", message in ".{0,900}") {
            let mut ring = LogRing::default();
            let record = ring.append(u64::MAX, &target, Level::Error, &target, &message).clone();
            prop_assert!(message.starts_with(&record.message));
            let page: Result<LogPage, LogError> = ring.read(0);
            prop_assert_eq!(page.as_ref().map(|page| page.records.len()), Ok(1));
            prop_assert!(encode(&page).is_ok());
        }
    }
}
