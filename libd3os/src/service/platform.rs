//! What the machine is made of: firmware tables, PCI functions, nodes, persistent memory. Served by
//! `platform`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Page;
use super::devices::DeviceState;
use crate::device::PersistenceDomain;

/// What the machine is made of, as ACPI's tables and PCI's buses tell it.
///
/// Everything here was read when the machine started and does not change, except for who drives
/// what. Nothing here gives anybody access to a device: devices go from this server by way of init to
/// the programs that the manifest names, and a restart of this server disturbs none of them.
#[crate::service(name = "platform", version = 1)]
pub trait Platform {
    /// The firmware's tables, sound or not, from the `from`-th on.
    #[retryable]
    fn tables(from: u32) -> Result<Page<TableInfo>, PlatformError>;

    /// Bytes of table number `table`, from `offset` on, at most [`TABLE_BYTES`]; none at its end.
    #[retryable]
    fn table_bytes(table: u32, offset: u32) -> Result<Vec<u8>, PlatformError>;

    /// What table number `table` says, in words, from line `from` on; nothing for a kind that
    /// this server does not read.
    #[retryable]
    fn table_words(table: u32, from: u32) -> Result<Page<String>, PlatformError>;

    /// The PCI functions by address, from the `from`-th on.
    #[retryable]
    fn devices(from: u32) -> Result<Page<DeviceInfo>, PlatformError>;

    /// Four bytes of a function's configuration space at `offset`, a multiple of four; all ones
    /// where nobody answers.
    #[retryable]
    fn configuration(address: PciAddress, offset: u16) -> Result<u32, PlatformError>;

    /// The nodes (proximity domains), from the `from`-th on; one on a machine that does not tell.
    #[retryable]
    fn nodes(from: u32) -> Result<Page<NodeInfo>, PlatformError>;

    /// Ranges of persistent memory, from the `from`-th on.
    #[retryable]
    fn persistent(from: u32) -> Result<Page<PersistentRange>, PlatformError>;

    /// The IOMMU's units, from the `from`-th on; none where devices reach all of memory.
    #[retryable]
    fn iommu(from: u32) -> Result<Page<IommuUnit>, PlatformError>;

    /// What the IOMMU kept devices from lately, in words, the oldest first, from the `from`-th on.
    #[retryable]
    fn faults(from: u32) -> Result<Page<String>, PlatformError>;

    /// What is wrong with this machine's tables and devices, and which of its devices cannot be
    /// used and why, in words, from the `from`-th on.
    #[retryable]
    fn problems(from: u32) -> Result<Page<String>, PlatformError>;

    /// Where interrupt pins lead, as the firmware's bytecode has it: of many routes a part, in any
    /// order, and `last` with the last part. What is told twice counts once. The first caller is
    /// believed, and no other.
    #[retryable]
    fn report_routes(routes: Vec<Route>, last: bool) -> Result<(), PlatformError>;

    /// What to write into the sleep types of the power management registers to switch off (S5), as
    /// the firmware's bytecode has it. Believed of the same caller as routes.
    #[retryable]
    fn report_sleep_types(a: u8, b: u8) -> Result<(), PlatformError>;
}

/// Most bytes of a table in one answer.
pub const TABLE_BYTES: usize = 512;

/// A table of the firmware's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its four letters, with dots for what is no letter.
    pub name: String,
    /// Physical address.
    pub address: u64,
    /// Its bytes, as it says; 0 where it cannot be read.
    pub bytes: u32,
    /// Revision of its layout.
    pub revision: u8,
    /// Who made it, and which of theirs it is.
    pub maker: String,
    /// Why it is not used, in words.
    pub problem: Option<String>,
}

/// Processors and memory that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its number (proximity domain).
    pub node: u32,
    /// Local APIC ids of its processors, as ranges with both ends included.
    pub processors: Vec<(u32, u32)>,
    /// Its memory.
    pub memory: Vec<MemoryInfo>,
    /// How far this node's processors have it to each node's memory: node and distance; 10 is
    /// local. Empty where the firmware does not say.
    pub distances: Vec<(u32, u8)>,
}

/// A range of memory of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryInfo {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
    /// What it is.
    pub kind: MemoryKind,
}

/// What a range of memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemoryKind {
    /// RAM.
    Ram,
    /// Memory that keeps its contents without power.
    Persistent,
    /// Addresses at which memory may be plugged in.
    Room,
}

/// A unit of the IOMMU: what keeps devices from memory that is not their drivers'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IommuUnit {
    /// Where its registers are.
    pub registers: u64,
    /// Why it is not used, in words: drivers of its devices are trusted with DMA then.
    pub problem: Option<String>,
    /// Bits of the addresses that it translates.
    pub address_bits: u8,
    /// Whether devices interrupt only by what is their own.
    pub remaps_interrupts: bool,
    /// Pages that its tables take.
    pub table_pages: u32,
    /// Entries of its interrupt table.
    pub interrupts: u32,
    /// Accesses that it refused.
    pub faults: u64,
    /// How often it refused accesses of which nothing more is known.
    pub lost: u64,
    /// The devices that reach memory, and how many pages.
    pub devices: Vec<(PciAddress, u32)>,
}

/// A range of persistent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistentRange {
    /// Its number in the firmware's table.
    pub index: u16,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
    /// The node that it belongs to, where told.
    pub node: Option<u32>,
    /// What is written to it may not outlive a loss of power: a module behind it has failed, or is
    /// not armed.
    pub unarmed: bool,
    /// What is safe when power fails; `None` where the firmware does not say.
    pub domain: Option<PersistenceDomain>,
}

/// Why the platform server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlatformError {
    /// There is no table with this number.
    NoSuchTable(u32),
    /// The bytes of this table cannot be told: it is damaged.
    Damaged(u32),
    /// Not a multiple of four, or beyond a function's configuration space.
    BadOffset(u16),
    /// Another program has told this.
    AlreadyTold,
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchTable(table) => write!(f, "there is no table number {table}"),
            Self::Damaged(table) => write!(f, "table number {table} is damaged"),
            Self::BadOffset(offset) => {
                write!(f, "{offset:#x} is no offset of a register in configuration space")
            }
            Self::AlreadyTold => f.write_str("another program has told this"),
        }
    }
}

impl core::error::Error for PlatformError {}

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
    /// What its class code says, in words.
    pub words: String,
    /// For whom it is.
    pub claim: Option<Claim>,
}

/// For whom a function is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The device's name in the manifest.
    pub name: String,
    /// The program that drives it; empty where none does.
    pub driver: String,
    /// How it stands.
    pub state: DeviceState,
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
    /// Bytes or ports; 0 where that is not known, as while a driver holds the function.
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
