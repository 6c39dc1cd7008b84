//! Packets: known ones, all there are, damaged ones, and any bytes.

use core::convert::Infallible;
use core::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// A UC SEND of 18 bytes that a ConnectX sent, from the tests of scapy's dissector; its CRC is what
/// scapy makes of it, too.
const UC_SEND: &str = "45010040047840004011b4d5c0a80007c0a80007c00012b7002c00002460ffff000000d3\
                       00cf17104630818be28935d90e9a95505401be885e50000078f353f3";
/// An acknowledgement with soft-RoCE's syndrome, whose CRC scapy made.
const RC_ACK: &str = "4500003000004000401126bb0a0000020a000001c12112b7001c00001100ffff00000011\
                      004cb9081f000001b2441636";
/// A SEND of 13 bytes over IPv6, whose CRC zlib made over the bytes that Annex A17 says.
const V6_SEND: &str = "6020000000281140fe80000000000000505400fffe123402fe80000000000000505400ff\
                       fe123401c12112b7002800000430ffff00000011804cb90868656c6c6f2c20726f636521\
                       210000006b139945";

pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Writes a packet.
pub(crate) fn written(
    route: &Route,
    service: Service,
    bth: &Bth,
    body: &Body,
    payload: &[u8],
) -> Vec<u8> {
    let mut buffer = vec![0xaa; 9216];
    let fill = |room: &mut [u8]| {
        room[..payload.len()].copy_from_slice(payload);
        Ok::<(), Infallible>(())
    };
    let length = emit(&mut buffer, route, service, bth, body, payload.len(), fill);
    buffer.truncate(length.expect("there is room"));
    buffer
}

#[test]
fn a_packet_of_hardware_is_read() {
    let datagram = bytes(UC_SEND);
    let packet = Received::parse(&datagram).expect("sound");
    assert_eq!((packet.service, packet.body), (Service::Uc, Body::SendOnly(None)));
    assert!(packet.bth.migrated && !packet.bth.solicited && !packet.bth.ack_request);
    assert_eq!((packet.bth.partition, packet.bth.destination), (0xffff, 211));
    assert_eq!(packet.bth.psn, Psn::new(13_571_856));
    assert_eq!(packet.payload, b"F0\x81\x8b\xe2\x895\xd9\x0e\x9a\x95PT\x01\xbe\x88^P");
    assert!(!packet.met_congestion());
}

#[test]
fn an_acknowledgement_is_written_as_others_write_it() {
    let route = Route {
        from: IpAddr::from([10, 0, 0, 2]),
        to: IpAddr::from([10, 0, 0, 1]),
        source_port: 49441,
        traffic_class: 0,
        hop_limit: 64,
    };
    let psn = Psn::new(0x004c_b908);
    let bth = Bth { partition: 0xffff, destination: 0x11, psn, ..Bth::default() };
    let body = Body::Acknowledge(Aeth { syndrome: Syndrome::ACK, msn: 1 });
    assert_eq!(written(&route, Service::Rc, &bth, &body, &[]), bytes(RC_ACK));
}

#[test]
fn a_send_over_version_6_is_read_and_written_alike() {
    let datagram = bytes(V6_SEND);
    let packet = Received::parse(&datagram).expect("sound");
    assert_eq!(packet.payload, b"hello, roce!!");
    assert!(packet.bth.ack_request);
    assert_eq!(packet.route.traffic_class, 2);
    let again = written(&packet.route, packet.service, &packet.bth, &packet.body, packet.payload);
    assert_eq!(again, datagram);
}

#[test]
fn what_lies_before_a_datagram_tells_its_sender() {
    for text in [RC_ACK, V6_SEND] {
        let datagram = bytes(text);
        let packet = Received::parse(&datagram).expect("sound");
        assert_eq!(global_route(&packet.global_route()), Some(packet.route.from));
    }
    assert_eq!(global_route(&[0; GRH_BYTES]), None);
}

