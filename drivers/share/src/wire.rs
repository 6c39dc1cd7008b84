//! The bytes of 9P2000.L: requests are written, answers are read and believed nothing.
//!
//! Every message begins with its size, four bytes, its kind, one, and its tag, two. Numbers are
//! little-endian; a text is its length, two bytes, and that many bytes.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use libd3os::service::share::{Errno, FileKind, FileStatus};

/// The variant of the protocol that is spoken.
pub const VERSION: &str = "9P2000.L";
/// Bytes of a message's size, kind and tag.
pub const HEADER: usize = 7;
/// Bytes of an answer that bytes of a file follow, and of a refusal.
pub const READ_HEADER: usize = HEADER + 4;
/// Bytes of a message that are not a file's, at most: what is left of the longest one is.
pub const WRITE_HEADER: u32 = 24;
/// The longest answer to what is asked here, the entries of a directory and bytes of files aside.
pub const ANSWER_MOST: usize = 256;
/// Names that one walk may have.
pub const WALK_MOST: usize = 16;
/// The tag of a version request.
pub const NO_TAG: u16 = u16::MAX;
/// No file is meant, nobody, or no change.
const NOBODY: u32 = u32::MAX;
/// What of a file's status is asked for: kind, size, time of its last change.
const STATUS_MASK: u64 = 0x1 | 0x20 | 0x200;
/// The kind of an answer that is a refusal.
const REFUSED: u8 = 7;
/// Bytes of a file's identity.
const QID: usize = 13;

/// A file that the host knows under this number.
pub type Fid = u32;

/// How a file is opened, in Linux's numbers.
pub mod open {
    /// To read.
    pub const READ: u32 = 0;
    /// To write.
    pub const WRITE: u32 = 1;
    /// Emptied.
    pub const TRUNCATE: u32 = 0o1000;
    /// Only if it is made by this.
    pub const EXCLUSIVE: u32 = 0o200;
}

/// To remove a directory, in Linux's numbers.
pub const REMOVE_DIRECTORY: u32 = 0x200;

/// What is asked of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Begins a session with messages of so many bytes at most; ends whatever was before.
    Version(u32),
    /// The shared directory becomes this.
    Attach(Fid),
    /// What these names lead to from `from` becomes `to`.
    Walk {
        /// Where it begins.
        from: Fid,
        /// Where it ends.
        to: Fid,
        /// [`WALK_MOST`] at most.
        names: &'a [&'a str],
    },
    /// Opens it.
    Open(Fid, u32),
    /// Makes a file in a directory, and that becomes the open file.
    Create(Fid, &'a str, u32),
    /// What it is.
    Status(Fid),
    /// Entries of a directory, from here on, in so many bytes at most.
    Entries(Fid, u64, u32),
    /// Bytes from an offset on.
    Read(Fid, u64, u32),
    /// So many bytes are written at an offset: these, and others that the device finds elsewhere.
    Write(Fid, u64, u32, &'a [u8]),
    /// Waits for the medium.
    Sync(Fid),
    /// Makes a directory in a directory.
    MakeDirectory(Fid, &'a str),
    /// Removes from a directory.
    Unlink(Fid, &'a str, u32),
    /// The number means nothing any more.
    Clunk(Fid),
}

impl Request<'_> {
    /// Its number in the protocol; that of its answer is one more.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Open(..) => 12,
            Self::Create(..) => 14,
            Self::Status(_) => 24,
            Self::Entries(..) => 40,
            Self::Sync(_) => 50,
            Self::MakeDirectory(..) => 72,
            Self::Unlink(..) => 76,
            Self::Version(_) => 100,
            Self::Attach(_) => 104,
            Self::Walk { .. } => 110,
            Self::Read(..) => 116,
            Self::Write(..) => 118,
            Self::Clunk(_) => 120,
        }
    }

    /// The message. Of one that writes, the bytes that lie elsewhere follow it.
    #[must_use]
    pub fn encode(&self, tag: u16) -> Vec<u8> {
        let message = Writer(alloc::vec![0; 4]).u8(self.kind()).u16(tag);
        let (message, elsewhere) = match *self {
            Self::Version(most) => (message.u32(most).text(VERSION), 0),
            Self::Attach(root) => (message.u32(root).u32(NOBODY).text("").text("").u32(NOBODY), 0),
            Self::Walk { from, to, names } => (message.u32(from).u32(to).texts(names), 0),
            Self::Open(file, how) => (message.u32(file).u32(how), 0),
            Self::Create(parent, name, how) => {
                (message.u32(parent).text(name).u32(how).u32(0o644).u32(NOBODY), 0)
            }
            Self::Status(file) => (message.u32(file).u64(STATUS_MASK), 0),
            Self::Entries(file, from, bytes) | Self::Read(file, from, bytes) => {
                (message.u32(file).u64(from).u32(bytes), 0)
            }
            Self::Write(file, at, bytes, here) => {
                (message.u32(file).u64(at).u32(bytes).bytes(here), bytes as usize - here.len())
            }
            Self::Sync(file) => (message.u32(file).u32(0), 0),
            Self::MakeDirectory(parent, name) => {
                (message.u32(parent).text(name).u32(0o755).u32(NOBODY), 0)
            }
            Self::Unlink(parent, name, how) => (message.u32(parent).text(name).u32(how), 0),
            Self::Clunk(file) => (message.u32(file), 0),
        };
        message.finish(elsewhere)
    }
}

