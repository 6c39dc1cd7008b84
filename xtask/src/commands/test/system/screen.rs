//! What a terminal would show: the guest's output with its escape sequences carried out.
//!
//! Tests look at the screen as a person does, so they do not depend on how the editor redraws a
//! line. The screen is much higher than a real one: nothing scrolls out of sight in a test.

use std::num::NonZero;

/// The shell's prompt.
pub(crate) const PROMPT: &str = "d3os> ";

const ROWS: NonZero<u16> = NonZero::new(2000).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(160).unwrap();

/// What a program sends to learn where the cursor is (DSR 6).
const CURSOR_QUERY: &[u8] = b"\x1b[6n";

/// A terminal's screen.
pub(crate) struct Screen {
    terminal: vt100::Parser,
    pending: Vec<u8>,
}

impl Screen {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { terminal: vt100::Parser::new(ROWS, COLUMNS, 0), pending: Vec::new() }
    }

    /// Shows what the guest sent; returns what a terminal would answer.
    pub(crate) fn show(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend(bytes);
        let mut answer = Vec::new();
        while let Some(at) = find(&self.pending, CURSOR_QUERY) {
            let before: Vec<u8> = self.pending.drain(..at + CURSOR_QUERY.len()).collect();
            self.terminal.process(&before[..at]);
            let (row, column) = self.terminal.screen().cursor_position();
            answer.extend(format!("\x1b[{};{}R", row + 1, column + 1).into_bytes());
        }
        // The beginning of a query may be at the end: it waits for the rest.
        let kept = partial(&self.pending, CURSOR_QUERY);
        let shown: Vec<u8> = self.pending.drain(..self.pending.len() - kept).collect();
        self.terminal.process(&shown);
        answer
    }

    /// Everything on the screen; rows end without blanks.
    pub(crate) fn text(&self) -> String {
        self.terminal.screen().contents()
    }

    /// The cursor's row, up to the cursor.
    pub(crate) fn line(&self) -> String {
        let (row, column) = self.terminal.screen().cursor_position();
        self.terminal.screen().contents_between(row, 0, row, column)
    }

    /// Lines after prompts above the cursor's row: they are being run, or were.
    pub(crate) fn finished_lines(&self) -> usize {
        let (row, _) = self.terminal.screen().cursor_position();
        let above = self.terminal.screen().rows(0, COLUMNS.get()).take(row.into());
        above.filter(|line| line.starts_with(PROMPT)).count()
    }

    /// Whether the shell waits for a line.
    pub(crate) fn at_prompt(&self) -> bool {
        self.line() == PROMPT
    }

    /// Whether this line, and nothing else, has been typed after the prompt.
    pub(crate) fn shows_line(&self, line: &str) -> bool {
        self.line().strip_prefix(PROMPT) == Some(line)
    }

    /// What was printed between the last two prompts: the output of the last line. Records of the
    /// log are not, which may come at any time.
    pub(crate) fn last_output(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let mut prompts =
            (0..lines.len()).rev().filter(|&n| lines[n].starts_with(PROMPT.trim_end()));
        let end = prompts.next().unwrap_or(lines.len());
        let start = prompts.next().map_or(0, |n| n + 1);
        let output = lines[start..end].iter().filter(|line| !is_record(line));
        output.copied().collect::<Vec<_>>().join("\n")
    }

    /// The rows with records of the log.
    pub(crate) fn records(&self) -> Vec<String> {
        self.text().lines().filter(|row| is_record(row)).map(str::to_owned).collect()
    }

    /// The last rows, for messages.
    pub(crate) fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Whether a row is a record of the log: `[    1.234567] program: message`.
fn is_record(row: &str) -> bool {
    let time = row.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(time, _)| time);
    let parts = time.and_then(|time| time.trim_start().split_once('.'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    parts.is_some_and(|(seconds, rest)| is_number(seconds) && rest.len() == 6 && is_number(rest))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// How many bytes at the end could be the beginning of `wanted`.
fn partial(bytes: &[u8], wanted: &[u8]) -> usize {
    (1..wanted.len()).rev().find(|&n| bytes.ends_with(&wanted[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_output_is_between_the_prompts() {
        let mut screen = Screen::new();
        screen.show(b"boot\r\nd3os> echo a\r\na\r\nd3os> ps\r\nPROGRAM\r\nuart\r\nd3os> ");
        assert!(screen.at_prompt());
        assert_eq!(screen.last_output(), "PROGRAM\nuart");
    }

    #[test]
    fn records_are_no_output() {
        let mut screen = Screen::new();
        screen.show(b"d3os> echo [1.2] a\r\n[    0.420323] aml: done\r\n[1.2] a\r\nd3os> ");
        assert_eq!(screen.last_output(), "[1.2] a");
    }

    #[test]
    fn redrawing_is_carried_out() {
        let mut screen = Screen::new();
        screen.show(b"d3os> eco\x08\x08\x1b[Kcho");
        assert_eq!(screen.line(), "d3os> echo");
        assert!(!screen.at_prompt());
    }

    #[test]
    fn a_line_is_finished_when_another_prompt_stands_below_it() {
        let mut screen = Screen::new();
        screen.show(b"d3os> echo one\r\none\r\nd3os> echo two");
        assert_eq!(screen.finished_lines(), 1);
        screen.show(b"\r\x1b[Kd3os> ");
        assert!(screen.at_prompt() && screen.finished_lines() == 1, "redrawn in its row");
        screen.show(b"\r\x1b[K[    0.420323] aml: done\r\nd3os> ");
        assert!(screen.at_prompt() && screen.finished_lines() == 1, "redrawn below a record");
        screen.show(b"echo two\r\ntwo\r\nd3os> ");
        assert!(screen.at_prompt() && screen.finished_lines() == 2);
    }

    #[test]
    fn a_cursor_query_is_answered_even_in_pieces() {
        let mut screen = Screen::new();
        assert_eq!(screen.show(b"ab\x1b["), b"");
        assert_eq!(screen.show(b"6nc"), b"\x1b[1;3R");
        assert_eq!(screen.line(), "abc");
    }
}
