//! The communication manager's messages (specification, 12.6, and 13.4.3 for the header), and what an IP
//! service puts before its own data (Annex A11).

use core::net::{IpAddr, Ipv6Addr};

use crate::wire::Psn;

/// Bytes of a message: a management datagram.
pub const MAD_BYTES: usize = 256;
/// Bytes of its header.
const HEADER: usize = 24;
/// The queue key of the general services.
pub const GENERAL_SERVICES_KEY: u32 = 0x8001_0000;

/// The management class of communication management, its version, and the method "send".
const BASE_VERSION: u8 = 1;
const CLASS: u8 = 7;
const CLASS_VERSION: u8 = 2;
const METHOD_SEND: u8 = 3;

/// The service of a TCP port: connections of an IP service (Annex A11.4).
#[must_use]
pub const fn tcp_service(port: u16) -> u64 {
    0x0106_0000 | port as u64
}

/// The service of a UDP port: datagrams of an IP service.
#[must_use]
pub const fn udp_service(port: u16) -> u64 {
    0x0111_0000 | port as u64
}

/// Bytes that are no message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MadError {
    /// It does not have the length of a management datagram.
    #[error("not {MAD_BYTES} bytes")]
    Length,
    /// It is of another class, version or method.
    #[error("not a message of communication management")]
    Class,
    /// An attribute that is not implemented: alternate paths.
    #[error("attribute {0:#06x}")]
    Attribute(u16),
}

/// Asks for a connection (REQ).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is wanted.
    pub service: u64,
    /// The asking host, by its own 64-bit number.
    pub guid: u64,
    /// The queue pair that asks.
    pub qpn: u32,
    /// Reads and atomics that it answers at once.
    pub responder_resources: u8,
    /// Reads and atomics that it asks for at once.
    pub initiator_depth: u8,
    /// How long an answer to this message may take: 4.096 µs · 2ⁿ.
    pub remote_cm_timeout: u8,
    /// Service: 0 for a reliable, 1 for an unreliable connection.
    pub transport: u8,
    /// How long its own answer may take, likewise.
    pub local_cm_timeout: u8,
    /// The number of the first packet that it sends.
    pub psn: Psn,
    /// Retries without an answer.
    pub retry_count: u8,
    /// Retries without a receive.
    pub rnr_retry: u8,
    /// Retries of messages.
    pub cm_retries: u8,
    /// Whether it receives from a shared queue.
    pub shared: bool,
    /// The partition key.
    pub partition: u16,
    /// Bytes of a packet: 1 for 256 up to 5 for 4,096.
    pub path_mtu: u8,
    /// Where it is, and where it takes the other one to be.
    pub path: Path,
    /// How long an acknowledgement may take, as the queue pair's attribute.
    pub ack_timeout: u8,
    /// The program's own data.
    pub private: [u8; 92],
}

/// Where a connection's ends are: addresses of version 4 as IPv4-mapped ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Of whoever asks.
    pub local: Ipv6Addr,
    /// Of whom is asked.
    pub remote: Ipv6Addr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// How many routers packets may pass.
    pub hop_limit: u8,
}

/// Agrees to a connection (REP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The queue pair that answers.
    pub qpn: u32,
    /// The number of the first packet that it sends.
    pub psn: Psn,
    /// Reads and atomics that it answers at once.
    pub responder_resources: u8,
    /// Reads and atomics that it asks for at once.
    pub initiator_depth: u8,
    /// How long it takes to acknowledge: 4.096 µs · 2ⁿ.
    pub ack_delay: u8,
    /// Retries without a receive.
    pub rnr_retry: u8,
    /// Whether it receives from a shared queue.
    pub shared: bool,
    /// The answering host, by its own 64-bit number.
    pub guid: u64,
    /// The program's own data.
    pub private: [u8; 196],
}

/// Why a connection is refused (specification, 12.6.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reason(pub u16);

impl Reason {
    /// There is no room for another connection.
    pub const NO_RESOURCES: Self = Self(3);
    /// No answer in time.
    pub const TIMEOUT: Self = Self(4);
    /// Nobody offers that service.
    pub const INVALID_SERVICE: Self = Self(8);
    /// The program does not want it.
    pub const CONSUMER: Self = Self(28);
}

/// What a message of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks for a connection.
    Request(Request),
    /// Agrees.
    Reply(Reply),
    /// Both ends can send (RTU).
    ReadyToUse,
    /// Refuses, or gives up (REJ).
    Reject(Reason, [u8; 148]),
    /// Wants an end (DREQ), naming the peer's queue pair.
    DisconnectRequest(u32),
    /// Agrees to the end (DREP).
    DisconnectReply,
    /// Asks for more time (MRA): 4.096 µs · 2ⁿ.
    MoreTime(u8),
    /// Asks for a datagram service's queue pair (SIDR_REQ).
    ServiceRequest {
        /// What is wanted.
        service: u64,
        /// The partition key.
        partition: u16,
        /// The program's own data.
        private: [u8; 216],
    },
    /// Tells it (SIDR_REP).
    ServiceReply {
        /// 0 if there is one.
        status: u8,
        /// The queue pair.
        qpn: u32,
        /// The service.
        service: u64,
        /// The queue pair's key.
        queue_key: u32,
        /// The program's own data.
        private: [u8; 136],
    },
}

