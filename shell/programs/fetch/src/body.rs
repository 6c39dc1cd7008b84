//! The body of an answer, on its way (RFC 9112, sections 6 and 7).

use alloc::vec::Vec;

use crate::Malformed;
use crate::head::{Framing, Head};

/// Bytes that a chunk's line, or a trailer's, may have.
const LINE: usize = 1024;

/// Where in the body the next byte stands.
#[derive(Debug)]
pub enum Body {
    /// So many bytes are to come.
    Length(u64),
    /// Everything that comes belongs to it.
    UntilEnd,
    /// In a chunk's first line, of which this is known.
    Size(Vec<u8>),
    /// In a chunk, of which so many bytes are to come.
    Chunk(u64),
    /// Behind a chunk, in the line end.
    ChunkEnd(Vec<u8>),
    /// Behind the last chunk, in a line of which this is known.
    Trailer(Vec<u8>),
    /// At its end.
    Complete,
}

impl Body {
    /// The body behind this head.
    #[must_use]
    pub const fn of(head: &Head) -> Self {
        match head.framing {
            Framing::Length(0) => Self::Complete,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Size(Vec::new()),
            Framing::UntilEnd => Self::UntilEnd,
        }
    }

    /// Whether nothing more belongs to it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }

    /// Whether the connection may end here.
    #[must_use]
    pub const fn may_end(&self) -> bool {
        matches!(self, Self::Complete | Self::UntilEnd)
    }

    /// Takes what has come; gives the document's bytes in it.
    ///
    /// # Errors
    /// [`Malformed::Chunk`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut document = Vec::new();
        while !bytes.is_empty() {
            bytes = match self {
                Self::Complete => return Ok(document),
                Self::UntilEnd => {
                    document.extend_from_slice(bytes);
                    &[]
                }
                Self::Length(left) | Self::Chunk(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, later) = bytes.split_at(count);
                    document.extend_from_slice(now);
                    *left -= count as u64;
                    later
                }
                Self::Size(line) | Self::ChunkEnd(line) | Self::Trailer(line) => {
                    take_line(line, bytes)?
                }
            };
            self.advance()?;
        }
        Ok(document)
    }

    /// Goes on behind what is complete.
    fn advance(&mut self) -> Result<(), Malformed> {
        let next = match self {
            Self::Length(0) => Self::Complete,
            Self::Chunk(0) => Self::ChunkEnd(Vec::new()),
            Self::Size(line) if is_line(line) => match size(line)? {
                0 => Self::Trailer(Vec::new()),
                size => Self::Chunk(size),
            },
            Self::ChunkEnd(line) if is_line(line) => match trimmed(line) {
                [] => Self::Size(Vec::new()),
                _ => return Err(Malformed::Chunk),
            },
            Self::Trailer(line) if is_line(line) => match trimmed(line) {
                [] => Self::Complete,
                _ => Self::Trailer(Vec::new()),
            },
            _ => return Ok(()),
        };
        *self = next;
        Ok(())
    }
}

/// Adds bytes to a line up to its end; gives those behind it.
fn take_line<'b>(line: &mut Vec<u8>, bytes: &'b [u8]) -> Result<&'b [u8], Malformed> {
    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
    let (now, later) = bytes.split_at(end);
    line.extend_from_slice(now);
    if line.len() > LINE { Err(Malformed::Chunk) } else { Ok(later) }
}

fn is_line(line: &[u8]) -> bool {
    line.last() == Some(&b'\n')
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

/// The size in a chunk's first line, whose extensions say nothing here.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or(&[]).trim_ascii();
    let text = core::str::from_utf8(digits).map_err(|_| Malformed::Chunk)?;
    if text.starts_with('+') {
        return Err(Malformed::Chunk);
    }
    u64::from_str_radix(text, 16).map_err(|_| Malformed::Chunk)
}
