//! Tables and column lists that fit the terminal.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::editor::columns;
use crate::style::{Role, Style};

/// Blanks between two columns.
const GAP: usize = 2;
/// An elastic column is not made narrower than this.
const NARROWEST: usize = 8;

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Flush left.
    Left,
    /// Flush right, for numbers.
    Right,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    title: &'static str,
    align: Align,
    /// Whether its text may be cut to make the table fit.
    elastic: bool,
    /// Whether it is left out where no row has anything in it.
    sparse: bool,
}

impl Column {
    /// A column of text.
    pub const fn left(title: &'static str) -> Self {
        Self { title, align: Align::Left, elastic: false, sparse: false }
    }

    /// A column of numbers.
    pub const fn right(title: &'static str) -> Self {
        Self { title, align: Align::Right, elastic: false, sparse: false }
    }

    /// A column of text that is cut, with `…`, where the table would not fit otherwise.
    pub const fn elastic(title: &'static str) -> Self {
        Self { title, align: Align::Left, elastic: true, sparse: false }
    }

    /// The same column, left out of a table in which no row has anything in it.
    pub const fn sparse(self) -> Self {
        Self { sparse: true, ..self }
    }
}

/// A table's cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    role: Role,
}

impl Cell {
    /// A cell with a meaning.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { text: text.into(), role }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Role::Plain, text)
    }
}

/// Rows under titles.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub fn new(columns: [Column; N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row at the end.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// The table's lines, each ended by a line feed; the titles' only if there are any. No width means no limit; with one, elastic
    /// columns are cut first, and what is too wide even then goes over the edge.
    pub fn render(&self, width: Option<usize>, style: Style) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        let titles = self.columns.each_ref().map(|c| Cell::new(Role::Title, c.title));
        let has_titles = self.columns.iter().any(|column| !column.title.is_empty());
        for row in has_titles.then_some(&titles).into_iter().chain(&self.rows) {
            self.render_row(row, &widths, style, &mut text);
        }
        text
    }

    fn widths(&self, limit: Option<usize>) -> [usize; N] {
        let mut widths = self.columns.each_ref().map(|column| columns(column.title));
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = columns(&cell.text).max(*width);
            }
        }
        for (width, is_shown) in widths.iter_mut().zip(self.shown()) {
            *width *= usize::from(is_shown);
        }
        if let Some(limit) = limit {
            self.shrink(&mut widths, limit);
        }
        widths
    }

    /// Which columns are not left out.
    fn shown(&self) -> [bool; N] {
        let is_used = |index: usize| self.rows.iter().any(|row| !row[index].text.is_empty());
        core::array::from_fn(|index| !self.columns[index].sparse || is_used(index))
    }

    /// Takes columns off the widest elastic ones until the table fits or they are narrow.
    fn shrink(&self, widths: &mut [usize; N], limit: usize) {
        let shown = self.shown().into_iter().filter(|is_shown| *is_shown).count();
        let gaps = GAP * shown.saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            let elastic = widths.iter_mut().zip(&self.columns).filter(|(_, c)| c.elastic);
            match elastic.map(|(width, _)| width).max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => return,
            }
        }
    }

    fn render_row(&self, row: &[Cell; N], widths: &[usize; N], style: Style, text: &mut String) {
        let all = row.iter().zip(&self.columns).zip(widths).zip(self.shown());
        let shown = all.filter(|(_, is_shown)| *is_shown).map(|(column, _)| column);
        for (index, ((cell, column), &width)) in shown.enumerate() {
            if index > 0 {
                pad(text, GAP);
            }
            let fitted = fit(&cell.text, width);
            let blank = width - columns(&fitted);
            let (before, after) = match column.align {
                Align::Left => (0, blank),
                Align::Right => (blank, 0),
            };
            pad(text, before);
            text.push_str(&style.paint(cell.role, &fitted));
            pad(text, after);
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
}

/// Arranges short texts in as many columns as fit, filled from top to bottom.
pub fn in_columns(items: &[String], width: usize) -> Vec<String> {
    let widest = items.iter().map(|item| columns(item)).max().unwrap_or(0) + GAP;
    let across = (width.saturating_sub(1) / widest).clamp(1, items.len().max(1));
    let rows = items.len().div_ceil(across);
    let mut lines = vec![String::new(); rows];
    for (index, item) in items.iter().enumerate() {
        let (row, column) = (index % rows, index / rows);
        if let Some(line) = lines.get_mut(row) {
            pad(line, column * widest - columns(line));
            line.push_str(&fit(item, width));
        }
    }
    lines
}

/// Breaks text into lines of at most `width` columns at its blanks.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Cuts text that is too wide and marks the cut.
fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.into();
    }
    let mut cut = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let wide = columns(c.encode_utf8(&mut [0; 4]));
        if wide > left {
            break;
        }
        left -= wide;
        cut.push(c);
    }
    cut.push('…');
    cut
}

