//! A unit's registers (VT-d, section 10.4 in revision 3, 11.4 in revision 4).

use bitflags::bitflags;

/// Access to a unit's registers, each access exactly once and in order.
pub trait Registers {
    /// Bytes of registers that can be reached.
    fn bytes(&self) -> u32;

    /// Reads four bytes.
    fn read32(&mut self, offset: u32) -> u32;

    /// Writes four bytes.
    fn write32(&mut self, offset: u32, value: u32);

    /// Reads eight bytes.
    fn read64(&mut self, offset: u32) -> u64;

    /// Writes eight bytes.
    fn write64(&mut self, offset: u32, value: u64);
}

/// Where the registers are.
pub mod offset {
    /// What the unit can do.
    pub const CAPABILITIES: u32 = 0x08;
    /// What else it can do.
    pub const EXTENDED_CAPABILITIES: u32 = 0x10;
    /// What it is told to do.
    pub const COMMAND: u32 = 0x18;
    /// What it does.
    pub const STATUS: u32 = 0x1c;
    /// Where the root table is.
    pub const ROOT_TABLE: u32 = 0x20;
    /// Forgets context entries, where there is no queue.
    pub const CONTEXT_COMMAND: u32 = 0x28;
    /// Which faults are recorded.
    pub const FAULT_STATUS: u32 = 0x34;
    /// Keeps the firmware's protected memory from devices.
    pub const PROTECTED_MEMORY: u32 = 0x64;
    /// The first descriptor in the queue that was not yet fetched.
    pub const QUEUE_HEAD: u32 = 0x80;
    /// Behind the last descriptor in the queue.
    pub const QUEUE_TAIL: u32 = 0x88;
    /// Where the queue is.
    pub const QUEUE: u32 = 0x90;
    /// Where the interrupt remapping table is.
    pub const INTERRUPT_TABLE: u32 = 0xb8;
}

bitflags! {
    /// The command register's bits and, at the same places, those of the status register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u32 {
        /// Devices' addresses are translated.
        const TRANSLATE = 1 << 31;
        /// Take the root table that the register names.
        const SET_ROOT = 1 << 30;
        /// Write out what the unit's buffers hold.
        const FLUSH_WRITES = 1 << 27;
        /// The invalidation queue is used.
        const QUEUE = 1 << 26;
        /// Interrupts are remapped.
        const REMAP_INTERRUPTS = 1 << 25;
        /// Take the interrupt table that the register names.
        const SET_INTERRUPT_TABLE = 1 << 24;
        /// Interrupts that are not in remappable form pass as they are.
        const PASS_COMPATIBLE = 1 << 23;

        const _ = !0;
    }
}

impl Command {
    /// What a state is, as opposed to a request that is carried out once: a command has to repeat
    /// the state of all but what it changes (section 10.4.4).
    pub const STATES: Self = Self::from_bits_retain(0x96ff_ffff);
}

/// Protected memory: the firmware asks for it.
pub const PROTECT: u32 = 1 << 31;
/// Protected memory: it is in effect.
pub const PROTECTED: u32 = 1;

/// What a unit can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Different numbers of domains.
    pub domains: u32,
    /// Writes to tables wait in a buffer until they are flushed.
    pub buffers_writes: bool,
    /// Has memory that it keeps from all devices, as the firmware may have told it to.
    pub protects_memory: bool,
    /// How tables are walked.
    pub width: Width,
    /// The same number of address bits, as the unit gives it.
    pub address_bits: u8,
    /// Where fault records are.
    pub fault_offset: u32,
    /// How many.
    pub fault_records: u32,
    /// Waits for reads and for writes under way when it forgets a translation.
    pub drains: bool,
    /// Sees what processors have in their caches when it reads tables.
    pub coherent: bool,
    /// Has an invalidation queue.
    pub queue: bool,
    /// Can remap interrupts.
    pub interrupts: bool,
    /// Where the registers that forget translations are.
    pub translation_offset: u32,
}

