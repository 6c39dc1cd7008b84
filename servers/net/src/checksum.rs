//! The Internet checksum (RFC 1071), eight bytes at a time.
//!
//! The stack's own adds two bytes at a time. A sum over bytes may be made in any order of bytes and
//! in words of any even length, because carries come back at the other end.

use core::net::IpAddr;

use libd3os::nic;

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
};

/// Bytes that are added in a row.
const BLOCK: usize = 64;

/// Who makes the checksums of frames to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The card, where it can.
    Card,
    /// This server.
    Server,
}

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
        let (blocks, rest) = bytes.as_chunks();
        let sum = blocks.iter().fold(self.0, with_block);
        let (words, rest) = rest.as_chunks();
        let sum = words.iter().fold(sum, |sum, word| carried(sum, u64::from_ne_bytes(*word)));
        if rest.is_empty() {
            return Self(sum);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        Self(carried(sum, u64::from_ne_bytes(last)))
    }

    /// What stands in a header for the card to go on from: the sum itself.
    #[must_use]
    pub fn open(self) -> u16 {
        self.folded()
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

/// The sum with a cache line's worth of words: one addition each, whose carry goes into the next.
#[inline]
fn with_block(sum: u64, block: &[u8; BLOCK]) -> u64 {
    let words = block.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
    let (sum, carry) = words.fold((sum, false), |(sum, carry), word| sum.carrying_add(word, carry));
    carried(sum, carry.into())
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

/// Makes the sum of the TCP segment that a frame of the stack's carries, if it does, or has the card
/// make it.
pub fn seal(frame: &mut [u8], maker: Maker) -> nic::Sum {
    sealed(frame, maker).unwrap_or_default()
}

fn sealed(frame: &mut [u8], maker: Maker) -> Option<nic::Sum> {
    let (header, from, to) = segment(frame)?;
    let segment = frame.get_mut(header..)?;
    let mut packet = TcpPacket::new_checked(&mut *segment).ok()?;
    packet.set_checksum(0);
    let sum = Sum::of_pseudo_header(from, to, IpProtocol::Tcp.into(), segment.len());
    let by_card = maker == Maker::Card && header == nic::Sum::BEGINS.into() && from.is_ipv4();
    let sum = if by_card { sum.open() } else { sum.with(segment).finish() };
    TcpPacket::new_unchecked(segment).set_checksum(sum);
    by_card.then_some(nic::Sum::Tcp)
}

/// Where the TCP segment of a frame begins, and between whom it goes. Frames of the stack's have no
/// bytes behind their packets, and no extension headers before segments.
fn segment(frame: &[u8]) -> Option<(usize, IpAddr, IpAddr)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let (protocol, header, from, to) = match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
            (packet.next_header(), packet.header_len().into(), from, to)
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
            (packet.next_header(), packet.header_len(), from, to)
        }
        _ => return None,
    };
    let begins = EthernetFrame::<&[u8]>::header_len() + header;
    (protocol == IpProtocol::Tcp).then_some((begins, from, to))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::inspect::{Content, inspect};
    use libd3os::nic::Checks;
    use proptest::prelude::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{EthernetAddress, EthernetRepr, IpAddress, IpRepr};

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

    /// What a card does with a frame that it sends.
    pub(crate) fn made_by_card(frame: &mut [u8], sum: nic::Sum) {
        let Some(place) = sum.place().map(usize::from) else { return };
        let made = !slow(&frame[nic::Sum::BEGINS.into()..]);
        frame[place..place + 2].copy_from_slice(&made.to_be_bytes());
    }

    #[test]
    fn the_example_of_the_specification() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().with(&bytes).finish(), !0xddf2);
    }

    const MAKERS: [Maker; 2] = [Maker::Card, Maker::Server];
    const OWN: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

    /// A frame with a segment between these.
    fn frame(from: IpAddress, to: IpAddress, bytes: &[u8]) -> Vec<u8> {
        let payload = 20 + bytes.len();
        let ip = IpRepr::new(from, to, IpProtocol::Tcp, payload, 64);
        let ethertype = match ip {
            IpRepr::Ipv4(_) => EthernetProtocol::Ipv4,
            IpRepr::Ipv6(_) => EthernetProtocol::Ipv6,
        };
        let mut frame = vec![0; 14 + ip.buffer_len()];
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
        EthernetRepr { src_addr: OWN, dst_addr: OWN, ethertype }.emit(&mut ethernet);
        ip.emit(&mut frame[14..], &ChecksumCapabilities::default());
        let header = 14 + ip.header_len();
        frame[header + 12] = 5 << 4;
        frame[header + 16..header + 18].copy_from_slice(&[0xab, 0xcd]);
        frame[header + 20..].copy_from_slice(bytes);
        frame
    }

    proptest! {
        #[test]
        fn segments_are_sealed(
            four: [[u8; 4]; 2],
            six: [[u8; 16]; 2],
            bytes in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            let pairs: [[IpAddress; 2]; 2] = [
                four.map(|ip| IpAddr::from(ip).into()),
                six.map(|ip| IpAddr::from(ip).into()),
            ];
            for ([from, to], maker) in pairs.into_iter().flat_map(|pair| MAKERS.map(|it| (pair, it))) {
                let mut frame = frame(from, to, &bytes);
                let sum = seal(&mut frame, maker);
                let by_card = maker == Maker::Card && IpAddr::from(from).is_ipv4();
                prop_assert_eq!(sum, if by_card { nic::Sum::Tcp } else { nic::Sum::Made });
                made_by_card(&mut frame, sum);
                prop_assert_eq!(inspect(&frame, OWN, Checks::default()), Ok(Content::Other));
            }
        }

        #[test]
        fn anything_else_is_left_alone(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for maker in MAKERS {
                let mut sealed = bytes.clone();
                let sum = seal(&mut sealed, maker);
                let is_left = sealed == bytes && sum == nic::Sum::Made;
                prop_assert!(is_left || segment(&bytes).is_some());
            }
        }

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
