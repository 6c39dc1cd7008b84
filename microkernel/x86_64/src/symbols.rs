//! The kernel's symbol table, which the build appends to the image as a segment of its own:
//! magic (u64), count (u32), bytes of strings (u32), then per symbol address (u64), offset of its
//! name (u32), length of its name (u32), ascending by address; then the strings.

use crate::bytes::{u32_at, u64_at};

/// First word of the table.
pub const MAGIC: u64 = 0x5359_4d53_4433_4f53;
/// Bytes before the first symbol.
pub const HEADER: usize = 16;
const SYMBOL: usize = 16;
/// Larger tables are not believed.
const MAX_BYTES: usize = 16 << 20;

/// A checked symbol table.
#[derive(Clone, Copy, Debug)]
pub struct SymbolTable<'a> {
    symbols: &'a [u8],
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
#[must_use]
pub fn table_length(header: &[u8]) -> Option<usize> {
    if u64_at(header, 0)? != MAGIC {
        return None;
    }
    let count = usize::try_from(u32_at(header, 8)?).ok()?;
    let strings = usize::try_from(u32_at(header, 12)?).ok()?;
    let length = count.checked_mul(SYMBOL)?.checked_add(HEADER)?.checked_add(strings)?;
    Some(length).filter(|length| *length <= MAX_BYTES)
}

impl<'a> SymbolTable<'a> {
    /// The table that `bytes` begin with.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let length = table_length(bytes)?;
        let count = usize::try_from(u32_at(bytes, 8)?).ok()?;
        let body = bytes.get(HEADER..length)?;
        let (symbols, strings) = body.split_at_checked(count * SYMBOL)?;
        Some(Self { symbols, strings })
    }

    /// The function that `address` is in: the last symbol at or below it.
    #[must_use]
    pub fn locate(&self, address: u64) -> Option<Location<'a>> {
        let (mut low, mut high) = (0, self.symbols.len() / SYMBOL);
        while low < high {
            let middle = low.midpoint(high);
            if self.address(middle)? <= address { low = middle + 1 } else { high = middle }
        }
        let index = low.checked_sub(1)?;
        Some(Location {
            name: self.name(index)?,
            offset: address.checked_sub(self.address(index)?)?,
        })
    }

    fn address(&self, index: usize) -> Option<u64> {
        u64_at(self.symbols, index * SYMBOL)
    }

    fn name(&self, index: usize) -> Option<&'a str> {
        let start = usize::try_from(u32_at(self.symbols, index * SYMBOL + 8)?).ok()?;
        let length = usize::try_from(u32_at(self.symbols, index * SYMBOL + 12)?).ok()?;
        core::str::from_utf8(self.strings.get(start..start.checked_add(length)?)?).ok()
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