/// How many levels of page tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Addresses of 39 bits.
    Three,
    /// Addresses of 48 bits.
    Four,
}

impl Width {
    /// Levels of tables.
    #[must_use]
    pub fn levels(self) -> u8 {
        match self {
            Self::Three => 3,
            Self::Four => 4,
        }
    }

    /// Bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        12 + 9 * self.levels()
    }

    /// As a context entry has it (section 9.3).
    #[must_use]
    pub fn code(self) -> u64 {
        u64::from(self.levels()) - 2
    }
}

/// Bytes of a fault record, and unit of the offsets in capabilities.
pub const RECORD_BYTES: u32 = 16;

impl Capabilities {
    /// From the two registers; `None` if the unit's tables are of no kind that is known here.
    #[must_use]
    pub fn decode(first: u64, second: u64) -> Option<Self> {
        let widths = field(first, 8, 5);
        let width = match (widths & 0b100, widths & 0b010) {
            (0, 0) => return None,
            (0, _) => Width::Three,
            _ => Width::Four,
        };
        // At most 38 bits are asked of `field`, so that these are the low ones.
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let address_bits = u8::try_from(field(first, 16, 6) + 1).unwrap_or(64);
        Some(Self {
            domains: 1 << (4 + 2 * field(first, 0, 3)).min(16),
            buffers_writes: bit(first, 4),
            protects_memory: bit(first, 5) || bit(first, 6),
            width,
            address_bits,
            fault_offset: number(field(first, 24, 10)) * RECORD_BYTES,
            fault_records: number(field(first, 40, 8)) + 1,
            drains: bit(first, 54) && bit(first, 55),
            coherent: bit(second, 0),
            queue: bit(second, 1),
            interrupts: bit(second, 3) && bit(second, 1),
            translation_offset: number(field(second, 8, 10)) * RECORD_BYTES,
        })
    }

    /// Bytes of registers that this unit has.
    #[must_use]
    pub fn register_bytes(&self) -> u32 {
        let faults = self.fault_offset + self.fault_records * RECORD_BYTES;
        faults.max(self.translation_offset + RECORD_BYTES).max(offset::INTERRUPT_TABLE + 8)
    }
}

/// `bits` bits of `value` from `low` on.
fn field(value: u64, low: u32, bits: u32) -> u64 {
    value >> low & ((1 << bits) - 1)
}

fn bit(value: u64, at: u32) -> bool {
    value >> at & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU 7.2's unit with `intremap=on`.
    const EMULATED: (u64, u64) = (0x00d2_008c_2226_0206, 0x0000_0000_00f0_0f4a);

    #[test]
    fn an_emulated_unit() {
        let unit = Capabilities::decode(EMULATED.0, EMULATED.1).expect("known");
        assert_eq!((unit.domains, unit.width, unit.address_bits), (1 << 16, Width::Three, 39));
        assert_eq!((unit.fault_offset, unit.fault_records), (0x220, 1));
        assert_eq!((unit.queue, unit.interrupts, unit.translation_offset), (true, true, 0xf0));
        assert!(!unit.coherent && !unit.buffers_writes && !unit.protects_memory);
        assert_eq!(unit.register_bytes(), 0x230);
    }

    #[test]
    fn other_widths() {
        let with = |widths: u64| Capabilities::decode(widths << 8, 0).map(|unit| unit.width);
        assert_eq!(with(0b0_0000), None);
        assert_eq!(with(0b0_1000), None);
        assert_eq!(with(0b0_0010), Some(Width::Three));
        assert_eq!(with(0b0_1110), Some(Width::Four));
        assert_eq!((Width::Three.code(), Width::Four.code()), (1, 2));
        assert_eq!((Width::Three.bits(), Width::Four.bits()), (39, 48));
    }

    #[test]
    fn interrupts_need_the_queue() {
        let unit = |second| Capabilities::decode(1 << 9, second).expect("known");
        assert!(!unit(1 << 3).interrupts);
        assert!(unit(1 << 3 | 1 << 1).interrupts);
    }
}
