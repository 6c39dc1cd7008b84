//! The interactive shell: connects the library to the services and lets it work.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::fmt;

use libd3os::ipc::MissingGrant;
use libd3os::mark::{Phase, mark};
use libd3os::service::console::ConsoleClient;
use libd3os::service::log::LogClient;
use libd3os::service::supervisor::SupervisorClient;
use libd3os::start::StartInfo;
use libd3os::sys;
use shell::system::{Granted, Hooks, Services, SystemError};
use shell::task::{Task, UnknownArguments};

libd3os::program! { main: run, calls: ["console", "log", "supervisor", "*"] }

/// Why the shell ended without being told to.
enum Failure {
    Arguments(UnknownArguments),
    Grant(MissingGrant<'static>),
    System(SystemError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

fn run(start: &'static StartInfo) -> Result<(), Failure> {
    let task = Task::from_arguments(&start.args).map_err(Failure::Arguments)?;
    let hooks = Hooks { ready: || mark(Phase::ShellPrompt), pause: sys::yield_now };
    let mut services = Services::new(
        ConsoleClient::connect().map_err(Failure::Grant)?,
        SupervisorClient::connect().map_err(Failure::Grant)?,
        LogClient::connect().map_err(Failure::Grant)?,
        Granted,
        hooks,
    );
    task.perform(&mut services).map_err(Failure::System)
}
