//! Tests only: a remapping unit as the specification describes it.
//!
//! It caches all that a unit may cache, until it is told to forget; it sees writes to its tables at
//! once, or only when they were flushed. It checks after every single write of the software whether
//! devices reach what they must and nothing that they may not, and it can stop the software there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use super::registers::{Command, Registers, offset};
use super::remapping::{self, Message, Target};
use super::tables::{PAGE_BYTES, PRESENT, Range, TableMemory, WORDS, index};

/// Where the model's memory is.
pub(crate) const BASE: u64 = 0x1234_5000;
/// Where fault records and the registers that forget translations are.
const FAULTS: u32 = 0x220;
const TRANSLATIONS: u32 = 0xf0;

/// What kind of unit it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) four_levels: bool,
    pub(crate) queue: bool,
    pub(crate) interrupts: bool,
    pub(crate) coherent: bool,
    pub(crate) buffers_writes: bool,
}

pub(crate) const EMULATED: Kind = Kind {
    four_levels: false,
    queue: true,
    interrupts: true,
    coherent: false,
    buffers_writes: false,
};

/// What a device may do at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What is expected of a requester.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// What it must reach.
    pub(crate) must: Vec<Range>,
    /// What it may reach.
    pub(crate) may: Vec<Range>,
    /// The interrupt that must work.
    pub(crate) interrupt: Option<(u16, Target)>,
    /// The one that may.
    pub(crate) may_interrupt: Option<(u16, Target)>,
}

/// The unit, its memory, and what is expected.
#[derive(Debug)]
pub(crate) struct Hardware {
    kind: Kind,
    /// Memory as the unit sees it, and words that are still in the processor's cache.
    memory: Vec<[u64; WORDS]>,
    dirty: BTreeMap<(usize, usize), u64>,
    status: Command,
    registers: BTreeMap<u32, u64>,
    root: u64,
    interrupt_table: u64,
    contexts: BTreeMap<u16, [u64; 2]>,
    /// By domain, level and page: an entry of a table.
    translations: BTreeMap<(u16, u8, u64), u64>,
    entries: BTreeMap<u16, [u64; 2]>,
    record: [u32; 4],
    lost: bool,
    /// Pages that the last check came by: a write to another page changes nothing for it.
    visited: BTreeSet<usize>,
    /// Writes until the software is stopped.
    pub(crate) fuel: Option<u32>,
    /// Writes so far.
    pub(crate) writes: u32,
    /// What is checked after every write; nothing before translation is on for the first time.
    pub(crate) expected: Option<BTreeMap<u16, Expected>>,
}

/// The software was stopped.
struct Stopped;

/// The model, shared between its registers and its memory.
#[derive(Clone, Debug)]
pub(crate) struct Model(Rc<RefCell<Hardware>>);

impl Model {
    pub(crate) fn new(kind: Kind, pages: usize) -> Self {
        Self(Rc::new(RefCell::new(Hardware {
            kind,
            // What was there before is not zero.
            memory: vec![[0x5555_5555_5555_5557; WORDS]; pages],
            dirty: BTreeMap::new(),
            status: Command::empty(),
            registers: BTreeMap::new(),
            root: 0,
            interrupt_table: 0,
            contexts: BTreeMap::new(),
            translations: BTreeMap::new(),
            entries: BTreeMap::new(),
            record: [0; 4],
            lost: false,
            visited: BTreeSet::new(),
            fuel: None,
            writes: 0,
            expected: None,
        })))
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Hardware) -> T) -> T {
        look(&mut self.0.borrow_mut())
    }

    /// Runs software, which is stopped after so many writes; `None` if it was.
    pub(crate) fn run<T>(&self, fuel: Option<u32>, software: impl FnOnce() -> T) -> Option<T> {
        self.with(|hardware| hardware.fuel = fuel);
        let end = catch_unwind(AssertUnwindSafe(software));
        self.with(|hardware| hardware.fuel = None);
        match end {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Stopped>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }
}

impl TableMemory for Model {
    fn pages(&self) -> usize {
        self.0.borrow().memory.len()
    }

    fn bus(&self, page: usize) -> u64 {
        BASE + page as u64 * PAGE_BYTES
    }

    fn write(&mut self, page: usize, word: usize, value: u64) {
        self.with(|hardware| {
            hardware.spend();
            if hardware.kind.coherent {
                hardware.memory[page][word] = value;
            } else {
                hardware.dirty.insert((page, word), value);
            }
            hardware.check_after(page);
        });
    }

    fn read(&self, page: usize, word: usize) -> u64 {
        let hardware = self.0.borrow();
        hardware.dirty.get(&(page, word)).copied().unwrap_or(hardware.memory[page][word])
    }

