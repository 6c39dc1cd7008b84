//! Ways to others, for datagrams: what stands before a datagram to an address that was written to a
//! moment ago.
//!
//! The stack finds the way of the first: the interface, the address to send from, the neighbour.
//! What it then puts before the datagram is kept here for half a minute, and further
//! datagrams to the same address are written without it. Whatever may change a way (an address, a
//! line, anything that a neighbour or router tells) drops all of them: the stack finds them again.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use libd3os::net::DATAGRAM_HEADER;
use libd3os::nic;
use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet};

use crate::checksum::{Maker, Sum};

/// How long a way is kept. The stack keeps its neighbours for a minute, so that one who has gone is
/// written to for a minute and a half at most.
const LIFETIME: Duration = Duration::from_secs(30);
/// Ways at most; the oldest makes room.
const MOST: usize = 16;
/// What a datagram may have to go without the stack: beyond, the stack says what becomes of it.
const HOPS: u8 = 64;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const UDP_NUMBER: u8 = 17;
/// RFC 791: no fragments.
const WHOLE: [u8; 2] = [0x40, 0];

/// What the stack has put before a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    to: IpAddr,
    from: IpAddr,
    ethernet: [u8; ETHERNET],
}

impl Seen {
    /// Looks at a frame that the stack sends; `None` for one that is no datagram to one neighbour.
    #[must_use]
    pub fn in_frame(bytes: &[u8]) -> Option<Self> {
        let frame = EthernetFrame::new_checked(bytes).ok()?;
        let ethernet = *bytes.first_chunk()?;
        let (protocol, from, to) = match frame.ethertype() {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
                (packet.next_header(), packet.src_addr().into(), packet.dst_addr().into())
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
                (packet.next_header(), packet.src_addr().into(), packet.dst_addr().into())
            }
            _ => return None,
        };
        let seen = Self { to, from, ethernet };
        (protocol == IpProtocol::Udp && frame.dst_addr().is_unicast()).then_some(seen)
    }
}

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface that leads there.
    pub interface: usize,
    seen: Seen,
    until: Duration,
}

impl Way {
    /// Bytes of all headers.
    #[must_use]
    pub const fn headers(&self) -> usize {
        let ip = if self.seen.to.is_ipv4() { IPV4 } else { IPV6 };
        ETHERNET + ip + UDP
    }

    /// Where a message of a program's is put into a frame, so that its bytes lie behind the headers.
    #[must_use]
    pub const fn message(&self) -> usize {
        self.headers() - DATAGRAM_HEADER
    }

    /// Writes the headers before the bytes of a datagram, which lie in the frame already and end
    /// with it. Tells which checksum the card is to make.
    pub fn write_headers(&self, frame: &mut [u8], ports: [u16; 2], maker: Maker) -> nic::Sum {
        self.try_write_headers(frame, ports, maker).unwrap_or_default()
    }

    fn try_write_headers(
        &self,
        frame: &mut [u8],
        ports: [u16; 2],
        maker: Maker,
    ) -> Option<nic::Sum> {
        let (ethernet, packet) = frame.split_first_chunk_mut()?;
        *ethernet = self.seen.ethernet;
        match (self.seen.from, self.seen.to) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (header, datagram) = packet.split_first_chunk_mut()?;
                *header = ipv4(datagram.len(), source.octets(), destination.octets());
                self.write_udp(datagram, ports, maker);
                (maker == Maker::Card).then_some(nic::Sum::Udp)
            }
            (source, destination) => {
                let (header, datagram) = packet.split_first_chunk_mut()?;
                *header = ipv6(datagram.len(), source, destination);
                // A card makes sums over IPv4 alone.
                self.write_udp(datagram, ports, Maker::Server);
                None
            }
        }
    }

    fn write_udp(&self, datagram: &mut [u8], [from, to]: [u16; 2], maker: Maker) {
        let length = datagram.len();
        let Some((header, _)) = datagram.split_first_chunk_mut::<UDP>() else { return };
        header[..2].copy_from_slice(&from.to_be_bytes());
        header[2..4].copy_from_slice(&to.to_be_bytes());
        header[4..6].copy_from_slice(&number(length));
        header[6..].fill(0);
        let Seen { from, to, .. } = self.seen;
        let open = Sum::of_pseudo_header(from, to, UDP_NUMBER, length);
        let sum = match maker {
            Maker::Card => open.open(),
            // 0 would say that there is none.
            Maker::Server => match open.with(datagram).finish() {
                0 => u16::MAX,
                sum => sum,
            },
        };
        datagram[6..UDP].copy_from_slice(&sum.to_be_bytes());
    }
}

