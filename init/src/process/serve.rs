//! The interfaces that init serves.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use init::badge::{Origin, origin};
use init::grants::{OWN_SERVICES, describe, describe_rings, grants, services};
use init::own::{self, Thread};
use init::supervise::{self, ProgramNumber};
use libd3os::call::{CallError, Caller, Later};
use libd3os::image::ProgramSpec;
use libd3os::mark::{Phase, mark};
use libd3os::service::Page;
use libd3os::service::log::{Level, Log, LogError, LogPage};
use libd3os::service::supervisor::{
    CapabilityInfo, CoreStatus, Exit, Holding, MemoryReport, Moment, ProgramId, ProgramState,
    ProgramStatus, RunMode, ServiceStatus, Supervisor, SupervisorError, SystemInfo,
};

use super::cores::CoreWaiter;
use super::launch::Run;
use super::power::End;
use super::system::{System, Waiter};

impl Supervisor for System {
    fn programs(&mut self, _: Caller, from: u32) -> Result<Page<ProgramStatus>, SupervisorError> {
        let now_us = self.site.platform.now_us();
        let own = self.site.own.threads(&mut self.site.ticker);
        let others: Vec<_> = self.others.cores().filter_map(|core| self.status_of(core)).collect();
        let [main, ticker] = own;
        let inits = others.iter().flat_map(|(core, status)| {
            let main = Thread { cpu_us: status.main_us, ..main };
            let ticker = Thread { cpu_us: status.ticker_us, ..ticker };
            let uptime_us = self.cores.uptime_us(*core, now_us);
            [main, ticker].map(|thread| thread.status(*core, uptime_us))
        });
        let all = self.supervisor.programs().zip(&mut self.site.programs).zip(&self.runs);
        let all = all.map(|(((number, known), program), run)| {
            let used = others.iter().filter_map(|(_, s)| s.programs_us.get(number.index()));
            let cpu_us = program.cpu_us() + used.sum::<u64>();
            status(known, &program.draft.spec, run, cpu_us, now_us)
        });
        let own = own.map(|thread| thread.status(0, now_us));
        Ok(Page::fill(from, own.into_iter().chain(inits).chain(all)))
    }

    fn spawn(
        &mut self,
        caller: Caller,
        name: String,
        args: Vec<String>,
        mode: RunMode,
        core: Option<u32>,
    ) -> Result<ProgramId, SupervisorError> {
        let session = program_of(caller).map_or(0, |spawner| self.session_of(spawner));
        System::spawn(self, &name, args, mode, core, session)
    }

    fn wait(&mut self, caller: Caller, id: ProgramId, later: Waiter) {
        let Some(caller) = program_of(caller) else { return later.fail(CallError::Denied) };
        match self.supervisor.wait(id, caller, later) {
            Ok(action) => self.carry_out(action.into_iter().collect()),
            Err((later, error)) => later.answer(&Err(error)),
        }
    }

    fn kill(&mut self, _: Caller, name: String, moment: Moment) -> Result<(), SupervisorError> {
        if let Moment::AfterEvents(more) = moment {
            return self.end_after(&name, more);
        }
        mark(Phase::Killed);
        let actions = self.supervisor.kill(&name, self.site.platform.now_us())?;
        self.carry_out(actions);
        Ok(())
    }

    fn exit(&mut self, caller: Caller, code: i32, later: Later<Result<(), SupervisorError>>) {
        let Some(caller) = program_of(caller) else { return later.fail(CallError::Denied) };
        let actions = self.supervisor.exited(caller, code, self.site.platform.now_us());
        self.carry_out(actions);
        // The caller is gone; its reply object is free again once this is dropped.
        drop(later);
    }

    fn settled(&mut self, _: Caller, later: CoreWaiter) {
        self.settling.push(later);
    }

    fn ends(&mut self, _: Caller, from: u32) -> Result<Page<u32>, SupervisorError> {
        Ok(Page::fill(from, self.supervisor.programs().map(|(_, program)| program.ends())))
    }

    fn last_exit(&mut self, _: Caller, name: String) -> Result<Option<Exit>, SupervisorError> {
        let number = self.supervisor.find(&name)?;
        let program = self.supervisor.program(number);
        Ok(program.and_then(supervise::Program::last_exit).cloned())
    }

    fn capabilities(
        &mut self,
        _: Caller,
        name: String,
        from: u32,
    ) -> Result<Page<CapabilityInfo>, SupervisorError> {
        if name == own::NAME {
            let rows = self.site.own.capabilities(
                &self.site.manifest,
                &self.site.loader.shared,
                &self.site.held,
                &self.site.programs,
            );
            return Ok(Page::fill(from, rows));
        }
        let number = self.supervisor.find(&name)?;
        let Some(spec) = self.site.manifest.programs.get(number.index()) else {
            return Ok(Page::fill(from, []));
        };
        let run = self.runs.get(number.index());
        let (session, routes) = run.map_or((0, &[][..]), |run| (run.session, &run.routes));
        // That the manifest can be granted was found out when the system came up.
        let found = self.site.held.found(number);
        let granted = grants(&self.site.manifest, number, spec, session, routes, &found);
        let granted = granted.unwrap_or_default();
        let rows = granted.iter().map(|granted| describe(&self.site.manifest, granted));
        let rings = self.rings.iter().flat_map(|rings| rings.held_by(number));
        let rings = rings.map(|held| describe_rings(&self.site.manifest, spec, held));
        Ok(Page::fill(from, rows.chain(rings)))
    }

