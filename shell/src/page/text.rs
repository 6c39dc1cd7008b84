//! A text in lines, with a cursor.

use alloc::string::String;
use alloc::vec::Vec;

use crate::editor::{columns, is_attached};

/// Bytes of a text that can be edited, at most: it has to fit into one transaction.
pub const MAX_TEXT: usize = 64 << 10;

/// A text that is being edited.
#[derive(Debug)]
pub(super) struct Text {
    /// One at least.
    lines: Vec<String>,
    row: usize,
    /// Bytes of the line before the cursor.
    at: usize,
    /// Bytes of all lines and of the line ends between them.
    bytes: usize,
    /// The column that the cursor keeps while it moves up and down.
    goal: Option<usize>,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Text {
    /// A text with the cursor at its beginning.
    pub(super) fn new(text: &str) -> Result<Self, TooLong> {
        let lines = text.split('\n').map(String::from).collect();
        let fits = text.len() <= MAX_TEXT;
        let new = Self { lines, row: 0, at: 0, bytes: text.len(), goal: None };
        fits.then_some(new).ok_or(TooLong)
    }

    pub(super) fn text(&self) -> String {
        self.lines.join("\n")
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// The column where the cursor is.
    pub(super) fn column(&self) -> usize {
        shown_columns(self.before())
    }

    fn line(&self) -> &str {
        self.lines.get(self.row).map_or("", String::as_str)
    }

    fn before(&self) -> &str {
        self.line().get(..self.at).unwrap_or_default()
    }

    fn after(&self) -> &str {
        self.line().get(self.at..).unwrap_or_default()
    }

    /// Puts a character before the cursor.
    pub(super) fn insert(&mut self, c: char) -> Result<(), TooLong> {
        self.make_room(c.len_utf8())?;
        let at = self.at;
        if let Some(line) = self.lines.get_mut(self.row) {
            line.insert(at, c);
            self.at += c.len_utf8();
        }
        Ok(())
    }

    /// Ends the line at the cursor; what was behind it is the next line.
    pub(super) fn split(&mut self) -> Result<(), TooLong> {
        self.make_room(1)?;
        let at = self.at;
        if let Some(line) = self.lines.get_mut(self.row) {
            let rest = line.split_off(at);
            self.lines.insert(self.row + 1, rest);
            (self.row, self.at) = (self.row + 1, 0);
        }
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), TooLong> {
        self.goal = None;
        let total = self.bytes + bytes;
        if total > MAX_TEXT {
            return Err(TooLong);
        }
        self.bytes = total;
        Ok(())
    }

    /// Takes away what is before the cursor: a character, or the end of the line before.
    pub(super) fn remove_before(&mut self) {
        if self.left() {
            self.remove_after();
        }
    }

    /// Takes away what is behind the cursor.
    pub(super) fn remove_after(&mut self) {
        self.goal = None;
        match first_bytes(self.after()) {
            0 => self.join(),
            bytes => self.cut(bytes),
        }
    }

    /// Takes away the rest of the line, or the line's end where the cursor is there.
    pub(super) fn remove_rest(&mut self) {
        self.goal = None;
        match self.after().len() {
            0 => self.join(),
            bytes => self.cut(bytes),
        }
    }

    fn cut(&mut self, bytes: usize) {
        let at = self.at;
        if let Some(line) = self.lines.get_mut(self.row) {
            line.replace_range(at..at + bytes, "");
            self.bytes -= bytes;
        }
    }

    fn join(&mut self) {
        if self.row + 1 < self.lines.len() {
            let next = self.lines.remove(self.row + 1);
            if let Some(line) = self.lines.get_mut(self.row) {
                line.push_str(&next);
            }
            self.bytes -= 1;
        }
    }

    /// Moves the cursor back; tells whether there was anything.
    pub(super) fn left(&mut self) -> bool {
        self.goal = None;
        match last_bytes(self.before()) {
            0 if self.row == 0 => return false,
            0 => {
                self.row -= 1;
                self.at = self.line().len();
            }
            bytes => self.at -= bytes,
        }
        true
    }

    /// Moves the cursor on.
    pub(super) fn right(&mut self) {
        self.goal = None;
        match first_bytes(self.after()) {
            0 if self.row + 1 < self.lines.len() => (self.row, self.at) = (self.row + 1, 0),
            bytes => self.at += bytes,
        }
    }

    /// Moves the cursor to the line's beginning.
    pub(super) fn home(&mut self) {
        (self.goal, self.at) = (None, 0);
    }

    /// Moves the cursor to the line's end.
    pub(super) fn end(&mut self) {
        (self.goal, self.at) = (None, self.line().len());
    }

    /// Moves the cursor so many lines up.
    pub(super) fn up(&mut self, lines: usize) {
        self.go_to_row(self.row.saturating_sub(lines));
    }

    /// Moves the cursor so many lines down.
    pub(super) fn down(&mut self, lines: usize) {
        self.go_to_row(self.row.saturating_add(lines).min(self.lines.len().saturating_sub(1)));
    }

    fn go_to_row(&mut self, row: usize) {
        let goal = self.goal.unwrap_or_else(|| self.column());
        self.row = row;
        self.at = at_column(self.line(), goal);
        self.goal = Some(goal);
    }
}

/// Columns that a part of a line takes: control characters are shown, each in one.
pub(super) fn shown_columns(text: &str) -> usize {
    text.chars().map(shown).map(|c| columns(c.encode_utf8(&mut [0; 4]))).sum()
}

/// What stands for a character on the terminal.
pub(super) fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '·',
        c => c,
    }
}

