//! The interrupt controllers that devices' pins lead to.

use crate::acpi::MAX_IO_APICS;
use crate::irq_lines::Pin;
use heapless::Vec;

const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// All of a machine's I/O APICs.
#[derive(Debug, Default)]
pub(crate) struct IoApics(Vec<IoApic, MAX_IO_APICS>);

#[derive(Debug)]
struct IoApic {
    mapped: u64,
    pins: u8,
}

impl IoApics {
    /// Adds a controller, all of its pins masked.
    ///
    /// # Safety
    /// `mapped` is an uncached mapping of an I/O APIC's registers, for good.
    pub(crate) unsafe fn add(&mut self, mapped: u64) {
        let mut io_apic = IoApic { mapped, pins: 0 };
        let last = io_apic.read(VERSION) >> 16 & 0xff;
        io_apic.pins = u8::try_from(last + 1).unwrap_or(u8::MAX);
        (0..io_apic.pins).for_each(|pin| io_apic.write(entry(pin), MASKED));
        // There are no more than the tables' reader keeps track of.
        let _ = self.0.push(io_apic);
    }

    /// How many pins a controller has.
    pub(crate) fn pins(&self, io_apic: u8) -> Option<u8> {
        self.0.get(usize::from(io_apic)).map(|io_apic| io_apic.pins)
    }

    /// Routes a pin to a CPU vector of the core with local APIC `target`, masked.
    pub(crate) fn route(&self, pin: Pin, active_low: bool, vector: u8, target: u8) {
        let mut low = MASKED | u32::from(vector);
        if pin.level {
            low |= LEVEL;
        }
        if active_low {
            low |= ACTIVE_LOW;
        }
        if let Some((io_apic, entry)) = self.entry(pin) {
            io_apic.write(entry, MASKED);
            io_apic.write(entry + 1, u32::from(target) << 24);
            io_apic.write(entry, low);
        }
    }

    /// Masks a pin, if there is one, or lets it through.
    pub(crate) fn set_masked(&self, pin: Option<Pin>, masked: bool) {
        if let Some((io_apic, entry)) = pin.and_then(|pin| self.entry(pin)) {
            let old = io_apic.read(entry);
            io_apic.write(entry, if masked { old | MASKED } else { old & !MASKED });
        }
    }

    fn entry(&self, pin: Pin) -> Option<(&IoApic, u32)> {
        let io_apic = self.0.get(usize::from(pin.io_apic))?;
        (pin.pin < io_apic.pins).then(|| (io_apic, entry(pin.pin)))
    }
}

/// [`IoApics::add`]'s caller vouched for the mapping.
impl IoApic {
    fn read(&self, register: u32) -> u32 {
        // SAFETY: the window is one of the mapped registers.
        unsafe { self.select(register).read_volatile() }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: the window is one of the mapped registers.
        unsafe { self.select(register).write_volatile(value) };
    }

    /// Chooses the register that is seen in the window, which is returned.
    fn select(&self, register: u32) -> *mut u32 {
        // SAFETY: the selector is one of the mapped registers.
        unsafe { (self.mapped as *mut u32).write_volatile(register) };
        (self.mapped + 0x10) as *mut u32
    }
}

fn entry(pin: u8) -> u32 {
    FIRST_ENTRY + 2 * u32::from(pin)
}
