//! Incremental search backwards through the history (^R).

use alloc::format;
use alloc::string::{String, ToString};

use super::history::{History, Match};
use super::line::{Line, MAX_LINE};

/// A search in progress.
#[derive(Debug)]
pub(super) struct Search {
    /// What was in the line before.
    original: Line,
    query: String,
    found: Option<Found>,
    /// Entries from this index on are not looked at.
    end: usize,
    failed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    index: usize,
    offset: usize,
}

impl From<Match<'_>> for Found {
    fn from(found: Match<'_>) -> Self {
        Self { index: found.index, offset: found.offset }
    }
}

impl Search {
    /// A search for nothing yet, in the entries below index `end`.
    pub(super) fn new(original: Line, end: usize) -> Self {
        Self { original, query: String::new(), found: None, end, failed: false }
    }

    /// Adds a character to what is searched for; whether an entry has it.
    pub(super) fn extend(&mut self, c: char, history: &History) -> bool {
        if self.query.len() + c.len_utf8() > MAX_LINE {
            return false;
        }
        self.query.push(c);
        let before = self.found.map_or(self.end, |found| found.index + 1);
        self.look(history, before)
    }

    /// Takes the last character away and searches from the newest entry again.
    pub(super) fn shorten(&mut self, history: &History) -> bool {
        let shortened = self.query.pop().is_some();
        self.found = None;
        self.failed = false;
        (self.query.is_empty() || self.look(history, self.end)) && shortened
    }

    /// Goes on to the next older entry that has it.
    pub(super) fn older(&mut self, history: &History) -> bool {
        if self.query.is_empty() {
            return false;
        }
        self.look(history, self.found.map_or(self.end, |found| found.index))
    }

    fn look(&mut self, history: &History, before: usize) -> bool {
        let found = history.search(&self.query, before).map(Found::from);
        self.failed = found.is_none();
        self.found = found.or(self.found);
        !self.failed
    }

    /// The entry found, with the cursor where it matches; the original line if none was.
    pub(super) fn shown(&self, history: &History) -> Line {
        let Some(found) = self.found else { return self.original.clone() };
        let Some(entry) = history.entry(found.index) else { return self.original.clone() };
        let mut line = Line::with_text(entry.to_string());
        line.move_to(found.offset);
        line
    }

    /// The index of the entry found.
    pub(super) fn found(&self) -> Option<usize> {
        self.found.map(|found| found.index)
    }

    /// Gives the line back as it was before the search.
    pub(super) fn into_original(self) -> Line {
        self.original
    }

    /// What stands in the prompt's place.
    pub(super) fn prompt(&self) -> String {
        let state = if self.failed { "search failed" } else { "search" };
        format!("({state}) `{}': ", self.query)
    }
}
