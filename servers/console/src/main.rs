//! The console's process: the serial line, the log, and the `Console` interface.
//!
//! It waits at one place for callers, for input on the line and for new log records. It calls the
//! driver and waits for it: a line that is slow makes its writers wait, which is how they
//! are kept from writing more than it carries.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::{CallError, Caller, Error, Later};
use libd3os::cap::Notification;
use libd3os::ends::Ends;
use libd3os::ipc::MissingGrant;
use libd3os::program::grant;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::console::{Console as Interface, ConsoleError, InputEvent, InputMode};
use libd3os::service::log::LogClient;
use libd3os::service::supervisor::SupervisorClient;
use libd3os::service::uart::{UartClient, UartError};
use libd3os::start::{GrantKind, StartInfo};

use console::core::{Console, Effect};
use console::options::{BadArgument, Options};

libd3os::program! {
    main: run,
    serves: ["console"],
    calls: ["log", "supervisor", "uart"],
    signals: ["interrupt"],
    waits: ["console-input", "log-ready", "program-ended"],
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
    let mut terminal = Terminal::connect(options)?;
    server.observe(terminal.console.journal().recorder());
    let input = start.signal("console-input").unwrap_or(0);
    let log_ready = start.signal("log-ready").unwrap_or(0);
    let ended = start.signal("program-ended").unwrap_or(0);
    // What came before there was anyone to be told.
    terminal.fetch_ends();
    terminal.fetch_input();
    terminal.fetch_log();
    loop {
        match server.next() {
            Event::Request(request) => Interface::dispatch(&mut terminal, request),
            Event::Signal(bits) => {
                // First, so that the input goes past those who are gone.
                if bits & ended != 0 {
                    terminal.fetch_ends();
                }
                if bits & input != 0 {
                    terminal.fetch_input();
                }
                if bits & log_ready != 0 {
                    terminal.fetch_log();
                }
            }
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

struct Terminal {
    console: Console<Reader>,
    line: UartClient,
    log: LogClient,
    supervisor: SupervisorClient,
    ends: Ends,
    interrupt: Notification,
    next_record: u64,
}

impl Terminal {
    fn connect(options: Options) -> Result<Self, Failure> {
        let interrupt = grant(GrantKind::Signals, "interrupt").map_err(Failure::Grant)?;
        Ok(Self {
            console: Console::new(options.shown),
            line: UartClient::connect().map_err(Failure::Grant)?,
            log: LogClient::connect().map_err(Failure::Grant)?,
            supervisor: SupervisorClient::connect().map_err(Failure::Grant)?,
            ends: Ends::default(),
            interrupt: Notification::new(interrupt),
            next_record: options.log_from,
        })
    }

    /// Takes all input that the driver has. A driver that was restarted has none yet, and
    /// signals when it has.
    fn fetch_input(&mut self) {
        while let Ok(bytes) = self.line.read() {
            if bytes.is_empty() {
                break;
            }
            let effects = self.console.input(&bytes);
            self.carry_out(effects);
        }
        // An interrupt key is echoed. A line that has failed shows nothing, and whoever writes next
        // hears of it.
        let _ = self.flush();
    }

    /// Forgets the readers whose programs have ended.
    fn fetch_ends(&mut self) {
        let mut from = Some(0);
        while let Some(first) = from {
            // Init always answers; should it not, a dead reader costs one input.
            let Ok(page) = self.supervisor.ends(first) else { return };
            for caller in self.ends.update(first, &page.items) {
                let effects = self.console.ended(caller);
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
            let effect = self.console.log(&page.records, page.lost);
            let _ = self.flush();
            self.carry_out(effect);
        }
    }

    fn carry_out(&self, effects: impl IntoIterator<Item = Effect<Reader>>) {
        for effect in effects {
            match effect {
                Effect::Answer(reader, event) => reader.answer(&Ok(event)),
                Effect::Forget(reader) => drop(reader),
                Effect::Interrupt => self.interrupt.signal(),
            }
        }
    }

    /// Sends what waits for the terminal.
    fn flush(&mut self) -> Result<(), ConsoleError> {
        loop {
            let chunk = self.console.output.take(CHUNK);
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
                Err(
                    Error::Call(_) | Error::Service(UartError::NotResponding | UartError::Empty),
                ) => {
                    return Err(ConsoleError::Disconnected);
                }
            }
        }
        Ok(())
    }
}

impl Interface for Terminal {
    fn write(&mut self, _: Caller, bytes: Vec<u8>, later: Later<Result<(), ConsoleError>>) {
        self.console.write(&bytes);
        later.answer(&self.flush());
    }

    fn poll(&mut self, _: Caller) -> Result<Vec<u8>, ConsoleError> {
        Ok(self.console.poll())
    }

    fn read(&mut self, caller: Caller, mode: InputMode, later: Reader) {
        match self.console.read(caller.program().into(), mode, later) {
            Ok(effects) => self.carry_out(effects),
            Err((later, error)) => later.answer(&Err(error)),
        }
    }
}
