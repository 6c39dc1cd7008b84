//! The kernel's symbol table, which the build appends to the image as a segment of its own:
//! magic (u64), count (u32), bytes of strings (u32), then per symbol address (u64), offset of its
//! name (u32), length of its name (u32), ascending by address; then the strings.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// First word of the table.
pub const MAGIC: u64 = 0x5359_4d53_4433_4f53;
/// Bytes before the first symbol.
pub const HEADER: usize = size_of::<Header>();
/// Larger tables are not believed.
const MAX_BYTES: usize = 16 << 20;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: U64,
    count: U32,
    strings: U32,
}

#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Symbol {
    address: U64,
    name: U32,
    name_length: U32,
}

/// A checked symbol table.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'a> {
    symbols: &'a [Symbol],
    strings: &'a [u8],
}

/// A place in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// The function.
    pub name: &'a str,
    /// Bytes into it.
    pub offset: u64,
}

/// Bytes of the whole table, by its first [`HEADER`] bytes; `None` if there is none.
pub fn table_length(header: &[u8]) -> Option<usize> {
    let (header, _) = Header::ref_from_prefix(header).ok()?;
    let symbols = usize::try_from(header.count.get()).ok()?.checked_mul(size_of::<Symbol>())?;
    let strings = usize::try_from(header.strings.get()).ok()?;
    let length = symbols.checked_add(HEADER)?.checked_add(strings)?;
    (header.magic.get() == MAGIC && length <= MAX_BYTES).then_some(length)
}

impl<'a> SymbolTable<'a> {
    /// The table that `bytes` begin with.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.get(..table_length(bytes)?)?;
        let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
        let count = usize::try_from(header.count.get()).ok()?;
        let (symbols, strings) = <[Symbol]>::ref_from_prefix_with_elems(rest, count).ok()?;
        Some(Self { symbols, strings })
    }

    /// The function that `address` is in: the last symbol at or below it.
    pub fn locate(&self, address: u64) -> Option<Location<'a>> {
        let above = self.symbols.partition_point(|symbol| symbol.address.get() <= address);
        let symbol = self.symbols.get(above.checked_sub(1)?)?;
        let start = usize::try_from(symbol.name.get()).ok()?;
        let length = usize::try_from(symbol.name_length.get()).ok()?;
        let name = self.strings.get(start..start.checked_add(length)?)?;
        let offset = address.checked_sub(symbol.address.get())?;
        Some(Location { name: core::str::from_utf8(name).ok()?, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(symbols: &[(u64, &str)]) -> Vec<u8> {
        let strings: String = symbols.iter().map(|(_, name)| *name).collect();
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(symbols.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(strings.len()).unwrap().to_le_bytes());
        let mut at = 0u32;
        for (address, name) in symbols {
            let length = u32::try_from(name.len()).unwrap();
            bytes.extend(address.to_le_bytes());
            bytes.extend(at.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            at += length;
        }
        bytes.extend_from_slice(strings.as_bytes());
        bytes
    }

    #[test]
    fn functions_are_found_by_any_address_inside() {
        let bytes = table(&[(0x1000, "start"), (0x1040, "leave"), (0x2000, "idle")]);
        let table = SymbolTable::new(&bytes).unwrap();
        assert_eq!(table.locate(0xfff), None);
        assert_eq!(table.locate(0x1000), Some(Location { name: "start", offset: 0 }));
        assert_eq!(table.locate(0x104f), Some(Location { name: "leave", offset: 15 }));
        assert_eq!(table.locate(u64::MAX).unwrap().name, "idle");
    }

    #[test]
    fn no_table_is_found_where_there_is_none() {
        assert!(SymbolTable::new(&[0; 64]).is_none());
        let bytes = table(&[(1, "a")]);
        assert!(SymbolTable::new(&bytes[..bytes.len() - 1]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut body in proptest::collection::vec(any::<u8>(), 16..200), count in 0u32..12, address in any::<u64>()) {
            body[..8].copy_from_slice(&MAGIC.to_le_bytes());
            body[8..12].copy_from_slice(&count.to_le_bytes());
            body[12..16].copy_from_slice(&8u32.to_le_bytes());
            if let Some(table) = SymbolTable::new(&body) {
                let _ = table.locate(address);
            }
        }
    }
}
