//! A made-up machine for tests: it answers from lists, notes what it was told to do, and reads
//! keys that the test typed before.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use libd3os::call::CallError;
use libd3os::device::PersistenceDomain;
use libd3os::observe::{Count, Happening};
use libd3os::service::console::{ConsoleError, Graph, InputEvent, ScreenStatus};
use libd3os::service::devices::DeviceState;
use libd3os::service::keyboard::{KeyboardError, Layout};
use libd3os::service::log::{Level, LogPage, LogRecord};
use libd3os::service::net::{
    DropReason, InterfaceAddress, InterfaceStatus, LinkState, NetError, Origin, SocketKind,
    SocketStatus, Traffic,
};
use libd3os::service::nvdimm::{NvdimmError, RangeStatus};
use libd3os::service::platform::{
    Bar, BarSpace, Claim, DeviceInfo, Interrupt, IommuUnit, MemoryInfo, MemoryKind, NodeInfo,
    PciAddress, PersistentRange, TableInfo,
};
use libd3os::service::rtc::WallTime;
use libd3os::service::share::{Entry, Errno, FileKind, FileStatus, ShareError};
use libd3os::service::supervisor::{
    CapabilityInfo, CoreState, CoreStatus, Exit, FaultKind, FaultReport, Holding, MemoryReport,
    Moment, ProgramId, ProgramState, ProgramStatus, RunMode, ServiceStatus, SupervisorError,
    SystemInfo,
};

use crate::system::{Noted, System, SystemError};

/// Records in one answer of the log.
const LOG_PAGE: usize = 3;

/// The machine.
#[derive(Debug)]
pub(crate) struct Fake {
    /// All output so far.
    pub(crate) output: Vec<u8>,
    /// What was asked for that changes something, in words.
    pub(crate) done: Vec<String>,
    /// What the next reads deliver; after that the line to the terminal has failed.
    pub(crate) typed: VecDeque<InputEvent>,
    /// How the next program that is waited for ends.
    pub(crate) exit: Exit,
    pub(crate) programs: Vec<ProgramStatus>,
    pub(crate) log: Vec<LogRecord>,
    /// The number of the oldest record kept.
    pub(crate) log_start: u64,
    /// Whether output arrives.
    pub(crate) deaf: bool,
    /// The memory that its cores share: with none it has one core.
    pub(crate) pool_bytes: u64,
    /// Whether it has neither a screen nor a keyboard.
    pub(crate) no_screen: bool,
    /// Whether its image has no platform server.
    pub(crate) no_platform: bool,
    /// Whether its machine has no persistent memory.
    pub(crate) no_nvdimm: bool,
    /// Whether its machine has no IOMMU.
    pub(crate) no_iommu: bool,
    /// Whether its image has a network server.
    pub(crate) network: bool,
    /// Whether its image has the driver of a share, and its host shares nothing.
    pub(crate) no_share: bool,
    /// Files of its host's share, if it has one: no bytes for a directory.
    pub(crate) share: Option<BTreeMap<String, Option<Vec<u8>>>>,
    /// Texts of persistent objects, if it has memory for them: none for a directory.
    pub(crate) objects: Option<BTreeMap<String, Option<String>>>,
    /// Whether its image has their server, and its machine no memory for them.
    pub(crate) no_objects: bool,
    /// Whether objects are of the volatile tier.
    pub(crate) volatile: bool,
    /// What is damaged of them.
    pub(crate) damage: Vec<String>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            output: Vec::new(),
            done: Vec::new(),
            typed: VecDeque::new(),
            exit: Exit::Code(0),
            programs: vec![
                program("uart", 200, ProgramState::Running),
                program("console", 150, ProgramState::BackingOff),
                program("shell", 100, ProgramState::Running),
                program("hello", 50, ProgramState::Stopped),
            ],
            log: (0..8).map(record).collect(),
            log_start: 0,
            deaf: false,
            pool_bytes: 0,
            no_screen: false,
            no_platform: false,
            no_nvdimm: false,
            no_iommu: false,
            network: false,
            no_share: false,
            share: None,
            objects: None,
            no_objects: false,
            volatile: false,
            damage: Vec::new(),
        }
    }
}

