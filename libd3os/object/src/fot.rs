//! The Foreign Object Table: which other objects the pointers of an object lead to.
//!
//! A pointer has room for 24 bits that say which object; the table says what they mean, once for all
//! pointers to one object. An entry is a line; entry *n*, from 1, lies *n* lines before the end that the
//! state tells, so that the table grows downwards, page by page, towards the heap.
//!
//! | word | what |
//! |---|---|
//! | 0 | kind (8 bits: 0 free, 1 object, 2 name), rights (8), length of the name (32, upper) |
//! | 1, 2 | the object's id; of a name, where its bytes are, and the least version of the names to resolve it by |
//! | 3 | of a free entry, the next free one |
//! | 7 | checksum, seeded with the place |
//!
//! An entry with a name is bound late: whoever follows a pointer through it asks what the name means by
//! then. What the answer was holds until the object is opened anew, so that a library object that is
//! replaced is seen at the next open and never in the middle of anything.

use core::fmt;

use alloc::string::String;
use alloc::vec::Vec;

use crate::editor::Editor;
use crate::heap::HeapError;
use crate::heap::line::{self, Bounds};
use crate::id::ObjectId;
use crate::layout::{self, PAGE_BYTES, STATE};
use crate::medium::{LINE_BYTES, Medium};
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

/// Behind the heap's lines.
const TABLE: u64 = STATE + 5 * LINE_BYTES as u64;

const ENTRIES_IN_PAGE: u32 = 64;

/// Pointers have room for no more.
const MAX_ENTRIES: u32 = (1 << 24) - 1;

/// The longest name.
pub const MAX_NAME_BYTES: u64 = 1024;

/// What an entry allows with the object that it names: no more than its reader may do anyway.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// To read it.
    pub const READ: Self = Self(1);
    /// To change it.
    pub const WRITE: Self = Self(2);
    /// To execute it.
    pub const EXECUTE: Self = Self(4);
    /// To delete it.
    pub const DELETE: Self = Self(8);
    /// To hand rights on.
    pub const GRANT: Self = Self(16);

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that both have.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of the others are among these.
    #[must_use]
    pub const fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The rights of these bits; unknown ones are none.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 31)
    }
}

/// What an entry leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This object.
    Object(ObjectId),
    /// What a name means when it is asked for.
    Name {
        /// The name.
        name: String,
        /// Names of an older version than this are not asked.
        version: u64,
    },
}

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it leads to.
    pub target: Target,
    /// What may be done there.
    pub rights: Rights,
}

/// An entry cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FotError {
    /// There is none of this number.
    Missing {
        /// The number.
        entry: u32,
    },
    /// It is damaged.
    Damaged {
        /// The number; 0 for what describes the table.
        entry: u32,
    },
    /// There is no room for more of them.
    Full,
    /// A name is too long.
    Name,
}

/// What describes the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Table {
    end: u64,
    /// Entries that were ever used.
    used: u32,
    pages: u32,
    /// The first free one among them; 0 for none.
    free: u32,
}

/// An entry as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stored {
    kind: u8,
    rights: u8,
    length: u32,
    target: [u64; 2],
    next: u32,
}

const FREE: u8 = 0;
const OBJECT: u8 = 1;
const NAME: u8 = 2;

/// The table of a new object; durable after the next fence.
pub(crate) fn format(medium: &impl Medium, size: u64) {
    let table = Table { end: size, used: 0, pages: 0, free: 0 };
    let line = line::sealed(table.words(), TABLE).map(u64::to_le_bytes);
    medium.store(layout::place(TABLE), line.as_flattened());
    medium.flush(layout::place(TABLE));
}

/// What an entry says.
///
/// # Errors
/// There is none of this number, or it is damaged.
pub fn entry(view: &impl View, entry: u32) -> Result<Entry, FotError> {
    let stored = Table::load(view)?.stored(view, entry)?;
    let rights = Rights::from_bits(stored.rights);
    let target = match stored.kind {
        FREE => return Err(FotError::Missing { entry }),
        OBJECT => Target::Object(ObjectId::from_words(stored.target)),
        NAME => stored.name(view, entry)?,
        _ => return Err(FotError::Damaged { entry }),
    };
    Ok(Entry { target, rights })
}