/// A message that is being written.
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A text; paths are far shorter than what a length can say.
    fn text(self, text: &str) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.u16(length).bytes(&text.as_bytes()[..length.into()])
    }

    fn texts(self, texts: &[&str]) -> Self {
        let texts = &texts[..texts.len().min(WALK_MOST)];
        let count = u16::try_from(texts.len()).unwrap_or(0);
        texts.iter().fold(self.u16(count), |message, text| message.text(text))
    }

    /// The message with its size, which counts what lies elsewhere.
    fn finish(mut self, elsewhere: usize) -> Vec<u8> {
        let size = u32::try_from(self.0.len() + elsewhere).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&size.to_le_bytes());
        self.0
    }
}

/// An answer is not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Its size is not what came.
    Size,
    /// It answers something that was not asked.
    Tag,
    /// It answers in the wrong way.
    Kind,
    /// It ends too early, or too late.
    Length,
    /// More came than was asked for, or nothing although something has to.
    Count,
    /// A name that no file can have.
    Name,
    /// It speaks another variant of the protocol, or messages are too short.
    Version,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "an answer's size is wrong",
            Self::Tag => "an answer to something that was not asked",
            Self::Kind => "an answer of the wrong kind",
            Self::Length => "an answer of the wrong length",
            Self::Count => "an answer with more than was asked for, or with nothing",
            Self::Name => "a name that no file can have",
            Self::Version => "the host does not speak 9P2000.L",
        })
    }
}

/// Why an answer is not the one that was hoped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The host refuses.
    Host(Errno),
    /// The answer is none.
    Malformed(Malformed),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What follows the header of the answer to a request of this kind and tag. `size` is how many bytes
/// came; `message` is as many of them as were read.
///
/// # Errors
/// [`Refusal`].
pub fn body(message: &[u8], size: u32, kind: u8, tag: u16) -> Result<&[u8], Refusal> {
    let mut reader = Reader(message);
    if reader.u32()? != size {
        return Err(Malformed::Size.into());
    }
    let (answers, to) = (reader.u8()?, reader.u16()?);
    if to != tag {
        return Err(Malformed::Tag.into());
    }
    match answers {
        REFUSED => {
            let errno = Errno(reader.u32()?);
            reader.end()?;
            Err(Refusal::Host(errno))
        }
        answers if answers == kind + 1 => Ok(reader.0),
        _ => Err(Malformed::Kind.into()),
    }
}

/// An answer that says nothing.
///
/// # Errors
/// [`Malformed::Length`].
pub fn nothing(body: &[u8]) -> Result<(), Malformed> {
    Reader(body).end()
}

