//! The text of one line and the cursor in it.
//!
//! The cursor always stands before a *cluster*: a character together with the zero-width ones
//! (accents, joiners) behind it, so that what looks like one character is moved over and deleted
//! as one.

use alloc::string::String;
use unicode_width::UnicodeWidthChar;

/// Bytes a line may have; the editor refuses to insert beyond that.
pub const MAX_LINE: usize = 4096;

/// A line being edited.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Line {
    text: String,
    /// Byte offset, on a cluster boundary.
    cursor: usize,
}

/// The line has no room for the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineFull;

/// What counts as a word for moving and deleting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordKind {
    /// Letters and digits.
    Alphanumeric,
    /// Anything but blanks.
    Blanks,
}

impl WordKind {
    fn contains(self, c: char) -> bool {
        match self {
            Self::Alphanumeric => c.is_alphanumeric(),
            Self::Blanks => !c.is_whitespace(),
        }
    }
}

impl Line {
    /// A line with the cursor at its end.
    pub(super) fn with_text(text: String) -> Self {
        let cursor = text.len();
        Self { text, cursor }
    }

    /// The whole text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The cursor as a byte offset into the text.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// What stands left of the cursor.
    pub(super) fn before_cursor(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    fn after_cursor(&self) -> &str {
        self.text.get(self.cursor..).unwrap_or_default()
    }

    /// Puts text at the cursor and moves behind it.
    ///
    /// # Errors
    /// [`LineFull`] if the line would be longer than [`MAX_LINE`]; it is unchanged then.
    pub(super) fn insert(&mut self, text: &str) -> Result<(), LineFull> {
        if self.text.len() + text.len() > MAX_LINE {
            return Err(LineFull);
        }
        self.text.insert_str(self.cursor, text);
        // What was inserted may have joined the cluster behind it.
        self.move_to(self.cursor + text.len());
        Ok(())
    }

    /// Moves to the boundary at or behind a byte offset.
    pub(super) fn move_to(&mut self, target: usize) {
        self.cursor = boundary_from(&self.text, target);
    }

    /// Where one step to the left leads.
    pub(super) fn left(&self) -> usize {
        clusters(self.before_cursor()).next_back().map_or(0, |(at, _)| at)
    }

    /// Where one step to the right leads.
    pub(super) fn right(&self) -> usize {
        let next = clusters(self.after_cursor()).nth(1);
        next.map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    /// The start of the word left of the cursor.
    pub(super) fn word_left(&self, kind: WordKind) -> usize {
        let left = clusters(self.before_cursor()).rev();
        let word = left.skip_while(|&(_, c)| !kind.contains(c));
        word.take_while(|&(_, c)| kind.contains(c)).last().map_or(0, |(at, _)| at)
    }

    /// The end of the word right of the cursor.
    pub(super) fn word_right(&self, kind: WordKind) -> usize {
        let mut word = clusters(self.after_cursor()).skip_while(|&(_, c)| !kind.contains(c));
        let end = word.find(|&(_, c)| !kind.contains(c));
        end.map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    /// Takes out what lies between the cursor and another offset; the cursor stays at the gap.
    pub(super) fn cut_to(&mut self, other: usize) -> String {
        let other = boundary_from(&self.text, other);
        let (from, to) = (self.cursor.min(other), self.cursor.max(other));
        let cut = self.text.get(from..to).map(String::from).unwrap_or_default();
        self.text.replace_range(from..to, "");
        self.move_to(from);
        cut
    }

    /// Replaces what lies between an offset left of the cursor and the cursor.
    ///
    /// # Errors
    /// [`LineFull`], as for [`Line::insert`]; the line is unchanged then.
    pub(super) fn replace_before(&mut self, start: usize, text: &str) -> Result<(), LineFull> {
        let mut changed = self.clone();
        let _ = changed.cut_to(start);
        changed.insert(text)?;
        *self = changed;
        Ok(())
    }
}

/// Whether a character belongs to the one before it.
pub(crate) fn is_attached(c: char) -> bool {
    c.width() == Some(0)
}

/// Where the clusters of a text start, and their first characters.
fn clusters(text: &str) -> impl DoubleEndedIterator<Item = (usize, char)> {
    text.char_indices().filter(|&(at, c)| at == 0 || !is_attached(c))
}

/// The first cluster boundary at or behind an offset.
fn boundary_from(text: &str, offset: usize) -> usize {
    if offset == 0 {
        return 0;
    }
    let later = |&(at, _): &(usize, char)| at >= offset;
    clusters(text).find(later).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, cursor: usize) -> Line {
        let mut line = Line::with_text(text.into());
        line.move_to(cursor);
        line
    }

    #[test]
    fn words_are_alphanumeric_or_between_blanks() {
        let text = line("run --core=2  x", 12);
        assert_eq!(text.word_left(WordKind::Alphanumeric), 11);
        assert_eq!(text.word_left(WordKind::Blanks), 4);
        assert_eq!(text.word_right(WordKind::Alphanumeric), 15);
        assert_eq!(line("a b", 0).word_left(WordKind::Blanks), 0);
        assert_eq!(line("a b", 3).word_right(WordKind::Blanks), 3);
    }

    #[test]
    fn an_accent_goes_with_its_letter() {
        let mut text = line("ae\u{301}b", 1);
        assert_eq!(text.right(), 4);
        text.move_to(4);
        assert_eq!(text.left(), 1);
        assert_eq!(text.cut_to(text.left()), "e\u{301}");
        assert_eq!(text.text(), "ab");
    }

    #[test]
    fn a_full_line_stays_as_it_is() {
        let mut text = line(&"x".repeat(MAX_LINE), 5);
        let before = text.clone();
        assert_eq!(text.insert("y"), Err(LineFull));
        assert_eq!(text.replace_before(3, "12345"), Err(LineFull));
        assert_eq!(text, before);
        assert_eq!(text.replace_before(3, "12"), Ok(()));
    }
}
