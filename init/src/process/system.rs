//! The whole system as init sees it, and what it does about each event.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use init::badge::{Signals, TICK_BADGE, signals};
use init::fault;
use init::grants::{LOG_READY, PROGRAM_ENDED, waiter};
use init::log::LogRing;
use init::service::{Remedy, SHELL, remedy, unserved};
use init::supervise::{Action, ProgramNumber, Supervisor};
use libd3os::abi::{BootInfo, MessageInfo, ObjectType};
use libd3os::call::{CallError, Later};
use libd3os::cap::{Notification, Reply};
use libd3os::image::{Archive, BootConfig, Manifest, StartPolicy};
use libd3os::mark::{Phase, mark};
use libd3os::memory::MemoryError;
use libd3os::server::Server;
use libd3os::service::log::Level;
use libd3os::service::supervisor::{Exit, ProgramState, RunMode, StartFailure, SupervisorError};
use libd3os::start::SIGNAL_FLAG;
use libd3os::sys::Cptr;

use super::kernel::{THREAD, sched_control};
use super::loader::Loader;
use super::memory::Memory;
use super::own::Own;
use super::platform::Platform;
use super::power::{Closing, End, FAILED, Failure};
use super::program::{Draft, Program};
use super::raw;
use super::resources::Shared;
use super::ticker::Ticker;
use super::trouble::{Doing, Refused, Trouble};
use super::window::Window;

/// Calls to init that can wait for their answers at a time, plus one.
const OWN_REPLIES: u64 = 32;

/// Answers a program that waits for another's end.
pub(super) type Waiter = Later<Result<Exit, SupervisorError>>;

/// The program that shows the log, and how it is told of new records.
#[derive(Debug)]
struct LogReader {
    program: ProgramNumber,
    ready: Notification,
}

/// The whole state of init.
#[derive(Debug)]
pub(super) struct System {
    pub(super) platform: Platform,
    pub(super) manifest: Manifest,
    pub(super) programs: Vec<Program>,
    pub(super) supervisor: Supervisor<Waiter>,
    pub(super) log: LogRing,
    pub(super) own: Own,
    config: BootConfig,
    pub(super) loader: Loader,
    pub(super) ticker: Ticker,
    closing: Option<Closing>,
    log_reader: Option<LogReader>,
    /// Tells whoever wants to know that a program has ended.
    ended: Option<Notification>,
    /// Log records before this one have been shown.
    shown: u64,
    /// The log reader has been started: from then on it shows the log, not init.
    handed_over: bool,
    /// The boot is over: a program that does not run now may never.
    booted: bool,
    /// Answers those who call services that nobody serves.
    absent: Reply,
}

/// Brings up everything but the programs.
pub(super) fn bring_up(info: &'static BootInfo) -> Result<(System, Server), Box<Failure>> {
    let mut platform = Platform::new(info);
    match prepare(info, &mut platform) {
        Ok(parts) => Ok(parts.assemble(platform)),
        Err(trouble) => Err(Box::new(Failure { platform, trouble })),
    }
}

/// What a system is made of besides the platform.
struct Parts {
    manifest: Manifest,
    config: BootConfig,
    programs: Vec<Program>,
    own: Own,
    loader: Loader,
    ticker: Ticker,
    log_reader: Option<LogReader>,
    ended: Option<Notification>,
    absent: Reply,
    server: Server,
}

fn prepare(info: &'static BootInfo, platform: &mut Platform) -> Result<Parts, Trouble> {
    // The window first: without it a machine that cannot be brought up cannot be switched off.
    platform.window = Some(Window::open(&mut platform.memory)?);
    let bytes = raw::archive(info).map_err(Trouble::Archive)?;
    let archive = Archive::parse(bytes).map_err(Trouble::Archive)?;
    let (manifest, config) = (archive.manifest().clone(), archive.boot_config().clone());
    platform.exit_port = config.exit_port;
    mark(Phase::ManifestRead);
    let drafts = draft_programs(&archive)?;
    let memory = &mut platform.memory;
    let shared = Shared::make(&manifest, memory, platform.com1)?;
    let server = own_server(&shared, memory)?;
    let tick = shared.signaller(None, TICK_BADGE, memory)?;
    let ticker = Ticker::start(memory, sched_control(info), tick)?;
    let log_reader = log_reader(&manifest, &shared, memory)?;
    let absent = reply(memory)?;
    let ended = signaller(&manifest, PROGRAM_ENDED, &shared, memory)?.map(|(_, ended)| ended);
    let programs = equip(drafts, &shared, memory)?;
    let loader = Loader { shared, time: sched_control(info) };
    let own = Own::new(info);
    Ok(Parts { manifest, config, programs, own, loader, ticker, log_reader, ended, absent, server })
}

