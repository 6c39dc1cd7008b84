//! The console's decisions: who gets input, what the interrupt key means, what is shown.
//!
//! Sans-IO. Requests and input come in as methods, what to do about them comes out as [`Effect`]s,
//! and bytes for the terminal wait in [`Console::output`]. `R` is whatever answers a reader.
//!
//! Readers form a stack: the newest gets the input, for a program that begins to read while
//! another waits is the one that the person just started. A program that has ended leaves the
//! stack ([`Console::ended`]), so that it takes no input with it; whoever calls again takes the
//! place of its earlier call, which its program did not live to see answered.
//!
//! The interrupt key (^C) is a byte like any other while the newest reader is raw, and while that
//! reader edits a line: it was answered, but not with the end of a line, and will be back. At any
//! other time the key ends the program in the foreground, and input before it is forgotten; so does a
//! second one where nobody has taken the first.
//!
//! Records of the log are shown between lines. One that comes while a program is in the middle of a line
//! waits until that line is ended or read after (whoever edits draws it again), the program has ended,
//! or [`HELD`] others wait: a prompt is not torn from what is typed after it.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use libd3os::service::console::{ConsoleError, InputEvent, InputMode};
use libd3os::service::log::{Level, LogRecord};

use crate::events::{Event, Journal};
use crate::output::Output;
use crate::record;

/// Input that waits for a reader at most, in bytes; further input is dropped and counted.
pub const TYPE_AHEAD_BYTES: usize = 4096;
/// Bytes that one answer to a reader carries at most.
pub const ANSWER_BYTES: usize = 512;
/// Readers that wait at most.
pub const READERS: usize = 8;
/// Records of the log that wait for the end of a line at most.
pub const HELD: usize = 32;

const INTERRUPT_KEY: u8 = 3;
const LINE_ENDS: [u8; 2] = *b"\r\n";
/// Goes to the beginning of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

/// What the process has to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<R> {
    /// Answer a reader.
    Answer(R, InputEvent),
    /// Drop a reader: its program is gone.
    Forget(R),
    /// Tell init that the interrupt key was pressed.
    Interrupt,
}

/// Which log records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// None.
    Nothing,
    /// Those of this level and the more important ones.
    UpTo(Level),
}

#[derive(Debug)]
struct Reader<R> {
    caller: u64,
    mode: InputMode,
    reply: R,
}

/// One terminal and those who use it.
#[derive(Debug)]
pub struct Console<R> {
    /// Bytes for the terminal.
    pub output: Output,
    readers: Vec<Reader<R>>,
    /// The raw reader that was answered last, unless that ended its line.
    editing: Option<u64>,
    /// A program takes keys without waiting for them: the interrupt key is one of them.
    is_polled: bool,
    type_ahead: VecDeque<u8>,
    shown: Shown,
    /// Records that wait for the end of a line.
    held: Vec<String>,
    /// Who wrote last, while it lives.
    writer: Option<u64>,
    /// A record was shown in the middle of a line that somebody had written, and nothing since that
    /// says the whole line again: who reads next may have to draw it.
    is_line_broken: bool,
    journal: Journal,
}

impl<R> Console<R> {
    /// A console that shows these log records, has no readers and has shown nothing; what it does
    /// is noted in the journal.
    #[must_use]
    pub fn new(shown: Shown, journal: Journal) -> Self {
        Self {
            output: Output::default(),
            readers: Vec::new(),
            editing: None,
            is_polled: false,
            type_ahead: VecDeque::new(),
            shown,
            held: Vec::new(),
            writer: None,
            is_line_broken: false,
            journal,
        }
    }

    /// A program writes.
    pub fn write(&mut self, caller: u64, bytes: &[u8]) -> Option<Effect<R>> {
        self.journal.note(Event::Wrote(bytes.len()));
        // Who edits writes what has changed of its line, and needs the rest of it too.
        self.is_line_broken &= self.editing.is_some();
        self.writer = Some(caller);
        self.output.write(bytes);
        self.show_held()
    }

    /// A program wants input.
    ///
    /// # Errors
    /// [`ConsoleError::ReaderPresent`] and the reply back when [`READERS`] others wait.
    pub fn read(
        &mut self,
        caller: u64,
        mode: InputMode,
        reply: R,
    ) -> Result<Vec<Effect<R>>, (R, ConsoleError)> {
        let mut effects = self.forget_reads(caller);
        if self.readers.len() == READERS {
            return Err((reply, ConsoleError::ReaderPresent));
        }
        self.is_polled = false;
        self.editing = None;
        self.journal.note(Event::Reads(caller));
        self.readers.push(Reader { caller, mode, reply });
        // It had written its line and was about to read. What was typed meanwhile comes after the line is
        // there again.
        effects.extend(self.show_held_or_restore());
        effects.extend(self.deliver());
        Ok(effects)
    }