fn program(name: &str, priority: u8, state: ProgramState) -> ProgramStatus {
    ProgramStatus {
        id: ProgramId(u32::from(priority)),
        name: name.into(),
        thread: "main".into(),
        core: 0,
        session: 0,
        priority,
        budget_us: 5_000,
        period_us: 10_000,
        cpu_us: 1_234_567,
        state,
        restarts: u32::from(state == ProgramState::BackingOff) * 2,
        uptime_us: 3_000_000,
    }
}

fn record(seq: u64) -> LogRecord {
    LogRecord {
        seq,
        time_us: seq * 1_500_000,
        program: "uart".into(),
        level: if seq % 4 == 1 { Level::Warn } else { Level::Info },
        target: "uart::queue".into(),
        message: format!("record\x1b[2J {seq}"),
    }
}

/// What the program `fault` dies of in these tests.
pub(crate) fn null_dereference() -> Exit {
    Exit::Faulted(FaultReport {
        program: "fault".into(),
        kind: FaultKind::NullDereference,
        address: 0,
        ip: 0x40_1234,
        symbol: Some("fault::null+0x4".into()),
        detail: String::new(),
    })
}

impl Fake {
    /// A machine at which these bytes are typed, a key at a time.
    pub(crate) fn typing(keys: &str) -> Self {
        let typed = keys.bytes().map(|byte| InputEvent::Bytes(vec![byte])).collect();
        Self { typed, ..Self::default() }
    }

    /// The output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.output.clone()).unwrap()
    }

    /// A machine with a share of its host.
    pub(crate) fn with_share() -> Self {
        let files = [
            ("note.txt", Some(b"hello\n\x1b[2Jworld\n".to_vec())),
            ("sub", None),
            ("sub/a", Some(vec![0; 2000])),
            ("sub/b", Some(vec![])),
        ];
        let files = files.map(|(path, bytes)| (path.to_string(), bytes));
        Self { share: Some(BTreeMap::from(files)), ..Self::default() }
    }

    pub(crate) fn host(&mut self) -> &mut BTreeMap<String, Option<Vec<u8>>> {
        self.share.as_mut().expect("asked only where there is one")
    }

    fn known(&self, name: &str) -> Result<&ProgramStatus, SystemError> {
        let unknown = SupervisorError::NoSuchProgram(name.into());
        let mut programs = self.programs.iter();
        programs.find(|p| p.name == name).ok_or(SystemError::Supervisor(unknown))
    }
}

impl System for Fake {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SystemError> {
        if self.deaf {
            return Err(SystemError::Call { service: "console", error: CallError::Restarted });
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self) -> Result<InputEvent, SystemError> {
        self.typed.pop_front().ok_or(SystemError::Console(ConsoleError::Disconnected))
    }

    fn keys(&mut self) -> Result<Vec<u8>, SystemError> {
        match self.typed.pop_front() {
            Some(InputEvent::Bytes(bytes)) => Ok(bytes),
            Some(InputEvent::Redraw) | None => Ok(Vec::new()),
        }
    }

    fn settle(&mut self) -> Result<(), SystemError> {
        self.done.push("settle".into());
        Ok(())
    }

    fn ready(&mut self) {
        self.done.push("ready".into());
    }

    fn programs(&mut self) -> Result<Vec<ProgramStatus>, SystemError> {
        Ok(self.programs.clone())
    }

    fn spawn(
        &mut self,
        name: &str,
        args: &[String],
        mode: RunMode,
        core: Option<u32>,
    ) -> Result<ProgramId, SystemError> {
        if name != "fault" && self.known(name)?.state == ProgramState::Running {
            let running = SupervisorError::AlreadyRunning(name.into());
            return Err(SystemError::Supervisor(running));
        }
        let place = core.map(|core| format!(" on core {core}")).unwrap_or_default();
        self.done.push(format!("spawn {name} {args:?} {mode:?}{place}"));
        Ok(ProgramId(7))
    }

    fn wait(&mut self, id: ProgramId) -> Result<Exit, SystemError> {
        self.done.push(format!("wait {id}"));
        Ok(self.exit.clone())
    }

    fn kill(&mut self, name: &str, moment: Moment) -> Result<(), SystemError> {
        if self.known(name)?.state == ProgramState::Stopped {
            return Err(SystemError::Supervisor(SupervisorError::NotRunning(name.into())));
        }
        self.done.push(match moment {
            Moment::Now => format!("kill {name}"),
            Moment::AfterEvents(events) => format!("kill {name} after {events}"),
        });
        Ok(())
    }

