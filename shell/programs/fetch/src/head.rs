//! The head of an answer.

use alloc::string::{String, ToString};

use crate::Malformed;

/// Header lines that are looked at, at most.
const HEADERS: usize = 64;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has so many bytes.
    Length(u64),
    /// It comes in chunks, of which the last is empty.
    Chunked,
    /// It lasts until the connection ends.
    UntilEnd,
}

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status, for example 200.
    pub status: u16,
    /// The status in words.
    pub reason: String,
    /// Where the document is instead.
    pub location: Option<String>,
    /// How the body ends.
    pub framing: Framing,
}

/// The head at the beginning of these bytes, and its length; `None` where it is not complete.
///
/// # Errors
/// [`Malformed::Head`].
pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes).map_err(|_| Malformed::Head)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| core::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let status = response.code.unwrap_or(0);
    let framing = match (value("transfer-encoding"), value("content-length")) {
        _ if matches!(status, 204 | 304) => Framing::Length(0),
        (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        (Some(_), _) => return Err(Malformed::Head),
        (None, Some(length)) => Framing::Length(length.parse().map_err(|_| Malformed::Head)?),
        (None, None) => Framing::UntilEnd,
    };
    let reason = response.reason.unwrap_or_default().to_string();
    let location = value("location").map(str::to_string);
    Ok(Some((Head { status, reason, location, framing }, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_head_says() {
        let text =
            b"HTTP/1.1 301 Moved Permanently\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n";
        let head = Head {
            status: 301,
            reason: "Moved Permanently".to_string(),
            location: Some("http://x/".to_string()),
            framing: Framing::Length(0),
        };
        assert_eq!(parse(text), Ok(Some((head, text.len()))));
        assert_eq!(parse(&text[..text.len() - 1]), Ok(None));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(Malformed::Head));
        assert_eq!(
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
            Err(Malformed::Head)
        );
    }
}
