//! A fuzzer of the firmware's tables: whatever they hold, nothing panics, and what is refused is
//! refused for a reason.
//!
//! Each step takes the tables of an emulated machine as its firmware left them, damages them (bytes,
//! words at the ends of what they can be, stretches of one table over another's, a shorter memory, the
//! root pointer), makes the sums right again as a rule, so that the damage reaches the parsers, and reads
//! all of it: every table, what they tell together, all of it in words.
//!
//! `FUZZ_STEPS` and `FUZZ_SEED` in the environment change how many machines are read and from which
//! seed on; a failure prints the seed of its machine, and `FUZZ_SEED=that FUZZ_STEPS=1` repeats it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::thread;

use fastrand::Rng;

use crate::acpi::samples::Machine;
use crate::acpi::{Table, TableError};
use crate::describe;
use crate::firmware::{Firmware, Found};
use crate::memory::Span;
use crate::nodes;

/// Machines that a run reads.
const STEPS: u64 = 40_000;
/// Damages to a machine at most.
const DAMAGES: usize = 8;
/// One in so many machines keeps its wrong sums.
const UNSEALED: u32 = 8;
/// Words at the ends of what fields can be.
const EDGES: [u32; 10] = [0, 1, 7, 8, 35, 36, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX];
/// Most bytes of tables that are kept.
const MOST_BYTES: usize = 3 << 19;

/// Tells the seed of the machine that a failure happened with.
struct Trail(u64);

impl Drop for Trail {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with the machine of seed {0}: FUZZ_SEED={0} FUZZ_STEPS=1", self.0);
        }
    }
}

/// What became of the tables: by name, how many were sound, refused by their sum or header, and
/// refused for what they hold.
#[derive(Default)]
struct Tally {
    machines: u64,
    without_tables: u64,
    kinds: BTreeMap<&'static str, [u64; 3]>,
}

impl Tally {
    fn count<T>(&mut self, name: &'static str, found: &Found<T>) {
        let place = match found {
            Found::Missing => return,
            Found::Sound(_) => 0,
            Found::Broken(error) if is_sense(*error) => 2,
            Found::Broken(_) => 1,
        };
        self.kinds.entry(name).or_default()[place] += 1;
    }

    fn count_all(&mut self, firmware: &Firmware) {
        self.machines += 1;
        self.without_tables += u64::from(firmware.root_error.is_some());
        self.count("FACP", &firmware.fadt);
        self.count("APIC", &firmware.madt);
        self.count("MCFG", &firmware.mcfg);
        self.count("HPET", &firmware.hpet);
        self.count("SRAT", &firmware.srat);
        self.count("SLIT", &firmware.slit);
        self.count("NFIT", &firmware.nfit);
        self.count("DMAR", &firmware.dmar);
    }
}

/// Whether a table was refused for what it holds.
const fn is_sense(error: TableError) -> bool {
    use TableError::{Record, TooLong, TooShort, Value};
    matches!(error, TooShort(_) | TooLong(_) | Record(_) | Value(_))
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} machines, {} without tables;", self.machines, self.without_tables)?;
        for (name, [sound, unsound, broken]) in &self.kinds {
            write!(f, " {name}: {sound} sound, {unsound} damaged, {broken} make no sense;")?;
        }
        Ok(())
    }
}

/// A place in a table; each table is as likely as the others, however long it is.
fn place(machine: &Machine, tables: &[Range<usize>], random: &mut Rng) -> usize {
    let table = random.choice(tables).cloned();
    random.usize(table.unwrap_or(0..machine.tables.len()))
}

