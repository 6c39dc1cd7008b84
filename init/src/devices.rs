//! Devices: what the manifest wants, what was found, and who may run because of it.
//!
//! A state machine without side effects, as [`libd3os::service::devices`] draws it. What `platform`
//! says is checked here as far as it can be without the kernel: shapes, the shared pool, other
//! devices' memory. Whether memory is a device's the kernel's untyped tells
//! ([`crate::device_memory`]).

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use libd3os::abi::{FrameSize, MAX_IRQ_VECTOR};
use libd3os::device::{Caching, ColourField, DeviceGrant, DeviceIdentity, DeviceWindow, Screen};
use libd3os::image::{BootDevice, DeviceSpec, Manifest, ProgramSpec, StartPolicy};
use libd3os::region::Rights;
use libd3os::service::devices::{
    DeviceState, DevicesError, MAX_WINDOWS, Provided, ProvidedInterrupt, ProvidedWindow,
    WantedDevice,
};
use libd3os::service::persistent::PersistentError;
use libd3os::start::layout::{
    DEVICE_WINDOW, PAGE_SIZE, PERSISTENT_BYTES, VOLATILE_RANGE, WINDOW_ALIGNMENT,
};

use crate::supervise::ProgramNumber;

/// Bytes of address space that each device of a program has: what one structure at the second level
/// covers, so that no two devices share any.
pub const DEVICE_SPAN: u64 = 1 << 39;

/// Bytes that a device adds to the start information of its program at most.
pub const GRANT_BYTES: usize = 832;

/// Who told what a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teller {
    /// The program that finds devices, which also resets them.
    Platform,
    /// The boot loader: nobody resets such a device, nor need it be.
    BootLoader,
}

#[derive(Clone, Debug)]
struct Entry {
    spec: DeviceSpec,
    driver: Option<ProgramNumber>,
    /// Programs that do not drive it, and need it nevertheless.
    needed_by: Vec<ProgramNumber>,
    /// Which of its driver's devices it is.
    place: u64,
    state: DeviceState,
    provided: Option<(Provided, Teller)>,
}

impl Entry {
    fn held(&self) -> Option<&Provided> {
        let is_held = !matches!(self.state, DeviceState::Unsettled | DeviceState::Absent);
        self.provided.as_ref().filter(|_| is_held).map(|(provided, _)| provided)
    }
}

/// Whether a program may start as far as its devices are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It may.
    Ready,
    /// One of its devices is not settled, or has to be reset first.
    Waits,
    /// It runs only with all of its devices, and the machine lacks this one.
    Lacks(String),
}

/// What telling of a device comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is held as that already.
    Known(usize),
    /// Its memory and interrupt are to be taken; then [`Devices::hold`].
    New(usize),
}

/// What an absent device comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The device is settled: nobody has it.
    Absent,
    /// What the boot loader left may be it.
    AskBootLoader(usize, BootDevice),
}

/// All devices of the image.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    entries: Vec<Entry>,
    pool: Range<u64>,
    /// RAM that is lent as persistent memory is.
    volatile: Option<Range<u64>>,
}

impl Devices {
    /// The devices that a manifest wants, none of them found; the cores share the memory of `pool`.
    #[must_use]
    pub fn new(manifest: &Manifest, pool: Range<u64>) -> Self {
        let entries = manifest.devices.iter().map(|spec| {
            let (driver, place) = driver_of(manifest, &spec.name).unzip();
            let needed_by = needing(manifest, &spec.name).collect();
            let (spec, place) = (spec.clone(), place.unwrap_or(0));
            Entry { spec, driver, needed_by, place, state: DeviceState::Unsettled, provided: None }
        });
        Self { entries: entries.collect(), pool, volatile: None }
    }

    /// How each stands.
    pub fn wanted(&self, name_of: impl Fn(ProgramNumber) -> String) -> Vec<WantedDevice> {
        let wanted = |entry: &Entry| WantedDevice {
            name: entry.spec.name.clone(),
            driver: entry.driver.map(&name_of).unwrap_or_default(),
            pci: entry.spec.pci.clone(),
            acpi: entry.spec.acpi,
            boot: entry.spec.boot,
            state: entry.state,
            provided: entry.held().cloned(),
        };
        self.entries.iter().map(wanted).collect()
    }