    fn capabilities(&mut self, name: &str) -> Result<Vec<CapabilityInfo>, SystemError> {
        self.known(name)?;
        let info = |slot, kind: &str, detail: &str, rights: &str| CapabilityInfo {
            slot,
            kind: kind.into(),
            detail: detail.into(),
            rights: rights.into(),
        };
        Ok(vec![
            info(0, "thread", "main", ""),
            info(1, "endpoint", "calls console, badge 0x300", "wp"),
        ])
    }

    fn memory(&mut self) -> Result<Vec<MemoryReport>, SystemError> {
        let report = |core| MemoryReport {
            core,
            ram_bytes: 512 << 20,
            kernel_bytes: 2 << 20,
            untyped_total: 510 << 20,
            untyped_free: 498 << 20,
            frames_used: 523,
            frames_free: 17,
            programs_bytes: 8 << 20,
            ..MemoryReport::default()
        };
        Ok((0..if self.pool_bytes == 0 { 1 } else { 2 }).map(report).collect())
    }

    fn holdings(&mut self) -> Result<Vec<Holding>, SystemError> {
        let held = |what: &str, amount| Holding { what: what.into(), amount };
        Ok(vec![held("bytes of untyped memory free", 1 << 20), held("capability slots free", 7)])
    }

    fn services(&mut self) -> Result<Vec<ServiceStatus>, SystemError> {
        let service = |name: &str, program: &str, state| ServiceStatus {
            name: name.into(),
            program: program.into(),
            core: 0,
            state,
            restarts: 1,
            uptime_us: 3_000_000,
        };
        let mut services = vec![
            service("log", "init", ProgramState::Running),
            service("supervisor", "init", ProgramState::Running),
            service("uart", "uart", ProgramState::Faulted),
            service("mystery", "stranger", ProgramState::Running),
        ];
        if !self.no_platform {
            services.insert(3, service("platform", "platform", ProgramState::Running));
        }
        if self.network {
            services.push(service("net", "net", ProgramState::Running));
        }
        if self.share.is_some() || self.no_share {
            let stopped = if self.no_share { ProgramState::Stopped } else { ProgramState::Running };
            services.push(service("share", "share", stopped));
        }
        if self.objects.is_some() || self.no_objects {
            let state = match self.no_objects {
                true => ProgramState::Stopped,
                false => ProgramState::Running,
            };
            services.push(service("pmem", "pmem", state));
        }
        Ok(services)
    }

    fn counters(&mut self, service: &str) -> Result<Vec<Count>, SystemError> {
        match service {
            "log" => Ok(vec![Count::new("requests", 1234), Count::new("signals", 5)]),
            _ => Err(SystemError::NotGranted { service: service.into() }),
        }
    }

    fn events(&mut self, service: &str, count: u64) -> Result<Vec<Noted>, SystemError> {
        self.counters(service)?;
        let event = |number: u64| Happening {
            at_us: number * 1_000_250,
            what: format!("sent {number} bytes"),
        };
        let numbers = 60_u64.saturating_sub(count).max(40)..60;
        Ok(numbers.map(|number| Noted { number, event: event(number) }).collect())
    }

    fn wait_until(&mut self, uptime_ns: u64) -> Result<(), SystemError> {
        self.done.push(format!("wait until {uptime_ns}"));
        Ok(())
    }

    fn wall_time(&mut self) -> Result<WallTime, SystemError> {
        Ok(WallTime { seconds: 1_795_452_631, uptime_ns: 0 })
    }

    fn cores(&mut self) -> Result<Vec<CoreStatus>, SystemError> {
        let core = |core, state, programs, heartbeat_us: Option<u64>| CoreStatus {
            core,
            state,
            programs,
            uptime_us: heartbeat_us.map_or(0, |_| 200_000_000),
            heartbeat_us,
            ram_bytes: heartbeat_us.map_or(0, |_| 256 << 20),
            free_bytes: heartbeat_us.map_or(0, |_| 200 << 20),
            restarts: core,
        };
        Ok(vec![
            core(0, CoreState::Running, 4, Some(0)),
            core(1, CoreState::Silent, 1, Some(7_000_000)),
            core(2, CoreState::Parked, 0, None),
        ])
    }

    fn stop_core(&mut self, core: u32) -> Result<(), SystemError> {
        match core {
            0 => Err(SystemError::Supervisor(SupervisorError::Indispensable)),
            1 => {
                self.done.push("stop core 1".into());
                Ok(())
            }
            _ => Err(SystemError::Supervisor(SupervisorError::NoSuchCore(core))),
        }
    }

