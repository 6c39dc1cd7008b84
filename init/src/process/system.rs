//! The whole system as init sees it, and what it does about each event.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use init::badge::signals;
use init::cores::Cores;
use init::grants::{DEVICE_ENDED, LOG_READY, waiter};
use init::log::LogRing;
use init::rings::Rings;
use init::service::{Remedy, driver_of_port, remedy, unserved};
use init::supervise::{Action, ProgramNumber, Supervisor};
use libd3os::abi::BootInfo;
use libd3os::call::Later;
use libd3os::cap::{CoreControl, Notification};
use libd3os::ends::tells_of_ends;
use libd3os::image::{BootConfig, Manifest, StartPolicy};
use libd3os::server::Server;
use libd3os::service::log::Level;
use libd3os::service::supervisor::{
    Exit, FaultReport, ProgramId, ProgramState, RunMode, SupervisorError,
};
use libd3os::sys::Cptr;

use super::control::Death;
use super::cores::CoreWaiter;
use super::launch::Run;
use super::memory::Memory;
use super::opening::{Opening, boot_arguments, placed};
use super::others::Others;
use super::platform::Platform;
use super::power::{Closing, End, FAILED, Failure};
use super::program::Program;
use super::resources::Shared;
use super::serial::PORTS as SERIAL_PORTS;
use super::site::Site;
use super::ticker::Pace;
use super::trouble::{Refused, Trouble};

/// What init shows itself: as much as the log's reader does unless told otherwise.
const SHOWN: Level = Level::Info;

/// Answers a program that waits for another's end.
pub(super) type Waiter = Later<Result<Exit, SupervisorError>>;

/// The program that shows the log, and how it is told of new records.
#[derive(Debug)]
pub(super) struct LogReader {
    pub(super) program: ProgramNumber,
    ready: Notification,
}

/// The whole state of init.
#[derive(Debug)]
pub(super) struct System {
    pub(super) site: Site,
    pub(super) supervisor: Supervisor<Waiter>,
    /// By program.
    pub(super) runs: Vec<Run>,
    pub(super) cores: Cores<CoreWaiter>,
    pub(super) others: Others,
    /// Between programs of different cores: none on a machine with one core.
    pub(super) rings: Option<Rings>,
    pub(super) log: LogRing,
    pub(super) config: BootConfig,
    closing: Option<Closing>,
    pub(super) log_reader: Option<LogReader>,
    /// Tells whoever wants to know that a program has ended.
    pub(super) ended: Vec<Notification>,
    /// Tells the program that finds devices that one is to be reset.
    pub(super) device_ended: Option<Notification>,
    /// Programs that have yet to be started, though not before the prompt.
    pub(super) later: VecDeque<ProgramNumber>,
    /// Those who wait until all programs that start by themselves do.
    pub(super) settling: Vec<Later<Result<(), SupervisorError>>>,
    /// Log records before this one have been shown.
    pub(super) shown: u64,
    /// The log reader has been started: from then on it shows the log, not init.
    pub(super) handed_over: bool,
    /// The boot is over: a program that does not run now may never.
    pub(super) booted: bool,
    /// The first programs wait so long for the cores at most.
    pub(super) gathering_until_us: Option<u64>,
}

/// Brings up everything but the programs.
pub(super) fn bring_up(info: &'static BootInfo) -> Result<(System, Server), Box<Failure>> {
    let mut platform = Platform::new(info);
    match prepare(info, &mut platform) {
        Ok(parts) => Ok(parts.assemble(info, platform)),
        Err(trouble) => Err(Box::new(Failure { platform, trouble })),
    }
}

/// What a system is made of besides the platform.
struct Parts {
    settled: super::opening::Settled,
    manifest: Manifest,
    config: BootConfig,
    others: Others,
    log_reader: Option<LogReader>,
    ended: Vec<Notification>,
    device_ended: Option<Notification>,
}

