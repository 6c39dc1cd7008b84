//! Why a command failed, and what to do next.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use libd3os::call::CallError;
use libd3os::object::object::OpenError;
use libd3os::service::net::NetError;
use libd3os::service::pmem::PmemError;
use libd3os::service::share::{Errno, ShareError};
use libd3os::service::supervisor::{Exit, FaultReport, ProgramState, SupervisorError};

use libd3os::store::StoreError;

use super::arguments::{Kind, Problem};
use super::{COMMANDS, Command};
use crate::page::MAX_TEXT;
use crate::session::Session;
use crate::suggest::nearest;
use crate::system::SystemError;
use crate::units::{bytes, counted, microseconds};

/// Why a command failed.
#[derive(Debug)]
pub enum CommandError {
    /// There is no such command.
    Unknown {
        /// What was typed.
        name: String,
    },
    /// The arguments do not fit the command's declaration.
    Usage {
        /// The command.
        command: &'static Command,
        /// What is wrong.
        problem: Problem,
    },
    /// A service failed or refused.
    System(SystemError),
    /// No service has this name.
    NoSuchService {
        /// What was asked for.
        name: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
    /// No table of the firmware's has this name.
    NoSuchTable {
        /// What was asked for.
        name: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
    /// A server has no such counter.
    NoSuchCounter {
        /// What was asked for.
        name: String,
        /// Those that it has.
        counters: Vec<String>,
    },
    /// The program behind a service does not run.
    NotServed {
        /// The program.
        program: String,
        /// What it does instead.
        state: ProgramState,
    },
    /// The machine has no share of its host.
    NoShare,
    /// The machine has no persistent memory.
    NoPersistentMemory,
    /// What the command does needs a terminal.
    NeedsTerminal,
    /// An object's text has more bytes than can be edited.
    TooLong {
        /// The object.
        path: String,
    },
    /// The pool of persistent objects is damaged.
    Damaged {
        /// In so many places.
        count: usize,
    },
    /// A program that the shell waited for did not succeed.
    Ended {
        /// The program.
        program: String,
        /// How it ended.
        exit: Exit,
    },
    /// A program that was started to die is alive and well.
    Survived {
        /// The program.
        program: String,
        /// Its exit code.
        code: i32,
    },
}

impl From<SystemError> for CommandError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "there is no command `{name}`"),
            Self::Usage { problem, .. } => problem.fmt(f),
            Self::System(error) => error.fmt(f),
            Self::NoSuchService { name, .. } => {
                write!(f, "there is no service `{name}` in this image")
            }
            Self::NoSuchTable { name, .. } => write!(f, "there is no ACPI table `{name}`"),
            Self::NoSuchCounter { name, .. } => write!(f, "it counts nothing called `{name}`"),
            Self::NotServed { program, state } => {
                write!(f, "`{program}` does not run: it is {state}")
            }
            Self::NeedsTerminal => f.write_str("that needs a terminal"),
            Self::TooLong { path } => {
                write!(
                    f,
                    "the text of `{path}` is too long: {} can be edited",
                    bytes(MAX_TEXT as u64)
                )
            }
            Self::NoPersistentMemory => f.write_str("no persistent memory: the machine has none"),
            Self::Damaged { count } => {
                write!(f, "the pool is damaged in {}", counted(*count as u64, "place", "places"))
            }
            Self::NoShare => f.write_str("the host shares no directory with this machine"),
            Self::Ended { program, exit } => f.write_str(&ending(program, exit)),
            Self::Survived { program, code } => {
                write!(f, "`{program}` survived what should have ended it (exit code {code})")
            }
        }
    }
}

impl CommandError {
    /// What the person may do about it.
    pub fn hint(&self, session: &mut Session<'_>) -> Option<String> {
        match self {
            Self::Unknown { name } => Some(command_hint(name)),
            Self::Usage { command, problem } => Some(usage_hint(command, problem)),
            Self::System(error) => system_hint(error, session),
            Self::NoSuchService { nearest, .. } => {
                Some(meant(nearest.as_deref(), "`svc` lists the services"))
            }
            Self::NoSuchTable { nearest, .. } => {
                Some(meant(nearest.as_deref(), "`acpi` lists the tables"))
            }
            Self::NoSuchCounter { counters, .. } => {
                Some(format!("it counts: {}", counters.join(", ")))
            }
            Self::NotServed { program, .. } => {
                Some(format!("`run {program}` starts it, `ps` shows how the programs are doing"))
            }
            Self::NoShare => Some("`cargo xtask qemu --share DIR` shares one".to_string()),
            Self::NoPersistentMemory => {
                Some("`cargo xtask qemu --pmem FILE:SIZE` adds some".to_string())
            }
            Self::Damaged { .. } => {
                Some("`pmem repair` works out anew which pages are free".to_string())
            }
            Self::Ended { exit: Exit::Faulted(_), .. } => {
                Some("the system goes on; `log` has the details".to_string())
            }
            Self::NeedsTerminal | Self::TooLong { .. } => None,
            Self::Ended { .. } | Self::Survived { .. } => None,
        }
    }
}

