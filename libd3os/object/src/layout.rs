//! Where things lie in an object: version 1.
//!
//! Offsets count from the guard page, so that small numbers, the null pointer among them, are never
//! inside. The guard page is not mapped and not stored: an object's medium begins at [`HEADER`].
//!
//! | offset | bytes | what | written |
//! |---|---|---|---|
//! | 0x0000 | 0x1000 | guard page | never |
//! | 0x1000 | 64 | identity: magic with the layout's version, id, fingerprint of the base's type, length and checksum of its description, checksum | once |
//! | 0x1040 | 64 | settled, twice 16 bytes: a version up to which everything is durable in place, checksum | by turns, when settling |
//! | 0x1100 | 0x700 | [description](crate::persist::Description) of the base's type, if there is room for it | once |
//! | 0x1800 | 0x800 | state: heap and Foreign Object Table, in lines of seven words and a checksum | through the log |
//! | 0x2000 | | pages of the heap, the base in the first of them | through the log |
//! | …end | | Foreign Object Table, growing downwards from the end that the state tells | through the log |
//!
//! All numbers are little-endian. What is written through the log is found whole after a loss of
//! power; the identity is written before anybody knows of the object.

use core::fmt;
use core::ops::Range;

use crate::checksum;
use crate::id::ObjectId;
use crate::medium::{LINE_BYTES, Medium, WORD_BYTES};
use crate::persist::{Description, Fingerprint, Persist};

/// A page, the unit of an object's size and of its heap.
pub const PAGE_BYTES: u64 = 4096;

/// Where the header begins, and with it an object's medium.
pub const HEADER: u64 = PAGE_BYTES;

/// The largest object.
pub const MAX_BYTES: u64 = 64 << 30;

/// The smallest object: guard, header, two pages of heap.
pub const MIN_BYTES: u64 = 4 * PAGE_BYTES;

const MAGIC: u64 = u64::from_le_bytes(*b"D3OSobj\x01");
const SETTLED: u64 = 0x1040;
const DESCRIPTION: Range<u64> = 0x1100..0x1800;

/// Where the state begins: the first byte that records of a log may concern.
pub(crate) const STATE: u64 = 0x1800;

/// Where the pages of the heap begin, which are all that an object's user has put there.
pub const PAGES: u64 = 0x2000;

/// The longest description that is kept.
const ROOM: u64 = DESCRIPTION.end - DESCRIPTION.start;

/// Seeds of checksums.
const IDENTITY_SEED: u64 = 0x6964_656e_7469_7479;
const SETTLED_SEED: u64 = 0x0073_6574_746c_6564;

/// What an object says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub id: ObjectId,
    /// The fingerprint of its base's type.
    pub fingerprint: Fingerprint,
    description_bytes: u32,
    description_checksum: u32,
}

/// An object cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// Its size is not one that an object can have.
    Size {
        /// It has so many bytes, the guard page included.
        bytes: u64,
    },
    /// It is none, or of a layout that this library does not know.
    Magic,
    /// Its identity is damaged.
    Identity,
    /// What it says of its settled version is damaged.
    Settled,
    /// The description of its type is damaged.
    Description,
}

/// The size of the object on this medium, guard page included.
///
/// # Errors
/// No object has this size.
pub fn size(medium: &impl Medium) -> Result<u64, LayoutError> {
    let bytes = medium.bytes() as u64 + HEADER;
    let fits = (MIN_BYTES..=MAX_BYTES).contains(&bytes) && bytes.is_multiple_of(PAGE_BYTES);
    if fits { Ok(bytes) } else { Err(LayoutError::Size { bytes }) }
}

/// Writes what is written once, settles version 0, and tells the object's size; durable after the next fence. The medium must
/// be all zeros; whoever makes the object known does so afterwards.
///
/// # Errors
/// The medium has no size for an object.
pub fn format<T: Persist>(medium: &impl Medium, id: ObjectId) -> Result<u64, LayoutError> {
    format_as(medium, id, &Description::of::<T>())
}

/// As [`format`], for a base of the type that is described.
pub(crate) fn format_as(
    medium: &impl Medium,
    id: ObjectId,
    description: &Description,
) -> Result<u64, LayoutError> {
    let size = size(medium)?;
    let kept = description.encode();
    let kept = if kept.len() as u64 <= ROOM { &*kept } else { &[] };
    let identity = Identity {
        id,
        fingerprint: description.fingerprint(),
        description_bytes: short(kept.len() as u64),
        description_checksum: short(checksum::of(kept, IDENTITY_SEED)),
    };
    store(medium, DESCRIPTION.start, kept);
    identity.store(medium);
    settle(medium, 0);
    Ok(size)
}

