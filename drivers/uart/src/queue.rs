//! Bounded rings: bytes on their way, and a trace of what the driver did.
//!
//! Both live in fixed arrays. What happens when one is full is part of its type: a [`ByteQueue`]
//! refuses and leaves the decision to its user, a [`Trace`] forgets its oldest event.

use core::fmt;

use libd3os::trace;

/// A first-in first-out queue of at most `N` bytes.
#[derive(Debug)]
pub struct ByteQueue<const N: usize> {
    bytes: [u8; N],
    head: usize,
    len: usize,
}

impl<const N: usize> Default for ByteQueue<N> {
    fn default() -> Self {
        Self { bytes: [0; N], head: 0, len: 0 }
    }
}

impl<const N: usize> ByteQueue<N> {
    /// Bytes in the queue.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    #[must_use]
    pub const fn room(&self) -> usize {
        N - self.len
    }

    /// Appends a byte.
    ///
    /// # Errors
    /// The byte back when the queue is full.
    pub fn push(&mut self, byte: u8) -> Result<(), u8> {
        if self.len == N {
            return Err(byte);
        }
        self.bytes[(self.head + self.len) % N] = byte;
        self.len += 1;
        Ok(())
    }

    /// Appends as many of `bytes` as fit and tells how many.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        for &byte in &bytes[..taken] {
            self.bytes[(self.head + self.len) % N] = byte;
            self.len += 1;
        }
        taken
    }

    /// Takes the oldest byte.
    pub fn pop(&mut self) -> Option<u8> {
        if self.len == 0 {
            return None;
        }
        let byte = self.bytes[self.head];
        self.head = (self.head + 1) % N;
        self.len -= 1;
        Some(byte)
    }
}

/// What the driver did, one word an event, for the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interrupt came in.
    Interrupt,
    /// The interrupt had no cause.
    Spurious,
    /// So many bytes were fetched from the chip.
    Received(u16),
    /// So many bytes went to the chip.
    Sent(u16),
    /// A received byte found the queue full and was dropped.
    Dropped,
    /// The chip lost a byte, since it was not fetched in time.
    Overrun,
    /// The chip reported a parity or framing error or a break (status bits).
    LineError(u8),
    /// A writer waits for room.
    WriterWaits,
}

/// How often each thing happened, since the driver started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Interrupts.
    pub interrupts: u64,
    /// Interrupts without a cause.
    pub spurious: u64,
    /// Bytes received and queued.
    pub received: u64,
    /// Bytes given to the chip.
    pub sent: u64,
    /// Received bytes dropped since nobody fetched them from the queue in time.
    pub dropped: u64,
    /// Times that the chip lost bytes.
    pub overruns: u64,
    /// Parity and framing errors and breaks.
    pub line_errors: u64,
    /// Times that a writer had to wait for room.
    pub waits: u64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupt => f.write_str("interrupt"),
            Self::Spurious => f.write_str("interrupt without a cause"),
            Self::Received(bytes) => write!(f, "received {bytes} bytes"),
            Self::Sent(bytes) => write!(f, "sent {bytes} bytes"),
            Self::Dropped => f.write_str("dropped a byte, nobody reads"),
            Self::Overrun => f.write_str("the chip lost a byte"),
            Self::LineError(status) => write!(f, "line error, status {status:#04x}"),
            Self::WriterWaits => f.write_str("a writer waits for room"),
        }
    }
}

/// The last `N` events, and totals that never forget.
#[derive(Debug, Default)]
pub struct Trace<const N: usize> {
    events: trace::Trace<Event, N>,
    totals: Totals,
}

impl<const N: usize> Trace<N> {
    /// Notes an event; the oldest one makes room.
    pub fn note(&mut self, event: Event) {
        self.count(event);
        self.events.note(event);
    }

    fn count(&mut self, event: Event) {
        let totals = &mut self.totals;
        match event {
            Event::Interrupt => totals.interrupts += 1,
            Event::Spurious => totals.spurious += 1,
            Event::Received(bytes) => totals.received += u64::from(bytes),
            Event::Sent(bytes) => totals.sent += u64::from(bytes),
            Event::Dropped => totals.dropped += 1,
            Event::Overrun => totals.overruns += 1,
            Event::LineError(_) => totals.line_errors += 1,
            Event::WriterWaits => totals.waits += 1,
        }
    }

    /// How often each thing happened.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// The events that are still known.
    #[must_use]
    pub const fn events(&self) -> &trace::Trace<Event, N> {
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn a_full_queue_gives_the_byte_back() {
        let mut queue = ByteQueue::<2>::default();
        assert_eq!(queue.extend(b"abc"), 2);
        assert_eq!(queue.push(b'c'), Err(b'c'));
        assert_eq!(queue.pop(), Some(b'a'));
        assert_eq!(queue.push(b'c'), Ok(()));
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(b'b'), Some(b'c'), None));
    }

    #[test]
    fn the_trace_forgets_the_oldest_and_counts_all() {
        let mut trace = Trace::<2>::default();
        for event in [Event::Interrupt, Event::Received(3), Event::Sent(4)] {
            trace.note(event);
        }
        assert!(trace.events().recent(0).eq([(1, Event::Received(3)), (2, Event::Sent(4))]));
        let totals = trace.totals();
        assert_eq!((totals.interrupts, totals.received, totals.sent), (1, 3, 4));
    }

    proptest! {
        #[test]
        fn behaves_like_a_bounded_deque(steps in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..12)), 0..60)) {
            let mut queue = ByteQueue::<16>::default();
            let mut model = VecDeque::new();
            for (push, bytes) in steps {
                if push {
                    let taken = queue.extend(&bytes);
                    prop_assert_eq!(taken, bytes.len().min(16 - model.len()));
                    model.extend(&bytes[..taken]);
                } else {
                    for _ in &bytes {
                        prop_assert_eq!(queue.pop(), model.pop_front());
                    }
                }
                prop_assert_eq!((queue.len(), queue.room()), (model.len(), 16 - model.len()));
            }
        }
    }
}
