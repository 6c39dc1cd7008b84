//! One interface: a card, its addresses, and the sockets that the stack has at it.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use libd3os::service::net::{DropReason, InterfaceAddress, InterfaceStatus, LinkState, Origin};
use smoltcp::iface::{self, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::{AnySocket, dhcpv4, dns, icmp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};

use crate::device::{Came, Card, Device};
use crate::inspect::Datagram;
use crate::ways::Seen;

/// Frames taken from a card before others get their turn.
const FRAMES_IN_A_ROW: u32 = 32;
/// Echo requests and answers that can wait at an interface.
const ECHO_PACKETS: usize = 16;
/// Bytes of an ICMP packet to be kept at most.
pub(crate) const ECHO_BYTES: usize = 1200;

/// What a card says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardInfo {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Bytes of the longest IP packet.
    pub mtu: u16,
    /// How it is connected.
    pub link: LinkState,
    /// Which instance of the driver it is, counted from 0: the same may be attached to again.
    pub instance: u32,
}

impl CardInfo {
    /// Whether it can be a card: an address of its own, and packets that IPv6 allows.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        EthernetAddress(self.mac).is_unicast() && self.mac != [0; 6] && self.mtu >= 1280
    }
}

/// How an interface gets its IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// A DHCP server gives it.
    Dhcp,
    /// It is this, in a network of this prefix, with this router.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// Bits of it that name the network.
        prefix: u8,
        /// The way to everywhere else.
        router: Option<Ipv4Addr>,
    },
}

/// How often an interface is looked at whose stack does not tell when it wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Connections or questions are under way.
    Brisk,
    /// Only neighbours and leases are to be kept.
    Calm,
}

impl Pace {
    const fn interval(self) -> Duration {
        match self {
            Self::Brisk => Duration::from_millis(10),
            Self::Calm => Duration::from_secs(1),
        }
    }
}

/// An interface.
pub struct Interface<C: Card> {
    name: String,
    device: Device<C>,
    stack: iface::Interface,
    /// All sockets here: the interface's own, and those of programs.
    pub(crate) sockets: SocketSet<'static>,
    /// Aborted connections whose resets are still to be sent.
    retired: Vec<SocketHandle>,
    own: Own,
    addressing: Addressing,
    info: CardInfo,
    name_servers: Vec<IpAddr>,
    restarts: u32,
    /// When the stack has something to do even if nothing comes; `None` where that must be asked anew.
    due: Option<Duration>,
    /// Something has changed by which datagrams find their ways.
    ways_changed: bool,
}

/// The interface's own sockets.
#[derive(Clone, Copy, Debug)]
struct Own {
    dhcp: Option<SocketHandle>,
    dns: SocketHandle,
    echo: SocketHandle,
}

impl<C: Card> fmt::Debug for Interface<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, device, addressing, info, .. } = self;
        f.debug_struct("Interface")
            .field("name", name)
            .field("device", device)
            .field("addressing", addressing)
            .field("info", info)
            .finish_non_exhaustive()
    }
}

impl<C: Card> Interface<C> {
    /// An interface over a sound card. `seed` is what others cannot guess; echo requests go out with
    /// `ident`.
    pub fn new(
        name: &str,
        card: C,
        info: CardInfo,
        addressing: Addressing,
        seed: u64,
        ident: u16,
        now: Duration,
    ) -> Self {
        let mac = EthernetAddress(info.mac);
        let mut device = Device::new(card, mac, info.mtu.into());
        let mut config = iface::Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        config.slaac = true;
        let stack = iface::Interface::new(config, &mut device, instant(now));
        let mut sockets = SocketSet::new(Vec::new());
        let own = Own::open(&mut sockets, addressing, ident);
        let name = name.to_string();
        let mut interface = Self {
            name,
            device,
            stack,
            sockets,
            retired: Vec::new(),
            own,
            addressing,
            info,
            name_servers: Vec::new(),
            restarts: 0,
            due: None,
            ways_changed: false,
        };
        interface.configure_link_local();
        interface.configure_statically();
        interface
    }