    /// A program wants the input that there is, and does not wait.
    pub fn poll(&mut self) -> Vec<u8> {
        self.is_polled = true;
        let count = self.type_ahead.len().min(ANSWER_BYTES);
        self.type_ahead.drain(..count).collect()
    }

    /// A program has ended: input is not for it any more.
    pub fn ended(&mut self, caller: u64) -> Vec<Effect<R>> {
        self.editing.take_if(|editor| *editor == caller);
        self.writer.take_if(|writer| *writer == caller);
        let mut effects = self.forget_reads(caller);
        effects.extend(self.show_held());
        effects
    }

    /// The keyboard sent bytes.
    pub fn input(&mut self, bytes: &[u8]) -> Vec<Effect<R>> {
        let mut effects = Vec::new();
        for &byte in bytes {
            if byte == INTERRUPT_KEY && self.is_interruptible() {
                effects.extend(self.interrupt());
            } else if self.type_ahead.len() < TYPE_AHEAD_BYTES {
                self.type_ahead.push_back(byte);
            } else {
                self.journal.note(Event::Dropped);
            }
        }
        effects.extend(self.deliver());
        effects
    }

    /// New log records, and how many were missed before them. They are shown as soon as no line is in
    /// the way; a raw reader is told that its line was written over.
    pub fn log(&mut self, records: &[LogRecord], lost: u64) -> Option<Effect<R>> {
        let Shown::UpTo(level) = self.shown else { return None };
        let mut lines: Vec<_> =
            records.iter().filter(|record| record.level <= level).map(record::line).collect();
        self.journal.note(Event::Shown(lines.len()));
        if lost > 0 {
            lines.insert(0, record::lost(lost));
        }
        self.held.extend(lines);
        self.show_held()
    }

    /// What was done so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the interrupt key is for the program in the foreground.
    fn is_interruptible(&self) -> bool {
        let waits = self.editing.is_some() && !self.type_ahead.contains(&INTERRUPT_KEY);
        !self.newest_is_raw() && !self.is_polled && !waits
    }

    fn newest_is_raw(&self) -> bool {
        self.readers.last().is_some_and(|reader| reader.mode == InputMode::Raw)
    }

    fn forget_reads(&mut self, caller: u64) -> Vec<Effect<R>> {
        let gone = self.readers.extract_if(.., |reader| reader.caller == caller);
        let effects: Vec<_> = gone.map(|reader| Effect::Forget(reader.reply)).collect();
        for _ in &effects {
            self.journal.note(Event::Forgot(caller));
        }
        effects
    }

    /// Gives the newest reader what there is.
    fn deliver(&mut self) -> Option<Effect<R>> {
        if self.type_ahead.is_empty() {
            return None;
        }
        let reader = self.readers.pop()?;
        let count = self.type_ahead.len().min(ANSWER_BYTES);
        let bytes: Vec<u8> = self.type_ahead.drain(..count).collect();
        let ends_line = bytes.iter().any(|byte| LINE_ENDS.contains(byte));
        self.editing = (reader.mode == InputMode::Raw && !ends_line).then_some(reader.caller);
        self.journal.note(Event::Answered(reader.caller, count));
        Some(Effect::Answer(reader.reply, InputEvent::Bytes(bytes)))
    }

    /// The reader that waits, if any, gets the key as well: if it is not the program in the
    /// foreground, it lives on and must not wait for an answer that nobody owes it.
    fn interrupt(&mut self) -> Vec<Effect<R>> {
        self.type_ahead.clear();
        self.editing = None;
        self.journal.note(Event::Interrupt);
        self.output.print("^C\n");
        let mut effects = alloc::vec![Effect::Interrupt];
        effects.extend(self.show_held());
        if let Some(reader) = self.readers.pop() {
            let event = InputEvent::Bytes(alloc::vec![INTERRUPT_KEY]);
            effects.push(Effect::Answer(reader.reply, event));
        }
        effects
    }

    /// Shows the records that wait, unless somebody's line is in the way.
    fn show_held(&mut self) -> Option<Effect<R>> {
        let is_open = !self.output.at_line_start() && self.writer.is_some();
        let waits = is_open && !self.newest_is_raw() && self.held.len() <= HELD;
        if waits || self.held.is_empty() {
            return None;
        }
        self.print_held()
    }