    fn flush(&mut self, page: usize, word: usize) {
        self.with(|hardware| {
            let line = (page, word & !7)..=(page, word | 7);
            let words: Vec<_> =
                hardware.dirty.range(line).map(|(at, value)| (*at, *value)).collect();
            for ((page, word), value) in words {
                hardware.memory[page][word] = value;
                hardware.dirty.remove(&(page, word));
            }
            hardware.check_after(page);
        });
    }
}

impl Registers for Model {
    fn bytes(&self) -> u32 {
        0x1000
    }

    fn read32(&mut self, offset: u32) -> u32 {
        self.with(|hardware| hardware.input(offset) as u32)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        self.write64(offset, u64::from(value));
    }

    fn read64(&mut self, offset: u32) -> u64 {
        self.with(|hardware| hardware.input(offset))
    }

    fn write64(&mut self, offset: u32, value: u64) {
        self.with(|hardware| {
            hardware.spend();
            hardware.output(offset, value);
            hardware.check();
        });
    }
}

impl Hardware {
    fn spend(&mut self) {
        self.writes += 1;
        match &mut self.fuel {
            Some(0) => resume_unwind(Box::new(Stopped)),
            Some(fuel) => *fuel -= 1,
            None => {}
        }
    }

    fn input(&self, offset: u32) -> u64 {
        let Kind { four_levels, queue, interrupts, coherent, buffers_writes } = self.kind;
        let flag = |flag: bool, at: u32| u64::from(flag) << at;
        match offset {
            offset::CAPABILITIES => {
                let widths =
                    if four_levels { 0b110 << 8 | 47 << 16 } else { 0b010 << 8 | 38 << 16 };
                2 | widths | flag(buffers_writes, 4) | 0x22 << 24 | 0b11 << 54
            }
            offset::EXTENDED_CAPABILITIES => {
                flag(coherent, 0) | flag(queue, 1) | flag(interrupts, 3) | 0xf << 8
            }
            offset::STATUS => u64::from(self.status.bits()),
            offset::FAULT_STATUS => u64::from(self.lost) | flag(self.record[3] >> 31 == 1, 1),
            FAULTS.. if offset < FAULTS + 16 => {
                u64::from(self.record[(offset - FAULTS) as usize / 4])
            }
            _ => self.registers.get(&offset).copied().unwrap_or(0),
        }
    }

    fn output(&mut self, offset: u32, value: u64) {
        const FORGET: u32 = TRANSLATIONS + 8;
        match offset {
            offset::COMMAND => self.command(Command::from_bits_retain(value as u32)),
            offset::QUEUE_TAIL if self.status.contains(Command::QUEUE) => {
                self.registers.insert(offset, value);
                self.work(value);
            }
            offset::QUEUE => {
                assert!(!self.status.contains(Command::QUEUE), "a queue in use was moved");
                self.registers.insert(offset, value);
            }
            offset::CONTEXT_COMMAND => {
                assert!(!self.status.contains(Command::QUEUE), "the queue has to be used");
                let (source, domain) = ((value >> 16) as u16, value as u16);
                self.forget_contexts(value >> 61 & 3, source, domain);
                self.registers.insert(offset, value & !(1 << 63));
            }
            FORGET => {
                assert!(!self.status.contains(Command::QUEUE), "the queue has to be used");
                self.forget_translations(value >> 60 & 3, (value >> 32) as u16);
                self.registers.insert(offset, value & !(1 << 63));
            }
            offset::FAULT_STATUS => self.lost &= value & 1 == 0,
            offset if offset == FAULTS + 12 => self.record[3] &= !(value as u32 & 1 << 31),
            offset => {
                self.registers.insert(offset, value);
            }
        }
    }

    /// The command register: one change at a time (section 10.4.4).
    fn command(&mut self, command: Command) {
        let changed = (command ^ self.status) & Command::STATES;
        let requests = command & !Command::STATES;
        assert!(changed.bits().count_ones() + requests.bits().count_ones() <= 1, "{command:?}");
        if changed.contains(Command::QUEUE) && command.contains(Command::QUEUE) {
            self.registers.insert(offset::QUEUE_HEAD, 0);
            assert_eq!(self.input(offset::QUEUE_TAIL), 0);
        }
        self.status ^= changed;
        if requests.contains(Command::SET_ROOT) {
            self.root = self.input(offset::ROOT_TABLE);
            self.status |= Command::SET_ROOT;
        }
        if requests.contains(Command::SET_INTERRUPT_TABLE) {
            self.interrupt_table = self.input(offset::INTERRUPT_TABLE);
            self.status |= Command::SET_INTERRUPT_TABLE;
        }
    }

