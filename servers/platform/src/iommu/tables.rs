//! The tables by which a unit translates devices' addresses, in legacy mode (VT-d, sections 3.4
//! and 9).
//!
//! A root table has a context table for each bus, a context table an entry for each function, and an
//! entry leads to page tables of three or four levels. What is not mapped faults.
//!
//! Nothing is ever read back: what stands in the tables is known from here. So whatever happened to
//! that memory, no later decision depends on it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::registers::Width;

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;
/// Eight-byte words of a page.
pub const WORDS: usize = 512;
/// Words of a line of the processor's caches.
const LINE_WORDS: usize = 8;
/// Entries of a page table are chosen by so many bits.
const LEVEL_BITS: u32 = 9;
/// Writes to these addresses are interrupts, whatever the tables say (section 3.14).
const INTERRUPTS: core::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;

/// Memory that units read: an array of pages.
pub trait TableMemory {
    /// How many pages there are.
    fn pages(&self) -> usize;

    /// Where devices see a page.
    fn bus(&self, page: usize) -> u64;

    /// Writes a word of a page, and nothing later before it.
    fn write(&mut self, page: usize, word: usize, value: u64);

    /// Reads a word of a page, as a unit wrote it.
    fn read(&self, page: usize, word: usize) -> u64;

    /// Takes a word out of the processor's caches, for units that do not look there.
    fn flush(&mut self, page: usize, word: usize);
}

/// Memory for tables, with what this unit needs of a write.
pub struct Writer<'a, M: ?Sized> {
    /// The memory.
    pub memory: &'a mut M,
    /// Whether the unit sees the processor's caches.
    pub coherent: bool,
}

impl<M: TableMemory + ?Sized> Writer<'_, M> {
    /// Writes a word so that the unit sees it.
    pub fn write(&mut self, page: usize, word: usize, value: u64) {
        self.memory.write(page, word, value);
        if !self.coherent {
            self.memory.flush(page, word);
        }
    }

    /// Makes a page all zeros, which means "nothing" in every table.
    pub fn clear(&mut self, page: usize) {
        (0..WORDS).for_each(|word| self.memory.write(page, word, 0));
        if !self.coherent {
            (0..WORDS).step_by(LINE_WORDS).for_each(|word| self.memory.flush(page, word));
        }
    }

    fn bus(&self, page: usize) -> u64 {
        self.memory.bus(page)
    }
}

/// A range of bus addresses and what a device may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// First address, a multiple of 4096.
    pub start: u64,
    /// Bytes, a multiple of 4096.
    pub bytes: u64,
    /// What is allowed.
    pub rights: Rights,
}

/// What a device may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Read it.
    Read,
    /// Write it.
    Write,
    /// Read and write it.
    ReadWrite,
}

impl Rights {
    /// As a page table entry has it (section 9.8).
    #[must_use]
    pub fn bits(self) -> u64 {
        match self {
            Self::Read => READ,
            Self::Write => WRITE,
            Self::ReadWrite => READ | WRITE,
        }
    }
}

/// In a page table entry: the device may read.
pub const READ: u64 = 1;
/// In a page table entry: the device may write.
pub const WRITE: u64 = 2;
/// In a root or context entry: it is one.
pub const PRESENT: u64 = 1;

/// Why a device does not get a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// The memory for tables is used up.
    NoMemory,
    /// The unit has no further number for a domain.
    NoDomain,
    /// A range does not consist of pages, or is beyond what the unit can address.
    Range(u64),
    /// Another device uses this place already.
    Taken,
}

impl core::fmt::Display for TableError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoMemory => f.write_str("the memory for tables is used up"),
            Self::NoDomain => f.write_str("the unit has no number left for a domain"),
            Self::Range(start) => write!(f, "the unit cannot map the memory at {start:#x}"),
            Self::Taken => f.write_str("the device has a translation already"),
        }
    }
}

impl core::error::Error for TableError {}

/// Pages to build tables of.
#[derive(Debug)]
pub struct Pool {
    first: usize,
    used: Vec<bool>,
}

impl Pool {
    /// The pages from `first` on.
    #[must_use]
    pub fn new(first: usize, pages: usize) -> Self {
        Self { first, used: alloc::vec![false; pages] }
    }

