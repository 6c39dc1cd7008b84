//! The 82574L's process: device, memory and interrupt for the engine of [`nic`].
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use core::convert::Infallible;
use core::fmt;
use core::hint::spin_loop;
use core::time::Duration;

use libd3os::device::{DeviceIdentity, capabilities};
use libd3os::mmio;
use libd3os::nic::Consumer;
use libd3os::start::StartInfo;
use libd3os::time::{Clock, tsc};
use nic::process::{self, Ended, Failure, Hardware, Names};

use e1000e::device::{Device, Interrupts, Overwritten, SetupError};
use e1000e::regs::{Register, Registers};

libd3os::program! {
    main: run,
    serves: ["e1000e"],
    calls: ["log", "supervisor"],
    devices: ["e1000e"],
    dma: ["e1000e-rings", "e1000e-rx", "e1000e-tx"],
    signals: ["nic-up", "e1000e-frames"],
    waits: ["e1000e-irq", "e1000e-send"],
}

const NAMES: Names = Names {
    device: "e1000e",
    rings: "e1000e-rings",
    receive: "e1000e-rx",
    consumers: &[(Consumer::Net, "e1000e-tx", "e1000e-frames")],
    interrupt: "e1000e-irq",
    up: "nic-up",
};

/// Base address register of the registers (10.1.1.1).
const REGISTERS: u8 = 0;
/// PCI's number for the capability of MSI-X.
const MSI_X: u8 = 0x11;

/// Why the driver has ended.
#[derive(Debug)]
enum Fatal {
    NotPci,
    Setup(SetupError),
    Ended(Ended<Overwritten>),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPci => f.write_str("the device is not on PCI"),
            Self::Setup(error) => error.fmt(f),
            Self::Ended(ended) => ended.fmt(f),
        }
    }
}

impl From<Failure> for Fatal {
    fn from(failure: Failure) -> Self {
        Self::Ended(Ended::Failure(failure))
    }
}

fn run(start: &'static StartInfo) -> Result<Infallible, Fatal> {
    let hardware = Hardware::take(NAMES)?;
    let DeviceIdentity::Pci { config, .. } = hardware.device.identity() else {
        return Err(Fatal::NotPci);
    };
    let registers = hardware.device.registers(REGISTERS).map_err(Failure::Device)?;
    let clock = Clock::new(start.tsc_mhz, start.boot_tsc);
    let chip = Chip { registers, clock };
    let vector = capabilities(config).any(|(kind, _)| kind == MSI_X);
    let interrupts = if vector { Interrupts::Vector } else { Interrupts::Single };
    let buffers = hardware.receive_buffers();
    let device = Device::new(chip, hardware.rings, hardware.frames, buffers, interrupts);
    process::run(hardware, device.map_err(Fatal::Setup)?).map_err(Fatal::Ended)
}

/// The card's registers, mapped.
#[derive(Debug)]
struct Chip {
    registers: mmio::Registers,
    clock: Clock,
}

impl Registers for Chip {
    fn read(&mut self, register: Register) -> u32 {
        self.registers.read32(register as usize)
    }

    fn write(&mut self, register: Register, value: u32) {
        self.registers.write32(register as usize, value);
    }

    fn write_nth(&mut self, register: Register, index: usize, value: u32) {
        self.registers.write32(register as usize + 4 * index, value);
    }

    fn wait_us(&mut self, microseconds: u32) {
        let ticks = self.clock.ticks(Duration::from_micros(microseconds.into()));
        let begin = tsc();
        while tsc().wrapping_sub(begin) < ticks {
            spin_loop();
        }
    }
}
