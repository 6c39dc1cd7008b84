//! A terminal: bytes in, cells out.
//!
//! What it understands is ECMA-48 as VT100s and their successors speak it: text in UTF-8 with the
//! widths of Unicode, cursor movement, erasing, inserting and deleting, a scrolling region, colours
//! (16, 256 and 2^24), the alternate screen, and questions for the cursor's place (DSR 6) and for
//! what it is (DA). Everything else is read to its end and ignored.

use alloc::format;
use alloc::vec::Vec;

use unicode_width::UnicodeWidthChar;
use vte::{Params, Parser, Perform};

use crate::cell::{Cell, Look};
use crate::grid::{Extent, Grid, Position};
use crate::scrollback::Scrollback;
use crate::sgr;

/// What is answered to "what are you": a VT100 with what goes beyond it left out.
const DEVICE_ATTRIBUTES: &[u8] = b"\x1b[?1;0c";
/// Most bytes of answers that nobody has fetched yet; further questions get none.
const ANSWER_BYTES: usize = 256;

/// Most repetitions of a character that one sequence brings: few bytes must not cost much time.
const REPETITIONS: usize = 4096;

/// Whether the cursor is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CursorShape {
    Block,
    Hidden,
}

/// Which of the two screens is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Main,
    Alternate,
}

/// A terminal with its screen and the lines that have left it.
pub struct Terminal {
    parser: Parser,
    screen: Screen,
    /// Lines that the view is scrolled back.
    view: usize,
}

impl core::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { screen, view, .. } = self;
        f.debug_struct("Terminal")
            .field("screen", screen)
            .field("view", view)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// A blank terminal of at least one cell.
    #[must_use]
    pub fn new(rows: usize, columns: usize) -> Self {
        Self { parser: Parser::new(), screen: Screen::new(rows, columns), view: 0 }
    }

    /// Takes bytes. A view that is scrolled back stays at the lines that it shows.
    pub fn write(&mut self, bytes: &[u8]) {
        let before = self.screen.back.len();
        self.parser.advance(&mut self.screen, bytes);
        if self.view > 0 {
            let grown = self.screen.back.len().saturating_sub(before);
            self.view = (self.view + grown).min(self.screen.back.len());
        }
    }

    /// What the terminal answers to questions in what was written, as if it were typed.
    pub fn take_answers(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.screen.answers)
    }

    /// Number of lines.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.screen.grid().rows()
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.screen.grid().columns()
    }

    /// The cell at a place of the view.
    #[must_use]
    pub fn cell(&self, row: usize, column: usize) -> Cell {
        let line = match self.view.checked_sub(row) {
            Some(back) if back > 0 => self.screen.back.line(back).unwrap_or_default(),
            _ => self.screen.grid().row(row - self.view),
        };
        line.get(column).copied().unwrap_or_default()
    }

    /// Where the cursor is to be drawn, if it is to be.
    #[must_use]
    pub fn cursor(&self) -> Option<Position> {
        let Position { row, column } = self.screen.grid().cursor();
        let row = row + self.view;
        let column = column.min(self.columns() - 1);
        let visible = self.screen.shape == CursorShape::Block && row < self.rows();
        visible.then_some(Position { row, column })
    }

    /// How many lines the view is scrolled back.
    #[must_use]
    pub fn view(&self) -> usize {
        self.view
    }

    /// Scrolls the view back by half a screen. The alternate screen has nothing behind it.
    pub fn page_up(&mut self) {
        if self.screen.which == Which::Main {
            self.view = (self.view + self.half_page()).min(self.screen.back.len());
        }
    }

    /// Scrolls the view forward by half a screen.
    pub fn page_down(&mut self) {
        self.view = self.view.saturating_sub(self.half_page());
    }

    /// Shows the end again, as typing does.
    pub fn to_end(&mut self) {
        self.view = 0;
    }

    fn half_page(&self) -> usize {
        (self.rows() / 2).max(1)
    }
}