fn draft_programs(archive: &Archive<'static>) -> Result<Vec<Draft>, Trouble> {
    let numbered = (1..).map_while(ProgramNumber::new).zip(&archive.manifest().programs);
    numbered
        .map(|(number, spec)| {
            let arguments = longest_boot_arguments(&spec.name, archive.boot_config());
            Draft::new(archive, number, spec, &arguments)
                .map_err(|unfit| Trouble::Program(spec.name.clone(), unfit))
        })
        .collect()
}

/// Sets aside what every program takes. That it does not suffice is told for all of them at once.
fn equip(
    drafts: Vec<Draft>,
    shared: &Shared,
    memory: &mut Memory,
) -> Result<Vec<Program>, Trouble> {
    let pieces = drafts.iter().flat_map(|draft| draft.plan.pieces());
    let needed = pieces.map(|bits| 1u64 << bits).sum();
    let available = memory.available();
    let equipped = drafts.into_iter().map(|draft| {
        let fault_endpoint = shared.fault_endpoint(draft.number, memory)?;
        draft.equip(memory, fault_endpoint).map_err(|refused| match refused.error {
            MemoryError::OutOfMemory { .. } => Trouble::Memory { needed, available },
            _ => Trouble::Refused(refused),
        })
    });
    equipped.collect()
}

/// Init's endpoint with its reply objects; its notification ends waiting there.
fn own_server(shared: &Shared, memory: &mut Memory) -> Result<Server, Trouble> {
    THREAD.bind_notification(shared.own_notification()).doing("binding init's notification")?;
    let replies = (0..OWN_REPLIES).map(|_| reply(memory)).collect::<Result<Vec<_>, _>>()?;
    Server::new(shared.own_endpoint(), replies).map_err(Trouble::Server)
}

fn reply(memory: &mut Memory) -> Result<Reply, Refused> {
    let made = memory.make(ObjectType::Reply, 0).doing("making reply objects")?;
    Ok(Reply::new(Cptr::new(made)))
}

fn log_reader(
    manifest: &Manifest,
    shared: &Shared,
    memory: &mut Memory,
) -> Result<Option<LogReader>, Trouble> {
    let found = signaller(manifest, LOG_READY, shared, memory)?;
    Ok(found.map(|(program, ready)| LogReader { program, ready }))
}

/// The program that waits for a notification of init's, and what signals it.
fn signaller(
    manifest: &Manifest,
    name: &str,
    shared: &Shared,
    memory: &mut Memory,
) -> Result<Option<(ProgramNumber, Notification)>, Trouble> {
    let Some((program, badge)) = waiter(manifest, name) else { return Ok(None) };
    Ok(Some((program, shared.signaller(Some(program), badge, memory)?)))
}

/// The script's lines for the shell. The other arguments of the boot are short.
fn longest_boot_arguments(program: &str, config: &BootConfig) -> Vec<String> {
    match &config.script {
        Some(script) if program == SHELL => alloc::vec!["--run".to_string(), script.clone()],
        _ => Vec::new(),
    }
}

impl Parts {
    fn assemble(self, platform: Platform) -> (System, Server) {
        let policies = self.manifest.programs.iter().map(|spec| (spec.name.clone(), spec.restart));
        let system = System {
            supervisor: Supervisor::new(policies),
            platform,
            programs: self.programs,
            log: LogRing::default(),
            own: self.own,
            config: self.config,
            loader: self.loader,
            ticker: self.ticker,
            closing: None,
            log_reader: self.log_reader,
            ended: self.ended,
            shown: 0,
            handed_over: false,
            booted: false,
            absent: self.absent,
            manifest: self.manifest,
        };
        (system, self.server)
    }
}

impl System {
    /// Starts what the manifest starts with the system, in its order.
    pub(super) fn start_boot_programs(&mut self) {
        self.introduce();
        for spec in self.manifest.programs.clone() {
            if spec.start == StartPolicy::Boot {
                let arguments = longest_boot_arguments(&spec.name, &self.config);
                // None of them runs yet and each is in the manifest.
                let _ = self.spawn(&spec.name, arguments, RunMode::Background);
            }
        }
        self.booted = true;
        self.set_clock();
    }