    /// Carries out the queue's descriptors.
    fn work(&mut self, tail: u64) {
        let mut head = self.input(offset::QUEUE_HEAD);
        while head != tail {
            let address = self.input(offset::QUEUE) + head;
            let [low, high] = [self.load(address), self.load(address + 8)];
            match low & 0xf {
                1 => self.forget_contexts(low >> 4 & 3, (low >> 32) as u16, (low >> 16) as u16),
                2 => self.forget_translations(low >> 4 & 3, (low >> 16) as u16),
                4 if low >> 4 & 1 == 0 => self.entries.clear(),
                4 => {
                    self.entries.remove(&((low >> 32) as u16));
                }
                5 => self.store(high, low >> 32),
                _ => panic!("descriptor {low:#x}"),
            }
            head = (head + 16) % PAGE_BYTES;
        }
        self.registers.insert(offset::QUEUE_HEAD, head);
    }

    fn forget_contexts(&mut self, how: u64, source: u16, domain: u16) {
        match how {
            1 => self.contexts.clear(),
            // A unit may keep contexts by domain: those of another number stay.
            3 => {
                self.contexts.retain(|of, [_, high]| *of != source || (*high >> 8) as u16 != domain)
            }
            _ => panic!("contexts are forgotten in way {how}"),
        }
    }

    fn forget_translations(&mut self, how: u64, domain: u16) {
        match how {
            1 => self.translations.clear(),
            2 => self.translations.retain(|(of, ..), _| *of != domain),
            _ => panic!("translations are forgotten in way {how}"),
        }
    }

    fn load(&mut self, address: u64) -> u64 {
        let (page, word) = place(address);
        self.visited.insert(page);
        self.memory[page][word]
    }

    fn store(&mut self, address: u64, value: u64) {
        let (page, word) = place(address);
        self.dirty.remove(&(page, word));
        self.memory[page][word] = value;
    }

    /// What becomes of a device's access; a fault is recorded.
    pub(crate) fn access(&mut self, source: u16, address: u64, access: Access) -> Result<(), u8> {
        let end = self.translate(source, address, access, Caches::Used);
        if let Err(reason) = end {
            let read = if access == Access::Read { 1 << 30 } else { 0 };
            self.fault(address, source, read | u32::from(reason));
        }
        end
    }

    fn fault(&mut self, what: u64, source: u16, state: u32) {
        if self.record[3] >> 31 == 1 {
            self.lost = true;
            return;
        }
        self.record =
            [what as u32 & !0xfff, (what >> 32) as u32, u32::from(source), 1 << 31 | state];
    }

    fn translate(
        &mut self,
        source: u16,
        address: u64,
        access: Access,
        caches: Caches,
    ) -> Result<(), u8> {
        if !self.status.contains(Command::TRANSLATE) {
            return Ok(());
        }
        let [low, high] = self.context(source, caches)?;
        let levels = (high & 7) as u8 + 2;
        let domain = (high >> 8) as u16;
        if address >> (12 + 9 * u32::from(levels)) != 0 {
            return Err(4);
        }
        let mut table = low & !0xfff;
        for level in (1..=levels).rev() {
            let key = (domain, level, address >> (12 + 9 * (u32::from(level) - 1)));
            let entry = self.load(table + index(address, level) as u64 * 8);
            let entry = self.cached(caches, |hardware| &mut hardware.translations, key, entry);
            let (bit, reason) = if access == Access::Read { (1, 6) } else { (2, 5) };
            if entry & bit == 0 {
                return Err(reason);
            }
            if entry & 3 != 0 && caches == Caches::Used {
                self.translations.insert(key, entry);
            }
            table = entry & !0xfff;
        }
        assert_eq!(table, address & !0xfff, "translations are identities");
        Ok(())
    }

    fn context(&mut self, source: u16, caches: Caches) -> Result<[u64; 2], u8> {
        if let Some(context) = self.contexts.get(&source).filter(|_| caches == Caches::Used) {
            return Ok(*context);
        }
        let root = self.load(self.root + u64::from(source >> 8) * 16);
        if root & PRESENT == 0 {
            return Err(1);
        }
        let at = (root & !0xfff) + u64::from(source & 0xff) * 16;
        let context = [self.load(at), self.load(at + 8)];
        if context[0] & PRESENT == 0 {
            return Err(2);
        }
        if caches == Caches::Used {
            self.contexts.insert(source, context);
        }
        Ok(context)
    }

    fn cached<K: Ord, V: Copy>(
        &mut self,
        caches: Caches,
        which: impl Fn(&mut Self) -> &mut BTreeMap<K, V>,
        key: K,
        now: V,
    ) -> V {
        let known = which(self).get(&key).copied();
        known.filter(|_| caches == Caches::Used).unwrap_or(now)
    }