/// Bytes of the longest message, of the answer to [`Request::Version`].
///
/// # Errors
/// [`Malformed`].
pub fn version(body: &[u8]) -> Result<u32, Malformed> {
    let mut reader = Reader(body);
    let (most, version) = (reader.u32()?, reader.text()?);
    reader.end()?;
    if version == VERSION.as_bytes() { Ok(most) } else { Err(Malformed::Version) }
}

/// What a file is, of the answers that are its identity and `rest` bytes.
///
/// # Errors
/// [`Malformed::Length`].
pub fn identity(body: &[u8], rest: usize) -> Result<Identity, Malformed> {
    let mut reader = Reader(body);
    let identity = reader.identity()?;
    reader.bytes(rest)?;
    reader.end()?;
    Ok(identity)
}

/// What lies on the way, of the answer to [`Request::Walk`] with so many names. There are fewer where
/// it did not get to the end.
///
/// # Errors
/// [`Malformed`].
pub fn walked(body: &[u8], names: usize) -> Result<Vec<Identity>, Malformed> {
    let mut reader = Reader(body);
    let count = usize::from(reader.u16()?);
    if count > names {
        return Err(Malformed::Count);
    }
    let found = (0..count).map(|_| reader.identity()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(found)
}

/// The answer to [`Request::Status`].
///
/// # Errors
/// [`Malformed::Length`].
pub fn status(body: &[u8]) -> Result<FileStatus, Malformed> {
    let mut reader = Reader(body);
    reader.bytes(8 + QID)?;
    let mode = reader.u32()?;
    reader.bytes(4 + 4 + 8 + 8)?;
    let bytes = reader.u64()?;
    reader.bytes(8 + 8 + 16)?;
    let modified = reader.u64()?;
    reader.bytes(8 + 16 + 16 + 16)?;
    reader.end()?;
    Ok(FileStatus { kind: kind_of(mode), bytes, modified })
}

/// The kind in a file's mode, in Linux's numbers.
const fn kind_of(mode: u32) -> FileKind {
    match mode & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Link,
        _ => FileKind::Other,
    }
}

/// How many bytes follow or were taken, `most` at most.
///
/// # Errors
/// [`Malformed`].
pub fn count(body: &[u8], most: u32) -> Result<u32, Malformed> {
    let mut reader = Reader(body);
    let count = reader.u32()?;
    reader.end()?;
    if count <= most { Ok(count) } else { Err(Malformed::Count) }
}

/// The bytes that were asked for, `most` at most.
///
/// # Errors
/// [`Malformed`].
pub fn data(body: &[u8], most: u32) -> Result<&[u8], Malformed> {
    let mut reader = Reader(body);
    let count = reader.u32()?;
    match count as usize == reader.0.len() {
        true if count <= most => Ok(reader.0),
        true => Err(Malformed::Count),
        false => Err(Malformed::Length),
    }
}

/// What the host tells of a file without being asked: whether it is a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    kind: u8,
}

impl Identity {
    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(self) -> bool {
        self.kind & 0x80 != 0
    }
}

/// A file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name; `None` where it is no text, and cannot be asked for.
    pub name: Option<String>,
    /// The name as it can be shown.
    pub shown: String,
    /// Where the next entry begins, as the host says it.
    pub next: u64,
}

/// The entries in the answer to [`Request::Entries`], the directory itself and its parent left out; and
/// where it goes on behind them, `None` where there is nothing.
///
/// # Errors
/// [`Malformed`].
pub fn entries(data: &[u8]) -> Result<(Vec<DirectoryEntry>, Option<u64>), Malformed> {
    let (mut reader, mut entries, mut next) = (Reader(data), Vec::new(), None);
    while !reader.0.is_empty() {
        reader.identity()?;
        let offset = reader.u64()?;
        reader.u8()?;
        let name = reader.text()?;
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return Err(Malformed::Name);
        }
        next = Some(offset);
        if !matches!(name, b"." | b"..") {
            entries.push(entry(name, offset));
        }
    }
    Ok((entries, next))
}