    /// Starts a program; tells the id of its run.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        arguments: Vec<String>,
        mode: RunMode,
    ) -> Result<libd3os::service::supervisor::ProgramId, SupervisorError> {
        let number = self.supervisor.find(name)?;
        if let Some(program) = self.programs.get_mut(number.index()) {
            program.start_info(&arguments, 0, 0).map_err(|_| SupervisorError::ArgumentsTooLong)?;
            if self.supervisor.program(number).is_some_and(|program| !program.is_live()) {
                program.arguments = arguments;
            }
        }
        let (run, actions) = self.supervisor.spawn(name, mode)?;
        self.carry_out(actions);
        let started = self.supervisor.program(number);
        match started.and_then(init::supervise::Program::start_failure).cloned() {
            Some(failure) => Err(SupervisorError::NotStarted { name: name.to_string(), failure }),
            None => Ok(run),
        }
    }

    /// Carries out what the supervisor decided, in order.
    pub(super) fn carry_out(&mut self, actions: Vec<Action<Waiter>>) {
        for action in actions {
            match action {
                Action::Start(number) => self.start(number),
                Action::Destroy(number) => self.destroy(number),
                Action::Answer(waiter, exit) => waiter.answer(&Ok(exit)),
                Action::Forget(waiter) => drop(waiter),
                Action::Notice(..) | Action::Advise(_) if self.closing.is_some() => {}
                Action::Advise(number) => self.advise(number),
                Action::Notice(number, level, text) => {
                    let name = self.name(number);
                    self.note(level, format_args!("{name} {text}"));
                }
            }
        }
        self.set_clock();
    }

    /// The interrupt key was pressed.
    pub(super) fn interrupt(&mut self) {
        let actions = self.supervisor.interrupt(self.platform.now_us());
        self.carry_out(actions);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        if let Some(closing) = &mut self.closing {
            // Whatever ends now stays ended.
            closing.tick(&mut self.platform);
            return;
        }
        let actions = self.supervisor.tick(self.platform.now_us());
        self.carry_out(actions);
        if self.answer_for_the_absent().interrupt {
            self.interrupt();
        }
    }

    /// Answers everyone who waits for a service that nobody serves. Looking there takes signals of
    /// init's own notification, too: they are handed back. Their senders' ticks go on.
    fn answer_for_the_absent(&self) -> Signals {
        let mut taken = 0;
        let unavailable = MessageInfo::new(u64::from(CallError::Unavailable.number()), 0, 0, 0);
        for service in unserved(&self.manifest, &self.supervisor) {
            let endpoint = self.loader.shared.service_endpoint(service);
            loop {
                let received = endpoint.nb_recv(self.absent);
                match received.badge {
                    0 => break,
                    bits if bits & SIGNAL_FLAG != 0 => taken |= bits,
                    // None of them runs before init waits again, so this comes to an end.
                    _ => self.absent.send(unavailable),
                }
            }
        }
        signals(taken)
    }

    /// Says what can be done about a program that was given up. Where nobody can give a command
    /// any more, that has to reach the person past whatever is quiet or broken; and a script that
    /// cannot go on ends the machine.
    fn advise(&mut self, number: ProgramNumber) {
        let name = self.name(number);
        if remedy(&self.manifest, number) == Remedy::Command {
            self.note(Level::Error, format_args!("`run {name}` starts {name} again"));
            return;
        }
        let text = alloc::format!("no command can be given without {name}: reset the machine");
        self.note(Level::Error, format_args!("{text}"));
        if self.config.quiet {
            self.platform.print(format_args!("init: {name} has failed too often; {text}\n"));
        }
        if self.config.script.is_some() {
            self.close(End::Off(FAILED));
        }
    }

    /// A program's thread did something that it may not.
    pub(super) fn fault(&mut self, number: ProgramNumber, label: u64, words: &[u64]) {
        let Some(program) = self.programs.get(number.index()) else { return };
        let draft = &program.draft;
        let symbol = |address| draft.file.symbol(address);
        let report = fault::report(&draft.spec.name, label, words, &draft.regions.stack, symbol);
        let actions = self.supervisor.faulted(number, report, self.platform.now_us());
        self.carry_out(actions);
    }

    /// Ends the machine's run, as soon as the output so far has left.
    pub(super) fn close(&mut self, end: End) {
        self.closing = Some(Closing::new(end, self.platform.now_us()));
        self.set_clock();
    }

    /// Adds a record to the log, tells who shows it, and shows it while nobody else does.
    pub(super) fn append(&mut self, program: &str, level: Level, target: &str, message: &str) {
        let now_us = self.platform.now_us();
        let record = self.log.append(now_us, program, level, target, message);
        let next = record.seq + 1;
        if !self.is_shown_by_another() {
            self.shown = next;
            if !self.config.quiet {
                let (seconds, rest) = (now_us / 1_000_000, now_us % 1_000_000);
                let text = format_args!("[{seconds:5}.{rest:06}] {program}: {message}\n");
                self.platform.print(text);
            }
        }
        if let Some(reader) = &self.log_reader {
            reader.ready.signal();
        }
    }

    /// Someone has read the log up to (not with) this record.
    pub(super) fn has_read(&mut self, reader: ProgramNumber, next: u64) {
        if self.log_reader.as_ref().is_some_and(|known| known.program == reader) {
            self.shown = self.shown.max(next);
        }
    }

    /// A program's name.
    pub(super) fn name(&self, number: ProgramNumber) -> String {
        super::program::name(&self.manifest, number).to_string()
    }

    fn note(&mut self, level: Level, message: fmt::Arguments<'_>) {
        self.append("init", level, "init", &message.to_string());
    }

    fn introduce(&mut self) {
        let machine = self.platform.machine.clone();
        let cores = machine.cores_present;
        self.note(
            Level::Info,
            format_args!(
                "D3OS {}, image `{}`: {cores} core{} present, {} MiB of RAM, {} MHz",
                env!("CARGO_PKG_VERSION"),
                self.manifest.name.clone(),
                if cores == 1 { "" } else { "s" },
                machine.ram_bytes >> 20,
                machine.tsc_mhz,
            ),
        );
        let free = self.platform.memory.available() >> 10;
        let programs: u64 = self.programs.iter().map(Program::bytes).sum();
        let count = self.programs.len();
        self.note(
            Level::Info,
            format_args!("{count} programs, {} KiB set aside, {free} KiB free", programs >> 10),
        );
    }

    fn start(&mut self, number: ProgramNumber) {
        let made = self.try_start(number);
        let now_us = self.platform.now_us();
        match made {
            Ok(()) => {
                self.supervisor.started(number, now_us);
                self.tell_started(number);
            }
            Err(failure) => {
                let actions = self.supervisor.start_failed(number, failure);
                self.carry_out(actions);
            }
        }
    }

    fn try_start(&mut self, number: ProgramNumber) -> Result<(), StartFailure> {
        let arguments = self.start_arguments(number);
        // The supervisor's programs are these; there is no other.
        let Some(program) = self.programs.get(number.index()) else { return Ok(()) };
        let machine = &self.platform.machine;
        let info = program
            .start_info(&arguments, machine.tsc_mhz, machine.boot_tsc)
            .map_err(StartFailure::StartInfo)?;
        let window = self.platform.window.as_mut().ok_or(StartFailure::TooEarly)?;
        Ok(self.loader.start(window, program, &info)?)
    }

    /// What was asked for, and for the program that shows the log where to begin, and whether to
    /// show it at all.
    fn start_arguments(&self, number: ProgramNumber) -> Vec<String> {
        let Some(program) = self.programs.get(number.index()) else { return Vec::new() };
        let mut arguments = program.arguments.clone();
        if self.log_reader.as_ref().is_some_and(|reader| reader.program == number) {
            arguments.extend(["--log-from".to_string(), self.shown.to_string()]);
            if self.config.quiet {
                arguments.push("--quiet".to_string());
            }
        }
        arguments
    }

    /// A first start is an event of the boot, and tells in whose hands the log now is.
    fn tell_started(&mut self, number: ProgramNumber) {
        // From its own first start on, the reader shows the log: it was told where to begin.
        self.handed_over |= self.log_reader.as_ref().is_some_and(|reader| reader.program == number);
        let name = self.name(number);
        let restarts =
            self.supervisor.program(number).map_or(0, init::supervise::Program::restarts);
        let is_boot = self.manifest.program(&name).is_some_and(|s| s.start == StartPolicy::Boot);
        if restarts > 0 {
            self.note(Level::Info, format_args!("{name} was started again"));
        } else if is_boot {
            self.note(Level::Info, format_args!("{name} was started"));
        }
    }

    fn destroy(&mut self, number: ProgramNumber) {
        let Some(program) = self.programs.get_mut(number.index()) else { return };
        if let Err(refused) = program.destroy() {
            self.note(Level::Error, format_args!("{refused}"));
        }
        // Before it may be started again: whoever is told then knows of no call of the new one.
        if let Some(ended) = self.ended {
            ended.signal();
        }
    }

    /// Whether the log's reader shows it. One that was given up does not, nor does one whose own
    /// servers are: then what happens is shown by init.
    fn is_shown_by_another(&self) -> bool {
        let Some(reader) = &self.log_reader else { return false };
        self.handed_over
            && !self.is_given_up(reader.program)
            && !self.lacks_a_server(reader.program)
    }

    fn is_given_up(&self, number: ProgramNumber) -> bool {
        let state = self.supervisor.program(number).map(init::supervise::Program::state);
        matches!(state, Some(ProgramState::GivenUp | ProgramState::Stopped))
    }

    fn lacks_a_server(&self, client: ProgramNumber) -> bool {
        let Some(spec) = self.manifest.programs.get(client.index()) else { return true };
        init::grants::services(&self.manifest)
            .any(|(name, server)| spec.calls.iter().any(|c| c == name) && self.is_given_up(server))
    }

    /// The clock ticks while something waits for time to pass.
    fn set_clock(&self) {
        let has_absent = || unserved(&self.manifest, &self.supervisor).next().is_some();
        let needed = self.supervisor.next_due_us().is_some()
            || self.closing.is_some()
            || (self.booted && has_absent());
        self.ticker.set_running(needed);
    }
}
