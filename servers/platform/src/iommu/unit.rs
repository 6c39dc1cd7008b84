//! A remapping unit: taking it over, giving devices their translations, and taking these away.
//!
//! **Restarts.** The devices of a server that died go on working for their drivers, by tables in
//! memory that outlives the server. Its successor builds all tables anew, from what init says
//! is held, in the half of the unit's memory that is not in use, and then has the unit change over.
//! Adopting the old tables was the other choice; it would mean to believe memory in the middle of
//! whatever its writer was doing. Which half is in use the unit's own registers tell.
//!
//! A server can die between naming a new root and having the unit take it. So the first thing that
//! a successor does is to have the unit take what is named: it was complete before it was named. The
//! other half is written to only when the unit has forgotten it.
//!
//! While it changes over, the unit may put together what it remembers of the old tables with what it
//! reads in the new ones. What it remembers goes by the domain's number, so the halves do not have
//! numbers in common.
//!
//! In no state between is a device without what it had, or with more: `tests` stops a server after
//! every single write, and looks.
//!
//! ```text
//! page 0 queue   1 its status   2, 3 interrupt tables (one in use)   4… first half   …  second half
//! ```

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::faults::{self, Found};
use super::invalidation::{Forget, Invalidation, QueuePages};
use super::registers::{Capabilities, Command, PROTECT, PROTECTED, Registers, offset};
use super::remapping::{self, ENTRIES, Message, SIZE_CODE, Target};
use super::tables::{Numbers, Pool, Range, TableError, TableMemory, Tables, Writer};

/// How often a register is looked at before a unit counts as broken: about a second.
const PATIENCE: u32 = 1 << 20;
/// How often for a state that some units do not show.
const LITTLE_PATIENCE: u32 = 1000;
/// Pages of a unit's memory that are not for tables of devices.
const FIXED_PAGES: usize = 4;
/// Fewest pages of a unit's memory: a root table, a context table, four levels, twice.
pub const FEWEST_PAGES: usize = FIXED_PAGES + 2 * 6;

/// What a unit was doing when it stopped to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Starting its queue.
    StartingQueue,
    /// Emptying its queue.
    StoppingQueue,
    /// Taking a root table.
    TakingRoot,
    /// Taking an interrupt table.
    TakingInterruptTable,
    /// Turning translation or remapping on or off.
    Switching,
    /// Forgetting what it knew.
    Forgetting,
}

/// Why a unit does not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// Its tables are of no kind that is known here, or it is not there.
    Unknown,
    /// It has so many bytes of registers, more than can be reached.
    Registers(u32),
    /// The memory for its tables is smaller than [`FEWEST_PAGES`].
    NoMemory,
    /// It does not come to an end with what it is doing.
    Unresponsive(Doing),
    /// The tables do not take it.
    Tables(TableError),
    /// The interrupt table does not have this entry free.
    Interrupt(u16),
    /// The interrupt's message is of a kind that no device is given.
    Message,
}

impl From<TableError> for UnitError {
    fn from(error: TableError) -> Self {
        Self::Tables(error)
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("its tables are of an unknown kind"),
            Self::Registers(bytes) => write!(f, "it has {bytes} bytes of registers, too many"),
            Self::NoMemory => f.write_str("there is too little memory for its tables"),
            Self::Unresponsive(doing) => write!(f, "it does not answer while {doing}"),
            Self::Tables(error) => error.fmt(f),
            Self::Message => f.write_str("the device's interrupt is of an unknown kind"),
            Self::Interrupt(entry) => write!(f, "entry {entry} of its interrupt table is not free"),
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartingQueue => "starting its queue",
            Self::StoppingQueue => "emptying its queue",
            Self::TakingRoot => "taking a root table",
            Self::TakingInterruptTable => "taking an interrupt table",
            Self::Switching => "switching on or off",
            Self::Forgetting => "forgetting old tables",
        })
    }
}

impl core::error::Error for UnitError {}

/// What a requester is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The requester: bus in the upper byte, device and function in the lower.
    pub source: u16,
    /// What it reaches.
    pub ranges: Vec<Range>,
    /// Its interrupt: the entry of the table, which has to be the same after a restart, and what it
    /// leads to.
    pub interrupt: Option<(u16, Target)>,
}

