//! DMAR: which remapping units there are, and for which devices (VT-d, section 8).

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::acpi::record::{Prefix, Record, records};
use crate::acpi::table::{self, HEADER_BYTES, TableError};

/// Bytes of a page, to which units and reserved memory are aligned.
const PAGE_BYTES: u64 = 4096;
/// Deepest path: bridges below each other.
const DEEPEST_PATH: usize = 32;

/// The remapping units, and the memory that devices use on the firmware's behalf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dmar {
    /// Bits of an address that the machine's devices can use.
    pub address_bits: u8,
    /// Whether the machine can remap interrupts; a unit has to be able to as well.
    pub interrupt_remapping: bool,
    /// The units.
    pub units: Vec<UnitRecord>,
    /// Memory that certain devices must go on reaching.
    pub reserved: Vec<ReservedMemory>,
}

/// A remapping unit (DRHD, section 8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRecord {
    /// Segment of its devices.
    pub segment: u16,
    /// Address of its registers.
    pub registers: u64,
    /// Whether it is for every device of the segment that no other unit names.
    pub all_others: bool,
    /// The devices that it names.
    pub scopes: Vec<Scope>,
}

/// Memory that devices use on the firmware's behalf, such as the USB controller that emulates
/// a keyboard (RMRR, section 8.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedMemory {
    /// Segment of the devices.
    pub segment: u16,
    /// First address.
    pub start: u64,
    /// Bytes, a multiple of 4096.
    pub bytes: u64,
    /// The devices.
    pub scopes: Vec<Scope>,
}

/// A device, by the way to it (section 8.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What is meant by it.
    pub kind: ScopeKind,
    /// Number of the I/O APIC or HPET.
    pub id: u8,
    /// Bus on which the way begins.
    pub bus: u8,
    /// Device and function of each bridge on the way, and of the device; at least one.
    pub path: Vec<(u8, u8)>,
}