fn damage(machine: &mut Machine, at: usize, random: &mut Rng) {
    let all = machine.tables.len();
    match random.u32(..10) {
        0..4 => machine.tables[at] = random.u8(..),
        4 => machine.tables[at] ^= 1 << random.u32(..8),
        5..8 => {
            let edge = random.choice(EDGES).unwrap_or(0).to_le_bytes();
            let word = machine.tables[at..].iter_mut().zip(edge);
            word.take(1 << random.u32(..3)).for_each(|(byte, edge)| *byte = edge);
        }
        8 => {
            let bytes = random.usize(1..64).min(all - at);
            let from = random.usize(..=all - bytes);
            machine.tables.copy_within(from..from + bytes, at);
        }
        _ => {
            let root = random.usize(..machine.root.len());
            machine.root[root] = random.u8(..);
        }
    }
}

/// Where the tables are.
fn ranges(machine: &Machine) -> Vec<Range<usize>> {
    let tables = machine.directory().tables.into_iter();
    let range = |table: Table| {
        let start = usize::try_from(table.address.checked_sub(machine.base)?).ok()?;
        let end = start.checked_add(table.bytes.ok()?.len())?;
        (end <= machine.tables.len()).then_some(start..end)
    };
    tables.filter_map(range).collect()
}

/// Reads the machine of one seed.
fn run(seed: u64, tally: &mut Tally) {
    let _trail = Trail(seed);
    let mut random = Rng::with_seed(seed);
    let mut machine = if random.bool() { Machine::q35() } else { Machine::pc() };
    let tables = ranges(&machine);
    for _ in 0..random.usize(1..=DAMAGES) {
        let at = place(&machine, &tables, &mut random);
        damage(&mut machine, at, &mut random);
    }
    if random.u32(..UNSEALED) > 0 {
        machine.seal();
    }
    // As a rule all of it can be read.
    let there = if random.u32(..8) > 0 {
        machine.tables.len()
    } else {
        random.usize(..machine.tables.len())
    };
    let memory = [Span { address: machine.base, bytes: &machine.tables[..there] }];
    let firmware = Firmware::read(&machine.root, &memory[..]);
    check(&firmware);
    tally.count_all(&firmware);
}

/// What is told of damaged tables is bounded, and is told.
fn check(firmware: &Firmware) {
    let tables = &firmware.directory.tables;
    let kept: usize =
        tables.iter().filter_map(|table| Some(table.bytes.as_ref().ok()?.len())).sum();
    assert!(tables.len() <= 256 && kept <= MOST_BYTES, "{} tables, {kept} bytes", tables.len());
    let broken = tables.iter().filter(|table| table.bytes.is_err()).count();
    assert!(firmware.problems().len() >= broken, "a damaged table is not told of");
    let lacks: Vec<_> = firmware.lacks().iter().map(ToString::to_string).collect();
    assert!(lacks.iter().all(|lack| !lack.is_empty()));
    for number in 0..u32::try_from(tables.len()).expect("few") {
        assert!(describe::words(firmware, number).is_ok(), "table {number} has no words");
        let damaged = tables[number as usize].bytes.is_err();
        assert_eq!(describe::part(firmware, number, 0).is_err(), damaged, "table {number}");
    }
    assert!(!nodes::nodes(firmware).is_empty() || firmware.root_error.is_none());
    let persistent = nodes::persistent(firmware);
    assert!(persistent.iter().all(|range| range.start.checked_add(range.bytes).is_some()));
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn random_tables_are_read_or_refused() {
    let (steps, first) = (setting("FUZZ_STEPS", STEPS), setting("FUZZ_SEED", 1));
    let mut tally = Tally::default();
    (first..first + steps).for_each(|seed| run(seed, &mut tally));
    println!("seeds {first} to {}: {tally}", first + steps - 1);
    assert_eq!(tally.machines, steps);
    if steps < STEPS {
        return;
    }
    assert!(tally.without_tables > 0 && tally.without_tables < steps / 2);
    for name in ["FACP", "APIC", "MCFG", "HPET", "SRAT", "SLIT", "NFIT", "DMAR"] {
        let [sound, unsound, broken] = tally.kinds.get(name).copied().unwrap_or_default();
        assert!(sound > 0 && unsound > 0, "{name}: {sound} sound, {unsound} damaged");
        assert!(broken > 0, "{name}: none was refused for what it holds");
    }
}
