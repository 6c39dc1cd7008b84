//! Messages as they lie on the wire, and two managers that agree, however much of it is lost.

use proptest::prelude::*;

use super::*;
use crate::wire::Psn;
use core::net::Ipv6Addr;

const SERVICE: u64 = tcp_service(7174);

fn peers() -> [IpAddr; 2] {
    [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])]
}

fn request() -> Request {
    let address = |host| Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a00, host);
    let path = Path { local: address(1), remote: address(2), traffic_class: 0x12, hop_limit: 64 };
    let mut private = [0; 92];
    let [source, destination] = peers();
    let ip = IpService { source_port: 40_000, source, destination };
    private[..IP_BYTES].copy_from_slice(&ip.to_bytes());
    Request {
        service: SERVICE,
        guid: 0x5054_00ff_fe12_3401,
        qpn: 0x11,
        responder_resources: 3,
        initiator_depth: 4,
        remote_cm_timeout: 20,
        transport: 0,
        local_cm_timeout: 19,
        psn: Psn::new(0x00ab_cdef),
        retry_count: 7,
        rnr_retry: 6,
        cm_retries: 15,
        shared: true,
        partition: 0xffff,
        path_mtu: 3,
        path,
        ack_timeout: 18,
        private,
    }
}

fn reply() -> Reply {
    Reply {
        qpn: 0x22,
        psn: Psn::new(0x0012_3456),
        responder_resources: 5,
        initiator_depth: 6,
        ack_delay: 9,
        rnr_retry: 4,
        shared: true,
        guid: 0x5054_00ff_fe12_3402,
        private: [7; 196],
    }
}

/// The bytes in which tshark 4.0.17 read these fields.
#[test]
fn fields_lie_where_others_read_them() {
    let message = Message::Request(request());
    let bytes = Mad { transaction: 1, local: 0x55, remote: 0, message }.to_bytes();
    assert_eq!(bytes[..4], [1, 7, 2, 3]);
    assert_eq!(bytes[16..18], [0, 0x10]);
    let data = &bytes[24..];
    assert_eq!(data[8..16], [0, 0, 0, 0, 1, 6, 0x1c, 0x06], "the service");
    assert_eq!(data[32..36], [0, 0, 0x11, 3], "queue pair, responder resources");
    assert_eq!(data[39], 4, "initiator depth");
    assert_eq!(data[43..48], [20 << 3, 0xab, 0xcd, 0xef, 19 << 3 | 7]);
    assert_eq!(data[48..52], [0xff, 0xff, 3 << 4 | 6, 15 << 4 | 8]);
    assert_eq!(data[92..96], [0x12, 64, 0, 18 << 3]);
    let service = IpService::parse(&request().private).expect("one");
    assert_eq!((service.source_port, service.source), (40_000, peers()[0]));
}

fn array<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    any::<u64>().prop_map(|seed| {
        let mut bytes = [0; N];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        bytes
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let small = (0..32_u8, 0..4_u8, 0..32_u8, 0..8_u8, 0..8_u8, 0..16_u8, 0..16_u8, 0..32_u8);
    let wide = any::<(u64, u64, u32, u8, u8, u32, bool, u16)>();
    let path = any::<(u128, u128, u8, u8)>();
    (small, wide, path, array::<92>()).prop_map(|(small, wide, path, private)| Request {
        service: wide.0,
        guid: wide.1,
        qpn: wide.2 >> 8,
        responder_resources: wide.3,
        initiator_depth: wide.4,
        remote_cm_timeout: small.0,
        transport: small.1,
        local_cm_timeout: small.2,
        psn: Psn::new(wide.5),
        retry_count: small.3,
        rnr_retry: small.4,
        cm_retries: small.5,
        shared: wide.6,
        partition: wide.7,
        path_mtu: small.6,
        path: Path {
            local: path.0.into(),
            remote: path.1.into(),
            traffic_class: path.2,
            hop_limit: path.3,
        },
        ack_timeout: small.7,
        private,
    })
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let wide = any::<(u32, u32, u8, u8, bool, u64)>();
    (wide, 0..32_u8, 0..8_u8, array::<196>()).prop_map(|(wide, ack_delay, rnr_retry, private)| {
        Reply {
            qpn: wide.0 >> 8,
            psn: Psn::new(wide.1),
            responder_resources: wide.2,
            initiator_depth: wide.3,
            ack_delay,
            rnr_retry,
            shared: wide.4,
            guid: wide.5,
            private,
        }
    })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any_request().prop_map(Message::Request),
        any_reply().prop_map(Message::Reply),
        Just(Message::ReadyToUse),
        (any::<u16>(), array())
            .prop_map(|(reason, private)| Message::Reject(Reason(reason), private)),
        (0..1_u32 << 24).prop_map(Message::DisconnectRequest),
        Just(Message::DisconnectReply),
        (0..32_u8).prop_map(Message::MoreTime),
        (any::<(u64, u16)>(), array()).prop_map(|((service, partition), private)| {
            Message::ServiceRequest { service, partition, private }
        }),
        (any::<(u8, u64, u32)>(), 0..1_u32 << 24, array()).prop_map(
            |((status, service, queue_key), qpn, private)| Message::ServiceReply {
                status,
                qpn,
                service,
                queue_key,
                private
            }
        ),
    ]
}