impl Identity {
    fn words(self) -> [u64; 6] {
        let [low, high] = self.id.words();
        let description =
            u64::from(self.description_bytes) | u64::from(self.description_checksum) << 32;
        [MAGIC, low, high, self.fingerprint.0, description, 0]
    }

    fn store(self, medium: &impl Medium) {
        let words = self.words();
        let checksum = checksum::of_words(words, IDENTITY_SEED);
        let bytes = words.map(u64::to_le_bytes);
        store(medium, HEADER, bytes.as_flattened());
        store(medium, HEADER + 48, &checksum.to_le_bytes());
    }

    /// Reads what an object says of itself.
    ///
    /// # Errors
    /// It is none, or damaged.
    pub fn read(medium: &impl Medium) -> Result<Self, LayoutError> {
        size(medium)?;
        let words: [u64; 7] = core::array::from_fn(|at| medium.load_word(at * WORD_BYTES));
        let [magic, low, high, fingerprint, description, reserved, checksum] = words;
        if magic != MAGIC {
            return Err(LayoutError::Magic);
        }
        let covered = [magic, low, high, fingerprint, description, reserved];
        if checksum != checksum::of_words(covered, IDENTITY_SEED) {
            return Err(LayoutError::Identity);
        }
        Ok(Self {
            id: ObjectId::from_words([low, high]),
            fingerprint: Fingerprint(fingerprint),
            description_bytes: short(description),
            description_checksum: short(description >> 32),
        })
    }

    /// Gives the object on this medium, which nobody has mapped, another name: for a copy, which is an object
    /// of its own. Durable after the next fence.
    ///
    /// # Errors
    /// There is no object, or it is damaged.
    pub fn rename(medium: &impl Medium, id: ObjectId) -> Result<(), LayoutError> {
        Self { id, ..Self::read(medium)? }.store(medium);
        Ok(())
    }

    /// Reads what the base's type consists of, for tools and for messages; nothing if it was too long
    /// to be kept.
    ///
    /// # Errors
    /// It is damaged.
    pub fn description(self, medium: &impl Medium) -> Result<Option<Description>, LayoutError> {
        let length = u64::from(self.description_bytes);
        if length == 0 {
            return Ok(None);
        }
        if length > ROOM {
            return Err(LayoutError::Description);
        }
        let mut bytes = alloc::vec![0; self.description_bytes as usize];
        medium.read(place(DESCRIPTION.start), &mut bytes);
        let right = short(checksum::of(&bytes, IDENTITY_SEED)) == self.description_checksum;
        let description = Description::decode(&bytes).ok();
        let found = description.filter(|found| right && found.fingerprint() == self.fingerprint);
        found.map(Some).ok_or(LayoutError::Description)
    }
}

/// Says that everything up to this version is durable in place, which it must be; to be relied upon
/// after the next fence. Only for whoever holds the object's lock.
pub(crate) fn settle(medium: &impl Medium, version: u64) {
    let turns = turns(medium);
    // The one that says less, or nothing, is written.
    let at = if turns[0] <= turns[1] { SETTLED } else { SETTLED + 16 };
    medium.store_word(place(at), version);
    medium.store_word(place(at + 8), checksum::of_words([version], SETTLED_SEED));
    medium.flush(place(at));
}

/// Up to which version everything is durable in place.
///
/// # Errors
/// It is damaged: no turn can be read.
pub fn settled(medium: &impl Medium) -> Result<u64, LayoutError> {
    turns(medium).into_iter().flatten().max().ok_or(LayoutError::Settled)
}

fn turns(medium: &impl Medium) -> [Option<u64>; 2] {
    [SETTLED, SETTLED + 16].map(|at| {
        let [version, checksum] = [at, at + 8].map(|at| medium.load_word(place(at)));
        (checksum == checksum::of_words([version], SETTLED_SEED)).then_some(version)
    })
}

/// Where an offset is on the object's medium.
#[expect(clippy::cast_possible_truncation, reason = "64-bit addresses only")]
pub(crate) const fn place(offset: u64) -> usize {
    (offset - HEADER) as usize
}

fn store(medium: &impl Medium, offset: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        medium.store(place(offset), bytes);
        medium.flush_range(place(offset), bytes.len());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn short(word: u64) -> u32 {
    word as u32
}

const _: () = assert!(SETTLED.is_multiple_of(LINE_BYTES as u64));

impl fmt::Display for LayoutError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { bytes } => write!(to, "no object has {bytes} bytes"),
            Self::Magic => to.write_str("it is no object of a known layout"),
            Self::Identity => to.write_str("the object's identity is damaged"),
            Self::Settled => to.write_str("the object's settled version is damaged"),
            Self::Description => to.write_str("the description of the object's type is damaged"),
        }
    }
}

impl core::error::Error for LayoutError {}