/// What a unit has in its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requesters with a translation.
    pub domains: usize,
    /// Pages that are mapped.
    pub mappings: usize,
    /// Pages that the tables take.
    pub table_pages: usize,
    /// Entries of the interrupt table.
    pub interrupts: usize,
}

/// A unit that translates.
#[derive(Debug)]
pub struct Unit<R> {
    registers: R,
    capabilities: Capabilities,
    invalidation: Invalidation,
    tables: Tables,
    interrupts: Option<InterruptTable>,
    /// What requesters reach on the firmware's behalf, whoever has them.
    reserved: BTreeMap<u16, Vec<Range>>,
}

#[derive(Debug)]
struct InterruptTable {
    page: usize,
    /// Entries, and whose they are.
    entries: BTreeMap<u16, u16>,
}

/// What a unit is given.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// First page of its memory.
    pub first_page: usize,
    /// Pages of it.
    pub pages: usize,
    /// Whether interrupts are remapped if the unit can.
    pub interrupts: bool,
    /// What requesters must reach on the firmware's behalf.
    pub reserved: &'a BTreeMap<u16, Vec<Range>>,
    /// What is held by drivers already: at a restart.
    pub held: &'a [Attachment],
}

/// A unit on the way to one that translates.
struct Start<'a, 'm, R, M: ?Sized> {
    registers: R,
    capabilities: Capabilities,
    invalidation: Invalidation,
    setup: Setup<'a>,
    writer: Writer<'m, M>,
}

impl<R: Registers> Unit<R> {
    /// Takes over a unit, in whatever state it is, and has it translate for all devices: those that
    /// are held and those with reserved memory reach what they are allowed, all others nothing.
    ///
    /// # Errors
    /// [`UnitError`]. Held devices keep what they had then.
    pub fn take_over<M: TableMemory + ?Sized>(
        mut registers: R,
        setup: Setup<'_>,
        memory: &mut M,
    ) -> Result<Self, UnitError> {
        if setup.pages < FEWEST_PAGES {
            return Err(UnitError::NoMemory);
        }
        let capabilities = capabilities(&mut registers)?;
        let mut writer = Writer { memory, coherent: capabilities.coherent };
        let pages = QueuePages { descriptors: setup.first_page, status: setup.first_page + 1 };
        let invalidation = Invalidation::set_up(&mut registers, &capabilities, pages, &mut writer)?;
        Start { registers, capabilities, invalidation, setup, writer }.finish()
    }

    /// Lets a requester reach its memory and interrupt; the message that it has to send for that, where
    /// it is not the ordinary one.
    ///
    /// # Errors
    /// [`UnitError`]. After [`UnitError::Unresponsive`] nobody gets this requester any more.
    pub fn attach<M: TableMemory + ?Sized>(
        &mut self,
        attachment: &Attachment,
        memory: &mut M,
    ) -> Result<Option<Message>, UnitError> {
        let source = attachment.source;
        self.check_interrupt(attachment)?;
        // The firmware's mapping alone gives way to one that includes it. The device is not at
        // work in between: its driver is not there yet.
        let is_reserved = self.reserved.contains_key(&source);
        if is_reserved {
            self.remove(source, memory)?;
        }
        let ranges = attachment.ranges.iter().copied();
        if let Err(error) = self.add(source, ranges, memory) {
            if is_reserved && matches!(error, UnitError::Tables(_)) {
                self.add(source, [], memory)?;
            }
            return Err(error);
        }
        let Some((entry, target)) = attachment.interrupt else { return Ok(None) };
        self.add_interrupt(source, entry, target, memory)
    }

