//! The supervisor's decisions: which program runs, who is told, when it is started again.
//!
//! A state machine without side effects. Events are methods, time is an argument in microseconds
//! since the machine started, and what has to be done comes back as [`Action`]s for the process to
//! carry out in order. `W` is whatever answers a program that waits for another's end.
//!
//! ```text
//!             spawn            started             ended, not to be restarted
//!   Stopped --------> Starting --------> Running -----------------------------> Stopped / Faulted
//!                        ^                  |
//!                        |   pause over     | ended, to be restarted
//!                        +--- BackingOff <--+----> GivenUp (too many failures in a row)
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use libd3os::call::Caller;
use libd3os::image::RestartPolicy;
use libd3os::service::log::Level;
use libd3os::service::supervisor::{
    Exit, FaultReport, ProgramId, ProgramState, RunMode, StartFailure, SupervisorError,
};

use serde::{Deserialize, Serialize};

use crate::own;

/// Pause before the first restart after a failure; it doubles with each further failure.
pub const FIRST_PAUSE_US: u64 = 10_000;
/// Longest pause.
pub const LONGEST_PAUSE_US: u64 = 5_000_000;
/// A program that ran for so long has recovered: its failures are forgotten.
pub const RECOVERED_US: u64 = 10_000_000;
/// Failures in a row after which a program is given up.
pub const MOST_FAILURES: u32 = 8;

/// A program of the manifest, counted from 1 in the manifest's order. It is what badges carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProgramNumber(NonZeroU32);

impl ProgramNumber {
    /// The program with this number, which is not zero.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The program at this position of the manifest.
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        u32::try_from(index).ok().and_then(|index| index.checked_add(1)).and_then(Self::new)
    }

    /// Its position in the manifest.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The badge with which it calls other programs when it belongs to this session. A manifest of more
    /// than 65,535 programs does not fit in an archive's memory.
    #[must_use]
    pub fn caller(self, session: u8) -> Caller {
        Caller::new(u16::try_from(self.0.get()).unwrap_or(u16::MAX), session)
    }
}

impl fmt::Display for ProgramNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the process has to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<W> {
    /// Make the program and let it run; then tell [`Supervisor::started`] or
    /// [`Supervisor::start_failed`].
    Start(ProgramNumber),
    /// Tell its callers that it is gone, and take it apart.
    Destroy(ProgramNumber),
    /// Tell how the program ended that this one waited for.
    Answer(W, Exit),
    /// Drop this: the one who waited is gone.
    Forget(W),
    /// Log this about the program.
    Notice(ProgramNumber, Level, String),
    /// Say what can be done about a program that was given up.
    Advise(ProgramNumber),
}

/// What is known about one program.
#[derive(Debug)]
pub struct Program<W> {
    name: String,
    policy: RestartPolicy,
    state: ProgramState,
    run: ProgramId,
    last_exit: Option<Exit>,
    restarts: u32,
    ends: u32,
    failures: u32,
    started_us: u64,
    due_us: Option<u64>,
    waiters: Vec<(ProgramNumber, W)>,
}

impl<W> Program<W> {
    fn new(name: String, policy: RestartPolicy) -> Self {
        Self {
            name,
            policy,
            state: ProgramState::Stopped,
            run: ProgramId(0),
            last_exit: None,
            restarts: 0,
            ends: 0,
            failures: 0,
            started_us: 0,
            due_us: None,
            waiters: Vec::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> ProgramState {
        self.state
    }

    /// Its latest run; 0 if it never ran.
    #[must_use]
    pub fn run(&self) -> ProgramId {
        self.run
    }

    /// Times it was started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Times it ended, in whatever way.
    #[must_use]
    pub fn ends(&self) -> u32 {
        self.ends
    }

    /// How its latest run that ended did so.
    #[must_use]
    pub fn last_exit(&self) -> Option<&Exit> {
        self.last_exit.as_ref()
    }

    /// Why it could not be made, if that is how its latest run ended.
    #[must_use]
    pub fn start_failure(&self) -> Option<&StartFailure> {
        match &self.last_exit {
            Some(Exit::NotStarted(failure)) if !self.is_live() => Some(failure),
            _ => None,
        }
    }

    /// Whether it exists: has memory in use, capabilities, perhaps callers.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, ProgramState::Starting | ProgramState::Running)
    }

    /// Microseconds since its start, 0 while it does not run.
    #[must_use]
    pub fn uptime_us(&self, now_us: u64) -> u64 {
        if self.is_live() { now_us.saturating_sub(self.started_us) } else { 0 }
    }

    fn restarts_after(&self, exit: &Exit) -> bool {
        match self.policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => !matches!(exit, Exit::Code(0) | Exit::Interrupted),
            RestartPolicy::Never => false,
        }
    }
}

