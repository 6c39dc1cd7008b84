//! Shared memory and devices: what init holds of them, and how programs get to it.
//!
//! All of it outlives the programs that use it. A region's frames are made when it is first used, a
//! device's when it is provided; each program has capabilities of its own to a region's frames, by
//! which they are mapped while it runs. A device has one program, which gets init's own.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use init::acpi::Inputs;
use init::device_memory::DeviceFrame;
use init::devices::{Devices, Vectors};
use init::grants::Found;
use init::own::row;
use init::regions::{RegionUse, frame_size, frames};
use init::supervise::ProgramNumber;
use libd3os::abi::{CapRights, IRQ_VECTOR_BASE, ObjectType, RETYPE_FAN_OUT, VmAttributes};
use libd3os::cap::{
    Capability, Frame, IrqHandler, IrqPin, MsiSource, PageDirectory, PageTable, Pdpt,
};
use libd3os::device::{Caching, DeviceIdentity};
use libd3os::image::Manifest;
use libd3os::memory::{Kernel, MemoryError, Table};
use libd3os::region::Rights;
use libd3os::service::devices::{
    DevicesError, DmaRange, InterruptMessage, Provided, ProvidedInterrupt,
};
use libd3os::service::supervisor::CapabilityInfo;
use libd3os::start::layout::{PAGE_SIZE, PLATFORM_PLACES, PLATFORM_WINDOW};
use libd3os::sys::Cptr;

use super::kernel::{IRQ_CONTROL, MEMORY, make, own_slot};
use super::memory::Memory;
use super::persistent::Windows;
use super::program::Program;
use super::trouble::{Doing, Refused};

/// Shared memory and devices.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) devices: Devices,
    /// By position in the manifest; none while nobody has used it.
    regions: Vec<Option<RegionMemory>>,
    /// By position in the manifest.
    gear: Vec<Gear>,
    vectors: Vectors,
    window: PlatformWindow,
    pub(super) persistent: Windows,
}

/// What a region is made of.
#[derive(Clone, Copy, Debug)]
struct RegionMemory {
    /// The first of its frames' slots.
    first: u64,
    paddr: u64,
    bytes: u64,
}

/// What init holds of a device.
#[derive(Debug, Default)]
struct Gear {
    frames: Vec<MappedFrame>,
    tables: BTreeMap<Table, u64>,
    /// Paging structures that the device once took.
    spare: Vec<(ObjectType, u64)>,
    interrupt: Option<Interrupt>,
}

#[derive(Clone, Copy, Debug)]
struct MappedFrame {
    frame: DeviceFrame,
    address: u64,
    attributes: VmAttributes,
}

#[derive(Clone, Copy, Debug)]
struct Interrupt {
    slot: u64,
    vector: u64,
    wiring: ProvidedInterrupt,
}

/// Why a device was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// What was told of it is wrong.
    Wrong(DevicesError),
    /// Init could not do it.
    Refused(Refused),
}

impl From<Refused> for NotTaken {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<DevicesError> for NotTaken {
    fn from(error: DevicesError) -> Self {
        Self::Wrong(error)
    }
}

impl Held {
    /// Nothing yet of what the manifest wants. `pool` is what the cores share.
    pub(super) fn new(manifest: &Manifest, pool: core::ops::Range<u64>) -> Self {
        Self {
            devices: Devices::new(manifest, pool),
            regions: manifest.regions.iter().map(|_| None).collect(),
            gear: manifest.devices.iter().map(|_| Gear::default()).collect(),
            vectors: Vectors::new(manifest),
            window: PlatformWindow::default(),
            persistent: Windows::default(),
        }
    }

    /// Makes the regions that a program uses, unless they are there.
    pub(super) fn make_regions(
        &mut self,
        uses: &[RegionUse],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        for known in uses {
            let Some(region) = self.regions.get_mut(known.region) else { continue };
            if region.is_none() {
                *region = Some(RegionMemory::make(known.bytes, memory)?);
            }
        }
        Ok(())
    }

