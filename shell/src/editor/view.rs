//! What of a line is on the terminal, and the bytes that change it.
//!
//! The line occupies one row and scrolls sideways when it is longer, with `<` and `>` where it
//! goes on: that works on a terminal wider than assumed, where wrapping would move the cursor to
//! rows that do not exist. The last column is never written, because terminals disagree about
//! where the cursor is after it.

use alloc::string::String;
use alloc::vec::Vec;
use unicode_width::UnicodeWidthChar;

use super::line::is_attached;

/// Assumed until the terminal tells.
pub const DEFAULT_WIDTH: u16 = 80;
const NARROWEST: u16 = 20;
const WIDEST: u16 = 1000;

/// What should be seen: a prompt and the text behind it with the cursor in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Shown before the text; scrolls with it.
    pub prompt: &'a str,
    /// The text.
    pub text: &'a str,
    /// Byte offset into the text.
    pub cursor: usize,
}

/// The row as the terminal shows it now.
#[derive(Debug)]
pub(super) struct View {
    width: usize,
    /// The glyphs in the row, from its first column on.
    shown: String,
    /// The terminal's cursor, in columns.
    column: usize,
    /// Columns of the line that are scrolled out on the left.
    scroll: usize,
}

impl Default for View {
    fn default() -> Self {
        Self { width: usize::from(DEFAULT_WIDTH), shown: String::new(), column: 0, scroll: 0 }
    }
}

impl View {
    /// Believes the terminal's width in columns, within reason.
    pub(super) fn set_width(&mut self, columns: u16) {
        self.width = usize::from(columns.clamp(NARROWEST, WIDEST));
    }

    /// The terminal's width in columns.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The terminal's cursor, in columns.
    #[cfg(test)]
    pub(super) fn column(&self) -> usize {
        self.column
    }

    /// The row is empty and the cursor at its start: something ended the line.
    pub(super) fn forget(&mut self) {
        self.shown.clear();
        self.column = 0;
        self.scroll = 0;
    }

