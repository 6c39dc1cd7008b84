//! All terminals of the machine: the serial line, and the consoles of the screen.
//!
//! Session 0 is the serial line. Sessions 1 to [`CONSOLES`] are consoles that share the screen and
//! the keyboard: one of them is shown and gets what is typed. A program's session says which
//! terminal it writes to and reads from; while there is no screen, all are the serial line.
//!
//! Sans-IO, as [`crate::core`]: what is to be done comes out as [`Effect`]s, bytes for the line wait
//! in [`Terminals::line`], and [`Terminals::draw`] draws the console that is shown.

use alloc::string::String;
use alloc::vec::Vec;

use libd3os::service::console::{ConsoleError, Graph, InputEvent, InputMode, ScreenStatus};
use libd3os::service::keyboard::Input;
use libd3os::service::log::LogRecord;

use crate::core::{Console, Effect as Decided, Shown};
use crate::events::{Event, Journal};
use crate::output::Output;
use crate::render::{Damage, Layout, Pixels, Screen};
use crate::status::{BAND, Status};
use crate::terminal::Terminal;

/// Consoles that share the screen.
pub const CONSOLES: usize = 4;

/// Number of a terminal; 0 is the serial line.
pub type Session = u8;

/// What the process has to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<R> {
    /// Answer a reader.
    Answer(R, InputEvent),
    /// Drop a reader: its program is gone.
    Forget(R),
    /// Tell init that the interrupt key was pressed at this terminal.
    Interrupt(Session),
    /// Fetch the records of the log that have been shown already, for [`Terminals::recall`].
    Recall,
    /// Start the shell of this console, which is shown for the first time.
    Start(Session),
}

/// A console of the screen.
#[derive(Debug)]
struct Virtual<R> {
    console: Console<R>,
    terminal: Terminal,
    /// What lies over the cells, and the program that drew it.
    graph: Option<(u64, Graph)>,
    /// Whether it was shown before.
    seen: bool,
}

impl<R> Virtual<R> {
    fn new(shown: Shown, journal: &Journal, layout: Layout) -> Self {
        let console = Console::new(shown, journal.clone());
        let terminal = Terminal::new(layout.rows, layout.columns);
        Self { console, terminal, graph: None, seen: false }
    }

    /// Shows what was written; what the terminal answers to that is input.
    fn settle(&mut self) -> Vec<Decided<R>> {
        let written = self.console.output.take(usize::MAX);
        self.terminal.write(&written);
        let answers = self.terminal.take_answers();
        if answers.is_empty() { Vec::new() } else { self.console.input(&answers) }
    }
}

/// The screen and the consoles that share it.
#[derive(Debug)]
struct Desk<R> {
    screen: Screen,
    consoles: Vec<Virtual<R>>,
    /// Index of the console that is shown.
    shown: usize,
    /// Whether what is shown may look other than it was drawn.
    stale: bool,
}

impl<R> Desk<R> {
    /// A console, to change it.
    fn console(&mut self, index: usize) -> Option<&mut Virtual<R>> {
        self.stale |= index == self.shown;
        self.consoles.get_mut(index)
    }
}

/// All terminals.
#[derive(Debug)]
pub struct Terminals<R> {
    line: Console<R>,
    desk: Option<Desk<R>>,
    shown: Shown,
    journal: Journal,
}

impl<R> Terminals<R> {
    /// The serial line, which shows these log records; no screen yet.
    #[must_use]
    pub fn new(shown: Shown) -> Self {
        let journal = Journal::default();
        Self { line: Console::new(shown, journal.clone()), desk: None, shown, journal }
    }

    /// Bytes for the serial line.
    pub fn line(&mut self) -> &mut Output {
        &mut self.line.output
    }

    /// There is a screen. Consoles that were on one of the same size keep what they show; all of
    /// it is drawn again.
    pub fn screen(&mut self, layout: Layout) -> Vec<Effect<R>> {
        match &mut self.desk {
            Some(desk) if desk.screen.layout() == layout => {
                desk.screen.forget();
                desk.stale = true;
                Vec::new()
            }
            _ => {
                self.desk = Some(self.new_desk(layout));
                let mut effects = alloc::vec![Effect::Recall];
                effects.extend(self.show(0));
                effects
            }
        }
    }

