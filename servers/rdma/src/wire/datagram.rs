//! Packets in UDP datagrams over IPv4 and IPv6 (Annex A17).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bth::{self, Parsed};
use super::{Body, Bth, GRH_BYTES, Service, WireError, body, icrc};

/// RoCE's port (assigned by IANA).
pub const UDP_PORT: u16 = 4791;

const UDP_PROTOCOL: u8 = 17;
const UDP_BYTES: usize = 8;
const V4_BYTES: usize = 20;
const V6_BYTES: usize = 40;
/// IPv4's flags and fragment offset: not to be fragmented, the only allowed bit.
const DO_NOT_FRAGMENT: u16 = 0x4000;
/// Both bits of ECN set: a router met congestion (RFC 3168).
const CONGESTION: u8 = 0b11;

/// Between whom a datagram goes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Whose it is.
    pub from: IpAddr,
    /// Whom it is for; of the same version.
    pub to: IpAddr,
    /// The UDP source port, which spreads flows over paths.
    pub source_port: u16,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// How many routers it may pass.
    pub hop_limit: u8,
}

/// A packet could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError<E> {
    /// The buffer is too short for it, or it is longer than a datagram can be.
    #[error("no room for the packet")]
    NoRoom,
    /// The addresses are of two versions.
    #[error("addresses of two versions")]
    Versions,
    /// Its payload could not be had.
    #[error("no payload: {0}")]
    Payload(E),
}

/// Writes a packet with its IP header into a buffer; how long it is. The payload is put in its place by
/// `fill`, which is given exactly `payload` bytes. So it is copied once.
///
/// # Errors
/// See [`EmitError`]; what the buffer then holds is of no use.
pub fn emit<E>(
    buffer: &mut [u8],
    route: &Route,
    service: Service,
    bth: &Bth,
    body: &Body,
    payload: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<usize, EmitError<E>> {
    let payload = if *body == Body::CongestionNotification { body::CNP_RESERVED } else { payload };
    let ip = ip_header_bytes(route).ok_or(EmitError::Versions)?;
    let pad = payload.wrapping_neg() & 3;
    let headers = ip + UDP_BYTES + bth::BYTES + body.bytes();
    let total = headers + payload + pad + icrc::BYTES;
    let length = u16::try_from(total).map_err(|_| EmitError::NoRoom)?;
    let packet = buffer.get_mut(..total).ok_or(EmitError::NoRoom)?;
    put_ip(packet, route, length);
    put_udp(&mut packet[ip..], route.source_port);
    #[expect(clippy::cast_possible_truncation, reason = "at most three")]
    let base = bth.to_bytes(body.opcode(service), pad as u8);
    packet[ip + UDP_BYTES..][..bth::BYTES].copy_from_slice(&base);
    body.put(&mut &mut packet[ip + UDP_BYTES + bth::BYTES..headers]);
    fill(&mut packet[headers..headers + payload]).map_err(EmitError::Payload)?;
    packet[headers + payload..total - icrc::BYTES].fill(0);
    let (covered, crc) = packet.split_at_mut(total - icrc::BYTES);
    crc.copy_from_slice(&icrc::of_datagram(covered).ok_or(EmitError::NoRoom)?);
    Ok(total)
}

const fn ip_header_bytes(route: &Route) -> Option<usize> {
    match (route.from, route.to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => Some(V4_BYTES),
        (IpAddr::V6(_), IpAddr::V6(_)) => Some(V6_BYTES),
        _ => None,
    }
}

fn put_ip(packet: &mut [u8], route: &Route, total: u16) {
    match (route.from, route.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => put_v4(packet, route, total, from, to),
        (IpAddr::V6(from), IpAddr::V6(to)) => put_v6(packet, route, total, from, to),
        _ => {}
    }
}

fn put_v4(packet: &mut [u8], route: &Route, total: u16, from: Ipv4Addr, to: Ipv4Addr) {
    // A datagram that is never fragmented needs no identification (RFC 6864).
    let mut header = [0; V4_BYTES];
    header[0] = 0x45;
    header[1] = route.traffic_class;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6..8].copy_from_slice(&DO_NOT_FRAGMENT.to_be_bytes());
    header[8] = route.hop_limit;
    header[9] = UDP_PROTOCOL;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = !sum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[..V4_BYTES].copy_from_slice(&header);
}

