//! The lines that were entered before.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};

/// Lines kept; the oldest goes when another comes.
pub const CAPACITY: usize = 200;

/// Entered lines, the newest last, and the place in them that is being looked at.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<String>,
    /// Index of the shown entry; nothing while the line is the user's own.
    position: Option<usize>,
    /// The user's own line while an entry is shown.
    draft: String,
}

impl History {
    /// Remembers a line, unless it is blank or the same as the last, and leaves the entries.
    pub(super) fn remember(&mut self, line: &str) {
        self.leave();
        if line.trim().is_empty() || self.entries.back().is_some_and(|last| last == line) {
            return;
        }
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(line.to_string());
    }

    /// Goes back to the user's own line and forgets it.
    pub(super) fn leave(&mut self) {
        self.position = None;
        self.draft.clear();
    }

    /// One entry further back; nothing at the oldest. `current` is kept as the draft.
    pub(super) fn older(&mut self, current: &str) -> Option<&str> {
        let older = match self.position {
            None => self.entries.len().checked_sub(1)?,
            Some(position) => position.checked_sub(1)?,
        };
        if self.position.is_none() {
            self.draft = current.to_string();
        }
        self.position = Some(older);
        self.entries.get(older).map(String::as_str)
    }

    /// One entry forward, the draft after the newest; nothing if that is shown already.
    pub(super) fn newer(&mut self) -> Option<&str> {
        let newer = self.position? + 1;
        self.position = (newer < self.entries.len()).then_some(newer);
        match self.position {
            Some(position) => self.entries.get(position).map(String::as_str),
            None => Some(&self.draft),
        }
    }

    /// The newest entry older than index `before` that contains the text, and where in it.
    pub(super) fn search(&self, text: &str, before: usize) -> Option<Match<'_>> {
        let older = self.entries.iter().enumerate().take(before).rev();
        older
            .filter_map(|(index, line)| Some(Match { index, line, offset: line.rfind(text)? }))
            .next()
    }

    /// An entry by its index.
    pub(super) fn entry(&self, index: usize) -> Option<&str> {
        self.entries.get(index).map(String::as_str)
    }

    /// One more than the newest entry's index.
    pub(super) fn end(&self) -> usize {
        self.entries.len()
    }

    /// Looks at an entry, as if it had been reached by [`History::older`].
    pub(super) fn visit(&mut self, index: usize, current: &str) {
        if self.position.is_none() {
            self.draft = current.to_string();
        }
        self.position = Some(index);
    }
}

/// A line found by [`History::search`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match<'a> {
    /// The entry's index.
    pub index: usize,
    /// The entry.
    pub line: &'a str,
    /// The byte at which the text was found.
    pub offset: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(lines: &[&str]) -> History {
        let mut history = History::default();
        lines.iter().for_each(|line| history.remember(line));
        history
    }

    #[test]
    fn blanks_and_repetitions_are_not_kept() {
        let history = history(&["ps", "ps", "  ", "mem", "ps"]);
        assert_eq!(history.entries, ["ps", "mem", "ps"]);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut history = History::default();
        (0..CAPACITY + 3).for_each(|n| history.remember(&n.to_string()));
        assert_eq!(history.entries.len(), CAPACITY);
        assert_eq!(history.entries.front().map(String::as_str), Some("3"));
    }

    #[test]
    fn going_back_keeps_the_draft() {
        let mut history = history(&["a", "b"]);
        assert_eq!(history.newer(), None);
        assert_eq!(history.older("draft"), Some("b"));
        assert_eq!(history.older("b"), Some("a"));
        assert_eq!(history.older("a"), None);
        assert_eq!(history.newer(), Some("b"));
        assert_eq!(history.newer(), Some("draft"));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn search_goes_from_new_to_old() {
        let history = history(&["run a", "ps", "run b"]);
        let newest = history.search("run", history.end()).unwrap();
        assert_eq!((newest.index, newest.line, newest.offset), (2, "run b", 0));
        assert_eq!(history.search("run", newest.index).unwrap().line, "run a");
        assert_eq!(history.search("nothing", history.end()), None);
    }
}
