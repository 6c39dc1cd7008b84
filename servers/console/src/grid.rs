//! The cells of a terminal and its cursor: moving, erasing, inserting, scrolling.
//!
//! Positions count from 0. The cursor may stand behind the last column, where the character that
//! filled it has left it: the next character goes to the next line then.

use alloc::vec::Vec;

use crate::cell::{Cell, Look, Part};
use crate::scrollback::Scrollback;

/// Every eighth column is a tab stop.
const TAB: usize = 8;

/// A place in a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line, from the top.
    pub row: usize,
    /// Column, from the left.
    pub column: usize,
}

/// A part of a line or of the screen, as seen from the cursor, which belongs to both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// From the cursor to the end.
    Forward,
    /// From the beginning to the cursor.
    Backward,
    /// All of it.
    All,
}

/// What [`Grid::save`] keeps.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    cursor: Position,
    origin: bool,
}

/// The cells, the cursor, and the region that scrolls.
#[derive(Debug)]
pub struct Grid {
    rows: Vec<Vec<Cell>>,
    columns: usize,
    cursor: Position,
    saved: Saved,
    /// First and last line of the region that scrolls.
    top: usize,
    bottom: usize,
    /// Whether line 0 is the region's first one.
    origin: bool,
}

impl Grid {
    /// A blank grid of at least one cell.
    #[must_use]
    pub fn new(rows: usize, columns: usize) -> Self {
        let (rows, columns) = (rows.max(1), columns.max(1));
        Self {
            rows: alloc::vec![alloc::vec![Cell::default(); columns]; rows],
            columns,
            cursor: Position::default(),
            saved: Saved::default(),
            top: 0,
            bottom: rows - 1,
            origin: false,
        }
    }

    /// Number of lines.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The cells of a line; none beyond the last line.
    #[must_use]
    pub fn row(&self, row: usize) -> &[Cell] {
        self.rows.get(row).map_or(&[], |row| &row[..])
    }

    /// Where the cursor is; its column may be the number of columns.
    #[must_use]
    pub fn cursor(&self) -> Position {
        self.cursor
    }

    /// Writes a character of `width` 1 or 2 at the cursor; a line that has no room for it is left,
    /// and lines that leave the screen go to `back`.
    pub fn put(
        &mut self,
        character: char,
        width: usize,
        look: Look,
        back: Option<&mut Scrollback>,
    ) {
        if width > self.columns {
            return;
        }
        if self.cursor.column + width > self.columns {
            self.cursor.column = 0;
            self.line_feed(back);
        }
        let Position { row, column } = self.cursor;
        (column..column + width).for_each(|column| self.tear(row, column, look));
        let part = if width == 2 { Part::Left } else { Part::Whole };
        self.set(row, column, Cell { character, look, part });
        if width == 2 {
            let right = Cell { part: Part::Right, ..Cell::blank(look) };
            self.set(row, column + 1, right);
        }
        self.cursor.column += width;
    }

    /// One line down; at the region's end the region moves up, and a line that leaves the screen
    /// goes to `back`.
    pub fn line_feed(&mut self, back: Option<&mut Scrollback>) {
        if self.cursor.row == self.bottom {
            self.scroll_up(1, back);
        } else {
            self.cursor.row = (self.cursor.row + 1).min(self.rows.len() - 1);
        }
    }

    /// One line up; at the region's beginning the region moves down.
    pub fn reverse_line_feed(&mut self) {
        if self.cursor.row == self.top {
            self.scroll_down(1);
        } else {
            self.cursor.row = self.cursor.row.saturating_sub(1);
        }
    }

    /// Moves the cursor up, not out of the region if it is within.
    pub fn up(&mut self, count: usize) {
        let limit = if self.in_region() { self.top } else { 0 };
        self.cursor.row = self.cursor.row.saturating_sub(count).max(limit);
    }

    /// Moves the cursor down, not out of the region if it is within.
    pub fn down(&mut self, count: usize) {
        let limit = if self.in_region() { self.bottom } else { self.rows.len() - 1 };
        self.cursor.row = self.cursor.row.saturating_add(count).min(limit);
    }

