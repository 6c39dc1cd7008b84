//! The arguments of `fetch`.

use alloc::string::String;
use core::fmt;

use crate::url::{Url, UrlError};

/// Bytes of a document without `--limit`.
const DEFAULT_LIMIT: u64 = 1 << 20;

/// What happens to the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// It is shown.
    Show,
    /// Its bytes are counted.
    Count,
    /// It becomes this file of the host's share.
    Keep(String),
}

/// What to fetch, and what to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it is.
    pub url: Url,
    /// What happens to it.
    pub output: Output,
    /// Bytes at most.
    pub limit: u64,
}

/// The arguments make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadArguments {
    /// Something is missing, or too much.
    Usage,
    /// The address is none.
    Url(UrlError),
}

impl fmt::Display for BadArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => f.write_str("usage: fetch [--count | -o PATH] [--limit BYTES] URL"),
            Self::Url(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BadArguments {}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// [`BadArguments`].
    pub fn parse(arguments: &[String]) -> Result<Self, BadArguments> {
        let (mut url, mut output, mut limit) = (None, Output::Show, DEFAULT_LIMIT);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--count" if output == Output::Show => output = Output::Count,
                "-o" if output == Output::Show => {
                    output = Output::Keep(rest.next().ok_or(BadArguments::Usage)?.clone());
                }
                "--limit" => {
                    let value = rest.next().and_then(|value| value.parse().ok());
                    limit = value.ok_or(BadArguments::Usage)?;
                }
                text if url.is_none() && !text.starts_with('-') => {
                    url = Some(Url::parse(text).map_err(BadArguments::Url)?)
                }
                _ => return Err(BadArguments::Usage),
            }
        }
        Ok(Self { url: url.ok_or(BadArguments::Usage)?, output, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn parse(line: &str) -> Result<Options, BadArguments> {
        Options::parse(&line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        let url = Url::parse("http://a/").expect("an address");
        let plain = Options { url, output: Output::Show, limit: DEFAULT_LIMIT };
        assert_eq!(parse("http://a/"), Ok(plain.clone()));
        let counted = Options { output: Output::Count, limit: 9, ..plain.clone() };
        assert_eq!(parse("--count --limit 9 http://a/"), Ok(counted));
        let kept = Options { output: Output::Keep("d/f".to_string()), ..plain };
        assert_eq!(parse("http://a/ -o d/f"), Ok(kept));
        assert_eq!(parse("ftp://a/"), Err(BadArguments::Url(UrlError::Scheme)));
        for wrong in [
            "",
            "--limit",
            "--limit x http://a/",
            "http://a/ b",
            "http://a/ -o",
            "-o a --count http://a/",
        ] {
            assert_eq!(parse(wrong), Err(BadArguments::Usage), "{wrong}");
        }
    }
}