    fn new_desk(&self, layout: Layout) -> Desk<R> {
        let shown = |index| if index == 0 { self.shown } else { Shown::Nothing };
        let console = |index| Virtual::new(shown(index), &self.journal, layout);
        let consoles = (0..CONSOLES).map(console).collect();
        Desk { screen: Screen::new(layout), consoles, shown: 0, stale: true }
    }

    /// A program of a session writes.
    pub fn write(&mut self, session: Session, caller: u64, bytes: &[u8]) -> Vec<Effect<R>> {
        self.at(session, |console| console.write(caller, bytes).into_iter().collect())
    }

    /// A program of a session wants input.
    ///
    /// # Errors
    /// [`ConsoleError::ReaderPresent`] and the reply back when too many others wait there.
    pub fn read(
        &mut self,
        session: Session,
        caller: u64,
        mode: InputMode,
        reply: R,
    ) -> Result<Vec<Effect<R>>, (R, ConsoleError)> {
        let mut refused = None;
        let effects = self.at(session, |console| match console.read(caller, mode, reply) {
            Ok(effects) => effects,
            Err(error) => {
                refused = Some(error);
                Vec::new()
            }
        });
        refused.map_or(Ok(effects), Err)
    }

    /// A program of a session takes the input that there is.
    pub fn poll(&mut self, session: Session) -> Vec<u8> {
        let mut taken = Vec::new();
        // Nobody is answered thereby.
        let _ = self.at(session, |console| {
            taken = console.poll();
            Vec::new()
        });
        taken
    }

    /// A program draws a graph over cells of its console, or takes it away.
    ///
    /// # Errors
    /// [`ConsoleError::NoScreen`] where its terminal is the serial line.
    pub fn draw_graph(
        &mut self,
        session: Session,
        caller: u64,
        graph: Graph,
    ) -> Result<(), ConsoleError> {
        let place = usize::from(session).checked_sub(1).ok_or(ConsoleError::NoScreen)?;
        let desk = self.desk.as_mut().ok_or(ConsoleError::NoScreen)?;
        let console = desk.console(place).ok_or(ConsoleError::NoScreen)?;
        console.graph = (!graph.values.is_empty()).then_some((caller, graph));
        Ok(())
    }

    /// A program has ended: input is not for it any more, and its graphs are gone.
    pub fn ended(&mut self, caller: u64) -> Vec<Effect<R>> {
        if let Some(desk) = &mut self.desk {
            for console in &mut desk.consoles {
                desk.stale |= console.graph.take_if(|(drawer, _)| *drawer == caller).is_some();
            }
        }
        let sessions = self.sessions();
        sessions.flat_map(|session| self.at(session, |console| console.ended(caller))).collect()
    }

    /// Bytes came over the serial line.
    pub fn line_input(&mut self, bytes: &[u8]) -> Vec<Effect<R>> {
        self.at(0, |console| console.input(bytes))
    }

    /// Something was typed. Without a screen, what is typed goes where the serial line's input does.
    pub fn typed(&mut self, input: &Input) -> Vec<Effect<R>> {
        let session = self.shown();
        if let Some(terminal) = self.shown_terminal() {
            match input {
                Input::Bytes(_) => terminal.to_end(),
                Input::Back => terminal.page_up(),
                Input::Forward => terminal.page_down(),
                Input::Console(_) => {}
            }
        }
        match input {
            Input::Bytes(bytes) => self.at(session, |console| console.input(bytes)),
            Input::Console(number) => self.show(usize::from(*number).wrapping_sub(1)),
            Input::Back | Input::Forward => Vec::new(),
        }
    }

    /// New log records, and how many were missed before them, for the serial line and the first
    /// console.
    pub fn log(&mut self, records: &[LogRecord], lost: u64) -> Vec<Effect<R>> {
        let places = if self.desk.is_some() { 0..=1 } else { 0..=0 };
        let log = |console: &mut Console<R>| console.log(records, lost).into_iter().collect();
        places.flat_map(|session| self.at(session, log)).collect()
    }