fn prepare(info: &'static BootInfo, platform: &mut Platform) -> Result<Parts, Trouble> {
    let mut opening = Opening::new(info, platform)?;
    let (manifest, config) = (opening.manifest().clone(), opening.config().clone());
    // The others wait for the board: the sooner it is there, the more of the boot is done at once.
    let others = meet_others(info, &opening.shared, platform)?;
    let memory = &mut platform.memory;
    opening.shared.take_hardware(&manifest, memory)?;
    let log_reader = log_reader(&manifest, &opening.shared, memory)?;
    let ended = end_signallers(&manifest, &opening.shared, memory)?;
    let device_ended = signaller(&manifest, DEVICE_ENDED, &opening.shared, memory)?;
    let device_ended = device_ended.map(|(_, ended)| ended);
    platform.know_ports(opening.shared.ports());
    let settled = opening.settle(info, platform)?;
    Ok(Parts { settled, manifest, config, others, log_reader, ended, device_ended })
}

fn meet_others(
    info: &BootInfo,
    shared: &Shared,
    platform: &mut Platform,
) -> Result<Others, Trouble> {
    let cores = instances(info);
    if cores < 2 {
        return Ok(Others::none());
    }
    let control = platform.machine.core_control.map(|slot| CoreControl::new(Cptr::new(slot)));
    let others = Others::meet(cores, control, shared, &mut platform.memory)?;
    others.cores().for_each(|core| others.invite(core));
    Ok(others)
}

/// Instances of the kernel.
fn instances(info: &BootInfo) -> u32 {
    u32::try_from(info.num_nodes).unwrap_or(u32::MAX)
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
) -> Result<Option<(ProgramNumber, Notification)>, Refused> {
    let Some((program, badge)) = waiter(manifest, name) else { return Ok(None) };
    Ok(Some((program, shared.signaller(Some(program), badge, memory)?)))
}

/// Wakes whoever waits for programs' ends.
fn end_signallers(
    manifest: &Manifest,
    shared: &Shared,
    memory: &mut Memory,
) -> Result<Vec<Notification>, Refused> {
    let waits = manifest.programs.iter().flat_map(|program| &program.waits);
    let names = waits.filter(|name| tells_of_ends(name));
    let signallers = names.filter_map(|name| signaller(manifest, name, shared, memory).transpose());
    signallers.map(|found| found.map(|(_, ended)| ended)).collect()
}

impl Parts {
    fn assemble(self, info: &BootInfo, platform: Platform) -> (System, Server) {
        let programs = &self.manifest.programs;
        let policies = programs.iter().map(|spec| (spec.name.clone(), spec.restart));
        let run = |spec| Run { core: placed(spec, info.num_nodes), ..Run::default() };
        let pool_bytes = platform.machine.pool_bytes();
        let cores = instances(info);
        let rings = (cores > 1).then(|| Rings::new(programs.len(), cores, pool_bytes));
        let now_us = platform.now_us();
        let (supervisor, runs) = (Supervisor::new(policies), programs.iter().map(run).collect());
        let (site, server) = self.settled.on(platform);
        let system = System {
            site,
            supervisor,
            runs,
            cores: Cores::new(cores, now_us),
            others: self.others,
            rings,
            log: LogRing::default(),
            config: self.config,
            closing: None,
            log_reader: self.log_reader,
            ended: self.ended,
            device_ended: self.device_ended,
            later: VecDeque::new(),
            settling: Vec::new(),
            shown: 0,
            handed_over: false,
            booted: false,
            gathering_until_us: None,
        };
        (system, server)
    }
}

impl System {
    /// Starts what the manifest starts with the system, in its order.
    pub(super) fn start_boot_programs(&mut self) {
        self.introduce();
        self.settle_without_finder();
        for (index, spec) in self.site.manifest.programs.clone().iter().enumerate() {
            let core = self.runs.get(index).map_or(0, |run| run.core);
            if core != spec.core {
                let (name, wanted) = (&spec.name, spec.core);
                self.note(
                    Level::Warn,
                    format_args!(
                        "{name} belongs on core {wanted}, which is not there: core {core} takes it"
                    ),
                );
            }
            if matches!(spec.start, StartPolicy::Later | StartPolicy::Device) {
                self.later.extend(ProgramNumber::from_index(index));
            }
            if spec.start != StartPolicy::Manual {
                let arguments = boot_arguments(&spec.name, &self.config);
                // None of them runs yet and each is in the manifest.
                let _ = self.spawn(&spec.name, arguments, RunMode::Background, Some(core), 0);
            }
        }
    }

