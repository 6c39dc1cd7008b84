//! From the root pointer to every table (ACPI 6.5, sections 5.2.5 to 5.2.10).

use alloc::vec::Vec;
use core::fmt;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::fadt::Fadt;
use super::table::{self, HEADER_BYTES, Header, TableError, sum};
use crate::memory::PhysicalMemory;

/// Most tables that are looked at; machines with many SSDTs have half as many.
const MOST_TABLES: usize = 256;
/// Most bytes of tables that are kept, for they are kept in the heap: large servers have half as many.
/// What does not fit any more is [`TableError::NoRoom`].
const MOST_BYTES: usize = 3 << 19;
/// The FACS has a signature and a length like a table, and neither the rest of the header nor a
/// checksum.
const FACS: [u8; 4] = *b"FACS";

/// Bytes of the root pointer of ACPI 1.0, the first of those of later ones.
const FIRST_BYTES: usize = 20;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RootPointer {
    signature: [u8; 8],
    checksum: u8,
    oem: [u8; 6],
    revision: u8,
    rsdt: U32,
    length: U32,
    xsdt: U64,
    extended_checksum: u8,
    reserved: [u8; 3],
}

/// Why there are no tables at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootError {
    /// The boot loader handed over no root pointer.
    Missing,
    /// What it handed over is none.
    Pointer,
    /// The list of tables, at this address, is damaged.
    List(u64, TableError),
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no ACPI root pointer"),
            Self::Pointer => f.write_str("the ACPI root pointer is damaged"),
            Self::List(at, error) => write!(f, "the list of ACPI tables at {at:#x}: {error}"),
        }
    }
}

impl core::error::Error for RootError {}

/// A table, sound or not.
#[derive(Clone, Debug)]
pub struct Table {
    /// Where it is.
    pub address: u64,
    /// Its header, where that could be read.
    pub header: Option<Header>,
    /// All of its bytes, checked; or why it is not used.
    pub bytes: Result<Vec<u8>, TableError>,
}

impl Table {
    fn read(memory: &(impl PhysicalMemory + ?Sized), address: u64, room: usize) -> Self {
        match table::header(memory, address) {
            Ok(header) if header.signature == FACS => Self::facs(memory, address, header),
            Ok(header) => {
                let bytes = table::contents(memory, address, &header, room);
                Self { address, header: Some(header), bytes }
            }
            Err(error) => Self { address, header: None, bytes: Err(error) },
        }
    }

    /// The FACS is shared with the firmware, so its sum cannot hold; it is listed, not read.
    fn facs(memory: &(impl PhysicalMemory + ?Sized), address: u64, header: Header) -> Self {
        let mut bytes = alloc::vec![0; HEADER_BYTES];
        let read = memory.read(address, &mut bytes).map_err(|_| TableError::Unreadable);
        Self { address, header: Some(header), bytes: read.map(|()| bytes) }
    }

    /// Its four letters.
    #[must_use]
    pub fn signature(&self) -> Option<[u8; 4]> {
        self.header.map(|header| header.signature)
    }
}

/// All tables, in the order of the root's list; what the FADT points to follows.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The tables.
    pub tables: Vec<Table>,
    /// Whether there were more than are looked at.
    pub cut: bool,
    /// Whether the list of 64-bit addresses was damaged, and the older one was followed.
    pub fell_back: bool,
}

impl Directory {
    /// Follows the root pointer, whose bytes the boot loader found.
    ///
    /// # Errors
    /// [`RootError`] where not even the list of tables can be read.
    pub fn read(root: &[u8], memory: &(impl PhysicalMemory + ?Sized)) -> Result<Self, RootError> {
        let lists = lists(root)?;
        let mut first_error = None;
        for (tried, list) in lists.into_iter().flatten().enumerate() {
            match list.addresses(memory) {
                Ok(addresses) => return Ok(Self::over(&addresses, memory, tried > 0)),
                Err(error) => {
                    first_error.get_or_insert(RootError::List(list.address, error));
                }
            }
        }
        Err(first_error.unwrap_or(RootError::Pointer))
    }

    /// The first sound table with this signature.
    #[must_use]
    pub fn sound(&self, signature: &[u8; 4]) -> Option<&[u8]> {
        self.all(signature).next()
    }

    /// Every sound table with this signature.
    pub fn all(&self, signature: &[u8; 4]) -> impl Iterator<Item = &[u8]> {
        let tables = self.tables.iter().filter(|table| table.signature() == Some(*signature));
        tables.filter_map(|table| table.bytes.as_deref().ok())
    }

