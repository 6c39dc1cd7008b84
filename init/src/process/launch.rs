//! Starting and ending programs, on whichever core: what core 0's init does about each.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use init::devices::Readiness;
use init::grants::{called, tie};
use init::message::{Absence, Command, RingChange, Route, Start};
use init::rings::{Action, Candidate, Seating};
use init::service::is_gone;
use init::supervise::{Program, ProgramNumber};
use libd3os::image::StartPolicy;
use libd3os::region::Region;
use libd3os::ring::{Pair, Side};
use libd3os::service::log::Level;
use libd3os::service::supervisor::{ProgramState, StartFailure, SupervisorError};

use super::platform::Platform;
use super::system::System;
use super::trouble::{Doing, Refused};
use super::window::PAIR_FRAMES;

/// What is known of a program's latest start, or next one.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The core.
    pub(super) core: u32,
    /// The arguments.
    pub(super) arguments: Vec<String>,
    /// The session: the manifest's, or of who started it.
    pub(super) session: u8,
    /// How it reaches services on other cores.
    pub(super) routes: Vec<Route>,
    /// Number of the start.
    pub(super) serial: u32,
    /// The init of its core was told that it ended and will be started again.
    pub(super) is_expected: bool,
}

/// Where the making of a program takes place.
enum Made {
    /// Here: it is done.
    Here,
    /// On another core, which will tell.
    Elsewhere,
}

impl System {
    /// The core that a program runs on, or would.
    pub(super) fn core_of(&self, number: ProgramNumber) -> u32 {
        self.runs.get(number.index()).map_or(0, |run| run.core)
    }

    /// The session that a program belongs to.
    pub(super) fn session_of(&self, number: ProgramNumber) -> u8 {
        self.runs.get(number.index()).map_or(0, |run| run.session)
    }

    /// Starts a program now, or when its core is up.
    pub(super) fn start(&mut self, number: ProgramNumber) {
        let core = self.core_of(number);
        if core != 0 && !self.cores.takes_commands(core) {
            self.supervisor.hold(number);
            return;
        }
        match self.readiness(number) {
            Readiness::Ready => {}
            Readiness::Waits => return self.supervisor.hold(number),
            Readiness::Lacks(device) => return self.lacks(number, device),
        }
        match self.try_start(number) {
            Ok(Made::Here) => self.has_started(number),
            Ok(Made::Elsewhere) => {}
            Err(failure) => self.has_not_started(number, failure),
        }
    }

    /// A program runs.
    pub(super) fn has_started(&mut self, number: ProgramNumber) {
        self.supervisor.started(number, self.site.platform.now_us());
        self.tell_started(number);
    }

    /// A program could not be made.
    pub(super) fn has_not_started(&mut self, number: ProgramNumber, failure: StartFailure) {
        self.leave_rings(number);
        let actions = self.supervisor.start_failed(number, failure);
        self.carry_out(actions);
    }

    /// Ends a program, which the supervisor says is gone.
    pub(super) fn destroy(&mut self, number: ProgramNumber) {
        let core = self.core_of(number);
        if core == 0 {
            if let Err(refused) = self.site.destroy(number) {
                self.note(Level::Error, format_args!("{refused}"));
            }
            self.devices_ended(number);
        } else {
            let is_back = self.state_of(number) == ProgramState::BackingOff;
            self.tell_end(number, if is_back { Absence::Passing } else { Absence::Lasting });
        }
        self.leave_rings(number);
        // Before it may be started again: whoever is told then knows of no call of the new one.
        self.ended.iter().for_each(|ended| ended.signal());
    }

    /// Lets a program end itself when it has noted so many more events in its trace.
    ///
    /// # Errors
    /// There is no such program, or it does not run.
    pub(super) fn end_after(&mut self, name: &str, more: u32) -> Result<(), SupervisorError> {
        let number = self.supervisor.find(name)?;
        if self.state_of(number) != ProgramState::Running {
            return Err(SupervisorError::NotRunning(name.to_string()));
        }
        match self.core_of(number) {
            0 => {
                if let Err(refused) = self.site.end_after(number, more) {
                    self.note(Level::Error, format_args!("{refused}"));
                }
            }
            core => self.others.command(core, &Command::EndAfter(number, more)),
        }
        Ok(())
    }

    /// How a program is doing.
    pub(super) fn state_of(&self, number: ProgramNumber) -> ProgramState {
        self.supervisor.program(number).map_or(ProgramState::Stopped, Program::state)
    }

    /// Looks after the rings of programs that ended.
    pub(super) fn tend_rings(&mut self) {
        let Some(rings) = self.rings.as_mut().filter(|rings| rings.has_closing()) else { return };
        let platform = &mut self.site.platform;
        let has_ended = |region, side: Side| {
            // Where the memory cannot be looked at, nobody is known to be done with it.
            with_pair(platform, region, |pair| pair.has_ended(side)).unwrap_or(false)
        };
        let actions = rings.tick(has_ended);
        self.change_rings(actions);
    }

    /// Tells rings, and callers on their cores, of programs that will not come back after all.
    pub(super) fn tell_given_up(&mut self) {
        let programs = self.supervisor.programs().filter(|(_, program)| !program.is_live());
        let ended: Vec<_> = programs.map(|(number, _)| number).collect();
        for number in ended {
            if !self.returns(number)
                && let Some(rings) = &mut self.rings
            {
                rings.given_up(number);
            }
            if is_gone(self.state_of(number)) {
                self.withdraw_expectation(number);
            }
        }
    }

