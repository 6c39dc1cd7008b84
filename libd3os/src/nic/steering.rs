//! Which consumer a received frame is for, as hardware with flow rules would decide it.

use super::Consumer;
use super::memory::HEAD_BYTES;

/// UDP destination port of RoCEv2 (IANA; InfiniBand annex A17).
pub const ROCE_PORT: u16 = 4791;

const ETHERNET_BYTES: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV6_BYTES: usize = 40;
const UDP: u8 = 17;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The consumer of a frame of `length` bytes that begins with `head`.
///
/// UDP to [`ROCE_PORT`], over IPv4 or IPv6 (without extension headers), is `rdma`'s; all else is
/// `net`'s, also what is too short, tagged (802.1Q), or a fragment that is not the first.
#[must_use]
#[inline]
pub fn steer(head: &[u8; HEAD_BYTES], length: u16) -> Consumer {
    let frame = head.get(..usize::from(length)).unwrap_or(head);
    if udp_destination(frame) == Some(ROCE_PORT) { Consumer::Rdma } else { Consumer::Net }
}

#[inline]
fn udp_destination(frame: &[u8]) -> Option<u16> {
    match word(frame, 12)? {
        IPV4 => over_ipv4(frame),
        IPV6 => over_ipv6(frame),
        _ => None,
    }
}

/// RFC 791: version and header length, flags and fragment offset, protocol.
#[inline]
fn over_ipv4(frame: &[u8]) -> Option<u16> {
    let version = *frame.get(ETHERNET_BYTES)?;
    let header = usize::from(version & 0xf) * 4;
    let protocol = *frame.get(ETHERNET_BYTES + 9)?;
    if version >> 4 != 4 || header < 20 || protocol != UDP {
        return None;
    }
    if word(frame, ETHERNET_BYTES + 6)? & FRAGMENT_OFFSET != 0 {
        return None;
    }
    word(frame, ETHERNET_BYTES + header + 2)
}

/// RFC 8200: version, next header.
#[inline]
fn over_ipv6(frame: &[u8]) -> Option<u16> {
    let version = *frame.get(ETHERNET_BYTES)? >> 4;
    let next = *frame.get(ETHERNET_BYTES + 6)?;
    if version != 6 || next != UDP {
        return None;
    }
    word(frame, ETHERNET_BYTES + IPV6_BYTES + 2)
}

#[inline]
fn word(frame: &[u8], offset: usize) -> Option<u16> {
    frame.get(offset..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// A UDP datagram over IPv4 whose header has so many words of options.
    fn ipv4(options: u8, fragment: u16, port: u16) -> Vec<u8> {
        let mut frame = alloc::vec![0; 12];
        frame.extend([0x08, 0x00, 0x45 + options, 0, 0, 0, 0, 0]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, UDP, 0, 0]);
        frame.extend([0; 8]);
        frame.extend(core::iter::repeat_n(0, usize::from(options) * 4));
        frame.extend([0x12, 0x34]);
        frame.extend(port.to_be_bytes());
        frame.extend([0; 4]);
        frame
    }

    fn ipv6(next: u8, port: u16) -> Vec<u8> {
        let mut frame = alloc::vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, next, 64]);
        frame.extend([0; 32]);
        frame.extend([0x12, 0x34]);
        frame.extend(port.to_be_bytes());
        frame
    }

    fn of(frame: &[u8]) -> Consumer {
        let mut head = [0; HEAD_BYTES];
        let length = frame.len().min(HEAD_BYTES);
        head[..length].copy_from_slice(&frame[..length]);
        steer(&head, u16::try_from(frame.len()).expect("short"))
    }

    #[test]
    fn roce_goes_to_rdma() {
        for options in [0, 1, 10] {
            assert_eq!(of(&ipv4(options, 0, 4791)), Consumer::Rdma);
        }
        assert_eq!(of(&ipv4(0, 0x4000, 4791)), Consumer::Rdma, "do not fragment");
        assert_eq!(of(&ipv6(UDP, 4791)), Consumer::Rdma);
    }

    #[test]
    fn all_else_goes_to_net() {
        assert_eq!(of(&ipv4(0, 0, 53)), Consumer::Net);
        assert_eq!(of(&ipv4(0, 8, 4791)), Consumer::Net, "not the first fragment");
        assert_eq!(of(&ipv6(6, 4791)), Consumer::Net, "TCP");
        let mut tcp = ipv4(0, 0, 4791);
        tcp[23] = 6;
        assert_eq!(of(&tcp), Consumer::Net);
        let mut tagged = ipv4(0, 0, 4791);
        tagged.splice(12..12, [0x81, 0, 0, 1]);
        assert_eq!(of(&tagged), Consumer::Net);
    }

    proptest! {
        /// What lies behind the frame's end does not count: old bytes of the buffer are there.
        #[test]
        fn a_frame_that_ends_before_its_port_goes_to_net(options in 0u8..=10, cut in 0usize..100) {
            let frame = ipv4(options, 0, 4791);
            let mut head = [0; HEAD_BYTES];
            let there = frame.len().min(HEAD_BYTES);
            head[..there].copy_from_slice(&frame[..there]);
            let whole = cut >= 38 + usize::from(options) * 4;
            let consumer = steer(&head, u16::try_from(cut).expect("short"));
            prop_assert_eq!(consumer == Consumer::Rdma, whole);
        }

        /// Against the slow obvious reading of the same headers.
        #[test]
        fn hostile_frames_are_steered_as_their_headers_say(
            mut frame in prop::collection::vec(any::<u8>(), 0..120),
            kind in 0usize..4,
            udp: bool,
            roce: bool,
        ) {
            let patch = |frame: &mut Vec<u8>, at: usize, bytes: &[u8]| {
                if frame.len() >= at + bytes.len() {
                    frame[at..at + bytes.len()].copy_from_slice(bytes);
                }
            };
            if kind == 1 {
                patch(&mut frame, 12, &[8, 0]);
                patch(&mut frame, 20, &[0, 0]);
                patch(&mut frame, 23, &[if udp { 17 } else { 6 }]);
            } else if kind == 2 {
                patch(&mut frame, 12, &[0x86, 0xdd, 0x60]);
                patch(&mut frame, 20, &[if udp { 17 } else { 6 }]);
            }
            if roce {
                let header = frame.get(14).map_or(0, |byte| usize::from(byte & 15) * 4);
                patch(&mut frame, if kind == 2 { 56 } else { 16 + header }, &4791u16.to_be_bytes());
            }
            prop_assert_eq!(of(&frame), slow(&frame));
        }
    }

    fn slow(frame: &[u8]) -> Consumer {
        let at = |index: usize| frame.get(index).copied().map(u32::from);
        let be16 = |index: usize| Some(at(index)? * 256 + at(index + 1)?);
        let port = match be16(12) {
            Some(0x800) if at(14).is_some_and(|v| v / 16 == 4 && v % 16 >= 5) => {
                let udp = at(23) == Some(17) && be16(20).is_some_and(|word| word % 8192 == 0);
                be16(14 + at(14).map_or(0, |v| v as usize % 16 * 4) + 2).filter(|_| udp)
            }
            Some(0x86dd) if at(14).is_some_and(|v| v / 16 == 6) => {
                be16(56).filter(|_| at(20) == Some(17))
            }
            _ => None,
        };
        if port == Some(4791) { Consumer::Rdma } else { Consumer::Net }
    }
}
