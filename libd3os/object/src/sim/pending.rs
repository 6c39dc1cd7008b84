//! What is not durable yet, and what of it a loss of power can leave.

use std::collections::BTreeMap;

use super::Domain;
use crate::medium::{LINE_BYTES, Line, WORD_BYTES};

/// The durable image, and everything that was stored since.
pub(super) struct Pending {
    domain: Domain,
    durable: Vec<u8>,
    /// By line (ADR); under eADR, all of them in one sequence.
    cached: BTreeMap<usize, Vec<Store>>,
    past: Vec<Word>,
    flushes: Vec<Flush>,
    now: u64,
}

/// A store through the cache, within one line (ADR) or anywhere (eADR).
struct Store {
    at: usize,
    bytes: Vec<u8>,
    when: u64,
}

/// A word that was stored past the cache.
struct Word {
    thread: usize,
    at: usize,
    bytes: [u8; WORD_BYTES],
}

/// A line that is being written back.
struct Flush {
    thread: usize,
    line: usize,
    when: u64,
}

impl Pending {
    pub(super) const fn new(domain: Domain, durable: Vec<u8>) -> Self {
        let cached = BTreeMap::new();
        Self { domain, durable, cached, past: Vec::new(), flushes: Vec::new(), now: 0 }
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn store(&mut self, at: usize, from: &[u8]) {
        self.now += 1;
        for (at, bytes) in by_unit(at, from, LINE_BYTES) {
            let line = at / LINE_BYTES;
            self.assert_not_under_way(line);
            let sequence = if self.domain == Domain::Adr { line } else { 0 };
            let store = Store { at, bytes: bytes.to_vec(), when: self.now };
            self.cached.entry(sequence).or_default().push(store);
        }
    }

    pub(super) fn store_line(&mut self, thread: usize, at: usize, from: &Line) {
        self.now += 1;
        self.assert_not_under_way(at / LINE_BYTES);
        for (at, bytes) in (at..).step_by(WORD_BYTES).zip(from.as_chunks().0) {
            self.past.push(Word { thread, at, bytes: *bytes });
        }
    }

    /// In which order such stores arrive is nowhere said; who depends on it is wrong.
    fn assert_not_under_way(&self, line: usize) {
        let under_way = self.past.iter().any(|word| word.at / LINE_BYTES == line);
        assert!(!under_way, "line {line} was stored past the cache and not fenced since");
    }

    pub(super) fn flush(&mut self, thread: usize, at: usize) {
        let line = at / LINE_BYTES;
        if self.domain == Domain::Adr && self.cached.contains_key(&line) {
            self.flushes.push(Flush { thread, line, when: self.now });
        }
    }

    pub(super) fn fence(&mut self, thread: usize) {
        self.write_back(thread);
        let (arrived, under_way) = core::mem::take(&mut self.past)
            .into_iter()
            .partition::<Vec<Word>, _>(|word| word.thread == thread);
        self.past = under_way;
        for Word { at, bytes, .. } in arrived {
            // What the cache held of the line was evicted before.
            self.cached.remove(&(at / LINE_BYTES));
            put(&mut self.durable, at, &bytes);
        }
    }

    fn write_back(&mut self, thread: usize) {
        match self.domain {
            Domain::Adr => {
                let (own, others) = core::mem::take(&mut self.flushes)
                    .into_iter()
                    .partition::<Vec<Flush>, _>(|flush| flush.thread == thread);
                self.flushes = others;
                own.iter().for_each(|flush| self.settle(flush.line, flush.when));
            }
            // Visible is durable; what can be left from here on contains all of it.
            Domain::Eadr => self.settle(0, self.now),
        }
    }

    /// Makes the stores of this sequence durable that were made until then.
    fn settle(&mut self, sequence: usize, until: u64) {
        let Some(stores) = self.cached.remove(&sequence) else { return };
        let (settled, rest) =
            stores.into_iter().partition::<Vec<Store>, _>(|store| store.when <= until);
        settled.iter().for_each(|store| put(&mut self.durable, store.at, &store.bytes));
        if !rest.is_empty() {
            self.cached.insert(sequence, rest);
        }
    }

    /// What becomes durable independently of each other, in the order in which it takes effect where
    /// it overlaps.
    pub(super) fn choices(&self) -> Choices<'_> {
        let sequences = self.cached.values().map(|stores| Choice::Sequence(stores, cuts(stores)));
        let words = self.past.iter().map(Choice::Word);
        Choices { durable: &self.durable, choices: sequences.chain(words).collect() }
    }
}

