//! The console: the terminal at which a person sits. Served by `console`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Page;

/// Names of the notifications by which the console tells init that the interrupt key was pressed, by
/// the session of the terminal: the serial line, and the consoles of the screen.
pub const INTERRUPTS: [&str; 5] =
    ["interrupt", "interrupt-1", "interrupt-2", "interrupt-3", "interrupt-4"];

/// The terminals of the machine, shared by the programs that may call it: the serial line, which is
/// session 0, and the consoles of the screen, sessions 1 to 4. A program uses the terminal of its
/// session, which is that of the program that started it.
///
/// Output of several programs is not mixed within one write. Control of the terminal (colours,
/// cursor, clearing) is by ANSI escape sequences in the written bytes. After a restart of the
/// console, callers get `Restarted`; output may then be lost or be shown in part.
#[crate::service(name = "console", version = 3)]
pub trait Console {
    /// Shows bytes (UTF-8 text and ANSI escape sequences); a line feed also returns the carriage.
    /// Answers when the bytes are taken over.
    #[deferred]
    fn write(bytes: Vec<u8>) -> Result<(), ConsoleError>;

    /// Waits for input and takes all there is, as the keyboard sent it (not echoed). Of several
    /// readers the newest gets it; a program that reads anew gives up its earlier call.
    ///
    /// While a reader waits in `Raw` mode, ^C comes as byte 3 like any other key. At every other
    /// time ^C is not input: it ends the program in the foreground of this terminal.
    #[deferred]
    fn read(mode: InputMode) -> Result<InputEvent, ConsoleError>;

    /// Takes the input that there is, as the keyboard sent it; none if there is none. From then
    /// on, until some program reads, ^C is a byte like any other.
    fn poll() -> Result<Vec<u8>, ConsoleError>;

    /// Draws a picture over cells of the caller's console, in place of its last one: it hides the text
    /// there until one without values comes, or the caller ends. A terminal that is no console of the
    /// screen has no graphics ([`ConsoleError::NoScreen`]).
    #[retryable]
    fn draw_graph(graph: Graph) -> Result<(), ConsoleError>;

    /// Sees to it that all that was written is shown, and tells what the screen is and what stands
    /// on the console that is shown.
    #[retryable]
    fn screen() -> Result<ScreenStatus, ConsoleError>;

    /// The lines of text that the screen shows, from the `from`-th on, the status line last; without
    /// the blanks at their ends.
    #[retryable]
    fn text(from: u32) -> Result<Page<String>, ConsoleError>;
}

/// A picture of values, and the cells over which it is drawn. What lies outside of the console is
/// left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Its uppermost line of cells, from 0.
    pub row: u16,
    /// Its first column, from 0.
    pub column: u16,
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// [`GRAPH_VALUES`] at most; what they mean, `picture` says.
    pub values: Vec<u16>,
    /// What is made of them.
    pub picture: Picture,
}

/// What a [`Graph`] makes of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Picture {
    /// A line: a value for each column, the newest last and at the right edge; `u16::MAX` is at the upper
    /// edge.
    #[default]
    Line,
    /// A tile for each value, in a colour of its kind: 0 for nothing, 1 to 6 for something.
    Tiles {
        /// Tiles in a row.
        across: u16,
        /// What leads from one tile to another, by their numbers; [`GRAPH_LINKS`] at most.
        links: Vec<(u8, u8)>,
    },
}

/// Values of a graph at most: so many fit in a message.
pub const GRAPH_VALUES: usize = 256;
/// Links between tiles at most, beside [`GRAPH_VALUES`] tiles.
pub const GRAPH_LINKS: usize = 128;

/// The screen, and what is shown on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScreenStatus {
    /// Pixels of a line.
    pub width: u32,
    /// Lines of pixels.
    pub height: u32,
    /// Cells of a line.
    pub columns: u32,
    /// Lines of cells, the status line not counted.
    pub rows: u32,
    /// The console that is shown.
    pub console: u32,
    /// Consoles that share the screen.
    pub consoles: u32,
}

/// What ^C means while a reader waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputMode {
    /// A byte like any other.
    Raw,
    /// It ends the program in the foreground.
    Interruptible,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputEvent {
    /// Bytes from the keyboard, at least one.
    Bytes(Vec<u8>),
    /// The console has written something of its own (a log record): a line editor should draw
    /// its line again.
    Redraw,
}

/// Why the console refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsoleError {
    /// As many readers wait already as there can be.
    ReaderPresent,
    /// The line to the terminal has failed.
    Disconnected,
    /// The machine has no screen, or none that its driver knows.
    NoScreen,
}

impl fmt::Display for ConsoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReaderPresent => "too many programs are reading from the console",
            Self::Disconnected => "the line to the terminal has failed",
            Self::NoScreen => "there is no screen",
        })
    }
}

impl core::error::Error for ConsoleError {}
