//! Units against the model: what devices reach, at every moment.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::faults::{Reason, Wanted};
use super::model::{Access, EMULATED, Expected, Kind, Model};
use super::registers::{Command, Registers, offset};
use super::remapping::{Message, Target, message};
use super::tables::{Range, Rights, TableError};
use super::unit::{Attachment, FEWEST_PAGES, Setup, Unit, UnitError, Usage};

const PAGES: usize = 200;

/// A server that may be stopped at any time, and what init knows of its devices.
struct World {
    model: Model,
    kind: Kind,
    unit: Option<Unit<Model>>,
    reserved: BTreeMap<u16, Vec<Range>>,
    held: BTreeMap<u16, Attachment>,
}

fn range(start: u64, pages: u64) -> Range {
    Range { start, bytes: pages * 4096, rights: Rights::ReadWrite }
}

fn attachment(source: u16, ranges: &[Range]) -> Attachment {
    let target = Target { apic: 1, vector: 0x40 + source as u8 };
    Attachment { source, ranges: ranges.to_vec(), interrupt: Some((source & 0xff, target)) }
}

impl World {
    fn new(kind: Kind, reserved: &[(u16, Range)]) -> Self {
        let model = Model::new(kind, PAGES);
        let reserved = reserved.iter().map(|(source, range)| (*source, vec![*range])).collect();
        let mut world = Self { model, kind, unit: None, reserved, held: BTreeMap::new() };
        assert!(world.start(None), "it starts");
        world
    }

    /// Starts a server that is stopped after so many writes; whether it came to its end.
    fn start(&mut self, fuel: Option<u32>) -> bool {
        self.unit = None;
        let held: Vec<Attachment> = self.held.values().cloned().collect();
        let setup = Setup {
            first_page: 0,
            pages: PAGES,
            interrupts: true,
            reserved: &self.reserved,
            held: &held,
        };
        let (registers, mut memory) = (self.model.clone(), self.model.clone());
        let unit = self.model.run(fuel, || Unit::take_over(registers, setup, &mut memory));
        self.unit = unit.map(|unit| unit.expect("it can be taken over"));
        if self.unit.is_some() {
            self.expect(None);
        }
        self.unit.is_some()
    }

    /// Expects what is held, and allows `also` to be reached or not.
    fn expect(&mut self, also: Option<&Attachment>) {
        let mut all: BTreeMap<u16, Expected> =
            [0x08, 0x10, 0x28, 0x0100, 0x0233].map(|source| (source, Expected::default())).into();
        for attachment in self.held.values() {
            let ranges = self.ranges(attachment);
            let interrupt = attachment.interrupt;
            let expected = all.entry(attachment.source).or_default();
            *expected = Expected {
                must: ranges.clone(),
                may: ranges,
                interrupt: interrupt.filter(|_| self.kind.interrupts),
                may_interrupt: interrupt,
            };
        }
        if let Some(attachment) = also {
            let expected = all.entry(attachment.source).or_default();
            expected.may = self.ranges(attachment);
            expected.may_interrupt = attachment.interrupt;
        }
        for (source, ranges) in &self.reserved {
            let expected = all.entry(*source).or_default();
            if expected.may.is_empty() {
                expected.may = ranges.clone();
            }
            if also.is_none() && expected.must.is_empty() {
                expected.must = ranges.clone();
            }
        }
        self.model.with(|hardware| {
            hardware.expected = Some(all);
            hardware.check();
        });
    }

    fn ranges(&self, attachment: &Attachment) -> Vec<Range> {
        let reserved = self.reserved.get(&attachment.source).into_iter().flatten();
        attachment.ranges.iter().chain(reserved).copied().collect()
    }

    /// Gives a device its memory; `None` if the server was stopped.
    fn attach(
        &mut self,
        new: &Attachment,
        fuel: Option<u32>,
    ) -> Option<Result<Option<Message>, UnitError>> {
        self.expect(Some(new));
        let Self { model, unit, .. } = self;
        let unit = unit.as_mut().expect("the server runs");
        let mut memory = model.clone();
        let end = model.run(fuel, || unit.attach(new, &mut memory))?;
        if end.is_ok() {
            self.held.insert(new.source, new.clone());
        }
        self.expect(None);
        Some(end)
    }

