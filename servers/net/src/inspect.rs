//! A received frame, looked at before the stack gets it: whether it can be anything for this
//! machine, and if not, why.
//!
//! The stack (`smoltcp`) drops what it does not like without telling. So that every dropped frame
//! is counted under its reason, headers and checksums are checked here, and the stack is told not
//! to check the sums a second time. What the card has already checked is not checked at all.
//!
//! Ethernet II; ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200) with a hop-by-hop header at most,
//! ICMP (RFC 792), ICMPv6 (RFC 4443), UDP (RFC 768), TCP (RFC 9293), IGMP. Fragments are dropped.

use core::net::SocketAddr;

use libd3os::nic::Checks;
use libd3os::service::net::DropReason;
use smoltcp::wire::{
    ArpPacket, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet,
    IgmpPacket, IpAddress, IpProtocol, Ipv4Packet, Ipv6ExtHeader, Ipv6Packet, TcpPacket, UdpPacket,
};

use crate::checksum::Sum;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A datagram.
    Datagram(Datagram<'a>),
    /// Something that neighbours tell of themselves, or routers of the network: ARP, ICMPv6.
    Neighbours,
    /// Anything else.
    Other,
}

/// A UDP datagram whose sum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Whom it is for.
    pub to: SocketAddr,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Looks whether the frame is worth the stack's time at a card with this address, and what it
/// carries.
///
/// # Errors
/// Why it is not.
pub fn inspect(
    frame: &[u8],
    own: EthernetAddress,
    checks: Checks,
) -> Result<Content<'_>, DropReason> {
    let frame = EthernetFrame::new_checked(frame).map_err(truncated)?;
    let to = frame.dst_addr();
    if to != own && !to.is_multicast() && !to.is_broadcast() {
        return Err(DropReason::NotOurs);
    }
    match frame.ethertype() {
        EthernetProtocol::Arp => {
            let packet = ArpPacket::new_checked(frame.payload());
            packet.map(|_| Content::Neighbours).map_err(truncated)
        }
        EthernetProtocol::Ipv4 => ipv4(frame.payload(), checks),
        EthernetProtocol::Ipv6 => ipv6(frame.payload(), checks),
        EthernetProtocol::Unknown(_) => Err(DropReason::UnknownProtocol),
    }
}

fn ipv4(bytes: &[u8], checks: Checks) -> Result<Content<'_>, DropReason> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(truncated)?;
    let header = bytes.get(..packet.header_len().into()).ok_or(DropReason::Truncated)?;
    if packet.version() != 4 || header.len() < 20 {
        return Err(DropReason::Malformed);
    }
    if !checks.ipv4 && !Sum::default().with(header).is_right() {
        return Err(DropReason::Checksum);
    }
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Err(DropReason::Fragment);
    }
    let ends = [packet.src_addr().into(), packet.dst_addr().into()];
    transport(packet.next_header(), packet.payload(), ends, checks)
}

fn ipv6(bytes: &[u8], checks: Checks) -> Result<Content<'_>, DropReason> {
    let packet = Ipv6Packet::new_checked(bytes).map_err(truncated)?;
    if packet.version() != 6 {
        return Err(DropReason::Malformed);
    }
    let ends = [packet.src_addr().into(), packet.dst_addr().into()];
    match packet.next_header() {
        IpProtocol::HopByHop => {
            let header = Ipv6ExtHeader::new_checked(packet.payload()).map_err(truncated)?;
            let length = 8 * (1 + usize::from(header.header_len()));
            let rest = packet.payload().get(length..).ok_or(DropReason::Truncated)?;
            transport(header.next_header(), rest, ends, checks)
        }
        IpProtocol::Ipv6Frag => Err(DropReason::Fragment),
        protocol => transport(protocol, packet.payload(), ends, checks),
    }
}

fn transport(
    protocol: IpProtocol,
    bytes: &[u8],
    [from, to]: [IpAddress; 2],
    checks: Checks,
) -> Result<Content<'_>, DropReason> {
    let is_right = |bytes: &[u8]| {
        checks.transport
            || Sum::of_pseudo_header(from.into(), to.into(), protocol.into(), bytes.len())
                .with(bytes)
                .is_right()
    };
    let mut content = Content::Other;
    let sound = match protocol {
        IpProtocol::Tcp => {
            TcpPacket::new_checked(bytes).map_err(truncated)?;
            is_right(bytes)
        }
        IpProtocol::Udp => {
            let datagram = UdpPacket::new_checked(bytes).map_err(truncated)?;
            let bytes = bytes.get(..datagram.len().into()).ok_or(DropReason::Truncated)?;
            let from = SocketAddr::new(from.into(), datagram.src_port());
            let to = SocketAddr::new(to.into(), datagram.dst_port());
            content = Content::Datagram(Datagram { from, to, bytes: datagram.payload() });
            // One without a sum says 0.
            datagram.checksum() == 0 || is_right(bytes)
        }
        IpProtocol::Icmp => Icmpv4Packet::new_checked(bytes).map_err(truncated)?.verify_checksum(),
        IpProtocol::Icmpv6 => {
            content = Content::Neighbours;
            icmpv6(bytes, from, to)?
        }
        IpProtocol::Igmp => IgmpPacket::new_checked(bytes).map_err(truncated)?.verify_checksum(),
        _ => return Err(DropReason::UnknownProtocol),
    };
    sound.then_some(content).ok_or(DropReason::Checksum)
}