/// All entries that are in use.
///
/// # Errors
/// The first that is damaged.
pub fn entries(view: &impl View) -> Result<Vec<(u32, Entry)>, FotError> {
    let mut found = Vec::new();
    for number in 1..=Table::load(view)?.used {
        match entry(view, number) {
            Ok(entry) => found.push((number, entry)),
            Err(FotError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

impl<T> Editor<'_, T> {
    /// Makes an entry that leads to an object, and returns its number.
    ///
    /// # Errors
    /// There is no room, or the table is damaged.
    pub fn link(&mut self, to: ObjectId, rights: Rights) -> Result<u32, TxError> {
        let stored =
            Stored { kind: OBJECT, rights: rights.bits(), target: to.words(), ..Stored::default() };
        self.add(stored)
    }

    /// Makes an entry that leads to what a name will mean, to be resolved by names of this version or a
    /// later one.
    ///
    /// # Errors
    /// There is no room, the name is too long, or the table is damaged.
    pub fn link_name(&mut self, name: &str, rights: Rights, version: u64) -> Result<u32, TxError> {
        let length = name.len() as u64;
        if length > MAX_NAME_BYTES {
            return Err(FotError::Name.into());
        }
        let bytes = self.alloc_bytes(length, 1)?;
        self.modify_slice(bytes, name.len())?.copy_from_slice(name.as_bytes());
        let length = u32::try_from(length).map_err(|_| FotError::Name)?;
        let target = [bytes.bits(), version];
        self.add(Stored { kind: NAME, rights: rights.bits(), length, target, next: 0 })
    }

    /// Ends an entry. No pointer may use it any more: one that does is [`FotError::Missing`], until the
    /// number is used again.
    ///
    /// # Errors
    /// There is none of this number, or it is damaged.
    pub fn unlink(&mut self, entry: u32) -> Result<(), TxError> {
        let table = Table::load(self)?;
        let stored = table.stored(self, entry)?;
        match stored.kind {
            FREE => return Err(FotError::Missing { entry }.into()),
            NAME => self.free(PPtr::<u8>::from_bits(stored.target[0]))?,
            _ => {}
        }
        table.store_entry(self, entry, Stored { next: table.free, ..Stored::default() })?;
        Ok(Table { free: entry, ..table }.store(self)?)
    }

    /// Takes possession of the pages that the object has got since: its medium has grown.
    ///
    /// # Errors
    /// The object's state is damaged.
    pub fn grow(&mut self) -> Result<(), TxError> {
        let table = Table::load(self)?;
        let grown = Table { end: self.bytes(), ..table };
        if grown.end <= table.end {
            return Ok(());
        }
        for number in 1..=table.used {
            let stored = table.stored(self, number)?;
            grown.store_entry(self, number, stored)?;
        }
        grown.store(self)?;
        let bounds = Bounds::load(self)?;
        let limit = page(grown.end)?.checked_sub(table.pages);
        let limit = limit.ok_or(FotError::Damaged { entry: 0 })?;
        Ok(Bounds { limit, ..bounds }.store(self)?)
    }

    fn add(&mut self, stored: Stored) -> Result<u32, TxError> {
        let table = Table::load(self)?;
        if table.free != 0 {
            let number = table.free;
            let free = table.stored(self, number)?.next;
            table.store_entry(self, number, stored)?;
            Table { free, ..table }.store(self)?;
            return Ok(number);
        }
        if table.used == MAX_ENTRIES {
            return Err(FotError::Full.into());
        }
        let pages = table.used / ENTRIES_IN_PAGE + 1;
        if pages > table.pages {
            self.take_page()?;
        }
        let number = table.used + 1;
        table.store_entry(self, number, stored)?;
        Table { used: number, pages: pages.max(table.pages), ..table }.store(self)?;
        Ok(number)
    }

    /// The heap's last page that was never used becomes the table's.
    fn take_page(&mut self) -> Result<(), TxError> {
        let bounds = Bounds::load(self)?;
        if bounds.end >= bounds.limit {
            return Err(HeapError::Full { bytes: PAGE_BYTES }.into());
        }
        Ok(Bounds { limit: bounds.limit - 1, ..bounds }.store(self)?)
    }
}

/// Where an object ends by what it says itself, guard page included: it may have pages behind that which it
/// has not taken possession of.
///
/// # Errors
/// Its state is damaged.
pub fn end(view: &impl View) -> Result<u64, FotError> {
    Ok(Table::load(view)?.end)
}

impl Table {
    fn words(self) -> [u64; 7] {
        let Self { end, used, pages, free } = self;
        [end, line::pair(used, pages), u64::from(free), 0, 0, 0, 0]
    }

    fn load(view: &impl View) -> Result<Self, FotError> {
        let words = line::load(view, TABLE).map_err(|_| FotError::Damaged { entry: 0 })?;
        let ([used, pages], [free, _]) = (line::halves(words[1]), line::halves(words[2]));
        let table = Self { end: words[0], used, pages, free };
        let fits = used <= MAX_ENTRIES && free <= used && words[0].is_multiple_of(PAGE_BYTES);
        if fits { Ok(table) } else { Err(FotError::Damaged { entry: 0 }) }
    }

    fn store<T>(self, editor: &mut Editor<'_, T>) -> Result<(), HeapError> {
        line::store(editor, TABLE, line::sealed(self.words(), TABLE))
    }

    fn offset(&self, entry: u32) -> Option<u64> {
        let from_end = u64::from(entry) * LINE_BYTES as u64;
        self.end.checked_sub(from_end).filter(|_| (1..=self.used + 1).contains(&entry))
    }

    fn stored(&self, view: &impl View, entry: u32) -> Result<Stored, FotError> {
        let offset = self.offset(entry).filter(|_| entry <= self.used);
        let offset = offset.ok_or(FotError::Missing { entry })?;
        let words = line::load(view, offset).map_err(|_| FotError::Damaged { entry })?;
        let [kind, rights, ..] = words[0].to_le_bytes();
        let (length, next) = (line::halves(words[0])[1], line::halves(words[3])[0]);
        Ok(Stored { kind, rights, length, target: [words[1], words[2]], next })
    }

    fn store_entry<T>(
        self,
        editor: &mut Editor<'_, T>,
        entry: u32,
        stored: Stored,
    ) -> Result<(), TxError> {
        let offset = self.offset(entry).ok_or(FotError::Missing { entry })?;
        let Stored { kind, rights, length, target: [first, second], next } = stored;
        let head = u64::from(kind) | u64::from(rights) << 8 | u64::from(length) << 32;
        let words = [head, first, second, u64::from(next), 0, 0, 0];
        Ok(line::store(editor, offset, line::sealed(words, offset))?)
    }
}

impl Stored {
    fn name(&self, view: &impl View, entry: u32) -> Result<Target, FotError> {
        let damaged = FotError::Damaged { entry };
        let [at, version] = self.target;
        let length = Some(u64::from(self.length)).filter(|length| *length <= MAX_NAME_BYTES);
        let bytes = view.slice::<u8>(PPtr::from_bits(at), length.ok_or(damaged)?);
        let bytes = bytes.map_err(|_: PointerError| damaged)?;
        let name = core::str::from_utf8(bytes).map_err(|_| damaged)?;
        Ok(Target::Name { name: String::from(name), version })
    }
}

fn page(offset: u64) -> Result<u32, FotError> {
    u32::try_from(offset / PAGE_BYTES).map_err(|_| FotError::Damaged { entry: 0 })
}

impl fmt::Debug for Rights {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = ["r", "w", "x", "d", "g"].iter().enumerate();
        let mut has = letters.filter(|(bit, _)| self.0 & 1 << bit != 0);
        has.try_for_each(|(_, letter)| to.write_str(letter))
    }
}

impl fmt::Display for FotError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { entry } => write!(to, "there is no entry {entry} for another object"),
            Self::Damaged { entry: 0 } => to.write_str("the table of other objects is damaged"),
            Self::Damaged { entry } => write!(to, "entry {entry} for another object is damaged"),
            Self::Full => to.write_str("there is no room for more entries for other objects"),
            Self::Name => to.write_str("the name is too long"),
        }
    }
}

impl core::error::Error for FotError {}

impl From<FotError> for TxError {
    fn from(error: FotError) -> Self {
        Self::Fot(error)
    }
}