    /// Takes everything from a device; `None` if the server was stopped.
    fn detach(&mut self, source: u16, fuel: Option<u32>) -> Option<()> {
        let old = self.held.remove(&source);
        self.expect(old.as_ref());
        let Self { model, unit, .. } = self;
        let unit = unit.as_mut().expect("the server runs");
        let mut memory = model.clone();
        let end = model.run(fuel, || unit.detach(source, &mut memory))?;
        end.expect("the unit answers");
        self.expect(None);
        Some(())
    }

    fn usage(&self) -> Usage {
        self.unit.as_ref().expect("the server runs").usage()
    }

    fn access(&self, source: u16, address: u64, access: Access) -> Result<(), u8> {
        self.model.with(|hardware| hardware.access(source, address, access))
    }
}

const FOUR: Kind = Kind { four_levels: true, coherent: true, ..EMULATED };
const OLD: Kind = Kind { queue: false, interrupts: false, buffers_writes: false, ..FOUR };

#[test]
fn a_device_reaches_its_memory_and_nothing_after_release() {
    for kind in [EMULATED, FOUR, OLD] {
        let mut world = World::new(kind, &[]);
        let before = world.usage();
        assert_eq!(world.access(0x28, 0x1000, Access::Read), Err(1));
        let read_only = Range { rights: Rights::Read, ..range(0x40_0000, 1) };
        let new = attachment(0x28, &[range(0x1f_e000, 4), read_only]);
        let told = world.attach(&new, None).expect("it ran").expect("there is room");
        assert_eq!(told, kind.interrupts.then(|| message(0x28)));
        assert_eq!(world.access(0x28, 0x20_0008, Access::Write), Ok(()));
        assert_eq!(world.access(0x28, 0x20_2000, Access::Write), Err(5));
        assert_eq!(world.access(0x28, 0x40_0000, Access::Write), Err(5));
        assert_eq!(world.access(0x28, 0x40_0000, Access::Read), Ok(()));
        assert_eq!(world.access(0x29, 0x20_0000, Access::Read), Err(2));
        let usage = world.usage();
        assert_eq!((usage.domains, usage.mappings), (1, 5));
        world.detach(0x28, None);
        assert_eq!(world.access(0x28, 0x20_0008, Access::Read), Err(2));
        // The context table of the bus stays.
        assert_eq!(world.usage(), Usage { table_pages: before.table_pages + 1, ..before });
    }
}

#[test]
fn faults_are_told_with_device_and_address() {
    let mut world = World::new(EMULATED, &[]);
    world.attach(&attachment(0x28, &[range(0x1000, 1)]), None);
    let _ = world.access(0x28, 0xdead_b008, Access::Write);
    let _ = world.access(0x28, 0xdead_c000, Access::Write);
    let found = world.unit.as_mut().expect("it runs").faults(0);
    assert!(found.lost, "the model records one");
    let [fault] = &found.faults[..] else { panic!("{found:?}") };
    assert_eq!(fault.device.to_string(), "00:05.0");
    assert_eq!((fault.wanted, fault.reason), (Wanted::Write(0xdead_b000), Reason::NoMapping));
    let _ = world.model.with(|hardware| hardware.interrupt(0x28, message(9)));
    let found = world.unit.as_mut().expect("it runs").faults(0);
    let [fault] = &found.faults[..] else { panic!("{found:?}") };
    assert_eq!((fault.wanted, fault.reason), (Wanted::Interrupt(9), Reason::NoEntry));
    assert_eq!(world.unit.as_mut().expect("it runs").faults(0), Default::default());
}

#[test]
fn a_device_cannot_use_the_entry_of_another() {
    let mut world = World::new(EMULATED, &[]);
    world.attach(&attachment(0x28, &[]), None);
    world.attach(&attachment(0x10, &[]), None);
    let send =
        |source, entry| world.model.with(|hardware| hardware.interrupt(source, message(entry)));
    assert_eq!(send(0x28, 0x28), Ok(Target { apic: 1, vector: 0x68 }));
    assert_eq!(send(0x28, 0x10), Err(0x26));
    assert_eq!(send(0x28, 0x11), Err(0x22));
    let twice = Attachment { source: 0x100, ..attachment(0x28, &[]) };
    assert_eq!(world.attach(&twice, None), Some(Err(UnitError::Interrupt(0x28))));
}

