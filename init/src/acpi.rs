//! How to switch this machine off and start it again, and which interrupt controllers have which
//! inputs: the few ACPI tables that say so.
//!
//! RSDP -> XSDT (or RSDT) -> FADT -> DSDT, followed through a reader of physical memory. The sleep
//! type for power-off stands in the DSDT as the package `_S5_`; it is found by its byte pattern,
//! without an AML interpreter, as its encoding leaves no freedom. The controllers stand in the MADT, in
//! the order in which the kernel numbers them. Everything is foreign bytes:
//! lengths are bounded, checksums checked, and any nonsense ends in an [`AcpiError`].
//!
//! Followed: ACPI specification 6.5, sections 4.8.3, 5.2.5 to 5.2.9, 5.2.12.3, 7.4.2 and 20.2.

use alloc::vec::Vec;
use core::fmt;

/// Longest table that is read. Real DSDTs stay below half of it.
const LONGEST_TABLE: u32 = 1 << 20;
const HEADER_BYTES: usize = 36;
/// The MADT's entry for an interrupt controller.
const IO_APIC: u8 = 1;
/// Controllers that the kernel has at most.
const MOST_IO_APICS: usize = 8;
/// The FADT's flag that the reset register works.
const RESET_SUPPORTED: u32 = 1 << 10;
/// Generic addresses in I/O space have this space number.
const IO_SPACE: u8 = 1;

/// PM1 control: SLP_EN, which makes the machine go to sleep.
const SLEEP_ENABLE: u16 = 1 << 13;
/// PM1 control: first bit of SLP_TYP.
const SLEEP_TYPE_SHIFT: u32 = 10;

/// Reads physical memory.
pub trait PhysicalMemory {
    /// The `bytes` bytes at `address`, or `None` where they cannot be read.
    fn read(&mut self, address: u64, bytes: usize) -> Option<Vec<u8>>;
}

/// A write to a port that does something to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortWrite {
    /// One byte.
    Byte(u16, u8),
    /// Two bytes.
    Word(u16, u16),
}

/// What the tables tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Power {
    /// Hands the power registers from the firmware to the system; needed once, if at all.
    pub enable: Option<PortWrite>,
    /// Port whose bit 0 tells that the system has the power registers.
    pub status_port: u16,
    /// What switches off.
    pub off: [Option<PortWrite>; 2],
    /// What resets.
    pub reset: Option<PortWrite>,
}

/// Why the tables told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// The root pointer is damaged.
    BadRoot,
    /// Physical memory at this address cannot be read.
    Unreadable(u64),
    /// The table at this address has a bad length or checksum.
    BadTable(u64),
    /// There is no FADT.
    NoFadt,
    /// There is no MADT.
    NoMadt,
    /// The DSDT has no `_S5_`, or the FADT no port for it.
    NoPowerOff,
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRoot => f.write_str("the ACPI root pointer is damaged"),
            Self::Unreadable(at) => write!(f, "the ACPI table at {at:#x} cannot be read"),
            Self::BadTable(at) => write!(f, "the ACPI table at {at:#x} is damaged"),
            Self::NoFadt => f.write_str("ACPI has no FADT"),
            Self::NoMadt => f.write_str("ACPI has no MADT"),
            Self::NoPowerOff => f.write_str("ACPI does not tell how to switch off"),
        }
    }
}

impl core::error::Error for AcpiError {}

/// Follows the tables from the root pointer's bytes. `sleep_types` are those of S5 where somebody has
/// evaluated the firmware's bytecode; else they are looked for in it.
///
/// # Errors
/// [`AcpiError`]; a machine that can be reset and not switched off is not an error.
pub fn power(
    rsdp: &[u8],
    memory: &mut impl PhysicalMemory,
    sleep_types: Option<(u8, u8)>,
) -> Result<Power, AcpiError> {
    let fadt = find(&Root::parse(rsdp)?, memory, b"FACP")?.ok_or(AcpiError::NoFadt)?;
    if sleep_types.is_some() {
        return Ok(power_from(&fadt, sleep_types));
    }
    let dsdt_at = match long(&fadt, 140) {
        0 => u64::from(int(&fadt, 40)),
        address => address,
    };
    let sleep_types = table(memory, dsdt_at).ok().and_then(|dsdt| s5_sleep_types(&dsdt));
    Ok(power_from(&fadt, sleep_types))
}