/// Bytes of the first character, with what belongs to it.
fn first_bytes(text: &str) -> usize {
    let mut rest = text.char_indices().skip(1);
    rest.find(|(_, c)| !belongs(*c)).map_or(text.len(), |(at, _)| at)
}

/// Bytes of the last character, with what belongs to it.
fn last_bytes(text: &str) -> usize {
    let last = text.char_indices().rev().find(|(_, c)| !belongs(*c));
    text.len() - last.map_or(0, |(at, _)| at)
}

fn belongs(c: char) -> bool {
    is_attached(c) && !c.is_control()
}

/// Where in a line a column is, or its end.
fn at_column(line: &str, column: usize) -> usize {
    let ends = line.char_indices().map(|(at, c)| at + c.len_utf8());
    let fits = |end: &usize| shown_columns(line.get(..*end).unwrap_or_default()) <= column;
    ends.take_while(fits).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(char),
        Split,
        Before,
        After,
        Rest,
        Left,
        Right,
        Home,
        End,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop::sample::select(vec!['a', 'b', 'ß', '漢', '\t']).prop_map(Step::Insert),
            2 => Just(Step::Split),
            2 => prop::sample::select(vec![Step::Before, Step::After, Step::Rest]),
            4 => prop::sample::select(vec![Step::Left, Step::Right, Step::Home, Step::End]),
        ]
    }

    fn carry_out(text: &mut Text, step: Step) {
        match step {
            Step::Insert(c) => text.insert(c).expect("room"),
            Step::Split => text.split().expect("room"),
            Step::Before => text.remove_before(),
            Step::After => text.remove_after(),
            Step::Rest => text.remove_rest(),
            Step::Left => drop(text.left()),
            Step::Right => text.right(),
            Step::Home => text.home(),
            Step::End => text.end(),
        }
    }

    /// The obvious: all characters, and how many are before the cursor.
    fn obvious((text, at): &mut (Vec<char>, usize), step: Step) {
        let end = text[*at..].iter().position(|c| *c == '\n').map_or(text.len(), |far| *at + far);
        match step {
            Step::Insert(c) => {
                text.insert(*at, c);
                *at += 1;
            }
            Step::Before if *at > 0 => {
                *at -= 1;
                text.remove(*at);
            }
            Step::After if *at < text.len() => drop(text.remove(*at)),
            Step::Rest => drop(text.drain(*at..end.max((*at + 1).min(text.len()))).count()),
            Step::Left => *at = at.saturating_sub(1),
            Step::Right => *at = (*at + 1).min(text.len()),
            Step::Home => *at = text[..*at].iter().rposition(|c| *c == '\n').map_or(0, |at| at + 1),
            Step::End => *at = end,
            Step::Before | Step::After | Step::Split => {}
        }
    }

    #[test]
    fn the_cursor_keeps_its_column() {
        let mut text = Text::new("long line\nx\n漢漢漢").expect("short");
        text.end();
        text.down(1);
        assert_eq!((text.row(), text.column()), (1, 1));
        text.down(1);
        assert_eq!((text.row(), text.column()), (2, 6));
        text.up(9);
        assert_eq!((text.row(), text.column()), (0, 9));
    }

    #[test]
    fn what_belongs_to_a_character_goes_with_it() {
        let mut text = Text::new("e\u{301}x").expect("short");
        text.right();
        assert_eq!(text.column(), 1);
        text.remove_before();
        assert_eq!(text.text(), "x");
    }

    #[test]
    fn a_text_has_room_for_so_much() {
        assert!(Text::new(&"a".repeat(MAX_TEXT + 1)).is_err());
        let mut text = Text::new(&"a".repeat(MAX_TEXT)).expect("just fits");
        assert_eq!((text.insert('a'), text.split()), (Err(TooLong), Err(TooLong)));
        text.remove_after();
        assert_eq!((text.split(), text.insert('a')), (Ok(()), Err(TooLong)));
    }

    proptest! {
        #[test]
        fn it_is_edited_as_a_flat_text_is(steps in prop::collection::vec(step(), 0..60)) {
            let mut text = Text::new("").expect("short");
            let mut model = (Vec::new(), 0);
            for step in steps {
                carry_out(&mut text, step);
                match step {
                    Step::Split => obvious(&mut model, Step::Insert('\n')),
                    step => obvious(&mut model, step),
                }
                let expected: String = model.0.iter().collect();
                prop_assert_eq!(text.text(), expected);
                let before: String = model.0[..model.1].iter().collect();
                prop_assert_eq!(text.row(), before.matches('\n').count());
                let line = before.rsplit('\n').next().unwrap_or_default();
                prop_assert_eq!(text.column(), shown_columns(line));
                prop_assert_eq!(text.bytes, text.text().len());
            }
        }
    }
}