    /// The device of this name.
    ///
    /// # Errors
    /// [`DevicesError::NoSuchDevice`].
    pub fn find(&self, name: &str) -> Result<usize, DevicesError> {
        let found = self.entries.iter().position(|entry| entry.spec.name == name);
        found.ok_or_else(|| DevicesError::NoSuchDevice(name.to_string()))
    }

    /// A device's name.
    #[must_use]
    pub fn name(&self, index: usize) -> &str {
        self.entries.get(index).map_or("", |entry| &entry.spec.name)
    }

    /// The program that drives a device.
    #[must_use]
    pub fn driver(&self, index: usize) -> Option<ProgramNumber> {
        self.entries.get(index)?.driver
    }

    /// The programs that wait for a device: its driver, and who needs it.
    #[must_use]
    pub fn waiting_for(&self, index: usize) -> Vec<ProgramNumber> {
        let waiting =
            |entry: &Entry| entry.driver.iter().chain(&entry.needed_by).copied().collect();
        self.entries.get(index).map(waiting).unwrap_or_default()
    }

    /// A program's devices, in the order in which it names them.
    pub fn of(&self, program: ProgramNumber) -> impl Iterator<Item = usize> {
        let own = self.entries.iter().enumerate();
        let mut own: Vec<_> = own.filter(|(_, entry)| entry.driver == Some(program)).collect();
        own.sort_by_key(|(_, entry)| entry.place);
        own.into_iter().map(|(index, _)| index)
    }

    /// Whether what was told of a device makes sense, and is news. Nothing changes.
    ///
    /// # Errors
    /// [`DevicesError`], which says what is wrong.
    pub fn check(&self, name: &str, provided: &Provided) -> Result<Told, DevicesError> {
        let index = self.find(name)?;
        let entry = &self.entries[index];
        if entry.held() == Some(provided) {
            return Ok(Told::Known(index));
        }
        if entry.state == DeviceState::Ready {
            return Err(DevicesError::IsOther);
        }
        check_windows(&provided.windows)?;
        for window in &provided.windows {
            let pages = window.paddr..window.paddr + window.bytes;
            if overlap(&pages, &self.pool) {
                return Err(DevicesError::SharedPool(pages.start.max(self.pool.start)));
            }
            self.check_apart(index, &pages)?;
        }
        let windows = layout(entry.place, mapped(provided))?;
        let grant = DeviceGrant { identity: provided.identity.clone(), windows, interrupts: true };
        match postcard::experimental::serialized_size(&grant) {
            Ok(bytes) if bytes <= GRANT_BYTES => Ok(Told::New(index)),
            _ => Err(DevicesError::TooManyWindows),
        }
    }

