//! MADT: processors and interrupt controllers (ACPI 6.5, section 5.2.12).

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::record::{Prefix, Record, records};
use super::table::{self, HEADER_BYTES, TableError};

/// Processors and interrupt controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Madt {
    /// Where every processor sees its local APIC.
    pub local_apics: u64,
    /// Processors, in the table's order.
    pub processors: Vec<Processor>,
    /// I/O APICs.
    pub io_apics: Vec<IoApic>,
    /// Where ISA interrupts do not lead to the input of the same number, or announce otherwise.
    pub overrides: Vec<Override>,
}

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Its local APIC's id.
    pub apic_id: u32,
    /// Its number in the firmware's bytecode.
    pub uid: u32,
    /// Whether it is there; if not, it may be added later.
    pub enabled: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its id.
    pub id: u8,
    /// Where its registers are.
    pub address: u32,
    /// Global number of its first input.
    pub first_gsi: u32,
}

/// An ISA interrupt that is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// The ISA interrupt.
    pub irq: u8,
    /// The input that it leads to.
    pub gsi: u32,
    /// Whether it is announced for as long as it is active; `None` as the bus has it.
    pub level_triggered: Option<bool>,
    /// Whether a low voltage is "on"; `None` as the bus has it.
    pub active_low: Option<bool>,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fixed {
    local_apics: U32,
    flags: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalApic {
    prefix: [u8; 2],
    uid: u8,
    apic_id: u8,
    flags: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalX2Apic {
    prefix: [u8; 2],
    reserved: [u8; 2],
    apic_id: U32,
    flags: U32,
    uid: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct IoApicRecord {
    prefix: [u8; 2],
    id: u8,
    reserved: u8,
    address: U32,
    first_gsi: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct OverrideRecord {
    prefix: [u8; 2],
    bus: u8,
    irq: u8,
    gsi: U32,
    flags: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AddressOverride {
    prefix: [u8; 2],
    reserved: [u8; 2],
    address: U64,
}

/// The processor is there.
const ENABLED: u32 = 1;
/// It is not, and may be added.
const ONLINE_CAPABLE: u32 = 2;

impl Madt {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"APIC";

    /// Reads it.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (fixed, list) = table::body::<Fixed>(bytes, &Self::SIGNATURE)?;
        let mut madt = Self { local_apics: u64::from(fixed.local_apics.get()), ..Self::default() };
        for record in records(list, HEADER_BYTES + size_of::<Fixed>(), Prefix::Bytes) {
            madt.add(record?)?;
        }
        Ok(madt)
    }

    fn add(&mut self, record: Record<'_>) -> Result<(), TableError> {
        match record.kind {
            0 => {
                let &LocalApic { uid, apic_id, flags, .. } = record.read()?;
                self.add_processor(u32::from(apic_id), u32::from(uid), flags.get());
            }
            1 => {
                let IoApicRecord { id, address, first_gsi, .. } = record.read()?;
                let (address, first_gsi) = (address.get(), first_gsi.get());
                self.io_apics.push(IoApic { id: *id, address, first_gsi });
            }
            2 => self.overrides.push(isa_override(&record)?),
            5 => self.local_apics = record.read::<AddressOverride>()?.address.get(),
            9 => {
                let LocalX2Apic { apic_id, uid, flags, .. } = record.read()?;
                self.add_processor(apic_id.get(), uid.get(), flags.get());
            }
            // Non-maskable interrupts, and what other architectures have.
            _ => {}
        }
        Ok(())
    }

    /// Entries that are neither there nor can be are room that the firmware left.
    fn add_processor(&mut self, apic_id: u32, uid: u32, flags: u32) {
        if flags & (ENABLED | ONLINE_CAPABLE) != 0 {
            let enabled = flags & ENABLED != 0;
            self.processors.push(Processor { apic_id, uid, enabled });
        }
    }
}

fn isa_override(record: &Record<'_>) -> Result<Override, TableError> {
    let OverrideRecord { irq, gsi, flags, .. } = record.read()?;
    let choice = |bits: u16| match bits & 3 {
        0 => Ok(None),
        1 => Ok(Some(false)),
        3 => Ok(Some(true)),
        _ => Err(record.nonsense()),
    };
    let flags = flags.get();
    Ok(Override {
        irq: *irq,
        gsi: gsi.get(),
        level_triggered: choice(flags >> 2)?,
        active_low: choice(flags)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Machine, mutated, sealed};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_real_one_is_read() {
        let madt = Madt::parse(&Machine::q35().table(b"APIC")).expect("sound");
        let processor = |id| Processor { apic_id: id, uid: id, enabled: true };
        assert_eq!(madt.processors, [0, 1, 2, 3].map(processor));
        assert_eq!(madt.io_apics, [IoApic { id: 0, address: 0xfec0_0000, first_gsi: 0 }]);
        assert_eq!(madt.local_apics, 0xfee0_0000);
        let pit = Override { irq: 0, gsi: 2, level_triggered: None, active_low: None };
        let sci = Override { irq: 9, gsi: 9, level_triggered: Some(true), active_low: Some(false) };
        assert!(madt.overrides.contains(&pit) && madt.overrides.contains(&sci), "{madt:?}");
    }

    #[test]
    fn new_ids_addresses_and_absent_processors() {
        let mut body = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
        body.extend([0, 8, 1, 7, 0, 0, 0, 0]);
        body.extend([0, 8, 2, 8, 2, 0, 0, 0]);
        body.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
        body.extend([5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 1, 0, 0, 0]);
        let madt = Madt::parse(&sealed(b"APIC", &body)).expect("sound");
        let absent = Processor { apic_id: 8, uid: 2, enabled: false };
        let large = Processor { apic_id: 256, uid: 3, enabled: true };
        assert_eq!((madt.processors, madt.local_apics), (vec![absent, large], 0x1_fee0_0000));
    }

    #[test]
    fn damage_is_named() {
        let with = |tail: &[u8]| {
            let body = [&[0; 8], tail].concat();
            Madt::parse(&sealed(b"APIC", &body)).expect_err("damaged")
        };
        assert_eq!(with(&[0, 7, 0, 0, 0, 0, 0]), TableError::Record(44));
        assert_eq!(with(&[0, 8, 0]), TableError::Record(44));
        assert_eq!(with(&[2, 10, 0, 0, 0, 0, 0, 0, 2, 0]), TableError::Value(44));
        assert_eq!(Madt::parse(&sealed(b"APIC", &[0; 7])), Err(TableError::TooShort(43)));
        assert_eq!(Madt::parse(&sealed(b"HPET", &[0; 8])), Err(TableError::Signature));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(Machine::q35().table(b"APIC"))) {
            if let Ok(madt) = Madt::parse(&table) {
                prop_assert!(madt.processors.len() * 8 <= table.len());
            }
        }
    }
}