/// What is meant by a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// The function there.
    Endpoint,
    /// The bridge there, and everything behind it.
    Hierarchy,
    /// An I/O APIC, which interrupts as if it were that function.
    IoApic,
    /// An HPET that interrupts as if it were that function.
    Hpet,
    /// A device of the firmware's bytecode, or something that a later revision adds.
    Other,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fixed {
    width: u8,
    flags: u8,
    reserved: [u8; 10],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct UnitFixed {
    prefix: [u8; 4],
    flags: u8,
    size: u8,
    segment: U16,
    registers: U64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReservedFixed {
    prefix: [u8; 4],
    reserved: U16,
    segment: U16,
    base: U64,
    /// The last byte.
    limit: U64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ScopeFixed {
    kind: u8,
    length: u8,
    flags: u8,
    reserved: u8,
    id: u8,
    bus: u8,
}

/// In the table's flags: interrupts can be remapped.
const INTERRUPT_REMAPPING: u8 = 1;
/// In a unit's flags: it is for all others.
const INCLUDE_ALL: u8 = 1;

impl Dmar {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"DMAR";

    /// Reads it.
    ///
    /// # Errors
    /// [`TableError`]; also where two units have the same registers.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (fixed, list) = table::body::<Fixed>(bytes, &Self::SIGNATURE)?;
        let mut dmar = Self {
            address_bits: fixed.width.saturating_add(1).min(64),
            interrupt_remapping: fixed.flags & INTERRUPT_REMAPPING != 0,
            ..Self::default()
        };
        for record in records(list, HEADER_BYTES + size_of::<Fixed>(), Prefix::Words) {
            dmar.add(&record?)?;
        }
        Ok(dmar)
    }

    fn add(&mut self, record: &Record<'_>) -> Result<(), TableError> {
        match record.kind {
            0 => self.add_unit(record),
            1 => {
                self.reserved.push(reserved(record)?);
                Ok(())
            }
            // Translation in devices, nodes, and what later revisions add.
            _ => Ok(()),
        }
    }

    fn add_unit(&mut self, record: &Record<'_>) -> Result<(), TableError> {
        let fixed: &UnitFixed = record.read()?;
        let registers = fixed.registers.get();
        let is_known = self.units.iter().any(|unit| unit.registers == registers);
        let is_page = registers != 0 && registers.is_multiple_of(PAGE_BYTES);
        if is_known || !is_page || registers.checked_add(PAGE_BYTES).is_none() {
            return Err(record.nonsense());
        }
        self.units.push(UnitRecord {
            segment: fixed.segment.get(),
            registers,
            all_others: fixed.flags & INCLUDE_ALL != 0,
            scopes: scopes(record, size_of::<UnitFixed>())?,
        });
        Ok(())
    }
}

fn reserved(record: &Record<'_>) -> Result<ReservedMemory, TableError> {
    let fixed: &ReservedFixed = record.read()?;
    let start = fixed.base.get();
    let end = fixed.limit.get().checked_add(1).ok_or(record.nonsense())?;
    let bytes = end.checked_sub(start).filter(|bytes| *bytes != 0).ok_or(record.nonsense())?;
    if !start.is_multiple_of(PAGE_BYTES) || !bytes.is_multiple_of(PAGE_BYTES) {
        return Err(record.nonsense());
    }
    let scopes = scopes(record, size_of::<ReservedFixed>())?;
    Ok(ReservedMemory { segment: fixed.segment.get(), start, bytes, scopes })
}

/// The devices that a structure names, behind its first `fixed` bytes.
fn scopes(record: &Record<'_>, fixed: usize) -> Result<Vec<Scope>, TableError> {
    let mut rest = record.bytes.get(fixed..).unwrap_or(&[]);
    let mut scopes = Vec::new();
    while !rest.is_empty() {
        let (scope, length) = scope(rest).ok_or(record.nonsense())?;
        scopes.push(scope);
        rest = rest.get(length..).unwrap_or(&[]);
    }
    Ok(scopes)
}

/// The first of some devices, and how many bytes it takes.
fn scope(bytes: &[u8]) -> Option<(Scope, usize)> {
    let (fixed, _) = ScopeFixed::ref_from_prefix(bytes).ok()?;
    let length = usize::from(fixed.length);
    let path = bytes.get(..length)?.get(size_of::<ScopeFixed>()..)?;
    let (steps, []) = path.as_chunks::<2>() else { return None };
    let is_place = |[device, function]: &[u8; 2]| *device < 32 && *function < 8;
    if steps.is_empty() || steps.len() > DEEPEST_PATH || !steps.iter().all(is_place) {
        return None;
    }
    let path = steps.iter().map(|[device, function]| (*device, *function)).collect();
    let scope = Scope { kind: ScopeKind::of(fixed.kind), id: fixed.id, bus: fixed.bus, path };
    Some((scope, length))
}

impl ScopeKind {
    fn of(kind: u8) -> Self {
        match kind {
            1 => Self::Endpoint,
            2 => Self::Hierarchy,
            3 => Self::IoApic,
            4 => Self::Hpet,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::samples::{Machine, mutated, sealed};
    use proptest::prelude::*;

    fn table(structures: &[&[u8]]) -> Vec<u8> {
        let mut body = vec![38, 1];
        body.resize(12, 0);
        body.extend(structures.concat());
        sealed(b"DMAR", &body)
    }

    fn unit(flags: u8, registers: u64, scopes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(16 + scopes.len()).expect("small");
        let mut bytes = [&[0, 0], &length.to_le_bytes()[..], &[flags, 0, 0, 0]].concat();
        bytes.extend(registers.to_le_bytes());
        bytes.extend(scopes);
        bytes
    }

    fn memory(base: u64, limit: u64, scopes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(24 + scopes.len()).expect("small");
        let mut bytes = [&[1, 0], &length.to_le_bytes()[..], &[0, 0, 0, 0]].concat();
        bytes.extend(base.to_le_bytes());
        bytes.extend(limit.to_le_bytes());
        bytes.extend(scopes);
        bytes
    }

    #[test]
    fn a_real_one_is_read() {
        let dmar = Dmar::parse(&Machine::q35().table(b"DMAR")).expect("sound");
        assert_eq!((dmar.address_bits, dmar.interrupt_remapping), (39, true));
        let [unit] = &dmar.units[..] else { panic!("{dmar:?}") };
        assert_eq!((unit.segment, unit.registers, unit.all_others), (0, 0xfed9_0000, false));
        let scope = |kind, bus, device, function| Scope {
            kind,
            id: 0,
            bus,
            path: vec![(device, function)],
        };
        let endpoints = [(0, 0), (1, 0), (0x1f, 0), (0x1f, 2), (0x1f, 3)]
            .map(|(device, function)| scope(ScopeKind::Endpoint, 0, device, function));
        let [host, graphics, rest @ ..] = endpoints;
        let mut all = vec![scope(ScopeKind::IoApic, 0xff, 0, 0), host, graphics];
        all.push(scope(ScopeKind::Hierarchy, 0, 2, 0));
        all.extend(rest);
        assert_eq!(unit.scopes, all);
        assert!(dmar.reserved.is_empty());
    }

    #[test]
    fn ways_and_reserved_memory() {
        let behind_bridge = [1, 10, 0, 0, 0, 2, 0x1c, 5, 0, 0];
        let bridge = [2, 8, 0, 0, 0, 0, 1, 0];
        let units = unit(0, 0xfed9_0000, &[behind_bridge.as_slice(), &bridge].concat());
        let dmar = Dmar::parse(&table(&[&units, &memory(0x8000, 0x9fff, &bridge)]));
        let dmar = dmar.expect("sound");
        let hierarchy = Scope { kind: ScopeKind::Hierarchy, id: 0, bus: 0, path: vec![(1, 0)] };
        let endpoint =
            Scope { kind: ScopeKind::Endpoint, id: 0, bus: 2, path: vec![(0x1c, 5), (0, 0)] };
        assert_eq!(dmar.units[0].scopes, [endpoint, hierarchy.clone()]);
        let reserved =
            ReservedMemory { segment: 0, start: 0x8000, bytes: 0x2000, scopes: vec![hierarchy] };
        assert_eq!(dmar.reserved, [reserved]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let sound = unit(1, 0xfed9_0000, &[]);
        for bad in [
            unit(1, 0xfed9_0000, &[]),
            unit(1, 0xfed9_1080, &[]),
            unit(1, 0, &[]),
            unit(1, 0xffff_ffff_ffff_f000, &[]),
            unit(0, 0xfed9_1000, &[1, 6, 0, 0, 0, 0]),
            unit(0, 0xfed9_1000, &[1, 9, 0, 0, 0, 0, 1, 0, 0]),
            unit(0, 0xfed9_1000, &[1, 0, 0, 0, 0, 0, 1, 0]),
            unit(0, 0xfed9_1000, &[1, 10, 0, 0, 0, 0, 1, 0]),
            unit(0, 0xfed9_1000, &[1, 8, 0, 0, 0, 0, 32, 0]),
            memory(0x1000, 0xfff, &[]),
            memory(0x2000, 0x1fff, &[]),
            memory(0x2000, 0x2ffe, &[]),
            memory(0, u64::MAX, &[]),
        ] {
            let result = Dmar::parse(&table(&[&sound, &bad]));
            assert_eq!(result, Err(TableError::Value(64)), "{bad:x?}");
        }
        assert_eq!(Dmar::parse(&table(&[&sound[..9]])), Err(TableError::Record(48)));
        let short = [0, 0, 8, 0, 0, 0, 0, 0];
        assert_eq!(Dmar::parse(&table(&[&short])), Err(TableError::Record(48)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn foreign_bytes_never_panic(real: bool, table in mutated(Machine::q35().table(b"DMAR")), made in mutated(
            table(&[&unit(0, 0xfed9_0000, &[1, 8, 0, 0, 0, 0, 2, 0]), &memory(0x1000, 0x1fff, &[])])
        )) {
            let dmar = Dmar::parse(if real { &table } else { &made }).unwrap_or_default();
            for memory in &dmar.reserved {
                prop_assert!(memory.bytes > 0 && memory.start.checked_add(memory.bytes).is_some());
            }
            let scopes = dmar.units.iter().flat_map(|unit| &unit.scopes);
            for scope in scopes.chain(dmar.reserved.iter().flat_map(|memory| &memory.scopes)) {
                prop_assert!(!scope.path.is_empty());
                prop_assert!(scope.path.iter().all(|(device, function)| *device < 32 && *function < 8));
            }
        }
    }
}
