//! Persistent memory in programs: pieces in their windows, mapped while somebody looks at them, and pages
//! that one program lends to another.
//!
//! A piece of which a part is lent consists of small frames, for whoever looks at it too. To make it so, or
//! one large frame again, takes some two thousand calls of the kernel, so a few pieces of which nothing is lent any more
//! *rest* as they are: who opens an object soon has given another one back, mostly of the same piece
//! ([`init::lending`]).
//!
//! RAM is shown and lent in the same way, but that its frames are small, and kept.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::{Range, RangeBounds};

use init::device_memory::PAGES;
use init::lending::{Resting, Segment, gibs, segments};
use init::own::row;
use init::supervise::ProgramNumber;
use libd3os::abi::{CapRights, FrameSize, VmAttributes};
use libd3os::call::Caller;
use libd3os::cap::{Frame, VSpace};
use libd3os::memory::{Kernel, Object, Table};
use libd3os::region::Rights;
use libd3os::service::log::Level;
use libd3os::service::persistent::{Persistent, PersistentError};
use libd3os::service::supervisor::CapabilityInfo;
use libd3os::start::layout::{
    HUGE_PLACES, LENT_RANGES, LENT_SPAN, LENT_WINDOW, PERSISTENT_BYTES, PERSISTENT_PLACES,
    PERSISTENT_WINDOW, VOLATILE_PLACES,
};
use libd3os::sys::Cptr;

use super::kernel::{MEMORY, own_slot};
use super::memory::Memory;
use super::program::Program;
use super::serve::program_of;
use super::system::System;
use super::trouble::{Doing, Refused};

const GIB: u64 = FrameSize::Huge.bytes();

/// Where what is behind the first GiB is seen: for that, programs are made with the highest paging structure only.
const FURTHER: u64 = PERSISTENT_WINDOW + HUGE_PLACES as u64 * PERSISTENT_BYTES;

/// What is shown where, and what is lent to whom.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// By program and place.
    places: BTreeMap<(ProgramNumber, u32), Shown>,
    /// Whole GiBs, by program and first place. Those that are not there any more are shown in pieces.
    huge: BTreeMap<(ProgramNumber, u32), Shown>,
    /// By program and the first page's physical address.
    lent: BTreeMap<(ProgramNumber, u64), Lent>,
    /// Paging structures that programs were not made with.
    tables: BTreeMap<(ProgramNumber, Table), Object>,
    /// Pieces of small frames of which nothing is lent.
    resting: Resting,
}

/// A piece in a place: the capabilities by which it is mapped there, and with which rights.
#[derive(Clone, Copy, Debug)]
struct Shown {
    copies: Copies,
    paddr: u64,
    rights: CapRights,
}

/// Pages that are lent.
#[derive(Clone, Copy, Debug)]
struct Lent {
    by: ProgramNumber,
    copies: Copies,
    segment: Segment,
}

/// Copies of frames' capabilities, in a row.
#[derive(Clone, Copy, Debug)]
struct Copies {
    first: u64,
    count: u64,
}

/// Where something is mapped, and how.
#[derive(Clone, Copy)]
struct Site {
    program: ProgramNumber,
    vspace: VSpace,
    address: u64,
    rights: CapRights,
}

impl Persistent for System {
    fn show(
        &mut self,
        caller: Caller,
        place: u32,
        range: u16,
        offset: u64,
    ) -> Result<Rights, PersistentError> {
        let number = place_of(caller, place)?;
        let site = &mut self.site;
        let (windows, memory) = (&mut site.held.persistent, &mut site.platform.memory);
        let piece = site.held.devices.persistent(range, offset);
        let vspace = vspace(&site.programs, number).ok_or(PersistentError::Refused)?;
        let hidden = windows.hide(number, place, memory);
        let is_lent = piece.as_ref().is_ok_and(|(paddr, _)| windows.is_gib_lent_to_any(*paddr));
        let (paddr, rights) = match is_lent {
            true => Err(PersistentError::Lent(offset)),
            false => piece,
        }?;
        let done = hidden
            .and_then(|()| windows.split(paddr - paddr % GIB, &site.programs, memory))
            .and_then(|()| {
                windows.show((number, place), (paddr, kernel_rights(rights)), vspace, memory)
            });
        self.said(done).map(|()| rights)
    }

