//! The status line at the bottom of the screen: which machine, which console, how it is doing.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use embedded_graphics::pixelcolor::Rgb888;
use libd3os::time::Date;

use crate::cell::{Cell, Colour, Look, Style};

/// The ground of the status line.
pub const BAND: Rgb888 = Rgb888::new(0x26, 0x2e, 0x3a);
const GROUND: Colour = Colour::Rgb(0x26, 0x2e, 0x3a);
const TEXT: Colour = Colour::Rgb(0xb6, 0xbf, 0xcc);
const NAME: Colour = Colour::Rgb(0xf0, 0xb4, 0x4c);
const SEPARATOR: &str = " │ ";

/// What the status line tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// Cores that run, and cores in the machine.
    pub cores: (u32, u32),
    /// Bytes of memory in use, and in the machine.
    pub memory: (u64, u64),
    /// Seconds since 1970, UTC, where a clock tells them.
    pub clock: Option<u64>,
    /// Seconds since the machine started.
    pub uptime: u64,
    /// The console that is shown, and how many there are.
    pub console: (usize, usize),
    /// Lines that the view is scrolled back.
    pub view: usize,
}

impl Status {
    /// The cells of the line.
    #[must_use]
    pub fn cells(&self, columns: usize) -> Vec<Cell> {
        let mut line = Line::new(columns);
        line.put(0, &format!(" {} ", self.node), NAME, Style::BOLD);
        let left = self.consoles(&mut line);
        let right = self.right();
        let at = columns.saturating_sub(right.chars().count()).max(left);
        line.put(at, &right, TEXT, Style::empty());
        line.cells
    }

    /// The numbers of the consoles, the shown one marked; tells where there is room behind them.
    fn consoles(&self, line: &mut Line) -> usize {
        let (shown, all) = self.console;
        let mut at = self.node.chars().count() + 3;
        for number in 1..=all {
            let style = if number == shown { Style::INVERSE } else { Style::empty() };
            line.put(at, &format!(" {number} "), TEXT, style);
            at += 3;
        }
        if self.view > 0 {
            let back = format!("{} lines back", self.view);
            line.put(at + 1, &back, NAME, Style::empty());
            at += back.chars().count() + 1;
        }
        at + 1
    }

    fn right(&self) -> String {
        let (running, present) = self.cores;
        let noun = if present == 1 { "core" } else { "cores" };
        let cores = if running == present {
            format!("{present} {noun}")
        } else {
            format!("{running} of {present} {noun}")
        };
        let (used, all) = self.memory;
        let memory = format!("{} of {} MiB used", mebibytes(used), mebibytes(all));
        let uptime = format!("up {}", duration(self.uptime));
        let date = |clock| format!("{SEPARATOR}{} UTC", Date::from_seconds(clock));
        let clock = self.clock.map(date).unwrap_or_default();
        format!("{cores}{SEPARATOR}{memory}{SEPARATOR}{uptime}{clock} ")
    }
}

struct Line {
    cells: Vec<Cell>,
}

impl Line {
    fn new(columns: usize) -> Self {
        let look = Look { text: TEXT, ground: GROUND, style: Style::empty() };
        Self { cells: alloc::vec![Cell { look, ..Cell::default() }; columns] }
    }

    /// Writes text; what does not fit is cut off.
    fn put(&mut self, column: usize, text: &str, colour: Colour, style: Style) {
        let look = Look { text: colour, ground: GROUND, style };
        for (cell, character) in self.cells.iter_mut().skip(column).zip(text.chars()) {
            *cell = Cell { character, look, ..Cell::default() };
        }
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// Days, hours, minutes and seconds.
fn duration(seconds: u64) -> String {
    let (minutes, second) = (seconds / 60, seconds % 60);
    let (hours, minute) = (minutes / 60, minutes % 60);
    let (days, hour) = (hours / 24, hours % 24);
    match days {
        0 => format!("{hour}:{minute:02}:{second:02}"),
        _ => format!("{days}d {hour}:{minute:02}:{second:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn status() -> Status {
        Status {
            node: "d3os".to_string(),
            cores: (2, 2),
            memory: (100 << 20, 511 << 20),
            clock: None,
            uptime: 90_061,
            console: (2, 4),
            view: 0,
        }
    }

    fn text(status: &Status, columns: usize) -> String {
        status.cells(columns).iter().map(|cell| cell.character).collect()
    }

    #[test]
    fn tells_node_consoles_cores_memory_and_time() {
        let shown = text(&status(), 84);
        let expected = " d3os   1  2  3  4          2 cores │ 100 of 511 MiB used │ up 1d 1:01:01 ";
        assert_eq!(
            shown.split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
        assert_eq!(shown.chars().count(), 84);
    }

    #[test]
    fn marks_the_console_that_is_shown_and_a_view_that_is_scrolled_back() {
        let cells = Status { view: 7, ..status() }.cells(100);
        let marked: Vec<_> = cells
            .iter()
            .filter(|cell| cell.look.style.contains(Style::INVERSE))
            .map(|cell| cell.character)
            .collect();
        assert_eq!(marked, [' ', '2', ' ']);
        assert!(text(&Status { view: 7, ..status() }, 100).contains("7 lines back"));
    }

    #[test]
    fn tells_the_time_where_a_clock_does() {
        let shown = text(&Status { clock: Some(1_795_449_600), cores: (1, 2), ..status() }, 120);
        assert!(shown.ends_with(" │ 2026-11-23 16:00:00 UTC "), "{shown}");
        assert!(shown.contains("1 of 2 cores"));
    }

    proptest! {
        #[test]
        fn it_has_the_width_that_was_asked_for(columns in 0usize..200, node in "\\PC{0,20}") {
            prop_assert_eq!(Status { node, ..status() }.cells(columns).len(), columns);
        }
    }
}
