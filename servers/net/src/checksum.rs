//! The Internet checksum (RFC 1071), eight bytes at a time.
//!
//! The stack's own adds two bytes at a time. A sum over bytes may be made in any order of bytes and
//! in words of any even length, because carries come back at the other end.

use core::net::IpAddr;

/// A sum that is still open. It starts with what both ends put before their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// What stands for addresses, protocol and length before a transport's header (RFC 768,
    /// RFC 8200).
    #[must_use]
    pub fn of_pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Self {
        let sum = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Self::default().with(&from.octets()).with(&to.octets())
            }
            (from, to) => Self::default().with(&v6(from)).with(&v6(to)),
        };
        // The length has 32 bits over version 6, of which a packet uses 16.
        let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        sum.with(&[0, protocol]).with(&length)
    }

    /// With these bytes, which begin at an even place.
    #[must_use]
    #[inline]
    pub fn with(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let sum = words.iter().fold(self.0, |sum, word| carried(sum, u64::from_ne_bytes(*word)));
        if rest.is_empty() {
            return Self(sum);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        Self(carried(sum, u64::from_ne_bytes(last)))
    }

    /// What stands in a header: the complement.
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.folded()
    }

    /// Whether a sum over everything, the one in the header included, is right.
    #[must_use]
    pub fn is_right(self) -> bool {
        self.folded() == u16::MAX
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes words apart")]
    fn folded(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 32) + (sum & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        u16::to_be(((sum >> 16) + (sum & 0xffff)) as u16)
    }
}

/// The sum with the carry at its other end.
#[inline]
const fn carried(sum: u64, word: u64) -> u64 {
    let (sum, carry) = sum.overflowing_add(word);
    sum + carry as u64
}

/// An address with 16 bytes: those of version 4 do not occur beside one of version 6.
fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two bytes at a time, as the specification says it.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        u16::try_from(sum).expect("folded")
    }

    #[test]
    fn the_example_of_the_specification() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().with(&bytes).finish(), !0xddf2);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_specification(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
            cut: prop::sample::Index,
        ) {
            let sum = slow(&bytes);
            let cut = cut.index(bytes.len() + 1) & !1;
            let (head, rest) = bytes.split_at(cut);
            for ours in [Sum::default().with(&bytes), Sum::default().with(head).with(rest)] {
                // Both zeros are zero: which one comes out depends on the order.
                prop_assert!(ours.finish() == !sum || [sum, !ours.finish()] == [0, 0xffff] || [sum, !ours.finish()] == [0xffff, 0]);
            }
        }

        #[test]
        fn what_carries_its_own_sum_is_right(mut bytes in prop::collection::vec(any::<u8>(), 2..200)) {
            bytes[..2].fill(0);
            let sum = Sum::default().with(&bytes).finish();
            bytes[..2].copy_from_slice(&sum.to_be_bytes());
            prop_assert!(Sum::default().with(&bytes).is_right());
        }
    }
}