    /// Its name: the driver's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The driver runs again: goes on with this card. Addresses and sockets stay; without
    /// an address the DHCP server is asked again.
    pub fn renew(&mut self, card: C, info: CardInfo) {
        let mac = EthernetAddress(info.mac);
        self.device.renew(card, mac);
        self.ways_changed = true;
        self.restarts += u32::from(info.instance != self.info.instance);
        // What it asked for may be lost with the driver.
        if let Some(dhcp) = self.own.dhcp.filter(|_| self.ipv4().is_none()) {
            self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).reset();
        }
        if info.mac != self.info.mac {
            self.stack.set_hardware_addr(HardwareAddress::Ethernet(mac));
            self.configure_link_local();
        }
        self.info = info;
    }

    /// The driver is gone.
    pub fn lose(&mut self) -> Option<C> {
        self.info.link = LinkState::NoDriver;
        self.ways_changed = true;
        self.device.lose()
    }

    /// The line is so now; tells whether that is news.
    pub fn set_link(&mut self, link: LinkState) -> bool {
        let before = self.info.link;
        let came_up = link == LinkState::Up && self.info.link != LinkState::Up;
        self.info.link = link;
        self.ways_changed |= link != before;
        if let Some(dhcp) = self.own.dhcp.filter(|_| came_up && self.ipv4().is_none()) {
            self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).reset();
        }
        link != before
    }

    /// Whether frames can go.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.info.link == LinkState::Up
    }

    /// Works with the card, if there is one.
    pub fn with_card<T>(&self, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        self.device.with_card(work)
    }

    /// Receives what there is, up to a bound. Datagrams for this machine are offered to `take`; the
    /// stack gets everything else, and what that does not want. Tells whether it got anything.
    pub fn receive(&mut self, now: Duration, mut take: impl FnMut(&Datagram<'_>) -> bool) -> bool {
        let mut fed = false;
        for _ in 0..FRAMES_IN_A_ROW {
            let Self { device, stack, .. } = self;
            let came = device.next(|datagram| is_plain(stack, datagram) && take(datagram));
            match came {
                None => break,
                Some(Came::Datagram) => continue,
                Some(Came::Neighbours) => self.ways_changed = true,
                Some(Came::Frame) => {}
            }
            if !self.feed_stack(now) {
                break;
            }
            fed = true;
        }
        fed
    }

    /// Gives the stack the frame that waits; `false` where it waits for room to be answered. Apart from
    /// [`Self::receive`], which would prepare all that the stack needs for datagrams that it never sees.
    #[inline(never)]
    fn feed_stack(&mut self, now: Duration) -> bool {
        let Self { stack, device, sockets, .. } = self;
        stack.poll_ingress_single(instant(now), device, sockets) != PollIngressSingleResult::None
    }

    /// Lets the stack send what it has to, up to a bound, and do what is due. Tells whether anything
    /// was sent.
    pub fn send(&mut self, now: Duration) -> bool {
        let at = instant(now);
        self.stack.poll_maintenance(at);
        let mut busy = false;
        for _ in 0..FRAMES_IN_A_ROW {
            let egress = self.stack.poll_egress(at, &mut self.device, &mut self.sockets);
            if egress == PollResult::None {
                break;
            }
            busy = true;
        }
        let retired = core::mem::take(&mut self.retired);
        retired.into_iter().for_each(|handle| drop(self.sockets.remove(handle)));
        self.follow_dhcp();
        self.due = None;
        busy
    }

    /// Hands over to the driver what was sent and given back.
    pub fn flush(&self) {
        self.device.with_card(C::flush);
    }

    /// Whether [`Self::send`] has something to do that nobody else tells of.
    pub fn is_stirred(&self) -> bool {
        self.device.take_short() || !self.retired.is_empty()
    }

    /// Whether ways may have changed, since the last time.
    pub fn take_ways_changed(&mut self) -> bool {
        core::mem::take(&mut self.ways_changed)
    }

    /// Ways that the stack has found for datagrams.
    pub fn take_seen(&self) -> Vec<Seen> {
        self.device.take_seen()
    }

    /// The card under the stack.
    pub(crate) const fn device(&self) -> &Device<C> {
        &self.device
    }

    /// Forgets an aborted connection after the next turn, in which its reset is sent.
    pub(crate) fn retire(&mut self, handle: SocketHandle) {
        self.retired.push(handle);
    }

    /// When [`Self::receive`] and [`Self::send`] have to be called even if nothing comes.
    ///
    /// The stack does not always tell (smoltcp 0.14, `Interface::poll_at`): where no router has
    /// answered it names a time that has passed, which hides what its sockets wait for, and where
    /// an advertisement had nothing in it, it names none at all. It is then looked at in the pace
    /// that is asked for.
    pub fn deadline(&mut self, now: Duration, pace: Pace) -> Duration {
        if let Some(due) = self.due.filter(|due| now < *due) {
            return due;
        }
        let at = self.stack.poll_at(instant(now), &self.sockets);
        let told = at.and_then(|at| u64::try_from(at.total_micros()).ok());
        let told = told.map(Duration::from_micros).filter(|at| *at > now);
        *self.due.insert(told.unwrap_or(now + pace.interval()))
    }

    /// How much of this address's network the interface knows: bits of the longest prefix that it
    /// is in, 0 where there is only a router to everywhere; `None` where nothing leads there.
    #[must_use]
    pub fn reach(&self, to: IpAddr) -> Option<u8> {
        let on_link = self.stack.ip_addrs().iter().filter(|cidr| cidr.contains_addr(&to.into()));
        let on_link = on_link.map(IpCidr::prefix_len).max();
        on_link
            .or_else(|| self.routers().any(|router| router.is_ipv4() == to.is_ipv4()).then_some(0))
    }

    /// The address that packets to there carry.
    #[must_use]
    pub fn source(&self, to: IpAddr) -> Option<IpAddr> {
        let source = self.stack.get_source_address(&to.into()).map(IpAddr::from)?;
        (!source.is_unspecified()).then_some(source)
    }

    /// Whether it has this address.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.stack.has_ip_addr(IpAddress::from(address))
    }

    /// Its first IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.stack.ipv4_addr()
    }

    /// Whether it has an address that others than its neighbours can reach.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.addresses().any(|address| address.origin != Origin::LinkLocal)
    }

    /// Its name servers.
    #[must_use]
    pub fn name_servers(&self) -> &[IpAddr] {
        &self.name_servers
    }

    /// A socket and what it needs to begin something.
    pub(crate) fn socket_and_context<T: AnySocket<'static>>(
        &mut self,
        handle: SocketHandle,
    ) -> (&mut T, &mut iface::Context) {
        (self.sockets.get_mut(handle), self.stack.context())
    }

    /// The socket that asks name servers.
    pub(crate) fn dns(&mut self) -> (&mut dns::Socket<'static>, &mut iface::Context) {
        self.socket_and_context(self.own.dns)
    }

    /// The socket that sends and receives echoes.
    pub(crate) fn echo(&mut self) -> &mut icmp::Socket<'static> {
        self.sockets.get_mut(self.own.echo)
    }

    /// Notes that something of this interface was dropped.
    pub fn dropped(&self, reason: DropReason) {
        self.device.dropped(reason);
    }

    /// All about it.
    #[must_use]
    pub fn status(&self) -> InterfaceStatus {
        let counts = self.device.counts();
        InterfaceStatus {
            name: self.name.clone(),
            mac: self.info.mac,
            link: self.info.link,
            mtu: u16::try_from(self.device.mtu()).unwrap_or(u16::MAX),
            addresses: self.addresses().collect(),
            routers: self.routers().collect(),
            name_servers: self.name_servers.clone(),
            received: counts.received,
            sent: counts.sent,
            drops: counts.drops().collect(),
            restarts: self.restarts,
        }
    }

    fn addresses(&self) -> impl Iterator<Item = InterfaceAddress> + '_ {
        self.stack.ip_addrs().iter().map(|cidr| {
            let address = IpAddr::from(cidr.address());
            let origin = match (address, self.addressing) {
                (IpAddr::V4(_), Addressing::Dhcp) => Origin::Dhcp,
                (IpAddr::V4(_), Addressing::Static { .. }) => Origin::Static,
                (IpAddr::V6(ip), _) if ip.is_unicast_link_local() => Origin::LinkLocal,
                (IpAddr::V6(_), _) => Origin::Router,
            };
            InterfaceAddress { address, prefix: cidr.prefix_len(), origin }
        })
    }

    fn routers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let routes = self.stack.routes();
        let four = routes.get_default_ipv4_route();
        let six = routes.get_default_ipv6_route();
        four.into_iter().chain(six).map(|route| IpAddr::from(route.via_router))
    }

    /// The address that follows from the card's (RFC 4291, appendix A).
    fn configure_link_local(&mut self) {
        let [a, b, c, d, e, f] = self.info.mac;
        let segment = u16::from_be_bytes;
        let last = [[a ^ 2, b], [c, 0xff], [0xfe, d], [e, f]].map(segment);
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, last[0], last[1], last[2], last[3]);
        self.stack.update_ip_addrs(|addresses| {
            addresses.retain(|cidr| !is_link_local(cidr.address()));
            // There is room: it is the first one, or takes the place of the one before.
            let _full = addresses.push(IpCidr::Ipv6(Ipv6Cidr::new(address, 64)));
        });
    }

    fn configure_statically(&mut self) {
        if let Addressing::Static { address, prefix, router } = self.addressing {
            self.configure_ipv4(Some(Ipv4Cidr::new(address, prefix)), router);
        }
    }

    fn follow_dhcp(&mut self) {
        let Some(handle) = self.own.dhcp else { return };
        match self.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            None => {}
            Some(dhcpv4::Event::Configured(config)) => {
                let (address, router) = (config.address, config.router);
                let servers: Vec<_> = config.dns_servers.iter().map(|ip| IpAddr::V4(*ip)).collect();
                if is_host(address) {
                    self.configure_ipv4(Some(address), router);
                    self.configure_name_servers(servers);
                }
            }
            Some(dhcpv4::Event::Deconfigured) => {
                self.configure_ipv4(None, None);
                self.configure_name_servers(Vec::new());
            }
        }
    }

    fn configure_ipv4(&mut self, address: Option<Ipv4Cidr>, router: Option<Ipv4Addr>) {
        self.ways_changed = true;
        self.stack.update_ip_addrs(|addresses| {
            addresses.retain(|cidr| matches!(cidr, IpCidr::Ipv6(_)));
            if let Some(address) = address {
                // Only the routers' addresses can have taken all room; one of them gives way.
                if addresses.is_full() {
                    addresses.pop();
                }
                let _full = addresses.insert(0, IpCidr::Ipv4(address));
            }
        });
        let routes = self.stack.routes_mut();
        routes.remove_default_ipv4_route();
        if let Some(router) = router {
            // Without room there is no way out; `net` shows that.
            let _full = routes.add_default_ipv4_route(router);
        }
    }

    fn configure_name_servers(&mut self, servers: Vec<IpAddr>) {
        let known: Vec<IpAddress> = servers.iter().map(|ip| IpAddress::from(*ip)).collect();
        self.dns().0.update_servers(&known);
        self.name_servers = servers;
    }
}