    fn show_huge(
        &mut self,
        caller: Caller,
        place: u32,
        range: u16,
        offset: u64,
    ) -> Result<Rights, PersistentError> {
        let number = place_of(caller, place)?;
        if place == 0 || !place.is_multiple_of(HUGE_PLACES) || place >= VOLATILE_PLACES.start {
            return Err(PersistentError::NoSuchPlace(place));
        }
        let site = &mut self.site;
        let (windows, memory) = (&mut site.held.persistent, &mut site.platform.memory);
        let (paddr, rights) = site.held.devices.persistent_gib(range, offset)?;
        let vspace = vspace(&site.programs, number).ok_or(PersistentError::Refused)?;
        let shown = (paddr, kernel_rights(rights));
        let done = windows.show_huge((number, place), shown, vspace, memory);
        match self.said(done)? {
            true => Ok(rights),
            false => Err(PersistentError::TooLarge(offset)),
        }
    }

    fn hide(&mut self, caller: Caller, place: u32) -> Result<(), PersistentError> {
        let number = place_of(caller, place)?;
        let memory = &mut self.site.platform.memory;
        let done = self.site.held.persistent.hide(number, place, memory);
        self.said(done)
    }

    fn lend(
        &mut self,
        caller: Caller,
        program: u16,
        range: u16,
        offset: u64,
        pages: u32,
        rights: Rights,
    ) -> Result<u64, PersistentError> {
        let (by, to) = self.parties(caller, program)?;
        let site = &mut self.site;
        let (pages, most) = site.held.devices.persistent_pages(range, offset, pages)?;
        if range >= LENT_RANGES || offset >= LENT_SPAN {
            return Err(PersistentError::NoSuchRange(range));
        }
        let (windows, memory) = (&mut site.held.persistent, &mut site.platform.memory);
        let whole = gibs(pages.clone()).find(|part| windows.is_gib_lent(to, part));
        let is_lent = |known: &Segment| windows.is_lent(to, known, memory);
        if let Some(segment) = whole.or_else(|| segments(pages.clone()).find(is_lent)) {
            return Err(PersistentError::Lent(offset + (segment.start - pages.start)));
        }
        let vspace = vspace(&site.programs, to).ok_or(PersistentError::NoSuchProgram(program))?;
        let address = LENT_WINDOW + u64::from(range) * LENT_SPAN + offset;
        let rights = kernel_rights(most & rights);
        let place = Site { program: to, vspace, address, rights };
        let done = windows.lend(by, place, pages, &site.programs, memory);
        self.said(done).map(|()| address)
    }

    fn withdraw(
        &mut self,
        caller: Caller,
        program: u16,
        range: u16,
        offset: u64,
        pages: u32,
    ) -> Result<(), PersistentError> {
        let (by, to) = self.parties(caller, program)?;
        let site = &mut self.site;
        let (pages, _) = site.held.devices.persistent_pages(range, offset, pages)?;
        let memory = &mut site.platform.memory;
        let done = site.held.persistent.withdraw(by, to, pages, &site.programs, memory);
        self.said(done)
    }

    fn volatile(&mut self, _: Caller, make: bool) -> Result<u64, PersistentError> {
        let memory = &mut self.site.platform.memory;
        if !make && !memory.has_volatile() {
            return Ok(0);
        }
        let addresses = memory.volatile().map_err(|refused| {
            self.note(Level::Error, format_args!("{refused}"));
            PersistentError::Refused
        })?;
        let bytes = addresses.end - addresses.start;
        self.site.held.devices.set_volatile(addresses);
        Ok(bytes)
    }
}

/// Whose place it is, if there is such a place.
fn place_of(caller: Caller, place: u32) -> Result<ProgramNumber, PersistentError> {
    if place >= PERSISTENT_PLACES {
        return Err(PersistentError::NoSuchPlace(place));
    }
    program_of(caller).ok_or(PersistentError::Refused)
}

