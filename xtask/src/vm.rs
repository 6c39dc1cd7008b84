//! The virtual machine: one description, from which the QEMU command line is made.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;

use crate::tools::{self, Tool, ToolError};

/// I/O port of the device through which a guest ends QEMU with a status.
pub(crate) const EXIT_PORT: u16 = 0xf4;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// Emulation: the reference, works everywhere.
    #[default]
    Tcg,
    /// The processor itself, by /dev/kvm.
    Kvm,
    /// The processor where /dev/kvm can be opened, else emulation.
    Auto,
}

/// Where the machine starts from.
#[derive(Clone, Debug)]
pub(crate) enum Boot {
    /// QEMU loads the kernel itself (PVH) with one module.
    Direct {
        /// The kernel's ELF file.
        kernel: PathBuf,
        /// The root task's.
        module: PathBuf,
        /// Options for the kernel.
        command_line: String,
    },
    /// From a CD, by the firmware.
    Cdrom {
        /// The image.
        iso: PathBuf,
        /// Which firmware.
        firmware: Firmware,
    },
}

/// What runs before the boot loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// SeaBIOS, which QEMU brings.
    Bios,
    /// UEFI from this file.
    Uefi(PathBuf),
}

/// Chipset and processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// A server's chipset, and all that the processor can do.
    Modern,
    /// What seL4's figures were taken on.
    Reference,
}

/// What happens when the guest resets the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnReset {
    /// It starts again.
    Restart,
    /// QEMU ends: a triple fault must not loop.
    Quit,
}

/// A machine to be started.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Where it starts from.
    pub(crate) boot: Boot,
    /// Chipset and processor.
    pub(crate) platform: Platform,
    /// Processors.
    pub(crate) cores: u32,
    /// RAM in QEMU's notation, such as `512M`.
    pub(crate) memory: String,
    /// What executes.
    pub(crate) accel: Accel,
    /// One nanosecond of virtual time per instruction.
    pub(crate) counted: bool,
    /// A window for the screen.
    pub(crate) display: bool,
    /// Wait for a debugger on port 1234.
    pub(crate) debugger: bool,
    /// After a reset.
    pub(crate) on_reset: OnReset,
    /// Further arguments for QEMU, last.
    pub(crate) extra: Vec<OsString>,
}

impl Machine {
    /// A machine with two processors and 512 MiB that ends at a reset.
    pub(crate) fn new(boot: Boot) -> Self {
        Self {
            boot,
            platform: Platform::Modern,
            cores: 2,
            memory: "512M".into(),
            accel: Accel::Tcg,
            counted: false,
            display: false,
            debugger: false,
            on_reset: OnReset::Quit,
            extra: Vec::new(),
        }
    }

    /// QEMU's command line; serial line and monitor share standard input and output.
    ///
    /// # Errors
    /// If there is no QEMU and it cannot be installed.
    pub(crate) fn command(&self) -> Result<Command, ToolError> {
        let mut qemu = Command::new(tools::ensure(Tool::Qemu)?);
        qemu.args(self.platform.arguments()).args(["-serial", "mon:stdio"]);
        qemu.arg("-device").arg(format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"));
        qemu.args(["-smp", &self.cores.to_string(), "-m", &self.memory, "-nic", "none"]);
        qemu.args(self.accel.arguments());
        self.add_switches(&mut qemu);
        self.add_boot(&mut qemu);
        qemu.args(&self.extra);
        Ok(qemu)
    }

    fn add_switches(&self, qemu: &mut Command) {
        if !self.display {
            qemu.args(["-display", "none"]);
        }
        if self.on_reset == OnReset::Quit {
            qemu.arg("-no-reboot");
        }
        if self.counted {
            qemu.args(["-icount", "shift=0,sleep=off", "-rtc", "base=2000-01-01,clock=vm"]);
        }
        if self.debugger {
            qemu.args(["-S", "-gdb", "tcp:127.0.0.1:1234"]);
        }
    }

    fn add_boot(&self, qemu: &mut Command) {
        match &self.boot {
            Boot::Direct { kernel, module, command_line } => {
                qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(module);
                if !command_line.is_empty() {
                    qemu.arg("-append").arg(command_line);
                }
            }
            Boot::Cdrom { iso, firmware } => {
                qemu.arg("-cdrom").arg(iso);
                if let Firmware::Uefi(image) = firmware {
                    qemu.arg("-bios").arg(image);
                }
            }
        }
    }
}

impl Platform {
    fn arguments(self) -> [&'static str; 4] {
        const REFERENCE: &str = "Nehalem,-vme,+pdpe1gb,-xsave,-xsaveopt,-xsavec,-fsgsbase,\
                                 -invpcid,+syscall,+lm";
        match self {
            Self::Modern => ["-machine", "q35", "-cpu", "max"],
            Self::Reference => ["-machine", "pc", "-cpu", REFERENCE],
        }
    }
}

impl Accel {
    fn arguments(self) -> &'static [&'static str] {
        let kvm = match self {
            Self::Tcg => false,
            Self::Kvm => true,
            Self::Auto => OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok(),
        };
        if kvm { &["-accel", "kvm"] } else { &["-accel", "tcg"] }
    }
}
