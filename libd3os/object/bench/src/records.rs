//! The records that all stores keep, and the order in which they are asked for. `pmdk/map.c` has the
//! same.

/// Bytes of a value; with the key, a record has 64.
pub(crate) const VALUE_BYTES: usize = 56;

/// The key of a record: scattered, never 0.
pub(crate) const fn key(record: u64) -> u64 {
    mix(record) | 1
}

/// The value of a record, which begins with its key.
pub(crate) fn value(record: u64) -> [u8; VALUE_BYTES] {
    let mut value = [record.to_le_bytes()[0]; VALUE_BYTES];
    value[..8].copy_from_slice(&key(record).to_le_bytes());
    value
}

/// The record that is asked for in this step.
pub(crate) const fn asked(step: u64, records: u64) -> u64 {
    mix(step ^ 0x00ab_cdef_1234_567f) % records
}

/// What a value begins with: all that a lookup looks at.
pub(crate) fn first_word(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// SplitMix64's scattering of a number.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