    /// How many are in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.iter().filter(|used| **used).count()
    }

    fn take<M: TableMemory + ?Sized>(
        &mut self,
        writer: &mut Writer<'_, M>,
    ) -> Result<usize, TableError> {
        let free = self.used.iter().position(|used| !used).ok_or(TableError::NoMemory)?;
        self.used[free] = true;
        let page = self.first + free;
        writer.clear(page);
        Ok(page)
    }

    fn put(&mut self, page: usize) {
        let used = page.checked_sub(self.first).and_then(|place| self.used.get_mut(place));
        debug_assert!(used.as_deref() == Some(&true), "page {page} was not taken");
        if let Some(used) = used {
            *used = false;
        }
    }
}

/// The translation of a device: what it reaches, at the same addresses as the processors.
#[derive(Debug)]
pub struct Domain {
    number: u16,
    width: Width,
    /// Tables by level (1 is the lowest) and by the bits of the address above what they are for.
    tables: BTreeMap<(u8, u64), usize>,
    entries: usize,
}

impl Domain {
    fn new<M: TableMemory + ?Sized>(
        number: u16,
        width: Width,
        pool: &mut Pool,
        writer: &mut Writer<'_, M>,
    ) -> Result<Self, TableError> {
        let top = pool.take(writer)?;
        let tables = BTreeMap::from([((width.levels(), 0), top)]);
        Ok(Self { number, width, tables, entries: 0 })
    }

    /// The number by which the unit knows it.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Pages that are mapped.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries
    }

    fn map<M: TableMemory + ?Sized>(
        &mut self,
        range: Range,
        pool: &mut Pool,
        writer: &mut Writer<'_, M>,
    ) -> Result<(), TableError> {
        for address in pages(range, self.width).ok_or(TableError::Range(range.start))? {
            let table = self.table(1, address, pool, writer)?;
            writer.write(table, index(address, 1), address | range.rights.bits());
            self.entries += 1;
        }
        Ok(())
    }

    /// The table of this level for an address; it is made where it is missing.
    fn table<M: TableMemory + ?Sized>(
        &mut self,
        level: u8,
        address: u64,
        pool: &mut Pool,
        writer: &mut Writer<'_, M>,
    ) -> Result<usize, TableError> {
        let key = (level, prefix(address, level));
        if let Some(table) = self.tables.get(&key) {
            return Ok(*table);
        }
        let above = self.table(level + 1, address, pool, writer)?;
        let table = pool.take(writer)?;
        self.tables.insert(key, table);
        // Rights are those of all levels together: the lowest one decides.
        let entry = writer.bus(table) | READ | WRITE;
        writer.write(above, index(address, level + 1), entry);
        Ok(table)
    }

    fn release(&self, pool: &mut Pool) {
        self.tables.values().for_each(|table| pool.put(*table));
    }

    fn top(&self) -> Option<usize> {
        self.tables.get(&(self.width.levels(), 0)).copied()
    }
}

/// The addresses of a range's pages; `None` where the range is impossible.
fn pages(range: Range, width: Width) -> Option<impl Iterator<Item = u64>> {
    let Range { start, bytes, .. } = range;
    let end = start.checked_add(bytes)?;
    let is_pages = start.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES);
    let is_reachable = end <= 1 << width.bits();
    let is_memory = end <= INTERRUPTS.start || start >= INTERRUPTS.end;
    let page = move |number| start + number * PAGE_BYTES;
    (is_pages && is_reachable && is_memory).then(|| (0..bytes / PAGE_BYTES).map(page))
}

/// Which entry of a table of this level an address uses.
#[must_use]
pub fn index(address: u64, level: u8) -> usize {
    let shifted = address >> (12 + LEVEL_BITS * (u32::from(level) - 1));
    usize::try_from(shifted & 0x1ff).unwrap_or(0)
}

/// The bits of an address above those that a table of this level and the tables below decide.
fn prefix(address: u64, level: u8) -> u64 {
    address >> (12 + LEVEL_BITS * u32::from(level))
}

/// The numbers that domains get. A unit remembers translations by number; so two sets of tables that
/// it knows one after the other must not have numbers in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Odd ones below this.
    OddBelow(u32),
    /// Even ones below this, but for zero, which means something else to units that are emulated.
    EvenBelow(u32),
}

