//! Which buffers a side has handed over or holds.

use super::layout::{RECEIVE_MOST, TRANSMIT_MOST};

const WORDS: usize = 4;
const _: () = assert!(RECEIVE_MOST as usize <= 64 * WORDS && TRANSMIT_MOST <= RECEIVE_MOST);

/// A set of buffers, of which there are fewer than 256.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    bits: [u64; WORDS],
    count: u16,
}

impl Held {
    /// How many there are.
    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// Adds the buffer; `false` where it is there already, or has a number beyond all sets.
    #[inline]
    pub(super) fn insert(&mut self, index: u16) -> bool {
        let (word, bit) = place(index);
        match self.bits.get_mut(word) {
            Some(bits) if *bits & bit == 0 => {
                *bits |= bit;
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    /// Removes the buffer; `false` where it is not there.
    #[inline]
    pub(super) fn remove(&mut self, index: u16) -> bool {
        let (word, bit) = place(index);
        match self.bits.get_mut(word) {
            Some(bits) if *bits & bit != 0 => {
                *bits &= !bit;
                self.count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Removes any buffer.
    pub(super) fn pop(&mut self) -> Option<u16> {
        let (word, bits) = (0u16..).zip(&self.bits).find(|(_, bits)| **bits != 0)?;
        let bit = u16::try_from(bits.trailing_zeros()).ok()?;
        let index = word * 64 + bit;
        self.remove(index).then_some(index)
    }
}

#[inline]
fn place(index: u16) -> (usize, u64) {
    (usize::from(index / 64), 1 << (index % 64))
}

/// What a side has refused of its peer's words. A peer that keeps to the protocol leaves all of
/// them 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Words that mean nothing.
    pub words: u64,
    /// Receive buffers that do not exist or were not the peer's to hand over.
    pub receive: u64,
    /// Transmit buffers that do not exist or were not the peer's to hand over.
    pub transmit: u64,
}

impl Refusals {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.words + self.receive + self.transmit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_set(steps in prop::collection::vec((any::<bool>(), 0u16..300), 0..400)) {
            let (mut held, mut model) = (Held::default(), BTreeSet::new());
            for (insert, index) in steps {
                if insert {
                    prop_assert_eq!(held.insert(index), index < 256 && model.insert(index));
                } else {
                    prop_assert_eq!(held.remove(index), model.remove(&index));
                }
                prop_assert_eq!(usize::from(held.count()), model.len());
            }
            while let Some(index) = held.pop() {
                prop_assert!(model.remove(&index));
            }
            prop_assert!(model.is_empty());
        }
    }
}
