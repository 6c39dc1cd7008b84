//! HPET: the event timer (IA-PC HPET specification 1.0a, section 3.2.4).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::fadt::{GenericAddress, Space};
use super::table::{self, HEADER_BYTES, TableError};

/// The event timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Where its registers are in memory.
    pub address: u64,
    /// Comparators, 1 to 32.
    pub comparators: u8,
    /// Whether its counter has 64 bits.
    pub wide: bool,
    /// Fewest ticks between interrupts that are not lost.
    pub minimum_tick: u16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Body {
    id: U32,
    address: GenericAddress,
    number: u8,
    minimum_tick: U16,
    protection: u8,
}

impl Hpet {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"HPET";

    /// Reads it.
    ///
    /// # Errors
    /// [`TableError`]; also where the registers are not in memory.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (body, _) = table::body::<Body>(bytes, &Self::SIGNATURE)?;
        let [_, features, ..] = body.id.get().to_le_bytes();
        let address = body.address.address.get();
        let nonsense = TableError::Value(u32::try_from(HEADER_BYTES + 4).unwrap_or(u32::MAX));
        if body.address.space() != Space::Memory || address == 0 || !address.is_multiple_of(8) {
            return Err(nonsense);
        }
        Ok(Self {
            address,
            comparators: (features & 0x1f) + 1,
            wide: features & 0x20 != 0,
            minimum_tick: body.minimum_tick.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Machine, mutated};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_real_one_is_read() {
        for machine in [Machine::q35(), Machine::pc()] {
            let hpet = Hpet::parse(&machine.table(b"HPET")).expect("sound");
            let expected =
                Hpet { address: 0xfed0_0000, comparators: 3, wide: true, minimum_tick: 0 };
            assert_eq!(hpet, expected);
        }
    }

    #[test]
    fn registers_that_are_not_in_memory_are_refused() {
        let mut table = Machine::q35().table(b"HPET");
        table[40] = 1;
        assert_eq!(Hpet::parse(&table), Err(TableError::Value(40)));
        table[40] = 0;
        table[44] |= 1;
        assert_eq!(Hpet::parse(&table), Err(TableError::Value(40)));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(Machine::q35().table(b"HPET"))) {
            if let Ok(hpet) = Hpet::parse(&table) {
                prop_assert!((1..=32).contains(&hpet.comparators) && hpet.address % 8 == 0);
            }
        }
    }
}
