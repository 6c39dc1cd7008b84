//! The other end of the cable, as QEMU's user network is: a router that answers ARP and pings,
//! gives out addresses (DHCP) and knows one name (DNS).

use std::net::Ipv4Addr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::udp;
use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpPacket, DhcpRepr, DnsPacket,
    EthernetAddress, HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint,
};

use super::wire::{SimCard, clock};
use crate::device::Device;
use crate::interface::instant;

pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const FIRST: u8 = 15;
const MAC: EthernetAddress = EthernetAddress([0x52, 0x55, 10, 0, 2, 2]);
const DNS_PORT: u16 = 53;

/// The only name that the router knows, and its addresses.
pub(super) const NAME: &str = "d3os.example";
pub(super) const KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

pub(super) struct Router {
    device: Device<SimCard>,
    stack: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
    dns: SocketHandle,
    /// Whose addresses are `FIRST` and those that follow.
    leases: Vec<EthernetAddress>,
}

impl Router {
    pub(super) fn new(card: SimCard) -> Self {
        let mut device = Device::new(card, MAC, 1500);
        let config = Config::new(HardwareAddress::Ethernet(MAC));
        let mut stack = Interface::new(config, &mut device, instant(clock()));
        stack.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(ROUTER.into(), 24)).expect("room");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let [dhcp, dns] = [DHCP_SERVER_PORT, DNS_PORT].map(|port| sockets.add(bound(port)));
        Self { device, stack, sockets, dhcp, dns, leases: Vec::new() }
    }

    pub(super) fn turn(&mut self) {
        let now = instant(clock());
        self.stack.poll(now, &mut self.device, &mut self.sockets);
        self.lease();
        self.answer();
        self.stack.poll(now, &mut self.device, &mut self.sockets);
    }

    pub(super) fn deadline(&mut self) -> Option<Duration> {
        let at = self.stack.poll_at(instant(clock()), &self.sockets)?;
        Some(Duration::from_micros(at.total_micros().unsigned_abs()))
    }

    fn lease(&mut self) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.dhcp);
        while let Ok((bytes, _)) = socket.recv() {
            let Some(answer) = offer(bytes, &mut self.leases) else { continue };
            let to = IpEndpoint::new(Ipv4Addr::BROADCAST.into(), DHCP_CLIENT_PORT);
            socket.send_slice(&answer, to).expect("room");
        }
    }

    fn answer(&mut self) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.dns);
        while let Ok((bytes, from)) = socket.recv() {
            let answer = resolve(bytes);
            socket.send_slice(&answer, from.endpoint).expect("room");
        }
    }
}

fn bound(port: u16) -> udp::Socket<'static> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8192]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(IpListenEndpoint { addr: None, port }).expect("a port");
    socket
}

fn offer(bytes: &[u8], leases: &mut Vec<EthernetAddress>) -> Option<Vec<u8>> {
    let packet = DhcpPacket::new_checked(bytes).ok()?;
    let request = DhcpRepr::parse(&packet).ok()?;
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request => DhcpMessageType::Ack,
        _ => return None,
    };
    let client = request.client_hardware_address;
    let known = leases.iter().position(|known| *known == client);
    let number = known.unwrap_or_else(|| {
        leases.push(client);
        leases.len() - 1
    });
    let mut servers = request.dns_servers.clone().unwrap_or_default();
    servers.clear();
    servers.push(ROUTER).expect("room");
    let answer = DhcpRepr {
        message_type,
        your_ip: Ipv4Addr::new(10, 0, 2, FIRST + u8::try_from(number).expect("few")),
        server_ip: ROUTER,
        server_identifier: Some(ROUTER),
        router: Some(ROUTER),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        dns_servers: Some(servers),
        lease_duration: Some(3600),
        requested_ip: None,
        client_identifier: None,
        parameter_request_list: None,
        max_size: None,
        ..request
    };
    let mut bytes = vec![0; answer.buffer_len()];
    answer.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).expect("fits");
    Some(bytes)
}

/// The question with its answers behind it; for another name, that there is none.
fn resolve(question: &[u8]) -> Vec<u8> {
    const HEADER: usize = 12;
    let packet = DnsPacket::new_checked(question).expect("a question");
    let name: Vec<u8> = NAME
        .split('.')
        .flat_map(|label| {
            let length = u8::try_from(label.len()).expect("short");
            [&[length], label.as_bytes()].concat()
        })
        .chain([0])
        .collect();
    let end = HEADER + name.len() + 4;
    let is_known = question.get(HEADER..HEADER + name.len()) == Some(&name[..]);
    let is_a = is_known && question.get(end - 4..end - 2) == Some(&[0, 1]);
    let addresses = if is_a { &KNOWN[..] } else { &[] };
    let mut answer = packet.into_inner().to_vec();
    (answer[2], answer[3]) = (0x81, if is_known { 0x80 } else { 0x83 });
    answer[7] = u8::try_from(addresses.len()).expect("few");
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
