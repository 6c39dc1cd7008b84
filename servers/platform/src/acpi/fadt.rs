//! FADT: power registers, reset, and the way to the DSDT (ACPI 6.5, section 5.2.9).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::table::{HEADER_BYTES, TableError};

/// A register in one of several address spaces (section 5.2.3.2).
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GenericAddress {
    space: u8,
    /// Bits of the register.
    pub width: u8,
    /// First bit.
    pub offset: u8,
    /// Size of accesses: 0 not told, 1 to 4 for 1 to 8 bytes.
    pub access: u8,
    /// Where in its space.
    pub address: U64,
}

/// An address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Ports,
    /// Configuration space of a function on PCI's bus 0.
    PciConfiguration,
    /// Another, by number.
    Other(u8),
}

impl GenericAddress {
    /// Its address space.
    #[must_use]
    pub fn space(&self) -> Space {
        match self.space {
            0 => Space::Memory,
            1 => Space::Ports,
            2 => Space::PciConfiguration,
            other => Space::Other(other),
        }
    }
}

/// A register that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// In which space.
    pub space: Space,
    /// Where.
    pub address: u64,
}

/// The fixed description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// Address of the FACS, 0 for none.
    pub facs: u64,
    /// Address of the DSDT, 0 for none.
    pub dsdt: u64,
    /// ISA interrupt or input that announces power events.
    pub sci: u16,
    /// Power control registers.
    pub pm1_control: [Option<Register>; 2],
    /// Register that resets the machine, and what to write to it.
    pub reset: Option<(Register, u8)>,
    /// Whether there is no power hardware of the classic kind.
    pub hardware_reduced: bool,
    /// Whether WBINVD flushes the caches.
    pub wbinvd: bool,
}

/// The table's first part, which ACPI 1.0 has as well.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct First {
    facs: U32,
    dsdt: U32,
    model: u8,
    profile: u8,
    sci: U16,
    smi_command: U32,
    smi_values: [u8; 4],
    pm1_event: [U32; 2],
    pm1_control: [U32; 2],
    others: [U32; 4],
    lengths: [u8; 8],
    latencies: [U16; 4],
    duty: [u8; 2],
    alarm: [u8; 3],
    boot: U16,
    reserved: u8,
    flags: U32,
}

/// What ACPI 2.0 added.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Second {
    reset: GenericAddress,
    reset_value: u8,
    arm: U16,
    minor: u8,
    facs: U64,
    dsdt: U64,
    pm1_event: [GenericAddress; 2],
    pm1_control: [GenericAddress; 2],
}

const WBINVD: u32 = 1;
const RESET_SUPPORTED: u32 = 1 << 10;
const HARDWARE_REDUCED: u32 = 1 << 20;

impl Fadt {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"FACP";

    /// Reads it. Fields that an older, shorter table lacks are "not there", as the specification
    /// has it.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (first, rest) = super::table::body::<First>(bytes, &Self::SIGNATURE)?;
        let second = Second::read_from_bytes(&filled(rest))
            .map_err(|_| TableError::TooShort(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX)))?;
        let flags = first.flags.get();
        let control = |number: usize| {
            let old = first.pm1_control[number].get();
            register(&second.pm1_control[number]).or_else(|| port(old))
        };
        let reset = register(&second.reset).filter(|_| flags & RESET_SUPPORTED != 0);
        Ok(Self {
            facs: either(second.facs, first.facs),
            dsdt: either(second.dsdt, first.dsdt),
            sci: first.sci.get(),
            pm1_control: [control(0), control(1)],
            reset: reset.map(|register| (register, second.reset_value)),
            hardware_reduced: flags & HARDWARE_REDUCED != 0,
            wbinvd: flags & WBINVD != 0,
        })
    }
}

/// The second part, with zeros for what is missing.
fn filled(rest: &[u8]) -> [u8; size_of::<Second>()] {
    let mut bytes = [0; size_of::<Second>()];
    for (to, from) in bytes.iter_mut().zip(rest) {
        *to = *from;
    }
    bytes
}

fn either(new: U64, old: U32) -> u64 {
    match new.get() {
        0 => u64::from(old.get()),
        address => address,
    }
}

fn register(generic: &GenericAddress) -> Option<Register> {
    let address = generic.address.get();
    (address != 0).then(|| Register { space: generic.space(), address })
}

fn port(number: u32) -> Option<Register> {
    (number != 0).then(|| Register { space: Space::Ports, address: u64::from(number) })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Machine, mutated};
    use super::*;
    use proptest::prelude::*;

    fn ports(address: u64) -> Register {
        Register { space: Space::Ports, address }
    }

    #[test]
    fn a_new_one_is_read() {
        let machine = Machine::q35();
        let fadt = Fadt::parse(&machine.table(b"FACP")).expect("sound");
        assert_eq!(fadt.dsdt, machine.base + machine.find(b"DSDT") as u64);
        assert_eq!(fadt.facs, machine.base + machine.find(b"FACS") as u64);
        assert_eq!((fadt.sci, fadt.pm1_control), (9, [Some(ports(0x604)), None]));
        assert_eq!(fadt.reset, Some((ports(0xcf9), 0x0f)));
        assert!(fadt.wbinvd && !fadt.hardware_reduced);
    }

    #[test]
    fn an_old_one_is_read() {
        let machine = Machine::pc();
        let fadt = Fadt::parse(&machine.table(b"FACP")).expect("sound");
        assert_eq!(fadt.dsdt, machine.base + machine.find(b"DSDT") as u64);
        assert_eq!((fadt.pm1_control, fadt.reset), ([Some(ports(0x604)), None], None));
    }

    #[test]
    fn one_that_is_cut_short_is_refused() {
        let table = Machine::pc().table(b"FACP");
        assert_eq!(Fadt::parse(&table[..115]), Err(TableError::TooShort(115)));
        assert_eq!(Fadt::parse(&table[..20]), Err(TableError::TooShort(20)));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(Machine::q35().table(b"FACP"))) {
            if let Ok(fadt) = Fadt::parse(&table) {
                prop_assert!(fadt.reset.is_none_or(|(register, _)| register.address != 0));
            }
        }
    }
}
