//! Work that is done where the data are, so that only its result travels.
//!
//! An operator is one of few, which have no effects and always end; programs choose one by a message. It is
//! carried out on pieces of an object's bytes, in any order and by several threads, and the pieces'
//! results are put together in theirs. It runs on the processor's cores, as any program does: what is
//! saved is that the data are mapped, and the results sent, once.
//!
//! | message | operator |
//! |---|---|
//! | `1`, limit (4 bytes), pattern | [`Search`](Operator::Search) |
//! | `2`, pattern | [`Count`](Operator::Count) |
//! | `3` | [`Sum`](Operator::Sum) |
//! | `4` | [`Least`](Operator::Least) |
//! | `5` | [`Greatest`](Operator::Greatest) |

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

/// The longest pattern. In bytes that repeat, each of them is looked at as often as the pattern is long.
pub const MAX_PATTERN: usize = 256;

/// The most places that a search tells.
pub const MAX_PLACES: usize = 1024;

/// What a piece is long that fits into a core's cache.
pub const PIECE_BYTES: usize = 1 << 20;

const WORD: usize = size_of::<u64>();

/// What is to be done with the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Where a pattern is: the first places, and how many there are in all.
    Search {
        /// Which.
        pattern: Pattern,
        /// So many places.
        limit: u32,
    },
    /// How often a pattern is there.
    Count(Pattern),
    /// The sum of all words (of 64 bits, little-endian).
    Sum,
    /// The least word.
    Least,
    /// The greatest word.
    Greatest,
}

/// Bytes that are looked for: one at least, [`MAX_PATTERN`] at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<u8>);

/// What pieces have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of a search or a count. Places may overlap.
    Found {
        /// The first ones, in order, as offsets from the beginning of the range.
        places: Vec<u64>,
        /// How many there are in all.
        count: u64,
    },
    /// A sum.
    Sum(u128),
    /// The least or the greatest word, if there are any.
    Word(Option<u64>),
}

/// There is no such work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum OperatorError {
    /// The message is none that is known.
    #[error("no such operator")]
    Unknown,
    /// The pattern is empty or too long.
    #[error("a pattern has 1 to {MAX_PATTERN} bytes, not {0}")]
    Pattern(usize),
    /// So many places are not told.
    #[error("a search tells {MAX_PLACES} places at most, not {0}")]
    Limit(u32),
    /// The range does not consist of words.
    #[error("{0} bytes are no whole words")]
    Words(usize),
}

impl Pattern {
    /// A pattern of these bytes.
    ///
    /// # Errors
    /// There are none, or too many.
    pub fn new(bytes: &[u8]) -> Result<Self, OperatorError> {
        let fits = (1..=MAX_PATTERN).contains(&bytes.len());
        if fits { Ok(Self(bytes.to_vec())) } else { Err(OperatorError::Pattern(bytes.len())) }
    }
}

