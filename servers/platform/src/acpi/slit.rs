//! SLIT: how far each node's memory is from each node (ACPI 6.5, section 5.2.17).

use alloc::vec::Vec;

use zerocopy::little_endian::U64;

use super::table::{self, HEADER_BYTES, TableError};

/// Most domains of a table: more than any machine has, and an end to what the table may claim.
const MOST_DOMAINS: u64 = 1024;
/// A domain's distance to itself.
const LOCAL: u8 = 10;

/// Relative distances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slit {
    domains: usize,
    distances: Vec<u8>,
}

impl Slit {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"SLIT";

    /// Reads it.
    ///
    /// # Errors
    /// [`TableError`]; also where a distance is less than one to itself, or a domain is not 10 away
    /// from itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (count, rest) = table::body::<U64>(bytes, &Self::SIGNATURE)?;
        let list = HEADER_BYTES + size_of::<U64>();
        let value = |at: usize| TableError::Value(u32::try_from(at).unwrap_or(u32::MAX));
        let count = Some(count.get()).filter(|count| *count <= MOST_DOMAINS);
        let domains = count.and_then(|count| usize::try_from(count).ok());
        let domains = domains.ok_or(value(HEADER_BYTES))?;
        let distances = rest
            .get(..domains * domains)
            .ok_or_else(|| TableError::TooShort(u32::try_from(bytes.len()).unwrap_or(u32::MAX)))?;
        let is_wrong = |(at, &distance): (usize, &u8)| {
            let is_own = at / domains == at % domains;
            distance < LOCAL || is_own && distance != LOCAL
        };
        match distances.iter().enumerate().position(is_wrong) {
            Some(at) => Err(value(list + at)),
            None => Ok(Self { domains, distances: distances.to_vec() }),
        }
    }

    /// How many domains it is about: numbers below this.
    #[must_use]
    pub fn domains(&self) -> u32 {
        u32::try_from(self.domains).unwrap_or(u32::MAX)
    }

    /// Distance from one domain to the memory of another: 10 is local, 255 unreachable.
    #[must_use]
    pub fn distance(&self, from: u32, to: u32) -> Option<u8> {
        let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
        let inside = from < self.domains && to < self.domains;
        inside.then(|| self.distances.get(from * self.domains + to).copied()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Machine, mutated, sealed};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_real_one_is_read() {
        let slit = Slit::parse(&Machine::q35().table(b"SLIT")).expect("sound");
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(from, to)| slit.distance(from, to));
        assert_eq!(all, [Some(10), Some(21), Some(21), Some(10)]);
        assert_eq!((slit.distance(0, 2), slit.distance(2, 0)), (None, None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let parse = |count: u64, distances: &[u8]| {
            Slit::parse(&sealed(b"SLIT", &[&count.to_le_bytes(), distances].concat()))
        };
        assert_eq!(parse(2, &[10, 20, 20]), Err(TableError::TooShort(47)));
        assert_eq!(parse(u64::MAX, &[]), Err(TableError::Value(36)));
        assert_eq!(parse(2, &[10, 9, 20, 10]), Err(TableError::Value(45)));
        assert_eq!(parse(2, &[10, 20, 20, 11]), Err(TableError::Value(47)));
        assert_eq!(parse(0, &[]), Ok(Slit::default()));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(Machine::q35().table(b"SLIT")), from in 0u32..4, to in 0u32..4) {
            if let Ok(slit) = Slit::parse(&table) {
                prop_assert!(slit.distance(from, to).is_none_or(|distance| distance >= LOCAL));
            }
        }
    }
}
