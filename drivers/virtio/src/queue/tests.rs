//! Virtqueues against the model of a device, and against hostile ones.

use super::*;
use crate::model::{Device, Part, scribble};
use crate::regs::Status;
use crate::transport::{Notifier, Transport};
use alloc::collections::{BTreeMap, VecDeque};
use libd3os::dma::Dma;
use proptest::prelude::*;

const SIZE: u16 = 8;

struct Rig<'m> {
    transport: Transport<Device<'m>>,
    queue: Queue<'m>,
    notifier: Notifier,
}

fn rig(memory: &mut [u64], features: Features) -> Rig<'_> {
    let offers = features | Features::VERSION_1;
    let device = Device::new(Dma::of_words(memory, 0x1_0000_0000), offers, &[SIZE]);
    let mut transport =
        Transport::find(&Device::config(), &Device::openings(), device).expect("structures");
    transport.reset().expect("resets");
    let features = transport.negotiate(features).expect("accepted");
    let layout = Layout::new(SIZE);
    let rings = transport.windows().memory().part(0, layout.bytes()).expect("fits");
    let queue = Queue::new(rings, layout, features).expect("fits");
    let notifier = transport.enable(0, queue.addresses(), Some(0)).expect("enabled");
    transport.start();
    assert!(transport.status().contains(Status::DRIVER_OK));
    Rig { transport, queue, notifier }
}

impl Rig<'_> {
    fn offer(&mut self, head: u16, room: u32) -> bool {
        let bus = self.transport.windows().memory().bus(2048 + 64 * usize::from(head));
        let segment = Segment { bus, bytes: room, access: Access::Write, next: None };
        self.queue.prepare(head, segment);
        self.queue.offer(head, room)
    }

    fn publish(&mut self) -> bool {
        let wanted = self.queue.publish();
        if wanted {
            self.transport.notify(self.notifier);
        }
        wanted
    }
}

#[test]
fn sizes_are_powers_of_two_within_bounds() {
    let sizes = [0, 1, 3, 256, 300, u16::MAX].map(|size| Layout::new(size).size());
    assert_eq!(sizes, [1, 1, 2, 256, 256, 256]);
    for size in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let layout = Layout::new(size);
        assert_eq!(layout.device() % 8, 4, "elements are aligned to eight");
        assert!(layout.used_event() + 2 <= layout.device());
        assert!(layout.available_event() + 2 <= layout.bytes());
    }
}

#[test]
fn a_chain_goes_there_and_back() {
    let mut memory = [0; 1024];
    let mut rig = rig(&mut memory, Features::EVENT_INDEX);
    let bus = rig.transport.windows().memory().bus(2048);
    let header = Segment { bus, bytes: 12, access: Access::Read, next: Some(5) };
    let body = Segment { bus: bus + 64, bytes: 0, access: Access::Read, next: None };
    rig.queue.prepare(1, header);
    rig.queue.prepare(5, body);
    rig.queue.resize(5, 60);
    assert!(rig.queue.offer(1, 0));
    assert_eq!(rig.transport.windows().pop(0), None, "not published");
    assert!(rig.publish());
    let chain = rig.transport.windows().pop(0).expect("a chain");
    let part = |bus, bytes| Part { bus, bytes, writable: false };
    assert_eq!((chain.head, &chain.parts[..]), (1, &[part(bus, 12), part(bus + 64, 60)][..]));
    assert_eq!(rig.queue.take(), Ok(None));
    rig.transport.windows().push(0, 1, 0);
    assert_eq!(rig.queue.take(), Ok(Some(Used { head: 1, bytes: 0 })));
    assert_eq!((rig.queue.take(), rig.queue.outstanding()), (Ok(None), 0));
}

#[test]
fn nothing_is_offered_twice_or_beyond_the_queue() {
    let mut memory = [0; 1024];
    let mut rig = rig(&mut memory, Features::empty());
    assert!(rig.offer(3, 64) && !rig.offer(3, 64) && !rig.offer(SIZE, 64));
    assert!((0..SIZE).filter(|head| *head != 3).all(|head| rig.offer(head, 64)));
    assert_eq!(rig.queue.outstanding(), SIZE);
    assert!(rig.publish() && !rig.publish(), "nothing new");
}

