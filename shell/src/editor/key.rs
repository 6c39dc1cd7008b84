//! From the terminal's bytes to keys.
//!
//! Terminals send UTF-8 text, control bytes, and escape sequences (ECMA-48 CSI, and SS3 for some
//! cursor keys). A lone escape cannot be told from the start of a sequence without a clock, so
//! it is held until the next byte, and the two together are an Alt key. Garbage is dropped, at
//! most up to the next control byte, so that Enter and ^C always arrive.

/// A key, or a report, as the terminal sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A printable character.
    Char(char),
    /// A control key: `Ctrl('a')` is ^A. Enter, Tab and Backspace have their own names.
    Ctrl(char),
    /// A character after an escape, which is how terminals send Alt.
    Alt(char),
    /// Return or line feed; the two in a row count once.
    Enter,
    /// ^I.
    Tab,
    /// Backspace (DEL or ^H).
    Backspace,
    /// Alt with Backspace.
    AltBackspace,
    /// The Delete key.
    Delete,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Ctrl or Alt with cursor left.
    WordLeft,
    /// Ctrl or Alt with cursor right.
    WordRight,
    /// The terminal's answer to "where is the cursor".
    CursorReport {
        /// Line, counted from 1.
        row: u16,
        /// Column, counted from 1.
        column: u16,
    },
}

/// Parameter bytes kept of a sequence; longer ones are not of interest.
const MAX_PARAMETERS: usize = 16;

