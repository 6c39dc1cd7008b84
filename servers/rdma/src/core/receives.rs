//! Receive queues, a queue pair's own and shared ones.

use alloc::boxed::Box;
use alloc::vec;

use crate::entries::ReceiveEntry;
use crate::regions::DomainId;

/// Receives in the order in which they were posted.
#[derive(Clone, Debug)]
pub(super) struct ReceiveQueue {
    ring: Box<[ReceiveEntry]>,
    first: usize,
    count: usize,
}

impl ReceiveQueue {
    pub(super) fn new(capacity: usize) -> Self {
        let ring = vec![ReceiveEntry::default(); capacity].into_boxed_slice();
        Self { ring, first: 0, count: 0 }
    }

    pub(super) const fn has_room(&self) -> bool {
        self.count < self.ring.len()
    }

    /// Adds a receive for which there is room.
    pub(super) fn post(&mut self, entry: ReceiveEntry) {
        let place = (self.first + self.count) % self.ring.len();
        self.ring[place] = entry;
        self.count += 1;
    }

    pub(super) fn take(&mut self) -> Option<ReceiveEntry> {
        self.count = self.count.checked_sub(1)?;
        let entry = self.ring[self.first];
        self.first = (self.first + 1) % self.ring.len();
        Some(entry)
    }
}

/// Receives for whichever of several queue pairs needs one.
#[derive(Clone, Debug)]
pub(super) struct SharedReceiveQueue {
    pub(super) queue: ReceiveQueue,
    pub(super) domain: DomainId,
    /// An event is raised once when fewer than this are left; 0 for never.
    pub(super) limit: usize,
    /// Queue pairs that receive from here.
    pub(super) users: u32,
}

impl SharedReceiveQueue {
    pub(super) fn new(domain: DomainId, capacity: usize) -> Self {
        Self { queue: ReceiveQueue::new(capacity), domain, limit: 0, users: 0 }
    }

    /// Takes a receive, and whether there are fewer than somebody wanted to know.
    pub(super) fn take(&mut self) -> Option<(ReceiveEntry, bool)> {
        let entry = self.queue.take()?;
        let low = self.queue.count < self.limit;
        if low {
            self.limit = 0;
        }
        Some((entry, low))
    }
}