#[test]
fn a_broken_device_is_found_out() {
    let broken = |room: u32, act: &dyn Fn(&mut Device<'_>)| {
        let mut memory = [0; 1024];
        let mut rig = rig(&mut memory, Features::empty());
        rig.offer(2, room);
        rig.publish();
        act(rig.transport.windows());
        rig.queue.take()
    };
    let used = Ok(Some(Used { head: 2, bytes: 64 }));
    assert_eq!(broken(64, &|device| device.push_raw(0, 2, 64)), used);
    let length = Err(Broken::Length { head: 2, bytes: 65 });
    assert_eq!(broken(64, &|device| device.push_raw(0, 2, 65)), length);
    let head = |head| Err(Broken::Head { head });
    assert_eq!(broken(64, &|device| device.push_raw(0, 3, 0)), head(3), "not offered");
    assert_eq!(broken(64, &|device| device.push_raw(0, 8, 0)), head(8), "does not exist");
    assert_eq!(broken(64, &|device| device.push_raw(0, 0x1_0002, 0)), head(0x1_0002));
    let index = |index| Err(Broken::Index { index });
    assert_eq!(broken(64, &|device| device.set_used(0, 2)), index(2), "more than offered");
    assert_eq!(broken(64, &|device| device.set_used(0, u16::MAX)), index(u16::MAX), "backwards");
}

/// The same chain twice.
#[test]
fn a_chain_that_comes_back_twice_is_refused_once() {
    let mut memory = [0; 1024];
    let mut rig = rig(&mut memory, Features::empty());
    assert!(rig.offer(2, 64) && rig.offer(4, 64));
    rig.publish();
    rig.transport.windows().push(0, 2, 0);
    rig.transport.windows().push(0, 2, 0);
    assert_eq!(rig.queue.take(), Ok(Some(Used { head: 2, bytes: 0 })));
    assert_eq!(rig.queue.take(), Err(Broken::Head { head: 2 }));
}

#[test]
fn interrupts_come_when_they_were_asked_for() {
    for features in [Features::empty(), Features::EVENT_INDEX] {
        let mut memory = [0; 1024];
        let mut rig = rig(&mut memory, features);
        (0..4).for_each(|head| assert!(rig.offer(head, 64)));
        rig.publish();
        rig.queue.disarm();
        rig.transport.windows().push(0, 0, 0);
        assert_eq!(rig.transport.windows().interrupts, 0, "{features:?}");
        assert!(rig.queue.arm(1), "one is there");
        assert!(rig.queue.take().expect("sound").is_some());
        assert!(!rig.queue.arm(1));
        rig.transport.windows().push(0, 1, 0);
        assert_eq!(rig.transport.windows().interrupts, 1);
    }
}

#[test]
fn an_interrupt_can_wait_for_several() {
    let mut memory = [0; 1024];
    let mut rig = rig(&mut memory, Features::EVENT_INDEX);
    (0..6).for_each(|head| assert!(rig.offer(head, 64)));
    rig.publish();
    assert!(!rig.queue.arm(3));
    let mut after = |head| {
        rig.transport.windows().push(0, head, 0);
        rig.transport.windows().interrupts
    };
    assert_eq!([0, 1, 2, 3].map(&mut after), [0, 0, 1, 1]);
}

#[derive(Clone, Debug)]
enum Step {
    Offer(u16, u32),
    Publish,
    DeviceTakes,
    DeviceUses(u32),
    Take,
    Arm(u16),
    Disarm,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..10, 0u32..100).prop_map(|(head, room)| Step::Offer(head, room)),
        3 => Just(Step::Publish),
        3 => Just(Step::DeviceTakes),
        3 => (0u32..100).prop_map(Step::DeviceUses),
        3 => Just(Step::Take),
        1 => (0u16..4).prop_map(Step::Arm),
        1 => Just(Step::Disarm),
    ]
}

