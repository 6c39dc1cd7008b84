//! A core as its init sees it: the programs that can run there, and what they are made with. Every
//! init has one; what is done with it is decided by core 0's.

use alloc::string::String;
use alloc::vec::Vec;

use init::board::Status;
use init::fault;
use init::grants::{called, grants, services};
use init::message::{RingChange, Start};
use init::supervise::ProgramNumber;
use libd3os::abi::{BootInfo, MessageInfo};
use libd3os::call::CallError;
use libd3os::cap::Reply;
use libd3os::image::Manifest;
use libd3os::service::supervisor::{
    FaultReport, Holding, MemoryReport, StartFailure, SupervisorError,
};
use libd3os::start::SIGNAL_FLAG;

use super::held::Held;
use super::loader::{Loader, Means, Outfit};
use super::own::Own;
use super::platform::Platform;
use super::program::{Birth, Program};
use super::ticker::Ticker;
use super::trouble::Refused;

/// A core's programs and the means to make them.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) core: u32,
    pub(super) platform: Platform,
    pub(super) manifest: Manifest,
    pub(super) programs: Vec<Program>,
    pub(super) loader: Loader,
    /// Shared memory and devices: core 0's, for the most part.
    pub(super) held: Held,
    pub(super) own: Own,
    pub(super) ticker: Ticker,
    /// Answers those who call services that nobody serves.
    pub(super) absent: Reply,
}

/// The core that this init runs on.
pub(super) fn core_of(info: &BootInfo) -> u32 {
    u32::try_from(info.node_id).unwrap_or(u32::MAX)
}

impl Site {
    /// Makes a program and lets it run.
    pub(super) fn start(&mut self, start: &Start) -> Result<(), StartFailure> {
        let now_us = self.platform.now_us();
        let Some(program) = self.programs.get_mut(start.program.index()) else { return Ok(()) };
        program.begin(now_us);
        let Platform { machine, memory, window, .. } = &mut self.platform;
        program.equip(&self.loader.shared, memory)?;
        self.held.make_regions(&program.draft.shared, memory)?;
        let (spec, found) = (&program.draft.spec, self.held.found(start.program));
        // That the manifest can be granted was found out when the system came up.
        let (session, routes) = (start.session, &start.routes[..]);
        let granted = grants(&self.manifest, start.program, spec, session, routes, &found);
        let granted = granted.unwrap_or_default();
        let birth = Birth {
            core: self.core,
            has_line: start.line.is_some(),
            tsc_mhz: machine.tsc_mhz,
            boot_tsc: machine.boot_tsc,
        };
        let info = program
            .start_info(&granted, &start.arguments, &birth)
            .map_err(StartFailure::StartInfo)?;
        let window = window.as_mut().ok_or(StartFailure::TooEarly)?;
        let line = start.line;
        let outfit = Outfit { info: &info, granted: &granted, line, routes };
        let means = Means { window, memory, held: &mut self.held };
        Ok(self.loader.start(means, program, outfit)?)
    }

    /// Whether these arguments go into the program's start information.
    pub(super) fn check_arguments(
        &self,
        number: ProgramNumber,
        arguments: &[String],
    ) -> Result<(), SupervisorError> {
        let Some(program) = self.programs.get(number.index()) else { return Ok(()) };
        let (spec, found) = (&program.draft.spec, self.held.found(number));
        let granted = grants(&self.manifest, number, spec, 0, &[], &found).unwrap_or_default();
        let info = program.start_info(&granted, arguments, &Birth::default());
        info.map(|_| ()).map_err(|_| SupervisorError::ArgumentsTooLong)
    }

    /// Takes a program apart.
    pub(super) fn destroy(&mut self, number: ProgramNumber) -> Result<(), Refused> {
        match self.programs.get_mut(number.index()) {
            Some(program) if program.is_live => {
                // Its devices and memory go while it cannot use them and still has its place.
                program.stop()?;
                self.held.detach(program)?;
                program.destroy(&mut self.platform)
            }
            _ => Ok(()),
        }
    }

