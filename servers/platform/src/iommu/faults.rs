//! What a unit kept devices from: its fault records (VT-d, sections 7.2 and 9.9).

use alloc::vec::Vec;
use core::fmt;

use libd3os::service::platform::PciAddress;

use super::registers::{Capabilities, RECORD_BYTES, Registers, offset};

/// In a record's last four bytes: it is one. Writing it there clears the record.
const FAULT: u32 = 1 << 31;
/// In a record's last four bytes: the device wanted to read.
const READ: u32 = 1 << 30;
/// Fault status: faults were lost, since there was no free record. Writing it there clears it.
const OVERFLOW: u32 = 1;
/// Fault status: there are records.
const PENDING: u32 = 2;
/// Records read at a time: a device that never ends to fault may fill them as fast as they are read.
const MOST_RECORDS: u32 = 256;

/// An access that a unit refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who wanted it.
    pub device: PciAddress,
    /// What it wanted.
    pub wanted: Wanted,
    /// Why it was refused.
    pub reason: Reason,
}

/// What a device wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To read in the page at this address.
    Read(u64),
    /// To write in the page at this address.
    Write(u64),
    /// To interrupt by this entry of the interrupt table.
    Interrupt(u16),
}

/// Why an access was refused (the table of fault reasons: appendix A, since revision 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The device is nobody's: there is no translation for it.
    NobodysDevice,
    /// Its translation does not let it do this in this page: the page is not mapped, or for the other
    /// direction only.
    NoMapping,
    /// The address has more bits than the unit translates.
    TooHigh,
    /// The interrupt table does not have this entry.
    NoEntry,
    /// The entry is another device's.
    OthersEntry,
    /// The message is not in remappable form.
    NotRemappable,
    /// The unit says that the tables make no sense: the specification's number for it.
    Tables(u8),
}

impl Reason {
    fn of(code: u8) -> Self {
        match code {
            0x01 | 0x02 => Self::NobodysDevice,
            0x04 => Self::TooHigh,
            0x05 | 0x06 => Self::NoMapping,
            0x21 | 0x22 => Self::NoEntry,
            0x25 => Self::NotRemappable,
            0x26 => Self::OthersEntry,
            code => Self::Tables(code),
        }
    }

    fn is_interrupt(code: u8) -> bool {
        code >= 0x20
    }
}

impl Fault {
    /// Reads a record, from its four words; `None` if there is none in it.
    #[must_use]
    pub fn decode(segment: u16, words: [u32; 4]) -> Option<Self> {
        let [low, high, source, state] = words;
        if state & FAULT == 0 {
            return None;
        }
        let [code, ..] = state.to_le_bytes();
        let page = u64::from(high) << 32 | u64::from(low & !0xfff);
        let [.., c, d] = high.to_le_bytes();
        let wanted = match (Reason::is_interrupt(code), state & READ != 0) {
            (true, _) => Wanted::Interrupt(u16::from_le_bytes([c, d])),
            (false, true) => Wanted::Read(page),
            (false, false) => Wanted::Write(page),
        };
        let [function, bus, ..] = source.to_le_bytes();
        let (device, function) = (function >> 3, function & 7);
        let device = PciAddress { segment, bus, device, function };
        Some(Self { device, wanted, reason: Reason::of(code) })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {} was kept from {} ({})", self.device, self.wanted, self.reason)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(address) => write!(f, "reading {address:#x}"),
            Self::Write(address) => write!(f, "writing {address:#x}"),
            Self::Interrupt(entry) => write!(f, "interrupting by entry {entry}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodysDevice => f.write_str("no driver has it"),
            Self::NoMapping => f.write_str("no mapping"),
            Self::TooHigh => f.write_str("beyond the unit's addresses"),
            Self::NoEntry => f.write_str("no such entry"),
            Self::OthersEntry => f.write_str("the entry is another device's"),
            Self::NotRemappable => f.write_str("not in remappable form"),
            Self::Tables(code) => write!(f, "the unit's reason {code:#x}"),
        }
    }
}

/// What a look at the records found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The faults, the oldest first as far as the unit tells.
    pub faults: Vec<Fault>,
    /// Whether others were lost before.
    pub lost: bool,
}

/// Fetches the faults that a unit has recorded, and makes room for others.
pub fn fetch(registers: &mut impl Registers, capabilities: &Capabilities, segment: u16) -> Found {
    let status = registers.read32(offset::FAULT_STATUS);
    let mut found = Found { lost: status & OVERFLOW != 0, ..Found::default() };
    let [_, oldest, ..] = status.to_le_bytes();
    let records = if status & PENDING != 0 { capabilities.fault_records } else { 0 };
    for number in 0..records.min(MOST_RECORDS) {
        let place = (u32::from(oldest) + number) % capabilities.fault_records;
        let at = capabilities.fault_offset + place * RECORD_BYTES;
        // The last word goes first: the others are sound once it says that there is a record.
        let state = registers.read32(at + 12);
        let words = [0, 4, 8].map(|word| registers.read32(at + word));
        let [low, high, source] = words;
        let Some(fault) = Fault::decode(segment, [low, high, source, state]) else { continue };
        found.faults.push(fault);
        registers.write32(at + 12, FAULT);
    }
    if found.lost {
        registers.write32(offset::FAULT_STATUS, OVERFLOW);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_in_words() {
        let text = |words| Fault::decode(0, words).map(|fault| fault.to_string());
        assert_eq!(text([0x1000, 0, 0x20, 0x4000_0006]), None);
        assert_eq!(
            text([0x00ff_f000, 1, 0x20, 0x8000_0005]).as_deref(),
            Some("device 00:04.0 was kept from writing 0x100fff000 (no mapping)")
        );
        assert_eq!(
            text([0x1000, 0, 0x01fb, 0xc000_0002]).as_deref(),
            Some("device 01:1f.3 was kept from reading 0x1000 (no driver has it)")
        );
        assert_eq!(
            text([0, 0x0009_0000, 0x20, 0x8000_0026]).as_deref(),
            Some(
                "device 00:04.0 was kept from interrupting by entry 9 (the entry is another device's)"
            )
        );
    }

    proptest! {
        /// Whatever a unit says, it can be read.
        #[test]
        fn any_record_is_survived(words: [u32; 4], segment: u16) {
            let fault = Fault::decode(segment, words);
            prop_assert_eq!(fault.is_some(), words[3] >> 31 == 1);
            prop_assert!(fault.is_none_or(|fault| !fault.to_string().is_empty()));
        }
    }
}