proptest! {
    /// Each chain comes back once, in the order in which the device used them; the device is
    /// notified whenever it would not look by itself, the driver interrupted when it asked for it.
    #[test]
    fn nothing_is_lost_between_honest_sides(
        event_index: bool,
        steps in prop::collection::vec(step(), 0..3_000),
    ) {
        let features = if event_index { Features::EVENT_INDEX } else { Features::empty() };
        let mut memory = [0; 1024];
        let mut rig = rig(&mut memory, features);
        let (mut waiting, mut in_device, mut used) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let mut rooms = BTreeMap::new();
        let mut armed: Option<(u64, usize)> = None;
        for step in steps {
            match step {
                Step::Offer(head, room) => {
                    let expected = head < SIZE && !rooms.contains_key(&head);
                    if expected {
                        prop_assert!(rig.offer(head, room));
                        rooms.insert(head, room);
                        waiting.push_back(head);
                    } else {
                        prop_assert!(!rig.queue.offer(head, room));
                    }
                }
                Step::Publish => {
                    let before = rig.transport.windows().notified.len();
                    let news = rig.queue.offered != rig.queue.published;
                    prop_assert_eq!(rig.publish(), news && rig.transport.windows().notified.len() > before);
                    // A device that has seen all wants to hear of the next.
                    let published = waiting.len() + in_device.len() + used.len();
                    prop_assert_eq!(published, usize::from(rig.queue.outstanding()));
                }
                Step::DeviceTakes => {
                    if let Some(chain) = rig.transport.windows().pop(0) {
                        prop_assert_eq!(Some(chain.head), waiting.pop_front());
                        in_device.push_back(chain.head);
                    }
                }
                Step::DeviceUses(bytes) => {
                    if let Some(head) = in_device.pop_back() {
                        let bytes = bytes.min(rooms[&head]);
                        rig.transport.windows().push(0, head, bytes);
                        used.push_back(Used { head, bytes });
                        if let Some((before, more)) = armed && used.len() >= more {
                            prop_assert!(rig.transport.windows().interrupts > before, "interrupted");
                            armed = None;
                        }
                    }
                }
                Step::Take => {
                    let taken = rig.queue.take();
                    prop_assert_eq!(taken, Ok(used.pop_front()));
                    if let Ok(Some(Used { head, .. })) = taken {
                        rooms.remove(&head);
                        armed = None;
                    }
                }
                Step::Arm(more) => {
                    let ready = rig.queue.arm(more);
                    let more = if event_index { usize::from(more.max(1)) } else { 1 };
                    prop_assert_eq!(ready, used.len() >= more);
                    armed = (!ready).then_some((rig.transport.windows().interrupts, more));
                }
                Step::Disarm => {
                    rig.queue.disarm();
                    armed = None;
                }
            }
        }
    }

    /// Whatever the device writes into the rings, heads come back only once, exist, and have no
    /// more bytes than there was room for.
    #[test]
    fn a_hostile_device_gets_nothing(
        event_index: bool,
        steps in prop::collection::vec((0u8..6, 0u32..12, any::<u32>(), 0usize..18), 0..400),
    ) {
        let features = if event_index { Features::EVENT_INDEX } else { Features::empty() };
        let mut memory = [0; 1024];
        let mut rig = rig(&mut memory, features);
        let mut rooms = BTreeMap::new();
        for (kind, small, any, at) in steps {
            match kind {
                0 | 1 => {
                    let head = u16::try_from(small).expect("small");
                    if rig.queue.offer(head, any % 100) {
                        prop_assert!(rooms.insert(head, any % 100).is_none());
                    }
                    let _notify = rig.queue.publish();
                }
                2 => rig.transport.windows().push_raw(0, small, any % 128),
                3 => scribble(rig.transport.windows().memory(), 156 + 4 * at, any),
                _ => match rig.queue.take() {
                    Ok(None) => {}
                    Ok(Some(used)) => {
                        let room = rooms.remove(&used.head);
                        prop_assert!(room.is_some_and(|room| used.bytes <= room));
                    }
                    // Then the driver resets the device.
                    Err(_) => return Ok(()),
                },
            }
            let _ready = rig.queue.arm(1);
            prop_assert_eq!(usize::from(rig.queue.outstanding()), rooms.len());
        }
    }
}
