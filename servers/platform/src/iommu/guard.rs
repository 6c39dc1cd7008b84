//! The machine's units as the rest of the server sees them, whatever is behind their registers and
//! their memory.

use alloc::vec::Vec;
use core::fmt;

use libd3os::service::devices::{DmaRange, InterruptMessage, Wiring};
use libd3os::service::platform::PciAddress;

use super::faults::Fault;
use super::registers::Registers;
use super::remapping::Message;
use super::tables::{Range, Rights, TableMemory};
use super::unit::UnitError;
use super::units::{Device, Iommu, Protection, Report};
use crate::memory::DeviceMemory;

/// What keeps devices from memory that is not their drivers'.
pub trait Guard: fmt::Debug {
    /// Lets a device reach its driver's memory. It must not be at work yet.
    ///
    /// # Errors
    /// [`UnitError`]: the device reaches nothing.
    fn attach(&mut self, device: &Device) -> Result<Protection, UnitError>;

    /// Takes it all away; nothing happens where a device has nothing.
    ///
    /// # Errors
    /// [`UnitError::Unresponsive`]: nobody may get the device.
    fn detach(&mut self, device: PciAddress) -> Result<(), UnitError>;

    /// What devices were kept from since the last time.
    fn faults(&mut self) -> Vec<Fault>;

    /// How the units are.
    fn report(&self) -> Vec<Report>;
}

impl<R, M> Guard for Iommu<R, M>
where
    R: Registers + fmt::Debug,
    M: TableMemory + fmt::Debug,
{
    fn attach(&mut self, device: &Device) -> Result<Protection, UnitError> {
        Self::attach(self, device)
    }

    fn detach(&mut self, device: PciAddress) -> Result<(), UnitError> {
        Self::detach(self, device)
    }

    fn faults(&mut self) -> Vec<Fault> {
        Self::faults(self)
    }

    fn report(&self) -> Vec<Report> {
        Self::report(self).collect()
    }
}

impl Device {
    /// A device of the manifest, by its number there, with what init wired it to.
    #[must_use]
    pub fn wired(address: PciAddress, number: usize, wiring: &Wiring) -> Self {
        let range =
            |dma: &DmaRange| Range { start: dma.bus, bytes: dma.bytes, rights: Rights::ReadWrite };
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let interrupt = wiring.message.map(|message| (number, message.into()));
        Self { address, ranges: wiring.dma.iter().map(range).collect(), interrupt }
    }
}

impl From<InterruptMessage> for Message {
    fn from(InterruptMessage { address, data }: InterruptMessage) -> Self {
        Self { address, data }
    }
}

impl From<Message> for InterruptMessage {
    fn from(Message { address, data }: Message) -> Self {
        Self { address, data }
    }
}

/// A unit's registers in device memory.
#[derive(Debug)]
pub struct Mapped<M> {
    memory: M,
    base: u64,
}

/// As far as a unit's offsets can lead: fault records and the rest are at most 16 KiB away.
const REGISTER_BYTES: u32 = 0x5000;

impl<M> Mapped<M> {
    /// The registers from `base` on.
    pub const fn new(memory: M, base: u64) -> Self {
        Self { memory, base }
    }
}

/// What cannot be reached reads as all ones, as what is not there does.
impl<M: DeviceMemory> Registers for Mapped<M> {
    fn bytes(&self) -> u32 {
        REGISTER_BYTES
    }

    fn read32(&mut self, offset: u32) -> u32 {
        self.memory.read(self.base + u64::from(offset)).unwrap_or(u32::MAX)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        // A unit that does not take it will not answer either.
        let _ = self.memory.write(self.base + u64::from(offset), value);
    }

    /// Registers of eight bytes may be accessed by halves (section 10.2); commands are in the upper one,
    /// which goes last.
    fn read64(&mut self, offset: u32) -> u64 {
        u64::from(self.read32(offset + 4)) << 32 | u64::from(self.read32(offset))
    }

    fn write64(&mut self, offset: u32, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.write32(offset, u32::from_le_bytes([a, b, c, d]));
        self.write32(offset + 4, u32::from_le_bytes([e, f, g, h]));
    }
}