    fn restart_core(&mut self, core: u32) -> Result<(), SystemError> {
        match core {
            1 => {
                self.done.push("restart core 1".into());
                Ok(())
            }
            _ => Err(SystemError::Supervisor(SupervisorError::CoreDown(core))),
        }
    }

    fn info(&mut self) -> Result<SystemInfo, SystemError> {
        Ok(SystemInfo {
            version: "0.1.0".into(),
            image: "default".into(),
            tsc_mhz: 2400,
            uptime_us: 200_000_000,
            cores_present: 2,
            ram_bytes: self.memory()?.iter().map(|core| core.ram_bytes).sum::<u64>()
                + self.pool_bytes,
            pool_bytes: self.pool_bytes,
            command_line: "quiet".into(),
        })
    }

    fn log(&mut self, from: u64) -> Result<LogPage, SystemError> {
        let start = from.max(self.log_start);
        let records: Vec<_> =
            self.log.iter().filter(|r| r.seq >= start).take(LOG_PAGE).cloned().collect();
        let next = records.last().map_or(start, |last| last.seq + 1);
        Ok(LogPage { records, next, lost: start - from })
    }

    fn tables(&mut self) -> Result<Vec<TableInfo>, SystemError> {
        let table = |name: &str, address, bytes, maker: &str, problem: Option<&str>| TableInfo {
            name: name.into(),
            address,
            bytes,
            revision: 1,
            maker: maker.into(),
            problem: problem.map(Into::into),
        };
        Ok(vec![
            table("HPET", 0x1ffe_2000, 20, "BOCHS BXPC", None),
            table("SRAT", 0x1ffe_3000, 400, "BOCHS \x1b[2JXPC", Some("its checksum is wrong")),
        ])
    }

    fn table_bytes(&mut self, table: u32) -> Result<Vec<u8>, SystemError> {
        assert_eq!(table, 0, "the other one is damaged");
        Ok(b"HPET".iter().copied().chain(0..16).collect())
    }

    fn table_words(&mut self, table: u32) -> Result<Vec<String>, SystemError> {
        let words = ["registers at 0xfed00000", "its checksum is wrong"];
        Ok(vec![words[table as usize].into()])
    }

    fn devices(&mut self) -> Result<Vec<DeviceInfo>, SystemError> {
        Ok(functions())
    }

    fn nodes(&mut self) -> Result<Vec<NodeInfo>, SystemError> {
        let memory =
            |start, megabytes: u64, kind| MemoryInfo { start, bytes: megabytes << 20, kind };
        let node =
            |node, processors, memory, distances| NodeInfo { node, processors, memory, distances };
        let ram = |start| memory(start, 256, MemoryKind::Ram);
        let persistent = memory(1 << 32, 64, MemoryKind::Persistent);
        Ok(vec![
            node(0, vec![(0, 1)], vec![ram(0)], vec![(0, 10), (1, 21)]),
            node(1, vec![(2, 2), (4, 4)], vec![ram(256 << 20), persistent], vec![(0, 21), (1, 10)]),
        ])
    }

    fn persistent(&mut self) -> Result<Vec<PersistentRange>, SystemError> {
        if self.no_nvdimm {
            return Ok(Vec::new());
        }
        Ok(vec![PersistentRange {
            index: 2,
            start: 1 << 32,
            bytes: 64 << 20,
            node: Some(1),
            unarmed: true,
            domain: Some(PersistenceDomain::MemoryControllers),
        }])
    }

    fn nvdimm(&mut self) -> Result<(Vec<RangeStatus>, Option<PersistenceDomain>), SystemError> {
        let range = |index, armed| RangeStatus { index, bytes: 64 << 20, node: Some(1), armed };
        Ok((vec![range(2, true), range(3, false)], Some(PersistenceDomain::Caches)))
    }

    fn nvdimm_read(&mut self, _: u16, offset: u64, bytes: u32) -> Result<Vec<u8>, SystemError> {
        assert_eq!((offset, bytes), (0x1ffe, 64));
        Ok(b"persistent\0".iter().copied().cycle().take(20).collect())
    }