impl Operator {
    /// Reads a message, which is foreign.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub fn decode(message: &[u8]) -> Result<Self, OperatorError> {
        let (kind, rest) = message.split_first().ok_or(OperatorError::Unknown)?;
        match (kind, rest) {
            (1, _) => Self::decode_search(rest),
            (2, pattern) => Ok(Self::Count(Pattern::new(pattern)?)),
            (3, []) => Ok(Self::Sum),
            (4, []) => Ok(Self::Least),
            (5, []) => Ok(Self::Greatest),
            _ => Err(OperatorError::Unknown),
        }
    }

    fn decode_search(rest: &[u8]) -> Result<Self, OperatorError> {
        let (limit, pattern) = rest.split_first_chunk().ok_or(OperatorError::Unknown)?;
        let limit = u32::from_le_bytes(*limit);
        if usize::try_from(limit).is_ok_and(|limit| limit <= MAX_PLACES) {
            Ok(Self::Search { pattern: Pattern::new(pattern)?, limit })
        } else {
            Err(OperatorError::Limit(limit))
        }
    }

    /// Makes a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Search { pattern, limit } => {
                [&[1], limit.to_le_bytes().as_slice(), pattern.0.as_slice()].concat()
            }
            Self::Count(pattern) => [&[2], pattern.0.as_slice()].concat(),
            Self::Sum => Vec::from([3]),
            Self::Least => Vec::from([4]),
            Self::Greatest => Vec::from([5]),
        }
    }

    /// The pieces into which so many bytes are best divided.
    ///
    /// # Errors
    /// The operator cannot be carried out on so many bytes.
    pub fn pieces(
        &self,
        bytes: usize,
    ) -> Result<impl ExactSizeIterator<Item = Range<usize>> + use<>, OperatorError> {
        if self.pattern().is_none() && !bytes.is_multiple_of(WORD) {
            return Err(OperatorError::Words(bytes));
        }
        let starts = (0..bytes).step_by(PIECE_BYTES);
        Ok(starts.map(move |start| start..(start + PIECE_BYTES).min(bytes)))
    }

    fn pattern(&self) -> Option<&[u8]> {
        match self {
            Self::Search { pattern, .. } | Self::Count(pattern) => Some(&pattern.0),
            Self::Sum | Self::Least | Self::Greatest => None,
        }
    }

    /// Does the work for a piece of the bytes, which are the whole range: what begins in the piece may end
    /// behind it. Nobody changes the bytes meanwhile.
    ///
    /// Of a piece that is not within, or does not begin and end at a word where words are meant, what is
    /// there counts.
    #[must_use]
    pub fn carry_out(&self, bytes: &[u8], piece: Range<usize>) -> Outcome {
        match self {
            Self::Search { pattern, limit } => search(bytes, piece, &pattern.0, index(*limit)),
            Self::Count(pattern) => search(bytes, piece, &pattern.0, 0),
            Self::Sum => Outcome::Sum(words(bytes, piece).map(u128::from).sum()),
            Self::Least => Outcome::Word(words(bytes, piece).min()),
            Self::Greatest => Outcome::Word(words(bytes, piece).max()),
        }
    }

    /// The outcome of no piece at all.
    #[must_use]
    pub const fn nothing(&self) -> Outcome {
        match self {
            Self::Search { .. } | Self::Count(_) => Outcome::Found { places: Vec::new(), count: 0 },
            Self::Sum => Outcome::Sum(0),
            Self::Least | Self::Greatest => Outcome::Word(None),
        }
    }

    /// The outcome of pieces together, of which these are the outcomes of the first ones and of one that
    /// lies behind them.
    #[must_use]
    pub fn together(&self, first: Outcome, next: Outcome) -> Outcome {
        match (self, first, next) {
            (
                _,
                Outcome::Found { places, count },
                Outcome::Found { places: more, count: others },
            ) => {
                let places = places.into_iter().chain(more).take(index(self.limit())).collect();
                Outcome::Found { places, count: count + others }
            }
            (_, Outcome::Sum(one), Outcome::Sum(other)) => Outcome::Sum(one + other),
            (Self::Least, Outcome::Word(Some(one)), Outcome::Word(Some(other))) => {
                Outcome::Word(Some(one.min(other)))
            }
            (_, Outcome::Word(one), Outcome::Word(other)) => Outcome::Word(one.max(other)),
            (_, first, _) => first,
        }
    }

    /// So many places are told.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        match self {
            Self::Search { limit, .. } => *limit,
            _ => 0,
        }
    }

    /// The same, but that it tells so many places.
    #[must_use]
    pub fn limited(&self, limit: u32) -> Self {
        match self {
            Self::Search { pattern, .. } => Self::Search { pattern: pattern.clone(), limit },
            operator => operator.clone(),
        }
    }
}

/// All places in a piece where a pattern begins, also where one overlaps with the next: so it does not
/// matter where pieces begin.
fn search(bytes: &[u8], piece: Range<usize>, pattern: &[u8], limit: usize) -> Outcome {
    let finder = Finder::new(pattern);
    let end = piece.end.saturating_add(pattern.len() - 1).min(bytes.len());
    let (mut places, mut count, mut from) = (Vec::new(), 0, piece.start);
    while let Some(found) = bytes.get(from..end).and_then(|rest| finder.find(rest)) {
        let place = from + found;
        count += 1;
        if places.len() < limit {
            places.push(place as u64);
        }
        from = place + 1;
    }
    Outcome::Found { places, count }
}

fn words(bytes: &[u8], piece: Range<usize>) -> impl Iterator<Item = u64> {
    let whole = bytes.get(piece).unwrap_or_default().as_chunks::<WORD>().0;
    whole.iter().map(|word| u64::from_le_bytes(*word))
}

const fn index(limit: u32) -> usize {
    limit as usize
}
