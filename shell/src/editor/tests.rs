//! The editor against a slow obvious model and a small terminal.

use super::line::is_attached;
use super::*;
use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

const PROMPT: &str = "d3os> ";

/// A terminal that knows just what the editor uses, and panics at anything else.
struct Screen {
    width: usize,
    /// Cells hold a cluster each; the second cell of a wide one is empty.
    rows: Vec<Vec<String>>,
    row: usize,
    column: usize,
    bells: usize,
    /// Where the cursor was saved, and how often it was asked for.
    saved: (usize, usize),
    reports: usize,
}

impl Screen {
    fn new(width: usize) -> Self {
        let rows = vec![vec![" ".into(); width]];
        Self { width, rows, row: 0, column: 0, bells: 0, saved: (0, 0), reports: 0 }
    }

    fn show(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\x07' => self.bells += 1,
                '\x08' => self.column = self.column.checked_sub(1).expect("moved off the edge"),
                '\r' => self.column = 0,
                '\n' => self.line_feed(),
                '\x1b' => self.escape(&mut chars),
                c => self.put(c),
            }
        }
    }

    fn line_feed(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(vec![" ".into(); self.width]);
        }
    }

    fn escape(&mut self, chars: &mut std::str::Chars<'_>) {
        match chars.next().unwrap() {
            '7' => self.saved = (self.row, self.column),
            '8' => (self.row, self.column) = self.saved,
            '[' => {
                let mut number = String::new();
                let last = loop {
                    match chars.next().unwrap() {
                        digit if digit.is_ascii_digit() => number.push(digit),
                        last => break last,
                    }
                };
                self.control(last, number.parse().ok());
            }
            other => panic!("escape {other:?}"),
        }
    }

    fn control(&mut self, last: char, number: Option<usize>) {
        match (last, number) {
            ('B', Some(count)) => self.row = (self.row + count).min(self.rows.len() - 1),
            ('C', Some(count)) => self.column = (self.column + count).min(self.width - 1),
            ('K', None) => self.rows[self.row][self.column..].fill(" ".into()),
            ('H', None) => (self.row, self.column) = (0, 0),
            ('J', Some(2)) => self.rows = vec![vec![" ".into(); self.width]],
            ('n', Some(6)) => self.reports += 1,
            other => panic!("control sequence {other:?}"),
        }
    }

    fn put(&mut self, c: char) {
        assert!(!c.is_control(), "{c:?}");
        let wide = columns(c.encode_utf8(&mut [0; 4]));
        let cells = &mut self.rows[self.row];
        if wide == 0 {
            // As terminals do: it joins the cell before the cursor, or that one's wide half.
            let at = (0..self.column).rev().find(|&at| !cells[at].is_empty());
            cells[at.expect("nothing to join")].push(c);
            return;
        }
        assert!(self.column + wide < self.width, "wrote in the last column");
        cells[self.column] = c.into();
        cells[self.column + 1..self.column + wide].fill(String::new());
        self.column += wide;
    }

    fn line(&self) -> String {
        self.rows[self.row].concat().trim_end().to_string()
    }
}

/// An editor at its terminal.
struct Desk {
    editor: Editor,
    screen: Screen,
}