fn entry(name: &[u8], next: u64) -> DirectoryEntry {
    let shown = String::from_utf8_lossy(name).into_owned();
    DirectoryEntry { name: core::str::from_utf8(name).ok().map(ToString::to_string), shown, next }
}

/// What is left of a message to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    fn identity(&mut self) -> Result<Identity, Malformed> {
        let bytes: [u8; QID] = self.array()?;
        Ok(Identity { kind: bytes[0] })
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_what_the_protocol_says() {
        let walk = Request::Walk { from: 0, to: 1, names: &["a", "bc"] };
        assert_eq!(walk.encode(5), *b"\x18\0\0\0\x6e\x05\0\0\0\0\0\x01\0\0\0\x02\0\x01\0a\x02\0bc");
        let version = Request::Version(8192).encode(NO_TAG);
        assert_eq!(version, *b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\x009P2000.L");
        let write = Request::Write(1, 2, 100, b"here").encode(0);
        assert_eq!((write.len(), write[0]), (27, 23 + 100));
    }

    #[test]
    fn answers_are_checked() {
        let refused = b"\x0b\0\0\0\x07\x03\0\x02\0\0\0";
        assert_eq!(body(refused, 11, 110, 3), Err(Refusal::Host(Errno::ENOENT)));
        assert_eq!(body(refused, 11, 110, 4), Err(Malformed::Tag.into()));
        assert_eq!(body(refused, 12, 110, 3), Err(Malformed::Size.into()));
        let clunked = b"\x07\0\0\0\x79\x03\0";
        assert_eq!(body(clunked, 7, 120, 3), Ok(&[][..]));
        assert_eq!(body(clunked, 7, 116, 3), Err(Malformed::Kind.into()));
        assert_eq!(walked(b"\x02\0", 1), Err(Malformed::Count));
        assert_eq!(version(b"\0\x20\0\0\x06\x009P2000"), Err(Malformed::Version));
        assert_eq!(data(b"\x02\0\0\0abc", 9), Err(Malformed::Length));
        assert_eq!(data(b"\x03\0\0\0abc", 2), Err(Malformed::Count));
    }

    #[test]
    fn names_of_entries_are_names() {
        let entry = |name: &[u8]| {
            let length = u16::try_from(name.len()).expect("short").to_le_bytes();
            [&[0; QID][..], &7u64.to_le_bytes(), &[4], &length, name].concat()
        };
        let all = [entry(b"."), entry(b".."), entry(b"a\xff"), entry(b"b")].concat();
        let (found, next) = entries(&all).expect("sound");
        assert_eq!(next, Some(7));
        let shown: Vec<_> = found.iter().map(|entry| entry.shown.as_str()).collect();
        assert_eq!(shown, ["a\u{fffd}", "b"]);
        assert_eq!((&found[0].name, found[1].name.as_deref()), (&None, Some("b")));
        for bad in [&b""[..], b"a/b", b"a\0"] {
            assert_eq!(entries(&entry(bad)), Err(Malformed::Name));
        }
        assert_eq!(entries(&entry(b"cut")[..25]), Err(Malformed::Length));
    }

    proptest! {
        /// Whatever comes is read within its bounds, and what is accepted is within what was asked for.
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300), size: u32, kind: u8, most in 0u32..300) {
            let _ = body(&bytes, size, kind.min(254), 7);
            let _ = version(&bytes).and(nothing(&bytes)).and(identity(&bytes, 4).map(|_| ()));
            let _ = status(&bytes);
            if let Ok(found) = walked(&bytes, 3) {
                prop_assert!(found.len() <= 3);
            }
            if let Ok(data) = data(&bytes, most) {
                prop_assert!(data.len() <= most as usize && data.len() + 4 == bytes.len());
            }
            prop_assert!(count(&bytes, most).is_ok_and(|count| count <= most) || count(&bytes, most).is_err());
            if let Ok((found, _)) = entries(&bytes) {
                prop_assert!(found.iter().all(|entry| !entry.shown.contains(['/', '\0'])));
            }
        }
    }
}
