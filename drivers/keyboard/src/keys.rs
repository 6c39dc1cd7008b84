//! From scan codes to what a terminal sends.
//!
//! `pc-keyboard` knows scan codes and layouts; what is added is which bytes a key stands for:
//! UTF-8 for characters, ^A to ^Z and their like with Ctrl, an escape before what is typed with
//! Alt, and xterm's sequences for cursor, editing and function keys. Alt with F1, F2, … and Shift
//! with Page Up and Page Down are not bytes: they are for the console.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use libd3os::service::keyboard::{Input, Layout};
use pc_keyboard::layouts::{AnyLayout, De105Key, Us104Key};
use pc_keyboard::{
    DecodedKey, HandleControl, KeyCode, KeyEvent, KeyState, KeyboardLayout, Modifiers, ScancodeSet,
    ScancodeSet1, ScancodeSet2,
};

/// Which scan codes reach the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Set 1, which the controller makes of set 2.
    Set1,
    /// Set 2, which keyboards send, where the controller does not translate.
    Set2,
}

/// A scan code that no key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode;

/// Which keys are held, and what a key means.
pub struct Keys {
    codes: Box<dyn ScancodeSet>,
    modifiers: Modifiers,
    layout: Layout,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Keys {
    /// No key is held.
    #[must_use]
    pub fn new(codes: Codes, layout: Layout) -> Self {
        let codes: Box<dyn ScancodeSet> = match codes {
            Codes::Set1 => Box::new(ScancodeSet1::new()),
            Codes::Set2 => Box::new(ScancodeSet2::new()),
        };
        Self { codes, modifiers: Modifiers { numlock: true, ..Modifiers::default() }, layout }
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Another layout, from the next key on.
    pub fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// Takes a scan code; what it types, if it types something.
    ///
    /// # Errors
    /// [`UnknownCode`]; the next scan code begins a key anew.
    pub fn push(&mut self, code: u8) -> Result<Option<Input>, UnknownCode> {
        let event = self.codes.advance_state(code).map_err(|_| UnknownCode)?;
        Ok(event.and_then(|event| self.event(event)))
    }

    fn event(&mut self, event: KeyEvent) -> Option<Input> {
        let KeyEvent { code, state } = event;
        if self.modifier(code, state) || state == KeyState::Up {
            return None;
        }
        self.console_key(code).or_else(|| self.bytes(code).map(Input::Bytes))
    }

    /// Notes a modifier; whether it was one.
    fn modifier(&mut self, code: KeyCode, state: KeyState) -> bool {
        let down = state != KeyState::Up;
        let held = &mut self.modifiers;
        match code {
            KeyCode::LShift => held.lshift = down,
            KeyCode::RShift => held.rshift = down,
            KeyCode::LControl => held.lctrl = down,
            KeyCode::RControl => held.rctrl = down,
            KeyCode::LAlt => held.lalt = down,
            KeyCode::RAltGr => held.ralt = down,
            KeyCode::RControl2 => held.rctrl2 = down,
            KeyCode::CapsLock => held.capslock ^= down,
            // With the hidden Ctrl key it is Pause, which means nothing here.
            KeyCode::NumpadLock => held.numlock ^= down && !held.rctrl2,
            _ => return false,
        }
        true
    }

    /// Whether Alt is held as such: on layouts with AltGr the right one is that.
    fn alt(&self) -> bool {
        self.modifiers.lalt || self.layout == Layout::Us && self.modifiers.ralt
    }

    /// What is for the console itself.
    fn console_key(&self, code: KeyCode) -> Option<Input> {
        match code {
            KeyCode::PageUp if self.modifiers.is_shifted() => Some(Input::Back),
            KeyCode::PageDown if self.modifiers.is_shifted() => Some(Input::Forward),
            _ if self.alt() => function_number(code).map(Input::Console),
            _ => None,
        }
    }

    fn bytes(&self, code: KeyCode) -> Option<Vec<u8>> {
        let code = self.keypad(code);
        match code {
            KeyCode::Return | KeyCode::NumpadEnter => Some(self.with_alt(b"\r")),
            KeyCode::Backspace => Some(self.with_alt(b"\x7f")),
            KeyCode::Escape => Some(self.with_alt(b"\x1b")),
            KeyCode::Tab if self.modifiers.is_shifted() => Some(b"\x1b[Z".to_vec()),
            KeyCode::Tab => Some(self.with_alt(b"\t")),
            _ => self.sequence(code).map(String::into_bytes).or_else(|| self.character(code)),
        }
    }

    /// The keypad's keys without Num Lock are those that are printed below the digits.
    fn keypad(&self, code: KeyCode) -> KeyCode {
        if self.modifiers.numlock {
            return code;
        }
        match code {
            KeyCode::Numpad0 => KeyCode::Insert,
            KeyCode::Numpad1 => KeyCode::End,
            KeyCode::Numpad2 => KeyCode::ArrowDown,
            KeyCode::Numpad3 => KeyCode::PageDown,
            KeyCode::Numpad4 => KeyCode::ArrowLeft,
            KeyCode::Numpad6 => KeyCode::ArrowRight,
            KeyCode::Numpad7 => KeyCode::Home,
            KeyCode::Numpad8 => KeyCode::ArrowUp,
            KeyCode::Numpad9 => KeyCode::PageUp,
            KeyCode::NumpadPeriod => KeyCode::Delete,
            other => other,
        }
    }

    fn character(&self, code: KeyCode) -> Option<Vec<u8>> {
        let DecodedKey::Unicode(character) = self.decoded(code) else { return None };
        if self.modifiers.is_ctrl() && !self.modifiers.ralt {
            return control(character).map(|byte| self.with_alt(&[byte]));
        }
        let mut utf8 = [0; 4];
        Some(self.with_alt(character.encode_utf8(&mut utf8).as_bytes()))
    }

    fn decoded(&self, code: KeyCode) -> DecodedKey {
        let layout = match self.layout {
            Layout::Us => AnyLayout::Us104Key(Us104Key),
            Layout::De => AnyLayout::De105Key(De105Key),
        };
        layout.map_keycode(code, &self.modifiers, HandleControl::Ignore)
    }

    fn with_alt(&self, bytes: &[u8]) -> Vec<u8> {
        let escape = if self.alt() { &b"\x1b"[..] } else { b"" };
        [escape, bytes].concat()
    }

    /// The control sequence of a key that has one.
    fn sequence(&self, code: KeyCode) -> Option<String> {
        let held = self.held();
        if let Some(letter) = cursor_letter(code) {
            return Some(match held {
                1 => format!("\x1b[{letter}"),
                _ => format!("\x1b[1;{held}{letter}"),
            });
        }
        if let Some(letter @ 'P'..='S') = function_letter(code) {
            return Some(match held {
                1 => format!("\x1bO{letter}"),
                _ => format!("\x1b[1;{held}{letter}"),
            });
        }
        let number = editing_number(code)?;
        Some(match held {
            1 => format!("\x1b[{number}~"),
            _ => format!("\x1b[{number};{held}~"),
        })
    }

    /// The held modifiers as xterm counts them.
    fn held(&self) -> u8 {
        let held = &self.modifiers;
        1 + u8::from(held.is_shifted()) + 2 * u8::from(self.alt()) + 4 * u8::from(held.is_ctrl())
    }
}

/// The control character that Ctrl makes of a character.
fn control(character: char) -> Option<u8> {
    let byte = u8::try_from(character).ok()?.to_ascii_uppercase();
    match byte {
        b' ' | b'@'..=b'_' => Some(byte & 0x1f),
        b'?' => Some(0x7f),
        b'/' => Some(0x1f),
        _ => None,
    }
}

fn cursor_letter(code: KeyCode) -> Option<char> {
    match code {
        KeyCode::ArrowUp => Some('A'),
        KeyCode::ArrowDown => Some('B'),
        KeyCode::ArrowRight => Some('C'),
        KeyCode::ArrowLeft => Some('D'),
        KeyCode::End => Some('F'),
        KeyCode::Home => Some('H'),
        _ => None,
    }
}

fn function_letter(code: KeyCode) -> Option<char> {
    match function_number(code)? {
        1 => Some('P'),
        2 => Some('Q'),
        3 => Some('R'),
        4 => Some('S'),
        _ => None,
    }
}

fn editing_number(code: KeyCode) -> Option<u8> {
    match code {
        KeyCode::Insert => Some(2),
        KeyCode::Delete => Some(3),
        KeyCode::PageUp => Some(5),
        KeyCode::PageDown => Some(6),
        _ => match function_number(code)? {
            5 => Some(15),
            number @ 6..=10 => Some(11 + number),
            number @ 11.. => Some(12 + number),
            _ => None,
        },
    }
}

fn function_number(code: KeyCode) -> Option<u8> {
    const KEYS: [KeyCode; 12] = [
        KeyCode::F1,
        KeyCode::F2,
        KeyCode::F3,
        KeyCode::F4,
        KeyCode::F5,
        KeyCode::F6,
        KeyCode::F7,
        KeyCode::F8,
        KeyCode::F9,
        KeyCode::F10,
        KeyCode::F11,
        KeyCode::F12,
    ];
    (1..).zip(KEYS).find(|(_, key)| *key == code).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scan codes of set 1: make codes; `| UP` is the key's release.
    const UP: u8 = 0x80;
    const SHIFT: u8 = 0x2a;
    const CTRL: u8 = 0x1d;
    const ALT: u8 = 0x38;

    fn typed(layout: Layout, codes: &[u8]) -> Vec<Input> {
        let mut keys = Keys::new(Codes::Set1, layout);
        codes.iter().filter_map(|&code| keys.push(code).expect("known")).collect()
    }

    fn text(layout: Layout, codes: &[u8]) -> String {
        let bytes = typed(layout, codes).into_iter().flat_map(|input| match input {
            Input::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        });
        String::from_utf8(bytes.collect()).expect("UTF-8")
    }

    #[test]
    fn letters_and_shift() {
        assert_eq!(text(Layout::Us, &[0x1e, 0x1e | UP, SHIFT, 0x1e, SHIFT | UP, 0x30]), "aAb");
        // Caps Lock stays when it is let go.
        assert_eq!(text(Layout::Us, &[0x3a, 0x3a | UP, 0x1e, 0x02, 0x3a, 0x1e]), "A1a");
    }

    #[test]
    fn german_letters_are_where_they_are_printed() {
        assert_eq!(text(Layout::De, &[0x15, 0x2c, 0x1a, 0x27, 0x28, 0x0c]), "zyüöäß");
        assert_eq!(text(Layout::De, &[SHIFT, 0x1a, 0x03, SHIFT | UP, 0x56]), "Ü\"<");
        // AltGr: Q is @, E is the euro sign, 7 is {.
        assert_eq!(text(Layout::De, &[0xe0, ALT, 0x10, 0x12, 0x08, 0xe0, ALT | UP, 0x10]), "@€{q");
        assert_eq!(text(Layout::Us, &[0x15, 0x2c, 0x1a]), "yz[");
    }

    #[test]
    fn control_makes_control_characters() {
        assert_eq!(text(Layout::Us, &[CTRL, 0x2e, 0x39, 0x1a, CTRL | UP, 0x2e]), "\x03\0\x1bc");
        assert_eq!(typed(Layout::De, &[CTRL, 0x1a]), []);
    }

    #[test]
    fn alt_puts_an_escape_before() {
        assert_eq!(text(Layout::Us, &[ALT, 0x30, 0x0e, ALT | UP, 0x30]), "\x1bb\x1b\x7fb");
    }

    #[test]
    fn keys_without_a_character_send_what_xterm_sends() {
        let e0 = |code: u8| text(Layout::Us, &[0xe0, code]);
        assert_eq!((e0(0x48), e0(0x50), e0(0x4d), e0(0x4b)), sequences("A", "B", "C", "D"));
        assert_eq!((e0(0x47), e0(0x4f), e0(0x53), e0(0x52)), sequences("H", "F", "3~", "2~"));
        assert_eq!(text(Layout::Us, &[CTRL, 0xe0, 0x4d]), "\x1b[1;5C");
        assert_eq!(
            text(Layout::Us, &[0x3b, 0x3e, 0x3f, 0x40, 0x44, 0x57, 0x58]),
            "\x1bOP\x1bOS\x1b[15~\x1b[17~\x1b[21~\x1b[23~\x1b[24~"
        );
        assert_eq!(
            text(Layout::Us, &[0x1c, 0x0f, SHIFT, 0x0f, SHIFT | UP, 0x01, 0xe0, 0x49]),
            "\r\t\x1b[Z\x1b\x1b[5~"
        );
    }

    fn sequences(a: &str, b: &str, c: &str, d: &str) -> (String, String, String, String) {
        let whole = |end: &str| format!("\x1b[{end}");
        (whole(a), whole(b), whole(c), whole(d))
    }

    #[test]
    fn the_keypad_types_digits_until_num_lock() {
        assert_eq!(
            text(Layout::Us, &[0x47, 0x52, 0x45, 0x45 | UP, 0x47, 0x52, 0x4e]),
            "70\x1b[H\x1b[2~+"
        );
    }

    #[test]
    fn some_keys_are_for_the_console() {
        assert_eq!(typed(Layout::Us, &[ALT, 0x3b, 0x3e]), [Input::Console(1), Input::Console(4)]);
        assert_eq!(
            typed(Layout::De, &[SHIFT, 0xe0, 0x49, 0xe0, 0x51]),
            [Input::Back, Input::Forward]
        );
    }

    #[test]
    fn set_two_is_read_as_well() {
        let mut keys = Keys::new(Codes::Set2, Layout::De);
        let mut push = |code| keys.push(code).expect("known");
        assert_eq!(push(0x1c), Some(Input::Bytes(b"a".to_vec())));
        assert_eq!((push(0xf0), push(0x1c)), (None, None));
        assert_eq!((push(0xe0), push(0x75)), (None, Some(Input::Bytes(b"\x1b[A".to_vec()))));
    }

    proptest! {
        #[test]
        fn no_scan_codes_break_it(codes in prop::collection::vec(any::<u8>(), 0..200), two in any::<bool>(), german in any::<bool>()) {
            let set = if two { Codes::Set2 } else { Codes::Set1 };
            let mut keys = Keys::new(set, if german { Layout::De } else { Layout::Us });
            for code in codes {
                if let Ok(Some(Input::Bytes(bytes))) = keys.push(code) {
                    prop_assert!(!bytes.is_empty() && bytes.len() <= 8);
                    prop_assert!(core::str::from_utf8(&bytes).is_ok());
                }
            }
        }
    }
}
