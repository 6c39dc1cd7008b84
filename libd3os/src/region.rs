//! Regions: the one way to say "this memory".
//!
//! A [`Region`] names a range of something that has an identity, and says what may be done with
//! it. It is a value: it fits in a message, it can be narrowed to a part or to fewer rights, and
//! never widened. Rings, drivers' buffers and messages between servers all name memory in this
//! way; what an id stands for (a piece of the shared pool today, an object later) is decided by
//! whoever resolves it, so a buffer in an object needs no other type.
//!
//! A region is no authority. Whoever is given one still needs a capability to map it, and whoever
//! maps it checks the rights; narrowing only keeps honest programs honest.

use core::fmt;
use core::ops::BitAnd;

use serde::{Deserialize, Serialize};

/// The identity of what a region is a range of, unique over all cores and nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegionId(pub u128);

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What may be done with memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Rights(u8);

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// It may be read.
    pub const READ: Self = Self(1);
    /// It may be written.
    pub const WRITE: Self = Self(2);
    /// It may be read and written.
    pub const READ_WRITE: Self = Self(3);

    /// Whether these rights include all of `others`.
    #[must_use]
    pub const fn contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitAnd for Rights {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl From<Rights> for u8 {
    fn from(rights: Rights) -> Self {
        rights.0
    }
}

impl TryFrom<u8> for Rights {
    type Error = RegionError;

    fn try_from(bits: u8) -> Result<Self, RegionError> {
        if bits & !Self::READ_WRITE.0 == 0 {
            Ok(Self(bits))
        } else {
            Err(RegionError::UnknownRights)
        }
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As in `rw`, `r-`, `--`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |right, letter| if self.contain(right) { letter } else { "-" };
        write!(f, "{}{}", letter(Self::READ, "r"), letter(Self::WRITE, "w"))
    }
}

/// Bytes from a first one on: at least one, and the last has an offset that 64 bits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    start: u64,
    length: u64,
}

impl ByteRange {
    /// `length` bytes from offset `start` on.
    ///
    /// # Errors
    /// [`RegionError::Empty`] for no bytes, [`RegionError::Overflow`] where the end is beyond 64
    /// bits.
    pub const fn new(start: u64, length: u64) -> Result<Self, RegionError> {
        if length == 0 {
            return Err(RegionError::Empty);
        }
        match start.checked_add(length) {
            Some(_) => Ok(Self { start, length }),
            None => Err(RegionError::Overflow),
        }
    }

    /// Offset of the first byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Number of bytes, not 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        self.length
    }

    /// Offset behind the last byte.
    #[must_use]
    pub const fn end(self) -> u64 {
        // `new` has checked that it does not overflow.
        self.start + self.length
    }

    /// The part of this range that `part`, counted from this range's start, stands for.
    ///
    /// # Errors
    /// [`RegionError::Outside`] where it reaches beyond this range.
    pub const fn part(self, part: Self) -> Result<Self, RegionError> {
        if part.end() > self.length {
            return Err(RegionError::Outside);
        }
        Ok(Self { start: self.start + part.start, length: part.length })
    }
}

impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.start, range.length)
    }
}

impl TryFrom<(u64, u64)> for ByteRange {
    type Error = RegionError;

    fn try_from((start, length): (u64, u64)) -> Result<Self, RegionError> {
        Self::new(start, length)
    }
}

/// A range of identified memory, and what may be done with it.
///
/// Decoding one from a message checks it as [`ByteRange::new`] and [`Rights`] do; whether the
/// range lies within what the id stands for, only the one who resolves the id knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Region {
    id: RegionId,
    range: ByteRange,
    rights: Rights,
}

impl Region {
    /// This range of `id`.
    #[must_use]
    pub const fn new(id: RegionId, range: ByteRange, rights: Rights) -> Self {
        Self { id, range, rights }
    }

    /// What it is a range of.
    #[must_use]
    pub const fn id(&self) -> RegionId {
        self.id
    }

    /// Which bytes of it.
    #[must_use]
    pub const fn range(&self) -> ByteRange {
        self.range
    }

    /// What may be done with them.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// A part of this region; `part` counts from the region's own start.
    ///
    /// # Errors
    /// [`RegionError::Outside`] where it reaches beyond this region.
    pub const fn part(&self, part: ByteRange) -> Result<Self, RegionError> {
        match self.range.part(part) {
            Ok(range) => Ok(Self { range, ..*self }),
            Err(error) => Err(error),
        }
    }

    /// The first `length` bytes, and the rest.
    ///
    /// # Errors
    /// [`RegionError::Empty`] where one of them would be, [`RegionError::Outside`] where there are
    /// fewer bytes.
    pub fn split_at(&self, length: u64) -> Result<(Self, Self), RegionError> {
        let rest = self.range.len().checked_sub(length).ok_or(RegionError::Outside)?;
        let first = self.part(ByteRange::new(0, length)?)?;
        Ok((first, self.part(ByteRange::new(length, rest)?)?))
    }