fn icmpv6(bytes: &[u8], from: IpAddress, to: IpAddress) -> Result<bool, DropReason> {
    let message = Icmpv6Packet::new_checked(bytes).map_err(truncated)?;
    match (from, to) {
        (IpAddress::Ipv6(from), IpAddress::Ipv6(to)) => Ok(message.verify_checksum(&from, &to)),
        // Over IPv4 it is nothing that is spoken here.
        _ => Err(DropReason::UnknownProtocol),
    }
}

fn truncated(_: smoltcp::wire::Error) -> DropReason {
    DropReason::Truncated
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetRepr, IpRepr, Ipv4Address, Ipv4Repr, Ipv6Address, Ipv6Repr, UdpRepr,
    };

    const OWN: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
    const HEADERS: usize = 14;

    fn frame(to: EthernetAddress, ethertype: EthernetProtocol, content: &[u8]) -> Vec<u8> {
        let repr = EthernetRepr { src_addr: OTHER, dst_addr: to, ethertype };
        let mut bytes = vec![0; HEADERS];
        repr.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
        [&bytes, content].concat()
    }

    fn datagram(ip: IpRepr, payload: &[u8]) -> Vec<u8> {
        let udp = UdpRepr { src_port: 7, dst_port: 9 };
        let sums = ChecksumCapabilities::default();
        let mut bytes = vec![0; ip.buffer_len()];
        ip.emit(&mut bytes, &sums);
        let (from, to) = (ip.src_addr(), ip.dst_addr());
        let mut packet = UdpPacket::new_unchecked(&mut bytes[ip.header_len()..]);
        let fill = |buffer: &mut [u8]| buffer.copy_from_slice(payload);
        udp.emit(&mut packet, &from, &to, payload.len(), fill, &sums);
        let ethertype = match ip {
            IpRepr::Ipv4(_) => EthernetProtocol::Ipv4,
            IpRepr::Ipv6(_) => EthernetProtocol::Ipv6,
        };
        frame(OWN, ethertype, &bytes)
    }

    fn four(payload: &[u8]) -> Vec<u8> {
        let ip = Ipv4Repr {
            src_addr: Ipv4Address::new(10, 0, 2, 2),
            dst_addr: Ipv4Address::new(10, 0, 2, 15),
            next_header: IpProtocol::Udp,
            payload_len: 8 + payload.len(),
            hop_limit: 64,
        };
        datagram(IpRepr::Ipv4(ip), payload)
    }

    fn six(payload: &[u8]) -> Vec<u8> {
        let ip = Ipv6Repr {
            src_addr: Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            dst_addr: Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2),
            next_header: IpProtocol::Udp,
            payload_len: 8 + payload.len(),
            hop_limit: 64,
        };
        datagram(IpRepr::Ipv6(ip), payload)
    }

    fn look(frame: &[u8]) -> Result<(), DropReason> {
        inspect(frame, OWN, Checks::default()).map(drop)
    }

    #[test]
    fn sound_frames_pass() {
        assert_eq!((look(&four(b"hello")), look(&six(b"hello"))), (Ok(()), Ok(())));
    }

    #[test]
    fn every_reason_is_told() {
        let changed = |at: usize, value: u8| {
            let mut frame = four(b"hello");
            frame[at] = value;
            frame
        };
        let unknown = frame(OWN, EthernetProtocol::Unknown(0x88cc), b"lldp");
        assert_eq!(look(&[1; 13]), Err(DropReason::Truncated));
        assert_eq!(look(&four(b"hello")[..40]), Err(DropReason::Truncated));
        assert_eq!(look(&changed(5, 9)), Err(DropReason::NotOurs));
        assert_eq!(look(&unknown), Err(DropReason::UnknownProtocol));
        assert_eq!(look(&changed(HEADERS + 8, 1)), Err(DropReason::Checksum));
        assert_eq!(look(&changed(HEADERS + 30, 0xff)), Err(DropReason::Checksum));
        let card = Checks { ipv4: true, transport: true };
        let trusted = |frame: &[u8]| inspect(frame, OWN, card).map(drop);
        assert_eq!(trusted(&changed(HEADERS + 6, 0x20)), Err(DropReason::Fragment));
        assert_eq!(trusted(&changed(HEADERS, 0x65)), Err(DropReason::Malformed));
        assert_eq!(trusted(&changed(HEADERS + 9, 200)), Err(DropReason::UnknownProtocol));
        assert_eq!(trusted(&changed(HEADERS + 30, 0xff)), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200), ipv4: bool, transport: bool) {
            let _ = inspect(&bytes, OWN, Checks { ipv4, transport });
        }

        /// One wrong bit behind the addresses is found, wherever it is.
        #[test]
        fn damage_is_found(payload in prop::collection::vec(any::<u8>(), 1..100), at: prop::sample::Index, bit in 0u8..8) {
            for mut frame in [four(&payload), six(&payload)] {
                let at = HEADERS + at.index(frame.len() - HEADERS);
                frame[at] ^= 1 << bit;
                // Traffic class, flow label and hop limit of IPv6 are not covered by any sum.
                let uncovered = frame[12] == 0x86 && (at < HEADERS + 4 || at == HEADERS + 7);
                prop_assert!(uncovered || look(&frame).is_err());
            }
        }
    }
}