#[expect(clippy::cast_possible_truncation, reason = "an IPv6 header is 40 bytes of a 16-bit total")]
fn put_v6(packet: &mut [u8], route: &Route, total: u16, from: Ipv6Addr, to: Ipv6Addr) {
    let header = &mut packet[..V6_BYTES];
    let class = u32::from(route.traffic_class) << 20;
    header[..4].copy_from_slice(&(6 << 28 | class).to_be_bytes());
    header[4..6].copy_from_slice(&(total - V6_BYTES as u16).to_be_bytes());
    header[6] = UDP_PROTOCOL;
    header[7] = route.hop_limit;
    header[8..24].copy_from_slice(&from.octets());
    header[24..40].copy_from_slice(&to.octets());
}

/// A UDP header over all that is left, without a checksum: the CRC covers what it would.
fn put_udp(datagram: &mut [u8], source_port: u16) {
    #[expect(clippy::cast_possible_truncation, reason = "shorter than the IP packet around it")]
    let length = datagram.len() as u16;
    datagram[0..2].copy_from_slice(&source_port.to_be_bytes());
    datagram[2..4].copy_from_slice(&UDP_PORT.to_be_bytes());
    datagram[4..6].copy_from_slice(&length.to_be_bytes());
    datagram[6..8].fill(0);
}

/// The sum of an IPv4 header (RFC 1071); all ones if the header's own sum is in it and right.
fn sum(header: &[u8; V4_BYTES]) -> u16 {
    // Words of any length can be added as long as carries are folded in at the end.
    let (words, _) = header.as_chunks();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let sum = (sum >> 32) + (sum >> 16 & 0xffff) + (sum & 0xffff);
    #[expect(clippy::cast_possible_truncation, reason = "the carry is folded in")]
    let folded = (sum + (sum >> 16)) as u16;
    folded
}

/// A packet that came, its CRC found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// How it came.
    pub route: Route,
    /// The transport service of its opcode.
    pub service: Service,
    /// The base header.
    pub bth: Bth,
    /// What it is.
    pub body: Body,
    /// What it carries, without padding.
    pub payload: &'a [u8],
    ip_header: &'a [u8],
}

impl<'a> Received<'a> {
    /// Reads a datagram from its IP header on; bytes behind it, which a short frame has, are ignored.
    ///
    /// # Errors
    /// It is not a packet, or was damaged.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (datagram, mut route, ip) = match bytes.first().ok_or(WireError::Truncated)? >> 4 {
            4 => parse_v4(bytes)?,
            6 => parse_v6(bytes)?,
            _ => return Err(WireError::NotRoce),
        };
        route.source_port = parse_udp(datagram.get(ip..).ok_or(WireError::Length)?)?;
        if datagram.len() < ip + UDP_BYTES + bth::BYTES + icrc::BYTES {
            return Err(WireError::Truncated);
        }
        let (covered, crc) = datagram.split_at(datagram.len() - icrc::BYTES);
        if icrc::of_datagram(covered).ok_or(WireError::Truncated)? != *crc {
            return Err(WireError::Icrc);
        }
        Self::parse_packet(&covered[ip + UDP_BYTES..], route, &datagram[..ip])
    }

    fn parse_packet(
        mut rest: &'a [u8],
        route: Route,
        ip_header: &'a [u8],
    ) -> Result<Self, WireError> {
        let Parsed { bth, opcode, pad } = Bth::parse(super::take(&mut rest)?)?;
        let (service, body) = Body::parse(opcode, &mut rest)?;
        let payload = rest.len().checked_sub(pad).ok_or(WireError::Pad)?;
        if !rest.len().is_multiple_of(4) {
            return Err(WireError::Pad);
        }
        if body.is_bare() && !rest.is_empty() {
            return Err(WireError::Payload);
        }
        Ok(Self { route, service, bth, body, payload: &rest[..payload], ip_header })
    }

    /// Whether a router on the way met congestion: ECN of the IP header, or FECN.
    #[must_use]
    pub const fn met_congestion(&self) -> bool {
        self.route.traffic_class & CONGESTION == CONGESTION || self.bth.fecn
    }

    /// What lies before a datagram's payload in a receive: the IPv6 header, or the IPv4 header behind
    /// twenty zeros (Annex A17.4.5.1).
    #[must_use]
    pub fn global_route(&self) -> [u8; GRH_BYTES] {
        let mut header = [0; GRH_BYTES];
        header[GRH_BYTES - self.ip_header.len()..].copy_from_slice(self.ip_header);
        header
    }
}

