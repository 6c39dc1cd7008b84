//! How an init comes up, on whichever core: the archive, the objects that programs share, the
//! programs, the clock.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use init::badge::TICK_BADGE;
use init::service::SHELL;
use init::supervise::ProgramNumber;
use libd3os::abi::{BootInfo, ObjectType};
use libd3os::cap::Reply;
use libd3os::image::{Archive, BootConfig, Manifest, ProgramSpec, StartPolicy};
use libd3os::mark::{Phase, mark};
use libd3os::memory::MemoryError;
use libd3os::server::Server;
use libd3os::sys::Cptr;

use super::held::Held;
use super::kernel::{THREAD, sched_control};
use super::loader::Loader;
use super::memory::Memory;
use super::own::Own;
use super::platform::Platform;
use super::program::{Draft, Program};
use super::raw;
use super::resources::Shared;
use super::site::{Site, core_of};
use super::ticker::Ticker;
use super::trouble::{Doing, Refused, Trouble};
use super::window::Window;

/// Calls to init that can wait for their answers at a time, plus one.
const OWN_REPLIES: u64 = 32;

/// An init that has read its archive.
#[derive(Debug)]
pub(super) struct Opening {
    archive: Archive<'static>,
    pub(super) shared: Shared,
}

/// An init that is ready to make programs.
#[derive(Debug)]
pub(super) struct Settled {
    manifest: Manifest,
    programs: Vec<Program>,
    loader: Loader,
    held: Held,
    own: Own,
    ticker: Ticker,
    absent: Reply,
    server: Server,
    core: u32,
}

impl Opening {
    /// Reads the archive and makes what programs share.
    pub(super) fn new(info: &'static BootInfo, platform: &mut Platform) -> Result<Self, Trouble> {
        // The window first: without it a machine that cannot be brought up cannot be switched off.
        platform.window = Some(Window::open(&mut platform.memory)?);
        platform.memory.widen()?;
        let bytes = raw::archive(info).map_err(Trouble::Archive)?;
        let archive = Archive::parse(bytes).map_err(Trouble::Archive)?;
        platform.exit_port = archive.boot_config().exit_port;
        mark(Phase::ManifestRead);
        let shared = Shared::make(archive.manifest(), &mut platform.memory, platform.com1)?;
        Ok(Self { archive, shared })
    }

    /// The image manifest.
    pub(super) fn manifest(&self) -> &Manifest {
        self.archive.manifest()
    }

    /// The boot configuration.
    pub(super) fn config(&self) -> &BootConfig {
        self.archive.boot_config()
    }

    /// Plans the programs, sets memory aside for those whose core this is, and starts the clock.
    pub(super) fn settle(
        self,
        info: &'static BootInfo,
        platform: &mut Platform,
    ) -> Result<Settled, Trouble> {
        let memory = &mut platform.memory;
        let drafts = self.draft_programs(info.num_nodes)?;
        let server = own_server(&self.shared, memory)?;
        let tick = self.shared.signaller(None, TICK_BADGE, memory)?;
        let ticker = Ticker::start(memory, sched_control(info), tick)?;
        let absent = reply(memory)?;
        let mut programs: Vec<_> = drafts.into_iter().map(Program::new).collect();
        let core = core_of(info);
        let is_here =
            |spec: &ProgramSpec| placed(spec, info.num_nodes) == core && !takes_memory_late(spec);
        equip(
            programs.iter_mut().filter(|known| is_here(&known.draft.spec)),
            &self.shared,
            memory,
        )?;
        let manifest = self.archive.manifest().clone();
        let loader = Loader { shared: self.shared, time: sched_control(info) };
        let held = Held::new(&manifest, platform.machine.pool.clone());
        let own = Own::new(info);
        Ok(Settled { manifest, programs, loader, held, own, ticker, absent, server, core })
    }

    fn draft_programs(&self, cores: u64) -> Result<Vec<Draft>, Trouble> {
        let numbered = (1..).map_while(ProgramNumber::new).zip(&self.manifest().programs);
        numbered
            .map(|(number, spec)| {
                let arguments = boot_arguments(&spec.name, self.config());
                Draft::new(&self.archive, number, spec, &arguments, cores)
                    .map_err(|unfit| Trouble::Program(spec.name.clone(), unfit))
            })
            .collect()
    }
}

impl Settled {
    /// The core as this init sees it, and what it serves with.
    pub(super) fn on(self, platform: Platform) -> (Site, Server) {
        let Self { manifest, programs, loader, held, own, ticker, absent, server, core } = self;
        (Site { core, platform, manifest, programs, loader, held, own, ticker, absent }, server)
    }
}

/// The core that the manifest places a program on; core 0 where the machine does not have that
/// one, so that an image runs on every machine.
pub(super) fn placed(spec: &ProgramSpec, cores: u64) -> u32 {
    if u64::from(spec.core) < cores { spec.core } else { 0 }
}

/// Whether memory is set aside for a program not before it first starts: for one that needs
/// another's device, which few machines have, and for the shells of consoles, which few people show.
fn takes_memory_late(spec: &ProgramSpec) -> bool {
    !spec.needs.is_empty() || (spec.start == StartPolicy::Manual && spec.session > 0)
}

/// The script's lines for the shell. The other arguments of the boot are short.
pub(super) fn boot_arguments(program: &str, config: &BootConfig) -> Vec<String> {
    match &config.script {
        Some(script) if program == SHELL => alloc::vec!["--run".to_string(), script.clone()],
        _ => Vec::new(),
    }
}

/// Sets aside what programs take. That it does not suffice is told for all of them at once.
fn equip<'p>(
    programs: impl Iterator<Item = &'p mut Program>,
    shared: &Shared,
    memory: &mut Memory,
) -> Result<(), Trouble> {
    let programs: Vec<_> = programs.collect();
    let pieces = programs.iter().flat_map(|program| program.draft.plan.pieces());
    let needed = pieces.map(|bits| 1u64 << bits).sum();
    let available = memory.available();
    for program in programs {
        program.equip(shared, memory).map_err(|refused| match refused.error {
            MemoryError::OutOfMemory { .. } => Trouble::Memory { needed, available },
            _ => Trouble::Refused(refused),
        })?;
    }
    Ok(())
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
