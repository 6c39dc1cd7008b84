//! An editor for a text of several lines, without any input or output of its own.
//!
//! Bytes of the terminal go in with [`Page::push`], which says what the page's owner is to do;
//! [`Page::draw`] writes what changes on the terminal. The last line of the terminal is the page's status.

mod text;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use self::text::{Text, shown, shown_columns};
use crate::editor::{Decoder, Key, columns};

pub use self::text::{MAX_TEXT, TooLong};

/// What stands in the status line while there is nothing else to say.
const HINT: &str = "^S saves, ^Q leaves";
const UNSAVED: &str = "not saved: ^S saves, ^Q again leaves without";
const FULL: &str = "there is no room for more";

const CLEAR: &str = "\x1b[H\x1b[2J";
const REVERSE: &str = "\x1b[7m";
const PLAIN: &str = "\x1b[0m";
const REST_OF_LINE: &str = "\x1b[K";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// This text is to be kept: answer with [`Page::saved`] or [`Page::note`].
    Save(String),
    /// Nobody wants to edit any more.
    Leave,
}

/// A text on a terminal.
#[derive(Debug)]
pub struct Page {
    title: String,
    text: Text,
    decoder: Decoder,
    width: usize,
    height: usize,
    /// The first line and the first column that are seen.
    top: usize,
    left: usize,
    /// What the terminal shows, line by line; nothing if it is not known.
    drawn: Vec<Option<String>>,
    note: Option<String>,
    is_changed: bool,
    is_leaving: bool,
}

impl Page {
    /// A text on a terminal of so many columns and lines.
    ///
    /// # Errors
    /// The text has more than [`MAX_TEXT`] bytes.
    pub fn new(title: &str, text: &str, width: usize, height: usize) -> Result<Self, TooLong> {
        let (width, height) = (width.max(2), height.max(2));
        Ok(Self {
            title: title.into(),
            text: Text::new(text)?,
            decoder: Decoder::default(),
            width,
            height,
            top: 0,
            left: 0,
            drawn: alloc::vec![None; height],
            note: None,
            is_changed: false,
            is_leaving: false,
        })
    }

    /// Takes a byte of the terminal; tells what is wanted now.
    pub fn push(&mut self, byte: u8) -> Option<Want> {
        let key = self.decoder.push(byte)?;
        let was_leaving = core::mem::take(&mut self.is_leaving);
        self.note = None;
        match key {
            Key::Ctrl('s') => return Some(Want::Save(self.text.text())),
            Key::Ctrl('q' | 'c') => return self.leave(was_leaving),
            Key::Ctrl('l') => self.forget(),
            key => self.edit(key),
        }
        None
    }

    fn leave(&mut self, was_leaving: bool) -> Option<Want> {
        if !self.is_changed || was_leaving {
            return Some(Want::Leave);
        }
        self.is_leaving = true;
        self.note = Some(UNSAVED.into());
        None
    }

    fn edit(&mut self, key: Key) {
        let page = self.height - 1;
        match key {
            Key::Left => drop(self.text.left()),
            Key::Right => self.text.right(),
            Key::Up => self.text.up(1),
            Key::Down => self.text.down(1),
            Key::PageUp => self.text.up(page),
            Key::PageDown => self.text.down(page),
            Key::Home | Key::Ctrl('a') => self.text.home(),
            Key::End | Key::Ctrl('e') => self.text.end(),
            key => self.change(key),
        }
    }

    fn change(&mut self, key: Key) {
        let done = match key {
            Key::Char(c) => self.text.insert(c),
            Key::Tab => self.text.insert('\t'),
            Key::Enter => self.text.split(),
            Key::Backspace => {
                self.text.remove_before();
                Ok(())
            }
            Key::Delete | Key::Ctrl('d') => {
                self.text.remove_after();
                Ok(())
            }
            Key::Ctrl('k') => {
                self.text.remove_rest();
                Ok(())
            }
            _ => return,
        };
        match done {
            Ok(()) => self.is_changed = true,
            Err(TooLong) => self.note = Some(FULL.into()),
        }
    }

    /// The text was kept as it is.
    pub fn saved(&mut self) {
        self.is_changed = false;
        self.note = Some("saved".into());
    }

    /// Says something in the status line, until the next key.
    pub fn note(&mut self, words: &str) {
        self.note = Some(words.into());
    }

    /// Others have written to the terminal: all of it is drawn next time.
    pub fn forget(&mut self) {
        self.drawn.fill(None);
    }

    /// What the terminal is to be sent, so that it shows the text and the cursor.
    pub fn draw(&mut self) -> String {
        self.scroll();
        let mut out = String::new();
        if self.drawn.iter().all(Option::is_none) {
            out.push_str(CLEAR);
        }
        for row in 0..self.height {
            let wanted = self.row(row);
            if self.drawn.get(row).is_some_and(|drawn| drawn.as_ref() != Some(&wanted)) {
                out.push_str(&format!("\x1b[{};1H{wanted}{REST_OF_LINE}", row + 1));
                self.drawn[row] = Some(wanted);
            }
        }
        let (row, column) = (self.text.row() - self.top, self.text.column() - self.left);
        out.push_str(&format!("\x1b[{};{}H", row + 1, column + 1));
        out
    }

