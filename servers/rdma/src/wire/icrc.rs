//! The invariant CRC (specification, 7.8.1, and Annex A17.3.3): the CRC-32 of Ethernet over what no
//! router changes.
//!
//! What routers may change counts as ones: in IPv4 the type of service, the time to live and the
//! checksum, in IPv6 the traffic class, the flow label and the hop limit; the UDP checksum; in the base
//! transport header the byte with FECN and BECN. Before it all stand eight bytes of ones, where
//! InfiniBand has its local route header.

use crc32fast::Hasher;

use super::{bth, carryless};

/// Bytes of the CRC.
pub(super) const BYTES: usize = 4;
/// Bytes of a block, as sums are made.
const BLOCK: usize = 16;
/// What stands for the local route header.
const LOCAL_ROUTE: usize = 8;
const UDP_CHECKSUM: usize = 6;
const UDP_HEADER: usize = 8;

/// What counts as ones in the head: three blocks up to the end of the base transport header, or four, up to eight
/// bytes of it.
const V4_MASK: [u128; 3] = blocks(mask::<{ 3 * BLOCK }>(0x45, 20, &[1, 8, 10, 11]));
const V6_MASK: [u128; 4] = blocks(mask::<{ 4 * BLOCK }>(0x6f, 40, &[1, 2, 3, 7]));

/// The mask of a head whose IP header has so many bytes, of which these change.
///
/// A sum begins with all bits set, which comes to the same as to begin with none and invert the first four
/// bytes: those are ones always, and so become zeros.
const fn mask<const N: usize>(version: u8, ip_header: usize, changing: &[usize]) -> [u8; N] {
    let mut mask = [0; N];
    let mut at = 4;
    while at < LOCAL_ROUTE {
        mask[at] = 0xff;
        at += 1;
    }
    let mut index = 0;
    while index < changing.len() {
        mask[LOCAL_ROUTE + changing[index]] = 0xff;
        index += 1;
    }
    let udp = LOCAL_ROUTE + ip_header;
    mask[LOCAL_ROUTE] = version;
    mask[udp + UDP_CHECKSUM] = 0xff;
    mask[udp + UDP_CHECKSUM + 1] = 0xff;
    mask[udp + UDP_HEADER + bth::VARIANT] = 0xff;
    mask
}

const fn blocks<const N: usize, const BYTES: usize>(bytes: [u8; BYTES]) -> [u128; N] {
    let (mut words, mut at) = ([0; N], 0);
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    while at < N {
        words[at] = u128::from_le_bytes(blocks[at]);
        at += 1;
    }
    words
}

/// The CRC of a datagram from its IP header up to where the CRC stands; `None` if the datagram ends
/// before its base transport header does.
pub(super) fn of_datagram(datagram: &[u8]) -> Option<[u8; BYTES]> {
    let v4 = datagram.first()? >> 4 == 4;
    let sum = if v4 { sum(&V4_MASK, datagram) } else { sum(&V6_MASK, datagram) };
    Some((!sum?).to_le_bytes())
}

fn sum<const BLOCKS: usize>(mask: &[u128; BLOCKS], datagram: &[u8]) -> Option<u32> {
    let split = BLOCKS * BLOCK - LOCAL_ROUTE;
    let (first, blocks) = datagram.get(..split)?.split_first_chunk::<{ BLOCK - LOCAL_ROUTE }>()?;
    let mut head = *mask;
    head[0] |= u128::from(u64::from_le_bytes(*first)) << (8 * LOCAL_ROUTE);
    for (head, block) in head[1..].iter_mut().zip(blocks.as_chunks().0) {
        *head |= u128::from_le_bytes(*block);
    }
    let sum = carryless::sum(head, datagram, split);
    Some(sum.unwrap_or_else(|| by_tables(head, &datagram[split..])))
}

fn by_tables<const BLOCKS: usize>(head: [u128; BLOCKS], rest: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(!0);
    hasher.update(head.map(u128::to_le_bytes).as_flattened());
    hasher.update(rest);
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tables_and_multiplication_agree(
            bytes in prop::collection::vec(any::<u8>(), 16..300),
        ) {
            let head = [u128::from_le_bytes(*bytes.first_chunk().expect("sixteen"))];
            let tables = by_tables(head, &bytes[BLOCK..]);
            prop_assert_eq!(carryless::sum(head, &bytes, BLOCK).unwrap_or(tables), tables);
        }
    }
}