    /// The same bytes with no more than these rights.
    #[must_use]
    pub fn restricted(&self, rights: Rights) -> Self {
        Self { rights: self.rights & rights, ..*self }
    }

    /// The region itself, if it has these rights.
    ///
    /// # Errors
    /// [`RegionError::Denied`] where it lacks one of them.
    pub const fn allowing(&self, rights: Rights) -> Result<Self, RegionError> {
        if self.rights.contain(rights) { Ok(*self) } else { Err(RegionError::Denied) }
    }
}

/// As in `…id[0x1000..0x2000] rw`.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, range, rights } = self;
        write!(f, "{id}[{:#x}..{:#x}] {rights}", range.start(), range.end())
    }
}

/// A region that there cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// It would have no bytes.
    Empty,
    /// Its end would lie beyond 64 bits.
    Overflow,
    /// The part reaches beyond the whole.
    Outside,
    /// It does not begin where it must.
    Misaligned,
    /// The region does not give this right.
    Denied,
    /// There are no such rights.
    UnknownRights,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a region has at least one byte",
            Self::Overflow => "the region ends beyond 64 bits",
            Self::Outside => "the part reaches beyond the region",
            Self::Misaligned => "the region does not begin where it must",
            Self::Denied => "the region does not give this right",
            Self::UnknownRights => "there are no such rights",
        })
    }
}

impl core::error::Error for RegionError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn region(start: u64, length: u64) -> Region {
        let range = ByteRange::new(start, length).expect("a range");
        Region::new(RegionId(7), range, Rights::READ_WRITE)
    }

    #[test]
    fn impossible_ranges_are_refused() {
        assert_eq!(ByteRange::new(4, 0), Err(RegionError::Empty));
        assert_eq!(ByteRange::new(u64::MAX, 1), Err(RegionError::Overflow));
        assert_eq!(ByteRange::new(u64::MAX - 1, 1).map(ByteRange::end), Ok(u64::MAX));
    }

    #[test]
    fn parts_stay_inside_and_keep_identity() {
        let whole = region(0x1000, 0x2000);
        let (first, second) = whole.split_at(0x800).expect("it is larger");
        assert_eq!((first, second), (region(0x1000, 0x800), region(0x1800, 0x1800)));
        assert_eq!(whole.split_at(0), Err(RegionError::Empty));
        assert_eq!(whole.split_at(0x2000), Err(RegionError::Empty));
        assert_eq!(whole.split_at(0x2001), Err(RegionError::Outside));
        let beyond = ByteRange::new(0x1fff, 2).expect("a range");
        assert_eq!(whole.part(beyond), Err(RegionError::Outside));
    }

    #[test]
    fn rights_only_shrink() {
        let reader = region(0, 1).restricted(Rights::READ);
        assert_eq!(reader.restricted(Rights::READ_WRITE).rights(), Rights::READ);
        assert_eq!(reader.restricted(Rights::WRITE).rights(), Rights::NONE);
        assert_eq!(reader.allowing(Rights::READ), Ok(reader));
        assert_eq!(reader.allowing(Rights::READ_WRITE), Err(RegionError::Denied));
    }

    #[test]
    fn regions_are_shown_for_people() {
        let shown = region(0x1000, 0x1000).restricted(Rights::READ).to_string();
        assert_eq!(shown, "00000000000000000000000000000007[0x1000..0x2000] r-");
    }

    #[test]
    fn messages_cannot_carry_impossible_regions() {
        let bytes = |start: u64, length: u64, rights: u8| {
            postcard::to_allocvec(&(7u128, (start, length), rights)).expect("bytes")
        };
        let decode = |bytes: &[u8]| postcard::from_bytes::<Region>(bytes).ok();
        assert_eq!(decode(&bytes(1, 2, 3)), Some(region(1, 2)));
        assert_eq!(decode(&bytes(1, 0, 3)), None);
        assert_eq!(decode(&bytes(u64::MAX, 2, 3)), None);
        assert_eq!(decode(&bytes(1, 2, 4)), None);
    }

    proptest! {
        #[test]
        fn a_part_of_a_part_lies_in_the_whole(
            whole: (u64, u64), part: (u64, u64), inner: (u64, u64), rights in 0u8..4,
        ) {
            let range = |(start, length)| ByteRange::new(start, length);
            let (Ok(whole), Ok(part), Ok(inner)) = (range(whole), range(part), range(inner)) else {
                return Ok(());
            };
            let rights = Rights::try_from(rights).expect("known");
            let whole = Region::new(RegionId(1), whole, rights);
            if let Ok(innermost) = whole.part(part).and_then(|region| region.part(inner)) {
                prop_assert!(innermost.range().start() >= whole.range().start());
                prop_assert!(innermost.range().end() <= whole.range().end());
                prop_assert_eq!(innermost.rights(), rights);
                let bytes = postcard::to_allocvec(&innermost).expect("bytes");
                prop_assert_eq!(postcard::from_bytes(&bytes), Ok(innermost));
            }
        }
    }
}