struct Root {
    address: u64,
    entry_bytes: usize,
}

impl Root {
    fn parse(rsdp: &[u8]) -> Result<Self, AcpiError> {
        let first = rsdp.get(..20).filter(|bytes| bytes.starts_with(b"RSD PTR "));
        let first = first.filter(|bytes| sum(bytes) == 0).ok_or(AcpiError::BadRoot)?;
        let whole = rsdp.get(..36).filter(|bytes| bytes[15] >= 2 && sum(bytes) == 0);
        match whole.map(|bytes| long(bytes, 24)) {
            Some(address) if address != 0 => Ok(Self { address, entry_bytes: 8 }),
            _ => Ok(Self { address: u64::from(int(first, 16)), entry_bytes: 4 }),
        }
    }
}

/// Inputs of the interrupt controllers, which the firmware numbers through ("global system
/// interrupts").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The number of each controller's first input, in the kernel's order.
    first: Vec<u32>,
}

impl Inputs {
    /// What the MADT says.
    ///
    /// # Errors
    /// [`AcpiError`].
    pub fn read(rsdp: &[u8], memory: &mut impl PhysicalMemory) -> Result<Self, AcpiError> {
        let madt = find(&Root::parse(rsdp)?, memory, b"APIC")?.ok_or(AcpiError::NoMadt)?;
        let mut rest = madt.get(HEADER_BYTES + 8..).unwrap_or(&[]);
        let mut first = Vec::new();
        while let [kind, length, ..] = *rest {
            let Some((entry, others)) = rest.split_at_checked(length.max(2).into()) else { break };
            // The kernel takes those that have an address, so many at most.
            if kind == IO_APIC && entry.len() >= 8 && first.len() < MOST_IO_APICS {
                first.push(int(entry, 8));
            }
            rest = others;
        }
        Ok(Self { first })
    }

    /// The controller that has an input, by the kernel's number, and which of its inputs it is: that of
    /// the controllers that begins last before it. Whether it has so many, the kernel knows. Without
    /// a MADT there is one controller.
    #[must_use]
    pub fn locate(&self, gsi: u32) -> Option<(u64, u64)> {
        if self.first.is_empty() {
            return Some((0, gsi.into()));
        }
        let before = (0..).zip(&self.first).filter(|(_, first)| **first <= gsi);
        let (number, first) = before.max_by_key(|(_, first)| **first)?;
        Some((number, u64::from(gsi - first)))
    }
}

/// The first table of this name.
fn find(
    root: &Root,
    memory: &mut impl PhysicalMemory,
    signature: &[u8; 4],
) -> Result<Option<Vec<u8>>, AcpiError> {
    let list = table(memory, root.address)?;
    let entries = list.get(HEADER_BYTES..).unwrap_or(&[]).chunks_exact(root.entry_bytes);
    for entry in entries {
        let address = entry.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        // Other tables may be out of reach or damaged without harm.
        let header = memory.read(address, HEADER_BYTES);
        if header.is_some_and(|header| header.starts_with(signature)) {
            return table(memory, address).map(Some);
        }
    }
    Ok(None)
}

/// A whole table with a sound checksum.
fn table(memory: &mut impl PhysicalMemory, address: u64) -> Result<Vec<u8>, AcpiError> {
    let header = memory.read(address, HEADER_BYTES).ok_or(AcpiError::Unreadable(address))?;
    let length = int(&header, 4);
    let sound = header.len() == HEADER_BYTES && length <= LONGEST_TABLE;
    let bytes = usize::try_from(length).ok().filter(|&bytes| sound && bytes >= HEADER_BYTES);
    let bytes = bytes.ok_or(AcpiError::BadTable(address))?;
    let table = memory.read(address, bytes).ok_or(AcpiError::Unreadable(address))?;
    if table.len() != bytes || sum(&table) != 0 {
        return Err(AcpiError::BadTable(address));
    }
    Ok(table)
}

