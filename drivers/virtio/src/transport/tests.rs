//! The transport against the model of a device, and against hostile configurations.

use super::*;
use crate::model::Device;
use crate::queue::{Layout, Queue};
use alloc::vec::Vec;
use libd3os::dma::Dma;
use proptest::prelude::*;

const OFFERS: Features = Features::VERSION_1
    .union(Features::EVENT_INDEX)
    .union(Features::ACCESS_PLATFORM)
    .union(Features::from_bits_retain(0x21));

fn transport<'m>(memory: &'m mut [u64]) -> Transport<Device<'m>> {
    let device = Device::new(Dma::of_words(memory, 0x10_0000), OFFERS, &[256, 64]);
    Transport::find(&Device::config(), &Device::openings(), device).expect("structures")
}

#[test]
fn a_device_is_brought_up_in_the_order_of_the_specification() {
    let mut memory = [0; 1024];
    let mut transport = transport(&mut memory);
    transport.reset().expect("resets");
    let wanted = Features::EVENT_INDEX | Features::from_bits_retain(0x41);
    let features = transport.negotiate(wanted).expect("accepted");
    let expected = OFFERS - Features::from_bits_retain(0x20);
    assert_eq!((features, transport.windows().accepted()), (expected, expected));
    let layout = Layout::new(transport.queue_size(1).expect("there"));
    assert_eq!(layout.size(), 64);
    let queue = Queue::new(transport.windows().memory(), layout, features).expect("fits");
    let notifier = transport.enable(1, queue.addresses(), Some(0)).expect("enabled");
    transport.watch_configuration(Some(0)).expect("a vector");
    transport.start();
    assert_eq!(transport.status(), Status::from_bits_retain(0xf));
    transport.notify(notifier);
    assert_eq!(transport.windows().notified, [1]);
    transport.reset().expect("resets");
    assert_eq!(transport.windows().resets, 2);
}

#[test]
fn what_a_device_refuses_is_an_error() {
    let mut memory = [0; 1024];
    let mut transport = transport(&mut memory);
    transport.windows().reset_takes = u32::MAX;
    assert_eq!(transport.reset(), Err(TransportError::ResetUnfinished));
    transport.windows().reset_takes = 0;
    transport.reset().expect("resets");
    assert_eq!(transport.queue_size(2), Err(TransportError::NoQueue(2)));
    assert_eq!(transport.watch_configuration(Some(7)), Err(TransportError::NoVector(7)));
    transport.windows().refuses = true;
    let refused = transport.negotiate(Features::empty());
    let both = Features::VERSION_1 | Features::ACCESS_PLATFORM;
    assert_eq!(refused, Err(TransportError::FeaturesRefused(both)));
    transport.reset().expect("resets");
    transport.windows().offers = Features::EVENT_INDEX;
    assert_eq!(transport.negotiate(Features::all()), Err(TransportError::NoVersion1));
}

#[test]
fn configuration_is_of_one_moment_and_ends() {
    let mut memory = [0; 1024];
    let mut transport = transport(&mut memory);
    transport.windows().configuration = (1..=8).collect();
    assert_eq!(transport.configuration(2), Ok([3, 4, 5]));
    assert_eq!(transport.configuration(4090), Ok([0; 10]), "beyond the structure");
    assert!(transport.configure32(4, 0x0403_0201));
    assert_eq!(transport.windows().configuration, [1, 2, 3, 4, 1, 2, 3, 4]);
    assert!(!transport.configure32(2, 0) && !transport.configure32(4096, 0));
}

/// A device that changes whenever it is looked at.
#[derive(Debug)]
struct Restless(u8);

impl Windows for Restless {
    fn read8(&mut self, _: Place) -> u8 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
    fn read16(&mut self, _: Place) -> u16 {
        0xffff
    }
    fn read32(&mut self, _: Place) -> u32 {
        0
    }
    fn write8(&mut self, _: Place, _: u8) {}
    fn write16(&mut self, _: Place, _: u16) {}
    fn write32(&mut self, _: Place, _: u32) {}
}

#[test]
fn a_device_that_never_rests_is_given_up() {
    let (config, openings) = (Device::config(), Device::openings());
    let mut transport = Transport::find(&config, &openings, Restless(0)).expect("structures");
    assert_eq!(transport.configuration::<3>(0), Err(TransportError::Restless));
    let mut memory = [0; 1024];
    let layout = Layout::new(4);
    let queue = Queue::new(Dma::of_words(&mut memory, 0), layout, OFFERS).expect("fits");
    // Its place for notifications has number 0xffff.
    let refused = transport.enable(0, queue.addresses(), None);
    assert_eq!(refused, Err(TransportError::NoNotifier(0)));
}

#[test]
fn structures_that_are_not_mapped_are_misplaced() {
    let found = |openings: &[Opening]| structures(&Device::config(), openings).err();
    let [whole] = Device::openings();
    assert_eq!(found(&[whole]), None);
    // Two windows, cut where no structure is.
    let halves =
        [Opening { bytes: 0x2000, ..whole }, Opening { offset: 0x2000, bytes: 0x2000, ..whole }];
    let structures = structures(&Device::config(), &halves).expect("found");
    assert_eq!(structures.notify.place, Place { window: 1, offset: 0x1000 });
    let missing = found(&[Opening { bytes: 0x3000, ..whole }]);
    assert_eq!(missing, Some(TransportError::Misplaced(Kind::Notify)));
    assert_eq!(found(&[]), Some(TransportError::Misplaced(Kind::Device)));
    let overflow = Opening { offset: u64::MAX, ..whole };
    assert_eq!(found(&[overflow]), Some(TransportError::Misplaced(Kind::Device)));
}

#[test]
fn a_device_without_capabilities_is_a_legacy_one() {
    let mut config = Device::config();
    config[6] = 0;
    let found = structures(&config, &Device::openings());
    assert_eq!(found, Err(TransportError::Missing(Kind::Notify)));
}

proptest! {
    /// Whatever configuration space says, what is found lies in a window.
    #[test]
    fn hostile_configuration_space_leads_nowhere_else(
        changes in prop::collection::vec((0usize..256, any::<u8>()), 0..40),
        openings in prop::collection::vec((0u8..6, 0u64..0x5000, 0u64..0x8000), 0..4),
    ) {
        let mut config = Device::config();
        for (at, value) in changes {
            config[at] = value;
        }
        let mut openings: Vec<_> =
            openings.into_iter().map(|(bar, offset, bytes)| Opening { bar, offset, bytes }).collect();
        openings.extend(Device::openings());
        if let Ok(found) = structures(&config, &openings) {
            let all = [found.common, found.notify, found.isr].into_iter().chain(found.device);
            for Structure { place, bytes } in all {
                let end = place.offset.checked_add(bytes).expect("no overflow");
                prop_assert!(end as u64 <= openings[place.window].bytes);
            }
            prop_assert!(found.common.bytes >= COMMON_BYTES);
        }
    }

    #[test]
    fn random_configuration_space_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 256)) {
        let config = <[u8; 256]>::try_from(bytes).expect("so many");
        let _found = structures(&config, &Device::openings());
        prop_assert!(capabilities(&config).count() <= 48);
    }
}
