//! The kernel's symbol table, which the build appends to the image as a segment of its own:
//! magic (u64), count (u64), then per symbol its address (u64) and name (120 bytes, cut or filled up
//! with zeroes), ascending by address.

use crate::bytes::until_nul;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// First word of the table.
pub const MAGIC: u64 = 0x5359_4d53_4433_4f53;
/// Bytes before the first symbol.
pub const HEADER: usize = size_of::<Header>();
/// Larger tables are not believed.
const MAX_SYMBOLS: u64 = 1 << 16;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: U64,
    count: U64,
}

#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Symbol {
    address: U64,
    name: [u8; 120],
}

/// A checked symbol table.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'a>(&'a [Symbol]);

/// Bytes of the whole table, by its first [`HEADER`] bytes; `None` if there is none.
pub fn table_length(header: &[u8]) -> Option<usize> {
    let (Header { magic, count }, _) = Header::ref_from_prefix(header).ok()?;
    let count = Some(count.get()).filter(|count| *count <= MAX_SYMBOLS && *magic == MAGIC)?;
    Some(HEADER + usize::try_from(count).ok()? * size_of::<Symbol>())
}

impl<'a> SymbolTable<'a> {
    /// The table that `bytes` begin with.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let symbols = bytes.get(HEADER..table_length(bytes)?)?;
        <[Symbol]>::ref_from_bytes(symbols).ok().map(Self)
    }

    /// The function that `address` is in, the last symbol at or below it, and how many bytes into it.
    pub fn locate(&self, address: u64) -> Option<(&'a str, u64)> {
        let above = self.0.partition_point(|symbol| symbol.address.get() <= address);
        let symbol = self.0.get(above.checked_sub(1)?)?;
        let name = core::str::from_utf8(until_nul(&symbol.name)).ok()?;
        Some((name, address - symbol.address.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(symbols: &[(u64, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend((symbols.len() as u64).to_le_bytes());
        for (address, name) in symbols {
            bytes.extend(address.to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.resize(bytes.len() + 120 - name.len(), 0);
        }
        bytes
    }

    #[test]
    fn functions_are_found_by_any_address_inside() {
        let bytes = table(&[(0x1000, "start"), (0x1040, "leave"), (0x2000, "idle")]);
        let table = SymbolTable::new(&bytes).unwrap();
        assert_eq!(table.locate(0xfff), None);
        assert_eq!(table.locate(0x1000), Some(("start", 0)));
        assert_eq!(table.locate(0x104f), Some(("leave", 15)));
        assert_eq!(table.locate(u64::MAX).unwrap().0, "idle");
    }

    #[test]
    fn no_table_is_found_where_there_is_none() {
        assert!(SymbolTable::new(&[0; 64]).is_none());
        let bytes = table(&[(1, "a")]);
        assert!(SymbolTable::new(&bytes[..bytes.len() - 1]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut body in proptest::collection::vec(any::<u8>(), 16..1000), count in 0u64..12, address in any::<u64>()) {
            body[..8].copy_from_slice(&MAGIC.to_le_bytes());
            body[8..16].copy_from_slice(&count.to_le_bytes());
            if let Some(table) = SymbolTable::new(&body) {
                let _ = table.locate(address);
            }
        }
    }
}