    /// Records that the serial line has shown, for the first console, which came later.
    pub fn recall(&mut self, records: &[LogRecord], lost: u64) -> Vec<Effect<R>> {
        if self.desk.is_none() {
            return Vec::new();
        }
        self.at(1, |console| console.log(records, lost).into_iter().collect())
    }

    /// Draws what has changed of the console that is shown, with this status below; tells what has
    /// changed. Nothing does without a screen.
    pub fn draw(&mut self, pixels: &mut impl Pixels, status: &Status) -> Vec<Damage> {
        let Some(desk) = &mut self.desk else { return Vec::new() };
        let Some(shown) = desk.consoles.get(desk.shown) else { return Vec::new() };
        let (layout, terminal) = (desk.screen.layout(), &shown.terminal);
        let (console, view) = ((desk.shown + 1, CONSOLES), terminal.view());
        let status = Status { console, view, ..status.clone() }.cells(layout.columns);
        let cursor = terminal.cursor();
        let cell = |row: usize, column: usize| {
            if row == layout.rows {
                return (status.get(column).copied().unwrap_or_default(), false);
            }
            let here = cursor.is_some_and(|at| (at.row, at.column) == (row, column));
            (terminal.cell(row, column), here)
        };
        // It lies over the end of what was written, not over what has left the screen.
        let graph = shown.graph.as_ref().filter(|_| view == 0).map(|(_, graph)| graph);
        if core::mem::take(&mut desk.stale) {
            desk.screen.draw(pixels, cell, graph, BAND)
        } else {
            desk.screen.draw_status(pixels, cell)
        }
    }

    /// The screen and what is shown on it.
    ///
    /// # Errors
    /// [`ConsoleError::NoScreen`].
    pub fn status(&self) -> Result<ScreenStatus, ConsoleError> {
        let desk = self.desk.as_ref().ok_or(ConsoleError::NoScreen)?;
        let layout = desk.screen.layout();
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(ScreenStatus {
            width: number(layout.width),
            height: number(layout.height),
            columns: number(layout.columns),
            rows: number(layout.rows),
            console: number(desk.shown + 1),
            consoles: number(CONSOLES),
        })
    }

    /// The lines of text that the screen shows, the status line last, as they were drawn.
    ///
    /// # Errors
    /// [`ConsoleError::NoScreen`].
    pub fn text(&self) -> Result<impl Iterator<Item = String>, ConsoleError> {
        let screen = &self.desk.as_ref().ok_or(ConsoleError::NoScreen)?.screen;
        Ok((0..=screen.layout().rows).map(|row| screen.text(row)))
    }

    /// The console that gets what is typed: 0 without a screen.
    #[must_use]
    pub fn shown(&self) -> Session {
        self.desk.as_ref().map_or(0, |desk| session_of(desk.shown))
    }

    /// What was done, for the server to tell.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Every terminal.
    fn sessions(&self) -> impl Iterator<Item = Session> + use<R> {
        let consoles = self.desk.as_ref().map_or(0, |desk| desk.consoles.len());
        (0..=consoles).map_while(|number| Session::try_from(number).ok())
    }

    fn shown_terminal(&mut self) -> Option<&mut Terminal> {
        let desk = self.desk.as_mut()?;
        desk.console(desk.shown).map(|shown| &mut shown.terminal)
    }

    /// Shows a console; a shell is started for one that was not shown before.
    fn show(&mut self, index: usize) -> Vec<Effect<R>> {
        let Some(desk) = &mut self.desk else { return Vec::new() };
        let Some(console) = desk.consoles.get_mut(index) else { return Vec::new() };
        let first = !core::mem::replace(&mut console.seen, true);
        (desk.shown, desk.stale) = (index, true);
        let session = session_of(index);
        self.journal.note(Event::Showed(session));
        first.then_some(Effect::Start(session)).into_iter().collect()
    }