    fn nvdimm_write(&mut self, range: u16, offset: u64, bytes: &[u8]) -> Result<(), SystemError> {
        if range > 0 {
            return Err(SystemError::Nvdimm(NvdimmError::Unarmed));
        }
        self.done.push(format!("{} bytes at {offset:#x}", bytes.len()));
        Ok(())
    }

    fn iommu(&mut self) -> Result<Vec<IommuUnit>, SystemError> {
        if self.no_iommu {
            return Ok(Vec::new());
        }
        let device = |bus, device| PciAddress { segment: 0, bus, device, function: 0 };
        let used = IommuUnit {
            registers: 0xfed9_0000,
            address_bits: 39,
            remaps_interrupts: true,
            table_pages: 9,
            interrupts: 1,
            faults: 2,
            lost: 1,
            devices: vec![(device(0, 3), 272), (device(1, 0), 1)],
            ..IommuUnit::default()
        };
        let problem = Some("its tables are of an unknown kind".into());
        let broken = IommuUnit { registers: 0xfed9_1000, problem, ..IommuUnit::default() };
        Ok(vec![used, broken])
    }

    fn faults(&mut self) -> Result<Vec<String>, SystemError> {
        Ok(vec!["device 00:03.0 was kept from writing 0x1000 (no mapping)".into()])
    }

    fn problems(&mut self) -> Result<Vec<String>, SystemError> {
        Ok(vec!["the ACPI table SRAT at 0x1ffe3000: its checksum is wrong".into()])
    }

    fn interfaces(&mut self) -> Result<Vec<InterfaceStatus>, SystemError> {
        let address = |text: &str| text.parse().expect("an address");
        let own = |text: &str, prefix, origin| InterfaceAddress {
            address: address(text),
            prefix,
            origin,
        };
        Ok(vec![
            InterfaceStatus {
                name: "virtio-net".into(),
                mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
                link: LinkState::Up,
                mtu: 1500,
                addresses: vec![
                    own("10.0.2.15", 24, Origin::Dhcp),
                    own("fe80::5054:ff:fe12:3456", 64, Origin::LinkLocal),
                ],
                routers: vec![address("10.0.2.2")],
                name_servers: vec![address("10.0.2.3")],
                received: Traffic { frames: 12, bytes: 3456 },
                sent: Traffic { frames: 1, bytes: 342 },
                drops: vec![(DropReason::Checksum, 2), (DropReason::NotOurs, 1)],
                restarts: 1,
            },
            InterfaceStatus {
                name: "e1000e".into(),
                mac: [0; 6],
                link: LinkState::NoDriver,
                mtu: 1500,
                addresses: vec![],
                routers: vec![],
                name_servers: vec![],
                received: Traffic::default(),
                sent: Traffic::default(),
                drops: vec![],
                restarts: 0,
            },
        ])
    }

    fn sockets(&mut self) -> Result<Vec<SocketStatus>, SystemError> {
        Ok(vec![SocketStatus {
            region: "net-serve".into(),
            kind: SocketKind::Stream,
            local: "10.0.2.15:7".parse().expect("an address"),
            remote: Some("10.0.2.2:40000".parse().expect("an address")),
            state: "ESTABLISHED".into(),
        }])
    }

    fn resolve(&mut self, name: &str) -> Result<Vec<IpAddr>, SystemError> {
        match name {
            "d3os.example" => Ok(vec!["192.0.2.1".parse().expect("an address")]),
            _ => Err(SystemError::Net(NetError::NoSuchName)),
        }
    }

    fn host_files(&mut self, directory: &str) -> Result<Vec<Entry>, SystemError> {
        let directory = directory.trim_end_matches('/');
        let start = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let inside =
            |path: &&String| path.starts_with(&start) && !path[start.len()..].contains('/');
        let entry = |(path, bytes): (&String, &Option<Vec<u8>>)| Entry {
            name: path[start.len()..].into(),
            status: FileStatus {
                kind: if bytes.is_some() { FileKind::File } else { FileKind::Directory },
                bytes: bytes.as_ref().map_or(4096, |bytes| bytes.len() as u64),
                modified: 1_795_452_631,
            },
        };
        Ok(self.host().iter().filter(|(path, _)| inside(path)).map(entry).collect())
    }

