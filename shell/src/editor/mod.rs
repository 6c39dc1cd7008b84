//! The line editor, without any input or output of its own.
//!
//! Bytes from the terminal go in with [`Editor::push`]; [`Editor::step`] handles them, writes the
//! bytes that change the screen, and stops at the first [`Event`]. What was typed ahead stays
//! queued for the next line. [`Editor::redraw`] puts the line back after something was printed
//! over it.
//!
//! The keys are those of every shell; `README.md` of this crate lists them.

mod history;
mod key;
mod line;
mod search;
#[cfg(test)]
mod tests;
mod view;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use self::history::History;
use self::line::{Line, WordKind};
use self::search::Search;
use self::view::{Frame, View};

pub use self::history::CAPACITY as HISTORY_CAPACITY;
pub(crate) use self::key::{Decoder, Key};
pub use self::line::MAX_LINE;
pub(crate) use self::line::is_attached;
pub use self::view::{DEFAULT_WIDTH, columns};

/// Bytes that may be typed ahead; more are dropped with a bell.
pub const MAX_TYPED_AHEAD: usize = 64 * 1024;

const BELL: u8 = 0x07;
/// Saves the cursor, runs it against the right edge, asks where it is, restores it.
const ASK_SIZE: &[u8] = b"\x1b7\x1b[999B\x1b[999C\x1b[6n\x1b8";
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";
/// Lines that a terminal is taken to have until it tells, and those that are believed.
const DEFAULT_HEIGHT: usize = 24;
const LOWEST: u16 = 12;
const HIGHEST: u16 = 1000;

/// What the editor's owner has to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Enter: run this line. The cursor is on a fresh row.
    Line(String),
    /// ^C: the line was thrown away. The cursor is on a fresh row.
    Cancelled,
    /// ^D on an empty line. The cursor is on a fresh row.
    EndOfInput,
    /// Tab: answer with [`Editor::offer`] for this text left of the cursor.
    Complete(String),
}

/// The answer to [`Event::Complete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The byte, left of the cursor, from which on text is replaced.
    pub start: usize,
    /// What to put there: the one candidate, or what all of them share.
    pub text: String,
    /// What may stand there; each is one entry of the list that a second Tab shows.
    pub candidates: Vec<String>,
}

/// A line being typed at a prompt, with its history and what the terminal shows of it.
#[derive(Debug)]
pub struct Editor {
    prompt: &'static str,
    input: VecDeque<u8>,
    decoder: Decoder,
    line: Line,
    history: History,
    view: View,
    killed: String,
    search: Option<Search>,
    last: LastKey,
    /// Lines of the terminal.
    height: usize,
}

/// What the key before this one did, where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastKey {
    Other,
    /// Text was killed: the next kill is added to it.
    Kill,
    /// A Tab that changed nothing: the next one lists.
    Tab,
}

/// Where killed text joins what was killed just before.
#[derive(Debug, Clone, Copy)]
enum Side {
    Before,
    After,
}

impl Editor {
    /// An editor with nothing on the screen yet.
    pub fn new(prompt: &'static str) -> Self {
        Self {
            prompt,
            input: VecDeque::new(),
            decoder: Decoder::default(),
            line: Line::default(),
            history: History::default(),
            view: View::default(),
            killed: String::new(),
            search: None,
            last: LastKey::Other,
            height: DEFAULT_HEIGHT,
        }
    }

    /// The terminal's width in columns, as far as known.
    pub fn width(&self) -> usize {
        self.view.width()
    }

    /// The terminal's height in lines, as far as known.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The text being edited.
    pub fn text(&self) -> &str {
        self.line.text()
    }

    /// Asks the terminal for its size; the answer, if it gives one, comes with the input.
    pub fn ask_size(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(ASK_SIZE);
    }

