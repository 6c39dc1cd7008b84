//! The process: a transfer within its own region, or one that aims elsewhere.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::fmt;
use core::time::Duration;

use edu::device::{Device, DeviceError, Direction, Transfer};
use edu::regs::{Register, Registers, WideRegister};
use libd3os::cap::{self, IrqHandler, Notification};
use libd3os::ipc::MissingGrant;
use libd3os::mmio;
use libd3os::program::{self, grant};
use libd3os::region::RegionError;
use libd3os::shared::SharedMemory;
use libd3os::start::{GrantKind, StartInfo};
use libd3os::{device, println, sys, time};

libd3os::program! {
    main: run,
    calls: ["console", "log", "supervisor"],
    devices: ["edu"],
    dma: ["edu"],
    waits: ["edu-irq"],
}

/// Bytes of the pattern.
const BYTES: usize = 64;
/// Where the pattern begins, and where it comes back to.
const FROM: usize = 0;
const BACK: usize = 2048;
/// A transfer takes QEMU a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// An interrupt is there at once when a transfer is done, or is none.
const GRACE: Duration = Duration::from_millis(200);

/// Why it does not work.
#[derive(Debug)]
enum Failure {
    Grant(MissingGrant<'static>),
    NoDevice(device::DeviceError<'static>),
    NotReachable,
    Interrupt(cap::Error),
    Device(DeviceError),
    Region(RegionError),
    NoNumber,
    NeverDone,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::NoDevice(error) => error.fmt(f),
            Self::NotReachable => f.write_str("no device reaches the region"),
            Self::Interrupt(error) => write!(f, "the interrupt cannot be had: {error}"),
            Self::Device(error) => error.fmt(f),
            Self::Region(error) => write!(f, "the region: {error}"),
            Self::NoNumber => {
                f.write_str("--read and --write want an address, hexadecimal with 0x")
            }
            Self::NeverDone => f.write_str("the device does not come to an end"),
        }
    }
}

fn run(start: &'static StartInfo) -> Result<(), Failure> {
    let aims = [aim(start, "--read")?, aim(start, "--write")?];
    let mut driver = Driver::take()?;
    let own = driver.memory.bus().ok_or(Failure::NotReachable)?;
    driver.memory.write(FROM, &pattern()).map_err(Failure::Region)?;
    driver.transfer(own, Direction::FromMemory)?;
    let [read, write] = aims;
    if let Some(address) = read {
        driver.transfer(address, Direction::FromMemory)?;
    }
    if let Some(address) = write {
        driver.transfer(address, Direction::ToMemory)?;
        println!("edu was told to write to {address:#x}");
    }
    driver.transfer(own + BACK as u64, Direction::ToMemory)?;
    let mut came_back = [0; BYTES];
    driver.memory.read(BACK, &mut came_back).map_err(Failure::Region)?;
    println!("{}", verdict(read.is_some(), &came_back));
    println!("edu interrupted {} times", driver.interrupts);
    Ok(())
}

fn pattern() -> [u8; BYTES] {
    core::array::from_fn(|at| at.to_le_bytes()[0] ^ 0xa5)
}

/// What the device's buffer says. After a read that was refused the pattern stands there still, or the
/// same byte everywhere.
fn verdict(read_elsewhere: bool, came_back: &[u8; BYTES]) -> &'static str {
    let is_own = *came_back == pattern();
    let is_nothing = came_back.iter().all(|byte| *byte == came_back[0]);
    match (read_elsewhere, is_own, is_nothing) {
        (false, true, _) => "edu brought its own memory back",
        (false, false, _) => "edu brought something else back",
        (true, true, _) | (true, _, true) => "edu could not read there",
        (true, false, false) => "edu read what is not its own",
    }
}

/// The address that an argument says, if it is there.
fn aim(start: &StartInfo, argument: &str) -> Result<Option<u64>, Failure> {
    let mut args = start.args.iter().skip_while(|arg| *arg != argument);
    if args.next().is_none() {
        return Ok(None);
    }
    let digits = args.next().and_then(|arg| arg.strip_prefix("0x")).ok_or(Failure::NoNumber)?;
    u64::from_str_radix(digits, 16).map(Some).map_err(|_| Failure::NoNumber)
}

/// Whether something comes true in time.
fn within(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let now = || time::uptime().unwrap_or_default();
    let end = now() + patience;
    while now() < end {
        if is_so() {
            return true;
        }
        sys::yield_now();
    }
    false
}

struct Driver {
    device: Device<Mapped>,
    memory: SharedMemory,
    interrupt: Option<IrqHandler>,
    notification: Notification,
    interrupts: u32,
}

impl Driver {
    fn take() -> Result<Self, Failure> {
        let device = program::device("edu").map_err(Failure::NoDevice)?;
        let waits = grant(GrantKind::Waits, "edu-irq").map_err(Failure::Grant)?;
        let notification = Notification::new(waits);
        let interrupt = device.interrupt();
        if let Some(interrupt) = &interrupt {
            interrupt.set_notification(notification).map_err(Failure::Interrupt)?;
            interrupt.ack().map_err(Failure::Interrupt)?;
        }
        let memory = program::region("edu").map_err(Failure::Grant)?;
        let registers = Mapped(device.registers(0).map_err(Failure::NoDevice)?);
        let device = Device::new(registers).map_err(Failure::Device)?;
        Ok(Self { device, memory, interrupt, notification, interrupts: 0 })
    }

    /// Has the device transfer, and waits until it has.
    fn transfer(&mut self, address: u64, direction: Direction) -> Result<(), Failure> {
        let transfer = Transfer { address, bytes: BYTES as u64, direction };
        self.device.begin(transfer).map_err(Failure::Device)?;
        if !within(PATIENCE, || !self.device.is_busy()) {
            return Err(Failure::NeverDone);
        }
        self.note_interrupt()
    }

    fn note_interrupt(&mut self) -> Result<(), Failure> {
        let came = self.interrupt.is_some() && within(GRACE, || self.notification.poll() != 0);
        self.device.acknowledge();
        if let Some(interrupt) = &self.interrupt {
            interrupt.ack().map_err(Failure::Interrupt)?;
        }
        self.interrupts += u32::from(came);
        Ok(())
    }
}

/// The registers in memory.
struct Mapped(mmio::Registers);

impl Registers for Mapped {
    fn read(&mut self, register: Register) -> u32 {
        self.0.read32(usize::from(register as u16))
    }

    fn write(&mut self, register: Register, value: u32) {
        self.0.write32(usize::from(register as u16), value);
    }

    fn read_wide(&mut self, register: WideRegister) -> u64 {
        self.0.read64(usize::from(register as u16))
    }

    fn write_wide(&mut self, register: WideRegister, value: u64) {
        self.0.write64(usize::from(register as u16), value);
    }
}