/// What may be durable or not at an instant.
pub(super) struct Choices<'a> {
    durable: &'a [u8],
    choices: Vec<Choice<'a>>,
}

enum Choice<'a> {
    /// Stores of which one of these beginnings is durable.
    Sequence(&'a [Store], Vec<Cut>),
    /// A word that is durable or not.
    Word(&'a Word),
}

/// How much of a sequence is durable: so many whole stores, and a part of the next one.
struct Cut {
    whole: usize,
    torn: Torn,
}

enum Torn {
    No,
    /// So many of its words, from the first.
    Ascending(usize),
    /// So many of its words, from the last.
    Descending(usize),
}

impl Choices<'_> {
    /// For each choice, in how many ways it can turn out. The first is that nothing is durable, the
    /// last that everything is.
    pub(super) fn ways(&self) -> Vec<usize> {
        self.choices.iter().map(Choice::ways).collect()
    }

    /// How many lines are concerned.
    pub(super) fn lines(&self) -> usize {
        let mut lines: Vec<usize> = self.choices.iter().flat_map(Choice::lines).collect();
        lines.sort_unstable();
        lines.dedup();
        lines.len()
    }

    /// The crash image of these ways.
    pub(super) fn image(&self, ways: &[usize], into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(self.durable);
        for (choice, way) in self.choices.iter().zip(ways) {
            choice.apply(*way, into);
        }
    }
}

impl Choice<'_> {
    fn ways(&self) -> usize {
        match self {
            Self::Sequence(_, cuts) => cuts.len(),
            Self::Word(_) => 2,
        }
    }

    fn lines(&self) -> Vec<usize> {
        match self {
            Self::Sequence(stores, _) => stores.iter().map(|store| store.at / LINE_BYTES).collect(),
            Self::Word(word) => vec![word.at / LINE_BYTES],
        }
    }

    fn apply(&self, way: usize, image: &mut [u8]) {
        match self {
            Self::Sequence(stores, cuts) => cuts[way].apply(stores, image),
            Self::Word(word) if way == 1 => put(image, word.at, &word.bytes),
            Self::Word(_) => {}
        }
    }
}

impl Cut {
    fn apply(&self, stores: &[Store], image: &mut [u8]) {
        let whole = &stores[..self.whole];
        whole.iter().for_each(|store| put(image, store.at, &store.bytes));
        let Some(next) = stores.get(self.whole) else { return };
        let words: Vec<_> = by_unit(next.at, &next.bytes, WORD_BYTES).collect();
        let torn = match self.torn {
            Torn::No => &[],
            Torn::Ascending(count) => &words[..count],
            Torn::Descending(count) => &words[words.len() - count..],
        };
        torn.iter().for_each(|(at, bytes)| put(image, *at, bytes));
    }
}

fn cuts(stores: &[Store]) -> Vec<Cut> {
    let before = |(whole, store): (usize, &Store)| {
        let words = by_unit(store.at, &store.bytes, WORD_BYTES).count();
        let ascending = (1..words).map(Torn::Ascending);
        let descending = (1..words).map(Torn::Descending);
        let torn = core::iter::once(Torn::No).chain(ascending).chain(descending);
        torn.map(move |torn| Cut { whole, torn })
    };
    let all = Cut { whole: stores.len(), torn: Torn::No };
    stores.iter().enumerate().flat_map(before).chain([all]).collect()
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Splits bytes at `at` where aligned units begin.
fn by_unit(at: usize, bytes: &[u8], unit: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let head = (unit - at % unit).min(bytes.len());
    let (head, tail) = bytes.split_at(head);
    let tail_at = at + head.len();
    let tail = (tail_at..).step_by(unit).zip(tail.chunks(unit));
    core::iter::once((at, head)).chain(tail).filter(|(_, bytes)| !bytes.is_empty())
}
