//! The status line at the bottom of the screen: which machine, which console, how it is doing.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use embedded_graphics::pixelcolor::Rgb888;

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
        let clock =
            self.clock.map(|clock| format!("{SEPARATOR}{}", date(clock))).unwrap_or_default();
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

/// Date and time of day, UTC, to the second: proleptic Gregorian calendar.
fn date(clock: u64) -> String {
    let (days, second) = (clock / 86_400, clock % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", second % 60)
}

/// Year, month and day that begin `days` days after 1 January 1970. Years begin in March here, so
/// that the leap day is the last of them (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
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

    #[test]
    fn days_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_000), (2024, 10, 4));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));
    }

    proptest! {
        #[test]
        fn it_has_the_width_that_was_asked_for(columns in 0usize..200, node in "\\PC{0,20}") {
            prop_assert_eq!(Status { node, ..status() }.cells(columns).len(), columns);
        }

        #[test]
        fn each_day_follows_the_one_before(days in 0u64..200_000) {
            let ((year, month, day), next) = (civil(days), civil(days + 1));
            prop_assert!(next == (year, month, day + 1) || next == (year, month + 1, 1) || next == (year + 1, 1, 1));
        }
    }
}