/// All programs of the image.
#[derive(Debug)]
pub struct Supervisor<W> {
    programs: Vec<Program<W>>,
    /// Of each session the program that its interrupt key ends, where there is one.
    foreground: Vec<(u8, ProgramNumber)>,
    runs: u32,
}

impl<W> Supervisor<W> {
    /// A supervisor of these programs (name, policy), none of which runs.
    pub fn new(programs: impl IntoIterator<Item = (String, RestartPolicy)>) -> Self {
        let programs = programs.into_iter().map(|(name, policy)| Program::new(name, policy));
        Self { programs: programs.collect(), foreground: Vec::new(), runs: 0 }
    }

    /// Every program with its number.
    pub fn programs(&self) -> impl Iterator<Item = (ProgramNumber, &Program<W>)> {
        let numbers = (1..).map_while(ProgramNumber::new);
        numbers.zip(&self.programs)
    }

    /// One program, or `None` where the image has fewer.
    #[must_use]
    pub fn program(&self, number: ProgramNumber) -> Option<&Program<W>> {
        self.programs.get(number.index())
    }

    /// The program of this name.
    ///
    /// # Errors
    /// [`SupervisorError::NoSuchProgram`], or [`SupervisorError::Indispensable`] for init.
    pub fn find(&self, name: &str) -> Result<ProgramNumber, SupervisorError> {
        if name == own::NAME {
            return Err(SupervisorError::Indispensable);
        }
        self.programs()
            .find(|(_, program)| program.name == name)
            .map(|(number, _)| number)
            .ok_or_else(|| SupervisorError::NoSuchProgram(name.to_string()))
    }

    /// The program that the interrupt key of a session's terminal ends.
    #[must_use]
    pub fn foreground(&self, session: u8) -> Option<ProgramNumber> {
        self.foreground.iter().find(|(of, _)| *of == session).map(|(_, number)| *number)
    }

