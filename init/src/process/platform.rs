//! The machine under init: memory, the serial port, the way to switch off.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use init::acpi::{self, AcpiError, Inputs, PhysicalMemory, PortWrite, Power};
use init::machine::Machine;
use libd3os::abi::BootInfo;
use libd3os::cap::{Error, IoPort, IoPortRange};
use libd3os::image::PortRange;
use libd3os::start::layout::PAGE_SIZE;
use libd3os::sys::Cptr;
use libd3os::time::tsc;

use super::kernel::{IO_PORT_CONTROL, THREAD, own_slot};
use super::memory::Memory;
use super::raw;
use super::serial::{self, Serial};
use super::window::Window;

/// Ports of the keyboard controller and of the chipset through which a PC without ACPI is reset.
const OLD_RESETS: [PortWrite; 2] = [PortWrite::Byte(0xcf9, 0x06), PortWrite::Byte(0x64, 0xfe)];
/// How long a machine is given to do what a port write asks of it.
const PATIENCE_US: u64 = 200_000;

/// The machine.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) machine: Machine,
    pub(super) memory: Memory,
    /// A view of other memory; none while the system is not that far yet.
    pub(super) window: Option<Window>,
    /// Slot of the serial port's capability, 0 if it could not be had.
    pub(super) com1: u64,
    /// The sleep types of S5, where somebody has evaluated the firmware's bytecode.
    pub(super) sleep_types: Option<(u8, u8)>,
    /// Port of the emulator's exit device.
    pub(super) exit_port: Option<u16>,
    serial: Option<Serial>,
    /// Ports that init has taken for itself: the kernel issues each once.
    ports: Vec<(IoPortRange, IoPort)>,
}

impl Platform {
    /// What the kernel left to init.
    pub(super) fn new(info: &'static BootInfo) -> Self {
        let machine = Machine::parse(raw::extra_boot_info(info));
        let mut memory = Memory::new(info, machine.pool.start);
        let com1 = memory.slots(1).unwrap_or(0);
        let serial = Serial::take(com1).ok();
        if let Some(serial) = serial {
            serial::show_panics_on(serial);
        }
        let com1 = if serial.is_some() { com1 } else { 0 };
        let ports = Vec::new();
        let (window, sleep_types, exit_port) = (None, None, None);
        Self { machine, memory, window, com1, sleep_types, exit_port, serial, ports }
    }

    /// Knows of ports that programs have, in case that the machine is switched off through one.
    pub(super) fn know_ports(&mut self, ports: impl Iterator<Item = (PortRange, u64)>) {
        let known = ports.map(|(PortRange { first, last }, slot)| {
            (IoPortRange { first, last }, IoPort::new(Cptr::new(slot)))
        });
        self.ports.extend(known);
    }

    /// Microseconds since the machine started.
    pub(super) fn now_us(&self) -> u64 {
        self.machine.uptime_us(tsc())
    }

    /// Writes to the serial port, past any driver.
    pub(super) fn print(&self, text: fmt::Arguments<'_>) {
        if let Some(mut serial) = self.serial {
            // Writing to the port cannot fail.
            let _ = serial.write_fmt(text);
        }
    }

    /// Whether everything that was written to the serial port has left the machine.
    pub(super) fn serial_is_idle(&self) -> bool {
        self.serial.is_none_or(Serial::is_idle)
    }

    /// Switches the machine off. An emulator with an exit port is told `status`. Returns only if
    /// the machine does not go, with the reason.
    pub(super) fn power_off(&mut self, status: u8) -> AcpiError {
        if let Some(port) = self.exit_port
            && let Ok(exit) = self.port(port, 1)
        {
            let _ = exit.out8(port, status);
        }
        let power = match self.acpi() {
            Ok(power) => power,
            Err(error) => return error,
        };
        self.take_over_acpi(&power);
        for write in power.off.into_iter().flatten() {
            self.write_port(write);
        }
        self.pause();
        AcpiError::NoPowerOff
    }

    /// Starts the machine again. Returns only if it does not.
    pub(super) fn reset(&mut self) {
        let from_acpi = self.acpi().ok().and_then(|power| power.reset);
        for write in from_acpi.into_iter().chain(OLD_RESETS) {
            self.write_port(write);
            self.pause();
        }
    }

    /// Stops init, and with it whatever needs it.
    pub(super) fn halt(&self) -> ! {
        loop {
            // Stopping the own thread does not fail; should it, there is nothing else to do.
            let _ = THREAD.suspend();
        }
    }

    fn acpi(&mut self) -> Result<Power, AcpiError> {
        let rsdp = core::mem::take(&mut self.machine.rsdp);
        let power = acpi::power(&rsdp, self, self.sleep_types);
        self.machine.rsdp = rsdp;
        power
    }

    /// Inputs of the interrupt controllers. Where no table tells of them there is one, as the kernel
    /// sees it, too.
    pub(super) fn inputs(&mut self) -> Inputs {
        let rsdp = core::mem::take(&mut self.machine.rsdp);
        let inputs = Inputs::read(&rsdp, self);
        self.machine.rsdp = rsdp;
        inputs.unwrap_or_default()
    }

    /// Some firmware keeps the power registers until it is asked for them.
    fn take_over_acpi(&mut self, power: &Power) {
        let Some(enable) = power.enable else { return };
        let Ok(status) = self.port(power.status_port, 2) else { return };
        let enabled = || status.in16(power.status_port).is_ok_and(|bits| bits & 1 != 0);
        if enabled() {
            return;
        }
        self.write_port(enable);
        let deadline = self.now_us() + PATIENCE_US;
        while !enabled() && self.now_us() < deadline {
            core::hint::spin_loop();
        }
    }

    fn write_port(&mut self, write: PortWrite) {
        // A port that cannot be had or refuses is one way less; the caller tries others.
        let _ = match write {
            PortWrite::Byte(port, value) => self.port(port, 1).map(|at| at.out8(port, value)),
            PortWrite::Word(port, value) => self.port(port, 2).map(|at| at.out16(port, value)),
        };
    }

    /// A capability for `width` ports from `first` on: the one that was issued before, else a new
    /// one.
    fn port(&mut self, first: u16, width: u16) -> Result<IoPort, Error> {
        let last = first.saturating_add(width - 1);
        let known = self.ports.iter().find(|(range, _)| range.first <= first && last <= range.last);
        if let Some((_, port)) = known {
            return Ok(*port);
        }
        let range = IoPortRange { first, last };
        let slot = self.memory.slots(1).map_err(|_| Error::DeleteFirst)?;
        IO_PORT_CONTROL.issue(range, own_slot(slot))?;
        let port = IoPort::new(Cptr::new(slot));
        self.ports.push((range, port));
        Ok(port)
    }

    fn pause(&self) {
        let deadline = self.now_us() + PATIENCE_US;
        while self.now_us() < deadline {
            core::hint::spin_loop();
        }
    }
}

impl PhysicalMemory for Platform {
    fn read(&mut self, address: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut contents = alloc::vec![0; bytes];
        let mut done = 0;
        while done < bytes {
            let at = address.checked_add(done as u64)?;
            let (page, offset) = (at & !(PAGE_SIZE - 1), at & (PAGE_SIZE - 1));
            let frame = self.memory.device_frame(page).ok()??;
            let part = (bytes - done).min(usize::try_from(PAGE_SIZE - offset).ok()?);
            let into = contents.get_mut(done..done + part)?;
            self.window.as_mut()?.read(frame, usize::try_from(offset).ok()?, into).ok()?;
            done += part;
        }
        Some(contents)
    }
}
