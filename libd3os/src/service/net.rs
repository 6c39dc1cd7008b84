//! The network: interfaces, names, and the opening of sockets. Served by `net`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Page;

/// IP over the machine's network cards.
///
/// The bytes of connections do not come here: they go through rings in a region that the program
/// shares with the server ([`crate::net`], which also has the sockets to use). After a restart of
/// the server all sockets are gone; those of [`crate::net`] say so.
#[crate::service(name = "net", version = 1)]
pub trait Net {
    /// The interfaces, from the `from`-th on.
    #[retryable]
    fn interfaces(from: u32) -> Result<Page<InterfaceStatus>, NetError>;

    /// The sockets of all programs, from the `from`-th on.
    #[retryable]
    fn sockets(from: u32) -> Result<Page<SocketStatus>, NetError>;

    /// Waits until an interface has an address that others can reach, `timeout_ms` at most (60 s).
    #[deferred]
    #[retryable]
    fn ready(timeout_ms: u32) -> Result<(), NetError>;

    /// The addresses that a name stands for, those of IPv4 first; a name that is an address is
    /// its own.
    #[deferred]
    #[retryable]
    fn resolve(name: String) -> Result<Vec<IpAddr>, NetError>;

    /// Sends an ICMP echo request and waits for its answer.
    #[deferred]
    #[retryable]
    fn ping(request: EchoRequest) -> Result<EchoReply, NetError>;

    /// Takes over the region of this name for the caller, who shows that it can write there: it
    /// has just put `proof`, any number but 0, into the region's line for that. All sockets that
    /// the region had are closed. Answers with the server's instance number, which also stands in
    /// the region; a program has one region.
    fn attach(region: String, proof: u64) -> Result<u64, NetError>;

    /// Begins to connect a TCP socket at a free place of the caller's region; the place's status
    /// tells when it is connected, or why not.
    fn connect_to(place: u16, remote: SocketAddr) -> Result<Opened, NetError>;

    /// Takes TCP connections at a port of all interfaces; at most `backlog` wait to be accepted on
    /// each. The place's status tells how many wait.
    fn listen(place: u16, port: u16, backlog: u8) -> Result<Opened, NetError>;

    /// Gives the connection that waits longest at the listener of the caller's place `listener`
    /// a place of its own.
    fn accept(place: u16, listener: u16) -> Result<Accepted, NetError>;

    /// Opens a UDP socket at this port of all interfaces; 0 takes a free one.
    fn bind(place: u16, port: u16) -> Result<Opened, NetError>;
}

/// A socket that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Which opening of its place it is.
    pub generation: u32,
    /// Its own address; unspecified where it is at all of them.
    pub local: SocketAddr,
}

/// A connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its socket.
    pub opened: Opened,
    /// The other side.
    pub peer: SocketAddr,
}

/// What to ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoRequest {
    /// Where it goes.
    pub destination: IpAddr,
    /// Bytes to be echoed, 1,024 at most.
    pub bytes: u16,
    /// How long to wait, 60 s at most.
    pub timeout_ms: u32,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoReply {
    /// Microseconds from request to answer.
    pub time_us: u64,
    /// Bytes that were echoed.
    pub bytes: u16,
}

/// How an interface is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkState {
    /// It can send and receive.
    Up,
    /// No cable, or nobody at its other end.
    Down,
    /// Its driver does not run.
    NoDriver,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::NoDriver => "no driver",
        })
    }
}

/// Where an address or a route came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// An argument of the server.
    Static,
    /// A DHCP server.
    Dhcp,
    /// The card's own address (IPv6, link-local).
    LinkLocal,
    /// A router's advertisement (IPv6).
    Router,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Static => "static",
            Self::Dhcp => "DHCP",
            Self::LinkLocal => "link-local",
            Self::Router => "router",
        })
    }
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of it that name the network.
    pub prefix: u8,
    /// Where it came from.
    pub origin: Origin,
}