    fn memory(&mut self, _: Caller, from: u32) -> Result<Page<MemoryReport>, SupervisorError> {
        Ok(Page::fill(from, self.memory_reports()))
    }

    fn holdings(&mut self, _: Caller, from: u32) -> Result<Page<Holding>, SupervisorError> {
        self.settle_lending();
        Ok(Page::fill(from, self.site.holdings()))
    }

    fn services(&mut self, _: Caller, from: u32) -> Result<Page<ServiceStatus>, SupervisorError> {
        let now_us = self.site.platform.now_us();
        let own = OWN_SERVICES.into_iter().map(|(name, _)| ServiceStatus {
            name: name.to_string(),
            program: "init".to_string(),
            core: 0,
            state: ProgramState::Running,
            restarts: 0,
            uptime_us: now_us,
        });
        let others = services(&self.site.manifest).filter_map(|(name, number)| {
            let program = self.supervisor.program(number)?;
            Some(ServiceStatus {
                name: name.to_string(),
                program: program.name().to_string(),
                core: self.core_of(number),
                state: program.state(),
                restarts: program.restarts(),
                uptime_us: program.uptime_us(now_us),
            })
        });
        Ok(Page::fill(from, own.chain(others)))
    }

    fn cores(&mut self, _: Caller, from: u32) -> Result<Page<CoreStatus>, SupervisorError> {
        Ok(Page::fill(from, self.core_statuses()))
    }

    fn stop_core(&mut self, _: Caller, core: u32) -> Result<(), SupervisorError> {
        let actions = self.cores.stop(core)?;
        self.deal_with_cores(actions);
        Ok(())
    }

    fn restart_core(&mut self, _: Caller, core: u32, later: CoreWaiter) {
        let actions = self.cores.restart(core, self.site.platform.now_us(), later);
        self.deal_with_cores(actions);
    }

    fn system(&mut self, _: Caller) -> Result<SystemInfo, SupervisorError> {
        let machine = &self.site.platform.machine;
        Ok(SystemInfo {
            version: env!("CARGO_PKG_VERSION").to_string(),
            image: self.site.manifest.name.clone(),
            tsc_mhz: machine.tsc_mhz,
            uptime_us: self.site.platform.now_us(),
            cores_present: machine.cores_present,
            ram_bytes: self.ram_bytes(),
            pool_bytes: machine.pool_bytes(),
            command_line: machine.command_line.chars().take(SHOWN_COMMAND_LINE).collect(),
        })
    }

    fn power_off(&mut self, _: Caller, status: u8) -> Result<(), SupervisorError> {
        self.close(End::Off(status));
        Ok(())
    }

    fn reboot(&mut self, _: Caller) -> Result<(), SupervisorError> {
        self.close(End::Reset);
        Ok(())
    }
}

/// Characters of the kernel's command line that are told: the whole must fit in a message.
const SHOWN_COMMAND_LINE: usize = 160;

impl Log for System {
    fn append(
        &mut self,
        caller: Caller,
        level: Level,
        target: String,
        message: String,
    ) -> Result<(), LogError> {
        if let Some(number) = program_of(caller) {
            let name = self.name(number);
            System::append(self, &name, level, &target, &message);
        }
        Ok(())
    }

    fn read(&mut self, caller: Caller, from: u64) -> Result<LogPage, LogError> {
        let page = self.log.read(from)?;
        if let Some(number) = program_of(caller) {
            self.has_read(number, page.next);
        }
        Ok(page)
    }
}

pub(super) fn program_of(caller: Caller) -> Option<ProgramNumber> {
    match origin(caller.0) {
        Origin::Program(number, _) => Some(number),
        Origin::Unknown(_) => None,
    }
}

fn status(
    known: &supervise::Program<Waiter>,
    spec: &ProgramSpec,
    run: &Run,
    cpu_us: u64,
    now_us: u64,
) -> ProgramStatus {
    ProgramStatus {
        id: known.run(),
        name: spec.name.clone(),
        // Every program has one thread so far.
        thread: "main".to_string(),
        core: run.core,
        session: run.session,
        priority: spec.priority,
        budget_us: spec.budget_us,
        period_us: spec.period_us,
        cpu_us,
        state: known.state(),
        restarts: known.restarts(),
        uptime_us: known.uptime_us(now_us),
    }
}