const fn kernel_rights(rights: Rights) -> CapRights {
    match rights.contain(Rights::WRITE) {
        true => CapRights::READ_WRITE,
        false => CapRights::READ,
    }
}

/// The address space of a program that runs on this core.
fn vspace(programs: &[Program], number: ProgramNumber) -> Option<VSpace> {
    let program = programs.get(number.index()).filter(|program| program.is_live);
    program.map(Program::vspace)
}

impl System {
    /// Who lends, and to whom.
    fn parties(
        &self,
        caller: Caller,
        program: u16,
    ) -> Result<(ProgramNumber, ProgramNumber), PersistentError> {
        let by = program_of(caller).ok_or(PersistentError::Refused)?;
        let to =
            ProgramNumber::new(program.into()).ok_or(PersistentError::NoSuchProgram(program))?;
        Ok((by, to))
    }

    /// Ends what init keeps of persistent memory for the next who is lent some, before it is counted what is
    /// held.
    pub(super) fn settle_lending(&mut self) {
        let site = &mut self.site;
        let memory = &mut site.platform.memory;
        let done = site.held.persistent.settle(&site.programs, memory);
        // It is in the log; nothing more can be done about it here.
        let _told = self.said(done);
    }

    /// What the caller is told; what it cannot know goes into the log.
    fn said<T>(&mut self, done: Result<T, Refused>) -> Result<T, PersistentError> {
        done.map_err(|refused| {
            self.note(Level::Error, format_args!("{refused}"));
            PersistentError::Refused
        })
    }
}

impl Windows {
    /// Shows a piece at an empty place.
    fn show(
        &mut self,
        (number, place): (ProgramNumber, u32),
        (paddr, rights): (u64, CapRights),
        vspace: VSpace,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let address = PERSISTENT_WINDOW + u64::from(place) * PERSISTENT_BYTES;
        let site = Site { program: number, vspace, address, rights };
        let whole = Segment { start: paddr, pages: PAGES };
        let copies = self.map(site, whole, memory);
        let copies = copies.inspect_err(|_| self.drop_frames(paddr, memory))?;
        self.places.insert((number, place), Shown { copies, paddr, rights });
        Ok(())
    }

    /// Empties a place. A piece that nobody looks at any more gives its capabilities back.
    fn hide(
        &mut self,
        number: ProgramNumber,
        place: u32,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let Some(shown) = self.places.remove(&(number, place)) else { return Ok(()) };
        shown.copies.delete(memory)?;
        let base = PERSISTENT_WINDOW + u64::from(place) * PERSISTENT_BYTES;
        self.drop_table((number, Table::PageTable { base }), memory)?;
        match self.is_used(shown.paddr) {
            true => Ok(()),
            false => {
                self.resting.wake(shown.paddr);
                memory.give_up_frame(shown.paddr)
            }
        }
    }

    /// Lends pages at a place of a program's.
    fn lend(
        &mut self,
        by: ProgramNumber,
        site: Site,
        pages: Range<u64>,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let start = pages.start;
        let done = gibs(pages.clone()).try_for_each(|part| {
            let address = site.address + (part.start - start);
            self.lend_of_gib(by, Site { address, ..site }, part, programs, memory)
        });
        done.or_else(|refused| {
            self.withdraw(by, site.program, pages, programs, memory).and(Err(refused))
        })
    }

    /// Lends pages of one GiB: a whole one as it is, of any other its pieces.
    fn lend_of_gib(
        &mut self,
        by: ProgramNumber,
        site: Site,
        part: Segment,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        if self.is_huge(part.gib()) {
            match part.is_gib() {
                true => return self.lend_gib(by, site, part, memory),
                false => self.split(part.gib(), programs, memory)?,
            }
        }
        segments(part.addresses()).try_for_each(|segment| {
            let address = site.address + (segment.start - part.start);
            self.lend_segment(by, Site { address, ..site }, segment, programs, memory)
        })
    }