    /// Begins an empty line: shows the prompt. The cursor must be at the start of a row.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.line = Line::default();
        self.history.leave();
        self.search = None;
        self.view.forget();
        self.draw(out);
    }

    /// Shows prompt and line again: something else was printed, and the cursor is in a row that
    /// may be overwritten.
    pub fn redraw(&mut self, out: &mut Vec<u8>) {
        self.show(out, View::redraw);
    }

    /// Queues input for [`Editor::step`].
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let room = MAX_TYPED_AHEAD - self.input.len();
        if bytes.len() > room {
            out.push(BELL);
        }
        self.input.extend(bytes.iter().take(room));
    }

    /// Handles queued input up to the first event; without one, everything is handled.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        while let Some(byte) = self.input.pop_front() {
            let event = self.decoder.push(byte).and_then(|key| self.key(key, out));
            if event.is_some() {
                return event;
            }
        }
        self.draw(out);
        None
    }

    /// Completes the word before the cursor, or lists the candidates at the second Tab.
    pub fn offer(&mut self, offer: &Offer, out: &mut Vec<u8>) {
        let typed = self.line.before_cursor().get(offer.start..).unwrap_or_default();
        if offer.candidates.is_empty() {
            out.push(BELL);
        } else if typed != offer.text {
            let replaced = self.line.replace_before(offer.start, &offer.text);
            self.bell_unless(replaced.is_ok(), out);
        } else if self.last == LastKey::Tab {
            self.list(&offer.candidates, out);
        } else {
            self.last = LastKey::Tab;
            out.push(BELL);
        }
        self.draw(out);
    }

    fn list(&mut self, candidates: &[String], out: &mut Vec<u8>) {
        self.finish_row(b"", out);
        for row in crate::table::in_columns(candidates, self.view.width()) {
            out.extend_from_slice(row.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    fn key(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Event> {
        if let Key::CursorReport { row, column } = key {
            self.view.set_width(column);
            self.height = usize::from(row.clamp(LOWEST, HIGHEST));
            return None;
        }
        let last = core::mem::replace(&mut self.last, LastKey::Other);
        let key = match self.search.is_some() {
            true => self.search_key(key, out)?,
            false => key,
        };
        match key {
            Key::Enter => Some(self.accept(out)),
            Key::Ctrl('c') => Some(self.cancel(out)),
            Key::Ctrl('d') if self.line.text().is_empty() => {
                self.finish_row(b"", out);
                Some(Event::EndOfInput)
            }
            Key::Tab => {
                self.last = if last == LastKey::Tab { last } else { LastKey::Other };
                Some(Event::Complete(self.line.before_cursor().to_string()))
            }
            _ => {
                self.edit(key, last, out);
                None
            }
        }
    }

    fn accept(&mut self, out: &mut Vec<u8>) -> Event {
        self.line.move_to(self.line.text().len());
        self.finish_row(b"", out);
        self.history.remember(self.line.text());
        Event::Line(core::mem::take(&mut self.line).text().to_string())
    }

    fn cancel(&mut self, out: &mut Vec<u8>) -> Event {
        self.line.move_to(self.line.text().len());
        self.finish_row(b"^C", out);
        self.line = Line::default();
        self.history.leave();
        Event::Cancelled
    }

    /// Leaves the row as it is, with a remark behind it, for a fresh one.
    fn finish_row(&mut self, remark: &[u8], out: &mut Vec<u8>) {
        self.draw(out);
        out.extend_from_slice(remark);
        out.extend_from_slice(b"\r\n");
        self.view.forget();
    }

    /// Keys that change the line or the cursor.
    fn edit(&mut self, key: Key, last: LastKey, out: &mut Vec<u8>) {
        let line = &self.line;
        let (start, end) = (0, line.text().len());
        match key {
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4]), out),
            Key::Left | Key::Ctrl('b') => self.line.move_to(line.left()),
            Key::Right | Key::Ctrl('f') => self.line.move_to(line.right()),
            Key::Home | Key::Ctrl('a') => self.line.move_to(start),
            Key::End | Key::Ctrl('e') => self.line.move_to(end),
            Key::WordLeft | Key::Alt('b') => {
                self.line.move_to(line.word_left(WordKind::Alphanumeric));
            }
            Key::WordRight | Key::Alt('f') => {
                self.line.move_to(line.word_right(WordKind::Alphanumeric));
            }
            Key::Backspace => self.delete(line.left(), out),
            Key::Delete | Key::Ctrl('d') => self.delete(line.right(), out),
            Key::Ctrl('k') => self.kill(end, last),
            Key::Ctrl('u') => self.kill(start, last),
            Key::Ctrl('w') => self.kill(line.word_left(WordKind::Blanks), last),
            Key::AltBackspace => self.kill(line.word_left(WordKind::Alphanumeric), last),
            Key::Alt('d') => self.kill(line.word_right(WordKind::Alphanumeric), last),
            Key::Ctrl('y') => self.yank(out),
            Key::Up | Key::Ctrl('p') => self.older(out),
            Key::Down | Key::Ctrl('n') => self.newer(out),
            Key::Ctrl('l') => self.clear(out),
            Key::Ctrl('r') => {
                self.search = Some(Search::new(self.line.clone(), self.history.end()))
            }
            _ => out.push(BELL),
        }
    }

    fn insert(&mut self, text: &str, out: &mut Vec<u8>) {
        let inserted = self.line.insert(text);
        self.bell_unless(inserted.is_ok(), out);
    }

    fn delete(&mut self, to: usize, out: &mut Vec<u8>) {
        let deleted = self.line.cut_to(to);
        self.bell_unless(!deleted.is_empty(), out);
    }

    fn kill(&mut self, to: usize, last: LastKey) {
        let side = if to < self.line.cursor() { Side::Before } else { Side::After };
        let cut = self.line.cut_to(to);
        self.last = LastKey::Kill;
        match (last, side) {
            (LastKey::Kill, Side::Before) => self.killed.insert_str(0, &cut),
            (LastKey::Kill, Side::After) => self.killed.push_str(&cut),
            _ if cut.is_empty() => self.last = LastKey::Other,
            _ => self.killed = cut,
        }
    }

    fn yank(&mut self, out: &mut Vec<u8>) {
        let killed = core::mem::take(&mut self.killed);
        self.insert(&killed, out);
        self.killed = killed;
    }

    fn older(&mut self, out: &mut Vec<u8>) {
        match self.history.older(self.line.text()) {
            Some(entry) => self.line = Line::with_text(entry.to_string()),
            None => out.push(BELL),
        }
    }

    fn newer(&mut self, out: &mut Vec<u8>) {
        match self.history.newer() {
            Some(entry) => self.line = Line::with_text(entry.to_string()),
            None => out.push(BELL),
        }
    }

    fn clear(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(CLEAR);
        self.ask_size(out);
        self.view.forget();
    }

    /// A key during ^R; the key itself if it ended the search and still has to be handled.
    fn search_key(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Key> {
        let mut search = self.search.take()?;
        let found = match key {
            Key::Char(c) => search.extend(c, &self.history),
            Key::Backspace => search.shorten(&self.history),
            Key::Ctrl('r') => search.older(&self.history),
            Key::Ctrl('g' | 'c') => {
                self.line = search.into_original();
                return (key == Key::Ctrl('c')).then_some(key);
            }
            _ => {
                self.end_search(search);
                return Some(key);
            }
        };
        self.bell_unless(found, out);
        self.line = search.shown(&self.history);
        self.search = Some(search);
        None
    }

    fn end_search(&mut self, search: Search) {
        if let Some(index) = search.found() {
            self.history.visit(index, search.into_original().text());
        }
    }

    fn bell_unless(&self, fine: bool, out: &mut Vec<u8>) {
        if !fine {
            out.push(BELL);
        }
    }

    fn draw(&mut self, out: &mut Vec<u8>) {
        self.show(out, View::draw);
    }

    fn show(&mut self, out: &mut Vec<u8>, draw: fn(&mut View, Frame<'_>, &mut Vec<u8>)) {
        let searching = self.search.as_ref().map(Search::prompt);
        let prompt = searching.as_deref().unwrap_or(self.prompt);
        let (text, cursor) = (self.line.text(), self.line.cursor());
        draw(&mut self.view, Frame { prompt, text, cursor }, out);
    }
}