    /// Moves the cursor left.
    pub fn left(&mut self, count: usize) {
        self.cursor.column = self.cursor.column.saturating_sub(count);
    }

    /// Moves the cursor right.
    pub fn right(&mut self, count: usize) {
        self.to_column(self.cursor.column.saturating_add(count));
    }

    /// Moves the cursor to the next tab stop.
    pub fn tab(&mut self) {
        self.to_column(self.cursor.column / TAB * TAB + TAB);
    }

    /// Moves the cursor to a column.
    pub fn to_column(&mut self, column: usize) {
        self.cursor.column = column.min(self.columns - 1);
    }

    /// Moves the cursor to a line, of the screen.
    pub fn to_row(&mut self, row: usize) {
        self.cursor.row = row.min(self.rows.len() - 1);
    }

    /// Moves the cursor; in origin mode the line counts from the region's first one and stays in
    /// the region.
    pub fn to(&mut self, to: Position) {
        let (first, last) =
            if self.origin { (self.top, self.bottom) } else { (0, self.rows.len() - 1) };
        self.cursor.row = to.row.saturating_add(first).min(last);
        self.to_column(to.column);
    }

    /// Whether line 0 is the region's first one from now on; the cursor goes there.
    pub fn set_origin(&mut self, origin: bool) {
        self.origin = origin;
        self.to(Position::default());
    }

    /// Lines `top` to `bottom` scroll from now on, all of them where the two make no region; the
    /// cursor goes to the first.
    pub fn set_region(&mut self, top: usize, bottom: usize) {
        let last = self.rows.len() - 1;
        let bottom = bottom.min(last);
        (self.top, self.bottom) = if top < bottom { (top, bottom) } else { (0, last) };
        self.cursor = Position { row: self.top, column: 0 };
    }

    /// Remembers the cursor.
    pub fn save(&mut self) {
        self.saved = Saved { cursor: self.cursor, origin: self.origin };
    }

    /// Puts the cursor where it was remembered.
    pub fn restore(&mut self) {
        self.cursor = self.saved.cursor;
        self.origin = self.saved.origin;
    }

    /// Empties a part of the cursor's line.
    pub fn erase_line(&mut self, extent: Extent, look: Look) {
        let Position { row, column } = self.cursor;
        match extent {
            Extent::Forward => self.erase(row, column, self.columns, look),
            Extent::Backward => self.erase(row, 0, column + 1, look),
            Extent::All => self.erase(row, 0, self.columns, look),
        }
    }

    /// Empties a part of the screen.
    pub fn erase_screen(&mut self, extent: Extent, look: Look) {
        let row = self.cursor.row;
        let others = match extent {
            Extent::Forward => row + 1..self.rows.len(),
            Extent::Backward => 0..row,
            Extent::All => 0..self.rows.len(),
        };
        others.for_each(|row| self.erase(row, 0, self.columns, look));
        if extent != Extent::All {
            self.erase_line(extent, look);
        }
    }

    /// Empties `count` cells from the cursor on.
    pub fn erase_cells(&mut self, count: usize, look: Look) {
        let Position { row, column } = self.cursor;
        self.erase(row, column, column.saturating_add(count), look);
    }

    /// Moves what is at and behind the cursor right by `count` cells; the end of the line is lost.
    pub fn insert_cells(&mut self, count: usize) {
        let Position { row, column } = self.cursor;
        self.tear_before(row, column);
        if let Some(rest) = self.rows.get_mut(row).and_then(|row| row.get_mut(column..)) {
            let count = count.min(rest.len());
            rest.rotate_right(count);
            rest.iter_mut().take(count).for_each(|cell| *cell = Cell::default());
        }
        self.mend_end(row);
    }