#[test]
fn reserved_memory_stays_whoever_has_the_device() {
    let mut world = World::new(EMULATED, &[(0x10, range(0x8000, 2))]);
    assert_eq!(world.access(0x10, 0x9fff, Access::Write), Ok(()));
    world.attach(&attachment(0x10, &[range(0x4000, 1)]), None);
    assert_eq!(world.access(0x10, 0x9fff, Access::Write), Ok(()));
    assert_eq!(world.access(0x10, 0x4000, Access::Write), Ok(()));
    world.detach(0x10, None);
    assert_eq!(world.access(0x10, 0x8000, Access::Read), Ok(()));
    assert_eq!(world.access(0x10, 0x4000, Access::Read), Err(6));
}

#[test]
fn what_cannot_be_mapped_is_refused_and_leaves_nothing() {
    let mut world = World::new(EMULATED, &[]);
    world.attach(&attachment(0x20, &[range(0x1000, 1)]), None);
    world.detach(0x20, None);
    let before = world.usage();
    for (start, bytes) in [
        (0x1800, 4096),
        (0x1000, 100),
        (u64::MAX - 4095, 4096),
        (1 << 39, 4096),
        ((1 << 39) - 4096, 8192),
        (0xfedf_f000, 8192),
        (0xfeef_f000, 4096),
    ] {
        let new = attachment(0x28, &[Range { start, bytes, rights: Rights::Read }]);
        let end = world.attach(&new, None);
        assert_eq!(end, Some(Err(UnitError::Tables(TableError::Range(start)))), "{start:#x}");
    }
    let large = attachment(0x28, &[range(0, 100 * 512)]);
    assert_eq!(world.attach(&large, None), Some(Err(UnitError::Tables(TableError::NoMemory))));
    assert_eq!(world.usage(), before);
    let sound = attachment(0x28, &[range((1 << 39) - 4096, 1)]);
    assert!(matches!(world.attach(&sound, None), Some(Ok(_))));
    assert_eq!(world.attach(&sound, None), Some(Err(UnitError::Interrupt(0x28))));
}

#[test]
fn what_the_firmware_left_is_replaced() {
    let mut model = Model::new(EMULATED, PAGES);
    // Translation by tables elsewhere, in a mode of which nothing is known here.
    model.write64(offset::ROOT_TABLE, 0x7654_3400);
    model.write32(offset::COMMAND, Command::SET_ROOT.bits());
    model.write32(offset::COMMAND, Command::TRANSLATE.bits());
    let mut world = World {
        model,
        kind: EMULATED,
        unit: None,
        reserved: BTreeMap::new(),
        held: BTreeMap::new(),
    };
    assert!(world.start(None));
    assert_eq!(world.access(0x28, 0x1000, Access::Read), Err(1));
}

#[test]
fn units_that_are_no_such_thing_are_refused() {
    struct Absent;
    impl Registers for Absent {
        fn bytes(&self) -> u32 {
            4096
        }
        fn read32(&mut self, _: u32) -> u32 {
            u32::MAX
        }
        fn write32(&mut self, _: u32, _: u32) {}
        fn read64(&mut self, _: u32) -> u64 {
            u64::MAX
        }
        fn write64(&mut self, _: u32, _: u64) {}
    }
    let mut memory = Model::new(EMULATED, PAGES);
    let reserved = BTreeMap::new();
    let setup =
        Setup { first_page: 0, pages: PAGES, interrupts: true, reserved: &reserved, held: &[] };
    assert_eq!(Unit::take_over(Absent, setup, &mut memory).err(), Some(UnitError::Unknown));
    let small = Setup { pages: FEWEST_PAGES - 1, ..setup };
    let registers = memory.clone();
    assert_eq!(Unit::take_over(registers, small, &mut memory).err(), Some(UnitError::NoMemory));
}

#[test]
fn a_successor_may_be_stopped_after_any_write() {
    for kind in [EMULATED, FOUR, OLD] {
        let mut world = World::new(kind, &[(0x10, range(0x8000, 1))]);
        world.attach(&attachment(0x28, &[range(0x1f_e000, 4)]), None);
        world.attach(&attachment(0x0233, &[range(0x3fff_f000, 2)]), None);
        let mut stops = 0;
        let before = world.usage();
        while !world.start(Some(stops)) {
            // The next one may be stopped a little later, so that both halves were written to.
            world.start(Some(stops + 3));
            stops += 41;
        }
        assert!(stops > 5000, "pages are cleared word by word: {stops}");
        assert_eq!(world.usage(), before);
    }
}

