//! Sources, their tests and the generator, put together: sans-IO.
//!
//! The generator gives nothing before one source has given a whole seed. From then on every call
//! mixes fresh words of every source in first, so that a state that became known is worth nothing
//! at the next call. A source that fails its tests is never asked again; what it gave stays mixed
//! in, which does no harm.

use alloc::boxed::Box;
use alloc::vec::Vec;

use libd3os::service::entropy::{EntropyError, Health, MOST_BYTES, Source, SourceReport};

use crate::events::{Event, Journal};
use crate::generator::Generator;
use crate::health::{self, Broken};
use crate::source::{Words, seed_words};

/// Words of each source that are mixed in before each answer.
const FRESH_WORDS: usize = 4;

/// All sources that there can be.
const SOURCES: [Source; 3] = [Source::RdSeed, Source::RdRand, Source::VirtioRng];

/// The generator and what feeds it.
#[derive(Debug)]
pub struct Entropy {
    feeds: Vec<Feed>,
    generator: Generator,
    seeded: bool,
    journal: Journal,
}

/// A source, and what is known of it.
struct Feed {
    words: Box<dyn Words>,
    test: health::Health,
    health: Health,
    taken: u64,
    /// Words that it has given towards its first seed.
    towards_seed: usize,
}

impl core::fmt::Debug for Feed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { health, taken, .. } = self;
        let mut debug = f.debug_struct("Feed");
        debug.field("source", &self.words.source()).field("health", health).field("taken", taken);
        debug.finish_non_exhaustive()
    }
}

impl Entropy {
    /// A generator that these sources feed, seeded as far as they give something now.
    pub fn new(sources: impl IntoIterator<Item = Box<dyn Words>>) -> Self {
        let feeds = sources.into_iter().map(Feed::new).collect();
        let (generator, journal) = (Generator::default(), Journal::default());
        let mut entropy = Self { feeds, generator, seeded: false, journal };
        entropy.seed();
        entropy
    }

    /// So many random bytes.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn fill(&mut self, count: u32) -> Result<Vec<u8>, EntropyError> {
        if count > MOST_BYTES {
            return Err(EntropyError::TooMany);
        }
        if self.seeded {
            self.refresh()
        } else {
            self.seed()
        }
        if !self.seeded {
            self.journal.note(Event::Refused);
            return Err(EntropyError::NotSeeded);
        }
        let mut bytes = alloc::vec![0; count as usize];
        self.generator.fill(&mut bytes);
        self.journal.note(Event::Gave(bytes.len()));
        Ok(bytes)
    }

    /// How the sources are doing, those that the machine does not have included.
    #[must_use]
    pub fn report(&self) -> Vec<SourceReport> {
        let report = |source| {
            let feed = self.feeds.iter().find(|feed| feed.words.source() == source);
            let (health, words) =
                feed.map_or((Health::Absent, 0), |feed| (feed.health, feed.taken));
            SourceReport { source, health, bytes: words * 8 }
        };
        SOURCES.into_iter().map(report).collect()
    }

    /// What was done so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Asks every source for what is missing of its first seed.
    fn seed(&mut self) {
        for feed in &mut self.feeds {
            let source = feed.words.source();
            let missing = seed_words(source).saturating_sub(feed.towards_seed);
            feed.towards_seed += feed.give(missing, &mut self.generator, &self.journal);
            if feed.health == Health::Good && feed.towards_seed >= seed_words(source) {
                self.seeded = true;
                self.journal.note(Event::Seeded(source));
            }
        }
    }

    fn refresh(&mut self) {
        for feed in &mut self.feeds {
            feed.give(FRESH_WORDS, &mut self.generator, &self.journal);
        }
    }
}

impl Feed {
    fn new(words: Box<dyn Words>) -> Self {
        let (test, health) = (health::Health::default(), Health::Good);
        Self { words, test, health, taken: 0, towards_seed: 0 }
    }

