//! A bounded ring for bytes on their way. One that is full refuses, and leaves the decision to its
//! user.

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