impl Own {
    fn open(sockets: &mut SocketSet<'static>, addressing: Addressing, ident: u16) -> Self {
        let mut echo = icmp::Socket::new(echo_buffer(), echo_buffer());
        // It is new and the number is not 0: both are what `bind` asks for.
        let _bound = echo.bind(icmp::Endpoint::Ident(ident.max(1)));
        Self {
            dhcp: (addressing == Addressing::Dhcp).then(|| sockets.add(dhcpv4::Socket::new())),
            dns: sockets.add(dns::Socket::new(&[], Vec::new())),
            echo: sockets.add(echo),
        }
    }
}

fn echo_buffer() -> icmp::PacketBuffer<'static> {
    let packets = vec![icmp::PacketMetadata::EMPTY; ECHO_PACKETS];
    icmp::PacketBuffer::new(packets, vec![0; ECHO_PACKETS * ECHO_BYTES])
}

/// Whether a datagram goes from one machine to this one: the stack judges what does not.
fn is_plain(stack: &iface::Interface, datagram: &Datagram<'_>) -> bool {
    let Datagram { from, to, .. } = datagram;
    let (from, to) = (from.ip(), to.ip());
    let mut ours = false;
    for cidr in stack.ip_addrs() {
        ours |= IpAddr::from(cidr.address()) == to;
        if let IpCidr::Ipv4(cidr) = cidr
            && cidr.broadcast().map(IpAddr::V4) == Some(from)
        {
            return false;
        }
    }
    ours && !from.is_unspecified()
        && !from.is_multicast()
        && from != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// An address that a machine can have. What a DHCP server says is foreign.
fn is_host(cidr: Ipv4Cidr) -> bool {
    let address = cidr.address();
    let special = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
    !special && !address.is_loopback()
}

fn is_link_local(address: IpAddress) -> bool {
    matches!(IpAddr::from(address), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The stack's time.
pub(crate) fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// The interface through which packets to there go: one that works rather than one that does not,
/// then the one that knows most of the address, then the first.
pub(crate) fn route<C: Card>(interfaces: &[Interface<C>], to: IpAddr) -> Option<usize> {
    let ways = interfaces.iter().enumerate().filter_map(|(index, interface)| {
        let reach = interface.reach(to)?;
        Some(((interface.is_up(), reach, Reverse(index)), index))
    });
    ways.max_by_key(|(rank, _)| *rank).map(|(_, index)| index)
}
