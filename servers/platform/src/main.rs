//! The platform server's process: it looks at the machine once, gives its devices to their drivers
//! by way of init, and then waits for drivers to end and for those who ask.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::{Caller, Error};
use libd3os::ipc::MissingGrant;
use libd3os::program;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::Page;
use libd3os::service::devices::{DevicesClient, DevicesError};
use libd3os::service::platform::{
    DeviceInfo, IommuUnit, NodeInfo, PciAddress, PersistentRange, Platform, PlatformError, Route,
    TableInfo,
};
use libd3os::start::StartInfo;
use libd3os::start::layout::PLATFORM_PLACES;

use platform::core::Core;
use platform::describe;
use platform::firmware::Firmware;
use platform::iommu::guard::Mapped;
use platform::iommu::{Device, Dmar, Guard, Iommu};
use platform::nodes;
use platform::pages::Shared;
use platform::pci::Function;
use platform::pci::config::{Configuration, Ecam, is_register};

mod process;

use process::{ConfigPorts, Supervisor, TablePages, Uptime, View};

libd3os::program! {
    main: run,
    serves: ["platform"],
    calls: ["devices", "log", "supervisor"],
    ports: ["pci-config"],
    dma: ["iommu"],
    waits: ["device-ended"],
}

/// Why the server cannot run.
#[derive(Debug)]
enum Failure {
    Grant(MissingGrant<'static>),
    Server(ServerError),
    Init(Error<DevicesError>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Init(error) => write!(f, "init does not tell of the machine: {error}"),
        }
    }
}

fn run(_: &'static StartInfo) -> Result<Infallible, Failure> {
    let mut server = Server::serving("platform").map_err(Failure::Server)?;
    let mut machine = Machine::look()?;
    server.observe(machine.core.journal().recorder());
    machine.core.settle();
    loop {
        let event = server.next();
        machine.core.look_for_faults();
        match event {
            Event::Request(request) => Platform::dispatch(&mut machine, request),
            // A driver has ended; which one is in the list of devices.
            Event::Signal(_) => machine.core.settle(),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

type Memory = Shared<View>;

struct Machine {
    core: Core<Supervisor, Uptime, Configuration<Memory, ConfigPorts>, Memory>,
}

impl Machine {
    fn look() -> Result<Self, Failure> {
        let connect = || DevicesClient::connect().map_err(Failure::Grant);
        let init = connect()?;
        let facts = init.boot().map_err(Failure::Init)?;
        let memory = Shared::new(View::new(connect()?), PLATFORM_PLACES);
        let firmware = Firmware::read(&facts.rsdp, &memory);
        let regions = firmware.mcfg.sound().map(|mcfg| mcfg.regions.clone());
        let ports = program::ports("pci-config").map_err(Failure::Grant)?;
        let ecam = Ecam::new(regions.unwrap_or_default(), memory.clone());
        let space = Configuration::new(ecam, Some(ConfigPorts(ports)));
        let segments = space.segments();
        let units = memory.clone();
        let core = Core::new(Supervisor(init), Uptime, space, memory, firmware, &segments);
        let mut core = core.map_err(Failure::Init)?;
        core.protect(|dmar, functions, held| guard(dmar, functions, held, &units));
        if facts.first_start {
            report(&core);
        }
        Ok(Self { core })
    }
}

/// Has the IOMMU's units keep devices from memory.
fn guard(
    dmar: &Dmar,
    functions: &[Function],
    held: &[Device],
    units: &Memory,
) -> Option<Box<dyn Guard>> {
    let tables = program::region("iommu").ok().and_then(TablePages::new);
    if tables.is_none() {
        log::error!("there is no memory for the IOMMU's tables: drivers are trusted with DMA");
    }
    let open = |address| Some(Mapped::new(units.clone(), address));
    Some(Box::new(Iommu::start(dmar, functions, held, open, tables?)))
}

/// Says what the machine is and what it lacks, once.
fn report<S, M>(core: &Core<Supervisor, Uptime, S, M>)
where
    S: platform::pci::ConfigSpace,
    M: platform::memory::DeviceMemory,
{
    log::info!("{}", core.summary());
    for lack in core.firmware().lacks() {
        log::info!("{lack}");
    }
    for problem in core.problems() {
        log::warn!("{problem}");
    }
}

impl Platform for Machine {
    fn tables(&mut self, _: Caller, from: u32) -> Result<Page<TableInfo>, PlatformError> {
        Ok(Page::fill(from, self.core.tables()))
    }

    fn table_bytes(
        &mut self,
        _: Caller,
        table: u32,
        offset: u32,
    ) -> Result<Vec<u8>, PlatformError> {
        describe::part(self.core.firmware(), table, offset)
    }

    fn table_words(
        &mut self,
        _: Caller,
        table: u32,
        from: u32,
    ) -> Result<Page<String>, PlatformError> {
        Ok(Page::fill(from, describe::words(self.core.firmware(), table)?))
    }

    fn devices(&mut self, _: Caller, from: u32) -> Result<Page<DeviceInfo>, PlatformError> {
        if from == 0 {
            self.core.refresh();
        }
        Ok(Page::fill(from, self.core.devices()))
    }

    fn configuration(
        &mut self,
        _: Caller,
        address: PciAddress,
        offset: u16,
    ) -> Result<u32, PlatformError> {
        match is_register(offset) {
            true => Ok(self.core.configuration(address, offset)),
            false => Err(PlatformError::BadOffset(offset)),
        }
    }

    fn nodes(&mut self, _: Caller, from: u32) -> Result<Page<NodeInfo>, PlatformError> {
        Ok(Page::fill(from, nodes::nodes(self.core.firmware())))
    }

    fn persistent(&mut self, _: Caller, from: u32) -> Result<Page<PersistentRange>, PlatformError> {
        Ok(Page::fill(from, nodes::persistent(self.core.firmware())))
    }

    fn iommu(&mut self, _: Caller, from: u32) -> Result<Page<IommuUnit>, PlatformError> {
        Ok(Page::fill(from, self.core.units()))
    }

    fn faults(&mut self, _: Caller, from: u32) -> Result<Page<String>, PlatformError> {
        Ok(Page::fill(from, self.core.faults()))
    }

    fn problems(&mut self, _: Caller, from: u32) -> Result<Page<String>, PlatformError> {
        Ok(Page::fill(from, self.core.problems()))
    }

    fn report_routes(
        &mut self,
        caller: Caller,
        routes: Vec<Route>,
        last: bool,
    ) -> Result<(), PlatformError> {
        let believed = self.core.report_routes(caller.0, routes, last);
        if believed { Ok(()) } else { Err(PlatformError::AlreadyTold) }
    }

    fn report_sleep_types(&mut self, caller: Caller, a: u8, b: u8) -> Result<(), PlatformError> {
        let believed = self.core.report_sleep_types(caller.0, a, b);
        if believed { Ok(()) } else { Err(PlatformError::AlreadyTold) }
    }
}