impl Desk {
    fn new(width: u16) -> Self {
        let mut desk =
            Self { editor: Editor::new(PROMPT), screen: Screen::new(usize::from(width)) };
        desk.editor.view.set_width(width);
        desk.with(|editor, out| editor.begin(out));
        desk
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Editor, &mut Vec<u8>) -> R) -> R {
        let mut out = Vec::new();
        let result = act(&mut self.editor, &mut out);
        self.screen.show(&out);
        result
    }

    /// Types and begins a new line after each one that ends.
    fn type_keys(&mut self, keys: &str) -> Vec<Event> {
        self.with(|editor, out| editor.push(keys.as_bytes(), out));
        let mut events = Vec::new();
        while let Some(event) = self.with(Editor::step) {
            if !matches!(event, Event::Complete(_)) {
                self.with(|editor, out| editor.begin(out));
            }
            events.push(event);
        }
        events
    }

    fn enter(&mut self, keys: &str) -> String {
        match self.type_keys(&format!("{keys}\r")).as_slice() {
            [Event::Line(line)] => line.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn shown(&self) -> (String, usize) {
        (self.screen.line(), self.screen.column)
    }
}

fn line_after(keys: &str) -> String {
    Desk::new(80).enter(keys)
}

#[test]
fn the_prompt_and_what_is_typed() {
    let mut desk = Desk::new(80);
    assert_eq!(desk.shown(), ("d3os>".into(), 6));
    assert_eq!(desk.type_keys("ps"), []);
    assert_eq!(desk.shown(), ("d3os> ps".into(), 8));
    assert_eq!(desk.type_keys("\x1b[D\x1b[Dx"), []);
    assert_eq!(desk.shown(), ("d3os> xps".into(), 7));
}

#[test]
fn moving_and_deleting() {
    assert_eq!(line_after("bc\x01a\x05d"), "abcd");
    assert_eq!(line_after("ac\x02b\x06d"), "abcd");
    assert_eq!(line_after("abc\x1b[Hx\x1b[Fy\x1b[D\x1b[3~"), "xabc");
    assert_eq!(line_after("one two\x1bb\x7f\x1bf!"), "onetwo!");
    assert_eq!(line_after("one two\x1b[1;5D\x1b[1;5D\x1b[1;5C."), "one. two");
    assert_eq!(line_after("ab\x01\x04"), "b");
}

#[test]
fn killing_and_yanking() {
    assert_eq!(line_after("one two\x17\x19\x19"), "one twotwo");
    assert_eq!(line_after("one two\x17\x17\x19"), "one two");
    assert_eq!(line_after("ab cd\x01\x1bd\x1bd\x05|\x19"), "|ab cd");
    assert_eq!(line_after("abcd\x02\x02\x0b\x01\x19"), "cdab");
    assert_eq!(line_after("abcd\x02\x02\x15\x05\x19"), "cdab");
    assert_eq!(line_after("a/b\x1b\x7f\x19\x19"), "a/bb");
}

#[test]
fn control_keys_that_end_the_line() {
    let mut desk = Desk::new(80);
    assert_eq!(desk.type_keys("abc\x02\x03"), [Event::Cancelled]);
    assert_eq!(desk.screen.rows[0].concat().trim_end(), "d3os> abc^C");
    assert_eq!(desk.shown(), ("d3os>".into(), 6));
    assert_eq!(desk.type_keys("\x04"), [Event::EndOfInput]);
    assert_eq!(desk.enter("x"), "x");
}

#[test]
fn lines_typed_ahead_wait_for_their_turn() {
    let mut desk = Desk::new(80);
    let events = desk.type_keys("ps\r\nmem\nup");
    assert_eq!(events, [Event::Line("ps".into()), Event::Line("mem".into())]);
    assert_eq!(desk.editor.text(), "up");
}

#[test]
fn too_much_typed_ahead_rings_and_is_dropped() {
    let mut desk = Desk::new(80);
    let many = vec![b'\x03'; MAX_TYPED_AHEAD + 1];
    desk.with(|editor, out| editor.push(&many, out));
    assert_eq!((desk.screen.bells, desk.editor.input.len()), (1, MAX_TYPED_AHEAD));
}

#[test]
fn history_and_draft() {
    let mut desk = Desk::new(80);
    desk.enter("one");
    desk.enter("two");
    desk.enter("two");
    assert_eq!(desk.enter("\x1b[A\x1b[A!"), "one!");
    desk.type_keys("draft\x10\x10\x0e\x0e");
    assert_eq!(desk.editor.text(), "draft");
}

#[test]
fn searching_backwards() {
    let mut desk = Desk::new(80);
    for line in ["run hello", "ps", "run other"] {
        desk.enter(line);
    }
    desk.type_keys("\x12run");
    assert_eq!(desk.shown(), ("(search) `run': run other".into(), 16));
    desk.type_keys("\x12");
    assert_eq!(desk.editor.text(), "run hello");
    desk.type_keys("q");
    assert_eq!(desk.shown().0, "(search failed) `runq': run hello");
    desk.type_keys("\x7f\x05!");
    assert_eq!(desk.shown().0, "d3os> run other!");
    assert_eq!(desk.enter(""), "run other!");
}

#[test]
fn a_search_given_up_leaves_the_line() {
    let mut desk = Desk::new(80);
    desk.enter("ps");
    assert_eq!(desk.enter("dra\x12ps\x07ft"), "draft");
    assert_eq!(desk.type_keys("my\x12ps\x03"), [Event::Cancelled]);
    assert_eq!(desk.screen.rows[desk.screen.row - 1].concat().trim_end(), "d3os> my^C");
    assert_eq!(desk.enter("\x12ps"), "ps");
}

fn offer(start: usize, text: &str, candidates: &[&str]) -> Offer {
    let candidates = candidates.iter().map(|c| c.to_string()).collect();
    Offer { start, text: text.into(), candidates }
}

#[test]
fn tab_completes_then_lists() {
    let mut desk = Desk::new(80);
    assert_eq!(desk.type_keys("run he\t"), [Event::Complete("run he".into())]);
    let hel = offer(4, "hel", &["hello", "help"]);
    desk.with(|editor, out| editor.offer(&hel, out));
    assert_eq!(desk.shown().0, "d3os> run hel");
    for _ in 0..2 {
        assert_eq!(desk.type_keys("\t"), [Event::Complete("run hel".into())]);
        desk.with(|editor, out| editor.offer(&hel, out));
    }
    let rows: Vec<_> = desk.screen.rows.iter().map(|r| r.concat().trim_end().to_string()).collect();
    assert_eq!(rows, ["d3os> run hel", "hello  help", "d3os> run hel"]);
    assert_eq!(desk.type_keys("l\t"), [Event::Complete("run hell".into())]);
    desk.with(|editor, out| editor.offer(&offer(4, "hello ", &["hello"]), out));
    assert_eq!(desk.enter("x"), "run hello x");
}

#[test]
fn nothing_to_complete_rings() {
    let mut desk = Desk::new(80);
    desk.type_keys("zz\t");
    desk.with(|editor, out| editor.offer(&offer(0, "zz", &[]), out));
    assert_eq!((desk.screen.bells, desk.editor.text()), (1, "zz"));
}

#[test]
fn redraw_and_clear_restore_the_line() {
    let mut desk = Desk::new(80);
    desk.type_keys("hello\x02");
    desk.screen.show(b"\r\x1b[Ka log record\r\n");
    desk.with(|editor, out| editor.redraw(out));
    assert_eq!(desk.shown(), ("d3os> hello".into(), 10));
    desk.type_keys("\x0c");
    assert_eq!((desk.screen.rows.len(), desk.shown()), (1, ("d3os> hello".into(), 10)));
    assert_eq!(desk.screen.reports, 1);
    desk.type_keys("\x1b[45;132R");
    assert_eq!((desk.editor.width(), desk.editor.height()), (132, 45));
    desk.type_keys("\x1b[0;132R");
    assert_eq!(desk.editor.height(), 12, "within reason");
}

/// What the line is, done the slow way: a vector of clusters.
#[derive(Default)]
struct Model {
    clusters: Vec<String>,
    cursor: usize,
    killed: String,
    kill_goes_on: bool,
}

#[derive(Debug, Clone)]
enum Stroke {
    Text(char),
    Keys(&'static str),
}

impl Model {
    fn stroke(&mut self, stroke: &Stroke) {
        let was_kill = std::mem::take(&mut self.kill_goes_on);
        match stroke {
            Stroke::Text(c) => self.insert(&c.to_string()),
            Stroke::Keys(keys) => self.keys(keys, was_kill),
        }
    }

    fn keys(&mut self, keys: &str, was_kill: bool) {
        let (cursor, end) = (self.cursor, self.clusters.len());
        match keys {
            "\x1b[D" | "\x02" => self.cursor = cursor.saturating_sub(1),
            "\x1b[C" | "\x06" => self.cursor = (cursor + 1).min(end),
            "\x1b[H" | "\x01" => self.cursor = 0,
            "\x1b[F" | "\x05" => self.cursor = end,
            "\x1bb" => self.cursor = self.word_left(char::is_alphanumeric),
            "\x1bf" => self.cursor = self.word_right(char::is_alphanumeric),
            "\x7f" => drop(self.remove(cursor.saturating_sub(1), cursor)),
            "\x1b[3~" => drop(self.remove(cursor, (cursor + 1).min(end))),
            "\x0b" => self.kill(end, was_kill),
            "\x15" => self.kill(0, was_kill),
            "\x17" => self.kill(self.word_left(|c| !c.is_whitespace()), was_kill),
            "\x1b\x7f" => self.kill(self.word_left(char::is_alphanumeric), was_kill),
            "\x1bd" => self.kill(self.word_right(char::is_alphanumeric), was_kill),
            "\x19" => self.insert(&self.killed.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn class(&self, at: usize, is_word: fn(char) -> bool) -> bool {
        self.clusters[at].chars().next().is_some_and(is_word)
    }

    fn word_left(&self, is_word: fn(char) -> bool) -> usize {
        let mut at = self.cursor;
        while at > 0 && !self.class(at - 1, is_word) {
            at -= 1;
        }
        while at > 0 && self.class(at - 1, is_word) {
            at -= 1;
        }
        at
    }

    fn word_right(&self, is_word: fn(char) -> bool) -> usize {
        let mut at = self.cursor;
        while at < self.clusters.len() && !self.class(at, is_word) {
            at += 1;
        }
        while at < self.clusters.len() && self.class(at, is_word) {
            at += 1;
        }
        at
    }

    fn remove(&mut self, from: usize, to: usize) -> String {
        let removed: String = self.clusters.drain(from..to).collect();
        self.recluster(from);
        removed
    }

    fn kill(&mut self, to: usize, was_kill: bool) {
        let (from, cursor) = (self.cursor.min(to), self.cursor);
        let removed = self.remove(from, cursor.max(to));
        match was_kill {
            true if to < cursor => self.killed.insert_str(0, &removed),
            true => self.killed.push_str(&removed),
            false if removed.is_empty() => return,
            false => self.killed = removed,
        }
        self.kill_goes_on = true;
    }

    fn insert(&mut self, text: &str) {
        let mut inserted: Vec<String> = text.chars().map(String::from).collect();
        let at = self.cursor + inserted.len();
        self.clusters.splice(self.cursor..self.cursor, inserted.drain(..));
        self.recluster(at);
    }

    /// Builds the clusters anew; the cursor goes to the first boundary at or after a place given
    /// in the old ones.
    fn recluster(&mut self, cursor: usize) {
        let bytes: usize = self.clusters[..cursor].iter().map(String::len).sum();
        let text = self.clusters.concat();
        self.clusters.clear();
        for c in text.chars() {
            match self.clusters.last_mut() {
                Some(last) if is_attached(c) => last.push(c),
                _ => self.clusters.push(c.into()),
            }
        }
        let mut length = 0;
        self.cursor = 0;
        while length < bytes {
            length += self.clusters[self.cursor].len();
            self.cursor += 1;
        }
    }
}

fn strokes() -> impl Strategy<Value = Vec<Stroke>> {
    let text = prop_oneof![
        10 => proptest::char::range('a', 'e'),
        4 => Just(' '),
        2 => proptest::sample::select(vec!['-', 'é', '日', '😀', '\u{301}', '\u{200d}']),
    ];
    let keys = proptest::sample::select(vec![
        "\x1b[D", "\x1b[C", "\x1b[H", "\x1b[F", "\x02", "\x06", "\x01", "\x05", "\x1bb", "\x1bf",
        "\x7f", "\x1b[3~", "\x0b", "\x15", "\x17", "\x1b\x7f", "\x1bd", "\x19",
    ]);
    let stroke = prop_oneof![3 => text.prop_map(Stroke::Text), 2 => keys.prop_map(Stroke::Keys)];
    proptest::collection::vec(stroke, 0..80)
}

/// The row as it must look for a line and the scroll position the editor chose.
fn expected_row(editor: &Editor, width: usize) -> (String, usize) {
    let full = format!("{PROMPT}{}", editor.line.text());
    let cursor = columns(PROMPT) + columns(editor.line.before_cursor());
    let mut cells: Vec<String> = Vec::new();
    for c in full.chars() {
        match columns(&c.to_string()) {
            0 => {
                let last = cells.iter().rposition(|cell| !cell.is_empty()).unwrap();
                cells[last].push(c);
            }
            wide => {
                cells.push(c.into());
                cells.extend(std::iter::repeat_n(String::new(), wide - 1));
            }
        }
    }
    let (total, usable) = (cells.len(), width - 1);
    if total <= usable {
        return (full.trim_end().to_string(), cursor);
    }
    let scroll = cursor - editor.view.column();
    let cut_right = total > scroll + usable;
    let mut shown: Vec<String> = cells[scroll..total.min(scroll + usable)].to_vec();
    // A wide character of which only one half would show is blank.
    if scroll > 0 {
        shown[0] = "<".into();
        if shown.get(1).is_some_and(String::is_empty) {
            shown[1] = " ".into();
        }
    }
    if cut_right {
        if shown[usable - 1].is_empty() {
            shown[usable - 2] = " ".into();
        }
        shown[usable - 1] = ">".into();
    }
    (shown.concat().trim_end().to_string(), cursor - scroll)
}

proptest! {
    #[test]
    fn the_line_is_what_the_model_says(strokes in strokes()) {
        let (mut desk, mut model) = (Desk::new(80), Model::default());
        for stroke in &strokes {
            match stroke {
                Stroke::Text(c) => desk.type_keys(&c.to_string()),
                Stroke::Keys(keys) => desk.type_keys(keys),
            };
            model.stroke(stroke);
            prop_assert_eq!(desk.editor.line.text(), model.clusters.concat());
            prop_assert_eq!(
                desk.editor.line.cursor(),
                model.clusters[..model.cursor].concat().len()
            );
        }
    }

    #[test]
    fn the_screen_shows_the_line(strokes in strokes(), width in 20u16..60) {
        let mut desk = Desk::new(width);
        for stroke in &strokes {
            match stroke {
                Stroke::Text(c) => desk.type_keys(&c.to_string()),
                Stroke::Keys(keys) => desk.type_keys(keys),
            };
            prop_assert_eq!(desk.shown(), expected_row(&desk.editor, usize::from(width)));
            prop_assert!(desk.screen.column < usize::from(width));
        }
        let before = desk.shown();
        desk.with(|editor, out| editor.redraw(out));
        prop_assert_eq!(desk.shown(), before);
    }

    #[test]
    fn any_bytes_leave_a_line_that_enter_ends(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
    ) {
        let mut desk = Desk::new(40);
        let mut out = Vec::new();
        desk.editor.push(&bytes, &mut out);
        while desk.editor.step(&mut out).is_some() {}
        desk.editor.push(b"x\x03\r", &mut out);
        let mut last = None;
        while let Some(event) = desk.editor.step(&mut out) {
            last = Some(event);
        }
        prop_assert_eq!(last, Some(Event::Line(String::new())));
        prop_assert!(std::str::from_utf8(&out).is_ok());
    }
}