fn power_from(fadt: &[u8], sleep_types: Option<(u8, u8)>) -> Power {
    let control_a = control_port(fadt, 64, 172);
    let control_b = control_port(fadt, 68, 184);
    let off = |port: Option<u16>, sleep_type: u8| {
        let value = SLEEP_ENABLE | u16::from(sleep_type & 7) << SLEEP_TYPE_SHIFT;
        port.map(|port| PortWrite::Word(port, value))
    };
    Power {
        enable: enable(fadt),
        status_port: control_a.unwrap_or(0),
        off: sleep_types.map_or([None; 2], |(a, b)| [off(control_a, a), off(control_b, b)]),
        reset: reset(fadt),
    }
}

/// A control port: the extended field where it names a port, else the old one.
fn control_port(fadt: &[u8], old: usize, extended: usize) -> Option<u16> {
    io_address(fadt, extended)
        .or_else(|| u16::try_from(int(fadt, old)).ok())
        .filter(|&port| port != 0)
}

fn enable(fadt: &[u8]) -> Option<PortWrite> {
    let port = u16::try_from(int(fadt, 48)).ok().filter(|&port| port != 0)?;
    let value = byte(fadt, 52);
    (value != 0).then_some(PortWrite::Byte(port, value))
}

fn reset(fadt: &[u8]) -> Option<PortWrite> {
    if int(fadt, 112) & RESET_SUPPORTED == 0 {
        return None;
    }
    Some(PortWrite::Byte(io_address(fadt, 116)?, byte(fadt, 128)))
}

/// The port that a generic address structure names, if it lies in I/O space.
fn io_address(table: &[u8], at: usize) -> Option<u16> {
    if byte(table, at) != IO_SPACE {
        return None;
    }
    u16::try_from(long(table, at + 4)).ok().filter(|&port| port != 0)
}

/// SLP_TYPa and SLP_TYPb of `Name (_S5_, Package () { a, b, … })`.
fn s5_sleep_types(dsdt: &[u8]) -> Option<(u8, u8)> {
    const NAME: &[u8] = b"_S5_";
    let body = dsdt.get(HEADER_BYTES..)?;
    body.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(
        |(at, _)| {
            // NameOp, maybe with the root prefix between; then the package.
            let before = body.get(..at)?;
            if !(before.ends_with(&[0x08]) || before.ends_with(&[0x08, b'\\'])) {
                return None;
            }
            package_of_two(body.get(at + NAME.len()..)?)
        },
    )
}

/// The first two integers of a package.
fn package_of_two(aml: &[u8]) -> Option<(u8, u8)> {
    let (&0x12, rest) = aml.split_first()? else { return None };
    // PkgLength: the top two bits of its first byte tell how many bytes follow it.
    let length_bytes = usize::from(rest.first()? >> 6) + 1;
    let (count, elements) = rest.get(length_bytes..)?.split_first()?;
    if *count < 2 {
        return None;
    }
    let (a, elements) = integer(elements)?;
    let (b, _) = integer(elements)?;
    Some((a, b))
}