/// Turns bytes into keys, keeping what is unfinished between calls.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    /// The last byte was a carriage return: a line feed right after it is the same key.
    after_return: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC O`.
    Ss3,
    /// `ESC [`.
    Csi(Parameters),
    /// Inside a UTF-8 character.
    Utf8(Partial),
}

impl Decoder {
    /// Takes one byte; a key if that byte completed one.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Key> {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        if after_return && byte == b'\n' {
            return None;
        }
        match core::mem::take(&mut self.state) {
            State::Ground => self.ground(byte),
            State::Escape => self.escape(byte),
            State::Ss3 if is_control(byte) => self.ground(byte),
            State::Ss3 => cursor_key(byte, 0),
            State::Csi(parameters) => self.csi(parameters, byte),
            State::Utf8(partial) => self.utf8(partial, byte),
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Key> {
        match byte {
            0x1b => self.enter(State::Escape),
            b'\r' | b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x08 | 0x7f => Some(Key::Backspace),
            0x01..=0x1a => Some(Key::Ctrl(char::from(byte - 1 + b'a'))),
            0x00 | 0x1c..=0x1f => None,
            0x20..=0x7e => Some(Key::Char(char::from(byte))),
            0x80.. => {
                let partial = Partial::begin(byte)?;
                self.enter(State::Utf8(partial))
            }
        }
    }

    fn escape(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'[' => self.enter(State::Csi(Parameters::default())),
            b'O' => self.enter(State::Ss3),
            0x08 | 0x7f => Some(Key::AltBackspace),
            0x20..=0x7e => Some(Key::Alt(char::from(byte))),
            // A control byte or a second escape: the first escape meant nothing.
            _ => self.ground(byte),
        }
    }

    fn csi(&mut self, mut parameters: Parameters, byte: u8) -> Option<Key> {
        match byte {
            0x20..=0x3f => {
                parameters.push(byte);
                self.enter(State::Csi(parameters))
            }
            0x40..=0x7e => parameters.finish(byte),
            _ => self.ground(byte),
        }
    }

    fn utf8(&mut self, mut partial: Partial, byte: u8) -> Option<Key> {
        if byte & 0xc0 != 0x80 {
            return self.ground(byte);
        }
        partial.push(byte);
        if !partial.is_complete() {
            return self.enter(State::Utf8(partial));
        }
        partial.decode().filter(|c| !c.is_control()).map(Key::Char)
    }

    fn enter(&mut self, state: State) -> Option<Key> {
        self.state = state;
        None
    }
}

fn is_control(byte: u8) -> bool {
    !(0x20..0x7f).contains(&byte)
}

/// The parameter bytes of a control sequence.
#[derive(Debug, Default, Clone, Copy)]
struct Parameters {
    bytes: [u8; MAX_PARAMETERS],
    length: usize,
    overflowed: bool,
}

impl Parameters {
    fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(slot) => {
                *slot = byte;
                self.length += 1;
            }
            None => self.overflowed = true,
        }
    }

    /// The number at a place in the `;`-separated list; 0 if it is absent or no number.
    fn number(&self, index: usize) -> u16 {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        let field = bytes.split(|&b| b == b';').nth(index).unwrap_or_default();
        core::str::from_utf8(field).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn finish(&self, last: u8) -> Option<Key> {
        if self.overflowed {
            return None;
        }
        match last {
            b'~' => editing_key(self.number(0)),
            b'R' => Some(Key::CursorReport { row: self.number(0), column: self.number(1) }),
            _ => cursor_key(last, self.number(1)),
        }
    }
}

/// Keys sent as `ESC [ number ~`.
fn editing_key(number: u16) -> Option<Key> {
    match number {
        1 | 7 => Some(Key::Home),
        3 => Some(Key::Delete),
        4 | 8 => Some(Key::End),
        5 => Some(Key::PageUp),
        6 => Some(Key::PageDown),
        _ => None,
    }
}

/// Keys sent as `ESC [ … letter` or `ESC O letter`; modifiers above 1 mean Shift, Alt, Ctrl.
fn cursor_key(letter: u8, modifier: u16) -> Option<Key> {
    let by_word = modifier >= 3;
    match letter {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' if by_word => Some(Key::WordRight),
        b'C' => Some(Key::Right),
        b'D' if by_word => Some(Key::WordLeft),
        b'D' => Some(Key::Left),
        b'F' => Some(Key::End),
        b'H' => Some(Key::Home),
        b'M' => Some(Key::Enter),
        _ => None,
    }
}

/// The bytes of a UTF-8 character so far.
#[derive(Debug, Clone, Copy)]
struct Partial {
    bytes: [u8; 4],
    length: usize,
    wanted: usize,
}

impl Partial {
    /// Nothing if the byte cannot begin a character.
    fn begin(first: u8) -> Option<Self> {
        let wanted = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return None,
        };
        Some(Self { bytes: [first, 0, 0, 0], length: 1, wanted })
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn is_complete(&self) -> bool {
        self.length == self.wanted
    }

    fn decode(&self) -> Option<char> {
        core::str::from_utf8(self.bytes.get(..self.length)?).ok()?.chars().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&b| decoder.push(b)).collect()
    }

    #[test]
    fn text_control_and_enter() {
        assert_eq!(keys("aß€😀".as_bytes()), ['a', 'ß', '€', '😀'].map(Key::Char));
        assert_eq!(
            keys(b"\x01\x1a\x7f\x08\t"),
            [Key::Ctrl('a'), Key::Ctrl('z'), Key::Backspace, Key::Backspace, Key::Tab]
        );
        assert_eq!(keys(b"\r\n\n\r"), [Key::Enter, Key::Enter, Key::Enter]);
    }

    #[test]
    fn cursor_keys_in_every_spelling() {
        assert_eq!(keys(b"\x1b[A\x1bOA"), [Key::Up, Key::Up]);
        assert_eq!(keys(b"\x1b[1;5C\x1b[1;3D"), [Key::WordRight, Key::WordLeft]);
        assert_eq!(keys(b"\x1b[H\x1b[1~\x1b[7~\x1bOH"), [Key::Home; 4]);
        assert_eq!(keys(b"\x1b[F\x1b[4~\x1b[8~\x1bOF"), [Key::End; 4]);
        assert_eq!(keys(b"\x1b[3~"), [Key::Delete]);
        assert_eq!(keys(b"\x1bb\x1b\x7f"), [Key::Alt('b'), Key::AltBackspace]);
        assert_eq!(keys(b"\x1b[24;132R"), [Key::CursorReport { row: 24, column: 132 }]);
    }

    #[test]
    fn garbage_is_dropped_and_control_bytes_break_out() {
        assert_eq!(keys(b"\x1b[999999;;;;9999999999999999999999Cx"), [Key::Char('x')]);
        assert_eq!(keys(b"\x1b[12\rx"), [Key::Enter, Key::Char('x')]);
        assert_eq!(keys(b"\x1b\x1b\x03"), [Key::Ctrl('c')]);
        assert_eq!(keys(b"\xff\xc3x\xe2\x82\r"), [Key::Char('x'), Key::Enter]);
        assert_eq!(keys(b"\x1bO\x03"), [Key::Ctrl('c')]);
        assert_eq!(keys("\u{85}".as_bytes()), []);
    }

    proptest! {
        #[test]
        fn text_survives(text in any::<String>()) {
            let typed: String = text.chars().filter(|c| !c.is_control()).collect();
            let got = keys(typed.as_bytes());
            prop_assert_eq!(got, typed.chars().map(Key::Char).collect::<Vec<_>>());
        }

        #[test]
        fn after_any_garbage_two_returns_arrive(garbage in any::<Vec<u8>>()) {
            let mut decoder = Decoder::default();
            for byte in garbage {
                let _ = decoder.push(byte);
            }
            let tail: Vec<_> = b"x\r".iter().filter_map(|&b| decoder.push(b)).collect();
            prop_assert_eq!(tail.last(), Some(&Key::Enter));
        }
    }
}
