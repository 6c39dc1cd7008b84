//! The interrupt controllers that devices' pins lead to.

use crate::acpi::MAX_IO_APICS;
use crate::irq_lines::Pin;

const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

/// All of a machine's I/O APICs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IoApics {
    mapped: [u64; MAX_IO_APICS],
    pins: [u8; MAX_IO_APICS],
    count: usize,
}

impl IoApics {
    /// Adds a controller, all of its pins masked.
    ///
    /// # Safety
    /// `mapped` is an uncached mapping of an I/O APIC's registers, for good.
    pub(crate) unsafe fn add(&mut self, mapped: u64) {
        let index = self.count;
        if index == MAX_IO_APICS {
            return;
        }
        self.mapped[index] = mapped;
        self.count += 1;
        let last = self.read(index, VERSION) >> 16 & 0xff;
        self.pins[index] = u8::try_from(last + 1).unwrap_or(u8::MAX);
        for pin in 0..self.pins[index] {
            self.write(index, entry(pin), MASKED);
        }
    }

    /// How many pins a controller has.
    pub(crate) fn pins(&self, io_apic: u8) -> Option<u8> {
        self.pins[..self.count].get(usize::from(io_apic)).copied()
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
        if let Some((index, entry)) = self.entry(pin) {
            self.write(index, entry, MASKED);
            self.write(index, entry + 1, u32::from(target) << 24);
            self.write(index, entry, low);
        }
    }

    /// Masks a pin, or lets it through.
    pub(crate) fn set_masked(&self, pin: Pin, masked: bool) {
        if let Some((index, entry)) = self.entry(pin) {
            let old = self.read(index, entry);
            self.write(index, entry, if masked { old | MASKED } else { old & !MASKED });
        }
    }

    fn entry(&self, pin: Pin) -> Option<(usize, u32)> {
        let pins = self.pins(pin.io_apic)?;
        (pin.pin < pins).then(|| (usize::from(pin.io_apic), entry(pin.pin)))
    }

    fn read(&self, index: usize, register: u32) -> u32 {
        self.select(index, register);
        let window = (self.mapped[index] + 0x10) as *const u32;
        // SAFETY: `add`'s caller vouched for the mapping.
        unsafe { window.read_volatile() }
    }

    fn write(&self, index: usize, register: u32, value: u32) {
        self.select(index, register);
        let window = (self.mapped[index] + 0x10) as *mut u32;
        // SAFETY: `add`'s caller vouched for the mapping.
        unsafe { window.write_volatile(value) };
    }

    fn select(&self, index: usize, register: u32) {
        // SAFETY: `add`'s caller vouched for the mapping.
        unsafe { (self.mapped[index] as *mut u32).write_volatile(register) };
    }
}

fn entry(pin: u8) -> u32 {
    FIRST_ENTRY + 2 * u32::from(pin)
}
