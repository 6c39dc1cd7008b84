//! What a command works with: the system, the output, how to write for whoever reads it.

use alloc::string::String;
use core::fmt;

use crate::style::{Role, Style};
use crate::system::{System, SystemError};
use crate::table::Table;

/// Output is sent when this much has collected, in bytes, or when something may take long.
const BUFFER: usize = 4096;
/// Text is not wrapped wider than this: long lines are hard to read.
const WIDEST_TEXT: usize = 100;

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A person at a terminal of this size.
    Interactive {
        /// The terminal's width.
        width: usize,
        /// The terminal's height.
        height: usize,
    },
    /// A program: no escape sequences, nothing cut.
    Script,
}

/// Whether the shell goes on after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It does.
    Continue,
    /// The machine is being switched off or started again.
    End,
}

/// One person's or script's work with the shell.
pub struct Session<'a> {
    /// The machine.
    pub system: &'a mut dyn System,
    /// Who reads the output.
    pub mode: Mode,
    /// Whether it was said what becomes of volatile objects.
    pub knows_volatile: bool,
    course: Course,
    /// Whether any line has failed.
    failed: bool,
    buffer: String,
    /// The first output that could not be written since somebody asked.
    lost: Option<SystemError>,
}

impl<'a> Session<'a> {
    /// A session that nothing has happened in.
    pub fn new(system: &'a mut dyn System, mode: Mode) -> Self {
        let course = Course::Continue;
        let (knows_volatile, failed) = (false, false);
        Self { system, mode, knows_volatile, course, failed, buffer: String::new(), lost: None }
    }

    /// How roles look to the reader.
    pub fn style(&self) -> Style {
        match self.mode {
            Mode::Interactive { .. } => Style::Coloured,
            Mode::Script => Style::Plain,
        }
    }

    /// The columns a table may take; nothing if there is no limit.
    pub fn width(&self) -> Option<usize> {
        match self.mode {
            Mode::Interactive { width, .. } => Some(width),
            Mode::Script => None,
        }
    }

    /// The lines that a view may take; nothing if there is no limit.
    pub fn height(&self) -> Option<usize> {
        match self.mode {
            Mode::Interactive { height, .. } => Some(height),
            Mode::Script => None,
        }
    }

    /// The columns that running text is wrapped to.
    pub fn text_width(&self) -> usize {
        self.width().map_or(WIDEST_TEXT, |width| width.min(WIDEST_TEXT)) - 1
    }

    /// Writes a line.
    pub fn line(&mut self, text: impl fmt::Display) {
        self.print(format_args!("{text}\n"));
    }

    /// Writes a line that means something.
    pub fn painted_line(&mut self, role: Role, text: &str) {
        let style = self.style();
        self.line(style.paint(role, text));
    }

    /// Writes running text, wrapped and indented.
    pub fn text(&mut self, indent: usize, text: &str) {
        let width = self.text_width().saturating_sub(indent);
        for line in crate::table::wrapped(text, width) {
            self.line(format_args!("{:indent$}{line}", ""));
        }
    }

    /// Writes a table.
    pub fn table<const N: usize>(&mut self, table: &Table<N>) {
        let text = table.render(self.width(), self.style());
        self.print(format_args!("{text}"));
    }

    /// Writes without ending the line.
    pub fn print(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string only fails if a value's own formatting does; it is cut off then.
        let _ = fmt::write(&mut self.buffer, text);
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    /// Sends what was written to the terminal. Before waiting for anything a command does this.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let sent = self.system.write(self.buffer.as_bytes());
        self.buffer.clear();
        if let Err(error) = sent {
            self.lost.get_or_insert(error);
        }
    }

    /// Sends what was written and tells if any output was lost since the last time.
    ///
    /// # Errors
    /// Why the first lost output could not be written.
    pub fn settle(&mut self) -> Result<(), SystemError> {
        self.flush();
        self.lost.take().map_or(Ok(()), Err)
    }

    /// Notes that a line has failed.
    pub fn note_failure(&mut self) {
        self.failed = true;
    }

    /// What the machine's end reports to whoever runs it: 0 if every line has succeeded.
    pub fn status(&self) -> u8 {
        u8::from(self.failed)
    }

    /// The shell is to stop: the machine is ending.
    pub fn end(&mut self) {
        self.course = Course::End;
    }

    /// Whether the shell goes on.
    pub fn course(&self) -> Course {
        self.course
    }
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("mode", &self.mode)
            .field("course", &self.course)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