    /// What was told of a device, and checked, is held from now on.
    pub fn hold(&mut self, index: usize, provided: Provided) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.state = DeviceState::Held;
            entry.provided = Some((provided, Teller::Platform));
        }
    }

    /// What the boot loader left is a device's, and held and ready from now on.
    pub fn hold_from_boot(&mut self, index: usize, provided: Provided) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.state = DeviceState::Ready;
            entry.provided = Some((provided, Teller::BootLoader));
        }
    }

    /// A device was wired: its program may start.
    ///
    /// # Errors
    /// [`DevicesError::NoSuchDevice`]; [`DevicesError::State`] where it is not held.
    pub fn ready(&mut self, name: &str) -> Result<usize, DevicesError> {
        let index = self.find(name)?;
        let entry = &mut self.entries[index];
        match entry.state {
            DeviceState::Held | DeviceState::Ended | DeviceState::Ready => {
                entry.state = DeviceState::Ready;
                Ok(index)
            }
            state => Err(DevicesError::State(state)),
        }
    }

    /// The machine does not have a device, or not any more.
    ///
    /// # Errors
    /// [`DevicesError::NoSuchDevice`]; [`DevicesError::State`] where its program may run.
    pub fn absent(&mut self, name: &str) -> Result<(usize, Missing), DevicesError> {
        let index = self.find(name)?;
        match self.entries[index].state {
            state @ DeviceState::Ready => Err(DevicesError::State(state)),
            _ => Ok((index, self.miss(index))),
        }
    }

    /// Nobody will tell any more what the devices are, nor reset one: what is not ready never will be.
    pub fn abandon(&mut self) -> Vec<(usize, Missing)> {
        let open: Vec<_> = (0..self.entries.len()).filter(|&index| self.is_open(index)).collect();
        open.into_iter().map(|index| (index, self.miss(index))).collect()
    }

    /// Whether somebody has to say something about a device.
    #[must_use]
    pub fn has_open(&self) -> bool {
        (0..self.entries.len()).any(|index| self.is_open(index))
    }

    /// A program has ended: tells which of its devices have to be reset. What the boot loader set up
    /// stays as it is.
    pub fn ended(&mut self, program: ProgramNumber) -> usize {
        let mut count = 0;
        for entry in &mut self.entries {
            let is_reset = matches!(&entry.provided, Some((_, Teller::Platform)));
            if entry.driver == Some(program) && entry.state == DeviceState::Ready && is_reset {
                entry.state = DeviceState::Ended;
                count += 1;
            }
        }
        count
    }

    /// Whether a program may start.
    #[must_use]
    pub fn readiness(&self, program: ProgramNumber, start: StartPolicy) -> Readiness {
        let own = || self.entries.iter().filter(|entry| entry.driver == Some(program));
        let needed = || self.entries.iter().filter(|entry| entry.needed_by.contains(&program));
        let settled =
            |entry: &Entry| matches!(entry.state, DeviceState::Ready | DeviceState::Absent);
        // What another drives need not be ready: that may be started again.
        let found = |entry: &Entry| entry.state != DeviceState::Unsettled;
        if !own().all(settled) || !needed().all(found) {
            return Readiness::Waits;
        }
        let mut both = own().chain(needed());
        let absent = both.find(|entry| entry.state == DeviceState::Absent);
        match absent.filter(|_| start == StartPolicy::Device) {
            Some(entry) => Readiness::Lacks(entry.spec.name.clone()),
            None => Readiness::Ready,
        }
    }

    /// A device as its program is told of it; `None` where the machine does not have it.
    #[must_use]
    pub fn grant(&self, index: usize) -> Option<DeviceGrant> {
        let entry = self.entries.get(index)?;
        let provided = entry.held()?;
        let windows = layout(entry.place, mapped(provided)).ok()?;
        let interrupts = provided.interrupt != ProvidedInterrupt::None;
        Some(DeviceGrant { identity: provided.identity.clone(), windows, interrupts })
    }

    /// The windows of a device that is held and mapped as a whole: where they are mapped, and their
    /// physical addresses.
    #[must_use]
    pub fn windows(&self, index: usize) -> Vec<(DeviceWindow, u64)> {
        let Some(entry) = self.entries.get(index) else { return Vec::new() };
        let Some(provided) = entry.held() else { return Vec::new() };
        let places = layout(entry.place, mapped(provided)).unwrap_or_default();
        let paddr = |window: &DeviceWindow| {
            let same =
                |known: &&ProvidedWindow| (known.bar, known.offset) == (window.bar, window.offset);
            provided.windows.iter().find(same).map_or(0, |known| known.paddr)
        };
        places.into_iter().map(|window| (window, paddr(&window))).collect()
    }

    /// Where the piece of a range of persistent memory is that begins at `offset`, and what a program
    /// may do with it.
    ///
    /// # Errors
    /// [`PersistentError`] where there is no such piece.
    pub fn persistent(&self, range: u16, offset: u64) -> Result<(u64, Rights), PersistentError> {
        let found = self.persistent_range(range)?;
        match offset.is_multiple_of(PERSISTENT_BYTES) {
            true => found.part(offset, PERSISTENT_BYTES),
            false => Err(PersistentError::Misaligned(offset)),
        }
    }

    /// The same for a whole GiB.
    ///
    /// # Errors
    /// [`PersistentError`] where there is none that a huge frame could show.
    pub fn persistent_gib(
        &self,
        range: u16,
        offset: u64,
    ) -> Result<(u64, Rights), PersistentError> {
        const GIB: u64 = FrameSize::Huge.bytes();
        if range == VOLATILE_RANGE || !offset.is_multiple_of(GIB) {
            return Err(PersistentError::Misaligned(offset));
        }
        let (paddr, rights) = self.persistent_range(range)?.part(offset, GIB)?;
        match paddr.is_multiple_of(GIB) {
            true => Ok((paddr, rights)),
            false => Err(PersistentError::TooLarge(offset)),
        }
    }

    /// Where pages of a range of persistent memory are, and what a program may do with them.
    ///
    /// # Errors
    /// [`PersistentError`] where there are none, or not so many.
    pub fn persistent_pages(
        &self,
        range: u16,
        offset: u64,
        pages: u32,
    ) -> Result<(Range<u64>, Rights), PersistentError> {
        let found = self.persistent_range(range)?;
        if !offset.is_multiple_of(PAGE_SIZE) || pages == 0 {
            return Err(PersistentError::Misaligned(offset));
        }
        let bytes = u64::from(pages) * PAGE_SIZE;
        let (start, rights) = found.part(offset, bytes)?;
        // Frames are made of whole pieces.
        match offset + bytes <= found.whole_pieces() {
            true => Ok((start..start + bytes, rights)),
            false => Err(PersistentError::Outside(offset)),
        }
    }

    /// From now on, the RAM at these physical addresses, whole pieces, is [`VOLATILE_RANGE`].
    pub fn set_volatile(&mut self, addresses: Range<u64>) {
        self.volatile = Some(addresses);
    }

    fn persistent_range(&self, range: u16) -> Result<PersistentRange, PersistentError> {
        if range == VOLATILE_RANGE {
            let found = self.volatile.clone().map(PersistentRange::of_ram);
            return found.ok_or(PersistentError::NoSuchRange(range));
        }
        let mut held = self.entries.iter().filter_map(Entry::held);
        let found = held.find_map(|known| persistent_range(known, range));
        found.ok_or(PersistentError::NoSuchRange(range))
    }

    /// How a device that is held interrupts.
    #[must_use]
    pub fn interrupt(&self, index: usize) -> ProvidedInterrupt {
        let held = self.entries.get(index).and_then(Entry::held);
        held.map_or(ProvidedInterrupt::None, |provided| provided.interrupt)
    }

    fn is_open(&self, index: usize) -> bool {
        !matches!(self.entries[index].state, DeviceState::Ready | DeviceState::Absent)
    }

    fn miss(&mut self, index: usize) -> Missing {
        let entry = &mut self.entries[index];
        entry.state = DeviceState::Absent;
        entry.provided = None;
        entry.spec.boot.map_or(Missing::Absent, |boot| Missing::AskBootLoader(index, boot))
    }

    /// No other device that is held has any of these pages.
    fn check_apart(&self, index: usize, pages: &Range<u64>) -> Result<(), DevicesError> {
        let others = self.entries.iter().enumerate().filter(|(other, _)| *other != index);
        for (_, entry) in others {
            let windows = entry.held().into_iter().flat_map(|provided| &provided.windows);
            let common = |w: &&ProvidedWindow| overlap(pages, &(w.paddr..w.paddr + w.bytes));
            if let Some(window) = windows.into_iter().find(common) {
                let (paddr, other) = (window.paddr.max(pages.start), entry.spec.name.clone());
                return Err(DevicesError::Overlaps { paddr, other });
            }
        }
        Ok(())
    }
}