    /// When [`Self::tick`] has something to do, if ever.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        self.programs.iter().filter_map(|program| program.due_us).min()
    }

    /// Someone wants the program to run.
    ///
    /// # Errors
    /// [`SupervisorError::AlreadyRunning`], or [`SupervisorError::NoSuchProgram`].
    pub fn spawn(
        &mut self,
        name: &str,
        mode: RunMode,
        session: u8,
    ) -> Result<(ProgramId, Vec<Action<W>>), SupervisorError> {
        let number = self.find(name)?;
        let run = ProgramId(self.runs + 1);
        let program = &mut self.programs[number.index()];
        if program.is_live() {
            return Err(SupervisorError::AlreadyRunning(name.to_string()));
        }
        self.runs += 1;
        program.run = run;
        program.failures = 0;
        program.due_us = None;
        program.state = ProgramState::Starting;
        if mode == RunMode::Foreground {
            self.foreground.retain(|(of, _)| *of != session);
            self.foreground.push((session, number));
        }
        Ok((run, alloc::vec![Action::Start(number)]))
    }

    /// The process has let the program run.
    pub fn started(&mut self, number: ProgramNumber, now_us: u64) {
        if let Some(program) = self.programs.get_mut(number.index()) {
            program.state = ProgramState::Running;
            program.started_us = now_us;
        }
    }

    /// The process could not make the program; nothing of it is left.
    pub fn start_failed(&mut self, number: ProgramNumber, failure: StartFailure) -> Vec<Action<W>> {
        let Some(program) = self.programs.get_mut(number.index()) else { return Vec::new() };
        program.state = ProgramState::GivenUp;
        let exit = Exit::NotStarted(failure);
        program.last_exit = Some(exit.clone());
        self.foreground.retain(|(_, known)| *known != number);
        let waiters = core::mem::take(&mut program.waiters);
        let notice = Action::Notice(number, Level::Error, describe(&exit));
        let mut actions = alloc::vec![notice, Action::Advise(number)];
        actions.extend(waiters.into_iter().map(|(_, w)| Action::Answer(w, exit.clone())));
        actions
    }

    /// The program is not to be made after all, as the machine lacks something that it is for. That is
    /// no failure of the program, and nobody can do anything about it.
    pub fn withdraw(&mut self, number: ProgramNumber, failure: StartFailure) -> Vec<Action<W>> {
        let mut actions = self.start_failed(number, failure);
        actions.retain(|action| matches!(action, Action::Answer(..)));
        if let Some(program) = self.programs.get_mut(number.index()) {
            program.state = ProgramState::Stopped;
            let exit = program.last_exit.as_ref().map(describe);
            actions.extend(exit.map(|text| Action::Notice(number, Level::Info, text)));
        }
        actions
    }

    /// The process cannot make the program now: its core does not run, or a device of it is not
    /// there yet. It waits for [`Self::release`].
    pub fn hold(&mut self, number: ProgramNumber) {
        if let Some(program) = self.programs.get_mut(number.index()) {
            program.state = ProgramState::BackingOff;
            program.due_us = None;
        }
    }

    /// The core of this program takes programs again: one that was held is started.
    pub fn release(&mut self, number: ProgramNumber) -> Option<Action<W>> {
        let program = self.programs.get_mut(number.index())?;
        let is_held = program.state == ProgramState::BackingOff && program.due_us.is_none();
        is_held.then(|| {
            program.state = ProgramState::Starting;
            Action::Start(number)
        })
    }

    /// The core that the program ran on was stopped, and the program with it.
    pub fn core_stopped(
        &mut self,
        number: ProgramNumber,
        core: u32,
        now_us: u64,
    ) -> Vec<Action<W>> {
        self.ended(number, Exit::CoreStopped(core), now_us)
    }

    /// The program ended itself.
    pub fn exited(&mut self, number: ProgramNumber, code: i32, now_us: u64) -> Vec<Action<W>> {
        self.ended(number, Exit::Code(code), now_us)
    }

    /// The program's thread did something that it may not, and stands still.
    pub fn faulted(
        &mut self,
        number: ProgramNumber,
        report: FaultReport,
        now_us: u64,
    ) -> Vec<Action<W>> {
        self.ended(number, Exit::Faulted(report), now_us)
    }

    /// The program ended at this event of its trace, where someone wanted it to.
    pub fn killed_at(&mut self, number: ProgramNumber, event: u64, now_us: u64) -> Vec<Action<W>> {
        self.ended(number, Exit::KilledAt(event), now_us)
    }

    /// The program has not answered for so long whether it is alive.
    pub fn unresponsive(
        &mut self,
        number: ProgramNumber,
        silent_us: u64,
        now_us: u64,
    ) -> Vec<Action<W>> {
        self.ended(number, Exit::Unresponsive(silent_us), now_us)
    }

    /// Someone wants the program to end.
    ///
    /// # Errors
    /// [`SupervisorError::NotRunning`], or [`SupervisorError::NoSuchProgram`].
    pub fn kill(&mut self, name: &str, now_us: u64) -> Result<Vec<Action<W>>, SupervisorError> {
        let number = self.find(name)?;
        let program = &mut self.programs[number.index()];
        if program.is_live() {
            return Ok(self.ended(number, Exit::Killed, now_us));
        }
        if program.state == ProgramState::BackingOff {
            program.due_us = None;
            program.state = ProgramState::Stopped;
            let notice = "stopped while waiting for its restart".to_string();
            return Ok(alloc::vec![Action::Notice(number, Level::Info, notice)]);
        }
        Err(SupervisorError::NotRunning(name.to_string()))
    }

    /// The interrupt key was pressed at the terminal of a session.
    pub fn interrupt(&mut self, session: u8, now_us: u64) -> Vec<Action<W>> {
        match self.foreground(session) {
            Some(number) => self.ended(number, Exit::Interrupted, now_us),
            None => Vec::new(),
        }
    }

    /// Program `caller` wants to know how this run ends, and hears it through `waiter`.
    ///
    /// # Errors
    /// [`SupervisorError::NoSuchRun`] with the waiter back, where the run is not any program's
    /// latest.
    pub fn wait(
        &mut self,
        run: ProgramId,
        caller: ProgramNumber,
        waiter: W,
    ) -> Result<Option<Action<W>>, (W, SupervisorError)> {
        let known = self.programs.iter_mut().find(|program| program.run == run && run.0 != 0);
        let Some(program) = known else { return Err((waiter, SupervisorError::NoSuchRun(run))) };
        match (program.is_live(), &program.last_exit) {
            (false, Some(exit)) => Ok(Some(Action::Answer(waiter, exit.clone()))),
            _ => {
                program.waiters.push((caller, waiter));
                Ok(None)
            }
        }
    }

    /// Time has passed: starts what has waited long enough.
    pub fn tick(&mut self, now_us: u64) -> Vec<Action<W>> {
        let mut actions = Vec::new();
        for (number, program) in (1..).map_while(ProgramNumber::new).zip(&mut self.programs) {
            if program.due_us.is_some_and(|due| due <= now_us) {
                program.due_us = None;
                program.restarts += 1;
                program.state = ProgramState::Starting;
                actions.push(Action::Start(number));
            }
        }
        actions
    }

    fn ended(&mut self, number: ProgramNumber, exit: Exit, now_us: u64) -> Vec<Action<W>> {
        let Some(program) = self.programs.get_mut(number.index()).filter(|p| p.is_live()) else {
            return Vec::new();
        };
        program.ends = program.ends.wrapping_add(1);
        let was_foreground =
            self.foreground.extract_if(.., |(_, known)| *known == number).count() > 0;
        let waiters = core::mem::take(&mut program.waiters);
        let audience = match was_foreground && !waiters.is_empty() {
            true => Audience::Waiter,
            false => Audience::Log,
        };
        let mut actions = alloc::vec![Action::Destroy(number)];
        actions.extend(program.settle(number, &exit, audience, now_us));
        actions.extend(waiters.into_iter().map(|(_, w)| Action::Answer(w, exit.clone())));
        actions.extend(self.forget_waits_of(number));
        actions
    }

    /// A program that is gone does not wait for others any more.
    fn forget_waits_of(&mut self, caller: ProgramNumber) -> impl Iterator<Item = Action<W>> {
        self.programs
            .iter_mut()
            .flat_map(move |program| program.waiters.extract_if(.., move |(who, _)| *who == caller))
            .map(|(_, waiter)| Action::Forget(waiter))
    }
}