    fn lend_gib(
        &mut self,
        by: ProgramNumber,
        site: Site,
        segment: Segment,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        if let Some(copies) = self.map_huge(site, segment.start, memory)? {
            self.lent.insert((site.program, segment.start), Lent { by, copies, segment });
        }
        Ok(())
    }

    /// Shows a whole GiB at empty places, and tells whether that is possible.
    fn show_huge(
        &mut self,
        (number, place): (ProgramNumber, u32),
        (paddr, rights): (u64, CapRights),
        vspace: VSpace,
        memory: &mut Memory,
    ) -> Result<bool, Refused> {
        let address = PERSISTENT_WINDOW + u64::from(place) * PERSISTENT_BYTES;
        let site = Site { program: number, vspace, address, rights };
        // A program that asks again is shown the same.
        let is_shown = self.huge.contains_key(&(number, place));
        let copies = if is_shown { None } else { self.map_huge(site, paddr, memory)? };
        self.huge.extend(copies.map(|copies| ((number, place), Shown { copies, paddr, rights })));
        Ok(is_shown || copies.is_some())
    }

    fn map_huge(
        &mut self,
        site: Site,
        paddr: u64,
        memory: &mut Memory,
    ) -> Result<Option<Copies>, Refused> {
        let Some(frame) = memory.persistent_huge(paddr)? else { return Ok(None) };
        self.prepare(site, FrameSize::Huge, memory)?;
        let first = memory.slots(1).doing("taking a slot for persistent memory")?;
        let copies = Copies { first, count: 1 };
        match copies.map(frame, site, FrameSize::Huge) {
            Ok(()) => Ok(Some(copies)),
            Err(refused) => copies.delete(memory).and(Err(refused)),
        }
    }

    /// Whether a GiB is one frame for those who look at it.
    fn is_huge(&self, gib: u64) -> bool {
        self.huge.values().any(|shown| shown.paddr == gib)
    }

    /// Shows the pieces of a GiB to all who look at it, in its place. Where there is no memory for that, they do not
    /// see all of it any more.
    fn split(
        &mut self,
        gib: u64,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let shown = self.huge.iter().filter(|(_, shown)| shown.paddr == gib);
        let shown: Vec<_> = shown.map(|(key, shown)| (*key, *shown)).collect();
        if shown.is_empty() {
            return Ok(());
        }
        for (key, shown) in &shown {
            self.huge.remove(key);
            shown.copies.delete(memory)?;
        }
        memory.give_up_frame(gib)?;
        for ((number, place), shown) in shown {
            let Some(vspace) = vspace(programs, number) else { continue };
            for piece in 0..HUGE_PLACES {
                let paddr = gib + u64::from(piece) * PERSISTENT_BYTES;
                self.show((number, place + piece), (paddr, shown.rights), vspace, memory)?;
            }
        }
        Ok(())
    }

    fn lend_segment(
        &mut self,
        by: ProgramNumber,
        site: Site,
        segment: Segment,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        match segment.is_piece() {
            true if self.resting.wake(segment.piece()) => {
                self.join(segment.piece(), programs, memory)?;
            }
            true => {}
            false => self.divide(segment.piece(), programs, memory)?,
        }
        match self.map(site, segment, memory) {
            Ok(copies) => {
                self.lent.insert((site.program, segment.start), Lent { by, copies, segment });
                Ok(())
            }
            Err(refused) => self.unite(segment.piece(), programs, memory).and(Err(refused)),
        }
    }

    /// Withdraws what a program has lent to another of these pages.
    fn withdraw(
        &mut self,
        by: ProgramNumber,
        to: ProgramNumber,
        pages: Range<u64>,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let lent = self.lent.range((to, pages.start)..(to, pages.end));
        let lent: Vec<_> = lent.filter(|(_, lent)| lent.by == by).map(|(key, _)| *key).collect();
        lent.into_iter().try_for_each(|key| self.take_back(key, programs, memory))
    }