    fn over(addresses: &[u64], memory: &(impl PhysicalMemory + ?Sized), fell_back: bool) -> Self {
        let mut directory = Self { fell_back, ..Self::default() };
        for &address in addresses {
            directory.add(address, memory);
        }
        let fadt = directory.sound(&Fadt::SIGNATURE).and_then(|bytes| Fadt::parse(bytes).ok());
        if let Some(fadt) = fadt {
            directory.add(fadt.dsdt, memory);
            directory.add(fadt.facs, memory);
        }
        directory
    }

    /// Adds the table at `address`, once; 0 means none.
    fn add(&mut self, address: u64, memory: &(impl PhysicalMemory + ?Sized)) {
        if address == 0 || self.tables.iter().any(|table| table.address == address) {
            return;
        }
        if self.tables.len() == MOST_TABLES {
            self.cut = true;
            return;
        }
        let kept = self.tables.iter().filter_map(|table| table.bytes.as_ref().ok());
        let room = MOST_BYTES.saturating_sub(kept.map(Vec::len).sum());
        self.tables.push(Table::read(memory, address, room));
    }
}

/// A list of tables' addresses.
#[derive(Clone, Copy, Debug)]
struct List {
    address: u64,
    signature: [u8; 4],
    entry_bytes: usize,
}

/// The lists to try, the better one first.
fn lists(root: &[u8]) -> Result<[Option<List>; 2], RootError> {
    if root.is_empty() {
        return Err(RootError::Missing);
    }
    let first = root.get(..FIRST_BYTES).filter(|bytes| sum(bytes) == 0);
    let first = first.filter(|bytes| bytes.starts_with(b"RSD PTR ")).ok_or(RootError::Pointer)?;
    // An old pointer is followed by anything; zeros there mean nothing.
    let mut whole = [0; size_of::<RootPointer>()];
    let known = root.len().min(whole.len());
    whole[..known].copy_from_slice(&root[..known]);
    whole[..FIRST_BYTES].copy_from_slice(first);
    let pointer = RootPointer::read_from_bytes(&whole).map_err(|_| RootError::Pointer)?;
    let is_new = pointer.revision >= 2 && known == whole.len() && sum(&whole) == 0;
    let new = List { address: pointer.xsdt.get(), signature: *b"XSDT", entry_bytes: 8 };
    let rsdt = u64::from(pointer.rsdt.get());
    let old = List { address: rsdt, signature: *b"RSDT", entry_bytes: 4 };
    let usable = |list: List| (list.address != 0).then_some(list);
    Ok([usable(new).filter(|_| is_new), usable(old)])
}