proptest! {
    #[test]
    fn messages_are_read_as_they_were_written(
        transaction: u64,
        local: u32,
        remote: u32,
        message in message(),
    ) {
        let remote = if message.has_remote() { remote } else { 0 };
        let mad = Mad { transaction, local, remote, message };
        prop_assert_eq!(Mad::parse(&mad.to_bytes()), Ok(mad));
    }

    #[test]
    fn any_bytes_are_answered(bytes in array::<MAD_BYTES>(), sound: bool, kind in 0x0e..0x1c_u8) {
        let mut bytes = bytes;
        if sound {
            bytes[..4].copy_from_slice(&[1, 7, 2, 3]);
            bytes[16..18].copy_from_slice(&[0, kind]);
        }
        let expected = sound && (0x10..=0x18).contains(&kind);
        prop_assert_eq!(Mad::parse(&bytes).is_ok(), expected);
        let mut manager = Manager::new(4, 1);
        let _ = manager.receive(Duration::ZERO, peers()[0], &bytes);
        prop_assert!(Mad::parse(&bytes[1..]).is_err());
    }

    #[test]
    fn ip_services_are_read_as_they_were_written(source_port: u16, four: [[u8; 4]; 2], six: [[u8; 16]; 2]) {
        let pairs = [four.map(IpAddr::from), six.map(IpAddr::from)];
        for [source, destination] in pairs {
            let service = IpService { source_port, source, destination };
            prop_assert_eq!(IpService::parse(&service.to_bytes()), Some(service));
        }
    }

    /// Both sides are connected unless very much is lost; whatever is lost, both come to an end, also where
    /// one has given up and the other one does not know.
    #[test]
    fn both_sides_agree(
        lost in 0..100_u32,
        seed: u64,
        refuses in prop::bool::weighted(0.2),
        who_parts in 0..2_usize,
    ) {
        let mut world = World::new(lost, seed);
        world.refuses = refuses;
        world.ids[0] = world.managers[0].connect(world.now, peers()[1], request()).ok();
        world.settle();
        let connected = world.told.each_ref().map(|told| told.last() == Some(&"established"));
        if lost <= 20 {
            prop_assert_eq!(connected, [!refuses; 2]);
        }
        let parting = if connected[who_parts] { who_parts } else { 1 - who_parts };
        if connected[parting] {
            let id = world.ids[parting].expect("known");
            world.managers[parting].disconnect(world.now, id).expect("established");
            world.settle();
            prop_assert_eq!(world.told[parting].last(), Some(&"over"));
        }
        if lost <= 20 {
            for told in &world.told {
                prop_assert_ne!(told.last(), Some(&"established"));
            }
        }
        world.part();
        world.forget();
        for manager in &mut world.managers {
            prop_assert_eq!(manager.connections.values().count(), 0);
        }
    }
}

/// Two managers, their programs, and a network that loses.
struct World {
    managers: [Manager; 2],
    ids: [Option<ConnectionId>; 2],
    told: [Vec<&'static str>; 2],
    refuses: bool,
    lost: u32,
    random: fastrand::Rng,
    now: Duration,
}

impl World {
    fn new(lost: u32, seed: u64) -> Self {
        let mut managers = [Manager::new(4, 100), Manager::new(4, 900)];
        managers[1].listen(SERVICE).expect("room");
        Self {
            managers,
            ids: [None; 2],
            told: [Vec::new(), Vec::new()],
            refuses: false,
            lost,
            random: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
        }
    }

    /// Hands messages over until none is left; those that are not lost, and some twice.
    fn exchange(&mut self) {
        loop {
            let mut quiet = true;
            for at in 0..2 {
                while let Some((to, bytes)) = self.managers[at].transmit() {
                    quiet = false;
                    assert_eq!(to, peers()[1 - at]);
                    if self.random.u32(..100) < self.lost {
                        continue;
                    }
                    for _ in 0..self.random.u32(1..3) {
                        let peer = &mut self.managers[1 - at];
                        peer.receive(self.now, peers()[at], &bytes).expect("sound");
                    }
                }
                self.serve(at);
            }
            if quiet {
                return;
            }
        }
    }