fn pad(text: &mut String, blanks: usize) {
    text.extend(core::iter::repeat_n(' ', blanks));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn sample() -> Table<3> {
        let mut table =
            Table::new([Column::left("NAME"), Column::right("SIZE"), Column::elastic("ABOUT")]);
        table.row(["uart".into(), "5".into(), "writes and reads the serial line".into()]);
        table.row([Cell::new(Role::Name, "console"), "1024".into(), "".into()]);
        table
    }

    #[test]
    fn columns_align_and_lines_have_no_trailing_blanks() {
        assert_eq!(
            sample().render(None, Style::Plain),
            "NAME     SIZE  ABOUT\n\
             uart        5  writes and reads the serial line\n\
             console  1024\n"
        );
    }

    #[test]
    fn the_elastic_column_is_cut_to_fit() {
        assert_eq!(
            sample().render(Some(30), Style::Plain),
            "NAME     SIZE  ABOUT\n\
             uart        5  writes and rea…\n\
             console  1024\n"
        );
    }

    #[test]
    fn a_sparse_column_is_there_when_a_row_has_something_in_it() {
        let mut table = Table::new([Column::left("A"), Column::right("B").sparse()]);
        table.row(["a".into(), "".into()]);
        assert_eq!(table.render(None, Style::Plain), "A\na\n");
        table.row(["b".into(), "1".into()]);
        assert_eq!(table.render(None, Style::Plain), "A  B\na\nb  1\n");
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let painted = sample().render(None, Style::Coloured);
        assert!(painted.contains("\x1b[36mconsole\x1b[0m  1024\n"), "{painted}");
    }

    #[test]
    fn lists_fill_columns_downwards() {
        let items = ["a", "bb", "ccc", "d", "e"].map(String::from);
        assert_eq!(in_columns(&items, 13), ["a    d", "bb   e", "ccc"]);
        assert_eq!(in_columns(&items, 3), ["a", "bb", "ccc", "d", "e"]);
        assert!(in_columns(&[], 80).is_empty());
    }

    #[test]
    fn wrapping_keeps_words_whole() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"]);
    }

    proptest! {
        #[test]
        fn lists_lose_nothing(items in proptest::collection::vec("[a-z]{1,12}", 0..40), width in 20usize..120) {
            let lines = in_columns(&items, width);
            prop_assert!(lines.iter().all(|line| columns(line) < width));
            let mut got: Vec<_> = lines.iter().flat_map(|l| l.split_whitespace()).collect();
            let mut wanted: Vec<_> = items.iter().map(String::as_str).collect();
            got.sort_unstable();
            wanted.sort_unstable();
            prop_assert_eq!(got, wanted);
        }

        #[test]
        fn cut_text_fits(text in any::<String>(), width in 1usize..40) {
            prop_assert!(columns(&fit(&text, width)) <= width);
        }
    }
}