    /// What a program is told of its memory and devices.
    pub(super) fn found(&self, number: ProgramNumber) -> Found {
        let regions = self.regions.iter().map(|region| region.map(|known| known.paddr));
        let mut devices: Vec<_> = self.gear.iter().map(|_| None).collect();
        for index in self.devices.of(number) {
            if let Some(device) = devices.get_mut(index) {
                *device = self.devices.grant(index);
            }
        }
        Found { regions: regions.collect(), devices }
    }

    /// Maps the regions and devices of a program that is being made, and gives it the handlers of their
    /// interrupts.
    pub(super) fn attach(
        &mut self,
        program: &mut Program,
        handlers: &[(usize, u32)],
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        self.map_regions(program, memory)?;
        for &(device, slot) in handlers {
            let Some(gear) = self.gear.get(device) else { continue };
            gear.map(program).doing("mapping a device")?;
            if let Some(interrupt) = gear.interrupt {
                let handler = own_slot(interrupt.slot);
                let granted = program.slot(slot).copy_from(handler, CapRights::ALL);
                granted.doing("granting an interrupt")?;
            }
        }
        Ok(())
    }

    /// Takes regions and devices from a program that is stopped: its interrupts signal nothing any
    /// more, then nothing of them is mapped. What of it was not there does no harm.
    pub(super) fn detach(&self, program: &Program) -> Result<(), Refused> {
        for index in self.devices.of(program.draft.number) {
            let Some(gear) = self.gear.get(index) else { continue };
            gear.silence()?;
            gear.unmap().doing("unmapping a device")?;
        }
        for (known, first) in program.draft.shared.iter().zip(&program.shared) {
            for slot in *first..first + frames(known.bytes) {
                Frame::new(Cptr::new(slot)).unmap().doing("unmapping shared memory")?;
            }
        }
        Ok(())
    }

    /// Takes the memory and the interrupt of a device that was told of and checked. What it had
    /// before is given up; when this fails, it has none of it.
    pub(super) fn take(
        &mut self,
        index: usize,
        provided: &Provided,
        inputs: &Inputs,
        memory: &mut Memory,
    ) -> Result<(), NotTaken> {
        for window in &provided.windows {
            let pages = window.paddr..window.paddr + window.bytes;
            memory.check_device(&pages).map_err(DevicesError::NotDeviceMemory)?;
        }
        let Some(gear) = self.gear.get_mut(index) else { return Ok(()) };
        gear.retire();
        if matches!(provided.identity, DeviceIdentity::Nvdimm { .. }) {
            self.persistent.close_all(memory)?;
        }
        if !gear.interrupt.is_some_and(|known| known.wiring == provided.interrupt) {
            gear.drop_interrupt(&mut self.vectors, memory)?;
            gear.take_interrupt(provided.interrupt, inputs, &mut self.vectors, memory)?;
        }
        Ok(())
    }

    /// Makes the frames of a device that is held, and the paging structures that they hang from.
    pub(super) fn equip(&mut self, index: usize, memory: &mut Memory) -> Result<(), NotTaken> {
        let windows = self.devices.windows(index);
        let Some(gear) = self.gear.get_mut(index) else { return Ok(()) };
        for (window, paddr) in windows {
            let pages = paddr..paddr + window.bytes;
            let frames = memory.cover_device(&pages, window.base)?;
            let frames = frames.ok_or(DevicesError::NotDeviceMemory(paddr))?;
            let attributes = attributes(window.caching);
            gear.frames.extend(frames.into_iter().map(|frame| {
                let address = window.base + (frame.paddr - paddr);
                MappedFrame { frame, address, attributes }
            }));
        }
        gear.make_tables(memory)
            .doing("making a device's paging structures")
            .map_err(NotTaken::from)
    }

    /// The message that is a device's interrupt, aimed at the core of this local APIC.
    pub(super) fn message(&self, index: usize, apic: u32) -> Option<InterruptMessage> {
        let interrupt = self.gear.get(index)?.interrupt?;
        let vector = u32::try_from(interrupt.vector).ok()?;
        (interrupt.wiring == ProvidedInterrupt::Message).then(|| InterruptMessage {
            address: LOCAL_APICS | u64::from(apic & 0xff) << 12,
            data: u32::from(IRQ_VECTOR_BASE) + vector,
        })
    }

