//! Packet sequence numbers: 24 bits that wrap.

use core::fmt;

/// Half of all sequence numbers: what is closer ahead than this is ahead, else behind.
const HALF: u32 = 1 << 23;
const MASK: u32 = (1 << 24) - 1;

/// A packet sequence number (specification, 9.7.1). Numbers have an order only near each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Psn(u32);

impl Psn {
    /// The number with these lower 24 bits.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number & MASK)
    }

    /// As a number below 2²⁴.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// So many packets later.
    #[must_use]
    pub const fn plus(self, packets: u32) -> Self {
        Self::new(self.0.wrapping_add(packets))
    }

    /// So many packets earlier.
    #[must_use]
    pub const fn minus(self, packets: u32) -> Self {
        Self::new(self.0.wrapping_sub(packets))
    }

    /// Packets from `earlier` to this one, modulo 2²⁴.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0) & MASK
    }

    /// Whether this one is in the half of all numbers behind `other`.
    #[must_use]
    pub const fn is_before(self, other: Self) -> bool {
        self.since(other) >= HALF
    }

    /// In three bytes, as on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        super::three(self.0)
    }

    /// From three bytes of the wire.
    #[must_use]
    pub const fn from_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, a, b, c]))
    }
}

impl fmt::Display for Psn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_wrap() {
        let last = Psn::new(MASK);
        assert_eq!(last.plus(1), Psn::new(0));
        assert_eq!(Psn::new(0).minus(1), last);
        assert_eq!(Psn::new(3).since(last), 4);
        assert!(last.is_before(Psn::new(0)));
        assert!(!Psn::new(0).is_before(last));
        assert!(!last.is_before(last));
    }

    proptest! {
        #[test]
        fn distances_are_kept(start: u32, packets in 1..HALF) {
            let (first, later) = (Psn::new(start), Psn::new(start).plus(packets));
            prop_assert_eq!(later.since(first), packets);
            prop_assert_eq!(later.minus(packets), first);
            prop_assert!(first.is_before(later));
            prop_assert!(!later.is_before(first));
            prop_assert_eq!(Psn::from_bytes(first.to_bytes()), first);
        }
    }
}
