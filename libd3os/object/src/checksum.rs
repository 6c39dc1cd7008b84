//! Checksums: 64 bits over whatever must be whole.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The checksum of these bytes (XXH3). The seed says what they are or where they belong, so that
/// what is right at one place is wrong at another.
#[must_use]
pub(crate) fn of(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// The checksum of words, little-endian.
#[must_use]
pub(crate) fn of_words<const N: usize>(words: [u64; N], seed: u64) -> u64 {
    of(words.map(u64::to_le_bytes).as_flattened(), seed)
}