fn command_hint(name: &str) -> String {
    let names = COMMANDS.iter().map(|command| command.name);
    meant(nearest(name, names), "`help` lists the commands")
}

fn usage_hint(command: &Command, problem: &Problem) -> String {
    if let Problem::Misfit { argument, word } = problem
        && matches!(argument.kind, Kind::Command)
    {
        return command_hint(word);
    }
    format!("usage: {}; `help {}` tells more", command.usage(), command.name)
}

fn system_hint(error: &SystemError, session: &mut Session<'_>) -> Option<String> {
    match error {
        SystemError::Supervisor(error) => supervisor_hint(error, session),
        SystemError::Call { error: CallError::TooLarge, .. } => {
            Some("use shorter arguments".to_string())
        }
        SystemError::Call { error: CallError::Unavailable, .. } => {
            Some("`svc` shows who serves it, `run` starts that program".to_string())
        }
        SystemError::NotGranted { .. } => {
            Some("its manifest entry names the services under `calls`".to_string())
        }
        SystemError::Call { .. } | SystemError::Observed { .. } => {
            Some("try again; `svc` shows how the services are doing".to_string())
        }
        SystemError::Console(_)
        | SystemError::Keyboard(_)
        | SystemError::Nvdimm(_)
        | SystemError::Rtc(_)
        | SystemError::Log(_)
        | SystemError::Timer(_) => None,
        SystemError::Net(NetError::NoNameServer | NetError::NoRoute) => {
            Some("`net` shows the interfaces".to_string())
        }
        SystemError::Share(ShareError::Host(Errno::ENOENT)) => {
            Some("`share ls` shows what is there".to_string())
        }
        SystemError::Store(error) => store_hint(error),
        SystemError::Share(_) => None,
        SystemError::Net(_) | SystemError::Platform(_) | SystemError::EndlessList { .. } => None,
    }
}

fn store_hint(error: &StoreError) -> Option<String> {
    let hint = match error {
        StoreError::Refused(PmemError::NotFound) => "`obj ls` shows what there is",
        StoreError::Refused(PmemError::NoPool(_)) => {
            "`pmem init --force` makes a pool, and whatever is there is lost"
        }
        StoreError::Refused(PmemError::Full { .. }) => "`obj rm` makes room",
        StoreError::Object(OpenError::Type { .. }) => "`obj show` prints objects of every type",
        _ => return None,
    };
    Some(hint.to_string())
}

fn supervisor_hint(error: &SupervisorError, session: &mut Session<'_>) -> Option<String> {
    let hint = match error {
        SupervisorError::NoSuchProgram(name) => {
            let programs = session.system.programs().unwrap_or_default();
            let names = programs.iter().map(|program| program.name.as_str());
            meant(nearest(name, names), "`ps` lists the programs")
        }
        SupervisorError::AlreadyRunning(name) => format!("`kill {name}` ends it"),
        SupervisorError::NotRunning(name) => format!("`run {name}` starts it"),
        SupervisorError::NotStarted { .. } => "`log` has what led to it".to_string(),
        SupervisorError::ArgumentsTooLong => "use shorter arguments".to_string(),
        SupervisorError::Unsupported => "use the machine's own switch".to_string(),
        SupervisorError::NoSuchCore(_) => "`cores` lists the cores".to_string(),
        SupervisorError::CoreDown(core) => format!("`cores restart {core}` starts it anew"),
        SupervisorError::NoSuchRun(_) | SupervisorError::Indispensable => return None,
    };
    Some(hint)
}

fn meant(nearest: Option<&str>, list: &str) -> String {
    match nearest {
        Some(name) => format!("did you mean `{name}`? {list}"),
        None => list.to_string(),
    }
}

/// How a program ended, in words.
pub fn ending(program: &str, exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("`{program}` ended with exit code {code}"),
        Exit::Killed => format!("`{program}` was killed"),
        Exit::KilledAt(event) => format!("`{program}` was killed at event {event} of its trace"),
        Exit::Unresponsive(silent_us) => {
            format!("`{program}` was ended: it had not answered for {}", microseconds(*silent_us))
        }
        Exit::Interrupted => format!("`{program}` was interrupted"),
        Exit::Faulted(report) => fault(program, report),
        Exit::CoreStopped(core) => format!("`{program}` was stopped with core {core}"),
        Exit::NotStarted(failure) => format!("`{program}` could not be started: {failure}"),
    }
}

fn fault(program: &str, report: &FaultReport) -> String {
    let FaultReport { kind, address, ip, .. } = report;
    let place = match &report.symbol {
        Some(symbol) => format!("in {symbol} (instruction at {ip:#x})"),
        None => format!("at instruction {ip:#x}"),
    };
    let detail = match report.detail.as_str() {
        "" => String::new(),
        detail => format!(": {detail}"),
    };
    format!("`{program}` died of: {kind}, address {address:#x}, {place}{detail}")
}