    /// What becomes of a device's message.
    pub(crate) fn interrupt(&mut self, source: u16, message: Message) -> Result<Target, u8> {
        let end = self.remap(source, message, Caches::Used);
        if let Err(reason) = end {
            let entry = message.address >> 5 & 0x7fff;
            self.fault(entry << 48, source, u32::from(reason));
        }
        end
    }

    fn remap(&mut self, source: u16, message: Message, caches: Caches) -> Result<Target, u8> {
        let is_remappable = message.address & 0x10 != 0;
        if !self.status.contains(Command::REMAP_INTERRUPTS) || !is_remappable {
            return Target::of(message).ok_or(0x25);
        }
        let number = (message.address >> 5 & 0x7fff) as u16;
        if u64::from(number) >= 2 << (self.interrupt_table & 0xf) {
            return Err(0x21);
        }
        let at = (self.interrupt_table & !0xfff) + u64::from(number) * 16;
        let now = [self.load(at), self.load(at + 8)];
        let entry = self.cached(caches, |hardware| &mut hardware.entries, number, now);
        if entry[0] & 1 == 0 {
            return Err(0x22);
        }
        if caches == Caches::Used {
            self.entries.insert(number, entry);
        }
        if entry[1] >> 18 & 3 != 1 || entry[1] as u16 != source {
            return Err(0x26);
        }
        Ok(Target { apic: (entry[0] >> 40) as u8, vector: (entry[0] >> 16) as u8 })
    }

    fn check_after(&mut self, page: usize) {
        if self.visited.contains(&page) {
            self.check();
        }
    }

    /// Compares what devices reach with what is expected, with old knowledge and without.
    pub(crate) fn check(&mut self) {
        let Some(expected) = self.expected.take() else { return };
        self.visited.clear();
        for (source, expectation) in &expected {
            for caches in [Caches::Used, Caches::Empty] {
                self.check_device(*source, expectation, &expected, caches);
                self.check_interrupts(*source, expectation, &expected, caches);
            }
        }
        self.expected = Some(expected);
    }

    fn check_device(
        &mut self,
        source: u16,
        expectation: &Expected,
        all: &BTreeMap<u16, Expected>,
        caches: Caches,
    ) {
        let ranges = all.values().flat_map(|expected| expected.may.iter().chain(&expected.must));
        let edges = ranges.flat_map(|range| {
            let end = range.start.wrapping_add(range.bytes);
            [range.start.wrapping_sub(1), range.start, end.wrapping_sub(1), end]
        });
        let edges: Vec<u64> = edges.chain([BASE]).collect();
        for address in edges {
            for access in [Access::Read, Access::Write] {
                let end = self.translate(source, address, access, caches);
                let at = format!("{source:#x} {address:#x} {access:?} {caches:?}: {end:?}");
                assert!(end.is_ok() || !allows(&expectation.must, address, access), "lost: {at}");
                assert!(end.is_err() || allows(&expectation.may, address, access), "open: {at}");
            }
        }
    }

    fn check_interrupts(
        &mut self,
        source: u16,
        expectation: &Expected,
        all: &BTreeMap<u16, Expected>,
        caches: Caches,
    ) {
        if !self.kind.interrupts {
            return;
        }
        for (entry, _) in all.values().filter_map(|expected| expected.may_interrupt) {
            let end = self.remap(source, remapping::message(entry), caches).ok();
            let must = expectation.interrupt.filter(|(own, _)| *own == entry);
            let may = expectation.may_interrupt.filter(|(own, _)| *own == entry);
            let at = format!("{source:#x} entry {entry} {caches:?}: {end:?}");
            assert!(must.is_none_or(|(_, target)| end == Some(target)), "lost: {at}");
            assert!(
                end.is_none_or(|end| may.is_some_and(|(_, target)| target == end)),
                "open: {at}"
            );
        }
    }
}

/// Whether a unit uses what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caches {
    Used,
    Empty,
}

/// Whether ranges allow an access. Where they overlap, the later one decides.
pub(crate) fn allows(ranges: &[Range], address: u64, access: Access) -> bool {
    let bit = if access == Access::Read { 1 } else { 2 };
    let covers =
        |range: &&Range| (range.start..range.start.wrapping_add(range.bytes)).contains(&address);
    ranges.iter().rfind(covers).is_some_and(|range| range.rights.bits() & bit != 0)
}

fn place(address: u64) -> (usize, usize) {
    let offset = address.checked_sub(BASE).expect("tables lie in the model's memory");
    ((offset / PAGE_BYTES) as usize, (offset % PAGE_BYTES / 8) as usize)
}