/// Why a frame or its content was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DropReason {
    /// Shorter than its headers say, or than any frame.
    Truncated,
    /// For another card.
    NotOurs,
    /// Of a protocol that is not spoken here.
    UnknownProtocol,
    /// A header that its protocol does not allow.
    Malformed,
    /// A checksum did not agree.
    Checksum,
    /// A part of a packet; parts are not put together.
    Fragment,
    /// The program did not take its datagrams fast enough.
    ReceiverFull,
    /// A datagram of a program for which there is no way, no address or no room.
    Unsendable,
    /// The driver had no free buffer to send with.
    NoBuffer,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Truncated,
        Self::NotOurs,
        Self::UnknownProtocol,
        Self::Malformed,
        Self::Checksum,
        Self::Fragment,
        Self::ReceiverFull,
        Self::Unsendable,
        Self::NoBuffer,
    ];
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Truncated => "truncated",
            Self::NotOurs => "for another card",
            Self::UnknownProtocol => "unknown protocol",
            Self::Malformed => "malformed header",
            Self::Checksum => "wrong checksum",
            Self::Fragment => "fragment",
            Self::ReceiverFull => "receiver too slow",
            Self::Unsendable => "no way to send",
            Self::NoBuffer => "no buffer to send",
        })
    }
}

/// What went through an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Frames.
    pub frames: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// The driver's name.
    pub name: String,
    /// The card's address.
    pub mac: [u8; 6],
    /// How it is connected.
    pub link: LinkState,
    /// Bytes of the longest IP packet.
    pub mtu: u16,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Routers to everywhere else.
    pub routers: Vec<IpAddr>,
    /// Name servers.
    pub name_servers: Vec<IpAddr>,
    /// Received.
    pub received: Traffic,
    /// Sent.
    pub sent: Traffic,
    /// What was dropped and why; reasons that never occurred are left out.
    pub drops: Vec<(DropReason, u64)>,
    /// Times that its driver was started again.
    pub restarts: u32,
}

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketKind {
    /// A TCP connection.
    Stream,
    /// Takes TCP connections.
    Listener,
    /// UDP.
    Datagram,
}

impl fmt::Display for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stream => "TCP",
            Self::Listener => "TCP listener",
            Self::Datagram => "UDP",
        })
    }
}

/// A socket of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStatus {
    /// The region that it is in, which belongs to one program.
    pub region: String,
    /// What it is.
    pub kind: SocketKind,
    /// Its own address.
    pub local: SocketAddr,
    /// The other side, of a stream.
    pub remote: Option<SocketAddr>,
    /// What it is doing, in TCP's words.
    pub state: String,
}

/// Why the server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetError {
    /// The server knows no region of this name.
    NoSuchRegion,
    /// The caller did not show that the region is its own.
    Unproven,
    /// The caller has no region: it never had, or the server was restarted since.
    NotAttached,
    /// The region has no such place.
    NoSuchPlace,
    /// A socket is open at this place.
    PlaceInUse,
    /// Another socket has this port.
    PortInUse,
    /// The port, or the address, cannot be used for this.
    BadAddress,
    /// No interface leads there.
    NoRoute,
    /// No connection waits.
    NothingWaits,
    /// No listener is at that place.
    NotListening,
    /// The server has as much to do as it can.
    TooMany,
    /// This is no name.
    BadName,
    /// No name server is known.
    NoNameServer,
    /// The name servers know no such name.
    NoSuchName,
    /// Nobody answered in time.
    TimedOut,
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchRegion => "the network server does not share that region",
            Self::Unproven => "the region is not the caller's",
            Self::NotAttached => "the caller is not attached to the network server",
            Self::NoSuchPlace => "the region has no such place",
            Self::PlaceInUse => "the place is in use",
            Self::PortInUse => "the port is in use",
            Self::BadAddress => "this address or port cannot be used",
            Self::NoRoute => "no interface leads there",
            Self::NothingWaits => "no connection waits",
            Self::NotListening => "nothing listens there",
            Self::TooMany => "the network server has too much to do",
            Self::BadName => "this is not a name",
            Self::NoNameServer => "no name server is known",
            Self::NoSuchName => "there is no host of this name",
            Self::TimedOut => "nobody answered in time",
        })
    }
}

impl core::error::Error for NetError {}