/// What the bytes work on.
#[derive(Debug)]
struct Screen {
    main: Grid,
    alternate: Option<Grid>,
    which: Which,
    back: Scrollback,
    look: Look,
    saved_look: Look,
    shape: CursorShape,
    /// The last character that was written, for REP.
    last: Option<char>,
    answers: Vec<u8>,
}

impl Screen {
    fn new(rows: usize, columns: usize) -> Self {
        Self {
            main: Grid::new(rows, columns),
            alternate: None,
            which: Which::Main,
            back: Scrollback::default(),
            look: Look::default(),
            saved_look: Look::default(),
            shape: CursorShape::Block,
            last: None,
            answers: Vec::new(),
        }
    }

    fn grid(&self) -> &Grid {
        match (&self.alternate, self.which) {
            (Some(alternate), Which::Alternate) => alternate,
            _ => &self.main,
        }
    }

    fn grid_mut(&mut self) -> &mut Grid {
        self.parts().0
    }

    /// The grid, and where its lines go that leave it.
    fn parts(&mut self) -> (&mut Grid, Option<&mut Scrollback>) {
        match (&mut self.alternate, self.which) {
            (Some(alternate), Which::Alternate) => (alternate, None),
            _ => (&mut self.main, Some(&mut self.back)),
        }
    }

    fn put(&mut self, character: char) {
        // A character without a width joins the one before it, and there is no glyph for the two.
        let Some(width @ 1..) = character.width() else { return };
        let look = self.look;
        self.last = Some(character);
        let (grid, back) = self.parts();
        grid.put(character, width.min(2), look, back);
    }

    fn repeat(&mut self, count: usize) {
        let Some(character) = self.last else { return };
        (0..count.min(REPETITIONS)).for_each(|_| self.put(character));
    }

    fn line_feed(&mut self) {
        let (grid, back) = self.parts();
        grid.line_feed(back);
    }

    fn scroll_up(&mut self, count: usize) {
        let (grid, back) = self.parts();
        grid.scroll_up(count, back);
    }

    fn save(&mut self) {
        self.saved_look = self.look;
        self.grid_mut().save();
    }

    fn restore(&mut self) {
        self.look = self.saved_look;
        self.grid_mut().restore();
    }

    fn erase_line(&mut self, number: u16) {
        let look = self.look;
        if let Some(extent) = extent(number) {
            self.grid_mut().erase_line(extent, look);
        }
    }