#[test]
fn other_datagrams_are_refused_for_a_reason() {
    let change = |change: fn(&mut Vec<u8>)| {
        let mut datagram = bytes(UC_SEND);
        change(&mut datagram);
        Received::parse(&datagram).map(|_| ())
    };
    assert_eq!(change(|bytes| bytes.truncate(30)), Err(WireError::Truncated));
    assert_eq!(change(Vec::clear), Err(WireError::Truncated));
    assert_eq!(change(|bytes| bytes[0] = 0x46), Err(WireError::NotRoce));
    assert_eq!(change(|bytes| bytes[6] = 0x20), Err(WireError::NotRoce));
    assert_eq!(change(|bytes| bytes[23] = 0), Err(WireError::NotRoce));
    assert_eq!(change(|bytes| bytes[8] = 63), Err(WireError::Checksum));
    assert_eq!(change(|bytes| bytes[25] = 40), Err(WireError::Length));
    assert_eq!(change(|bytes| bytes[50] ^= 1), Err(WireError::Icrc));
    // IP says that it is shorter than its own header, and its sum is right.
    let short = |bytes: &mut Vec<u8>| (bytes[3], bytes[10], bytes[11]) = (1, 0xb5, 0x14);
    assert_eq!(change(short), Err(WireError::Length));
    assert_eq!(change(|bytes| bytes.extend([0; 6])), Ok(()));
}

fn address() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let four = any::<[[u8; 4]; 2]>().prop_map(|[a, b]| (a.into(), b.into()));
    let six = any::<[[u8; 16]; 2]>().prop_map(|[a, b]| (a.into(), b.into()));
    prop_oneof![four, six]
}

fn route() -> impl Strategy<Value = Route> {
    (address(), any::<(u16, u8, u8)>()).prop_map(
        |((from, to), (source_port, traffic_class, hop_limit))| Route {
            from,
            to,
            source_port,
            traffic_class,
            hop_limit,
        },
    )
}

fn base() -> impl Strategy<Value = Bth> {
    (any::<[bool; 5]>(), any::<(u16, u32, u32)>()).prop_map(|(flags, (partition, qp, psn))| {
        let [solicited, migrated, fecn, becn, ack_request] = flags;
        let (destination, psn) = (qp >> 8, Psn::new(psn));
        Bth { solicited, migrated, partition, fecn, becn, destination, ack_request, psn }
    })
}

fn aeth() -> impl Strategy<Value = Aeth> {
    let code = prop_oneof![
        Just(NakCode::PsnSequenceError),
        Just(NakCode::InvalidRequest),
        Just(NakCode::RemoteAccessError),
        Just(NakCode::RemoteOperationalError),
    ];
    let syndrome = prop_oneof![
        (0..32_u8).prop_map(|credits| Syndrome::Ack { credits }),
        (0..32_u8).prop_map(|timer| Syndrome::ReceiverNotReady { timer }),
        code.prop_map(Syndrome::Nak),
    ];
    (syndrome, 0..1_u32 << 24).prop_map(|(syndrome, msn)| Aeth { syndrome, msn })
}

fn reth() -> impl Strategy<Value = Reth> {
    any::<(u64, u32, u32)>().prop_map(|(address, key, length)| Reth { address, key, length })
}

fn atomic() -> impl Strategy<Value = AtomicEth> {
    any::<(u64, u32, u64, u64)>().prop_map(|(address, key, swap_or_add, compare)| AtomicEth {
        address,
        key,
        swap_or_add,
        compare,
    })
}

/// What both kinds of connections send.
fn request() -> impl Strategy<Value = Body> {
    let data = any::<Option<u32>>;
    prop_oneof![
        Just(Body::SendFirst),
        Just(Body::SendMiddle),
        data().prop_map(Body::SendLast),
        data().prop_map(Body::SendOnly),
        reth().prop_map(Body::WriteFirst),
        Just(Body::WriteMiddle),
        data().prop_map(Body::WriteLast),
        (reth(), data()).prop_map(|(reth, data)| Body::WriteOnly(reth, data)),
    ]
}

fn reliable() -> impl Strategy<Value = Body> {
    prop_oneof![
        reth().prop_map(Body::ReadRequest),
        aeth().prop_map(Body::ReadResponseFirst),
        Just(Body::ReadResponseMiddle),
        aeth().prop_map(Body::ReadResponseLast),
        aeth().prop_map(Body::ReadResponseOnly),
        aeth().prop_map(Body::Acknowledge),
        (aeth(), any::<u64>()).prop_map(|(aeth, before)| Body::AtomicAcknowledge(aeth, before)),
        atomic().prop_map(Body::CompareSwap),
        atomic().prop_map(Body::FetchAdd),
        Just(Body::CongestionNotification),
    ]
}