    /// The memory that a program's devices may reach, as far as it is there.
    pub(super) fn dma(&self, uses: &[RegionUse]) -> Vec<DmaRange> {
        let dma = uses.iter().filter(|known| known.kind == libd3os::start::GrantKind::Dma);
        let region = |known: &RegionUse| self.regions.get(known.region).copied().flatten();
        dma.filter_map(region)
            .map(|known| DmaRange { bus: known.paddr, bytes: known.bytes })
            .collect()
    }

    /// Maps a page of device memory in the platform window of the program.
    pub(super) fn show(
        &mut self,
        place: u16,
        paddr: u64,
        program: &Program,
        memory: &mut Memory,
    ) -> Result<(), NotTaken> {
        let frame = memory.device_frame(paddr)?.ok_or(DevicesError::NotDeviceMemory(paddr))?;
        let slot = self.window.slot(place, memory)?;
        let copy = own_slot(slot);
        self.window.empty(place)?;
        let address = PLATFORM_WINDOW + u64::from(place) * PAGE_SIZE;
        let (rights, attributes) = (CapRights::READ_WRITE, VmAttributes::Uncacheable);
        copy.copy_from(own_slot(frame.cptr().address()), rights)
            .and_then(|()| {
                self.window.used.insert(place);
                let frame = Frame::new(Cptr::new(slot));
                frame.map(program.vspace(), address, rights, attributes)
            })
            .doing("mapping device memory")?;
        Ok(())
    }

    /// Empties the platform window: its program has ended.
    pub(super) fn close_window(&mut self) -> Result<(), Refused> {
        let used: Vec<_> = self.window.used.iter().copied().collect();
        used.into_iter().try_for_each(|place| self.window.empty(place))
    }

    /// Bytes of the regions that are there.
    pub(super) fn region_bytes(&self) -> u64 {
        self.regions.iter().flatten().map(|region| region.bytes).sum()
    }

    /// Handlers of devices' interrupts.
    pub(super) fn handlers(&self) -> usize {
        self.gear.iter().filter(|gear| gear.interrupt.is_some()).count()
    }

    /// Rows for what `caps init` shows.
    pub(super) fn rows(&self, manifest: &Manifest) -> Vec<CapabilityInfo> {
        let regions = self.regions.iter().zip(&manifest.regions);
        let regions = regions.filter_map(|(held, spec)| {
            let count = frames(spec.bytes);
            let detail = alloc::format!("shared memory {}, {count} in a row", spec.name);
            Some(row(held.as_ref()?.first, "frame", detail))
        });
        let handlers = self.gear.iter().zip(&manifest.devices).filter_map(|(gear, spec)| {
            let interrupt = gear.interrupt?;
            let how = match interrupt.wiring {
                ProvidedInterrupt::Pin { gsi, .. } => alloc::format!("input {gsi}"),
                _ => alloc::format!("message {}", interrupt.vector),
            };
            Some(row(interrupt.slot, "IRQ handler", alloc::format!("{}, {how}", spec.name)))
        });
        let frames = self.gear.iter().zip(&manifest.devices).flat_map(|(gear, spec)| {
            gear.frames.iter().map(|mapped| {
                let paddr = mapped.frame.paddr;
                let detail = alloc::format!("device {} at {paddr:#x}", spec.name);
                row(mapped.frame.slot, "frame", detail)
            })
        });
        regions.chain(handlers).chain(frames).chain(self.persistent.rows()).collect()
    }