/// The windows of a device that are mapped in its driver: all, but for persistent memory, of which
/// pieces are mapped when they are asked for.
fn mapped(provided: &Provided) -> &[ProvidedWindow] {
    match provided.identity {
        DeviceIdentity::Nvdimm { .. } => &[],
        _ => &provided.windows,
    }
}

/// A range of a device that is persistent memory.
fn persistent_range(provided: &Provided, range: u16) -> Option<PersistentRange> {
    let DeviceIdentity::Nvdimm { ranges, .. } = &provided.identity else { return None };
    let unarmed = ranges.get(usize::from(range))?.unarmed;
    let window = provided.windows.iter().find(|window| u16::from(window.bar) == range)?;
    Some(PersistentRange { paddr: window.paddr, bytes: window.bytes, unarmed })
}

/// A range of persistent memory.
#[derive(Clone, Copy)]
struct PersistentRange {
    paddr: u64,
    bytes: u64,
    unarmed: bool,
}

impl PersistentRange {
    const fn of_ram(addresses: Range<u64>) -> Self {
        let Range { start, end } = addresses;
        Self { paddr: start, bytes: end - start, unarmed: false }
    }

    const fn whole_pieces(&self) -> u64 {
        self.bytes - self.bytes % PERSISTENT_BYTES
    }

