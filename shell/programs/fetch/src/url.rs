//! Addresses of documents: `http://HOST[:PORT][/PATH]` (RFC 3986, as far as that goes).

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

const SCHEME: &str = "http://";
const PORT: u16 = 80;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path with its query.
    pub path: String,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It does not begin with `http://`.
    Scheme,
    /// It has no host.
    Host,
    /// Its port is no port.
    Port,
    /// It has characters that no address has.
    Character,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "an address begins with `http://`",
            Self::Host => "the address has no host",
            Self::Port => "the address has no sound port",
            Self::Character => "the address has a character that must be written as %XX",
        })
    }
}

impl core::error::Error for UrlError {}

impl Url {
    /// Reads an address. What follows `#` is for readers of the document, and left out.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix(SCHEME).ok_or(UrlError::Scheme)?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Character);
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = split(authority)?;
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        Ok(Self { host: host.to_string(), port, path })
    }

    /// Host and port, as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        if self.port == PORT { host } else { format!("{host}:{}", self.port) }
    }
}

/// Host and port.
fn split(authority: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(UrlError::Host)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?,
        None if port.is_empty() => PORT,
        None => return Err(UrlError::Host),
    };
    if host.is_empty() || host.contains('@') { Err(UrlError::Host) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(host: &str, port: u16, path: &str) -> Result<Url, UrlError> {
        Ok(Url { host: host.to_string(), port, path: path.to_string() })
    }

    #[test]
    fn addresses() {
        assert_eq!(Url::parse("http://example.org"), url("example.org", 80, "/"));
        assert_eq!(Url::parse("http://10.0.2.2:8000/a/b?c#d"), url("10.0.2.2", 8000, "/a/b?c"));
        assert_eq!(Url::parse("http://[fe80::1]:81?x"), url("fe80::1", 81, "/?x"));
        assert_eq!(Url::parse("https://a"), Err(UrlError::Scheme));
        assert_eq!(Url::parse("http:///x"), Err(UrlError::Host));
        assert_eq!(Url::parse("http://a@b/"), Err(UrlError::Host));
        assert_eq!(Url::parse("http://[::1"), Err(UrlError::Host));
        assert_eq!(Url::parse("http://[::1]x"), Err(UrlError::Host));
        assert_eq!(Url::parse("http://a:0/"), Err(UrlError::Port));
        assert_eq!(Url::parse("http://a/ b"), Err(UrlError::Character));
    }

    proptest! {
        /// Nothing that is accepted can add a line to a request.
        #[test]
        fn requests_have_the_lines_that_they_have(text in "http://\\PC{0,30}") {
            if let Ok(url) = Url::parse(&text) {
                prop_assert_eq!(crate::request(&url).lines().count(), 6);
            }
        }
    }
}