    fn map_regions(&self, program: &mut Program, memory: &mut Memory) -> Result<(), Refused> {
        for (index, known) in program.draft.shared.iter().enumerate() {
            let Some(Some(region)) = self.regions.get(known.region) else { continue };
            let rights = match known.rights().contain(Rights::WRITE) {
                true => CapRights::READ_WRITE,
                false => CapRights::READ,
            };
            let count = frames(known.bytes);
            if index == program.shared.len() {
                program.shared.push(copies(region.first, count, rights, memory)?);
            }
            let Some(first) = program.shared.get(index) else { continue };
            let bytes = frame_size(known.bytes).bytes();
            for number in 0..count {
                let (address, attributes) = (known.base + number * bytes, VmAttributes::WriteBack);
                Frame::new(Cptr::new(first + number))
                    .map(program.vspace(), address, rights, attributes)
                    .doing("mapping shared memory")?;
            }
        }
        Ok(())
    }
}

/// Where messages to local APICs go.
const LOCAL_APICS: u64 = 0xfee0_0000;

const fn attributes(caching: Caching) -> VmAttributes {
    match caching {
        Caching::Uncached => VmAttributes::Uncacheable,
        Caching::Combining => VmAttributes::WriteCombining,
        Caching::Cached => VmAttributes::WriteBack,
    }
}

/// The controller that an interrupt arrives at, and at which of its inputs; none matters to messages.
fn input_of(wiring: ProvidedInterrupt, inputs: &Inputs) -> Result<(u64, u64), DevicesError> {
    match wiring {
        ProvidedInterrupt::Pin { gsi, .. } => inputs.locate(gsi).ok_or(DevicesError::BadPin(gsi)),
        _ => Ok((0, 0)),
    }
}

/// Capabilities of a program's own to frames, in a row.
fn copies(from: u64, count: u64, rights: CapRights, memory: &mut Memory) -> Result<u64, Refused> {
    let first = memory.slots(count).doing("taking slots for shared memory")?;
    for number in 0..count {
        own_slot(first + number)
            .copy_from(own_slot(from + number), rights)
            .doing("granting shared memory")?;
    }
    Ok(first)
}

impl RegionMemory {
    /// Out of one untyped, so that its frames follow one another; the kernel clears them.
    fn make(bytes: u64, memory: &mut Memory) -> Result<Self, Refused> {
        let (size, count) = (frame_size(bytes), frames(bytes));
        let bits = u8::try_from(bytes.trailing_zeros()).unwrap_or(u8::MAX);
        let first = memory.slots(count).doing("taking slots for shared memory")?;
        let piece = memory.piece(bits).inspect_err(|_| memory.give_back_slots(first, count));
        let piece = piece.doing("setting shared memory aside")?;
        let mut done = 0;
        while done < count {
            let part = (count - done).min(RETYPE_FAN_OUT);
            make(piece, size.object_type(), 0, first + done, part).doing("making shared memory")?;
            done += part;
        }
        let paddr = Frame::new(Cptr::new(first)).address().doing("finding shared memory")?;
        Ok(Self { first, paddr, bytes })
    }
}

impl Gear {
    /// Forgets the memory that the device had; its paging structures may serve again.
    fn retire(&mut self) {
        self.frames.clear();
        let tables = core::mem::take(&mut self.tables).into_iter();
        self.spare.extend(tables.map(|(table, slot)| (table.object_type(), slot)));
    }

    fn make_tables(&mut self, memory: &mut Memory) -> Result<(), MemoryError> {
        let above = |mapped: &MappedFrame| Table::above(mapped.address, mapped.frame.size);
        let needed: BTreeSet<Table> = self.frames.iter().flat_map(above).collect();
        for table in needed {
            let object = table.object_type();
            let spare = self.spare.iter().position(|(kind, _)| *kind == object);
            let slot = match spare.map(|index| self.spare.swap_remove(index)) {
                Some((_, slot)) => slot,
                None => memory.make(object, 0)?,
            };
            self.tables.insert(table, slot);
        }
        Ok(())
    }

