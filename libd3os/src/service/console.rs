//! The console: the terminal at which a person sits. Served by `console`.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// A terminal with one screen and one keyboard, shared by the programs that may call it.
///
/// Output of several programs is not mixed within one write. Control of the terminal (colours,
/// cursor, clearing) is by ANSI escape sequences in the written bytes. After a restart of the
/// console, callers get `Restarted`; output may then be lost or be shown in part.
#[crate::service(name = "console", version = 2)]
pub trait Console {
    /// Shows bytes (UTF-8 text and ANSI escape sequences); a line feed also returns the carriage.
    /// Answers when the bytes are taken over.
    #[deferred]
    fn write(bytes: Vec<u8>) -> Result<(), ConsoleError>;

    /// Waits for input and takes all there is, as the keyboard sent it (not echoed). Of several
    /// readers the newest gets it; a program that reads anew gives up its earlier call.
    ///
    /// While a reader waits in `Raw` mode, ^C comes as byte 3 like any other key. At every other
    /// time ^C is not input: it ends the program in the foreground.
    #[deferred]
    fn read(mode: InputMode) -> Result<InputEvent, ConsoleError>;

    /// Takes the input that there is, as the keyboard sent it; none if there is none. From then
    /// on, until some program reads, ^C is a byte like any other.
    fn poll() -> Result<Vec<u8>, ConsoleError>;
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
}

impl fmt::Display for ConsoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReaderPresent => "too many programs are reading from the console",
            Self::Disconnected => "the line to the terminal has failed",
        })
    }
}

impl core::error::Error for ConsoleError {}