    fn take_back(
        &mut self,
        key: (ProgramNumber, u64),
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let Some(lent) = self.lent.remove(&key) else { return Ok(()) };
        lent.copies.delete(memory)?;
        self.unite(lent.segment.piece(), programs, memory)?;
        match self.lent.keys().any(|(program, _)| *program == key.0) {
            true => Ok(()),
            false => self.drop_lent_tables(key.0, memory),
        }
    }

    /// Whether anything of it is lent to a program already, or cannot be lent as its piece is lent as
    /// a whole.
    fn is_lent(&self, to: ProgramNumber, segment: &Segment, memory: &Memory) -> bool {
        let piece = segment.piece();
        let mut lent = self.lent.range((to, piece)..(to, segment.end()));
        let as_a_whole = || !memory.has_pages(piece) && self.of_piece(piece).next().is_some();
        lent.any(|(_, lent)| lent.segment.end() > segment.start)
            || (!segment.is_piece() && as_a_whole())
    }

    /// Whether a whole GiB is lent to a program already, or a part of one cannot be lent as it is lent to anybody
    /// as a whole.
    fn is_gib_lent(&self, to: ProgramNumber, part: &Segment) -> bool {
        let whole = |lent: &Lent| lent.segment.is_gib() && lent.segment.start == part.gib();
        match part.is_gib() {
            true => self.lent.get(&(to, part.start)).is_some_and(whole),
            false => self.is_gib_lent_to_any(part.start),
        }
    }

    /// Whether the GiB of an address is lent to anybody as a whole: then its pieces cannot be had.
    fn is_gib_lent_to_any(&self, paddr: u64) -> bool {
        let gib = paddr - paddr % GIB;
        self.lent.values().any(|lent| lent.segment.is_gib() && lent.segment.start == gib)
    }

    /// Maps frames of a piece, as it is: a whole one as a large frame, or else small ones.
    fn map(
        &mut self,
        site: Site,
        segment: Segment,
        memory: &mut Memory,
    ) -> Result<Copies, Refused> {
        let piece = segment.piece();
        let (first, count, size) = if segment.is_piece() && !memory.has_pages(piece) {
            (memory.persistent_frame(piece)?, 1, FrameSize::Large)
        } else {
            (memory.persistent_pages(piece)? + segment.first(), segment.pages, FrameSize::Small)
        };
        self.prepare(site, size, memory)?;
        let slots = memory.slots(count).doing("taking slots for persistent memory")?;
        let copies = Copies { first: slots, count };
        match copies.map(first, site, size) {
            Ok(()) => Ok(copies),
            Err(refused) => copies.delete(memory).and(Err(refused)),
        }
    }

    /// Makes the paging structures that a program lacks. Those of its window it was made with, but for
    /// the lowest.
    fn prepare(&mut self, site: Site, size: FrameSize, memory: &mut Memory) -> Result<(), Refused> {
        let made_with = match site.address {
            ..FURTHER => 2,
            FURTHER..LENT_WINDOW => 1,
            _ => 0,
        };
        for table in Table::above(site.address, size).skip(made_with) {
            let key = (site.program, table);
            if self.tables.contains_key(&key) {
                continue;
            }
            let object = memory.make_object(table.object_type())?;
            let mapped = { MEMORY }.map_table(object.slot(), table, site.vspace);
            if let Err(refused) = mapped.doing("putting a paging structure in") {
                return memory.destroy(object).and(Err(refused));
            }
            self.tables.insert(key, object);
        }
        Ok(())
    }

    /// Makes a piece that is one large frame, not lent to anybody, small ones for all who look at it.
    fn divide(
        &mut self,
        piece: u64,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        self.resting.wake(piece);
        if memory.has_pages(piece) {
            return Ok(());
        }
        self.close_eyes(piece, memory)?;
        let divided = memory.persistent_pages(piece).map(drop);
        self.open_eyes(piece, programs, memory).and(divided)
    }

