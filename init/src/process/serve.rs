//! The interfaces that init serves.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use init::badge::{Origin, origin};
use init::grants::{OWN_SERVICES, describe, services};
use init::own;
use init::supervise::{self, ProgramNumber};
use libd3os::call::{CallError, Caller, Later};
use libd3os::service::Page;
use libd3os::service::log::{Level, Log, LogError, LogPage};
use libd3os::service::supervisor::{
    CapabilityInfo, CoreState, CoreStatus, MemoryReport, ProgramId, ProgramState, ProgramStatus,
    RunMode, ServiceStatus, Supervisor, SupervisorError, SystemInfo,
};

use super::power::End;
use super::program::Program;
use super::system::{System, Waiter};

impl Supervisor for System {
    fn programs(&mut self, _: Caller, from: u32) -> Result<Page<ProgramStatus>, SupervisorError> {
        let now_us = self.platform.now_us();
        let own = self.own.threads(&mut self.ticker).map(|thread| thread.status(now_us));
        let all = self.supervisor.programs().zip(&mut self.programs);
        let all = all.map(|((_, known), program)| status(known, program, now_us));
        Ok(Page::fill(from, own.into_iter().chain(all)))
    }

    fn spawn(
        &mut self,
        _: Caller,
        name: String,
        args: Vec<String>,
        mode: RunMode,
    ) -> Result<ProgramId, SupervisorError> {
        System::spawn(self, &name, args, mode)
    }

    fn wait(&mut self, caller: Caller, id: ProgramId, later: Waiter) {
        let Some(caller) = program_of(caller) else { return later.fail(CallError::Denied) };
        match self.supervisor.wait(id, caller, later) {
            Ok(action) => self.carry_out(action.into_iter().collect()),
            Err((later, error)) => later.answer(&Err(error)),
        }
    }

    fn kill(&mut self, _: Caller, name: String) -> Result<(), SupervisorError> {
        let actions = self.supervisor.kill(&name, self.platform.now_us())?;
        self.carry_out(actions);
        Ok(())
    }

    fn exit(&mut self, caller: Caller, code: i32, later: Later<Result<(), SupervisorError>>) {
        let Some(caller) = program_of(caller) else { return later.fail(CallError::Denied) };
        let actions = self.supervisor.exited(caller, code, self.platform.now_us());
        self.carry_out(actions);
        // The caller is gone; its reply object is free again once this is dropped.
        drop(later);
    }

    fn ends(&mut self, _: Caller, from: u32) -> Result<Page<u32>, SupervisorError> {
        Ok(Page::fill(from, self.supervisor.programs().map(|(_, program)| program.ends())))
    }

    fn capabilities(
        &mut self,
        _: Caller,
        name: String,
        from: u32,
    ) -> Result<Page<CapabilityInfo>, SupervisorError> {
        if name == own::NAME {
            let rows = self.own.capabilities(&self.manifest, &self.loader.shared, &self.programs);
            return Ok(Page::fill(from, rows));
        }
        let number = self.supervisor.find(&name)?;
        let grants = self.programs.get(number.index()).map(|program| &program.draft.grants);
        let rows = grants.into_iter().flatten().map(|granted| describe(&self.manifest, granted));
        Ok(Page::fill(from, rows))
    }

    fn memory(&mut self, _: Caller, from: u32) -> Result<Page<MemoryReport>, SupervisorError> {
        let live: Vec<bool> =
            self.supervisor.programs().map(|(_, program)| program.is_live()).collect();
        let frames = |wanted: bool| {
            let programs = self.programs.iter().zip(&live).filter(|(_, live)| **live == wanted);
            programs.map(|(program, _)| program.draft.regions.frames()).sum()
        };
        let machine = &self.platform.machine;
        let report = MemoryReport {
            core: 0,
            ram_bytes: machine.ram_bytes,
            kernel_bytes: machine.kernel_bytes,
            untyped_total: self.platform.memory.total,
            untyped_free: self.platform.memory.available(),
            frames_used: frames(true),
            frames_free: frames(false),
            programs_bytes: self.programs.iter().map(Program::bytes).sum(),
        };
        Ok(Page::fill(from, [report]))
    }

    fn services(&mut self, _: Caller, from: u32) -> Result<Page<ServiceStatus>, SupervisorError> {
        let now_us = self.platform.now_us();
        let own = OWN_SERVICES.into_iter().map(|(name, _)| ServiceStatus {
            name: name.to_string(),
            program: "init".to_string(),
            state: ProgramState::Running,
            restarts: 0,
            uptime_us: now_us,
        });
        let others = services(&self.manifest).filter_map(|(name, number)| {
            let program = self.supervisor.program(number)?;
            Some(ServiceStatus {
                name: name.to_string(),
                program: program.name().to_string(),
                state: program.state(),
                restarts: program.restarts(),
                uptime_us: program.uptime_us(now_us),
            })
        });
        Ok(Page::fill(from, own.chain(others)))
    }

    fn cores(&mut self, _: Caller, from: u32) -> Result<Page<CoreStatus>, SupervisorError> {
        let live = self.supervisor.programs().filter(|(_, program)| program.is_live()).count();
        // Init itself is a program of core 0, too.
        let running = u32::try_from(live + 1).unwrap_or(u32::MAX);
        let cores = (0..self.platform.machine.cores_present.max(1)).map(|core| match core {
            0 => CoreStatus { core, state: CoreState::Running, programs: running },
            _ => CoreStatus { core, state: CoreState::Parked, programs: 0 },
        });
        Ok(Page::fill(from, cores))
    }

    fn system(&mut self, _: Caller) -> Result<SystemInfo, SupervisorError> {
        let machine = &self.platform.machine;
        Ok(SystemInfo {
            version: env!("CARGO_PKG_VERSION").to_string(),
            image: self.manifest.name.clone(),
            tsc_mhz: machine.tsc_mhz,
            uptime_us: self.platform.now_us(),
            cores_present: machine.cores_present,
            ram_bytes: machine.ram_bytes,
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

fn program_of(caller: Caller) -> Option<ProgramNumber> {
    match origin(caller.0) {
        Origin::Program(number, _) => Some(number),
        Origin::Unknown(_) => None,
    }
}

fn status(known: &supervise::Program<Waiter>, program: &mut Program, now_us: u64) -> ProgramStatus {
    let cpu_us = program.cpu_us(known.is_live());
    let spec = &program.draft.spec;
    ProgramStatus {
        id: known.run(),
        name: spec.name.clone(),
        // Every program has one thread so far.
        thread: "main".to_string(),
        core: spec.core,
        priority: spec.priority,
        budget_us: spec.budget_us,
        period_us: spec.period_us,
        cpu_us,
        state: known.state(),
        restarts: known.restarts(),
        uptime_us: known.uptime_us(now_us),
    }
}
