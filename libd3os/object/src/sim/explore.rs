//! Which crash images are looked at, and how many there were.

use core::fmt;
use core::num::NonZeroU32;
use core::ops::{Add, AddAssign};

use super::pending::{Choices, Pending};
use super::random::Random;

/// When all images of an instant are made, and how many otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All are made if at most so many lines are dirty…
    pub lines: usize,
    /// …and this is at most their number.
    pub product: usize,
    /// Else so many random ones, beside those that are chosen; of the latter, too, there are no more
    /// than `product`.
    pub random: usize,
    /// Not only fences are looked at, but every so-manieth store, too.
    pub stores: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lines: 10, product: 2048, random: 64, stores: None }
    }
}

/// Makes crash images.
#[derive(Clone, Debug)]
pub struct Explorer {
    limits: Limits,
    random: Random,
    counts: Counts,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instants.
    pub instants: u64,
    /// Instants of which all images were made.
    pub exhausted: u64,
    /// Images.
    pub images: u64,
}

/// A crash image that the check did not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// At the so-manieth instant.
    pub instant: u64,
    /// The so-manieth image of all.
    pub image: u64,
    /// For each line or word that was not durable: how much of it is in the image.
    pub ways: Vec<usize>,
    /// What the check said.
    pub message: String,
}

impl Explorer {
    /// Makes images within these limits; the random ones come from this seed.
    #[must_use]
    pub const fn new(limits: Limits, seed: u64) -> Self {
        let counts = Counts { instants: 0, exhausted: 0, images: 0 };
        Self { limits, random: Random::new(seed), counts }
    }

    fn examine(
        &mut self,
        choices: &Choices<'_>,
        check: &mut (dyn FnMut(&[u8]) -> Result<(), String> + Send),
    ) -> Result<(), Failure> {
        self.counts.instants += 1;
        let mut image = Vec::new();
        for ways in self.selection(choices) {
            self.counts.images += 1;
            choices.image(&ways, &mut image);
            check(&image).map_err(|message| self.failure(ways, message))?;
        }
        Ok(())
    }

    fn failure(&self, ways: Vec<usize>, message: String) -> Failure {
        Failure { instant: self.counts.instants, image: self.counts.images, ways, message }
    }

    fn selection(&mut self, choices: &Choices<'_>) -> Vec<Vec<usize>> {
        let ways = choices.ways();
        let product = ways.iter().try_fold(1_usize, |product, ways| product.checked_mul(*ways));
        let few = product.is_some_and(|product| product <= self.limits.product);
        if few && choices.lines() <= self.limits.lines {
            self.counts.exhausted += 1;
            return all(&ways);
        }
        let mut selection = self.chosen(&ways);
        selection.extend((0..self.limits.random).map(|_| self.any(&ways)));
        selection
    }

    /// Nothing, everything, one only, all but one.
    fn chosen(&mut self, ways: &[usize]) -> Vec<Vec<usize>> {
        let none = vec![0; ways.len()];
        let all: Vec<usize> = ways.iter().map(|ways| ways - 1).collect();
        let mut chosen = vec![none.clone(), all.clone()];
        for one in self.some(ways.len(), self.limits.product / 2) {
            let (mut only, mut but) = (none.clone(), all.clone());
            (only[one], but[one]) = (all[one], none[one]);
            chosen.extend([only, but]);
        }
        chosen
    }

    /// All numbers below `bound`, or so many random ones of them.
    fn some(&mut self, bound: usize, limit: usize) -> Vec<usize> {
        if bound <= limit {
            (0..bound).collect()
        } else {
            (0..limit).map(|_| self.random.below(bound)).collect()
        }
    }

    /// Mixtures of all sorts: from nearly nothing to nearly everything.
    fn any(&mut self, ways: &[usize]) -> Vec<usize> {
        let share = self.random.below(101);
        let mut one = |ways: &usize| {
            let is_there = self.random.below(100) < share;
            if is_there { self.random.below(*ways) } else { 0 }
        };
        let mut drawn: Vec<usize> = ways.iter().map(&mut one).collect();
        for (drawn, ways) in drawn.iter_mut().zip(ways) {
            if *drawn > 0 && self.random.below(2) == 0 {
                *drawn = ways - 1;
            }
        }
        drawn
    }
}

/// The product.
fn all(ways: &[usize]) -> Vec<Vec<usize>> {
    ways.iter().fold(vec![Vec::new()], |beginnings, ways| {
        let longer = |beginning: Vec<usize>| {
            (0..*ways).map(move |way| [beginning.as_slice(), &[way]].concat())
        };
        beginnings.into_iter().flat_map(longer).collect()
    })
}

type Check = Box<dyn FnMut(&[u8]) -> Result<(), String> + Send>;

/// An explorer at work.
pub(super) struct Watch {
    explorer: Explorer,
    check: Check,
    failure: Option<Failure>,
    stores: u32,
}

impl Watch {
    pub(super) const fn new(explorer: Explorer, check: Check) -> Self {
        Self { explorer, check, failure: None, stores: 0 }
    }

    /// Whether the store that was just made is one of those to be looked at.
    pub(super) fn is_due(&mut self) -> bool {
        self.stores = self.stores.wrapping_add(1);
        self.explorer.limits.stores.is_some_and(|every| self.stores.is_multiple_of(every.get()))
    }

    /// Looks at the images of this instant. After a failure nothing is looked at any more.
    pub(super) fn examine(&mut self, pending: &Pending) {
        if self.failure.is_none() {
            let check = self.check.as_mut();
            self.failure = self.explorer.examine(&pending.choices(), check).err();
        }
    }

    pub(super) fn finish(self) -> Result<Counts, Failure> {
        self.failure.map_or(Ok(self.explorer.counts), Err)
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            instants: self.instants + other.instants,
            exhausted: self.exhausted + other.exhausted,
            images: self.images + other.images,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl core::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instants, exhausted, images } = self;
        write!(to, "{images} crash images at {instants} instants ({exhausted} exhaustively)")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instant, image, ways, message } = self;
        write!(to, "{message} (instant {instant}, image {image}, of what was pending {ways:?})")
    }
}
