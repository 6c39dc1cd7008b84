//! The console's process: the serial line, screen and keyboard, the log, and the `Console`
//! interface.
//!
//! It waits at one place for callers, for input and for new log records. It calls the drivers and
//! waits for them: a line that is slow makes its writers wait, which is how they are kept from
//! writing more than it carries. A screen and a keyboard may be absent, from the machine or from the
//! image, or come later: their drivers signal when there is something of them.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod desk;

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::{CallError, Caller, Error, Later};
use libd3os::cap::Notification;
use libd3os::ends::Ends;
use libd3os::ipc::MissingGrant;
use libd3os::program::grant;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::Page;
use libd3os::service::console::{
    Console as Interface, ConsoleError, Graph, INTERRUPTS, InputEvent, InputMode, ScreenStatus,
};
use libd3os::service::log::LogClient;
use libd3os::service::supervisor::SupervisorClient;
use libd3os::service::uart::{UartClient, UartError};
use libd3os::start::{GrantKind, StartInfo};

use console::options::{BadArgument, Options};
use console::terminals::{Effect, Terminals};
use desk::Desk;

libd3os::program! {
    main: run,
    serves: ["console"],
    calls: ["log", "supervisor", "uart", "*"],
    regions: ["*"],
    signals: ["interrupt", "*"],
    waits: ["console-input", "log-ready", "program-ended", "*"],
}

/// Bytes that go to the driver in one call.
const CHUNK: usize = 900;

type Reader = Later<Result<InputEvent, ConsoleError>>;

/// Why the console cannot run.
#[derive(Debug)]
enum Failure {
    Arguments(BadArgument),
    Grant(MissingGrant<'static>),
    Server(ServerError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
        }
    }
}