fn datagram() -> impl Strategy<Value = Body> {
    (any::<u32>(), 0..1_u32 << 24, any::<Option<u32>>())
        .prop_map(|(queue_key, source, data)| Body::Datagram(Deth { queue_key, source }, data))
}

fn packet() -> impl Strategy<Value = (Service, Body)> {
    prop_oneof![
        request().prop_map(|body| (Service::Rc, body)),
        reliable().prop_map(|body| (Service::Rc, body)),
        request().prop_map(|body| (Service::Uc, body)),
        datagram().prop_map(|body| (Service::Ud, body)),
    ]
}

fn payload(body: &Body, bytes: Vec<u8>) -> Vec<u8> {
    match body {
        Body::CongestionNotification => vec![0; super::body::CNP_RESERVED],
        body if body.is_bare() => Vec::new(),
        _ => bytes,
    }
}

/// What the CRC does not cover: the byte with FECN and BECN, and in version 6 the traffic class and
/// the hop limit.
fn invariant<'a>(packet: &Received<'a>) -> (IpAddr, IpAddr, u16, Service, Bth, Body, &'a [u8]) {
    let bth = Bth { fecn: false, becn: false, ..packet.bth };
    let Route { from, to, source_port, .. } = packet.route;
    (from, to, source_port, packet.service, bth, packet.body, packet.payload)
}

proptest! {
    #[test]
    fn packets_are_read_as_they_were_written(
        route in route(),
        bth in base(),
        (service, body) in packet(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let payload = payload(&body, bytes);
        let mut datagram = written(&route, service, &bth, &body, &payload);
        let length = datagram.len();
        datagram.extend(behind);
        let packet = Received::parse(&datagram).expect("sound");
        prop_assert_eq!((packet.route, packet.service, packet.bth), (route, service, bth));
        prop_assert_eq!((packet.body, packet.payload), (body, &payload[..]));
        prop_assert!(length - payload.len() <= MOST_HEADERS);
        prop_assert_eq!(global_route(&packet.global_route()), Some(route.from));
    }

    #[test]
    fn damage_is_detected_or_changes_nothing(
        route in route(),
        bth in base(),
        (service, body) in packet(),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        places in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let payload = payload(&body, bytes);
        let sound = written(&route, service, &bth, &body, &payload);
        let mut damaged = sound.clone();
        for (place, bits) in places {
            damaged[place.index(sound.len())] ^= bits;
        }
        if let Ok(packet) = Received::parse(&damaged) {
            let before = Received::parse(&sound).expect("sound");
            prop_assert_eq!(invariant(&packet), invariant(&before));
        }
    }

    #[test]
    fn a_shorter_packet_is_refused(
        route in route(),
        bth in base(),
        (service, body) in packet(),
        cut: prop::sample::Index,
    ) {
        let datagram = written(&route, service, &bth, &body, &payload(&body, vec![7; 9]));
        let short = &datagram[..cut.index(datagram.len())];
        prop_assert!(Received::parse(short).is_err());
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(packet) = Received::parse(&bytes) {
            prop_assert!(packet.payload.len() <= bytes.len());
        }
    }

    #[test]
    fn a_short_buffer_is_refused(
        route in route(),
        (service, body) in packet(),
        room in 0..400_usize,
    ) {
        let mut buffer = vec![0; room];
        let fill = |bytes: &mut [u8]| {
            bytes.fill(1);
            Ok::<(), Infallible>(())
        };
        let bytes = payload(&body, vec![0; 100]).len();
        let length = written(&route, service, &Bth::default(), &body, &vec![1; bytes]).len();
        let result = emit(&mut buffer, &route, service, &Bth::default(), &body, bytes, fill);
        let expected = if length <= room { Ok(length) } else { Err(EmitError::NoRoom) };
        prop_assert_eq!(result, expected);
    }
}