    /// Takes everything from a requester that it got by [`Unit::attach`]. When this returns, the
    /// unit has forgotten it, and all it had under way is done.
    ///
    /// # Errors
    /// [`UnitError::Unresponsive`]: nobody gets this requester any more.
    pub fn detach<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        memory: &mut M,
    ) -> Result<(), UnitError> {
        self.remove_interrupts(source, memory)?;
        self.remove(source, memory)?;
        if self.reserved.contains_key(&source) {
            self.add(source, [], memory)?;
        }
        Ok(())
    }

    /// Fetches what devices were kept from.
    pub fn faults(&mut self, segment: u16) -> Found {
        faults::fetch(&mut self.registers, &self.capabilities, segment)
    }

    /// What the unit can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether it remaps interrupts.
    pub fn remaps_interrupts(&self) -> bool {
        self.interrupts.is_some()
    }

    /// Its tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// How much of its tables is used.
    pub fn usage(&self) -> Usage {
        Usage {
            domains: self.tables.domains().count(),
            mappings: self.tables.domains().map(|(_, domain)| domain.entries()).sum(),
            table_pages: self.tables.pages(),
            interrupts: self.interrupts.as_ref().map_or(0, |table| table.entries.len()),
        }
    }

    fn forget<M: TableMemory + ?Sized>(
        &mut self,
        what: Forget,
        memory: &mut M,
    ) -> Result<(), UnitError> {
        let mut writer = Writer { memory, coherent: self.capabilities.coherent };
        self.invalidation.forget(what, &mut self.registers, &self.capabilities, &mut writer)
    }

    /// Gives a requester a translation: of these ranges, and those that the firmware reserved for it.
    fn add<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        ranges: impl IntoIterator<Item = Range>,
        memory: &mut M,
    ) -> Result<(), UnitError> {
        let reserved = self.reserved.get(&source).into_iter().flatten().copied();
        let mut writer = Writer { memory, coherent: self.capabilities.coherent };
        self.tables.attach(source, ranges.into_iter().chain(reserved), &mut writer)?;
        let domain = self.tables.domain(source).map_or(0, |domain| domain.number());
        // Units that are emulated, and those with buffers, may know that there was nothing.
        self.forget(Forget::Device { source, domain }, memory)
    }

    fn remove<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        memory: &mut M,
    ) -> Result<(), UnitError> {
        let mut writer = Writer { memory, coherent: self.capabilities.coherent };
        let Some(domain) = self.tables.detach(source, &mut writer) else { return Ok(()) };
        self.forget(Forget::Device { source, domain }, memory)?;
        self.tables.release(source);
        Ok(())
    }

    fn check_interrupt(&self, attachment: &Attachment) -> Result<(), UnitError> {
        match (&self.interrupts, attachment.interrupt) {
            (Some(table), Some((entry, _))) => table.check(entry),
            _ => Ok(()),
        }
    }

    fn add_interrupt<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        entry: u16,
        target: Target,
        memory: &mut M,
    ) -> Result<Option<Message>, UnitError> {
        let mut writer = Writer { memory, coherent: self.capabilities.coherent };
        let Some(table) = &mut self.interrupts else { return Ok(None) };
        table.write(entry, source, target, &mut writer);
        self.forget(Forget::Interrupt(entry), memory)?;
        Ok(Some(remapping::message(entry)))
    }

    fn remove_interrupts<M: TableMemory + ?Sized>(
        &mut self,
        source: u16,
        memory: &mut M,
    ) -> Result<(), UnitError> {
        let Some(table) = &self.interrupts else { return Ok(()) };
        let own: Vec<u16> = table.of(source).collect();
        for entry in own {
            let mut writer = Writer { memory: &mut *memory, coherent: self.capabilities.coherent };
            if let Some(table) = &self.interrupts {
                table.clear(entry, &mut writer);
            }
            self.forget(Forget::Interrupt(entry), memory)?;
            if let Some(table) = &mut self.interrupts {
                table.entries.remove(&entry);
            }
        }
        Ok(())
    }
}

impl InterruptTable {
    fn check(&self, entry: u16) -> Result<(), UnitError> {
        let is_free = entry < ENTRIES && !self.entries.contains_key(&entry);
        if is_free { Ok(()) } else { Err(UnitError::Interrupt(entry)) }
    }

    fn of(&self, source: u16) -> impl Iterator<Item = u16> {
        self.entries.iter().filter(move |(_, owner)| **owner == source).map(|(entry, _)| *entry)
    }

    /// Writes an entry, its first word, which makes it one, last.
    fn write<M: TableMemory + ?Sized>(
        &mut self,
        entry: u16,
        source: u16,
        target: Target,
        writer: &mut Writer<'_, M>,
    ) {
        let [low, high] = remapping::entry(target, source);
        writer.write(self.page, usize::from(entry) * 2 + 1, high);
        writer.write(self.page, usize::from(entry) * 2, low);
        self.entries.insert(entry, source);
    }

    fn clear<M: TableMemory + ?Sized>(&self, entry: u16, writer: &mut Writer<'_, M>) {
        writer.write(self.page, usize::from(entry) * 2, 0);
        writer.write(self.page, usize::from(entry) * 2 + 1, 0);
    }
}