    fn erase_screen(&mut self, number: u16) {
        let look = self.look;
        match extent(number) {
            Some(extent) => self.grid_mut().erase_screen(extent, look),
            None if number == 3 => self.back.clear(),
            None => {}
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        if self.answers.len() + bytes.len() <= ANSWER_BYTES {
            self.answers.extend_from_slice(bytes);
        }
    }

    fn report(&mut self, question: u16) {
        let Position { row, column } = self.grid().cursor();
        let column = column.min(self.grid().columns() - 1);
        match question {
            5 => self.answer(b"\x1b[0n"),
            6 => self.answer(format!("\x1b[{};{}R", row + 1, column + 1).as_bytes()),
            _ => {}
        }
    }

    /// DEC's private modes, on or off.
    fn mode(&mut self, mode: u16, on: bool) {
        match mode {
            6 => self.grid_mut().set_origin(on),
            25 => self.shape = if on { CursorShape::Block } else { CursorShape::Hidden },
            47 | 1047 => self.show(on),
            1049 if on => {
                self.save();
                self.alternate = None;
                self.show(true);
            }
            1049 => {
                self.show(false);
                self.restore();
            }
            _ => {}
        }
    }

    /// Shows the alternate screen, or the main one.
    fn show(&mut self, alternate: bool) {
        self.which = if alternate { Which::Alternate } else { Which::Main };
        if alternate && self.alternate.is_none() {
            self.alternate = Some(Grid::new(self.main.rows(), self.main.columns()));
        }
    }

    fn csi(&mut self, numbers: &Numbers, action: char) {
        let (first, count) = (numbers.get(0), numbers.count(0));
        match action {
            '@' => self.grid_mut().insert_cells(count),
            'A' => self.grid_mut().up(count),
            'B' | 'e' => self.grid_mut().down(count),
            'C' | 'a' => self.grid_mut().right(count),
            'D' => self.grid_mut().left(count),
            'E' => self.lines(count, Grid::down),
            'F' => self.lines(count, Grid::up),
            'G' | '`' => self.grid_mut().to_column(count - 1),
            'H' | 'f' => {
                let to = Position { row: count - 1, column: numbers.count(1) - 1 };
                self.grid_mut().to(to);
            }
            'J' => self.erase_screen(first),
            'K' => self.erase_line(first),
            'L' => self.grid_mut().insert_lines(count),
            'M' => self.grid_mut().delete_lines(count),
            'P' => self.grid_mut().delete_cells(count),
            'S' => self.scroll_up(count),
            'T' => self.grid_mut().scroll_down(count),
            'X' => {
                let look = self.look;
                self.grid_mut().erase_cells(count, look);
            }
            'b' => self.repeat(count),
            'c' if first == 0 => self.answer(DEVICE_ATTRIBUTES),
            'd' => self.grid_mut().to_row(count - 1),
            'n' => self.report(first),
            'r' => self.region(numbers),
            's' => self.save(),
            'u' => self.restore(),
            _ => {}
        }
    }

    fn lines(&mut self, count: usize, go: fn(&mut Grid, usize)) {
        let grid = self.grid_mut();
        grid.to_column(0);
        go(grid, count);
    }

    fn region(&mut self, numbers: &Numbers) {
        let grid = self.grid_mut();
        let bottom = if numbers.get(1) == 0 { grid.rows() } else { numbers.count(1) };
        grid.set_region(numbers.count(0) - 1, bottom - 1);
    }
}

impl Perform for Screen {
    fn print(&mut self, character: char) {
        self.put(character);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            0x08 => self.grid_mut().left(1),
            b'\t' => self.grid_mut().tab(),
            b'\n' | 0x0b | 0x0c => self.line_feed(),
            b'\r' => self.grid_mut().to_column(0),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        match (intermediates, byte) {
            ([], b'7') => self.save(),
            ([], b'8') => self.restore(),
            ([], b'D') => self.line_feed(),
            ([], b'E') => {
                self.grid_mut().to_column(0);
                self.line_feed();
            }
            ([], b'M') => self.grid_mut().reverse_line_feed(),
            ([], b'c') => *self = Self::new(self.main.rows(), self.main.columns()),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, parameters: &Params, intermediates: &[u8], cut: bool, action: char) {
        match (intermediates, action) {
            _ if cut => {}
            ([], 'm') => sgr::apply(&mut self.look, parameters),
            ([], _) => self.csi(&Numbers::of(parameters), action),
            ([b'?'], 'h' | 'l') => {
                parameters.iter().flatten().for_each(|&mode| self.mode(mode, action == 'h'));
            }
            ([b'?'], 'J') => self.erase_screen(Numbers::of(parameters).get(0)),
            ([b'?'], 'K') => self.erase_line(Numbers::of(parameters).get(0)),
            _ => {}
        }
    }
}

/// The first two parameters of a control sequence, which is as many as any but SGR has.
struct Numbers([u16; 2]);

impl Numbers {
    fn of(parameters: &Params) -> Self {
        let mut all = parameters.iter().map(|parameter| parameter.first().copied().unwrap_or(0));
        Self([all.next().unwrap_or(0), all.next().unwrap_or(0)])
    }

    /// A parameter; 0 where it is absent.
    fn get(&self, index: usize) -> u16 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// A parameter that counts: 1 where it is absent or 0.
    fn count(&self, index: usize) -> usize {
        usize::from(self.get(index).max(1))
    }
}

fn extent(number: u16) -> Option<Extent> {
    match number {
        0 => Some(Extent::Forward),
        1 => Some(Extent::Backward),
        2 => Some(Extent::All),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
