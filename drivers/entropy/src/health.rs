//! Tests of what a source gives, for as long as it gives (SP 800-90B, section 4.4).
//!
//! They find hardware that is broken, not hardware that lies: a word that comes twice in a row, as
//! from a register that is stuck, and blocks with far more or fewer ones than chance has. For a
//! sound source, either happens less than once in 2⁵⁰ words.

/// Words of a block.
const BLOCK_WORDS: u32 = 64;
/// Ones of a block: half of 4,096 bits, give or take nine standard deviations of 32.
const FEWEST_ONES: u32 = 2048 - 288;
const MOST_ONES: u32 = 2048 + 288;

/// A source has given what no sound one gives. It is not to be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// The state of both tests.
#[derive(Clone, Debug, Default)]
pub struct Health {
    last: Option<u64>,
    words: u32,
    ones: u32,
}

impl Health {
    /// Looks at a word.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn check(&mut self, word: u64) -> Result<(), Broken> {
        if self.last.replace(word) == Some(word) {
            return Err(Broken);
        }
        self.words += 1;
        self.ones += word.count_ones();
        if self.words < BLOCK_WORDS {
            return Ok(());
        }
        let ones = core::mem::take(&mut self.ones);
        self.words = 0;
        if (FEWEST_ONES..=MOST_ONES).contains(&ones) { Ok(()) } else { Err(Broken) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::{Rng, SeedableRng};

    fn words_until_broken(mut word: impl FnMut(u64) -> u64) -> Option<u64> {
        let mut health = Health::default();
        (0..100_000).find(|number| health.check(word(*number)).is_err())
    }

    #[test]
    fn a_sound_source_passes() {
        for seed in 0..8 {
            let mut rng = ChaCha20Rng::from_seed([seed; 32]);
            assert_eq!(words_until_broken(|_| rng.next_u64()), None);
        }
    }

    #[test]
    fn a_stuck_one_does_not() {
        assert_eq!(words_until_broken(|_| u64::MAX), Some(1));
        assert_eq!(words_until_broken(|number| number / 7), Some(1));
    }

    #[test]
    fn a_biased_one_does_not() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let biased = words_until_broken(|_| rng.next_u64() | rng.next_u64());
        assert_eq!(biased, Some(u64::from(BLOCK_WORDS) - 1));
        assert_eq!(words_until_broken(|number| number), Some(u64::from(BLOCK_WORDS) - 1));
    }
}