    /// Lets a piece of which nothing is lent rest, where it is small frames and somebody looks at it; those
    /// that have rested for long are large frames again.
    fn unite(
        &mut self,
        piece: u64,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        if self.of_piece(piece).next().is_some() {
            return Ok(());
        }
        if memory.has_pages(piece) && !memory.is_volatile(piece) && self.is_used(piece) {
            self.resting.add(piece);
        } else {
            self.drop_frames(piece, memory);
        }
        while let Some(piece) = self.resting.oldest_over(memory.slots_free()) {
            self.join(piece, programs, memory)?;
        }
        Ok(())
    }

    /// Makes all pieces of which nothing is lent large frames again, so that what is held is what is used.
    pub(super) fn settle(
        &mut self,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        while let Some(piece) = self.resting.oldest() {
            self.join(piece, programs, memory)?;
        }
        Ok(())
    }

    /// Makes a piece of which nothing is lent one large frame again.
    fn join(
        &mut self,
        piece: u64,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        self.close_eyes(piece, memory)?;
        self.open_eyes(piece, programs, memory)
    }

    /// Lends of a piece, by their keys.
    fn of_piece(&self, piece: u64) -> impl Iterator<Item = (ProgramNumber, u64)> {
        let lent = self.lent.iter().filter(move |(_, lent)| lent.segment.piece() == piece);
        lent.map(|(key, _)| *key)
    }

    /// Gives up the frames of a piece, which nobody sees then, though places are still its.
    fn close_eyes(&mut self, piece: u64, memory: &mut Memory) -> Result<(), Refused> {
        // With the frames, all capabilities to them are gone.
        memory.give_up_frame(piece)?;
        let mut tables = Vec::new();
        for (&(number, place), shown) in
            self.places.iter_mut().filter(|(_, known)| known.paddr == piece)
        {
            memory.give_back_slots(shown.copies.first, shown.copies.count);
            shown.copies.count = 0;
            let base = PERSISTENT_WINDOW + u64::from(place) * PERSISTENT_BYTES;
            tables.push((number, Table::PageTable { base }));
        }
        tables.into_iter().try_for_each(|key| self.drop_table(key, memory))
    }

    /// Shows a piece again to all whose places it has.
    fn open_eyes(
        &mut self,
        piece: u64,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let places = self.places.iter().filter(|(_, shown)| shown.paddr == piece);
        let places: Vec<_> = places.map(|(key, shown)| (*key, shown.rights)).collect();
        for (key, rights) in places {
            self.places.remove(&key);
            // One that has ended sees nothing any more.
            if let Some(vspace) = vspace(programs, key.0) {
                self.show(key, (piece, rights), vspace, memory)?;
            }
        }
        Ok(())
    }

    /// Whether anybody looks at a piece, or has any of it.
    fn is_used(&self, piece: u64) -> bool {
        self.places.values().chain(self.huge.values()).any(|shown| shown.paddr == piece)
            || self.of_piece(piece).next().is_some()
    }

    /// Gives up the frames of a piece unless somebody uses them. What the kernel refuses stays.
    fn drop_frames(&self, piece: u64, memory: &mut Memory) {
        if !self.is_used(piece) {
            let _kept = memory.give_up_frame(piece);
        }
    }

    fn drop_table(
        &mut self,
        key: (ProgramNumber, Table),
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        match self.tables.remove(&key) {
            Some(object) => memory.destroy(object),
            None => Ok(()),
        }
    }

    /// Takes back what a program has of paging structures for what it is lent.
    fn drop_lent_tables(
        &mut self,
        number: ProgramNumber,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        self.drop_tables(number, LENT_WINDOW.., memory)
    }

    /// The same for what it is shown behind the first GiB.
    fn drop_further_tables(
        &mut self,
        number: ProgramNumber,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        self.drop_tables(number, FURTHER..LENT_WINDOW, memory)
    }

    /// Takes back the paging structures of a program for these addresses, the lowest first.
    fn drop_tables(
        &mut self,
        number: ProgramNumber,
        addresses: impl RangeBounds<u64>,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let first = (number, Table::Pdpt { base: 0 });
        let own = self.tables.range(first..).take_while(|((program, _), _)| *program == number);
        let of_them = own.filter(|((_, table), _)| addresses.contains(&base(*table)));
        let mut keys: Vec<_> = of_them.map(|(key, _)| *key).collect();
        keys.reverse();
        keys.into_iter().try_for_each(|key| self.drop_table(key, memory))
    }