    fn read_host(&mut self, path: &str, offset: u64) -> Result<Vec<u8>, SystemError> {
        let refused = |errno| SystemError::Share(ShareError::Host(errno));
        let bytes = self.host().get(path).ok_or(refused(Errno::ENOENT))?;
        let bytes = bytes.as_ref().ok_or(refused(Errno::EISDIR))?;
        let rest = bytes.get(usize::try_from(offset).expect("short")..).unwrap_or_default();
        Ok(rest[..rest.len().min(7)].to_vec())
    }

    fn write_host(&mut self, path: &str, bytes: &[u8]) -> Result<(), SystemError> {
        self.host().insert(path.into(), Some(bytes.to_vec()));
        Ok(())
    }

    fn remove_host(&mut self, path: &str) -> Result<(), SystemError> {
        let refused = SystemError::Share(ShareError::Host(Errno::ENOENT));
        self.host().remove(path).map(|_| ()).ok_or(refused)
    }

    fn make_host_directory(&mut self, path: &str) -> Result<(), SystemError> {
        self.host().insert(path.into(), None);
        Ok(())
    }

    fn screen(&mut self) -> Result<(ScreenStatus, Vec<String>), SystemError> {
        let status = ScreenStatus {
            width: 1024,
            height: 768,
            columns: 126,
            rows: 45,
            console: 2,
            consoles: 4,
        };
        if self.no_screen {
            return Err(SystemError::Console(ConsoleError::NoScreen));
        }
        Ok((status, ["d3os> ps", "", "", " d3os  1  2 "].map(String::from).to_vec()))
    }

    fn draw_graph(&mut self, graph: Graph) -> Result<(), SystemError> {
        if self.no_screen {
            return Err(SystemError::Console(ConsoleError::NoScreen));
        }
        self.done.push(format!("graph of {} values", graph.values.len()));
        Ok(())
    }

    fn layout(&mut self) -> Result<Layout, SystemError> {
        if self.no_screen {
            Err(SystemError::Keyboard(KeyboardError::Absent))
        } else {
            Ok(Layout::Us)
        }
    }

    fn set_layout(&mut self, layout: Layout) -> Result<(), SystemError> {
        self.done.push(format!("layout {layout}"));
        Ok(())
    }

    fn power_off(&mut self, status: u8) -> Result<(), SystemError> {
        self.done.push(format!("power off {status}"));
        Ok(())
    }

    fn reboot(&mut self) -> Result<(), SystemError> {
        self.done.push("reboot".into());
        Ok(())
    }
}

/// A machine with a bridge, a card behind it that is driven, and a disk controller that is not.
fn functions() -> Vec<DeviceInfo> {
    let function = |bus, device, function, words: &str, vendor, id| DeviceInfo {
        address: PciAddress { segment: 0, bus, device, function },
        vendor,
        device: id,
        revision: 0,
        class: [0; 3],
        subsystem: None,
        buses: None,
        bars: Vec::new(),
        capabilities: Vec::new(),
        interrupt: Interrupt::None,
        words: words.into(),
        claim: None,
    };
    let memory = |wide| BarSpace::Memory { wide, prefetchable: wide };
    let bar = |index, space, address, size| Bar { index, space, address, size };
    let claim =
        |name: &str| Claim { name: name.into(), driver: name.into(), state: DeviceState::Ready };
    vec![
        function(0, 0, 0, "host bridge", 0x8086, 0x29c0),
        DeviceInfo {
            buses: Some((1, 1)),
            capabilities: vec![(0x10, 0x54), (0x05, 0x48)],
            interrupt: Interrupt::Msi { vectors: 1 },
            ..function(0, 2, 0, "PCI bridge", 0x1b36, 0x000c)
        },
        DeviceInfo {
            revision: 2,
            subsystem: Some((0x1af4, 0x1100)),
            bars: vec![bar(4, BarSpace::Ports, 0xc080, 32), bar(5, memory(false), 0, 0x1000)],
            interrupt: Interrupt::Unrouted { pin: 1 },
            ..function(0, 0x1f, 2, "SATA controller", 0x8086, 0x2922)
        },
        DeviceInfo {
            bars: vec![
                bar(0, memory(false), 0xfeb8_0000, 0x2_0000),
                bar(3, memory(true), 0xfebd_0000, 0),
            ],
            capabilities: vec![(0x11, 0xa0), (0x20, 0xe0)],
            interrupt: Interrupt::MsiX { vectors: 5, bar: 3, offset: 0 },
            claim: Some(claim("e1000e")),
            ..function(1, 0, 0, "Ethernet controller", 0x8086, 0x10d3)
        },
    ]
}