    /// Mixes up to `count` words in. Tells how many there were; none of a source that failed.
    fn give(&mut self, count: usize, generator: &mut Generator, journal: &Journal) -> usize {
        if self.health == Health::Failed {
            return 0;
        }
        let source = self.words.source();
        let mut words = Vec::with_capacity(count);
        while words.len() < count {
            let Some(word) = self.words.word() else {
                self.health = Health::Silent;
                journal.note(Event::Silent(source));
                break;
            };
            if self.test.check(word) == Err(Broken) {
                self.health = Health::Failed;
                journal.note(Event::Failed(source));
                return 0;
            }
            self.health = Health::Good;
            words.push(word);
        }
        generator.mix(source as u8, &words);
        self.taken += words.len() as u64;
        journal.words.add(words.len() as u64);
        words.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::{Rng, SeedableRng};
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    /// A modelled source: gives its words, `None` for each time that it has none.
    #[derive(Clone)]
    struct Model(Source, Rc<RefCell<VecDeque<Option<u64>>>>);

    impl Words for Model {
        fn source(&self) -> Source {
            self.0
        }

        fn word(&mut self) -> Option<u64> {
            self.1.borrow_mut().pop_front().flatten()
        }
    }

    fn model(source: Source, words: impl IntoIterator<Item = Option<u64>>) -> Model {
        Model(source, Rc::new(RefCell::new(words.into_iter().collect())))
    }

    fn sound(source: Source, seed: u8, count: usize) -> Model {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        model(source, (0..count).map(|_| Some(rng.next_u64())))
    }

    fn entropy(sources: impl IntoIterator<Item = Model>) -> Entropy {
        Entropy::new(sources.into_iter().map(|source| Box::new(source) as Box<dyn Words>))
    }

    #[test]
    fn without_a_source_there_are_no_bytes() {
        let mut none = entropy([]);
        assert_eq!(none.fill(8), Err(EntropyError::NotSeeded));
        assert!(none.report().iter().all(|report| report.health == Health::Absent));
        assert_eq!(none.journal().recorder().value("calls refused, not seeded"), 1);
    }

    #[test]
    fn less_than_a_seed_is_not_enough_and_may_come_later() {
        let source = sound(Source::RdSeed, 1, seed_words(Source::RdSeed) - 1);
        let mut entropy = entropy([source.clone()]);
        assert_eq!(entropy.fill(8), Err(EntropyError::NotSeeded));
        assert_eq!(entropy.report()[0].health, Health::Silent);
        source.1.borrow_mut().push_back(Some(5));
        assert_eq!(entropy.fill(8).map(|bytes| bytes.len()), Ok(8));
        let expected = SourceReport { source: Source::RdSeed, health: Health::Good, bytes: 8 * 8 };
        assert_eq!(entropy.report()[0], expected);
    }

    #[test]
    fn a_broken_source_seeds_nothing_and_does_not_stop_a_sound_one() {
        let stuck = || model(Source::RdRand, [Some(u64::MAX); 2000]);
        let mut alone = entropy([stuck()]);
        assert_eq!(alone.fill(8), Err(EntropyError::NotSeeded));
        assert_eq!(alone.report()[1].health, Health::Failed);
        let mut both = entropy([stuck(), sound(Source::RdSeed, 2, 100)]);
        assert!(both.fill(8).is_ok());
        assert_eq!(both.report()[1].bytes, 0, "what a failed source gave does not count");
    }

    #[test]
    fn a_source_that_falls_silent_later_takes_nothing_away() {
        let mut entropy = entropy([sound(Source::RdSeed, 3, seed_words(Source::RdSeed))]);
        let (first, second) = (entropy.fill(64), entropy.fill(64));
        assert!(first.is_ok() && first != second);
    }

    #[test]
    fn answers_are_bounded() {
        let mut entropy = entropy([sound(Source::RdSeed, 3, 100)]);
        assert_eq!(entropy.fill(MOST_BYTES + 1), Err(EntropyError::TooMany));
        assert_eq!(entropy.fill(MOST_BYTES).map(|bytes| bytes.len()), Ok(MOST_BYTES as usize));
    }

    proptest! {
        /// Whatever the sources do, there are bytes only after one of them has given a seed that
        /// passed its tests, and no two answers are the same.
        #[test]
        fn no_byte_without_a_seed(
            seed_words_given in 0usize..12,
            rand in prop::collection::vec(prop::option::weighted(0.9, any::<u64>()), 0..40),
            calls in 1usize..12,
        ) {
            let given = sound(Source::RdSeed, 9, seed_words_given);
            let mut entropy = entropy([given, model(Source::RdRand, rand)]);
            let mut seen = Vec::new();
            for _ in 0..calls {
                let answer = entropy.fill(32);
                let enough = seed_words_given >= seed_words(Source::RdSeed);
                prop_assert_eq!(answer.is_ok(), enough);
                if let Ok(bytes) = answer {
                    prop_assert!(!seen.contains(&bytes));
                    seen.push(bytes);
                }
            }
        }
    }
}
