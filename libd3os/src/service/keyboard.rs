//! The keyboard: what was typed, as a terminal would send it. Served by the driver `keyboard`.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// The machine's keyboard. What it hands on are bytes, as a terminal sends them: UTF-8, control
/// characters and escape sequences; and the keys that are for the console itself.
///
/// After a restart of the driver its layout is the default one, and keys that it had not yet handed
/// on are lost.
#[crate::service(name = "keyboard", version = 1)]
pub trait Keyboard {
    /// Takes what was typed since the last read, in order; nothing if nothing was. Does not wait:
    /// the driver signals `keyboard-input` when something was typed.
    fn read() -> Result<Vec<Input>, KeyboardError>;

    /// The layout.
    #[retryable]
    fn layout() -> Result<Layout, KeyboardError>;

    /// Chooses a layout, from the next key on.
    #[retryable]
    fn set_layout(layout: Layout) -> Result<(), KeyboardError>;
}

/// Something that was typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// What a terminal sends for it.
    Bytes(Vec<u8>),
    /// Alt with a function key: show the console of this number, counted from 1.
    Console(u8),
    /// Shift with Page Up: show earlier lines.
    Back,
    /// Shift with Page Down: show later lines.
    Forward,
}

/// What is printed on the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// American.
    #[default]
    Us,
    /// German.
    De,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 2] = [Self::Us, Self::De];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::De => "de",
        }
    }

    /// The layout of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why the keyboard refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyboardError {
    /// The machine has no keyboard controller.
    Absent,
}

impl fmt::Display for KeyboardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "this machine has no keyboard controller",
        })
    }
}

impl core::error::Error for KeyboardError {}