    /// What the programs do.
    fn serve(&mut self, at: usize) {
        while let Some(event) = self.managers[at].next_event() {
            let (manager, told) = (&mut self.managers[at], &mut self.told[at]);
            match event {
                Event::Request(id, peer, asked) => {
                    assert_eq!((peer, asked), (peers()[0], request()));
                    assert_eq!(self.ids[at].replace(id), None, "asked once");
                    if self.refuses {
                        manager.reject(self.now, id, Reason::CONSUMER, [0; 148]).expect("asked");
                    } else {
                        manager.accept(self.now, id, reply()).expect("asked");
                    }
                }
                Event::Reply(id, answer) => {
                    assert_eq!(answer, reply());
                    manager.ready(id).expect("answered");
                    told.push("established");
                }
                Event::Established(_) => told.push("established"),
                Event::Rejected(..) | Event::Unreachable(_) | Event::Disconnected(_) => {
                    told.push("over");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Lets time pass until nobody waits, or only to forget.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.exchange();
            let waiting = |manager: &Manager| {
                manager
                    .connections
                    .values()
                    .any(|one| one.deadline.is_some() && one.state != State::Over)
            };
            if !self.managers.iter().any(waiting) {
                return;
            }
            self.now += TIMEOUT;
            self.managers.iter_mut().for_each(|manager| manager.tick(self.now));
        }
        panic!("they do not come to an end");
    }

    /// Whoever does not know that it is over finds out when its queue pair fails.
    fn part(&mut self) {
        for at in 0..2 {
            if self.told[at].last() == Some(&"established") {
                let id = self.ids[at].expect("known");
                self.managers[at].disconnect(self.now, id).expect("established");
            }
        }
        self.settle();
    }

    fn forget(&mut self) {
        for _ in 0..3 {
            self.now += TIME_WAIT;
            self.managers.iter_mut().for_each(|manager| manager.tick(self.now));
            self.exchange();
        }
    }
}

#[test]
fn what_nobody_offers_is_refused() {
    let mut world = World::new(0, 1);
    world.managers[1].unlisten(SERVICE);
    world.managers[0].connect(world.now, peers()[1], request()).expect("room");
    let (_, bytes) = world.managers[0].transmit().expect("a request");
    world.managers[1].receive(world.now, peers()[0], &bytes).expect("sound");
    let (_, bytes) = world.managers[1].transmit().expect("an answer");
    world.managers[0].receive(world.now, peers()[1], &bytes).expect("sound");
    let event = world.managers[0].next_event();
    assert!(matches!(event, Some(Event::Rejected(_, Reason::INVALID_SERVICE))), "{event:?}");
}

#[test]
fn a_full_table_refuses() {
    let mut manager = Manager::new(1, 1);
    manager.listen(SERVICE).expect("room");
    for transaction in 0..2 {
        let message = Message::Request(request());
        let mad = Mad { transaction, local: 9, remote: 0, message };
        manager.receive(Duration::ZERO, peers()[0], &mad.to_bytes()).expect("sound");
    }
    let (_, bytes) = manager.transmit().expect("a refusal");
    let refusal = Mad::parse(&bytes).expect("sound");
    assert_eq!(refusal.message, Message::Reject(Reason::NO_RESOURCES, [0; 148]));
    assert_eq!((refusal.remote, refusal.transaction), (9, 1));
    assert_eq!(manager.connect(Duration::ZERO, peers()[1], request()), Err(CmError::Full));
}

#[test]
fn a_stranger_has_no_say_in_a_connection() {
    let mut world = World::new(0, 1);
    let id = world.managers[0].connect(world.now, peers()[1], request()).expect("room");
    world.settle();
    let stranger = IpAddr::from([10, 0, 0, 9]);
    let message = Message::DisconnectRequest(0x11);
    for (peer, local) in [(stranger, 2), (peers()[1], 0x77)] {
        let mad = Mad { transaction: 101, local, remote: id.0, message };
        world.managers[0].receive(world.now, peer, &mad.to_bytes()).expect("sound");
        assert_eq!(world.managers[0].next_event(), None);
    }
    assert!(world.managers[0].disconnect(world.now, id).is_ok());
}

#[test]
fn a_datagram_service_tells_its_queue_pair() {
    let mut world = World::new(0, 1);
    let [here, there] = peers();
    let id = world.managers[0].request_service(world.now, there, SERVICE, 0xffff, [3; 216]);
    let (_, bytes) = world.managers[0].transmit().expect("a request");
    world.managers[1].receive(world.now, here, &bytes).expect("sound");
    let Some(Event::ServiceRequest(peer, asked)) = world.managers[1].next_event() else {
        panic!("it was asked for");
    };
    let answer = Message::ServiceReply {
        status: 0,
        qpn: 0x33,
        service: SERVICE,
        queue_key: 0x1111,
        private: [4; 136],
    };
    world.managers[1].answer_service(peer, &asked, answer).expect("room");
    let (_, bytes) = world.managers[1].transmit().expect("an answer");
    for _ in 0..2 {
        world.managers[0].receive(world.now, there, &bytes).expect("sound");
    }
    assert_eq!(
        world.managers[0].next_event(),
        Some(Event::ServiceReply(id.expect("room"), answer))
    );
    assert_eq!(world.managers[0].next_event(), None);
}