    /// A program reads after what it has written: shows the records that wait, or has a line drawn again
    /// that one had to break.
    fn show_held_or_restore(&mut self) -> Option<Effect<R>> {
        let was_broken = core::mem::take(&mut self.is_line_broken);
        match self.held.is_empty() {
            false => self.print_held(),
            true if was_broken => self.redraw(),
            true => None,
        }
    }

    fn print_held(&mut self) -> Option<Effect<R>> {
        if self.newest_is_raw() {
            self.output.print(CLEAR_LINE);
        } else if !self.output.at_line_start() {
            self.output.print("\n");
            self.is_line_broken = true;
        }
        for line in core::mem::take(&mut self.held) {
            self.output.print(&line);
        }
        self.redraw()
    }

    fn redraw(&mut self) -> Option<Effect<R>> {
        if !self.newest_is_raw() {
            return None;
        }
        let reader = self.readers.pop()?;
        self.editing = Some(reader.caller);
        self.journal.note(Event::Redraw(reader.caller));
        Some(Effect::Answer(reader.reply, InputEvent::Redraw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    type Sut = Console<u32>;

    fn sut() -> Sut {
        Console::new(Shown::UpTo(Level::Info), Journal::default())
    }

    fn shown(console: &mut Sut) -> String {
        String::from_utf8(console.output.take(usize::MAX)).expect("text")
    }

    fn answer(reply: u32, bytes: &[u8]) -> Effect<u32> {
        Effect::Answer(reply, InputEvent::Bytes(bytes.to_vec()))
    }

    fn record(level: Level, message: &str) -> LogRecord {
        LogRecord {
            seq: 0,
            time_us: 0,
            program: String::from("p"),
            level,
            target: String::new(),
            message: String::from(message),
        }
    }

    #[test]
    fn input_goes_to_the_newest_reader() {
        let mut console = sut();
        assert_eq!(console.read(1, InputMode::Raw, 10), Ok(vec![]));
        assert_eq!(console.read(2, InputMode::Interruptible, 20), Ok(vec![]));
        assert_eq!(console.input(b"hi"), [answer(20, b"hi")]);
        assert_eq!(console.input(b"ho"), [answer(10, b"ho")]);
        assert_eq!(console.input(b"later"), []);
        assert_eq!(console.read(2, InputMode::Raw, 21), Ok(vec![answer(21, b"later")]));
    }

    #[test]
    fn a_second_read_of_a_program_replaces_the_first() {
        let mut console = sut();
        console.read(1, InputMode::Raw, 10).expect("room");
        assert_eq!(console.read(1, InputMode::Raw, 11), Ok(vec![Effect::Forget(10)]));
        assert_eq!(console.input(b"x"), [answer(11, b"x")]);
    }

    #[test]
    fn a_program_that_has_ended_swallows_no_input() {
        let mut console = sut();
        console.read(1, InputMode::Raw, 10).expect("room");
        console.read(2, InputMode::Interruptible, 20).expect("room");
        assert_eq!(console.ended(2), [Effect::Forget(20)]);
        assert_eq!(console.ended(3), []);
        assert_eq!(console.journal.recorder().recent(2)[0], (2, Event::Forgot(2)));
        assert_eq!(console.journal.totals().forgotten.get(), 1);
        assert_eq!(console.input(b"x"), [answer(10, b"x")]);
    }

    #[test]
    fn readers_are_bounded() {
        let mut console = sut();
        for caller in 0..READERS as u64 {
            console.read(caller, InputMode::Raw, 0).expect("room");
        }
        let refused = console.read(99, InputMode::Raw, 7);
        assert_eq!(refused, Err((7, ConsoleError::ReaderPresent)));
    }

    #[test]
    fn the_interrupt_key_is_a_byte_for_a_raw_reader() {
        let mut console = sut();
        console.read(1, InputMode::Raw, 10).expect("room");
        assert_eq!(console.input(b"a\x03"), [answer(10, b"a\x03")]);
    }

    #[test]
    fn the_interrupt_key_interrupts_without_a_raw_reader() {
        let mut console = sut();
        assert_eq!(console.input(b"abc\x03de"), [Effect::Interrupt]);
        assert_eq!(shown(&mut console), "^C\r\n");
        assert_eq!(console.read(1, InputMode::Raw, 10), Ok(vec![answer(10, b"de")]));
        console.read(2, InputMode::Interruptible, 20).expect("room");
        assert_eq!(console.input(b"\x03"), [Effect::Interrupt, answer(20, b"\x03")]);
    }

    #[test]
    fn the_interrupt_key_is_for_whoever_edits_also_between_its_reads() {
        let mut console = sut();
        console.read(1, InputMode::Raw, 10).expect("room");
        assert_eq!(console.input(b"a"), [answer(10, b"a")]);
        assert_eq!(console.input(b"\x03"), []);
        assert_eq!(console.read(1, InputMode::Raw, 11), Ok(vec![answer(11, b"\x03")]));
        console.read(1, InputMode::Raw, 12).expect("room");
        let record = record(Level::Info, "news");
        assert_eq!(console.log(&[record], 0), Some(Effect::Answer(12, InputEvent::Redraw)));
        assert_eq!(console.input(b"\x03"), []);
        assert_eq!(console.input(b"\x03"), [Effect::Interrupt], "nobody has taken the first");
        console.read(1, InputMode::Raw, 13).expect("room");
        assert_eq!(console.input(b"run\r"), [answer(13, b"run\r")]);
        assert_eq!(console.input(b"\x03"), [Effect::Interrupt], "the line has ended");
    }

    #[test]
    fn the_interrupt_key_is_not_kept_for_an_editor_that_has_ended() {
        let mut console = sut();
        console.read(1, InputMode::Raw, 10).expect("room");
        console.input(b"a");
        assert_eq!(console.ended(1), []);
        assert_eq!(console.input(b"\x03"), [Effect::Interrupt]);
    }

    #[test]
    fn a_line_that_is_edited_is_drawn_again_after_a_record_in_its_midst() {
        let mut console = sut();
        console.read(1, InputMode::Raw, 10).expect("room");
        console.write(1, b"d3os> ");
        assert_eq!(console.input(b"a"), [answer(10, b"a")]);
        assert_eq!(console.log(&[record(Level::Info, "news")], 0), None);
        console.write(1, b"a");
        assert_eq!(shown(&mut console), "d3os> a", "it waits");
        let redraw = Effect::Answer(11, InputEvent::Redraw);
        assert_eq!(console.read(1, InputMode::Raw, 11), Ok(vec![redraw]));
        assert_eq!(shown(&mut console), "\r\x1b[K[    0.000000] p: news\r\n");
    }

    #[test]
    fn whoever_polls_gets_what_there_is_and_the_interrupt_key_with_it() {
        let mut console = sut();
        assert!(console.poll().is_empty());
        assert_eq!(console.input(b"a\x03"), []);
        assert_eq!(console.poll(), b"a\x03");
        assert_eq!(console.read(1, InputMode::Interruptible, 10), Ok(vec![]));
        assert_eq!(console.input(b"\x03"), [Effect::Interrupt, answer(10, b"\x03")]);
    }

    #[test]
    fn much_input_comes_in_parts_and_too_much_is_dropped() {
        let mut console = sut();
        assert_eq!(console.input(&[b'x'; TYPE_AHEAD_BYTES + 5]), []);
        assert_eq!(console.journal.totals().dropped.get(), 5);
        let mut got = 0;
        while let Ok([Effect::Answer(_, InputEvent::Bytes(bytes))]) =
            console.read(1, InputMode::Raw, 1).as_deref()
        {
            assert!(bytes.len() <= ANSWER_BYTES);
            got += bytes.len();
        }
        assert_eq!(got, TYPE_AHEAD_BYTES);
    }

    #[test]
    fn a_log_record_clears_the_edited_line_and_asks_for_a_redraw() {
        let mut console = sut();
        console.write(1, b"d3os> ls");
        console.read(1, InputMode::Raw, 10).expect("room");
        let effect = console.log(&[record(Level::Info, "news"), record(Level::Debug, "x")], 0);
        assert_eq!(effect, Some(Effect::Answer(10, InputEvent::Redraw)));
        assert_eq!(shown(&mut console), "d3os> ls\r\x1b[K[    0.000000] p: news\r\n");
    }

    #[test]
    fn a_record_between_a_prompt_and_its_read_asks_for_a_redraw() {
        let mut console = sut();
        console.write(1, b"d3os> ");
        assert_eq!(console.log(&[record(Level::Info, "news")], 0), None);
        let effects = console.read(1, InputMode::Raw, 10);
        assert_eq!(effects, Ok(vec![Effect::Answer(10, InputEvent::Redraw)]));
        assert_eq!(shown(&mut console), "d3os> \r\x1b[K[    0.000000] p: news\r\n");
        assert_eq!(console.read(1, InputMode::Raw, 11), Ok(vec![]), "once");
    }

    #[test]
    fn what_was_typed_before_a_read_comes_after_the_line_is_drawn_again() {
        let mut console = sut();
        console.write(1, b"d3os> ");
        console.log(&[record(Level::Info, "news")], 0);
        assert!(console.input(b"ls").is_empty());
        let effects = console.read(1, InputMode::Raw, 10);
        assert_eq!(effects, Ok(vec![Effect::Answer(10, InputEvent::Redraw)]));
        let effects = console.read(1, InputMode::Raw, 11);
        assert_eq!(effects, Ok(vec![Effect::Answer(11, InputEvent::Bytes(b"ls".to_vec()))]));
    }

    #[test]
    fn a_record_waits_for_the_end_of_a_line() {
        let mut console = sut();
        console.write(1, b"half a");
        assert_eq!(console.log(&[record(Level::Info, "news")], 2), None);
        console.write(1, b" line");
        assert_eq!(shown(&mut console), "half a line");
        console.write(1, b"\n");
        let expected = "\r\n[ 2 log records were lost ]\r\n[    0.000000] p: news\r\n";
        assert_eq!(shown(&mut console), expected);
        console.write(1, b"d3os> ");
        assert_eq!(console.read(1, InputMode::Raw, 10), Ok(vec![]));
        assert_eq!(console.log(&[record(Level::Debug, "x")], 0), None);
        assert_eq!(shown(&mut console), "d3os> ");
    }

    #[test]
    fn a_record_does_not_wait_for_the_end_of_a_line_whose_writer_has_ended() {
        for ends_first in [true, false] {
            let mut console = sut();
            console.write(1, b"half a");
            if ends_first {
                assert_eq!(console.ended(1), []);
            }
            console.log(&[record(Level::Info, "news")], 0);
            assert_eq!(console.ended(2), []);
            assert_eq!(console.ended(1), []);
            assert_eq!(shown(&mut console), "half a\r\n[    0.000000] p: news\r\n");
        }
    }

    #[test]
    fn a_record_does_not_wait_where_a_program_asks_and_waits_for_a_line() {
        let mut console = sut();
        console.write(1, b"name? ");
        console.log(&[record(Level::Info, "news")], 0);
        assert_eq!(console.read(1, InputMode::Interruptible, 10), Ok(vec![]));
        assert_eq!(shown(&mut console), "name? \r\n[    0.000000] p: news\r\n");
    }

    #[test]
    fn the_interrupt_key_shows_what_waits() {
        let mut console = sut();
        console.write(1, b"working");
        console.log(&[record(Level::Info, "news")], 0);
        assert_eq!(console.input(b"\x03"), [Effect::Interrupt]);
        assert_eq!(shown(&mut console), "working^C\r\n[    0.000000] p: news\r\n");
    }

    #[test]
    fn many_records_break_a_line_and_whoever_edits_it_draws_it_again() {
        let mut console = sut();
        console.write(1, b"d3os> ");
        for count in 0..HELD {
            assert_eq!(console.log(&[record(Level::Info, "news")], 0), None);
            assert_eq!(shown(&mut console), if count == 0 { "d3os> " } else { "" });
        }
        assert_eq!(console.log(&[record(Level::Info, "news")], 0), None);
        let news = "[    0.000000] p: news\r\n".repeat(HELD + 1);
        assert_eq!(shown(&mut console), alloc::format!("\r\n{news}"));
        let effects = console.read(1, InputMode::Raw, 10);
        assert_eq!(effects, Ok(vec![Effect::Answer(10, InputEvent::Redraw)]));
        assert_eq!(console.read(1, InputMode::Raw, 11), Ok(vec![]), "once");
    }

    #[test]
    fn a_quiet_console_shows_no_record_and_disturbs_nobody() {
        let mut console = Console::new(Shown::Nothing, Journal::default());
        console.read(1, InputMode::Raw, 10).expect("room");
        assert_eq!(console.log(&[record(Level::Error, "x")], 9), None);
        assert_eq!(shown(&mut console), "");
    }

    proptest! {
        /// Every byte typed is read once and in order, unless an interrupt key or a full queue ate
        /// it.
        #[test]
        fn input_arrives_once_and_in_order(steps in prop::collection::vec((any::<bool>(), prop::collection::vec(4u8..=255, 0..20), 0u64..4), 0..60)) {
            let mut console = sut();
            let (mut typed, mut read) = (Vec::new(), Vec::new());
            let mut reply = 0;
            for (typing, bytes, caller) in steps {
                let effects = if typing {
                    typed.extend(&bytes);
                    console.input(&bytes)
                } else {
                    reply += 1;
                    console.read(caller, InputMode::Raw, reply).expect("four callers fit")
                };
                for effect in effects {
                    if let Effect::Answer(_, InputEvent::Bytes(bytes)) = effect {
                        prop_assert!(!bytes.is_empty());
                        read.extend(bytes);
                    }
                }
            }
            read.extend(&console.type_ahead);
            prop_assert_eq!(read, typed);
        }
    }
}