    /// Where a part of it is, if it has so many bytes there.
    fn part(&self, offset: u64, bytes: u64) -> Result<(u64, Rights), PersistentError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        let start = end.and_then(|_| self.paddr.checked_add(offset));
        // A range that begins elsewhere has no pieces that are large frames.
        let start = start.filter(|_| self.paddr.is_multiple_of(PERSISTENT_BYTES));
        let start = start.ok_or(PersistentError::Outside(offset))?;
        Ok((start, if self.unarmed { Rights::READ } else { Rights::READ_WRITE }))
    }
}

/// The programs that need a device.
fn needing(manifest: &Manifest, name: &str) -> impl Iterator<Item = ProgramNumber> {
    let numbered = (1..).map_while(ProgramNumber::new).zip(&manifest.programs);
    let needing = numbered.filter(move |(_, spec)| spec.needs.iter().any(|need| need == name));
    needing.map(|(number, _)| number)
}

/// The program that drives a device, and which of its devices it is.
fn driver_of(manifest: &Manifest, name: &str) -> Option<(ProgramNumber, u64)> {
    let numbered = (1..).map_while(ProgramNumber::new).zip(&manifest.programs);
    numbered.into_iter().find_map(|(number, spec): (ProgramNumber, &ProgramSpec)| {
        let place = spec.devices.iter().position(|device| device == name)?;
        Some((number, place as u64))
    })
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Whole pages, no address beyond what there can be, and nothing twice.
fn check_windows(windows: &[ProvidedWindow]) -> Result<(), DevicesError> {
    if windows.len() > MAX_WINDOWS {
        return Err(DevicesError::TooManyWindows);
    }
    for (number, window) in windows.iter().enumerate() {
        let ProvidedWindow { bar, offset, paddr, bytes, .. } = *window;
        if [paddr, bytes, offset].iter().any(|n| !n.is_multiple_of(PAGE_SIZE)) || bytes == 0 {
            return Err(DevicesError::NotPages { paddr, bytes });
        }
        if paddr.checked_add(bytes).is_none() || offset.checked_add(bytes).is_none() {
            return Err(DevicesError::BadWindow(bar));
        }
        let clash = |known: &ProvidedWindow| {
            let memory =
                overlap(&(known.paddr..known.paddr + known.bytes), &(paddr..paddr + bytes));
            let place =
                overlap(&(known.offset..known.offset + known.bytes), &(offset..offset + bytes));
            memory || known.bar == bar && place
        };
        if windows[..number].iter().any(clash) {
            return Err(DevicesError::BadWindow(bar));
        }
    }
    Ok(())
}

/// Where the windows of the program's `place`-th device are mapped, by register and offset.
///
/// Each register's range begins at a multiple of [`WINDOW_ALIGNMENT`], one of that size or more as far
/// from the next multiple of the next larger frame as its physical address is: so the largest frames
/// fit that the memory has.
fn layout(place: u64, windows: &[ProvidedWindow]) -> Result<Vec<DeviceWindow>, DevicesError> {
    let span = DEVICE_WINDOW + place * DEVICE_SPAN..DEVICE_WINDOW + (place + 1) * DEVICE_SPAN;
    let mut sorted = windows.to_vec();
    sorted.sort_by_key(|window| (window.bar, window.offset));
    let mut placed = Vec::new();
    let mut next = span.start;
    for group in sorted.chunk_by(|one, other| one.bar == other.bar) {
        let bad = DevicesError::BadWindow(group[0].bar);
        let start = start_of(next, group);
        for window in group {
            let base = start.checked_add(window.offset).ok_or(bad.clone())?;
            let end = base.checked_add(window.bytes).filter(|end| *end <= span.end);
            next = end.ok_or(bad.clone())?;
            let ProvidedWindow { bar, offset, bytes, caching, .. } = *window;
            placed.push(DeviceWindow { bar, offset, base, bytes, caching });
        }
        next = next.next_multiple_of(WINDOW_ALIGNMENT);
    }
    Ok(placed)
}

/// Where a register's range begins that comes no earlier than `next`.
fn start_of(next: u64, group: &[ProvidedWindow]) -> u64 {
    let largest = group.iter().map(|window| window.bytes).max().unwrap_or(0);
    let alignment = match largest {
        bytes if bytes >= GIB => GIB,
        _ => WINDOW_ALIGNMENT,
    };
    let first = next.next_multiple_of(alignment);
    if largest < WINDOW_ALIGNMENT {
        return first;
    }
    first + group[0].paddr.wrapping_sub(group[0].offset) % alignment
}

const GIB: u64 = 1 << 30;

/// Interrupt vectors and inputs that nobody has. Devices that are found get vectors from the top,
/// as those of the manifest have their inputs' numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    taken: BTreeSet<u64>,
    pins: BTreeSet<u32>,
}

