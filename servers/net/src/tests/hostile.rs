//! Foreign frames and foreign memory: whatever lies there, the server goes on.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet};

use super::wire::{Faults, Hub, SimCard, clock};
use super::world::World;
use crate::core::Core;
use crate::interface::{Addressing, CardInfo};
use libd3os::service::net::{DropReason, LinkState};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn machine() -> (Core<SimCard>, SimCard, Hub) {
    let mut hub = Hub::new(1);
    let card = hub.plug();
    let outside = card.again();
    let mut core = Core::new(1);
    let info = CardInfo { mac: MAC, mtu: 1500, link: LinkState::Up, instance: 0 };
    let address = Ipv4Addr::new(10, 0, 2, 15);
    let fixed = Addressing::Static { address, prefix: 24, router: None };
    core.attach_card("card", card, info, fixed, clock()).expect("a sound card");
    (core, outside, hub)
}

/// A frame for this machine with headers that are right as far as sums go, so that what is in them
/// reaches the stack.
fn dressed(mut content: Vec<u8>, six: bool, protocol: u8) -> Vec<u8> {
    content.resize(content.len().max(60), 0);
    if six {
        let length = u16::try_from(content.len() - 40).expect("short");
        let mut packet = Ipv6Packet::new_unchecked(&mut content);
        packet.set_version(6);
        packet.set_payload_len(length);
        packet.set_next_header(protocol.into());
    } else {
        let length = u16::try_from(content.len()).expect("short");
        let mut packet = Ipv4Packet::new_unchecked(&mut content);
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_total_len(length);
        packet.set_next_header(protocol.into());
        packet.clear_flags();
        packet.set_more_frags(false);
        packet.set_frag_offset(0);
        packet.set_dst_addr(Ipv4Addr::new(10, 0, 2, 15));
        packet.fill_checksum();
    }
    let mut bytes = vec![0; 14];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_dst_addr(EthernetAddress(MAC));
    frame.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 9]));
    frame.set_ethertype(if six { EthernetProtocol::Ipv6 } else { EthernetProtocol::Ipv4 });
    bytes.extend(content);
    bytes
}

proptest! {
    #[test]
    fn no_frame_stops_the_server(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let (mut core, outside, _hub) = machine();
        let count = frames.len() as u64;
        frames.into_iter().for_each(|frame| outside.inject(frame));
        core.turn(clock());
        let status = core.interfaces().next().expect("an interface");
        prop_assert_eq!(status.received.frames, count);
    }

    #[test]
    fn no_packet_stops_the_server(packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<bool>(), prop::sample::select(vec![0u8, 1, 2, 6, 17, 44, 58, 200])), 1..20)) {
        let (mut core, outside, _hub) = machine();
        packets.into_iter().for_each(|(bytes, six, protocol)| outside.inject(dressed(bytes, six, protocol)));
        core.turn(clock());
        let status = core.interfaces().next().expect("an interface");
        prop_assert!(status.drops.iter().all(|(reason, _)| *reason != DropReason::NotOurs));
    }

    /// A program that writes anything anywhere in its region, at any time, damages its own sockets
    /// and nothing else.
    #[test]
    fn no_program_stops_the_server(seed: u64, writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..60)) {
        let mut world = World::ready(seed, Faults::default());
        let machine = world.machines[0].clone();
        let stack = machine.stack();
        let open = world.run(async {
            (stack.bind(9).await, stack.listen(80, 1).await, stack.bind(0).await)
        });
        for (at, word) in &writes {
            let memory = machine.memory();
            memory[at.index(memory.len())].set_word(*word);
            world.step();
        }
        drop(open);
        for _ in 0..20 {
            world.step();
        }
        prop_assert_eq!(stack.attach_again(), Ok(()));
        let _again = world.run(stack.bind(9)).expect("a place");
        prop_assert_eq!(machine.core(|core| core.sockets().count()), 1);
    }
}