#[test]
fn a_successor_may_be_stopped_around_the_change() {
    let mut world = World::new(FOUR, &[]);
    world.attach(&attachment(0x28, &[range(0x1f_e000, 4)]), None);
    let writes = |world: &World| world.model.with(|hardware| hardware.writes);
    let before = writes(&world);
    assert!(world.start(None));
    let all = writes(&world) - before;
    // The tables are done when the last 600 writes begin; the interrupt table takes 512 of them.
    for stop in all - 600..all {
        assert!(!world.start(Some(stop)), "{stop} of {all}");
        if stop % 3 != 0 {
            world.start(Some(stop + stop % 7));
        }
    }
    assert!(world.start(None));
}

/// Something that happens to a server.
#[derive(Clone, Debug)]
enum Step {
    Attach(Attachment),
    Detach(prop::sample::Index),
    Restart,
}

fn any_range() -> impl Strategy<Value = Range> {
    let starts = [0, 0x1f_f000, 0x3fff_f000, 0x10_0000, 0x7f_ffff_0000, 0x1234_5000];
    let rights = prop_oneof![Just(Rights::Read), Just(Rights::Write), Just(Rights::ReadWrite)];
    (prop::sample::select(starts.to_vec()), 1u64..4, rights)
        .prop_map(|(start, pages, rights)| Range { start, bytes: pages * 4096, rights })
}

fn step() -> impl Strategy<Value = Step> {
    let source = prop::sample::select(vec![0x08, 0x10, 0x28, 0x0100, 0x0233, 0x0234]);
    let attach = (source, prop::collection::vec(any_range(), 0..3))
        .prop_map(|(source, ranges)| Step::Attach(attachment(source, &ranges)));
    prop_oneof![
        3 => attach,
        2 => any::<prop::sample::Index>().prop_map(Step::Detach),
        1 => Just(Step::Restart),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    flags.prop_map(|(four_levels, queue, coherent, interrupts)| Kind {
        four_levels,
        queue,
        coherent,
        interrupts: queue && interrupts,
        buffers_writes: false,
    })
}

impl World {
    /// Carries out a step in which the server may be stopped; then init's word decides whether
    /// what was under way is held.
    fn carry_out(&mut self, step: &Step, fuel: Option<u32>, held_then: bool) {
        match step {
            Step::Attach(new) if self.held.contains_key(&new.source) => {}
            Step::Attach(new) => {
                if self.attach(new, fuel).is_none() {
                    self.recover(new, held_then);
                }
            }
            Step::Detach(which) if !self.held.is_empty() => {
                let (source, old) =
                    self.held.iter().nth(which.index(self.held.len())).expect("few");
                let (source, old) = (*source, old.clone());
                if self.detach(source, fuel).is_none() {
                    self.recover(&old, held_then);
                }
            }
            Step::Detach(_) => {}
            Step::Restart => {
                if !self.start(fuel) {
                    assert!(self.start(None));
                }
            }
        }
    }

    fn recover(&mut self, under_way: &Attachment, held_then: bool) {
        self.expect(Some(under_way));
        if held_then {
            self.held.insert(under_way.source, under_way.clone());
        }
        assert!(self.start(None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever is given, taken and stopped: a device reaches what its driver has, at all times, and
    /// nothing else; and what is used of the tables is what is held.
    #[test]
    fn devices_reach_exactly_what_their_drivers_have(
        kind in kind(),
        steps in prop::collection::vec((step(), prop::option::weighted(0.4, 0u32..6000), any::<bool>()), 1..12),
        reserves: bool,
    ) {
        let reserved = [(0x10, range(0x8000, 2))];
        let mut world = World::new(kind, if reserves { &reserved } else { &[] });
        for (step, fuel, held_then) in &steps {
            world.carry_out(step, *fuel, *held_then);
            let usage = world.usage();
            let reserved = world.reserved.keys().filter(|source| !world.held.contains_key(source));
            prop_assert_eq!(usage.domains, world.held.len() + reserved.count());
            let interrupts = if kind.interrupts { world.held.len() } else { 0 };
            prop_assert_eq!(usage.interrupts, interrupts);
        }
        let sources: Vec<u16> = world.held.keys().copied().collect();
        for source in sources {
            world.detach(source, None);
        }
        let usage = world.usage();
        prop_assert_eq!((usage.domains, usage.interrupts), (world.reserved.len(), 0));
        prop_assert_eq!(usage.mappings, world.reserved.len() * 2);
    }
}