    /// Takes `count` cells out at the cursor; blank ones follow at the line's end.
    pub fn delete_cells(&mut self, count: usize) {
        let Position { row, column } = self.cursor;
        let end = column.saturating_add(count).min(self.columns);
        self.tear_before(row, column);
        self.tear_before(row, end);
        if let Some(rest) = self.rows.get_mut(row).and_then(|row| row.get_mut(column..)) {
            let count = count.min(rest.len());
            rest.iter_mut().take(count).for_each(|cell| *cell = Cell::default());
            rest.rotate_left(count);
        }
    }

    /// Makes `count` blank lines at the cursor's; the region's last ones are lost.
    pub fn insert_lines(&mut self, count: usize) {
        if self.in_region() {
            self.move_down(self.cursor.row, count);
        }
    }

    /// Takes `count` lines out at the cursor's; blank ones follow at the region's end.
    pub fn delete_lines(&mut self, count: usize) {
        if self.in_region() {
            self.move_up(self.cursor.row, count);
        }
    }

    /// Moves the region up. What leaves the screen at its top goes to `back`.
    pub fn scroll_up(&mut self, count: usize, back: Option<&mut Scrollback>) {
        if self.top == 0
            && let Some(back) = back
        {
            self.rows.iter().take(count.min(self.bottom + 1)).for_each(|row| back.push(row));
        }
        self.move_up(self.top, count);
    }

    /// Moves the region down.
    pub fn scroll_down(&mut self, count: usize) {
        self.move_down(self.top, count);
    }

    fn in_region(&self) -> bool {
        (self.top..=self.bottom).contains(&self.cursor.row)
    }

    fn move_up(&mut self, first: usize, count: usize) {
        let Some(lines) = self.rows.get_mut(first..=self.bottom) else { return };
        let count = count.min(lines.len());
        lines.iter_mut().take(count).for_each(|line| line.fill(Cell::default()));
        lines.rotate_left(count);
    }

    fn move_down(&mut self, first: usize, count: usize) {
        let Some(lines) = self.rows.get_mut(first..=self.bottom) else { return };
        let count = count.min(lines.len());
        lines.rotate_right(count);
        lines.iter_mut().take(count).for_each(|line| line.fill(Cell::default()));
    }

    fn erase(&mut self, row: usize, from: usize, to: usize, look: Look) {
        let to = to.min(self.columns);
        if from >= to {
            return;
        }
        self.tear_before(row, from);
        self.tear_before(row, to);
        if let Some(cells) = self.rows.get_mut(row).and_then(|row| row.get_mut(from..to)) {
            cells.fill(Cell::blank(look));
        }
    }

    fn set(&mut self, row: usize, column: usize, cell: Cell) {
        if let Some(place) = self.rows.get_mut(row).and_then(|row| row.get_mut(column)) {
            *place = cell;
        }
    }

    /// Empties the other half of a wide character whose one half at `column` is written over.
    fn tear(&mut self, row: usize, column: usize, look: Look) {
        match self.row(row).get(column).map(|cell| cell.part) {
            Some(Part::Left) => self.set(row, column + 1, Cell::blank(look)),
            Some(Part::Right) => self.blank_left(row, column),
            Some(Part::Whole) | None => {}
        }
    }

    /// Empties both halves of a wide character that stands across the left edge of `column`.
    fn tear_before(&mut self, row: usize, column: usize) {
        if self.row(row).get(column).is_some_and(|cell| cell.part == Part::Right) {
            self.blank_left(row, column);
            let look = self.row(row)[column].look;
            self.set(row, column, Cell::blank(look));
        }
    }

    fn blank_left(&mut self, row: usize, column: usize) {
        let Some(left) = column.checked_sub(1) else { return };
        let look = self.row(row).get(left).map(|cell| cell.look).unwrap_or_default();
        self.set(row, left, Cell::blank(look));
    }

    /// Empties the half of a wide character whose other half was pushed out of the line.
    fn mend_end(&mut self, row: usize) {
        let last = self.columns - 1;
        if let Some(cell) = self.row(row).get(last).filter(|cell| cell.part == Part::Left) {
            let blank = Cell::blank(cell.look);
            self.set(row, last, blank);
        }
    }
}
