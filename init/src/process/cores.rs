//! What core 0's init does about the other cores: it takes their reports, and stops and starts them.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use init::badge::{Channel, badge};
use init::board::Status;
use init::cores::{Action, GATHER_US};
use init::message::{Interface, Report};
use init::supervise::ProgramNumber;
use libd3os::call::{Bytes, CallError, Caller, Later, Reply, ReplySink, Request};
use libd3os::mark::{Phase, mark};
use libd3os::service::log::Level;
use libd3os::service::supervisor::{CoreState, CoreStatus, MemoryReport, SupervisorError};

use super::others::REPORTS_AT_A_TIME;
use super::system::System;

/// Answers a program that waits for a core's restart.
pub(super) type CoreWaiter = Later<Result<(), SupervisorError>>;

impl System {
    /// Starts the boot's programs as soon as all cores have come up, and in any case soon: a core
    /// that is late gets its programs when it is there.
    pub(super) fn start_when_gathered(&mut self) {
        let now_us = self.site.platform.now_us();
        let until_us = *self.gathering_until_us.get_or_insert(now_us + GATHER_US);
        if !self.booted && (self.cores.are_gathered() || now_us >= until_us) {
            self.booted = true;
            self.start_boot_programs();
            mark(Phase::ProgramsStarted);
        }
        self.set_clock();
    }

    /// Takes what the other cores report and sends them what waits for them, until neither is left.
    pub(super) fn exchange(&mut self) {
        loop {
            for core in self.others.cores() {
                self.take_reports(core);
                if let Err(error) = self.others.send(core) {
                    self.core_failed(core, &error.to_string());
                }
            }
            if !self.others.arm() {
                return;
            }
        }
    }

    /// Looks at the heartbeats, and at what takes its time.
    pub(super) fn tend_cores(&mut self) {
        let now_us = self.site.platform.now_us();
        let others = &self.others;
        let last_beat = |core| others.post(core).map_or(0, |post| post.status.last_beat_us());
        let actions = self.cores.tick(now_us, last_beat);
        if !actions.is_empty() {
            self.deal_with_cores(actions);
        }
        if !self.booted {
            self.start_when_gathered();
        }
    }

    /// Carries out what was decided about the cores, in order.
    pub(super) fn deal_with_cores(&mut self, actions: Vec<Action<CoreWaiter>>) {
        for action in actions {
            match action {
                Action::Invite(core) => self.others.invite(core),
                Action::Stop(core) => self.control("stopping", core, |others| others.stop(core)),
                Action::Launch(core) => {
                    self.control("starting", core, |others| others.launch(core));
                }
                Action::LaunchAgain(core) => {
                    self.control("starting", core, |others| others.launch_again(core));
                }
                Action::Withdraw(core) => self.withdraw(core),
                Action::Resume(core) => self.resume(core),
                Action::Answer(waiter, result) => waiter.answer(&result),
                Action::Notice(level, text) => self.note(level, format_args!("{text}")),
            }
        }
        self.set_clock();
    }

    /// How every core of the machine is doing.
    pub(super) fn core_statuses(&mut self) -> impl Iterator<Item = CoreStatus> {
        let present = self.site.platform.machine.cores_present.max(self.cores.count());
        (0..present).map(|core| self.core_status(core))
    }

    /// What another core, if it is up, last told about itself.
    pub(super) fn status_of(&self, core: u32) -> Option<(u32, Status)> {
        let is_up = matches!(self.cores.state(core), CoreState::Running | CoreState::Silent);
        let post = self.others.post(core).filter(|_| is_up)?;
        Some((core, post.status.read()?))
    }

    /// The memory of every core that tells.
    pub(super) fn memory_reports(&self) -> impl Iterator<Item = MemoryReport> {
        let others = self.others.cores().filter_map(|core| self.memory_of(core));
        core::iter::once(self.site.memory()).chain(others)
    }

    /// RAM of the machine, as far as its cores have come up to tell of theirs.
    pub(super) fn ram_bytes(&self) -> u64 {
        let machine = &self.site.platform.machine;
        let others = self.others.cores().map(|core| self.others.ram_bytes(core));
        machine.ram_bytes + machine.pool_bytes() + others.sum::<u64>()
    }

    fn core_status(&self, core: u32) -> CoreStatus {
        let now_us = self.site.platform.now_us();
        let state = self.cores.state(core);
        let is_up = matches!(state, CoreState::Running | CoreState::Silent);
        let live = self.supervisor.programs().filter(|(_, program)| program.is_live());
        let programs = live.filter(|(number, _)| self.core_of(*number) == core).count();
        let memory = if core == 0 { Some(self.site.memory()) } else { self.memory_of(core) };
        let memory = memory.filter(|_| is_up).unwrap_or_default();
        let post = self.others.post(core).filter(|_| is_up);
        let last_beat_us = post.map(|post| post.status.last_beat_us());
        let heard_us = last_beat_us.map(|beat_us| self.cores.heard_us(core, beat_us, now_us));
        CoreStatus {
            core,
            state,
            // Init itself is a program, too.
            programs: u32::try_from(programs).unwrap_or(u32::MAX) + u32::from(is_up),
            uptime_us: self.cores.uptime_us(core, now_us),
            heartbeat_us: heard_us.or((core == 0).then_some(0)),
            ram_bytes: memory.ram_bytes,
            free_bytes: memory.untyped_free,
            restarts: self.cores.restarts(core),
        }
    }

