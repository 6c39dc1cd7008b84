//! From programs' bytes to the terminal's: line ends, and whole characters only.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes of an unfinished character.
const UNFINISHED: usize = 3;

/// Bytes on their way to the terminal.
///
/// Its user drains it after every request, so it holds one request's bytes at most: a slow line
/// makes the writer wait, never the queue grow.
#[derive(Debug)]
pub struct Output {
    pending: VecDeque<u8>,
    /// First bytes of a character whose rest the next write brings.
    unfinished: Vec<u8>,
    at_line_start: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { pending: VecDeque::new(), unfinished: Vec::new(), at_line_start: true }
    }
}

impl Output {
    /// Adds a program's bytes. A line feed also returns the carriage. A character that is cut at
    /// the end is held back until its rest comes, so that nothing is ever printed into its middle;
    /// bytes that are no UTF-8 at all pass unchanged.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut whole = core::mem::take(&mut self.unfinished);
        whole.extend_from_slice(bytes);
        let held = unfinished_bytes(&whole);
        self.unfinished = whole.split_off(whole.len() - held);
        for byte in whole {
            self.put(byte);
        }
    }

    /// Adds text of the console's own, without touching a character that is held back.
    pub fn print(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.put(byte));
    }

    /// Whether the cursor stands at the beginning of an empty line, as far as line feeds tell.
    #[must_use]
    pub fn at_line_start(&self) -> bool {
        self.at_line_start
    }

    /// Takes up to `limit` bytes, oldest first.
    pub fn take(&mut self, limit: usize) -> Vec<u8> {
        let count = limit.min(self.pending.len());
        self.pending.drain(..count).collect()
    }

    fn put(&mut self, byte: u8) {
        if byte == b'\n' {
            self.pending.push_back(b'\r');
        }
        self.pending.push_back(byte);
        self.at_line_start = byte == b'\n';
    }
}

/// How many bytes at the end begin a character that does not end there.
fn unfinished_bytes(bytes: &[u8]) -> usize {
    (1..=UNFINISHED.min(bytes.len()))
        .find(|back| length_by_first_byte(bytes[bytes.len() - back]).is_some())
        .filter(|&back| length_by_first_byte(bytes[bytes.len() - back]) > Some(back))
        .unwrap_or(0)
}

/// Length of the character that begins with this byte, or `None` for a continuation byte.
fn length_by_first_byte(byte: u8) -> Option<usize> {
    match byte {
        0x80..=0xbf => None,
        0xc2..=0xdf => Some(2),
        0xe0..=0xef => Some(3),
        0xf0..=0xf4 => Some(4),
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(output: &mut Output) -> Vec<u8> {
        output.take(usize::MAX)
    }

    #[test]
    fn line_feeds_return_the_carriage() {
        let mut output = Output::default();
        output.write(b"a\nb");
        assert!(!output.at_line_start());
        output.write(b"\n");
        assert!(output.at_line_start());
        assert_eq!((output.take(3), all(&mut output)), (b"a\r\n".to_vec(), b"b\r\n".to_vec()));
    }

    #[test]
    fn nothing_is_printed_into_a_character() {
        let mut output = Output::default();
        output.write(&"é".as_bytes()[..1]);
        output.print("log");
        output.write(&"é".as_bytes()[1..]);
        assert_eq!(all(&mut output), "logé".as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_pass() {
        let mut output = Output::default();
        output.write(&[0xff, 0x80, 0x80, 0x80, 0x80]);
        assert_eq!(all(&mut output), [0xff, 0x80, 0x80, 0x80, 0x80]);
    }

    proptest! {
        #[test]
        fn cuts_do_not_show(text in "\\PC{0,40}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut output = Output::default();
            for pair in at.windows(2) {
                output.write(&bytes[pair[0]..pair[1]]);
                let so_far = output.pending.iter().copied().collect::<Vec<_>>();
                prop_assert!(std::str::from_utf8(&so_far).is_ok(), "a character was torn");
            }
            prop_assert_eq!(all(&mut output), text.replace('\n', "\r\n").into_bytes());
        }

        #[test]
        fn no_byte_is_lost(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut output = Output::default();
            output.write(&bytes);
            let mut seen = all(&mut output);
            seen.extend(&output.unfinished);
            let expected: Vec<u8> = bytes.iter().flat_map(|&byte| {
                if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] }
            }).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