    /// Empties all places of a program, which has ended, and ends what it has lent and was lent.
    pub(super) fn close(
        &mut self,
        number: ProgramNumber,
        programs: &[Program],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let lent = self.lent.iter().filter(|((to, _), lent)| *to == number || lent.by == number);
        let lent: Vec<_> = lent.map(|(key, _)| *key).collect();
        lent.into_iter().try_for_each(|key| self.take_back(key, programs, memory))?;
        let places: Vec<u32> = self
            .places
            .range((number, 0)..=(number, u32::MAX))
            .map(|((_, place), _)| *place)
            .collect();
        let was_looking = !places.is_empty();
        places.into_iter().try_for_each(|place| self.hide(number, place, memory))?;
        self.hide_huge(|program| program == number, memory)?;
        self.drop_further_tables(number, memory)?;
        // What rests does so for those who look, and lend.
        if was_looking { self.settle(programs, memory) } else { Ok(()) }
    }

    /// Takes whole GiBs from programs.
    fn hide_huge(
        &mut self,
        of: impl Fn(ProgramNumber) -> bool,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let shown: Vec<_> = self.huge.keys().copied().filter(|(number, _)| of(*number)).collect();
        for key in shown {
            let Some(shown) = self.huge.remove(&key) else { continue };
            shown.copies.delete(memory)?;
            self.drop_frames(shown.paddr, memory);
        }
        Ok(())
    }

    /// Ends everything: what is shown and lent is not what it was.
    pub(super) fn close_all(&mut self, memory: &mut Memory) -> Result<(), Refused> {
        let lent: Vec<_> = self.lent.keys().copied().collect();
        lent.into_iter().try_for_each(|key| self.take_back(key, &[], memory))?;
        let places: Vec<_> = self.places.keys().copied().collect();
        places.into_iter().try_for_each(|(number, place)| self.hide(number, place, memory))?;
        self.hide_huge(|_| true, memory)?;
        self.settle(&[], memory)
    }

    /// Rows for what `caps init` shows.
    pub(super) fn rows(&self) -> impl Iterator<Item = CapabilityInfo> {
        let shown = self.places.values().chain(self.huge.values()).map(|shown| {
            let detail = alloc::format!("persistent memory at {:#x}, shown", shown.paddr);
            row(shown.copies.first, "frame", detail)
        });
        let lent = self.lent.iter().map(|((to, start), lent)| {
            let (pages, to) = (lent.segment.pages, to.number());
            let detail =
                alloc::format!("persistent memory at {start:#x}, {pages} pages lent to {to}");
            row(lent.copies.first, "frame", detail)
        });
        shown.chain(lent)
    }
}

impl Copies {
    /// Copies as many capabilities to frames of this size as there are slots, from the one in `first`
    /// on, and maps them in a row.
    fn map(&self, first: u64, site: Site, size: FrameSize) -> Result<(), Refused> {
        for number in 0..self.count {
            let slot = self.first + number;
            let frame = Frame::new(Cptr::new(slot));
            let address = site.address + number * size.bytes();
            own_slot(slot)
                .copy_from(own_slot(first + number), site.rights)
                .and_then(|()| {
                    frame.map(site.vspace, address, site.rights, VmAttributes::WriteBack)
                })
                .doing("mapping persistent memory")?;
        }
        Ok(())
    }

    /// Deletes them, which unmaps the frames, and gives their slots back. What is gone does no harm.
    fn delete(&self, memory: &mut Memory) -> Result<(), Refused> {
        for slot in self.first..self.first + self.count {
            own_slot(slot).delete().doing("unmapping persistent memory")?;
        }
        memory.give_back_slots(self.first, self.count);
        Ok(())
    }
}

const fn base(table: Table) -> u64 {
    match table {
        Table::Pdpt { base } | Table::PageDirectory { base } | Table::PageTable { base } => base,
    }
}