/// Who tells the person at the terminal how a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// The one who ran it in the foreground and waits for its end: the log then keeps the record
    /// at a level that is not shown, or the person would read it twice.
    Waiter,
    /// Nobody but the log.
    Log,
}

impl<W> Program<W> {
    /// Takes the program from running to what comes after, and says so.
    fn settle(
        &mut self,
        number: ProgramNumber,
        exit: &Exit,
        audience: Audience,
        now_us: u64,
    ) -> Vec<Action<W>> {
        let failed = match exit {
            Exit::Code(code) => *code != 0,
            Exit::Faulted(_) | Exit::NotStarted(_) | Exit::Unresponsive(_) => true,
            Exit::Killed | Exit::KilledAt(_) | Exit::Interrupted | Exit::CoreStopped(_) => false,
        };
        self.count_failure(failed, now_us);
        self.last_exit = Some(exit.clone());
        let what = describe(exit);
        let level = if failed { Level::Error } else { Level::Info };
        let notice = |level, text| Action::Notice(number, level, text);
        if !self.restarts_after(exit) {
            let faulted = matches!(exit, Exit::Faulted(_));
            self.state = if faulted { ProgramState::Faulted } else { ProgramState::Stopped };
            // A clean end is no news.
            return match audience {
                _ if *exit == Exit::Code(0) => Vec::new(),
                Audience::Waiter => alloc::vec![notice(Level::Debug, what)],
                Audience::Log => alloc::vec![notice(level, what)],
            };
        }
        if self.failures > MOST_FAILURES {
            self.state = ProgramState::GivenUp;
            let failures = self.failures;
            let text = format!("{what}; it failed {failures} times in a row and is given up");
            return alloc::vec![notice(Level::Error, text), Action::Advise(number)];
        }
        let pause_us = pause_us(self.failures);
        self.state = ProgramState::BackingOff;
        self.due_us = Some(now_us + pause_us);
        alloc::vec![notice(level, format!("{what}; starts again in {} ms", pause_us / 1000))]
    }

