//! Tables that are lists of structures, each with a type and a length.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::table::TableError;

/// How a structure begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Type and length of one byte each (MADT, SRAT).
    Bytes,
    /// Type and length of two bytes each (NFIT, DMAR).
    Words,
}

/// A structure of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its type.
    pub kind: u16,
    /// Where it lies in the table.
    pub offset: u32,
    /// All of its bytes.
    pub bytes: &'a [u8],
}

impl Record<'_> {
    /// The structure as a `T`; it may be longer, as later revisions are.
    ///
    /// # Errors
    /// [`TableError::Record`] where it is shorter.
    pub fn read<T>(&self) -> Result<&T, TableError>
    where
        T: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        let read = T::ref_from_prefix(self.bytes);
        read.map(|(value, _)| value).map_err(|_| TableError::Record(self.offset))
    }

    /// That this structure makes no sense.
    #[must_use]
    pub fn nonsense(&self) -> TableError {
        TableError::Value(self.offset)
    }
}

/// The structures in `list`, which lies at `offset` in its table. After an error there are no more:
/// nobody knows where the next one begins.
pub fn records(
    list: &[u8],
    offset: usize,
    prefix: Prefix,
) -> impl Iterator<Item = Result<Record<'_>, TableError>> {
    let mut rest = list;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = u32::try_from(offset + (list.len() - rest.len())).unwrap_or(u32::MAX);
        let (kind, length) = begin(rest, prefix).unwrap_or((0, 0));
        let shortest = if prefix == Prefix::Bytes { 2 } else { 4 };
        match rest.split_at_checked(length).filter(|_| length >= shortest) {
            Some((bytes, after)) => {
                rest = after;
                Some(Ok(Record { kind, offset: at, bytes }))
            }
            None => {
                rest = &[];
                Some(Err(TableError::Record(at)))
            }
        }
    })
}

fn begin(bytes: &[u8], prefix: Prefix) -> Option<(u16, usize)> {
    match (prefix, bytes) {
        (Prefix::Bytes, [kind, length, ..]) => Some((u16::from(*kind), usize::from(*length))),
        (Prefix::Words, [a, b, c, d, ..]) => {
            Some((u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d]))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_ends_at_the_first_impossible_length() {
        let list = [1, 3, 9, 7, 2, 5, 0, 1, 2];
        let found: Vec<_> = records(&list, 100, Prefix::Bytes).collect();
        let record = |kind, offset, bytes| Ok(Record { kind, offset, bytes });
        assert_eq!(
            found,
            [record(1, 100, &list[..3]), record(7, 103, &list[3..5]), Err(TableError::Record(105))]
        );
        let words = [0, 1, 5, 0, 42];
        let found: Vec<_> = records(&words, 0, Prefix::Words).collect();
        assert_eq!(found, [record(256, 0, &words[..])]);
    }

    proptest! {
        /// Every byte is in one structure, or behind an error that ends the list.
        #[test]
        fn lists_are_divided_without_gap(list in prop::collection::vec(0u8..20, 0..80), words: bool) {
            let prefix = if words { Prefix::Words } else { Prefix::Bytes };
            let mut at = 0;
            let mut failed = false;
            for found in records(&list, 0, prefix) {
                prop_assert!(!failed);
                match found {
                    Ok(record) => {
                        prop_assert_eq!(record.offset as usize, at);
                        prop_assert!(record.bytes.len() >= 2);
                        at += record.bytes.len();
                    }
                    Err(error) => {
                        prop_assert_eq!(error, TableError::Record(u32::try_from(at).expect("small")));
                        failed = true;
                    }
                }
            }
            prop_assert!(failed || at == list.len());
        }
    }
}