    /// A program does not come back where it was expected: it will not at all, or elsewhere.
    pub(super) fn withdraw_expectation(&mut self, number: ProgramNumber) {
        if self.runs.get(number.index()).is_some_and(|run| run.is_expected) {
            self.tell_end(number, Absence::Lasting);
        }
    }

    /// Tells the init of a program's core that it ends, or has ended, and what its callers there
    /// have to expect.
    fn tell_end(&mut self, number: ProgramNumber, absence: Absence) {
        let Some(run) = self.runs.get_mut(number.index()) else { return };
        run.is_expected = absence == Absence::Passing;
        if self.cores.takes_commands(run.core) {
            self.others.command(run.core, &Command::Kill(number, absence));
        }
    }

    fn try_start(&mut self, number: ProgramNumber) -> Result<Made, StartFailure> {
        let core = self.core_of(number);
        let seating = self.seat(number, core)?;
        let (arguments, session) = (self.start_arguments(number), self.session_of(number));
        let Some(run) = self.runs.get_mut(number.index()) else { return Ok(Made::Here) };
        run.serial = run.serial.wrapping_add(1);
        run.routes.clone_from(&seating.routes);
        let (line, routes) = (seating.line, seating.routes);
        let start = Start { program: number, serial: run.serial, arguments, session, line, routes };
        self.change_rings(seating.before);
        let made = if core == 0 {
            self.site.start(&start)?;
            Made::Here
        } else {
            self.others.command(core, &Command::Start(start));
            Made::Elsewhere
        };
        self.change_rings(seating.after);
        Ok(made)
    }

    /// Line and rings for a start on this core.
    fn seat(&mut self, number: ProgramNumber, core: u32) -> Result<Seating, StartFailure> {
        let manifest = &self.site.manifest;
        let Some(spec) = manifest.programs.get(number.index()) else {
            return Ok(Seating::default());
        };
        let core_of = |other| self.core_of(other);
        if let Some((kind, name)) = tie(manifest, spec, core, core_of) {
            return Err(StartFailure::BoundToCore { kind, name });
        }
        let elsewhere = called(manifest, spec).filter(|(_, server)| core_of(*server) != core);
        let candidate = Candidate {
            program: number,
            core,
            session: self.session_of(number),
            serves: !spec.serves.is_empty(),
            calls: elsewhere.map(|(name, server)| (name.to_string(), server)).collect(),
        };
        match &mut self.rings {
            Some(rings) => rings.start(&candidate).map_err(StartFailure::Rings),
            None => Ok(Seating::default()),
        }
    }

    /// What was asked for, and for the program that shows the log where to begin, and whether to
    /// show it at all.
    fn start_arguments(&self, number: ProgramNumber) -> Vec<String> {
        let Some(run) = self.runs.get(number.index()) else { return Vec::new() };
        let mut arguments = run.arguments.clone();
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
        let restarts = self.supervisor.program(number).map_or(0, Program::restarts);
        let spec = self.site.manifest.program(&name);
        if restarts > 0 {
            self.note(Level::Info, format_args!("{name} was started again"));
        } else if let Some(spec) = spec.filter(|spec| spec.start != StartPolicy::Manual) {
            // What comes after the prompt is not to be read in the middle of a line.
            let level = if spec.start == StartPolicy::Boot { Level::Info } else { Level::Debug };
            self.note(level, format_args!("{name} was started"));
        }
    }

    /// Whether a program that does not run will be started again, on a core that is there or comes
    /// up.
    fn returns(&self, number: ProgramNumber) -> bool {
        self.state_of(number) == ProgramState::BackingOff
            && self.cores.takes_programs(self.core_of(number))
    }

    fn leave_rings(&mut self, number: ProgramNumber) {
        let returns = self.returns(number);
        let now_us = self.site.platform.now_us();
        let actions = self.rings.as_mut().map(|rings| rings.ended(number, returns, now_us));
        self.change_rings(actions.unwrap_or_default());
    }

    fn change_rings(&mut self, actions: Vec<Action>) {
        for action in actions {
            let changed = match action {
                Action::Clear(region) => self.clear(&region),
                Action::End(region, side) => {
                    with_pair(&mut self.site.platform, region, |pair| pair.end(side))
                }
                Action::Change(change) => self.change(change),
            };
            if let Err(refused) = changed {
                self.note(Level::Error, format_args!("{refused}"));
            }
        }
    }

    fn change(&mut self, change: RingChange) -> Result<(), Refused> {
        let core = self.core_of(change.program());
        if core == 0 {
            return self.site.change(change);
        }
        if self.cores.takes_commands(core) {
            self.others.command(core, &Command::Rings(change));
        }
        Ok(())
    }

    fn clear(&mut self, region: &Region) -> Result<(), Refused> {
        let Platform { memory, window: Some(window), .. } = &mut self.site.platform else {
            return Ok(());
        };
        for frame in memory.pool_frames::<PAIR_FRAMES>(region)? {
            window.clear(frame).doing("clearing memory of the pool")?;
        }
        Ok(())
    }
}

fn with_pair<R>(
    platform: &mut Platform,
    region: Region,
    work: impl FnOnce(&Pair<'_>) -> R,
) -> Result<R, Refused> {
    let frames = platform.memory.pool_frames(&region)?;
    let window = platform.window.as_mut().ok_or(libd3os::cap::Error::IllegalOperation);
    let done = window.and_then(|window| window.with_pair(region, frames, work));
    done.doing("looking at rings")
}