    /// Sees to it that the cursor can be seen.
    fn scroll(&mut self) {
        let (row, column) = (self.text.row(), self.text.column());
        let rows = self.height - 1;
        self.top = self.top.min(row).max((row + 1).saturating_sub(rows));
        if !(self.left..self.left + self.width).contains(&column) {
            self.left = column.saturating_sub(self.width / 2);
        }
    }

    fn row(&self, row: usize) -> String {
        if row + 1 == self.height {
            return format!("{REVERSE}{}{PLAIN}", self.status());
        }
        let line = self.text.lines().get(self.top + row);
        line.map_or_else(String::new, |line| seen(line, self.left, self.width))
    }

    fn status(&self) -> String {
        let changed = if self.is_changed { " *" } else { "" };
        let note = self.note.as_deref().unwrap_or(HINT);
        let place = format!("{}:{}", self.text.row() + 1, self.text.column() + 1);
        let status = seen(&format!("{}{changed}  {place}  {note}", self.title), 0, self.width);
        let blank = self.width - columns(&status);
        format!("{status}{:blank$}", "")
    }
}

/// The part of a line in `width` columns from column `left` on.
fn seen(line: &str, left: usize, width: usize) -> String {
    let (mut column, mut part) = (0, String::new());
    for c in line.chars().map(shown) {
        let wide = shown_columns(c.encode_utf8(&mut [0; 4]));
        if column >= left && column + wide <= left + width {
            part.push(c);
        }
        column += wide;
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(text: &str) -> Page {
        Page::new("notes", text, 60, 4).expect("short")
    }

    fn typed(page: &mut Page, keys: &str) -> Vec<Want> {
        keys.bytes().filter_map(|byte| page.push(byte)).collect()
    }

    #[test]
    fn a_text_is_changed_saved_and_left() {
        let mut page = page("one\nthree");
        assert_eq!(
            typed(&mut page, "\x1b[F\rtwo\x7fo\x13"),
            [Want::Save("one\ntwo\nthree".into())]
        );
        page.saved();
        assert_eq!(typed(&mut page, "\x11"), [Want::Leave]);
        assert_eq!(typed(&mut page, "x\x11"), [], "it was changed");
        assert!(page.draw().contains("not saved"));
        assert_eq!(typed(&mut page, "\x1b[D\x11"), [], "it was something else in between");
        assert_eq!(typed(&mut page, "\x11"), [Want::Leave]);
    }

    #[test]
    fn only_what_changes_is_drawn() {
        let mut page = page("a\nb\nc\nd");
        let first = page.draw();
        assert!(first.starts_with("\x1b[H\x1b[2J\x1b[1;1Ha\x1b[K\x1b[2;1Hb"), "{first:?}");
        assert!(first.ends_with("\x1b[1;1H") && !first.contains('d'), "{first:?}");
        typed(&mut page, "x");
        let second = page.draw();
        assert!(second.starts_with("\x1b[1;1Hxa\x1b[K\x1b[4;1H\x1b[7mnotes *  1:2"), "{second:?}");
        typed(&mut page, "\x1b[6~");
        assert!(page.draw().starts_with("\x1b[1;1Hb\x1b[K"), "scrolled by a line");
        typed(&mut page, "\x0c");
        assert!(page.draw().starts_with(CLEAR));
    }

    #[test]
    fn what_the_terminal_would_obey_is_not_sent() {
        let mut page = page("\x1b[2J\u{9b}x\ty");
        assert!(page.draw().contains("\x1b[1;1H·[2J·x y"));
    }

    #[test]
    fn a_full_text_says_so() {
        let mut page = page(&"a".repeat(MAX_TEXT));
        typed(&mut page, "b");
        assert!(page.draw().contains("no room"));
        assert!(Page::new("n", &"a".repeat(MAX_TEXT + 1), 80, 24).is_err());
    }

    proptest! {
        #[test]
        fn the_cursor_is_always_seen(
            text in "[ab漢\t\n]{0,60}",
            keys in prop::collection::vec(prop::sample::select(vec![
                "a", "漢", "\r", "\x7f", "\x1b[3~", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[5~",
                "\x1b[6~", "\x1b[H", "\x1b[F", "\x0b", "\x13", "\x00", "\x1b[9", "\u{301}",
            ]), 0..80),
            (width, height) in (2usize..30, 2usize..9),
        ) {
            let mut page = Page::new("n", &text, width, height).expect("short");
            for keys in keys {
                typed(&mut page, keys);
                page.draw();
                let (row, column) = (page.text.row(), page.text.column());
                prop_assert!((page.top..page.top + height - 1).contains(&row));
                prop_assert!((page.left..page.left + width).contains(&column));
                let wide = |row: &Option<String>| columns(&row.clone().unwrap_or_default());
                let lines = &page.drawn[..height - 1];
                prop_assert!(lines.iter().all(|row| wide(row) <= width));
            }
        }
    }
}