    /// Does something at the terminal of a session, or at the serial line if there is none, and
    /// tells what follows from it.
    fn at(
        &mut self,
        session: Session,
        act: impl FnOnce(&mut Console<R>) -> Vec<Decided<R>>,
    ) -> Vec<Effect<R>> {
        let place = usize::from(session).checked_sub(1);
        let found = self.desk.as_mut().zip(place).and_then(|(desk, place)| desk.console(place));
        let (decided, session) = match found {
            Some(found) => {
                let mut decided = act(&mut found.console);
                decided.extend(found.settle());
                (decided, session)
            }
            None => (act(&mut self.line), 0),
        };
        decided.into_iter().map(|decided| effect(decided, session)).collect()
    }
}

fn effect<R>(decided: Decided<R>, session: Session) -> Effect<R> {
    match decided {
        Decided::Answer(reader, event) => Effect::Answer(reader, event),
        Decided::Forget(reader) => Effect::Forget(reader),
        Decided::Interrupt => Effect::Interrupt(session),
    }
}

fn session_of(index: usize) -> Session {
    Session::try_from(index + 1).unwrap_or(Session::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libd3os::service::log::Level;
    use proptest::prelude::*;

    type Sut = Terminals<u32>;

    struct Nowhere;

    impl Pixels for Nowhere {
        fn write(&mut self, _: usize, _: usize, _: &[u32]) {}
        fn fill(&mut self, _: usize, _: usize, _: usize, _: u32) {}
    }

    fn layout() -> Layout {
        Layout::of(200, 100).expect("large enough")
    }

    fn with_screen() -> Sut {
        let mut sut = Sut::new(Shown::UpTo(Level::Info));
        assert_eq!(sut.screen(layout()), [Effect::Recall, Effect::Start(1)]);
        sut
    }

    fn bytes(text: &str) -> Input {
        Input::Bytes(text.as_bytes().to_vec())
    }

    fn answer(reply: u32, text: &str) -> Effect<u32> {
        Effect::Answer(reply, InputEvent::Bytes(text.as_bytes().to_vec()))
    }

    fn record(message: &str) -> LogRecord {
        LogRecord {
            seq: 0,
            time_us: 0,
            program: String::from("p"),
            level: Level::Info,
            target: String::new(),
            message: String::from(message),
        }
    }

    fn line(sut: &mut Sut) -> String {
        String::from_utf8(sut.line().take(usize::MAX)).expect("text")
    }

    fn shown(sut: &Sut, session: usize) -> String {
        let desk = sut.desk.as_ref().expect("a screen");
        let terminal = &desk.consoles[session - 1].terminal;
        let row = (0..terminal.columns()).map(|column| terminal.cell(0, column).character);
        String::from(row.collect::<String>().trim_end())
    }

    #[test]
    fn each_session_has_a_terminal_of_its_own() {
        let mut sut = with_screen();
        for (session, text) in [(0, "zero"), (1, "one"), (2, "two"), (9, "nine")] {
            assert_eq!(sut.write(session, 1, text.as_bytes()), []);
        }
        assert_eq!(line(&mut sut), "zeronine");
        assert_eq!(
            (shown(&sut, 1), shown(&sut, 2), shown(&sut, 3)),
            ("one".into(), "two".into(), "".into())
        );
    }

    #[test]
    fn without_a_screen_all_is_the_serial_line() {
        let mut sut = Sut::new(Shown::Nothing);
        sut.write(1, 1, b"one");
        assert_eq!(line(&mut sut), "one");
        assert_eq!(sut.read(0, 7, InputMode::Raw, 70), Ok(vec![]));
        assert_eq!(sut.typed(&Input::Console(2)), []);
        assert_eq!(sut.typed(&bytes("x")), [answer(70, "x")]);
    }

    #[test]
    fn what_is_typed_goes_to_the_console_that_is_shown() {
        let mut sut = with_screen();
        sut.read(0, 1, InputMode::Raw, 10).expect("room");
        sut.read(1, 2, InputMode::Raw, 20).expect("room");
        sut.read(2, 3, InputMode::Raw, 30).expect("room");
        assert_eq!(sut.typed(&bytes("a")), [answer(20, "a")]);
        assert_eq!(sut.typed(&Input::Console(2)), [Effect::Start(2)]);
        assert_eq!(sut.typed(&bytes("b")), [answer(30, "b")]);
        assert_eq!(sut.typed(&Input::Console(1)), []);
        assert_eq!(sut.typed(&Input::Console(9)), []);
        assert_eq!((sut.shown(), sut.typed(&Input::Console(0))), (1, vec![]));
        assert_eq!(sut.line_input(b"c"), [answer(10, "c")]);
    }

    #[test]
    fn each_terminal_interrupts_its_own_program() {
        let mut sut = with_screen();
        assert_eq!(sut.typed(&bytes("\x03")), [Effect::Interrupt(1)]);
        sut.typed(&Input::Console(3));
        assert_eq!(sut.typed(&bytes("\x03")), [Effect::Interrupt(3)]);
        assert_eq!(sut.line_input(b"\x03"), [Effect::Interrupt(0)]);
        assert_eq!((shown(&sut, 3), line(&mut sut)), ("^C".into(), "^C\r\n".into()));
    }

    #[test]
    fn a_terminal_of_the_screen_answers_where_the_cursor_is() {
        let mut sut = with_screen();
        sut.read(1, 2, InputMode::Raw, 20).expect("room");
        assert_eq!(sut.write(1, 1, b"ab\x1b[6n"), [answer(20, "\x1b[1;3R")]);
    }

    #[test]
    fn the_log_is_shown_on_the_line_and_on_the_first_console() {
        let mut sut = with_screen();
        sut.typed(&Input::Console(2));
        sut.read(1, 2, InputMode::Raw, 20).expect("room");
        assert_eq!(sut.log(&[record("news")], 0), [Effect::Answer(20, InputEvent::Redraw)]);
        let news = "[    0.000000] p: news";
        assert_eq!(line(&mut sut), alloc::format!("{news}\r\n"));
        assert_eq!(
            (shown(&sut, 1), shown(&sut, 2)),
            (news[..].chars().take(23).collect(), "".into())
        );
    }

    #[test]
    fn the_log_from_before_the_screen_is_on_the_first_console_only() {
        let mut sut = Sut::new(Shown::UpTo(Level::Info));
        assert_eq!(sut.recall(&[record("early")], 0), []);
        sut.screen(layout());
        assert_eq!(sut.recall(&[record("early")], 0), []);
        assert_eq!((line(&mut sut).as_str(), shown(&sut, 2).as_str()), ("", ""));
        assert_eq!(shown(&sut, 1), "[    0.000000] p: early");
    }

    #[test]
    fn graphs_are_drawn_on_the_callers_console_until_it_ends() {
        let graph = Graph {
            row: 0,
            column: 0,
            rows: 1,
            columns: 3,
            values: alloc::vec![1],
            ..Graph::default()
        };
        let mut sut = Sut::new(Shown::Nothing);
        assert_eq!(sut.draw_graph(1, 7, graph.clone()), Err(ConsoleError::NoScreen));
        sut.screen(layout());
        sut.write(1, 1, b"text");
        for session in [0, 9] {
            let refused = sut.draw_graph(session, 7, graph.clone());
            assert_eq!(refused, Err(ConsoleError::NoScreen));
        }
        assert_eq!(sut.draw_graph(1, 7, graph.clone()), Ok(()));
        let drawn = |sut: &mut Sut| {
            sut.draw(&mut Nowhere, &Status::default());
            sut.text().expect("a screen").next()
        };
        assert_eq!(drawn(&mut sut).as_deref(), Some("   t"));
        sut.ended(8);
        assert_eq!(drawn(&mut sut).as_deref(), Some("   t"));
        sut.ended(7);
        assert_eq!(drawn(&mut sut).as_deref(), Some("text"));
        assert_eq!(sut.draw_graph(1, 7, graph), Ok(()));
        assert_eq!(sut.draw_graph(1, 8, Graph::default()), Ok(()), "no values: none");
        assert_eq!(drawn(&mut sut).as_deref(), Some("text"));
    }

    #[test]
    fn programs_that_end_are_forgotten_everywhere() {
        let mut sut = with_screen();
        sut.read(0, 5, InputMode::Raw, 1).expect("room");
        sut.read(2, 5, InputMode::Raw, 2).expect("room");
        assert_eq!(sut.ended(5), [Effect::Forget(1), Effect::Forget(2)]);
    }

    #[test]
    fn the_screen_tells_what_it_shows() {
        let mut sut = Sut::new(Shown::Nothing);
        assert_eq!(sut.status(), Err(ConsoleError::NoScreen));
        assert_eq!(sut.text().err(), Some(ConsoleError::NoScreen));
        sut.screen(layout());
        sut.write(1, 1, "a 漢 b\r\n  c".as_bytes());
        sut.draw(&mut Nowhere, &Status { node: "n".into(), ..Status::default() });
        let (status, text) = (sut.status().expect("a screen"), sut.text().expect("a screen"));
        assert_eq!((status.width, status.columns, status.rows, status.console), (200, 23, 4, 1));
        let text: Vec<_> = text.collect();
        assert_eq!((&text[..4], text.len()), (&["a 漢 b", "  c", "", ""].map(String::from)[..], 5));
        assert!(text[4].starts_with(" n   1 "), "{}", text[4]);
    }

    #[test]
    fn typing_ends_a_look_back() {
        let mut sut = with_screen();
        sut.write(1, 1, "line\n".repeat(40).as_bytes());
        sut.typed(&Input::Back);
        assert!(sut.shown_terminal().expect("shown").view() > 0);
        sut.typed(&bytes("x"));
        assert_eq!(sut.shown_terminal().expect("shown").view(), 0);
    }

    #[test]
    fn a_screen_that_comes_back_is_drawn_anew_and_keeps_the_consoles() {
        let mut sut = with_screen();
        sut.write(1, 1, b"kept");
        let status = Status::default();
        assert_eq!(sut.draw(&mut Nowhere, &status).len(), 1);
        assert_eq!(sut.draw(&mut Nowhere, &status), []);
        assert_eq!(sut.screen(layout()), []);
        assert_eq!(sut.draw(&mut Nowhere, &status).len(), 1);
        assert_eq!(shown(&sut, 1), "kept");
        let larger = Layout::of(300, 200).expect("large enough");
        assert_eq!(sut.screen(larger), [Effect::Recall, Effect::Start(1)]);
        assert_eq!(sut.draw(&mut Nowhere, &status)[0].width, 300);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(Session, String),
        Read(Session, u64),
        Typed(Input),
        Line(String),
        Ended(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..7, "[a-c\x03\n]{0,6}").prop_map(|(session, text)| Step::Write(session, text)),
            (0u8..7, 1u64..5).prop_map(|(session, caller)| Step::Read(session, caller)),
            "[a-c\x03]{1,4}".prop_map(|text| Step::Typed(bytes(&text))),
            (0u8..7).prop_map(|number| Step::Typed(Input::Console(number))),
            Just(Step::Typed(Input::Back)),
            "[a-c\x03]{1,4}".prop_map(Step::Line),
            (1u64..5).prop_map(Step::Ended),
        ]
    }

    proptest! {
        #[test]
        fn every_reader_is_answered_or_kept_once(steps in prop::collection::vec(step(), 0..60)) {
            let mut sut = with_screen();
            let (mut asked, mut settled) = (0, 0);
            for step in steps {
                let effects = match step {
                    Step::Write(session, text) => sut.write(session, 1, text.as_bytes()),
                    Step::Read(session, caller) => {
                        asked += 1;
                        let read = sut.read(session, caller, InputMode::Interruptible, 0);
                        read.unwrap_or_else(|_| { settled += 1; Vec::new() })
                    }
                    Step::Typed(input) => sut.typed(&input),
                    Step::Line(text) => sut.line_input(text.as_bytes()),
                    Step::Ended(caller) => sut.ended(caller),
                };
                settled += effects.iter().filter(|effect| {
                    matches!(effect, Effect::Answer(..) | Effect::Forget(_))
                }).count();
            }
            let kept: usize = (1..5).map(|caller| sut.ended(caller).len()).sum();
            prop_assert_eq!(asked, settled + kept);
        }
    }
}
