//! Files of the host: the directory that an emulator shares with its machine. Served by the driver
//! `share`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::call::MAX_BYTES;

/// Most bytes of one [`Share::read`] or [`Share::write`].
pub const MOST_BYTES: u32 = 640;
/// Most bytes of a path.
pub const PATH_MOST: usize = 256;
/// Where the bytes of files begin in a region that a program shares with the driver. Before it
/// lies the ticket, eight bytes.
pub const WINDOW_OFFSET: u32 = 64;
/// Bytes that a listing's own fields and the result around it take at most.
const OVERHEAD: usize = 32;

/// A directory of the host.
///
/// A path is names with `/` between them, counted from the shared directory, [`PATH_MOST`] bytes at
/// most; one before the first name, empty names and `.` mean nothing, `..` is refused. Links of the
/// host are not followed, so that nothing outside of the directory is reached.
///
/// The driver keeps nothing from one call to the next, so that calls can simply be made again when it
/// was restarted: bytes are read and written at an offset, and nothing is ever appended. What is read
/// in several calls may change in between, as files do.
///
/// Large pieces do not go through messages: a program that shares a region with the driver names a
/// [`Window`] of it, and the host reads and writes there ([`crate::share`] does that).
#[crate::service(name = "share", version = 1)]
pub trait Share {
    /// What is in a directory, from where an earlier part said that the next one begins; 0 is the
    /// beginning. In the host's order.
    #[deferred]
    #[retryable]
    fn list(directory: String, from: u64) -> Result<Listing, ShareError>;

    /// What a path leads to.
    #[deferred]
    #[retryable]
    fn stat(path: String) -> Result<FileStatus, ShareError>;

    /// Bytes of a file from `offset` on, `bytes` and [`MOST_BYTES`] at most; fewer only at the end
    /// of the file.
    #[deferred]
    #[retryable]
    fn read(path: String, offset: u64, bytes: u32) -> Result<Vec<u8>, ShareError>;

    /// Writes at `offset` into a file that exists, [`MOST_BYTES`] at most.
    #[deferred]
    #[retryable]
    fn write(path: String, offset: u64, bytes: Vec<u8>) -> Result<(), ShareError>;

    /// As [`Share::read`], into the caller's region. Answers with how many bytes came.
    #[deferred]
    #[retryable]
    fn read_into(path: String, offset: u64, window: Window) -> Result<u32, ShareError>;

    /// As [`Share::write`], out of the caller's region. Answers when the host has all of them.
    #[deferred]
    #[retryable]
    fn write_from(path: String, offset: u64, window: Window) -> Result<(), ShareError>;

    /// Makes an empty file; one that exists is emptied.
    #[deferred]
    #[retryable]
    fn create(path: String) -> Result<(), ShareError>;

    /// Waits until the host has what was written to a file on its medium.
    #[deferred]
    #[retryable]
    fn sync(path: String) -> Result<(), ShareError>;

    /// Makes a directory. Made again after a restart it fails, if the first call did it.
    #[deferred]
    fn make_directory(path: String) -> Result<(), ShareError>;

    /// Removes a file, a link, or an empty directory. Made again after a restart it fails, if the
    /// first call did it.
    #[deferred]
    fn remove(path: String) -> Result<(), ShareError>;
}

/// A part of a region that a program shares with the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The region's name.
    pub region: String,
    /// What the caller has just written to the region's first eight bytes, not 0: it shows that the
    /// region is the caller's.
    pub ticket: u64,
    /// Where the bytes begin, [`WINDOW_OFFSET`] at least.
    pub at: u32,
    /// How many.
    pub bytes: u32,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// Bytes.
    File,
    /// Other files.
    Directory,
    /// Another path, which is not followed.
    Link,
    /// Something that cannot be read: a device, a socket.
    Other,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "link",
            Self::Other => "other",
        })
    }
}

/// What the host tells of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// What it is.
    pub kind: FileKind,
    /// Its bytes.
    pub bytes: u64,
    /// When it was last changed: seconds since the beginning of 1970, UTC.
    pub modified: u64,
}

/// A file in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name. Bytes that are no text stand as U+FFFD, and such a file cannot be named.
    pub name: String,
    /// What it is.
    pub status: FileStatus,
}

/// A part of a directory that fits in one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What is in it.
    pub entries: Vec<Entry>,
    /// Where the next part begins, as the host says it; `None` after the last.
    pub next: Option<u64>,
}

impl Listing {
    /// Adds an entry, if it fits.
    #[must_use]
    pub fn push(&mut self, entry: Entry) -> bool {
        let bytes = |entry| postcard::experimental::serialized_size(entry).unwrap_or(MAX_BYTES);
        let used: usize = self.entries.iter().map(bytes).sum();
        let fits = used + bytes(&entry) + OVERHEAD <= MAX_BYTES;
        if fits {
            self.entries.push(entry);
        }
        fits
    }
}

