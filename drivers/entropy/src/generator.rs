//! The generator: what the sources give is mixed into a key, and bytes are made of the key.
//!
//! Mixing is SHA-256 over the key and what comes in, so that no source can take away what the others
//! have put in. Making bytes is ChaCha20 under the key, whose first 32 bytes become the new key at
//! once ("fast key erasure"): whoever reads the memory later does not learn what was given out.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

const KEY_BYTES: usize = 32;
/// Sets this use of the hash apart from others.
const DOMAIN: &[u8] = b"D3OS entropy 1";

/// A generator that is seeded from outside.
pub struct Generator {
    key: [u8; KEY_BYTES],
}

impl Default for Generator {
    fn default() -> Self {
        Self { key: [0; KEY_BYTES] }
    }
}

impl core::fmt::Debug for Generator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Generator").finish_non_exhaustive()
    }
}

impl Generator {
    /// Mixes words in. `tag` tells sources apart.
    pub fn mix(&mut self, tag: u8, words: &[u64]) {
        let mut hash = Sha256::new_with_prefix(DOMAIN);
        hash.update(self.key);
        hash.update([tag]);
        words.iter().for_each(|word| hash.update(word.to_le_bytes()));
        self.key = hash.finalize().into();
    }

    /// Makes bytes, and a new key.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let mut stream = ChaCha20Rng::from_seed(self.key);
        stream.fill_bytes(&mut self.key);
        stream.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(generator: &mut Generator) -> [u8; 40] {
        let mut bytes = [0; 40];
        generator.fill(&mut bytes);
        bytes
    }

    fn seeded(words: &[u64]) -> Generator {
        let mut generator = Generator::default();
        generator.mix(0, words);
        generator
    }

    /// The first block of RFC 8439's ChaCha20 for the key of zeros begins with these bytes, and the
    /// key is what they are.
    #[test]
    fn the_stream_is_chacha20() {
        let mut generator = Generator::default();
        generator.fill(&mut []);
        let begins = [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90];
        assert_eq!(generator.key[..8], begins);
    }

    #[test]
    fn what_was_given_out_is_not_in_the_key() {
        let mut generator = seeded(&[1, 2, 3]);
        let before = generator.key;
        let given = bytes(&mut generator);
        assert_ne!(generator.key, before);
        assert!(!given.windows(KEY_BYTES).any(|window| window == generator.key));
    }

    proptest! {
        #[test]
        fn every_word_counts(words in prop::collection::vec(any::<u64>(), 1..20), place: prop::sample::Index, bit in 0u32..64) {
            let mut other = words.clone();
            other[place.index(words.len())] ^= 1 << bit;
            prop_assert_ne!(bytes(&mut seeded(&words)), bytes(&mut seeded(&other)));
            prop_assert_eq!(bytes(&mut seeded(&words)), bytes(&mut seeded(&words)));
        }

        /// A source that others know does not take away what they do not.
        #[test]
        fn known_words_do_not_undo_secret_ones(secret: [u64; 4], other: [u64; 4], known in prop::collection::vec(any::<u64>(), 0..8)) {
            prop_assume!(secret != other);
            let after = |secret: &[u64]| {
                let mut generator = seeded(secret);
                generator.mix(1, &known);
                bytes(&mut generator)
            };
            prop_assert_ne!(after(&secret), after(&other));
        }

        #[test]
        fn no_two_answers_are_the_same(words: [u64; 4]) {
            let mut generator = seeded(&words);
            prop_assert_ne!(bytes(&mut generator), bytes(&mut generator));
        }
    }
}