fn run(start: &'static StartInfo) -> Result<Infallible, Failure> {
    let options = Options::parse(&start.args).map_err(Failure::Arguments)?;
    let mut server = Server::serving("console").map_err(Failure::Server)?;
    let mut process = Process::connect(options)?;
    server.observe(process.terminals.journal().recorder());
    let signals = Signals::of(start);
    // What came before there was anyone to be told.
    process.signals(process.desk.askable(&signals), &signals);
    loop {
        process.desk.update(&mut process.terminals);
        match server.next() {
            Event::Request(request) => Interface::dispatch(&mut process, request),
            Event::Signal(bits) => process.signals(bits, &signals),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// The bits of the signals that the console waits for.
struct Signals {
    ended: u64,
    line: u64,
    keyboard: u64,
    log: u64,
    screen: u64,
    frame: u64,
}

impl Signals {
    /// Every signal.
    const ALL: u64 = u64::MAX;

    fn of(start: &StartInfo) -> Self {
        let bit = |name| start.signal(name).unwrap_or(0);
        Self {
            ended: bit("program-ended"),
            line: bit("console-input"),
            keyboard: bit("keyboard-input"),
            log: bit("log-ready"),
            screen: bit("screen-up"),
            frame: bit("console-frame"),
        }
    }
}

struct Process {
    terminals: Terminals<Reader>,
    line: UartClient,
    desk: Desk,
    log: LogClient,
    supervisor: SupervisorClient,
    ends: Ends,
    /// By session, as far as the manifest grants them.
    interrupts: Vec<Notification>,
    next_record: u64,
}

impl Process {
    fn connect(options: Options) -> Result<Self, Failure> {
        Ok(Self {
            terminals: Terminals::new(options.shown),
            line: UartClient::connect().map_err(Failure::Grant)?,
            desk: Desk::connect(SupervisorClient::connect().map_err(Failure::Grant)?),
            log: LogClient::connect().map_err(Failure::Grant)?,
            supervisor: SupervisorClient::connect().map_err(Failure::Grant)?,
            ends: Ends::default(),
            interrupts: interrupts().map_err(Failure::Grant)?,
            next_record: options.log_from,
        })
    }

    fn signals(&mut self, bits: u64, signals: &Signals) {
        // First, so that the input goes past those who are gone.
        if bits & signals.ended != 0 {
            self.fetch_ends();
        }
        if bits & signals.screen != 0
            && let Some(layout) = self.desk.find_screen()
        {
            let effects = self.terminals.screen(layout);
            self.carry_out(effects);
        }
        if bits & signals.line != 0 {
            self.fetch_input();
        }
        if bits & signals.keyboard != 0 {
            self.fetch_keys();
        }
        if bits & signals.log != 0 {
            self.fetch_log();
        }
        if bits & signals.frame != 0 {
            self.desk.woken();
        }
    }

    /// Takes all input that the line's driver has. A driver that was restarted has none yet, and
    /// signals when it has.
    fn fetch_input(&mut self) {
        while let Ok(bytes) = self.line.read() {
            if bytes.is_empty() {
                break;
            }
            let effects = self.terminals.line_input(&bytes);
            self.carry_out(effects);
        }
        // An interrupt key is echoed. A line that has failed shows nothing, and whoever writes next
        // hears of it.
        let _ = self.flush();
    }

    /// Takes all that was typed at the machine's keyboard.
    fn fetch_keys(&mut self) {
        for input in self.desk.typed() {
            let effects = self.terminals.typed(&input);
            self.carry_out(effects);
            self.desk.note_change();
        }
        let _ = self.flush();
    }

    /// Forgets the readers whose programs have ended.
    fn fetch_ends(&mut self) {
        let mut from = Some(0);
        while let Some(first) = from {
            // Init always answers; should it not, a dead reader costs one input.
            let Ok(page) = self.supervisor.ends(first) else { return };
            for caller in self.ends.update(first, &page.items) {
                let effects = self.terminals.ended(caller);
                self.carry_out(effects);
            }
            from = page.next.filter(|next| *next > first);
        }
    }

    /// Shows all log records that are new.
    fn fetch_log(&mut self) {
        while let Ok(page) = self.log.read(self.next_record) {
            if page.records.is_empty() {
                break;
            }
            self.next_record = page.next;
            let effects = self.terminals.log(&page.records, page.lost);
            self.desk.note_change();
            let _ = self.flush();
            self.carry_out(effects);
        }
    }

    /// Shows the log up to where the serial line has shown it on the screen's first console.
    fn recall_log(&mut self) {
        let mut from = 0;
        while from < self.next_record
            && let Ok(mut page) = self.log.read(from)
            && page.next > from
        {
            from = page.next;
            page.records.retain(|record| record.seq < self.next_record);
            let effects = self.terminals.recall(&page.records, page.lost);
            self.carry_out(effects);
        }
    }

    fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect<Reader>>) {
        for effect in effects {
            match effect {
                Effect::Answer(reader, event) => reader.answer(&Ok(event)),
                Effect::Forget(reader) => drop(reader),
                Effect::Recall => self.recall_log(),
                Effect::Interrupt(session) => {
                    if let Some(interrupt) = self.interrupts.get(usize::from(session)) {
                        interrupt.signal();
                    }
                }
                Effect::Start(session) => self.desk.start_shell(session),
            }
        }
    }

    /// Sends what waits for the serial line.
    fn flush(&mut self) -> Result<(), ConsoleError> {
        loop {
            let chunk = self.terminals.line().take(CHUNK);
            if chunk.is_empty() {
                return Ok(());
            }
            self.send(&chunk)?;
        }
    }

    /// Sends all of `chunk`. What a driver had in hand when it was restarted may have been sent
    /// or not: it is not sent again, for a gap in the output is better than a repetition.
    fn send(&self, chunk: &[u8]) -> Result<(), ConsoleError> {
        let mut rest = chunk;
        while !rest.is_empty() {
            match self.line.write(rest.to_vec()) {
                Ok(accepted) => rest = rest.get(accepted as usize..).unwrap_or(&[]),
                Err(Error::Call(CallError::Restarted)) => return Ok(()),
                Err(Error::Call(CallError::Busy)) => {}
                // Nobody sits there. Whoever writes goes on, as on a line to which nothing is plugged.
                Err(Error::Service(UartError::Absent)) => return Ok(()),
                Err(Error::Call(_) | Error::Service(UartError::Empty)) => {
                    return Err(ConsoleError::Disconnected);
                }
            }
        }
        Ok(())
    }
}

/// The notifications by which init is told of the interrupt key, in the order of the sessions; an
/// image without a screen has that of the serial line only.
fn interrupts() -> Result<Vec<Notification>, MissingGrant<'static>> {
    let [line, consoles @ ..] = INTERRUPTS;
    let line = grant(GrantKind::Signals, line)?;
    let granted = consoles.into_iter().map_while(|name| grant(GrantKind::Signals, name).ok());
    Ok(core::iter::once(line).chain(granted).map(Notification::new).collect())
}

impl Interface for Process {
    fn write(&mut self, caller: Caller, bytes: Vec<u8>, later: Later<Result<(), ConsoleError>>) {
        let (session, program) = (caller.session(), caller.program().into());
        let effects = self.terminals.write(session, program, &bytes);
        self.desk.note_change();
        later.answer(&self.flush());
        self.carry_out(effects);
    }

    fn poll(&mut self, caller: Caller) -> Result<Vec<u8>, ConsoleError> {
        Ok(self.terminals.poll(caller.session()))
    }

    fn read(&mut self, caller: Caller, mode: InputMode, later: Reader) {
        let (session, program) = (caller.session(), caller.program().into());
        match self.terminals.read(session, program, mode, later) {
            Ok(effects) => self.carry_out(effects),
            Err((later, error)) => later.answer(&Err(error)),
        }
    }

    fn draw_graph(&mut self, caller: Caller, graph: Graph) -> Result<(), ConsoleError> {
        self.desk.note_change();
        self.terminals.draw_graph(caller.session(), caller.program().into(), graph)
    }

    fn screen(&mut self, _: Caller) -> Result<ScreenStatus, ConsoleError> {
        let status = self.terminals.status()?;
        self.desk.draw(&mut self.terminals);
        Ok(status)
    }

    fn text(&mut self, _: Caller, from: u32) -> Result<Page<String>, ConsoleError> {
        Ok(Page::fill(from, self.terminals.text()?))
    }
}
