//! What the bytecode can see of the machine: configuration space, to read, and the time.
//!
//! Everything else that it wants to touch (memory, ports, registers of devices) reads as nothing and
//! is not written: whoever evaluates the bytecode has no right to it, and what is asked of it here does not
//! need it. What was refused is counted.

use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::Cell;

use acpi::address::{AddressSpace, GenericAddress, MappedGas};
use acpi::aml::AmlError;
use acpi::registers::{FixedRegisters, Pm1ControlRegisterBlock, Pm1EventRegisterBlock};
use acpi::{AcpiError, Handle, Handler, PhysicalMapping};
use libd3os::service::platform::PciAddress;

/// What the bytecode may see.
pub trait Machine {
    /// Four bytes of a function's configuration space at `offset`, a multiple of four; all ones
    /// where nobody answers.
    fn configuration(&self, address: PciAddress, offset: u16) -> u32;

    /// Nanoseconds since some moment.
    fn now(&self) -> u64;
}

/// What the bytecode was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Accesses to memory.
    pub memory: u32,
    /// Accesses to ports.
    pub ports: u32,
    /// Writes to configuration space.
    pub configuration: u32,
}

/// A machine as the interpreter has it.
pub struct Access<M> {
    machine: Rc<M>,
    refused: Rc<Cell<Refused>>,
}

impl<M> Clone for Access<M> {
    fn clone(&self) -> Self {
        Self { machine: self.machine.clone(), refused: self.refused.clone() }
    }
}

impl<M: Machine> Access<M> {
    /// Access to this machine.
    pub fn new(machine: Rc<M>) -> Self {
        Self { machine, refused: Rc::default() }
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// What was refused so far.
    pub fn refused(&self) -> Refused {
        self.refused.get()
    }

    /// The power management registers, which the interpreter wants to know for a lock that it shares
    /// with the firmware. They are ports, so that nothing is reached.
    ///
    /// # Errors
    /// The interpreter's.
    pub fn fixed_registers(&self) -> Result<Arc<FixedRegisters<Self>>, AcpiError> {
        let nowhere = GenericAddress {
            address_space: AddressSpace::SystemIo,
            bit_width: 16,
            bit_offset: 0,
            access_size: 2,
            address: 0,
        };
        // SAFETY: the address is one of ports, and every access to ports is refused.
        let register = || unsafe { MappedGas::map_gas(nowhere, self) };
        Ok(Arc::new(FixedRegisters {
            pm1_event_registers: Pm1EventRegisterBlock {
                pm1_event_length: 4,
                pm1a: register()?,
                pm1b: None,
            },
            pm1_control_registers: Pm1ControlRegisterBlock { pm1a: register()?, pm1b: None },
        }))
    }

    fn refuse(&self, count: impl FnOnce(&mut Refused) -> &mut u32) {
        let mut refused = self.refused.get();
        let counter = count(&mut refused);
        *counter = counter.saturating_add(1);
        self.refused.set(refused);
    }

    fn refuse_memory(&self) {
        self.refuse(|refused| &mut refused.memory);
    }

    fn refuse_port(&self) {
        self.refuse(|refused| &mut refused.ports);
    }

    fn refuse_configuration(&self) {
        self.refuse(|refused| &mut refused.configuration);
    }

    fn word(&self, address: acpi::PciAddress, offset: u16) -> [u8; 4] {
        let address = PciAddress {
            segment: address.segment(),
            bus: address.bus(),
            device: address.device(),
            function: address.function(),
        };
        self.machine.configuration(address, offset & !3).to_le_bytes()
    }
}

impl<M: Machine> Handler for Access<M> {
    unsafe fn map_physical_region<T>(&self, _: usize, _: usize) -> PhysicalMapping<Self, T> {
        // Tables are given as bytes, and the fixed registers are ports: nobody asks for memory.
        unreachable!("this program has no physical memory")
    }

    fn unmap_physical_region<T>(_: &PhysicalMapping<Self, T>) {}

    fn read_u8(&self, _: usize) -> u8 {
        self.refuse_memory();
        u8::MAX
    }

    fn read_u16(&self, _: usize) -> u16 {
        self.refuse_memory();
        u16::MAX
    }

    fn read_u32(&self, _: usize) -> u32 {
        self.refuse_memory();
        u32::MAX
    }

    fn read_u64(&self, _: usize) -> u64 {
        self.refuse_memory();
        u64::MAX
    }

    fn write_u8(&self, _: usize, _: u8) {
        self.refuse_memory();
    }

    fn write_u16(&self, _: usize, _: u16) {
        self.refuse_memory();
    }

    fn write_u32(&self, _: usize, _: u32) {
        self.refuse_memory();
    }

    fn write_u64(&self, _: usize, _: u64) {
        self.refuse_memory();
    }

    fn read_io_u8(&self, _: u16) -> u8 {
        self.refuse_port();
        u8::MAX
    }

    fn read_io_u16(&self, _: u16) -> u16 {
        self.refuse_port();
        u16::MAX
    }

    fn read_io_u32(&self, _: u16) -> u32 {
        self.refuse_port();
        u32::MAX
    }

    fn write_io_u8(&self, _: u16, _: u8) {
        self.refuse_port();
    }

    fn write_io_u16(&self, _: u16, _: u16) {
        self.refuse_port();
    }

    fn write_io_u32(&self, _: u16, _: u32) {
        self.refuse_port();
    }

    fn read_pci_u8(&self, address: acpi::PciAddress, offset: u16) -> u8 {
        self.word(address, offset)[usize::from(offset & 3)]
    }

    fn read_pci_u16(&self, address: acpi::PciAddress, offset: u16) -> u16 {
        let [a, b, c, d] = self.word(address, offset);
        u16::from_le_bytes(if offset & 2 == 0 { [a, b] } else { [c, d] })
    }

    fn read_pci_u32(&self, address: acpi::PciAddress, offset: u16) -> u32 {
        u32::from_le_bytes(self.word(address, offset))
    }

    fn write_pci_u8(&self, _: acpi::PciAddress, _: u16, _: u8) {
        self.refuse_configuration();
    }

    fn write_pci_u16(&self, _: acpi::PciAddress, _: u16, _: u16) {
        self.refuse_configuration();
    }

    fn write_pci_u32(&self, _: acpi::PciAddress, _: u16, _: u32) {
        self.refuse_configuration();
    }

    fn nanos_since_boot(&self) -> u64 {
        self.machine.now()
    }

    /// Bytecode waits for hardware, and there is none here to wait for.
    fn stall(&self, _: u64) {}

    fn sleep(&self, _: u64) {}

    fn create_mutex(&self) -> Handle {
        Handle(0)
    }

    /// There is one thread: whatever it acquires is free.
    fn acquire(&self, _: Handle, _: u16) -> Result<(), AmlError> {
        Ok(())
    }

    fn release(&self, _: Handle) {}
}
