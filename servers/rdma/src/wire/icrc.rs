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
/// What stands for the local route header.
const LOCAL_ROUTE: usize = 8;
const UDP_HEADER: usize = 8;
/// The longest head: version 6.
const MOST_HEAD: usize = LOCAL_ROUTE + 40 + UDP_HEADER + bth::BYTES;

/// The CRC of a datagram from its IP header, which has `ip_header` bytes, up to where the CRC stands.
///
/// The caller has made sure that headers of IP, UDP and BTH are there.
pub(super) fn of_datagram(datagram: &[u8], ip_header: usize) -> [u8; BYTES] {
    let split = ip_header + UDP_HEADER + bth::BYTES;
    let (head, rest) = datagram.split_at(split);
    let mut masked = [0xff; MOST_HEAD];
    let masked = &mut masked[..LOCAL_ROUTE + split];
    masked[LOCAL_ROUTE..].copy_from_slice(head);
    mask(&mut masked[LOCAL_ROUTE..], ip_header);
    (!add(add(!0, masked), rest)).to_le_bytes()
}

/// Continues a sum, which is inverted before the first byte and behind the last one.
fn add(sum: u32, bytes: &[u8]) -> u32 {
    let (sum, rest) = carryless::update(sum, bytes);
    if rest.is_empty() {
        return sum;
    }
    let mut hasher = Hasher::new_with_initial(!sum);
    hasher.update(rest);
    !hasher.finalize()
}

fn mask(head: &mut [u8], ip_header: usize) {
    if head[0] >> 4 == 4 {
        for place in [1, 8, 10, 11] {
            head[place] = 0xff;
        }
    } else {
        head[0] |= 0x0f;
        head[1..4].fill(0xff);
        head[7] = 0xff;
    }
    head[ip_header + 6..ip_header + UDP_HEADER].fill(0xff);
    head[ip_header + UDP_HEADER + bth::VARIANT] = 0xff;
}
