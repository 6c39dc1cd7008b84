//! The words that go over the rings; the table is in the module above.

use core::fmt;

use super::layout::{FRAME_BYTES, FRAME_LEAST};
use crate::ring::PAYLOAD_BYTES;

/// Words of a message at most: a cache line's.
pub const WORDS_PER_LINE: usize = PAYLOAD_BYTES / 4;

/// What stands behind the last word of a line that is not full.
pub(super) const NO_WORD: u32 = u32::MAX;

const LENGTH_SHIFT: u32 = 14;
const INDEX_MASK: u32 = (1 << LENGTH_SHIFT) - 1;
const LENGTH_MASK: u32 = (1 << 13) - 1;
const TRANSMIT: u32 = 1 << 27;
const CHECKS_SHIFT: u32 = 28;
const CHECKS_MASK: u32 = 3 << CHECKS_SHIFT;
const SUM_SHIFT: u32 = 28;
const SUM_MASK: u32 = 3 << SUM_SHIFT;

const _: () = assert!(FRAME_BYTES <= LENGTH_MASK as usize);

macro_rules! index {
    ($name:ident, $of:literal) => {
        #[doc = concat!("Index of a ", $of, " buffer.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u16);

        impl $name {
            /// The buffer of this number, counted from the first; no buffer need have it.
            #[must_use]
            pub const fn new(index: u16) -> Self {
                Self(index)
            }

            /// Its number.
            #[must_use]
            pub const fn number(self) -> u16 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index!(RxIndex, "receive");
index!(TxIndex, "transmit");

/// Which checksums of a received frame the card has checked and found right. What it has not
/// checked, or does not know, says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// The IPv4 header's.
    pub ipv4: bool,
    /// TCP's or UDP's.
    pub transport: bool,
}

impl Checks {
    const fn to_bits(self) -> u32 {
        ((self.ipv4 as u32) | ((self.transport as u32) << 1)) << CHECKS_SHIFT
    }

    const fn from_bits(word: u32) -> Self {
        let bits = word >> CHECKS_SHIFT;
        Self { ipv4: bits & 1 != 0, transport: bits & 2 != 0 }
    }
}

/// A checksum that the card makes of a frame that it sends, behind an Ethernet header and one of IPv4
/// without options. In its place the frame has the sum of what stands for addresses, protocol and length
/// (RFC 768, RFC 9293), which the card cannot see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sum {
    /// None: the frame goes as it is.
    #[default]
    Made,
    /// UDP's.
    Udp,
    /// TCP's.
    Tcp,
}

impl Sum {
    /// Bytes before the datagram or segment.
    pub const BEGINS: u8 = 14 + 20;

    const fn to_bits(self) -> u32 {
        match self {
            Self::Made => 0,
            Self::Udp => 1 << SUM_SHIFT,
            Self::Tcp => 2 << SUM_SHIFT,
        }
    }

    const fn from_bits(word: u32) -> Option<Self> {
        match (word & SUM_MASK) >> SUM_SHIFT {
            0 => Some(Self::Made),
            1 => Some(Self::Udp),
            2 => Some(Self::Tcp),
            _ => None,
        }
    }

    /// Where in the frame the checksum stands.
    #[must_use]
    pub const fn place(self) -> Option<u8> {
        match self {
            Self::Made => None,
            Self::Udp => Some(Self::BEGINS + 6),
            Self::Tcp => Some(Self::BEGINS + 16),
        }
    }

    /// Whether a frame of so many bytes has room for the headers up to the checksum.
    fn fits(self, length: u16) -> bool {
        self.place().is_none_or(|place| length >= u16::from(place) + 2)
    }
}

/// A word from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToConsumer {
    Received { index: RxIndex, length: u16, checks: Checks },
    Sent(TxIndex),
}

impl ToConsumer {
    #[inline]
    pub(super) const fn encode(self) -> u32 {
        match self {
            Self::Received { index, length, checks } => word(index.0, length) | checks.to_bits(),
            Self::Sent(index) => word(index.0, 0) | TRANSMIT,
        }
    }

    /// What the word says; `None` for one that says nothing.
    #[inline]
    pub(super) fn decode(word: u32) -> Option<Self> {
        let (index, length) = (index_of(word), length_of(word));
        match word & !(INDEX_MASK | LENGTH_MASK << LENGTH_SHIFT | CHECKS_MASK) {
            0 if is_frame(length) => Some(Self::Received {
                index: RxIndex(index),
                length,
                checks: Checks::from_bits(word),
            }),
            TRANSMIT if word & CHECKS_MASK == 0 && length == 0 => Some(Self::Sent(TxIndex(index))),
            _ => None,
        }
    }
}

/// A word from the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToDriver {
    GivenBack(RxIndex),
    Transmit { index: TxIndex, length: u16, sum: Sum },
}

