//! Lines that have left a terminal's screen at the top.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use crate::cell::Cell;

/// Cells that the lines of one terminal take at most; the oldest lines make room.
pub const SCROLLBACK_CELLS: usize = 16 * 1024;

/// The lines, oldest first, each without the blank cells at its end.
#[derive(Debug, Default)]
pub struct Scrollback {
    lines: VecDeque<Box<[Cell]>>,
    cells: usize,
}

impl Scrollback {
    /// Keeps a line.
    pub fn push(&mut self, line: &[Cell]) {
        let used = line.iter().rposition(|cell| *cell != Cell::default()).map_or(0, |at| at + 1);
        let line: Box<[Cell]> = line.get(..used).unwrap_or_default().into();
        self.cells += cost(&line);
        self.lines.push_back(line);
        while self.cells > SCROLLBACK_CELLS {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.cells -= cost(&oldest);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line that left the screen `back` lines ago; 1 is the latest.
    #[must_use]
    pub fn line(&self, back: usize) -> Option<&[Cell]> {
        let index = self.lines.len().checked_sub(back)?;
        self.lines.get(index).map(|line| &line[..])
    }
}

/// An empty line is not free: what keeps it takes room, too.
fn cost(line: &[Cell]) -> usize {
    line.len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Box<[Cell]> {
        text.chars().map(|character| Cell { character, ..Cell::default() }).collect()
    }

    #[test]
    fn keeps_lines_without_the_blanks_at_their_ends() {
        let mut back = Scrollback::default();
        back.push(&line("a  "));
        back.push(&line("  "));
        assert_eq!(back.line(2), Some(&line("a")[..]));
        assert_eq!(back.line(1), Some(&[][..]));
        assert_eq!((back.line(0), back.line(3)), (None, None));
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let mut back = Scrollback::default();
        for number in 0..SCROLLBACK_CELLS {
            back.push(&line(&format!("{number:9}")));
        }
        assert_eq!(back.len(), SCROLLBACK_CELLS / 10);
        let latest = format!("{:9}", SCROLLBACK_CELLS - 1);
        assert_eq!(back.line(1), Some(&line(&latest)[..]));
    }
}
