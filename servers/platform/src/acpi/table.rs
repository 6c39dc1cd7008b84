//! What every table has: a header, a length, a checksum (ACPI 6.5, section 5.2.6).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::memory::PhysicalMemory;

/// Bytes of the header.
pub const HEADER_BYTES: usize = size_of::<Header>();
/// Longest table that is read. The longest known, DSDTs of large servers, have a third of it.
pub const LONGEST: u32 = 4 << 20;

/// The header.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Which table.
    pub signature: [u8; 4],
    /// Bytes, these included.
    pub length: U32,
    /// Revision of the table's layout.
    pub revision: u8,
    /// Makes the sum of all bytes zero.
    pub checksum: u8,
    /// Who made the table.
    pub oem: [u8; 6],
    /// Which of the maker's tables.
    pub oem_table: [u8; 8],
    /// Revision of the maker's.
    pub oem_revision: U32,
    /// Tool that made it.
    pub creator: [u8; 4],
    /// Revision of the tool.
    pub creator_revision: U32,
}

/// Why a table is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// Its memory cannot be read.
    Unreadable,
    /// It says that it has so many bytes, which is fewer than its layout needs.
    TooShort(u32),
    /// It says that it has so many bytes, which no such table has.
    TooLong(u32),
    /// There is no room for it beside the other tables.
    NoRoom,
    /// The sum of its bytes is not zero.
    Checksum,
    /// It is another table than it should be.
    Signature,
    /// The structure at this offset has an impossible length, or ends outside the table.
    Record(u32),
    /// The structure at this offset contradicts the specification.
    Value(u32),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("its memory cannot be read"),
            Self::TooShort(length) => write!(f, "with {length} bytes it is too short"),
            Self::TooLong(length) => write!(f, "with {length} bytes it is too long"),
            Self::NoRoom => f.write_str("there is no room for it beside the other tables"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Signature => f.write_str("it is another table than it should be"),
            Self::Record(at) => write!(f, "the structure at byte {at} has an impossible length"),
            Self::Value(at) => write!(f, "the structure at byte {at} makes no sense"),
        }
    }
}

impl core::error::Error for TableError {}

/// Reads the header at `address`.
///
/// # Errors
/// [`TableError::Unreadable`].
pub fn header(memory: &(impl PhysicalMemory + ?Sized), address: u64) -> Result<Header, TableError> {
    let mut bytes = [0; HEADER_BYTES];
    memory.read(address, &mut bytes).map_err(|_| TableError::Unreadable)?;
    Header::read_from_bytes(&bytes).map_err(|_| TableError::Unreadable)
}

/// Reads the whole table whose header is `header`, if it has no more than `room` bytes, and checks its
/// length and sum.
///
/// # Errors
/// [`TableError`]; a length that nobody checks first would be an allocation of the firmware's
/// choice.
pub fn contents(
    memory: &(impl PhysicalMemory + ?Sized),
    address: u64,
    header: &Header,
    room: usize,
) -> Result<Vec<u8>, TableError> {
    let length = header.length.get();
    if length > LONGEST {
        return Err(TableError::TooLong(length));
    }
    let size = usize::try_from(length).map_err(|_| TableError::TooLong(length))?;
    if size < HEADER_BYTES {
        return Err(TableError::TooShort(length));
    }
    if size > room {
        return Err(TableError::NoRoom);
    }
    let mut bytes = alloc::vec![0; size];
    memory.read(address, &mut bytes).map_err(|_| TableError::Unreadable)?;
    if sum(&bytes) != 0 {
        return Err(TableError::Checksum);
    }
    Ok(bytes)
}

/// The four letters of a table, with dots for what is no letter.
#[must_use]
pub fn name(signature: [u8; 4]) -> String {
    let shown = |byte: u8| if byte.is_ascii_graphic() { char::from(byte) } else { '.' };
    signature.into_iter().map(shown).collect()
}

/// The sum that is zero for sound bytes.
#[must_use]
pub fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// What follows the header of a table, which must be one of this signature and hold a `T` there.
///
/// # Errors
/// [`TableError::Signature`], [`TableError::TooShort`].
pub fn body<'a, T>(table: &'a [u8], signature: &[u8; 4]) -> Result<(&'a T, &'a [u8]), TableError>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    if !table.starts_with(signature) {
        return Err(TableError::Signature);
    }
    let too_short = || TableError::TooShort(u32::try_from(table.len()).unwrap_or(u32::MAX));
    let rest = table.get(HEADER_BYTES..).ok_or_else(too_short)?;
    T::ref_from_prefix(rest).map_err(|_| too_short())
}
