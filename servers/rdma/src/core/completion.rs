//! Completion queues.

use alloc::boxed::Box;
use alloc::vec;

use crate::entries::{Completion, WcFlags, WcStatus};

/// What raises the next completion event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notify {
    /// The next completion.
    Next,
    /// The next one that a sender asked an event for, or that is an error.
    Solicited,
}

/// What became of a completion that was put into its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in.
    Quiet,
    /// It is in, and somebody wants to know.
    Event,
    /// There was no room: the queue is of no use from now on.
    Overrun {
        /// It was of use until now.
        first: bool,
    },
}

/// Completions in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct CompletionQueue {
    ring: Box<[Completion]>,
    first: usize,
    count: usize,
    armed: Option<Notify>,
    overrun: bool,
    /// Queue pairs that complete here; each of their two queues counts.
    pub(super) users: u32,
}

impl CompletionQueue {
    pub(super) fn new(capacity: usize) -> Self {
        let ring = vec![Completion::default(); capacity].into_boxed_slice();
        Self { ring, first: 0, count: 0, armed: None, overrun: false, users: 0 }
    }

    pub(super) fn put(&mut self, completion: Completion) -> Put {
        if self.overrun || self.count == self.ring.len() {
            return Put::Overrun { first: !core::mem::replace(&mut self.overrun, true) };
        }
        let place = self.place(self.count);
        self.ring[place] = completion;
        self.count += 1;
        let wanted = match self.armed {
            None => false,
            Some(Notify::Next) => true,
            Some(Notify::Solicited) => {
                completion.status != WcStatus::Success as u8
                    || completion.wc_flags & WcFlags::SOLICITED.bits() != 0
            }
        };
        if !wanted {
            return Put::Quiet;
        }
        self.armed = None;
        Put::Event
    }

    fn place(&self, ahead: usize) -> usize {
        let place = self.first + ahead;
        if place < self.ring.len() { place } else { place - self.ring.len() }
    }

    pub(super) fn take(&mut self) -> Option<Completion> {
        self.count = self.count.checked_sub(1)?;
        let completion = self.ring[self.first];
        self.first = self.place(1);
        Some(completion)
    }

    pub(super) const fn arm(&mut self, notify: Notify) {
        self.armed = Some(notify);
    }

    /// Leaves out what a queue pair that is gone has completed.
    pub(super) fn forget(&mut self, qp_num: u32) {
        for _ in 0..self.count {
            let Some(completion) = self.take() else { return };
            if completion.qp_num != qp_num {
                let place = self.place(self.count);
                self.ring[place] = completion;
                self.count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(wr_id: u64, qp_num: u32) -> Completion {
        Completion { wr_id, qp_num, ..Completion::default() }
    }

    fn ids(queue: &mut CompletionQueue) -> Vec<u64> {
        core::iter::from_fn(|| queue.take()).map(|completion| completion.wr_id).collect()
    }

    #[test]
    fn completions_come_out_as_they_went_in() {
        let mut queue = CompletionQueue::new(3);
        for round in 0..5 {
            for id in 0..3 {
                assert_eq!(queue.put(completion(round * 3 + id, 1)), Put::Quiet);
            }
            assert_eq!(ids(&mut queue), [round * 3, round * 3 + 1, round * 3 + 2]);
        }
    }

    #[test]
    fn an_overrun_is_told_once_and_stays() {
        let mut queue = CompletionQueue::new(1);
        assert_eq!(queue.put(completion(1, 1)), Put::Quiet);
        assert_eq!(queue.put(completion(2, 1)), Put::Overrun { first: true });
        assert_eq!(ids(&mut queue), [1]);
        assert_eq!(queue.put(completion(3, 1)), Put::Overrun { first: false });
    }

    #[test]
    fn events_are_raised_once_for_what_was_asked() {
        let mut queue = CompletionQueue::new(9);
        assert_eq!(queue.put(completion(1, 1)), Put::Quiet);
        queue.arm(Notify::Next);
        assert_eq!(queue.put(completion(2, 1)), Put::Event);
        assert_eq!(queue.put(completion(3, 1)), Put::Quiet);
        queue.arm(Notify::Solicited);
        assert_eq!(queue.put(completion(4, 1)), Put::Quiet);
        let failed = Completion { status: WcStatus::WrFlushErr as u8, ..completion(5, 1) };
        assert_eq!(queue.put(failed), Put::Event);
        queue.arm(Notify::Solicited);
        let solicited = Completion { wc_flags: WcFlags::SOLICITED.bits(), ..completion(6, 1) };
        assert_eq!(queue.put(solicited), Put::Event);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut queue = CompletionQueue::new(4);
        [(1, 7), (2, 8), (3, 7), (4, 8)]
            .into_iter()
            .for_each(|(id, qp)| assert_eq!(queue.put(completion(id, qp)), Put::Quiet));
        queue.forget(7);
        assert_eq!(queue.put(completion(5, 8)), Put::Quiet);
        assert_eq!(ids(&mut queue), [2, 4, 5]);
    }
}