impl<R: Registers, M: TableMemory + ?Sized> Start<'_, '_, R, M> {
    fn finish(mut self) -> Result<Unit<R>, UnitError> {
        let in_use = self.settle_translation()?;
        let tables = self.build(in_use)?;
        self.register(offset::ROOT_TABLE, self.writer.memory.bus(tables.root()));
        self.take(Command::SET_ROOT, Doing::TakingRoot)?;
        self.forget(Forget::Everything)?;
        self.switch(Command::TRANSLATE, true)?;
        self.unprotect()?;
        let interrupts = self.start_interrupts()?;
        let Self { registers, capabilities, invalidation, setup, .. } = self;
        let reserved = setup.reserved.clone();
        Ok(Unit { registers, capabilities, invalidation, tables, interrupts, reserved })
    }

    /// Has the unit use what was named last, if it is ours; which half that is in.
    fn settle_translation(&mut self) -> Result<Option<usize>, UnitError> {
        if !self.is_on(Command::TRANSLATE) {
            return Ok(None);
        }
        let root = self.registers.read64(offset::ROOT_TABLE);
        let half = (0..2).find(|half| {
            let (first, pages) = self.half(*half);
            (first..first + pages).any(|page| self.writer.memory.bus(page) == root)
        });
        match half {
            Some(_) => {
                self.take(Command::SET_ROOT, Doing::TakingRoot)?;
                self.forget(Forget::Everything)?;
            }
            // The firmware's. No driver has a device then; and the tables may be of another mode,
            // which must not be changed under a unit that translates (section 10.4.6).
            None => self.switch(Command::TRANSLATE, false)?,
        }
        Ok(half)
    }

    /// Tables for what is held and what is reserved, in the half that is not in use.
    fn build(&mut self, in_use: Option<usize>) -> Result<Tables, UnitError> {
        let half = usize::from(in_use == Some(0));
        let (first, pages) = self.half(half);
        let pool = Pool::new(first, pages);
        let Capabilities { width, domains, .. } = self.capabilities;
        let numbers =
            if half == 0 { Numbers::OddBelow(domains) } else { Numbers::EvenBelow(domains) };
        let mut tables = Tables::new(pool, width, numbers, &mut self.writer)?;
        for attachment in self.setup.held {
            let reserved = self.setup.reserved.get(&attachment.source).into_iter().flatten();
            let ranges = attachment.ranges.iter().chain(reserved).copied();
            tables.attach(attachment.source, ranges, &mut self.writer)?;
        }
        for (source, ranges) in self.setup.reserved {
            if tables.domain(*source).is_none() {
                tables.attach(*source, ranges.iter().copied(), &mut self.writer)?;
            }
        }
        Ok(tables)
    }

    fn start_interrupts(&mut self) -> Result<Option<InterruptTable>, UnitError> {
        if !self.capabilities.interrupts || !self.setup.interrupts {
            return Ok(None);
        }
        let in_use = self.settle_interrupts()?;
        let page = self.setup.first_page + 2 + usize::from(in_use == Some(0));
        self.writer.clear(page);
        let mut table = InterruptTable { page, entries: BTreeMap::new() };
        for attachment in self.setup.held {
            let Some((entry, target)) = attachment.interrupt else { continue };
            table.check(entry)?;
            table.write(entry, attachment.source, target, &mut self.writer);
        }
        self.register(offset::INTERRUPT_TABLE, self.writer.memory.bus(page) | SIZE_CODE);
        self.take(Command::SET_INTERRUPT_TABLE, Doing::TakingInterruptTable)?;
        self.forget(Forget::Interrupts)?;
        self.pass_compatible();
        self.switch(Command::REMAP_INTERRUPTS, true)?;
        Ok(Some(table))
    }

    fn settle_interrupts(&mut self) -> Result<Option<usize>, UnitError> {
        if !self.is_on(Command::REMAP_INTERRUPTS) {
            return Ok(None);
        }
        let named = self.registers.read64(offset::INTERRUPT_TABLE);
        let page = |which| self.setup.first_page + 2 + which;
        let which = (0..2).find(|which| self.writer.memory.bus(page(*which)) | SIZE_CODE == named);
        match which {
            Some(_) => {
                self.take(Command::SET_INTERRUPT_TABLE, Doing::TakingInterruptTable)?;
                self.forget(Forget::Interrupts)?;
            }
            None => self.switch(Command::REMAP_INTERRUPTS, false)?,
        }
        Ok(which)
    }

