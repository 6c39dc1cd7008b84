//! SPCR: the serial port that the firmware speaks on (SPCR specification 1.08).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::fadt::{GenericAddress, Register, Space};
use super::table::{self, HEADER_BYTES, TableError};

/// The firmware's console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spcr {
    /// Its kind: 0 and 1 are 16550s, 3 an ARM PL011.
    pub interface: u8,
    /// Where its registers are.
    pub registers: Register,
    /// Interrupt of the old controllers, where it has one.
    pub irq: Option<u8>,
    /// Input of the I/O APICs, where it has one.
    pub gsi: Option<u32>,
    /// Bits per second; `None` to leave it as it is.
    pub baud: Option<u32>,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Body {
    interface: u8,
    reserved: [u8; 3],
    address: GenericAddress,
    interrupts: u8,
    irq: u8,
    gsi: U32,
    baud: u8,
    parity: u8,
    stop: u8,
    flow: u8,
    terminal: u8,
    language: u8,
    pci: [U16; 2],
    location: [u8; 3],
    flags: U32,
    segment: u8,
    clock: U32,
}

impl Spcr {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"SPCR";

    /// Reads it. With an address of 0 the firmware's console is switched off.
    ///
    /// # Errors
    /// [`TableError`]; also for registers in a space that has no serial ports, and for a speed that
    /// the specification does not know.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, TableError> {
        let (body, _) = table::body::<Body>(bytes, &Self::SIGNATURE)?;
        let (space, address) = (body.address.space(), body.address.address.get());
        if address == 0 {
            return Ok(None);
        }
        let value = |at: usize| TableError::Value(u32::try_from(HEADER_BYTES + at).unwrap_or(0));
        if !matches!(space, Space::Memory | Space::Ports) {
            return Err(value(4));
        }
        Ok(Some(Self {
            interface: body.interface,
            registers: Register { space, address },
            irq: (body.interrupts & 1 != 0).then_some(body.irq),
            gsi: (body.interrupts & 2 != 0).then(|| body.gsi.get()),
            baud: baud(body.baud).ok_or(value(22))?,
        }))
    }
}

fn baud(code: u8) -> Option<Option<u32>> {
    match code {
        0 => Some(None),
        3 => Some(Some(9_600)),
        4 => Some(Some(19_200)),
        6 => Some(Some(57_600)),
        7 => Some(Some(115_200)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{mutated, sealed};
    use super::*;
    use proptest::prelude::*;

    /// As servers have it: a 16550 at 0x3f8, interrupt 4 on both controllers, 115,200 bits a
    /// second.
    fn sample() -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 1, 8, 0, 1, 0xf8, 3, 0, 0, 0, 0, 0, 0];
        body.extend([3, 4, 4, 0, 0, 0, 7, 0, 1, 0, 3, 0, 0xff, 0xff, 0xff, 0xff]);
        body.resize(44, 0);
        sealed(b"SPCR", &body)
    }

    #[test]
    fn a_console_is_read() {
        let registers = Register { space: Space::Ports, address: 0x3f8 };
        let expected =
            Spcr { interface: 0, registers, irq: Some(4), gsi: Some(4), baud: Some(115_200) };
        assert_eq!(Spcr::parse(&sample()), Ok(Some(expected)));
    }

    #[test]
    fn none_and_nonsense_are_told_apart() {
        let with = |at: usize, value: u8| {
            let mut table = sample();
            table[36 + at] = value;
            Spcr::parse(&table)
        };
        let mut none = sample();
        none[44..52].fill(0);
        assert_eq!(Spcr::parse(&none), Ok(None));
        assert_eq!(with(4, 2), Err(TableError::Value(40)));
        assert_eq!(with(22, 1), Err(TableError::Value(58)));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(sample())) {
            if let Ok(Some(spcr)) = Spcr::parse(&table) {
                prop_assert!(spcr.registers.address != 0);
            }
        }
    }
}