/// A message with the ids of the connection at both ends. A message for a datagram service has one id, which
/// stands in `local`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mad {
    /// Which exchange it belongs to.
    pub transaction: u64,
    /// The sender's id of the connection.
    pub local: u32,
    /// The receiver's id of it; 0 in a request.
    pub remote: u32,
    /// What it says.
    pub message: Message,
}

impl Message {
    const fn attribute(&self) -> u16 {
        match self {
            Self::Request(_) => 0x10,
            Self::MoreTime(_) => 0x11,
            Self::Reject(..) => 0x12,
            Self::Reply(_) => 0x13,
            Self::ReadyToUse => 0x14,
            Self::DisconnectRequest(_) => 0x15,
            Self::DisconnectReply => 0x16,
            Self::ServiceRequest { .. } => 0x17,
            Self::ServiceReply { .. } => 0x18,
        }
    }

    /// Whether the second word is an id of the connection.
    pub(super) const fn has_remote(&self) -> bool {
        !matches!(self, Self::Request(_) | Self::ServiceRequest { .. } | Self::ServiceReply { .. })
    }
}

/// A message's bytes behind its header, by place.
struct Data([u8; MAD_BYTES - HEADER]);

impl Data {
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    fn set<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&bytes);
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.get(at))
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.get(at))
    }

    /// A number of 24 bits.
    fn three(&self, at: usize) -> u32 {
        let [a, b, c] = self.get(at);
        u32::from_be_bytes([0, a, b, c])
    }

    fn set_three(&mut self, at: usize, number: u32) {
        let [_, a, b, c] = number.to_be_bytes();
        self.set(at, [a, b, c]);
    }
}