    fn take_interrupt(
        &mut self,
        wiring: ProvidedInterrupt,
        inputs: &Inputs,
        vectors: &mut Vectors,
        memory: &mut Memory,
    ) -> Result<(), NotTaken> {
        if wiring == ProvidedInterrupt::None {
            return Ok(());
        }
        let input = input_of(wiring, inputs)?;
        let slot = memory.slots(1).doing("taking a slot")?;
        let vector = vectors.take(wiring)?;
        let destination = own_slot(slot);
        let taken = match wiring {
            ProvidedInterrupt::Pin { level, low, .. } => {
                let (io_apic, pin) = input;
                let (level_triggered, active_low) = (level, low);
                let pin = IrqPin { io_apic, pin, level_triggered, active_low };
                IRQ_CONTROL.get_io_apic(destination, pin, vector)
            }
            _ => IRQ_CONTROL.get_msi(destination, MsiSource::default(), vector),
        };
        if let Err(error) = taken {
            vectors.give_back(vector, wiring);
            memory.give_back_slots(slot, 1);
            return Err(match (wiring, error) {
                (ProvidedInterrupt::Pin { gsi, .. }, libd3os::cap::Error::Range { .. }) => {
                    DevicesError::BadPin(gsi).into()
                }
                _ => Refused { doing: "taking an interrupt", error: error.into() }.into(),
            });
        }
        self.interrupt = Some(Interrupt { slot, vector, wiring });
        Ok(())
    }

    fn drop_interrupt(
        &mut self,
        vectors: &mut Vectors,
        memory: &mut Memory,
    ) -> Result<(), Refused> {
        let Some(known) = self.interrupt.take() else { return Ok(()) };
        own_slot(known.slot).delete().doing("giving back an interrupt")?;
        vectors.give_back(known.vector, known.wiring);
        memory.give_back_slots(known.slot, 1);
        Ok(())
    }

    /// Puts the paging structures and the frames into the program's address space.
    fn map(&self, program: &Program) -> Result<(), MemoryError> {
        let vspace = program.vspace();
        for (table, slot) in &self.tables {
            { MEMORY }.map_table(*slot, *table, vspace)?;
        }
        for mapped in &self.frames {
            let frame = Frame::new(Cptr::new(mapped.frame.slot));
            frame.map(vspace, mapped.address, CapRights::READ_WRITE, mapped.attributes)?;
        }
        Ok(())
    }

    fn unmap(&self) -> Result<(), MemoryError> {
        for mapped in &self.frames {
            Frame::new(Cptr::new(mapped.frame.slot)).unmap()?;
        }
        for (table, slot) in self.tables.iter().rev() {
            let cptr = Cptr::new(*slot);
            match table {
                Table::Pdpt { .. } => Pdpt::from_cptr(cptr).unmap(),
                Table::PageDirectory { .. } => PageDirectory::from_cptr(cptr).unmap(),
                Table::PageTable { .. } => PageTable::from_cptr(cptr).unmap(),
            }?;
        }
        Ok(())
    }

    /// Has the interrupt signal nothing.
    fn silence(&self) -> Result<(), Refused> {
        let Some(interrupt) = self.interrupt else { return Ok(()) };
        IrqHandler::new(Cptr::new(interrupt.slot)).clear().doing("silencing an interrupt")
    }
}

/// Slots for what is mapped in the window of the program that finds devices.
#[derive(Debug, Default)]
struct PlatformWindow {
    /// The first; none while nothing was ever mapped.
    first: Option<u64>,
    used: BTreeSet<u16>,
}

impl PlatformWindow {
    fn slot(&mut self, place: u16, memory: &mut Memory) -> Result<u64, NotTaken> {
        if place >= PLATFORM_PLACES {
            return Err(DevicesError::NoSuchPlace(place).into());
        }
        let first = match self.first {
            Some(first) => first,
            None => {
                let first = memory.slots(PLATFORM_PLACES.into()).doing("taking slots")?;
                *self.first.insert(first)
            }
        };
        Ok(first + u64::from(place))
    }

    /// Unmaps what is at a place, if anything is.
    fn empty(&mut self, place: u16) -> Result<(), Refused> {
        if !self.used.remove(&place) {
            return Ok(());
        }
        let slot = self.first.unwrap_or(0) + u64::from(place);
        own_slot(slot).delete().doing("unmapping device memory")
    }
}