/// The address of whoever sent a datagram, from what lies before its payload; `None` if that is
/// neither of the two headers.
#[must_use]
pub fn global_route(header: &[u8; GRH_BYTES]) -> Option<IpAddr> {
    if header[0] >> 4 == 6 {
        let from: [u8; 16] = header[8..24].try_into().ok()?;
        return Some(IpAddr::from(from));
    }
    let from: [u8; 4] = header[32..36].try_into().ok()?;
    (header[..20] == [0; 20] && header[20] == 0x45).then(|| IpAddr::from(from))
}

/// What is read of an IP header: the datagram cut to its length, the route, the header's length.
type Ip<'a> = (&'a [u8], Route, usize);

fn parse_v4(bytes: &[u8]) -> Result<Ip<'_>, WireError> {
    let header: &[u8; V4_BYTES] = bytes.first_chunk().ok_or(WireError::Truncated)?;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if header[0] != 0x45 || header[9] != UDP_PROTOCOL || fragment & !DO_NOT_FRAGMENT != 0 {
        return Err(WireError::NotRoce);
    }
    if sum(header) != u16::MAX {
        return Err(WireError::Checksum);
    }
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let address =
        |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let route = Route {
        from: address(12),
        to: address(16),
        source_port: 0,
        traffic_class: header[1],
        hop_limit: header[8],
    };
    Ok((bytes.get(..total).ok_or(WireError::Truncated)?, route, V4_BYTES))
}

fn parse_v6(bytes: &[u8]) -> Result<Ip<'_>, WireError> {
    let header: &[u8; V6_BYTES] = bytes.first_chunk().ok_or(WireError::Truncated)?;
    if header[6] != UDP_PROTOCOL {
        return Err(WireError::NotRoce);
    }
    let total = V6_BYTES + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let (first, second) = header[8..].split_at(16);
    let address = |bytes: &[u8]| bytes.try_into().map(<[u8; 16]>::into);
    let from = address(first).map_err(|_| WireError::Truncated)?;
    let to = address(second).map_err(|_| WireError::Truncated)?;
    let class = header[0] << 4 | header[1] >> 4;
    let route = Route { from, to, source_port: 0, traffic_class: class, hop_limit: header[7] };
    Ok((bytes.get(..total).ok_or(WireError::Truncated)?, route, V6_BYTES))
}

/// The source port of a UDP datagram that is RoCE's and as long as it says.
fn parse_udp(datagram: &[u8]) -> Result<u16, WireError> {
    let &[s0, s1, d0, d1, l0, l1, _, _] =
        datagram.first_chunk::<UDP_BYTES>().ok_or(WireError::Truncated)?;
    if u16::from_be_bytes([d0, d1]) != UDP_PORT {
        return Err(WireError::NotRoce);
    }
    if usize::from(u16::from_be_bytes([l0, l1])) != datagram.len() {
        return Err(WireError::Length);
    }
    Ok(u16::from_be_bytes([s0, s1]))
}