impl Mad {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`MadError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MadError> {
        let bytes: &[u8; MAD_BYTES] = bytes.try_into().map_err(|_| MadError::Length)?;
        if bytes[..4] != [BASE_VERSION, CLASS, CLASS_VERSION, METHOD_SEND] {
            return Err(MadError::Class);
        }
        let (header, data) = bytes.split_at(HEADER);
        let mut rest = [0; MAD_BYTES - HEADER];
        rest.copy_from_slice(data);
        let data = Data(rest);
        let mut transaction = [0; 8];
        transaction.copy_from_slice(&header[8..16]);
        let message = parse(u16::from_be_bytes([header[16], header[17]]), &data)?;
        let remote = if message.has_remote() { data.word(4) } else { 0 };
        let transaction = u64::from_be_bytes(transaction);
        Ok(Self { transaction, local: data.word(0), remote, message })
    }

    /// The message's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; MAD_BYTES] {
        let mut data = Data([0; MAD_BYTES - HEADER]);
        data.set(0, self.local.to_be_bytes());
        if self.message.has_remote() {
            data.set(4, self.remote.to_be_bytes());
        }
        put(&self.message, &mut data);
        let mut bytes = [0; MAD_BYTES];
        bytes[..4].copy_from_slice(&[BASE_VERSION, CLASS, CLASS_VERSION, METHOD_SEND]);
        bytes[8..16].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.message.attribute().to_be_bytes());
        bytes[HEADER..].copy_from_slice(&data.0);
        bytes
    }
}

fn parse(attribute: u16, data: &Data) -> Result<Message, MadError> {
    Ok(match attribute {
        0x10 => Message::Request(parse_request(data)),
        0x11 => Message::MoreTime(data.0[9] >> 3),
        0x12 => Message::Reject(Reason(u16::from_be_bytes(data.get(10))), data.get(84)),
        0x13 => Message::Reply(parse_reply(data)),
        0x14 => Message::ReadyToUse,
        0x15 => Message::DisconnectRequest(data.three(8)),
        0x16 => Message::DisconnectReply,
        0x17 => Message::ServiceRequest {
            partition: u16::from_be_bytes(data.get(4)),
            service: data.long(8),
            private: data.get(16),
        },
        0x18 => Message::ServiceReply {
            status: data.0[4],
            qpn: data.three(8),
            service: data.long(12),
            queue_key: data.word(20),
            private: data.get(96),
        },
        other => return Err(MadError::Attribute(other)),
    })
}

fn put(message: &Message, data: &mut Data) {
    match message {
        Message::Request(request) => put_request(request, data),
        Message::Reply(reply) => put_reply(reply, data),
        Message::MoreTime(time) => data.0[9] = time << 3,
        Message::Reject(reason, private) => {
            data.set(10, reason.0.to_be_bytes());
            data.set(84, *private);
        }
        Message::DisconnectRequest(qpn) => data.set_three(8, *qpn),
        Message::ReadyToUse | Message::DisconnectReply => {}
        Message::ServiceRequest { service, partition, private } => {
            data.set(4, partition.to_be_bytes());
            data.set(8, service.to_be_bytes());
            data.set(16, *private);
        }
        Message::ServiceReply { status, qpn, service, queue_key, private } => {
            data.0[4] = *status;
            data.set_three(8, *qpn);
            data.set(12, service.to_be_bytes());
            data.set(20, queue_key.to_be_bytes());
            data.set(96, *private);
        }
    }
}

fn parse_request(data: &Data) -> Request {
    Request {
        service: data.long(8),
        guid: data.long(16),
        qpn: data.three(32),
        responder_resources: data.0[35],
        initiator_depth: data.0[39],
        remote_cm_timeout: data.0[43] >> 3,
        transport: data.0[43] >> 1 & 3,
        psn: Psn::new(data.three(44)),
        local_cm_timeout: data.0[47] >> 3,
        retry_count: data.0[47] & 7,
        partition: u16::from_be_bytes(data.get(48)),
        path_mtu: data.0[50] >> 4,
        rnr_retry: data.0[50] & 7,
        cm_retries: data.0[51] >> 4,
        shared: data.0[51] & 8 != 0,
        path: Path {
            local: Ipv6Addr::from(data.get::<16>(56)),
            remote: Ipv6Addr::from(data.get::<16>(72)),
            traffic_class: data.0[92],
            hop_limit: data.0[93],
        },
        ack_timeout: data.0[95] >> 3,
        private: data.get(140),
    }
}

fn put_request(request: &Request, data: &mut Data) {
    data.set(8, request.service.to_be_bytes());
    data.set(16, request.guid.to_be_bytes());
    data.set_three(32, request.qpn);
    data.0[35] = request.responder_resources;
    data.0[39] = request.initiator_depth;
    data.0[43] = request.remote_cm_timeout << 3 | (request.transport & 3) << 1;
    data.set_three(44, request.psn.number());
    data.0[47] = request.local_cm_timeout << 3 | request.retry_count & 7;
    data.set(48, request.partition.to_be_bytes());
    data.0[50] = request.path_mtu << 4 | request.rnr_retry & 7;
    data.0[51] = request.cm_retries << 4 | u8::from(request.shared) << 3;
    // There are no local identifiers in Ethernet: permissive ones.
    data.set(52, [0xff; 4]);
    data.set(56, request.path.local.octets());
    data.set(72, request.path.remote.octets());
    data.0[92] = request.path.traffic_class;
    data.0[93] = request.path.hop_limit;
    data.0[95] = request.ack_timeout << 3;
    data.set(140, request.private);
}

fn parse_reply(data: &Data) -> Reply {
    Reply {
        qpn: data.three(12),
        psn: Psn::new(data.three(20)),
        responder_resources: data.0[24],
        initiator_depth: data.0[25],
        ack_delay: data.0[26] >> 3,
        rnr_retry: data.0[27] >> 5,
        shared: data.0[27] & 0x10 != 0,
        guid: data.long(28),
        private: data.get(36),
    }
}

fn put_reply(reply: &Reply, data: &mut Data) {
    data.set_three(12, reply.qpn);
    data.set_three(20, reply.psn.number());
    data.0[24] = reply.responder_resources;
    data.0[25] = reply.initiator_depth;
    data.0[26] = reply.ack_delay << 3;
    data.0[27] = reply.rnr_retry << 5 | u8::from(reply.shared) << 4;
    data.set(28, reply.guid.to_be_bytes());
    data.set(36, reply.private);
}

/// Bytes that an IP service puts before its own private data in a request.
pub const IP_BYTES: usize = 36;

/// What an IP service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpService {
    /// The port from which is asked.
    pub source_port: u16,
    /// Who asks.
    pub source: IpAddr,
    /// Who is asked, of the same version.
    pub destination: IpAddr,
}

impl IpService {
    /// Reads it from private data; `None` if that is something else.
    #[must_use]
    pub fn parse(private: &[u8]) -> Option<Self> {
        let bytes: &[u8; IP_BYTES] = private.first_chunk()?;
        let address = |at: usize| -> Option<IpAddr> {
            match bytes[1] >> 4 {
                4 => <[u8; 4]>::try_from(&bytes[at + 12..at + 16]).ok().map(IpAddr::from),
                6 => <[u8; 16]>::try_from(&bytes[at..at + 16]).ok().map(IpAddr::from),
                _ => None,
            }
        };
        let source_port = u16::from_be_bytes([bytes[2], bytes[3]]);
        // Version 0.0 is the only one.
        (bytes[0] == 0).then_some(())?;
        Some(Self { source_port, source: address(4)?, destination: address(20)? })
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; IP_BYTES] {
        let mut bytes = [0; IP_BYTES];
        bytes[1] = if self.source.is_ipv4() { 4 << 4 } else { 6 << 4 };
        bytes[2..4].copy_from_slice(&self.source_port.to_be_bytes());
        for (at, address) in [(4, self.source), (20, self.destination)] {
            match address {
                IpAddr::V4(address) => bytes[at + 12..at + 16].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => bytes[at..at + 16].copy_from_slice(&address.octets()),
            }
        }
        bytes
    }
}