/// A header without options. Its length fits: a frame has a few thousand bytes.
fn ipv4(payload: usize, from: [u8; 4], to: [u8; 4]) -> [u8; IPV4] {
    let mut header = [0; IPV4];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&number(IPV4 + payload));
    header[6..8].copy_from_slice(&WHOLE);
    (header[8], header[9]) = (HOPS, UDP_NUMBER);
    header[12..16].copy_from_slice(&from);
    header[16..].copy_from_slice(&to);
    let sum = Sum::default().with(&header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6(payload: usize, from: IpAddr, to: IpAddr) -> [u8; IPV6] {
    let mut header = [0; IPV6];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&number(payload));
    (header[6], header[7]) = (UDP_NUMBER, HOPS);
    if let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) {
        header[8..24].copy_from_slice(&from.octets());
        header[24..].copy_from_slice(&to.octets());
    }
    header
}

fn number(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// Ways that are known, the latest first.
#[derive(Debug, Default)]
pub struct Ways(Vec<Way>);

impl Ways {
    /// The way that was found last.
    #[must_use]
    pub fn latest(&self, now: Duration) -> Option<Way> {
        self.0.first().copied().filter(|way| now < way.until)
    }

    /// The way to there.
    #[must_use]
    pub fn find(&self, to: SocketAddr, now: Duration) -> Option<&Way> {
        let to = to.ip();
        self.0.iter().find(|way| way.seen.to == to && now < way.until)
    }

    /// Keeps a way that the stack has just taken through this interface.
    pub fn learn(&mut self, interface: usize, seen: Seen, now: Duration) {
        self.0.retain(|way| way.seen.to != seen.to);
        self.0.truncate(MOST - 1);
        self.0.insert(0, Way { interface, seen, until: now + LIFETIME });
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::tests::made_by_card;
    use crate::inspect::{Content, Datagram, inspect};
    use libd3os::nic::Checks;
    use proptest::prelude::*;
    use smoltcp::wire::EthernetAddress;

    const NEIGHBOUR: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);

    fn seen(from: IpAddr, to: IpAddr) -> Seen {
        let kind: [u8; 2] = if to.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
        let mut ethernet = [2; ETHERNET];
        ethernet[..6].copy_from_slice(&NEIGHBOUR.0);
        ethernet[12..].copy_from_slice(&kind);
        Seen { to, from, ethernet }
    }

    fn way(seen: Seen) -> Way {
        Way { interface: 0, seen, until: LIFETIME }
    }

    fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        prop_oneof![
            any::<[[u8; 4]; 2]>().prop_map(|[from, to]| (from.into(), to.into())),
            any::<[[u8; 16]; 2]>().prop_map(|[from, to]| (from.into(), to.into())),
        ]
    }

    proptest! {
        /// What is written is what the other side reads, and what is learned from it is the way.
        #[test]
        fn headers_are_understood(
            (from, to) in addresses(),
            ports: (u16, u16),
            by_card: bool,
            bytes in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            let way = way(seen(from, to));
            let mut frame = vec![0xaa; way.headers()];
            frame.extend(&bytes);
            let maker = if by_card { Maker::Card } else { Maker::Server };
            let sum = way.write_headers(&mut frame, [ports.0, ports.1], maker);
            let expected_sum = if by_card && to.is_ipv4() { nic::Sum::Udp } else { nic::Sum::Made };
            prop_assert_eq!(sum, expected_sum);
            made_by_card(&mut frame, sum);
            let expected = Content::Datagram(Datagram {
                from: SocketAddr::new(from, ports.0),
                to: SocketAddr::new(to, ports.1),
                bytes: &bytes,
            });
            prop_assert_eq!(inspect(&frame, NEIGHBOUR, Checks::default()), Ok(expected));
            prop_assert_eq!(Seen::in_frame(&frame), Some(way.seen));
        }

        #[test]
        fn any_frame_is_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Seen::in_frame(&bytes);
        }
    }

    #[test]
    fn ways_end_and_make_room() {
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let socket = |last| SocketAddr::new(address(last), 7);
        let mut ways = Ways::default();
        for last in 1..=20 {
            ways.learn(usize::from(last), seen(address(100), address(last)), Duration::ZERO);
        }
        assert!(ways.find(socket(4), Duration::ZERO).is_none());
        assert_eq!(ways.find(socket(5), Duration::ZERO).map(|way| way.interface), Some(5));
        assert_eq!(ways.latest(Duration::ZERO).map(|way| way.interface), Some(20));
        assert!(ways.find(socket(5), LIFETIME).is_none(), "it is over");
        ways.learn(7, seen(address(100), address(5)), LIFETIME);
        assert_eq!(ways.find(socket(5), LIFETIME).map(|way| way.interface), Some(7));
        ways.clear();
        assert!(ways.latest(Duration::ZERO).is_none());
    }
}