impl ToDriver {
    #[inline]
    pub(super) const fn encode(self) -> u32 {
        match self {
            Self::GivenBack(index) => word(index.0, 0),
            Self::Transmit { index, length, sum } => {
                word(index.0, length) | TRANSMIT | sum.to_bits()
            }
        }
    }

    /// What the word says; `None` for one that says nothing.
    #[inline]
    pub(super) fn decode(word: u32) -> Option<Self> {
        let (index, length) = (index_of(word), length_of(word));
        let sum = Sum::from_bits(word)?;
        match word & !(INDEX_MASK | LENGTH_MASK << LENGTH_SHIFT | SUM_MASK) {
            0 if length == 0 && sum == Sum::Made => Some(Self::GivenBack(RxIndex(index))),
            TRANSMIT if is_frame(length) && sum.fits(length) => {
                Some(Self::Transmit { index: TxIndex(index), length, sum })
            }
            _ => None,
        }
    }
}

/// Whether a frame can have so many bytes.
#[inline]
pub(super) fn is_frame(length: u16) -> bool {
    (FRAME_LEAST..=FRAME_BYTES).contains(&length.into())
}

const fn word(index: u16, length: u16) -> u32 {
    index as u32 & INDEX_MASK | (length as u32 & LENGTH_MASK) << LENGTH_SHIFT
}

const fn index_of(word: u32) -> u16 {
    (word & INDEX_MASK) as u16
}

const fn length_of(word: u32) -> u16 {
    (word >> LENGTH_SHIFT & LENGTH_MASK) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_laid_out_as_the_table_says() {
        let checks = Checks { ipv4: true, transport: false };
        let received = ToConsumer::Received { index: RxIndex(3), length: 60, checks };
        assert_eq!(received.encode(), 3 | 60 << 14 | 1 << 28);
        assert_eq!(ToConsumer::Sent(TxIndex(5)).encode(), 5 | 1 << 27);
        assert_eq!(ToDriver::GivenBack(RxIndex(7)).encode(), 7);
        let transmit = |sum| ToDriver::Transmit { index: TxIndex(9), length: 4544, sum }.encode();
        let bits = [Sum::Made, Sum::Udp, Sum::Tcp].map(transmit).map(|word| word >> 28);
        assert_eq!(transmit(Sum::Made), 9 | 4544 << 14 | 1 << 27);
        assert_eq!(bits, [0, 1, 2]);
    }

    #[test]
    fn a_sum_has_its_place_in_the_frame() {
        for (sum, least) in [(Sum::Made, 14), (Sum::Udp, 42), (Sum::Tcp, 52)] {
            let word = |length| ToDriver::Transmit { index: TxIndex(0), length, sum }.encode();
            assert!(ToDriver::decode(word(least)).is_some());
            assert_eq!(ToDriver::decode(word(least - 1)), None, "{sum:?}");
        }
        assert_eq!(ToDriver::decode(60 << 14 | TRANSMIT | SUM_MASK), None);
        assert_eq!(ToDriver::decode(1 << SUM_SHIFT), None, "nothing is sent");
    }

    #[test]
    fn lengths_that_no_frame_has_mean_nothing() {
        for length in [0, 13, 4545, 8191] {
            assert_eq!(ToConsumer::decode(length << 14), None);
            assert_eq!(ToDriver::decode(length << 14 | TRANSMIT), None);
        }
    }

    proptest! {
        /// A word means one thing or nothing: what is decoded encodes to the same word.
        #[test]
        fn decoding_loses_nothing(word: u32) {
            if let Some(said) = ToConsumer::decode(word) {
                prop_assert_eq!(said.encode(), word);
            }
            if let Some(said) = ToDriver::decode(word) {
                prop_assert_eq!(said.encode(), word);
            }
        }

        #[test]
        fn what_is_said_is_understood(index in 0u16..1 << 14, length in 14u16..=4544, ipv4: bool, transport: bool) {
            let checks = Checks { ipv4, transport };
            let said = ToConsumer::Received { index: RxIndex(index), length, checks };
            prop_assert_eq!(ToConsumer::decode(said.encode()), Some(said));
            let said = ToConsumer::Sent(TxIndex(index));
            prop_assert_eq!(ToConsumer::decode(said.encode()), Some(said));
            let said = ToDriver::GivenBack(RxIndex(index));
            prop_assert_eq!(ToDriver::decode(said.encode()), Some(said));
            for sum in [Sum::Made, Sum::Udp, Sum::Tcp].into_iter().filter(|sum| sum.fits(length)) {
                let said = ToDriver::Transmit { index: TxIndex(index), length, sum };
                prop_assert_eq!(ToDriver::decode(said.encode()), Some(said));
            }
        }
    }
}