/// A small AML integer and what follows it.
fn integer(aml: &[u8]) -> Option<(u8, &[u8])> {
    let (prefix, rest) = aml.split_first()?;
    match prefix {
        0x00 => Some((0, rest)),
        0x01 => Some((1, rest)),
        0x0a => rest.split_first().map(|(value, rest)| (*value, rest)),
        0x0b => Some((*rest.first()?, rest.get(2..)?)),
        0x0c => Some((*rest.first()?, rest.get(4..)?)),
        _ => None,
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// Fields that an older, shorter table lacks read as zero, which means "not there" in each of them.
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

fn int(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(core::array::from_fn(|i| byte(bytes, at + i)))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|i| byte(bytes, at + i)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Default)]
    struct Memory(BTreeMap<u64, Vec<u8>>);

    impl PhysicalMemory for Memory {
        fn read(&mut self, address: u64, bytes: usize) -> Option<Vec<u8>> {
            let (start, block) = self.0.range(..=address).next_back()?;
            let from = usize::try_from(address - start).ok()?;
            block.get(from..from.checked_add(bytes)?).map(<[u8]>::to_vec)
        }
    }

    fn sealed(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut table = signature.to_vec();
        table.extend(u32::try_from(HEADER_BYTES + body.len()).expect("small").to_le_bytes());
        table.resize(HEADER_BYTES, 0);
        table.extend(body);
        table[9] = 0u8.wrapping_sub(sum(&table));
        table
    }

    fn fadt(extended: bool) -> Vec<u8> {
        let mut body = vec![0; if extended { 244 } else { 116 } - HEADER_BYTES];
        let mut put = |at: usize, value: &[u8]| {
            body[at - HEADER_BYTES..at - HEADER_BYTES + value.len()].copy_from_slice(value);
        };
        put(40, &0x3000u32.to_le_bytes());
        put(48, &0xb2u32.to_le_bytes());
        put(52, &[2]);
        put(64, &0x604u32.to_le_bytes());
        if extended {
            put(112, &RESET_SUPPORTED.to_le_bytes());
            put(116, &[1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0]);
            put(128, &[0x0f]);
            put(140, &0x3000u64.to_le_bytes());
            put(172, &[1, 16, 0, 2, 0x04, 0x06, 0, 0, 0, 0, 0, 0]);
        }
        sealed(b"FACP", &body)
    }

    fn rsdp(version: u8) -> Vec<u8> {
        let mut bytes = b"RSD PTR ".to_vec();
        bytes.resize(36, 0);
        bytes[15] = version;
        bytes[16..20].copy_from_slice(&0x1000u32.to_le_bytes());
        bytes[8] = 0u8.wrapping_sub(sum(&bytes[..20]));
        bytes[20] = 36;
        bytes[24..32].copy_from_slice(&0x1800u64.to_le_bytes());
        bytes[32] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }

    fn machine(extended: bool) -> Memory {
        // As QEMU's q35 has it: Name (_S5, Package (0x04) { Zero, Zero, Zero, Zero }), but with a
        // 5.
        let aml = [0x10, 0x08, b'_', b'S', b'5', b'_', 0x12, 0x06, 0x04, 0x0a, 5, 0, 0, 0];
        let other = 0x9000u64;
        let xsdt: Vec<u8> = [other, 0x2000].iter().flat_map(|at| at.to_le_bytes()).collect();
        let rsdt: Vec<u8> = [0x9000u32, 0x2000].iter().flat_map(|at| at.to_le_bytes()).collect();
        Memory(BTreeMap::from([
            (0x1000, sealed(b"RSDT", &rsdt)),
            (0x1800, sealed(b"XSDT", &xsdt)),
            (0x2000, fadt(extended)),
            (0x3000, sealed(b"DSDT", &aml)),
            (0x9000, sealed(b"APIC", &[0; 8])),
        ]))
    }

    #[test]
    fn follows_new_and_old_tables() {
        let new = power(&rsdp(2), &mut machine(true), None).expect("sound");
        let told = power(&rsdp(2), &mut machine(true), Some((3, 3))).expect("sound");
        assert_eq!(told.off[0], Some(PortWrite::Word(0x604, SLEEP_ENABLE | 3 << SLEEP_TYPE_SHIFT)));
        let off = [Some(PortWrite::Word(0x604, 0x3400)), None];
        assert_eq!((new.off, new.status_port), (off, 0x604));
        assert_eq!(new.enable, Some(PortWrite::Byte(0xb2, 2)));
        assert_eq!(new.reset, Some(PortWrite::Byte(0xcf9, 0x0f)));
        let old = power(&rsdp(0)[..20], &mut machine(false), None).expect("sound");
        assert_eq!((old.off, old.reset), (off, None));
    }

    /// A MADT: a processor, controllers that begin at these inputs, an entry too short for one.
    fn madt(first: &[u32]) -> Vec<u8> {
        let mut body = vec![0; 8];
        body.extend([0, 8, 0, 0, 1, 0, 0, 0, 1, 4, 0, 0]);
        for input in first {
            body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe]);
            body.extend(input.to_le_bytes());
        }
        sealed(b"APIC", &body)
    }

    fn inputs(first: &[u32]) -> Inputs {
        let mut memory = machine(true);
        memory.0.insert(0x9000, madt(first));
        Inputs::read(&rsdp(2), &mut memory).expect("sound")
    }

    #[test]
    fn inputs_are_those_of_the_controller_that_begins_before_them() {
        let three = inputs(&[24, 0, 32]);
        let located = [0, 23, 24, 31, 32, 500].map(|gsi| three.locate(gsi));
        assert_eq!(located, [(1, 0), (1, 23), (0, 0), (0, 7), (2, 0), (2, 468)].map(Some));
        assert_eq!(Inputs::default().locate(9), Some((0, 9)));
        assert_eq!(inputs(&[4]).locate(3), None);
        let many: Vec<u32> = (0..10).map(|number| number * 8).collect();
        assert_eq!(inputs(&many).locate(79), Some((7, 23)), "the kernel has eight");
        let mut memory = machine(true);
        memory.0.insert(0x9000, sealed(b"HPET", &[0; 9]));
        let none = Inputs::read(&rsdp(2), &mut memory);
        assert_eq!(none, Err(AcpiError::NoMadt));
    }

    #[test]
    fn damage_is_named() {
        let mut root = rsdp(2);
        root[3] ^= 1;
        assert_eq!(power(&root, &mut machine(true), None), Err(AcpiError::BadRoot));
        let mut memory = machine(true);
        memory.0.get_mut(&0x2000).expect("there")[50] ^= 1;
        assert_eq!(power(&rsdp(2), &mut memory, None), Err(AcpiError::BadTable(0x2000)));
        let mut memory = machine(true);
        memory.0.remove(&0x1800);
        memory.0.remove(&0x1000);
        assert_eq!(power(&rsdp(2), &mut memory, None), Err(AcpiError::Unreadable(0x1800)));
        let mut memory = machine(true);
        memory.0.insert(0x2000, sealed(b"HPET", &[0; 9]));
        assert_eq!(power(&rsdp(2), &mut memory, None), Err(AcpiError::NoFadt));
    }

    #[test]
    fn without_s5_the_reset_still_works() {
        let mut memory = machine(true);
        memory.0.insert(0x3000, sealed(b"DSDT", b"no sleep here"));
        let power = power(&rsdp(2), &mut memory, None).expect("sound");
        assert_eq!((power.off, power.reset.is_some()), ([None; 2], true));
    }

    #[test]
    fn s5_is_read_in_all_its_encodings() {
        let types = |aml: &[u8]| s5_sleep_types(&sealed(b"DSDT", aml));
        let named = |package: &[u8]| types(&[b"\x08\\_S5_", package].concat());
        assert_eq!(named(&[0x12, 6, 4, 0, 1, 0, 0]), Some((0, 1)));
        assert_eq!(named(&[0x12, 0x49, 0, 4, 0x0a, 7, 0x0a, 7]), Some((7, 7)));
        assert_eq!(named(&[0x12, 9, 2, 0x0b, 3, 0, 0x0c, 2, 0, 0, 0]), Some((3, 2)));
        assert_eq!(named(&[0x12, 4, 1, 0]), None);
        assert_eq!(types(b"\x14_S5_\x12\x06\x04\x00\x00"), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(block in 0usize..5, at in any::<prop::sample::Index>(), value in any::<u8>(), cut in 0usize..40, fix in any::<bool>()) {
            let mut memory = machine(true);
            let bytes = memory.0.values_mut().nth(block).expect("five blocks");
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            if fix && bytes.len() > 9 {
                bytes[9] = 0;
                bytes[9] = 0u8.wrapping_sub(sum(bytes));
            }
            let _ = power(&rsdp(2), &mut memory, None);
        }

        #[test]
        fn any_madt_is_read(body in prop::collection::vec(prop_oneof![Just(1u8), Just(12), any::<u8>()], 0..80), gsi: u32) {
            let mut memory = machine(true);
            memory.0.insert(0x9000, sealed(b"APIC", &body));
            let inputs = Inputs::read(&rsdp(2), &mut memory).expect("its sum is right");
            if let Some((number, pin)) = inputs.locate(gsi) {
                prop_assert!(number < 8 && pin <= u64::from(gsi));
            }
        }

        #[test]
        fn random_aml_never_panics(aml in prop::collection::vec(prop::sample::select(vec![0u8, 1, 8, 0x0a, 0x0b, 0x0c, 0x12, b'_', b'S', b'5', b'\\', 0xff]), 0..60)) {
            let mut body = aml;
            body.extend(b"\x08_S5_");
            let _ = s5_sleep_types(&sealed(b"DSDT", &body));
        }
    }
}