    /// Starts a program for a session, unless the manifest gives it one of its own; tells the id of
    /// its run.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        arguments: Vec<String>,
        mode: RunMode,
        core: Option<u32>,
        session: u8,
    ) -> Result<ProgramId, SupervisorError> {
        let number = self.supervisor.find(name)?;
        let spec = self.site.manifest.program(name);
        let core =
            core.unwrap_or_else(|| spec.map_or(0, |spec| placed(spec, self.cores.count().into())));
        let own_session = spec.map(|spec| spec.session).filter(|own| *own != 0);
        let session = own_session.unwrap_or(session);
        if core >= self.cores.count() {
            return Err(SupervisorError::NoSuchCore(core));
        }
        if self.booted && !self.cores.takes_programs(core) {
            return Err(SupervisorError::CoreDown(core));
        }
        self.site.check_arguments(number, &arguments)?;
        let (run, actions) = self.supervisor.spawn(name, mode, session)?;
        if core != self.core_of(number) {
            self.withdraw_expectation(number);
        }
        if let Some(known) = self.runs.get_mut(number.index()) {
            known.arguments = arguments;
            known.core = core;
            known.session = session;
        }
        self.carry_out(actions);
        let started = self.supervisor.program(number);
        match started.and_then(init::supervise::Program::start_failure).cloned() {
            Some(failure) => Err(SupervisorError::NotStarted { name: name.to_string(), failure }),
            None => Ok(run),
        }
    }

    /// Carries out what the supervisor decided, in order, and sets the clock.
    pub(super) fn carry_out(&mut self, actions: Vec<Action<Waiter>>) {
        self.do_in_order(actions);
        self.set_clock();
    }

    fn do_in_order(&mut self, actions: Vec<Action<Waiter>>) {
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
    }

    /// The interrupt key was pressed at the terminals of these sessions.
    pub(super) fn interrupt(&mut self, sessions: impl IntoIterator<Item = u8>) {
        for session in sessions {
            let actions = self.supervisor.interrupt(session, self.site.platform.now_us());
            self.carry_out(actions);
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        if let Some(closing) = &mut self.closing {
            // Whatever ends now stays ended.
            closing.tick(&mut self.site.platform);
            return;
        }
        self.tend_cores();
        for (number, silent_us) in self.site.feel_pulses() {
            self.unresponsive(number, silent_us);
        }
        self.start_later();
        self.tend_devices();
        let actions = self.supervisor.tick(self.site.platform.now_us());
        self.do_in_order(actions);
        self.tend_rings();
        let taken = signals(self.site.answer_for_the_absent(|server| self.is_gone(server)));
        if taken.line {
            self.others.acknowledge();
        }
        self.interrupt(taken.interrupted());
        self.set_clock();
    }

    /// Whether callers on this core wait for a program in vain: it does not run and is not about
    /// to, or it runs on another core.
    fn is_gone(&self, server: ProgramNumber) -> bool {
        use init::service::is_gone;
        is_gone(self.state_of(server)) || self.core_of(server) != 0
    }

    /// Says what can be done about a program that was given up. Where nobody can give a command
    /// any more, that has to reach the person past whatever is quiet or broken; and a script that
    /// cannot go on ends the machine.
    fn advise(&mut self, number: ProgramNumber) {
        let name = self.name(number);
        if remedy(&self.site.manifest, number) == Remedy::Command {
            self.note(Level::Error, format_args!("`run {name}` starts {name} again"));
            return;
        }
        let text = alloc::format!("no command can be given without {name}: reset the machine");
        self.note(Level::Error, format_args!("{text}"));
        if self.config.quiet {
            self.site.platform.print(format_args!("init: {name} has failed too often; {text}\n"));
        }
        if self.config.script.is_some() {
            self.close(End::Off(FAILED));
        }
    }

    /// A thread of one of this core's programs did something that it may not.
    pub(super) fn fault(&mut self, number: ProgramNumber, label: u64, words: &[u64]) {
        match self.site.death(number, label, words) {
            None => {}
            Some(Death::Fault(report)) => self.faulted(number, report),
            Some(Death::Ordered(event)) => self.killed_at(number, event),
        }
    }

    /// A program did something that it may not.
    pub(super) fn faulted(&mut self, number: ProgramNumber, report: FaultReport) {
        let actions = self.supervisor.faulted(number, report, self.site.platform.now_us());
        self.carry_out(actions);
    }

    /// A program ended itself where it was told to.
    pub(super) fn killed_at(&mut self, number: ProgramNumber, event: u64) {
        let actions = self.supervisor.killed_at(number, event, self.site.platform.now_us());
        self.carry_out(actions);
    }

    /// A program has not said for so long that it is alive.
    pub(super) fn unresponsive(&mut self, number: ProgramNumber, silent_us: u64) {
        let now_us = self.site.platform.now_us();
        let actions = self.supervisor.unresponsive(number, silent_us, now_us);
        self.carry_out(actions);
    }

    /// Ends the machine's run, as soon as the output so far has left.
    pub(super) fn close(&mut self, end: End) {
        self.closing = Some(Closing::new(end, self.site.platform.now_us()));
        self.set_clock();
    }

    /// Adds a record to the log, tells who shows it, and shows it while nobody else does.
    pub(super) fn append(&mut self, program: &str, level: Level, target: &str, message: &str) {
        let now_us = self.site.platform.now_us();
        let record = self.log.append(now_us, program, level, target, message);
        let next = record.seq + 1;
        if !self.is_shown_by_another() {
            self.shown = next;
            if !self.config.quiet && level <= SHOWN {
                let (seconds, rest) = (now_us / 1_000_000, now_us % 1_000_000);
                let text = format_args!("[{seconds:5}.{rest:06}] {program}: {message}\n");
                self.site.platform.print(text);
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
        super::program::name(&self.site.manifest, number).to_string()
    }

    pub(super) fn note(&mut self, level: Level, message: fmt::Arguments<'_>) {
        self.append("init", level, "init", &message.to_string());
    }

    fn introduce(&mut self) {
        let machine = self.site.platform.machine.clone();
        let (name, cores) = (self.site.manifest.name.clone(), self.cores_in_words());
        self.note(
            Level::Info,
            format_args!(
                "D3OS {}, image `{name}`: {cores}, {} MiB of RAM, {} MHz",
                env!("CARGO_PKG_VERSION"),
                self.ram_bytes() >> 20,
                machine.tsc_mhz,
            ),
        );
        let free = self.site.platform.memory.available() >> 10;
        let programs: u64 = self.site.programs.iter().map(Program::bytes).sum();
        let count = self.site.programs.len();
        self.note(
            Level::Info,
            format_args!("{count} programs, {} KiB set aside, {free} KiB free", programs >> 10),
        );
    }

    /// Whether the log's reader shows it. One that was given up does not, nor can it on the serial line
    /// if that line's driver was: then what happens is shown there by init.
    fn is_shown_by_another(&self) -> bool {
        let Some(reader) = &self.log_reader else { return false };
        let driver = driver_of_port(&self.site.manifest, SERIAL_PORTS.first);
        self.handed_over
            && !self.is_given_up(reader.program)
            && !driver.is_some_and(|driver| self.is_given_up(driver))
    }

    fn is_given_up(&self, number: ProgramNumber) -> bool {
        let state = self.supervisor.program(number).map(init::supervise::Program::state);
        matches!(state, Some(ProgramState::GivenUp | ProgramState::Stopped))
    }

    /// The clock ticks while something waits for time to pass, and for the hearts of programs and of
    /// other cores.
    pub(super) fn set_clock(&mut self) {
        self.tell_given_up();
        let has_absent = || unserved(&self.site.manifest, &self.supervisor).next().is_some();
        let now_us = self.site.platform.now_us();
        let is_pressing = self.supervisor.next_due_us().is_some()
            || self.closing.is_some()
            || !self.later.is_empty()
            || self.waits_in_vain_for_devices()
            || self.cores.has_changes()
            || self.rings.as_ref().is_some_and(|rings| rings.is_pressing(now_us))
            || (self.booted && has_absent());
        self.site.ticker.set_pace(match () {
            () if is_pressing => Pace::Fast,
            () if self.cores.count() > 1 || self.site.has_pulses() => Pace::Slow,
            () => Pace::Still,
        });
    }
}