    /// Lets messages in the ordinary form pass: the I/O APICs are the kernel's, and it has them
    /// send these. Not every unit shows that it does; those let them pass anyway.
    fn pass_compatible(&mut self) {
        command(&mut self.registers, Command::PASS_COMPATIBLE, Command::empty());
        (0..LITTLE_PATIENCE).find(|_| self.is_on(Command::PASS_COMPATIBLE));
    }

    /// Ends the firmware's blunter protection, now that nothing is reached unless it is mapped.
    fn unprotect(&mut self) -> Result<(), UnitError> {
        let protects = self.capabilities.protects_memory
            && self.registers.read32(offset::PROTECTED_MEMORY) & PROTECTED != 0;
        if !protects {
            return Ok(());
        }
        let value = self.registers.read32(offset::PROTECTED_MEMORY) & !PROTECT;
        self.registers.write32(offset::PROTECTED_MEMORY, value);
        until(&mut self.registers, Doing::Switching, |registers| {
            registers.read32(offset::PROTECTED_MEMORY) & PROTECTED == 0
        })
    }

    /// First page and pages of a half.
    fn half(&self, half: usize) -> (usize, usize) {
        let pages = (self.setup.pages - FIXED_PAGES) / 2;
        (self.setup.first_page + FIXED_PAGES + half * pages, pages)
    }

    fn register(&mut self, offset: u32, value: u64) {
        self.registers.write64(offset, value);
    }

    fn is_on(&mut self, what: Command) -> bool {
        Command::from_bits_retain(self.registers.read32(offset::STATUS)).contains(what)
    }

    /// Has the unit take the table that a register names.
    fn take(&mut self, which: Command, doing: Doing) -> Result<(), UnitError> {
        command(&mut self.registers, which, Command::empty());
        until(&mut self.registers, doing, |registers| {
            Command::from_bits_retain(registers.read32(offset::STATUS)).contains(which)
        })
    }

    fn switch(&mut self, what: Command, on: bool) -> Result<(), UnitError> {
        if self.is_on(what) == on {
            return Ok(());
        }
        let (set, clear) = if on { (what, Command::empty()) } else { (Command::empty(), what) };
        command(&mut self.registers, set, clear);
        until(&mut self.registers, Doing::Switching, |registers| {
            Command::from_bits_retain(registers.read32(offset::STATUS)).contains(what) == on
        })
    }

    fn forget(&mut self, what: Forget) -> Result<(), UnitError> {
        let Self { registers, capabilities, invalidation, writer, .. } = self;
        invalidation.forget(what, registers, capabilities, writer)
    }
}

fn capabilities(registers: &mut impl Registers) -> Result<Capabilities, UnitError> {
    if registers.bytes() < offset::INTERRUPT_TABLE + 8 {
        return Err(UnitError::Registers(offset::INTERRUPT_TABLE + 8));
    }
    let first = registers.read64(offset::CAPABILITIES);
    let second = registers.read64(offset::EXTENDED_CAPABILITIES);
    if first == u64::MAX {
        return Err(UnitError::Unknown);
    }
    let capabilities = Capabilities::decode(first, second).ok_or(UnitError::Unknown)?;
    let bytes = capabilities.register_bytes();
    if bytes > registers.bytes() {
        return Err(UnitError::Registers(bytes));
    }
    Ok(capabilities)
}

/// Gives a command that changes `set` and `clear`, and nothing else of the unit's state.
pub(super) fn command(registers: &mut impl Registers, set: Command, clear: Command) {
    let status = Command::from_bits_retain(registers.read32(offset::STATUS));
    let value = status.intersection(Command::STATES).difference(clear).union(set);
    registers.write32(offset::COMMAND, value.bits());
}

/// Waits until the unit is done.
pub(super) fn until<R: Registers>(
    registers: &mut R,
    doing: Doing,
    mut is_done: impl FnMut(&mut R) -> bool,
) -> Result<(), UnitError> {
    for _ in 0..PATIENCE {
        if is_done(registers) {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err(UnitError::Unresponsive(doing))
}