    /// Writes the whole row again, whatever stands in it now.
    pub(super) fn redraw(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\x1b[K");
        self.shown.clear();
        self.column = 0;
        self.draw(frame, out);
    }

    /// Writes what differs from what is shown, and puts the cursor in its place.
    pub(super) fn draw(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        let (row, column) = self.lay_out(frame);
        self.write_difference(&row, out);
        self.shown = row;
        self.move_to(column, out);
    }

    /// The row's glyphs and the cursor's column.
    fn lay_out(&mut self, frame: Frame<'_>) -> (String, usize) {
        let before = frame.text.get(..frame.cursor).unwrap_or(frame.text);
        let cursor = columns(frame.prompt) + columns(before);
        let total = columns(frame.prompt) + columns(frame.text);
        let usable = self.width - 1;
        self.scroll = scroll_for(self.scroll, cursor, total, usable);
        let glyphs = frame.prompt.chars().chain(frame.text.chars());
        (window(glyphs, self.scroll, usable, total), cursor - self.scroll)
    }

    fn write_difference(&mut self, row: &str, out: &mut Vec<u8>) {
        let same = common_prefix(&self.shown, row);
        let (kept, old) = self.shown.split_at(same);
        let new = row.get(same..).unwrap_or_default();
        if old.is_empty() && new.is_empty() {
            return;
        }
        let (at, shorter) = (columns(kept), columns(new) < columns(old));
        self.move_to(at, out);
        out.extend_from_slice(new.as_bytes());
        self.column = at + columns(new);
        if shorter {
            out.extend_from_slice(b"\x1b[K");
        }
    }

    fn move_to(&mut self, column: usize, out: &mut Vec<u8>) {
        if column == self.column {
            return;
        }
        match self.column.checked_sub(column) {
            Some(back @ 1..=4) => out.extend(core::iter::repeat_n(b'\x08', back)),
            _ => {
                out.push(b'\r');
                if column > 0 {
                    out.extend_from_slice(alloc::format!("\x1b[{column}C").as_bytes());
                }
            }
        }
        self.column = column;
    }
}

/// Columns that text takes; what the editor holds has no control characters.
pub fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

fn char_columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Keeps the scroll position while the cursor is visible, and centres the cursor otherwise.
fn scroll_for(current: usize, cursor: usize, total: usize, usable: usize) -> usize {
    if total <= usable {
        return 0;
    }
    let is_left = current > 0 && cursor <= current;
    let is_right = cursor + 1 > current + usable;
    if is_left || is_right { cursor.saturating_sub(usable / 2) } else { current }
}

/// The part of a line of `total` columns that shows through `usable` columns from `scroll` on.
fn window(
    glyphs: impl Iterator<Item = char>,
    scroll: usize,
    usable: usize,
    total: usize,
) -> String {
    let cut_left = scroll > 0;
    let cut_right = total > scroll + usable;
    let from = scroll + usize::from(cut_left);
    let to = scroll + usable - usize::from(cut_right);
    let mut row = String::new();
    if cut_left {
        row.push('<');
    }
    let (mut column, mut filled) = (0, from);
    let mut is_shown = !cut_left;
    for c in glyphs {
        let (start, end) = (column, column + char_columns(c));
        column = end;
        if !is_attached(c) {
            is_shown = start >= from && end <= to;
        }
        if is_shown {
            // A wide character cut by the left edge leaves a blank.
            row.extend(core::iter::repeat_n(' ', start.saturating_sub(filled)));
            row.push(c);
            filled = end;
        }
    }
    if cut_right {
        row.extend(core::iter::repeat_n(' ', to.saturating_sub(filled)));
        row.push('>');
    }
    row
}

/// Bytes that two rows share at their start, ending between two clusters of both.
fn common_prefix(a: &str, b: &str) -> usize {
    let mut boundary = 0;
    let mut position = 0;
    for (x, y) in a.chars().zip(b.chars()) {
        if x != y {
            break;
        }
        if !is_attached(x) {
            boundary = position;
        }
        position += x.len_utf8();
    }
    let continues = |text: &str| text.get(position..).and_then(|rest| rest.chars().next());
    let splits_cluster = [a, b].into_iter().filter_map(continues).any(is_attached);
    if splits_cluster { boundary } else { position }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str, cursor: usize) -> Frame<'_> {
        Frame { prompt: "> ", text, cursor }
    }

    fn drawn(view: &mut View, text: &str, cursor: usize) -> String {
        let mut out = Vec::new();
        view.draw(frame(text, cursor), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn typing_at_the_end_costs_one_byte() {
        let mut view = View::default();
        assert_eq!(drawn(&mut view, "a", 1), "> a");
        assert_eq!(drawn(&mut view, "ab", 2), "b");
        assert_eq!(drawn(&mut view, "ab", 2), "");
        assert_eq!(drawn(&mut view, "ab", 1), "\x08");
        assert_eq!(drawn(&mut view, "b", 0), "\x08b\x1b[K\x08");
    }

    #[test]
    fn a_long_line_scrolls_with_marks() {
        let mut view = View::default();
        view.set_width(20);
        let text = "0123456789abcdefghijklmnopqrstuvwxyz";
        drawn(&mut view, text, text.len());
        assert_eq!(view.shown, "<stuvwxyz");
        drawn(&mut view, text, 20);
        assert_eq!(view.shown, "<cdefghijklmnopqrs>");
        drawn(&mut view, text, 0);
        assert_eq!(view.shown, "> 0123456789abcdef>");
        assert_eq!(view.column, 2);
    }

    #[test]
    fn wide_characters_are_not_cut() {
        let text = "日本語日本語日本語日本語";
        for scroll in 0..10 {
            let row = window(text.chars(), scroll, 11, columns(text));
            assert!(columns(&row) <= 11, "{row}");
            assert_eq!(row.starts_with('<'), scroll > 0);
        }
        assert_eq!(window(text.chars(), 2, 10, 24), "< 語日本 >");
    }

    #[test]
    fn the_shared_prefix_never_splits_a_cluster() {
        assert_eq!(common_prefix("abe", "abe\u{301}"), 2);
        assert_eq!(common_prefix("abe", "abx"), 2);
        assert_eq!(common_prefix("é", "è"), 0);
    }
}
