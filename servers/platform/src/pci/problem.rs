//! What is wrong with a function, in types and in words.

use core::fmt;

use libd3os::service::platform::PciAddress;

/// A function that contradicts the specification, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub address: PciAddress,
    /// How.
    pub wrong: Wrong,
}

/// How a function contradicts the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A bridge's buses are not numbered upwards, or lie outside of those of the bridge above.
    Buses(u8, u8),
    /// This bus was found before, behind another bridge.
    BusTwice(u8),
    /// Its header has a layout that nobody knows.
    Header(u8),
    /// This base address register is malformed: a reserved type, or a size that is no power of
    /// two.
    Bar(u8),
    /// The list of capabilities leads to a place where none can be, at this offset.
    CapabilityPlace(u8),
    /// The list of capabilities comes back to this offset.
    CapabilityLoop(u8),
    /// The table of this capability lies outside of its base address register's memory.
    MsixTable,
    /// Its interrupt pin has a number that no pin has.
    Pin(u8),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PCI function {}: {}", self.address, self.wrong)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buses(first, last) => {
                write!(f, "the bridge claims buses {first:02x} to {last:02x}, which cannot be")
            }
            Self::BusTwice(bus) => {
                write!(f, "the bridge leads to bus {bus:02x}, which another one leads to as well")
            }
            Self::Header(layout) => write!(f, "its header has the unknown layout {layout:#x}"),
            Self::Bar(index) => write!(f, "base address register {index} is malformed"),
            Self::CapabilityPlace(at) => {
                write!(f, "its capabilities lead to {at:#x}, where none can be")
            }
            Self::CapabilityLoop(at) => write!(f, "its capabilities come back to {at:#x}"),
            Self::MsixTable => f.write_str("its MSI-X table lies outside of its memory"),
            Self::Pin(pin) => write!(f, "it has interrupt pin {pin}, and there are four"),
        }
    }
}
