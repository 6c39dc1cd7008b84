//! What the machine is made of, in the words of the platform service: PCI functions, what they
//! open, how they interrupt.
//!
//! These are its types; the operations come with the server (`servers/platform`). A driver will
//! get its device by a `claim(device)`, which is why a function is named by [`PciAddress`] and
//! carries everything that such a claim has to know.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Where a PCI function is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct PciAddress {
    /// Segment: 0 on most machines.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device on the bus, 0 to 31.
    pub device: u8,
    /// Function of the device, 0 to 7.
    pub function: u8,
}

impl PciAddress {
    /// Reads `[SSSS:]BB:DD.F`, hexadecimal; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, function) = text.rsplit_once('.')?;
        let (rest, device) = rest.rsplit_once(':')?;
        let (segment, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
        let field = |text: &str, digits: usize, most: u16| {
            let fits = text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            u16::from_str_radix(text, 16).ok().filter(|value| fits && *value <= most)
        };
        let byte = |value: u16| u8::try_from(value).ok();
        Some(Self {
            segment: field(segment, 4, u16::MAX)?,
            bus: byte(field(bus, 2, 0xff)?)?,
            device: byte(field(device, 2, 31)?)?,
            function: byte(field(function, 1, 7)?)?,
        })
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segment != 0 {
            write!(f, "{:04x}:", self.segment)?;
        }
        write!(f, "{:02x}:{:02x}.{:x}", self.bus, self.device, self.function)
    }
}

/// A PCI function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Where it is.
    pub address: PciAddress,
    /// Who made it.
    pub vendor: u16,
    /// Which of the vendor's devices it is.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass, programming interface.
    pub class: [u8; 3],
    /// Subsystem's vendor and device; none for bridges.
    pub subsystem: Option<(u16, u16)>,
    /// For a bridge: the buses behind it, first and last.
    pub buses: Option<(u8, u8)>,
    /// Its base address registers, those that it has.
    pub bars: Vec<Bar>,
    /// Its capabilities: id and offset in its configuration space, in the order of the list.
    pub capabilities: Vec<(u8, u8)>,
    /// The best way of interrupting that it has.
    pub interrupt: Interrupt,
}

/// A base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// Which, 0 to 5; one of 64 bits takes the next as well.
    pub index: u8,
    /// What it opens.
    pub space: BarSpace,
    /// Where, as the firmware set it; 0 where it did not.
    pub address: u64,
    /// Bytes or ports.
    pub size: u64,
}

/// What a base address register opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BarSpace {
    /// I/O ports.
    Ports,
    /// Memory.
    Memory {
        /// Whether its address has 64 bits.
        wide: bool,
        /// Whether reading it has no side effects.
        prefetchable: bool,
    },
}

/// How a function interrupts. Message-signalled ways go first, since they need nobody's wiring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interrupt {
    /// MSI-X, with a table of so many vectors.
    MsiX {
        /// Vectors, 1 to 2048.
        vectors: u16,
        /// BAR that holds the table.
        bar: u8,
        /// Where in it.
        offset: u32,
    },
    /// MSI with up to so many vectors.
    Msi {
        /// Vectors, 1 to 32.
        vectors: u8,
    },
    /// By a pin (1 to 4: INTA to INTD) that leads to this input of the interrupt controllers.
    Pin {
        /// Which pin.
        pin: u8,
        /// Global system interrupt.
        gsi: u32,
        /// How it announces.
        signal: Signal,
    },
    /// By a pin of which nobody says where it leads.
    Unrouted {
        /// Which pin.
        pin: u8,
    },
    /// Not at all.
    None,
}

/// How an interrupt line announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// For as long as it is active, not by a change.
    pub level_triggered: bool,
    /// A low voltage is "on".
    pub active_low: bool,
}

/// Where an interrupt pin of the devices on a bus leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Segment.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device on it.
    pub device: u8,
    /// Pin, 1 to 4.
    pub pin: u8,
    /// Global system interrupt.
    pub gsi: u32,
    /// How it announces.
    pub signal: Signal,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn addresses_are_read_as_they_are_written(segment: u16, bus: u8, device in 0u8..32, function in 0u8..8) {
            let address = PciAddress { segment, bus, device, function };
            prop_assert_eq!(PciAddress::parse(&address.to_string()), Some(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "0", "0.0", "00:20.0", "00:1f.8", "100:00.0", "1:+1.0", "0:0:0:0.0"] {
            assert_eq!(PciAddress::parse(text), None, "{text}");
        }
        assert_eq!(PciAddress::parse("0:2.1").map(|at| at.to_string()), Some("00:02.1".into()));
    }
}