    fn count_failure(&mut self, failed: bool, now_us: u64) {
        if now_us.saturating_sub(self.started_us) >= RECOVERED_US {
            self.failures = 0;
        }
        if failed {
            self.failures += 1;
        }
    }
}

/// The pause before a restart after so many failures in a row.
fn pause_us(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_PAUSE_US << doublings).min(LONGEST_PAUSE_US)
}

/// How a program ended, in words that follow its name.
#[must_use]
pub fn describe(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with code {code}"),
        Exit::Killed => "was killed".to_string(),
        Exit::KilledAt(event) => format!("was killed at event {event} of its trace"),
        Exit::Unresponsive(silent_us) => {
            format!("did not answer for {} ms and was ended", silent_us / 1000)
        }
        Exit::Interrupted => "was interrupted".to_string(),
        Exit::Faulted(report) => describe_fault(report),
        Exit::NotStarted(failure) => format!("cannot be started: {failure}"),
        Exit::CoreStopped(core) => format!("was stopped with core {core}"),
    }
}

fn describe_fault(report: &FaultReport) -> String {
    let place = report.symbol.as_deref().unwrap_or("an unknown function");
    format!("died: {} at {:#x}, in {place} ({:#x})", report.kind, report.address, report.ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libd3os::service::supervisor::FaultKind;
    use proptest::prelude::*;

    type Sut = Supervisor<u32>;

    const UART: usize = 0;
    const HELLO: usize = 1;
    const SHELL: usize = 2;

    fn sut() -> Sut {
        let programs = [
            ("uart", RestartPolicy::Always),
            ("hello", RestartPolicy::Never),
            ("shell", RestartPolicy::OnFailure),
        ];
        Supervisor::new(programs.map(|(name, policy)| (name.to_string(), policy)))
    }

    fn number(index: usize) -> ProgramNumber {
        ProgramNumber::from_index(index).expect("small")
    }

    fn run(sut: &mut Sut, index: usize, mode: RunMode) -> ProgramId {
        let name = sut.programs[index].name.clone();
        let (id, actions) = sut.spawn(&name, mode, 0).expect("can be started");
        assert_eq!(actions, [Action::Start(number(index))]);
        sut.started(number(index), 0);
        id
    }

    fn report() -> FaultReport {
        FaultReport {
            program: "uart".to_string(),
            kind: FaultKind::NullDereference,
            address: 8,
            ip: 0x40_1000,
            symbol: Some("uart::main+0x10".to_string()),
            detail: String::new(),
        }
    }

    fn state(sut: &Sut, index: usize) -> ProgramState {
        sut.programs[index].state
    }

    #[test]
    fn an_end_is_told_to_all_who_wait_and_later_to_who_asks() {
        let mut sut = sut();
        let id = run(&mut sut, HELLO, RunMode::Foreground);
        assert_eq!(sut.wait(id, number(SHELL), 7), Ok(None));
        assert_eq!(
            sut.exited(number(HELLO), 3, 50),
            [
                Action::Destroy(number(HELLO)),
                Action::Notice(number(HELLO), Level::Debug, "ended with code 3".to_string()),
                Action::Answer(7, Exit::Code(3)),
            ]
        );
        assert_eq!((state(&sut, HELLO), sut.foreground(0)), (ProgramState::Stopped, None));
        assert_eq!(sut.programs.iter().map(Program::ends).collect::<Vec<_>>(), [0, 1, 0]);
        let late = sut.wait(id, number(SHELL), 8);
        assert_eq!(late, Ok(Some(Action::Answer(8, Exit::Code(3)))));
        let unknown = sut.wait(ProgramId(99), number(SHELL), 9);
        assert_eq!(unknown, Err((9, SupervisorError::NoSuchRun(ProgramId(99)))));
        let never_ran = sut.wait(ProgramId(0), number(SHELL), 9);
        assert_eq!(never_ran, Err((9, SupervisorError::NoSuchRun(ProgramId(0)))));
    }

    #[test]
    fn a_second_run_has_a_new_id_and_a_running_program_is_not_started_twice() {
        let mut sut = sut();
        let first = run(&mut sut, HELLO, RunMode::Background);
        let again = sut.spawn("hello", RunMode::Background, 0);
        assert_eq!(again, Err(SupervisorError::AlreadyRunning("hello".to_string())));
        sut.exited(number(HELLO), 0, 1);
        let second = run(&mut sut, HELLO, RunMode::Background);
        assert_ne!(first, second);
        assert!(sut.wait(first, number(SHELL), 1).is_err());
    }

    #[test]
    fn init_is_neither_started_nor_ended() {
        let mut sut = sut();
        assert_eq!(sut.kill("init", 1), Err(SupervisorError::Indispensable));
        let started = sut.spawn("init", RunMode::Background, 0);
        assert_eq!(started, Err(SupervisorError::Indispensable));
    }

    #[test]
    fn the_interrupt_key_ends_the_foreground_program_only() {
        let mut sut = sut();
        run(&mut sut, UART, RunMode::Background);
        assert_eq!(sut.interrupt(0, 1), []);
        run(&mut sut, HELLO, RunMode::Foreground);
        assert_eq!(sut.interrupt(1, 2), [], "another terminal's key");
        assert_eq!(sut.interrupt(0, 2)[0], Action::Destroy(number(HELLO)));
        assert_eq!(
            (state(&sut, HELLO), state(&sut, UART)),
            (ProgramState::Stopped, ProgramState::Running)
        );
        assert_eq!(sut.interrupt(0, 3), []);
    }

    #[test]
    fn pauses_double_until_the_program_is_given_up() {
        let mut sut = sut();
        run(&mut sut, UART, RunMode::Background);
        let mut now = 0;
        let mut pauses = Vec::new();
        while state(&sut, UART) == ProgramState::Running {
            let actions = sut.faulted(number(UART), report(), now);
            let Some(due) = sut.next_due_us() else {
                assert_eq!(actions.last(), Some(&Action::Advise(number(UART))));
                break;
            };
            assert_eq!(sut.tick(due - 1), []);
            assert_eq!(sut.tick(due), [Action::Start(number(UART))]);
            pauses.push((due - now) / 1000);
            now = due;
            sut.started(number(UART), now);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280]);
        assert_eq!((state(&sut, UART), sut.programs[UART].restarts), (ProgramState::GivenUp, 8));
        run(&mut sut, UART, RunMode::Background);
        assert_eq!(state(&sut, UART), ProgramState::Running);
    }

    #[test]
    fn whatever_it_fails_of_a_program_is_given_up_in_words() {
        type Fail = fn(&mut Sut, u64) -> Vec<Action<u32>>;
        let failures: [Fail; 3] = [
            |sut, now| sut.exited(number(UART), 3, now),
            |sut, now| sut.faulted(number(UART), report(), now),
            |sut, now| sut.unresponsive(number(UART), 4_000_000, now),
        ];
        let words = ["ended with code 3", "died: null", "did not answer for 4000 ms and was ended"];
        for (fail, words) in failures.into_iter().zip(words) {
            let mut sut = sut();
            run(&mut sut, UART, RunMode::Background);
            for _ in 0..MOST_FAILURES {
                let actions = fail(&mut sut, 0);
                assert!(
                    matches!(&actions[1], Action::Notice(_, Level::Error, text) if text.contains("; starts again in "))
                );
                let due = sut.next_due_us().expect("a pause");
                assert_eq!(sut.tick(due), [Action::Start(number(UART))]);
                sut.started(number(UART), 0);
            }
            let [Action::Destroy(_), Action::Notice(_, Level::Error, text), Action::Advise(_)] =
                &fail(&mut sut, 0)[..]
            else {
                panic!("not given up")
            };
            assert!(text.starts_with(words), "{text}");
            assert!(text.ends_with("; it failed 9 times in a row and is given up"), "{text}");
        }
    }

    #[test]
    fn killing_is_no_failure_however_often_and_where() {
        let mut sut = sut();
        run(&mut sut, UART, RunMode::Background);
        for event in 0..100 {
            let text = format!("was killed at event {event} of its trace; starts again in 10 ms");
            let notice = Action::Notice(number(UART), Level::Info, text);
            assert_eq!(sut.killed_at(number(UART), event, 0)[1], notice);
            assert_eq!(sut.tick(FIRST_PAUSE_US), [Action::Start(number(UART))]);
            sut.started(number(UART), 0);
        }
    }

    #[test]
    fn a_long_run_forgives_failures() {
        let mut sut = sut();
        run(&mut sut, UART, RunMode::Background);
        for n in 1..100 {
            let now = n * 2 * RECOVERED_US;
            sut.faulted(number(UART), report(), now);
            assert_eq!(sut.next_due_us(), Some(now + FIRST_PAUSE_US));
            sut.tick(now + FIRST_PAUSE_US);
            sut.started(number(UART), now + FIRST_PAUSE_US);
        }
    }

    #[test]
    fn policies_differ_in_what_they_restart() {
        let ends = [
            Exit::Code(0),
            Exit::Code(1),
            Exit::Killed,
            Exit::KilledAt(5),
            Exit::Interrupted,
            Exit::Faulted(report()),
            Exit::Unresponsive(4_000_000),
            Exit::CoreStopped(1),
        ];
        let restarted = |policy| {
            let program = Program::<u32>::new(String::new(), policy);
            ends.clone().map(|exit| program.restarts_after(&exit))
        };
        assert_eq!(restarted(RestartPolicy::Always), [true; 8]);
        assert_eq!(
            restarted(RestartPolicy::OnFailure),
            [false, true, true, true, false, true, true, true]
        );
        assert_eq!(restarted(RestartPolicy::Never), [false; 8]);
    }

    #[test]
    fn a_fault_without_restart_stays_visible() {
        let mut sut = sut();
        run(&mut sut, HELLO, RunMode::Foreground);
        let actions = sut.faulted(number(HELLO), report(), 1);
        let text = "died: null dereference at 0x8, in uart::main+0x10 (0x401000)".to_string();
        assert_eq!(actions[1], Action::Notice(number(HELLO), Level::Error, text));
        assert_eq!(state(&sut, HELLO), ProgramState::Faulted);
    }

    #[test]
    fn who_waits_in_the_foreground_tells_the_end_and_the_log_need_not_show_it() {
        let level = |mode, waits: bool, index| {
            let mut sut = sut();
            let id = run(&mut sut, index, mode);
            if waits {
                sut.wait(id, number(SHELL), 1).expect("runs");
            }
            match sut.faulted(number(index), report(), 1).into_iter().nth(1) {
                Some(Action::Notice(_, level, _)) => level,
                other => panic!("no notice but {other:?}"),
            }
        };
        assert_eq!(level(RunMode::Foreground, true, HELLO), Level::Debug);
        assert_eq!(level(RunMode::Foreground, false, HELLO), Level::Error);
        assert_eq!(level(RunMode::Background, true, HELLO), Level::Error);
        // Its restart is news that no waiter is told.
        assert_eq!(level(RunMode::Foreground, true, UART), Level::Error);
    }

    #[test]
    fn a_dead_waiter_is_forgotten() {
        let mut sut = sut();
        let id = run(&mut sut, HELLO, RunMode::Foreground);
        run(&mut sut, SHELL, RunMode::Background);
        sut.wait(id, number(SHELL), 5).expect("runs");
        let actions = sut.kill("shell", 1).expect("runs");
        assert_eq!(actions.last(), Some(&Action::Forget(5)));
        assert!(!sut.exited(number(HELLO), 0, 2).contains(&Action::Answer(5, Exit::Code(0))));
    }

    #[test]
    fn killing_while_backing_off_stops_for_good() {
        let mut sut = sut();
        run(&mut sut, UART, RunMode::Background);
        sut.faulted(number(UART), report(), 1);
        assert_eq!(state(&sut, UART), ProgramState::BackingOff);
        sut.kill("uart", 2).expect("it waits");
        assert_eq!((state(&sut, UART), sut.next_due_us()), (ProgramState::Stopped, None));
        assert_eq!(sut.kill("uart", 3), Err(SupervisorError::NotRunning("uart".to_string())));
    }

    #[test]
    fn a_program_is_held_while_its_core_does_not_run() {
        let mut sut = sut();
        run(&mut sut, UART, RunMode::Background);
        let actions = sut.core_stopped(number(UART), 3, 5);
        let text = "was stopped with core 3; starts again in 10 ms".to_string();
        assert_eq!(actions[1], Action::Notice(number(UART), Level::Info, text));
        assert_eq!(sut.tick(5 + FIRST_PAUSE_US), [Action::Start(number(UART))]);
        sut.hold(number(UART));
        assert_eq!((state(&sut, UART), sut.next_due_us()), (ProgramState::BackingOff, None));
        assert_eq!(sut.tick(1 << 40), []);
        assert_eq!(sut.release(number(UART)), Some(Action::Start(number(UART))));
        assert_eq!(sut.release(number(UART)), None);
        assert_eq!(sut.programs[UART].restarts, 1);
        sut.hold(number(UART));
        sut.kill("uart", 9).expect("it waits");
        assert_eq!((state(&sut, UART), sut.release(number(UART))), (ProgramState::Stopped, None));
    }

    #[test]
    fn a_program_whose_device_the_machine_lacks_is_stopped_without_fuss() {
        let mut sut = sut();
        let (id, _) = sut.spawn("uart", RunMode::Background, 0).expect("stopped");
        sut.hold(number(UART));
        sut.wait(id, number(SHELL), 4).expect("held");
        let failure = StartFailure::NoDevice("com1".to_string());
        let text = "cannot be started: this machine has no `com1`".to_string();
        assert_eq!(
            sut.withdraw(number(UART), failure.clone()),
            [
                Action::Answer(4, Exit::NotStarted(failure.clone())),
                Action::Notice(number(UART), Level::Info, text),
            ]
        );
        assert_eq!((state(&sut, UART), sut.release(number(UART))), (ProgramState::Stopped, None));
        assert_eq!(sut.programs[UART].start_failure(), Some(&failure));
    }

    #[test]
    fn a_failed_start_is_reported_and_ends_the_wait() {
        let mut sut = sut();
        let (id, _) = sut.spawn("hello", RunMode::Foreground, 0).expect("stopped");
        sut.wait(id, number(SHELL), 4).expect("starting");
        let failure = StartFailure::TooEarly;
        let actions = sut.start_failed(number(HELLO), failure.clone());
        assert!(actions.contains(&Action::Answer(4, Exit::NotStarted(failure.clone()))));
        assert_eq!(sut.programs[HELLO].start_failure(), Some(&failure));
        assert_eq!((state(&sut, HELLO), sut.foreground(0)), (ProgramState::GivenUp, None));
    }

    proptest! {
        /// Whatever happens: every waiter is answered or forgotten exactly once or still waits for
        /// a live program, and starts and destroys of a program alternate.
        #[test]
        fn no_waiter_is_lost(steps in prop::collection::vec((0usize..3, 0u8..9), 0..120)) {
            let mut sut = sut();
            let mut live = [false; 3];
            let (mut asked, mut settled) = (0u32, 0usize);
            let mut now = 0;
            for (index, event) in steps {
                now += 3_000;
                let (name, session) = (sut.programs[index].name.clone(), u8::from(index == HELLO));
                let actions = match event {
                    0 => sut.spawn(&name, RunMode::Foreground, session).map(|(_, actions)| actions).unwrap_or_default(),
                    1 => sut.exited(number(index), i32::from(event), now),
                    2 => sut.faulted(number(index), report(), now),
                    3 => sut.kill(&name, now).unwrap_or_default(),
                    4 => sut.interrupt(session, now),
                    5 => sut.tick(now),
                    6 => sut.killed_at(number(index), 1, now),
                    7 => sut.unresponsive(number(index), 1, now),
                    _ => {
                        let run = sut.programs[index].run;
                        let answer = sut.wait(run, number(SHELL), asked);
                        asked += 1;
                        settled += usize::from(answer.is_err());
                        answer.ok().flatten().into_iter().collect()
                    }
                };
                for action in actions {
                    match action {
                        Action::Start(n) => {
                            prop_assert!(!std::mem::replace(&mut live[n.index()], true));
                            sut.started(n, now);
                        }
                        Action::Destroy(n) => prop_assert!(std::mem::replace(&mut live[n.index()], false)),
                        Action::Answer(..) | Action::Forget(_) => settled += 1,
                        Action::Notice(..) | Action::Advise(_) => {}
                    }
                }
                let waiting: usize = sut.programs.iter().map(|p| p.waiters.len()).sum();
                prop_assert_eq!(waiting + settled, asked as usize);
                prop_assert!(sut.programs.iter().all(|p| p.waiters.is_empty() || p.is_live()));
                for (program, live) in sut.programs.iter().zip(live) {
                    prop_assert_eq!(program.is_live(), live);
                }
            }
        }
    }
}