    fn memory_of(&self, core: u32) -> Option<MemoryReport> {
        let (core, status) = self.status_of(core)?;
        Some(MemoryReport { core, ..status.memory })
    }

    fn take_reports(&mut self, core: u32) {
        for _ in 0..REPORTS_AT_A_TIME {
            match self.others.receive(core) {
                Ok(Some(report)) => self.take_report(core, report),
                Ok(None) => return,
                Err(error) => return self.core_failed(core, &error.to_string()),
            }
        }
    }

    fn take_report(&mut self, core: u32, report: Report) {
        match report {
            Report::Ready => {
                self.others.note_ram(core);
                let actions = self.cores.ready(core, self.site.platform.now_us());
                self.deal_with_cores(actions);
                if !self.booted {
                    self.start_when_gathered();
                }
            }
            Report::Failed(why) => self.core_failed(core, &why),
            Report::Started(program, serial) => {
                if self.is_current(core, program, serial) {
                    self.has_started(program);
                }
            }
            Report::NotStarted(program, serial, failure) => {
                if self.is_current(core, program, serial) {
                    self.has_not_started(program, failure);
                }
            }
            Report::Fault(program, serial, report) => {
                if self.is_current(core, program, serial) {
                    self.faulted(program, report);
                }
            }
            Report::KilledAt(program, serial, event) => {
                if self.is_current(core, program, serial) {
                    self.killed_at(program, event);
                }
            }
            Report::Unresponsive(program, serial, silent_us) => {
                if self.is_current(core, program, serial) {
                    self.unresponsive(program, silent_us);
                }
            }
            Report::Call { token, program, interface, method, bytes } => {
                self.take_call(core, token, (program, interface), (method, &bytes));
            }
            Report::Log(level, text) => {
                self.append(&alloc::format!("init/{core}"), level, "init", &text);
            }
        }
    }

    /// Whether a report is about the program's latest start, which was on this core.
    fn is_current(&self, core: u32, program: ProgramNumber, serial: u32) -> bool {
        let is_live = self.supervisor.program(program).is_some_and(|known| known.is_live());
        let run = self.runs.get(program.index());
        is_live && run.is_some_and(|run| run.core == core && run.serial == serial)
    }

    /// A program's call of one of init's interfaces, handed on by its core's init.
    fn take_call(
        &mut self,
        core: u32,
        token: u32,
        (program, interface): (ProgramNumber, Interface),
        (method, bytes): (u16, &[u8]),
    ) {
        let Some(mail) = self.others.mail(core) else { return };
        let sink: Rc<dyn ReplySink> = mail;
        let reply = Reply::new(&sink, token);
        if self.core_of(program) != core {
            return reply.fail(CallError::Denied);
        }
        let Ok(bytes) = Bytes::from_slice(bytes) else {
            return reply.fail(CallError::TooLarge);
        };
        let channel = match interface {
            Interface::Supervisor => Channel::Supervisor,
            Interface::Log => Channel::Log,
        };
        let caller = Caller(badge(program, channel));
        super::dispatch(self, Request { caller, method, bytes, reply });
    }

    fn core_failed(&mut self, core: u32, why: &str) {
        let actions = self.cores.failed(core, why);
        self.deal_with_cores(actions);
    }

    fn control(
        &mut self,
        doing: &str,
        core: u32,
        act: impl FnOnce(&mut super::others::Others) -> Result<(), libd3os::cap::Error>,
    ) {
        if let Err(error) = act(&mut self.others) {
            self.note(Level::Error, format_args!("{doing} core {core}: {error}"));
        }
    }

    /// Deals with what ran on a core that was stopped.
    fn withdraw(&mut self, core: u32) {
        let programs = self.supervisor.programs();
        let lost: Vec<_> = programs
            .filter(|(number, program)| program.is_live() && self.core_of(*number) == core)
            .map(|(number, _)| number)
            .collect();
        for number in lost {
            let now_us = self.site.platform.now_us();
            let actions = self.supervisor.core_stopped(number, core, now_us);
            self.carry_out(actions);
        }
    }

    /// Starts what waits for a core.
    fn resume(&mut self, core: u32) {
        let programs: Vec<_> = self.supervisor.programs().map(|(number, _)| number).collect();
        for number in programs {
            if self.core_of(number) == core {
                let actions = self.supervisor.release(number).into_iter().collect();
                self.carry_out(actions);
            }
        }
    }

    /// How many cores there are, and how many of them are used.
    pub(super) fn cores_in_words(&self) -> String {
        let (count, present) = (self.cores.count(), self.site.platform.machine.cores_present);
        let plural = if present == 1 { "" } else { "s" };
        match count {
            1 => alloc::format!("{present} core{plural} present"),
            _ => alloc::format!("{count} cores of {present} used"),
        }
    }
}
