//! HTTP/1.1 (RFC 9112), as much as it takes to get a document: a request, and a reader of the
//! answer that gets bytes as they come and gives the document's. Sans-IO.
//!
//! The answer's head is parsed by `httparse`. A body is as long as its `Content-Length`, comes in
//! chunks, or lasts until the connection ends. Redirections are told, not followed.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod body;
pub mod head;
pub mod options;
pub mod url;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::body::Body;
use crate::head::{Head, parse};
use crate::url::Url;

/// Bytes that an answer's head may have.
const HEAD_BYTES: usize = 16 << 10;

/// The answer is no HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Its head is not what HTTP allows.
    Head,
    /// Its head is longer than it may be.
    LongHead,
    /// Its chunks are not what HTTP allows.
    Chunk,
    /// It ended before its end.
    Cut,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the answer is not HTTP",
            Self::LongHead => "the answer's head is too long",
            Self::Chunk => "the answer's chunks are malformed",
            Self::Cut => "the answer was cut off",
        })
    }
}

impl core::error::Error for Malformed {}

/// The request for a document.
#[must_use]
pub fn request(url: &Url) -> String {
    let Url { path, .. } = url;
    let host = url.authority();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: D3OS\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    )
}

/// An answer on its way.
#[derive(Debug)]
pub enum Answer {
    /// Its head is not complete.
    Head(Vec<u8>),
    /// Its body comes.
    Body(Head, Body),
}

impl Default for Answer {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

impl Answer {
    /// Takes what has come; gives the document's bytes in it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
        match self {
            Self::Body(_, body) => body.push(bytes),
            Self::Head(known) => {
                known.extend_from_slice(bytes);
                let Some((head, length)) = parse(known)? else {
                    return if known.len() > HEAD_BYTES {
                        Err(Malformed::LongHead)
                    } else {
                        Ok(Vec::new())
                    };
                };
                let rest = known.split_off(length);
                let mut body = Body::of(&head);
                let document = body.push(&rest);
                *self = Self::Body(head, body);
                document
            }
        }
    }

    /// What its head says, when it is there.
    #[must_use]
    pub const fn head(&self) -> Option<&Head> {
        match self {
            Self::Head(_) => None,
            Self::Body(head, _) => Some(head),
        }
    }

    /// Whether the document is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Body(_, body) if body.is_complete())
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`Malformed::Cut`] where more should have come.
    pub fn end(&self) -> Result<(), Malformed> {
        match self {
            Self::Body(_, body) if body.may_end() => Ok(()),
            _ => Err(Malformed::Cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<u8>, Malformed> {
        let mut answer = Answer::default();
        let mut document = Vec::new();
        for piece in pieces {
            document.extend(answer.push(piece)?);
        }
        answer.end().map(|()| document)
    }

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n1;x=y\r\n \r\n00A\r\nwide world\r\n0\r\nTrailer: x\r\n\r\n";

    #[test]
    fn a_request_names_its_host() {
        let url = Url::parse("http://[::1]:8080/a?b").expect("an address");
        let text = request(&url);
        assert!(text.starts_with("GET /a?b HTTP/1.1\r\nHost: [::1]:8080\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn bodies_end_where_they_say() {
        let sized = b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabcdef";
        assert_eq!(read(&[sized]), Ok(b"abc".to_vec()));
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\n\r\nabc", b"def"]), Ok(b"abcdef".to_vec()));
        assert_eq!(read(&[CHUNKED]), Ok(b"hello wide world".to_vec()));
        assert_eq!(read(&[&sized[..40]]), Err(Malformed::Cut));
        assert_eq!(read(&[&CHUNKED[..70]]), Err(Malformed::Cut));
        assert_eq!(read(&[b"SSH-2.0-x\r\n\r\n"]), Err(Malformed::Head));
    }

    proptest! {
        /// Where an answer is cut into pieces does not matter.
        #[test]
        fn pieces_do_not_matter(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(CHUNKED.len())).collect();
            at.extend([0, CHUNKED.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &CHUNKED[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), Ok(b"hello wide world".to_vec()));
        }

        #[test]
        fn any_answer_is_taken(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10), chunked: bool) {
            let head: &[u8] = if chunked { b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" } else { b"" };
            let mut all = vec![head];
            all.extend(pieces.iter().map(Vec::as_slice));
            let _ = read(&all);
        }
    }
}