/// An error number of the host's, as Linux counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Errno(pub u32);

/// Numbers with their names and what they mean for files.
const ERRNOS: [(Errno, &str, &str); 20] = [
    (Errno::EPERM, "EPERM", "not permitted"),
    (Errno::ENOENT, "ENOENT", "no such file or directory"),
    (Errno(5), "EIO", "input/output error"),
    (Errno(9), "EBADF", "bad file descriptor"),
    (Errno(12), "ENOMEM", "out of memory"),
    (Errno::EACCES, "EACCES", "permission denied"),
    (Errno(16), "EBUSY", "busy"),
    (Errno::EEXIST, "EEXIST", "it exists already"),
    (Errno::ENOTDIR, "ENOTDIR", "not a directory"),
    (Errno::EISDIR, "EISDIR", "it is a directory"),
    (Errno(22), "EINVAL", "invalid argument"),
    (Errno(24), "EMFILE", "too many open files"),
    (Errno(27), "EFBIG", "file too large"),
    (Errno::ENOSPC, "ENOSPC", "no space left"),
    (Errno::EROFS, "EROFS", "the share is read-only"),
    (Errno(36), "ENAMETOOLONG", "name too long"),
    (Errno::ENOTEMPTY, "ENOTEMPTY", "directory not empty"),
    (Errno::ELOOP, "ELOOP", "it is a link, which is not followed"),
    (Errno(95), "EOPNOTSUPP", "not supported"),
    (Errno(122), "EDQUOT", "disk quota exceeded"),
];

impl Errno {
    /// Not permitted.
    pub const EPERM: Self = Self(1);
    /// There is no such file.
    pub const ENOENT: Self = Self(2);
    /// Permission denied.
    pub const EACCES: Self = Self(13);
    /// There is one already.
    pub const EEXIST: Self = Self(17);
    /// A part of the path is no directory.
    pub const ENOTDIR: Self = Self(20);
    /// It is a directory.
    pub const EISDIR: Self = Self(21);
    /// The host's medium is full.
    pub const ENOSPC: Self = Self(28);
    /// The directory can only be read.
    pub const EROFS: Self = Self(30);
    /// A directory that is not empty.
    pub const ENOTEMPTY: Self = Self(39);
    /// A link.
    pub const ELOOP: Self = Self(40);

    /// Its name, of those that file systems use.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        ERRNOS.iter().find(|(errno, ..)| *errno == self).map(|(_, name, _)| *name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ERRNOS.iter().find(|(errno, ..)| errno == self) {
            Some((_, name, meaning)) => write!(f, "{meaning} ({name})"),
            None => write!(f, "the host's error {}", self.0),
        }
    }
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareError {
    /// The host refused.
    Host(Errno),
    /// The path has a `..` or a NUL in it, or is too long.
    BadPath,
    /// More bytes than one message holds.
    TooMany,
    /// The driver shares no region of this name.
    NoSuchRegion,
    /// The ticket is not what stands in the region.
    Ticket,
    /// The window is not within the region, or begins before [`WINDOW_OFFSET`].
    Outside,
    /// The host did not answer as the protocol says.
    Protocol,
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(errno) => errno.fmt(f),
            Self::BadPath => f.write_str("not a path within the host's share"),
            Self::TooMany => f.write_str("more bytes than one message holds"),
            Self::NoSuchRegion => f.write_str("the driver of the share has no such region"),
            Self::Ticket => f.write_str("the region is not the caller's"),
            Self::Outside => f.write_str("the window lies outside of the region"),
            Self::Protocol => f.write_str("the host broke the protocol of the share"),
        }
    }
}

impl core::error::Error for ShareError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn error_numbers_have_names() {
        assert!(ERRNOS.is_sorted_by_key(|(errno, ..)| *errno));
        assert_eq!(Errno::ENOENT.name(), Some("ENOENT"));
        let said = ShareError::Host(Errno::ELOOP).to_string();
        assert_eq!(said, "it is a link, which is not followed (ELOOP)");
        assert_eq!(Errno(4711).to_string(), "the host's error 4711");
    }

    #[test]
    fn listings_fit_in_messages() {
        let status = FileStatus { kind: FileKind::File, bytes: u64::MAX, modified: u64::MAX };
        let entry = |length| Entry { name: "x".repeat(length), status };
        for length in [1, 30, 255] {
            let mut listing = Listing { entries: Vec::new(), next: Some(u64::MAX) };
            while listing.push(entry(length)) {}
            let answer: Result<&Listing, ()> = Ok(&listing);
            assert!(postcard::to_allocvec(&answer).expect("encodes").len() <= MAX_BYTES);
            assert!(listing.entries.len() >= 3);
        }
    }
}