impl Numbers {
    fn all(self) -> impl Iterator<Item = u16> {
        let (first, end) = match self {
            Self::OddBelow(end) => (1, end),
            Self::EvenBelow(end) => (2, end),
        };
        (first..=u16::MAX).step_by(2).take_while(move |number| u32::from(*number) < end)
    }
}

/// A unit's tables.
#[derive(Debug)]
pub struct Tables {
    root: usize,
    width: Width,
    numbers: Numbers,
    pool: Pool,
    contexts: BTreeMap<u8, usize>,
    domains: BTreeMap<u16, Domain>,
}

/// The word of a context table at which the entry of a requester begins.
#[must_use]
pub fn context_word(source: u16) -> usize {
    usize::from(source & 0xff) * 2
}

impl Tables {
    /// Tables that allow nothing.
    ///
    /// # Errors
    /// [`TableError::NoMemory`].
    pub fn new<M: TableMemory + ?Sized>(
        mut pool: Pool,
        width: Width,
        numbers: Numbers,
        writer: &mut Writer<'_, M>,
    ) -> Result<Self, TableError> {
        let root = pool.take(writer)?;
        let (contexts, domains) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { root, width, numbers, pool, contexts, domains })
    }

    /// The page of the root table.
    #[must_use]
    pub fn root(&self) -> usize {
        self.root
    }

    /// Pages that all tables take.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pool.used()
    }

    /// Whose addresses are translated, and how.
    pub fn domains(&self) -> impl Iterator<Item = (u16, &Domain)> {
        self.domains.iter().map(|(source, domain)| (*source, domain))
    }

    /// The translation of a requester.
    #[must_use]
    pub fn domain(&self, source: u16) -> Option<&Domain> {
        self.domains.get(&source)
    }

    /// Lets a requester reach these ranges. The entry that makes it so is written last, at once.
    /// Ranges may overlap; where they do, the later one decides.
    ///
    /// # Errors
    /// [`TableError`]; the requester reaches nothing then.
    pub fn attach<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        ranges: impl IntoIterator<Item = Range>,
        writer: &mut Writer<'_, M>,
    ) -> Result<(), TableError> {
        if self.domains.contains_key(&source) {
            return Err(TableError::Taken);
        }
        let context = self.context(source, writer)?;
        let number = self.free_number()?;
        let mut domain = Domain::new(number, self.width, &mut self.pool, writer)?;
        let mut ranges = ranges.into_iter();
        let mapped = ranges.try_for_each(|range| domain.map(range, &mut self.pool, writer));
        if let Err(error) = mapped {
            domain.release(&mut self.pool);
            return Err(error);
        }
        let top = domain.top().map_or(0, |top| writer.bus(top));
        let word = context_word(source);
        writer.write(context, word + 1, self.width.code() | u64::from(number) << 8);
        writer.write(context, word, top | PRESENT);
        self.domains.insert(source, domain);
        Ok(())
    }

    /// Takes a requester's entry away; the number of the domain that it had. Its tables stay until
    /// [`Tables::release`], since the unit may still know them.
    pub fn detach<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        writer: &mut Writer<'_, M>,
    ) -> Option<u16> {
        let domain = self.domains.get(&source)?;
        let [bus, _] = source.to_be_bytes();
        let context = *self.contexts.get(&bus)?;
        let word = context_word(source);
        writer.write(context, word, 0);
        writer.write(context, word + 1, 0);
        Some(domain.number)
    }

    /// Uses a requester's tables for something else. The unit has forgotten them.
    pub fn release(&mut self, source: u16) {
        if let Some(domain) = self.domains.remove(&source) {
            domain.release(&mut self.pool);
        }
    }

    /// The context table for a requester's bus. It stays once it is there: an empty one is harmless,
    /// and there are at most 256.
    fn context<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        writer: &mut Writer<'_, M>,
    ) -> Result<usize, TableError> {
        let [bus, _] = source.to_be_bytes();
        if let Some(context) = self.contexts.get(&bus) {
            return Ok(*context);
        }
        let context = self.pool.take(writer)?;
        self.contexts.insert(bus, context);
        let entry = writer.bus(context) | PRESENT;
        writer.write(self.root, usize::from(bus) * 2, entry);
        Ok(context)
    }

    fn free_number(&self) -> Result<u16, TableError> {
        let is_free = |number: &u16| self.domains.values().all(|domain| domain.number != *number);
        self.numbers.all().find(is_free).ok_or(TableError::NoDomain)
    }
}