impl List {
    fn addresses(&self, memory: &(impl PhysicalMemory + ?Sized)) -> Result<Vec<u64>, TableError> {
        let header = table::header(memory, self.address)?;
        if header.signature != self.signature {
            return Err(TableError::Signature);
        }
        let bytes = table::contents(memory, self.address, &header, MOST_BYTES)?;
        let entries = bytes.get(HEADER_BYTES..).unwrap_or(&[]).chunks_exact(self.entry_bytes);
        let number =
            |entry: &[u8]| entry.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        Ok(entries.map(number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, Machine};
    use super::*;
    use crate::memory::Span;
    use proptest::prelude::*;

    fn signatures(directory: &Directory) -> Vec<String> {
        let name = |table: &Table| {
            String::from_utf8_lossy(&table.signature().unwrap_or(*b"????")).into_owned()
        };
        directory.tables.iter().map(name).collect()
    }

    #[test]
    fn real_machines_are_read_whole() {
        let q35 = Machine::q35().directory();
        assert_eq!(
            signatures(&q35),
            [
                "FACP", "APIC", "HPET", "SRAT", "SLIT", "MCFG", "DMAR", "SSDT", "NFIT", "WAET",
                "DSDT", "FACS"
            ]
        );
        assert!(q35.tables.iter().all(|table| table.bytes.is_ok()));
        assert_eq!(q35.sound(b"DSDT").map(<[u8]>::len), Some(9965));
        let pc = Machine::pc().directory();
        assert_eq!(
            signatures(&pc),
            ["FACP", "APIC", "HPET", "SRAT", "SLIT", "WAET", "DSDT", "FACS"]
        );
    }

    #[test]
    fn a_damaged_table_costs_only_itself() {
        let mut machine = Machine::q35();
        let srat = machine.find(b"SRAT");
        machine.tables[srat + 50] ^= 1;
        let directory = machine.directory();
        assert_eq!(directory.tables.len(), 12);
        let broken: Vec<_> =
            directory.tables.iter().filter_map(|table| table.bytes.as_ref().err()).collect();
        assert_eq!(broken, [&TableError::Checksum]);
        assert!(directory.sound(b"SRAT").is_none() && directory.sound(b"SLIT").is_some());
    }

    #[test]
    fn lengths_that_cannot_be_are_named() {
        let with = |length: u32| {
            let mut machine = Machine::q35();
            let hpet = machine.find(b"HPET");
            machine.tables[hpet + 4..hpet + 8].copy_from_slice(&length.to_le_bytes());
            let directory = machine.directory();
            let table = directory.tables.into_iter().find(|t| t.signature() == Some(*b"HPET"));
            table.expect("listed").bytes.expect_err("damaged")
        };
        assert_eq!(with(35), TableError::TooShort(35));
        assert_eq!(with(u32::MAX), TableError::TooLong(u32::MAX));
        assert_eq!(with(LONG), TableError::Unreadable);
        assert_eq!(with(57), TableError::Checksum);
    }

    const LONG: u32 = 1 << 20;

    #[test]
    fn the_new_list_is_preferred_and_the_old_one_helps_out() {
        let old = samples::sealed(b"RSDT", &0x3000u32.to_le_bytes());
        let mut new = samples::sealed(b"XSDT", &0x4000u64.to_le_bytes());
        let (a, b) = (samples::sealed(b"AAAA", &[]), samples::sealed(b"BBBB", &[1]));
        let root = samples::root_pointer(2, 0x1000, 0x2000);
        let read = |root: &[u8], new: &[u8]| {
            let span = |address, bytes| Span { address, bytes };
            let memory =
                [span(0x1000, &old), span(0x2000, new), span(0x3000, &a), span(0x4000, &b)];
            Directory::read(root, &memory[..]).map(|read| (signatures(&read), read.fell_back))
        };
        assert_eq!(read(&root, &new), Ok((vec!["BBBB".to_string()], false)));
        assert_eq!(read(&root[..20], &new), Ok((vec!["AAAA".to_string()], false)));
        new[12] ^= 4;
        assert_eq!(read(&root, &new), Ok((vec!["AAAA".to_string()], true)));
        let alone = samples::root_pointer(2, 0, 0x2000);
        assert_eq!(read(&alone, &new), Err(RootError::List(0x2000, TableError::Checksum)));
        assert_eq!(read(&[], &new), Err(RootError::Missing));
        assert_eq!(read(&root[..19], &new), Err(RootError::Pointer));
    }

    #[test]
    fn tables_beyond_the_room_for_them_are_listed_and_not_kept() {
        let large = samples::sealed(b"SSDT", &vec![0; 500 << 10]);
        let small = samples::sealed(b"HPET", &[0; 20]);
        let places: Vec<u64> = (1..5).map(|number| number << 20).collect();
        let mut entries = places.clone();
        entries.push(0x3000);
        let entries: Vec<u8> = entries.iter().flat_map(|at| at.to_le_bytes()).collect();
        let list = samples::sealed(b"XSDT", &entries);
        let span = |address, bytes| Span { address, bytes };
        let mut memory = vec![span(0x1000, &list[..]), span(0x3000, &small)];
        memory.extend(places.iter().map(|&at| span(at, &large[..])));
        let root = samples::root_pointer(2, 0, 0x1000);
        let directory = Directory::read(&root, &memory[..]).expect("the list is sound");
        let kept: Vec<_> = directory.tables.iter().map(|table| table.bytes.is_ok()).collect();
        assert_eq!(kept, [true, true, true, false, true]);
        let refused = directory.tables[3].bytes.as_ref().expect_err("no room");
        assert_eq!(refused, &TableError::NoRoom);
    }

    #[test]
    fn a_list_that_repeats_itself_is_followed_once() {
        let entries: Vec<u8> =
            (0..2000u32).flat_map(|i| (0x3000 + i % 400 * 64).to_le_bytes()).collect();
        let list = samples::sealed(b"RSDT", &entries);
        let memory = [Span { address: 0x1000, bytes: &list }];
        let root = samples::root_pointer(0, 0x1000, 0);
        let directory = Directory::read(&root, &memory[..]).expect("the list is sound");
        assert_eq!((directory.tables.len(), directory.cut), (MOST_TABLES, true));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Any damage anywhere: no panic, and every table that is called sound has a sum of zero
        /// and its own length.
        #[test]
        fn damage_is_contained(changes in samples::changes()) {
            let mut machine = Machine::q35();
            machine.damage(&changes);
            if let Ok(directory) = Directory::read(&machine.root, &machine.memory()[..]) {
                for table in directory.tables.iter().filter(|t| t.signature() != Some(FACS)) {
                    if let (Ok(bytes), Some(header)) = (&table.bytes, &table.header) {
                        prop_assert_eq!(sum(bytes), 0);
                        prop_assert_eq!(bytes.len(), header.length.get() as usize);
                    }
                }
            }
        }
    }
}