impl Vectors {
    /// All but those of the manifest's own hardware.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        let irqs = manifest.resources.iter().filter_map(|resource| resource.irq);
        let pins: BTreeSet<u32> = irqs.map(|irq| irq.pin).collect();
        Self { taken: pins.iter().map(|pin| u64::from(*pin)).collect(), pins }
    }

    /// Takes a vector, and the input if it is of one.
    ///
    /// # Errors
    /// [`DevicesError::NoVector`], [`DevicesError::BadPin`] where the input is taken: the kernel
    /// gives each to one handler.
    pub fn take(&mut self, interrupt: ProvidedInterrupt) -> Result<u64, DevicesError> {
        if let ProvidedInterrupt::Pin { gsi, .. } = interrupt
            && self.pins.contains(&gsi)
        {
            return Err(DevicesError::BadPin(gsi));
        }
        let free = (0..=MAX_IRQ_VECTOR).rev().find(|vector| !self.taken.contains(vector));
        let vector = free.ok_or(DevicesError::NoVector)?;
        self.taken.insert(vector);
        if let ProvidedInterrupt::Pin { gsi, .. } = interrupt {
            self.pins.insert(gsi);
        }
        Ok(vector)
    }

    /// Gives back what [`Self::take`] took.
    pub fn give_back(&mut self, vector: u64, interrupt: ProvidedInterrupt) {
        self.taken.remove(&vector);
        if let ProvidedInterrupt::Pin { gsi, .. } = interrupt {
            self.pins.remove(&gsi);
        }
    }
}

/// A screen that the boot loader set up, from the body of multiboot2's framebuffer tag: where its
/// pixels are, and how. `None` for text modes, palettes, and depths whose colours' places are not
/// the usual ones: the kernel hands on the tag without them.
#[must_use]
pub fn boot_screen(tag: &[u8]) -> Option<(u64, Screen)> {
    const DIRECT_COLOUR: u8 = 1;
    let (address, rest) = tag.split_first_chunk::<8>()?;
    let (words, rest) = rest.split_first_chunk::<12>()?;
    let [bits, kind, ..] = *rest else { return None };
    let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| words[4 * at + i]));
    let [pitch, width, height] = [0, 1, 2].map(word);
    let address = u64::from_le_bytes(*address);
    let [red, green, blue] = colours(bits)?;
    let screen = Screen { width, height, pitch, bits, red, green, blue };
    let fits = u64::from(width) * u64::from(bits.div_ceil(8)) <= u64::from(pitch);
    (kind == DIRECT_COLOUR && address != 0 && fits && height > 0).then_some((address, screen))
}

fn colours(bits: u8) -> Option<[ColourField; 3]> {
    let fields = match bits {
        24 | 32 => [(16, 8), (8, 8), (0, 8)],
        16 => [(11, 5), (5, 6), (0, 5)],
        15 => [(10, 5), (5, 5), (0, 5)],
        _ => return None,
    };
    Some(fields.map(|(position, size)| ColourField { position, size }))
}

/// The device that a screen of the boot loader's is.
#[must_use]
pub fn screen_device((paddr, screen): (u64, Screen)) -> Provided {
    let bytes = u64::from(screen.pitch) * u64::from(screen.height);
    let bytes = bytes.next_multiple_of(PAGE_SIZE);
    let window = ProvidedWindow { bar: 0, offset: 0, paddr, bytes, caching: Caching::Combining };
    Provided {
        identity: DeviceIdentity::Framebuffer(screen),
        windows: alloc::vec![window],
        interrupt: ProvidedInterrupt::None,
    }
}

#[cfg(test)]
mod tests;