    /// Changes a program's rings. One that does not run has none.
    pub(super) fn change(&mut self, change: RingChange) -> Result<(), Refused> {
        let Platform { memory, window: Some(window), .. } = &mut self.platform else {
            return Ok(());
        };
        let Some(program) = self.programs.get_mut(change.program().index()) else { return Ok(()) };
        if !program.is_live {
            return Ok(());
        }
        match change {
            RingChange::Attach(pair) => program.attach(&pair, window, memory),
            RingChange::Wake(_) => {
                program.wake();
                Ok(())
            }
            RingChange::Retract(_, place) => program.retract(place, window),
            RingChange::Detach(_, place) => program.detach(place, memory),
        }
    }

    /// The report of a program's fault.
    pub(super) fn fault(
        &self,
        number: ProgramNumber,
        label: u64,
        words: &[u64],
    ) -> Option<FaultReport> {
        let draft = &self.programs.get(number.index())?.draft;
        let symbol = |address| draft.file.symbol(address);
        Some(fault::report(&draft.spec.name, label, words, &draft.regions.stack, symbol))
    }

    /// Answers everyone who waits for a service of those programs of this core that are gone. Looking
    /// there takes signals of init's own notification, too: they are handed back.
    pub(super) fn answer_for_the_absent(&self, is_gone: impl Fn(ProgramNumber) -> bool) -> u64 {
        let mut taken = 0;
        let unavailable = MessageInfo::new(u64::from(CallError::Unavailable.number()), 0, 0, 0);
        for (service, (_, server)) in services(&self.manifest).enumerate() {
            if !is_gone(server) {
                continue;
            }
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
        taken
    }

    /// Whether a program that runs here may call, by its endpoint, one that does not.
    pub(super) fn has_absent(&self) -> bool {
        let live = self.programs.iter().filter(|program| program.is_live);
        live.flat_map(|program| called(&self.manifest, &program.draft.spec))
            .any(|(_, server)| self.is_absent(server))
    }

    /// Whether a program does not run here and is not about to.
    pub(super) fn is_absent(&self, number: ProgramNumber) -> bool {
        let program = self.programs.get(number.index());
        program.is_none_or(|program| !program.is_live && !program.is_expected)
    }

    /// How this core is doing.
    pub(super) fn status(&mut self) -> Status {
        let memory = self.memory();
        let [main, ticker] = self.own.threads(&mut self.ticker);
        let programs_us = self.programs.iter_mut().map(Program::cpu_us).collect();
        Status { memory, main_us: main.cpu_us, ticker_us: ticker.cpu_us, programs_us }
    }

    /// What this core's init holds for programs, counted exactly.
    pub(super) fn holdings(&mut self) -> Vec<Holding> {
        let live = || self.programs.iter().filter(|program| program.is_live);
        let lines = live().filter(|program| program.handler != 0).count() as u64;
        let pairs = live().map(|program| program.attached.len() as u64).sum();
        let handlers = self.loader.shared.interrupts() + lines + self.held.handlers() as u64;
        let region_bytes = self.held.region_bytes();
        let memory = &mut self.platform.memory;
        [
            ("bytes of untyped memory free", memory.available()),
            ("capability slots free", memory.slots_free()),
            ("bytes of regions that programs share", region_bytes),
            ("interrupt handlers", handlers),
            ("ends of rings mapped", pairs),
        ]
        .map(|(what, amount)| Holding { what: what.into(), amount })
        .into()
    }

    /// This core's memory.
    pub(super) fn memory(&self) -> MemoryReport {
        let frames = |is_live: bool| {
            let programs = self.programs.iter().filter(|program| program.is_live == is_live);
            programs.map(Program::frames).sum()
        };
        let machine = &self.platform.machine;
        MemoryReport {
            core: self.core,
            ram_bytes: machine.ram_bytes,
            kernel_bytes: machine.kernel_bytes,
            untyped_total: self.platform.memory.total,
            untyped_free: self.platform.memory.available(),
            frames_used: frames(true),
            frames_free: frames(false),
            programs_bytes: self.programs.iter().map(Program::bytes).sum(),
            regions_bytes: self.held.region_bytes(),
            slots_free: self.platform.memory.free_slots(),
            device_frames: self.platform.memory.device_frames() as u64,
            handlers: self.held.handlers() as u64,
        }
    }
}
