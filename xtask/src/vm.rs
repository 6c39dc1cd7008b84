//! The virtual machine: one description, from which the QEMU command line is made.

mod network;
mod pmem;
mod share;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::tools::{self, Tool, ToolError};

pub(crate) use network::{Forward, Network, NicChoice};
pub(crate) use pmem::{Arming, Persistence, Pmem, PmemError, Store};
pub(crate) use share::Share;

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
    /// From the ISO image, by the firmware.
    Iso {
        /// The image.
        iso: PathBuf,
        /// Which firmware.
        firmware: Firmware,
        /// What the image was written to.
        medium: Medium,
    },
}

/// What an ISO image was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A CD.
    Cd,
    /// A USB stick, at an xHCI controller.
    Usb,
    /// A virtio disk.
    Disk,
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
    /// An old chipset without PCI Express, and all that the processor can do.
    Old,
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

/// Whether devices' accesses to memory go through an IOMMU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Iommu {
    /// There is none.
    #[default]
    Absent,
    /// VT-d, with interrupt remapping; virtio devices obey it.
    Present,
}

/// The serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SerialLine {
    /// QEMU's standard input and output, which its monitor shares.
    #[default]
    Terminal,
    /// There is no serial port.
    Absent,
}

/// Where the screen is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Display {
    /// Nowhere; the graphics card is there all the same.
    #[default]
    None,
    /// In a window.
    Window,
}

/// Control from outside over a machine that is to be looked at when it has switched itself off: it
/// stays, stopped, until QEMU is told to end.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    /// Where its monitor listens.
    pub(crate) socket: PathBuf,
    /// Where what the guest writes to the exit port goes: it does not end QEMU then.
    pub(crate) verdict: PathBuf,
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
    /// Persistent memory; the RAM's notation leaves room for it.
    pub(crate) pmem: Option<Pmem>,
    /// What executes.
    pub(crate) accel: Accel,
    /// One nanosecond of virtual time per instruction.
    pub(crate) counted: bool,
    /// The serial line.
    pub(crate) serial: SerialLine,
    /// Where the screen is shown.
    pub(crate) display: Display,
    /// Network cards, and where they lead.
    pub(crate) network: Network,
    /// A directory of this host that it sees.
    pub(crate) share: Option<Share>,
    /// Before the devices.
    pub(crate) iommu: Iommu,
    /// From outside.
    pub(crate) control: Option<Control>,
    /// Added to the chipset's options, such as `hpet=off`.
    pub(crate) chipset_options: Vec<String>,
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
            pmem: None,
            accel: Accel::Tcg,
            counted: false,
            serial: SerialLine::Terminal,
            display: Display::None,
            network: Network::default(),
            share: None,
            iommu: Iommu::Absent,
            control: None,
            chipset_options: Vec::new(),
            debugger: false,
            on_reset: OnReset::Quit,
            extra: Vec::new(),
        }
    }

    /// The machine with persistent memory.
    ///
    /// # Errors
    /// If the size of its RAM cannot be read.
    pub(crate) fn with_pmem(self, pmem: Pmem) -> Result<Self, PmemError> {
        Ok(Self { memory: pmem.with_room(&self.memory)?, pmem: Some(pmem), ..self })
    }

    /// QEMU's command line.
    ///
    /// # Errors
    /// If there is no QEMU and it cannot be installed.
    pub(crate) fn command(&self) -> Result<Command, ToolError> {
        let mut qemu = Command::new(tools::ensure(Tool::Qemu)?);
        let (chipset, processor) = self.platform.arguments();
        let of_pmem = self.pmem.iter().flat_map(Pmem::chipset_options);
        let options = self.chipset_options.iter().cloned().chain(of_pmem);
        let chipset =
            options.fold(chipset.to_owned(), |options, option| format!("{options},{option}"));
        qemu.args(["-machine", &chipset, "-cpu", processor]);
        qemu.args(self.serial.arguments());
        qemu.args(["-smp", &self.cores.to_string(), "-m", &self.memory]);
        qemu.args(self.accel.arguments());
        self.add_control(&mut qemu);
        self.add_switches(&mut qemu);
        // Other devices may refer to it.
        if self.iommu == Iommu::Present {
            qemu.args(["-device", "intel-iommu,intremap=on"]);
        }
        qemu.args(self.network.arguments(self.iommu));
        qemu.args(self.pmem.iter().flat_map(Pmem::arguments));
        qemu.args(self.share.iter().flat_map(|share| share.arguments(self.iommu)));
        self.add_boot(&mut qemu);
        qemu.args(&self.extra);
        Ok(qemu)
    }

    fn add_control(&self, qemu: &mut Command) {
        let Some(Control { socket, verdict }) = &self.control else {
            let exit = format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4");
            qemu.args(["-device", &exit]);
            return;
        };
        qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        qemu.args(["-action", "shutdown=pause"]);
        qemu.arg("-chardev").arg(format!("file,id=verdict,path={}", verdict.display()));
        qemu.arg("-device").arg(format!("isa-debugcon,iobase={EXIT_PORT:#x},chardev=verdict"));
    }

    fn add_switches(&self, qemu: &mut Command) {
        if self.display == Display::None {
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
            Boot::Iso { iso, firmware, medium } => {
                medium.add(iso, qemu);
                if let Firmware::Uefi(image) = firmware {
                    qemu.arg("-bios").arg(image);
                }
            }
        }
    }
}

impl Medium {
    fn add(self, iso: &Path, qemu: &mut Command) {
        let drive = |kind: &str| {
            format!("if=none,id=medium,format=raw,readonly=on,media={kind},file={}", iso.display())
        };
        match self {
            Self::Cd => qemu.arg("-cdrom").arg(iso),
            Self::Usb => qemu.arg("-drive").arg(drive("disk")).args([
                "-device",
                "qemu-xhci",
                "-device",
                "usb-storage,drive=medium,bootindex=0",
            ]),
            Self::Disk => qemu
                .arg("-drive")
                .arg(drive("disk"))
                .args(["-device", "virtio-blk-pci,drive=medium,bootindex=0"]),
        };
    }
}

impl SerialLine {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Terminal => &["-serial", "mon:stdio"],
            Self::Absent => &["-serial", "none", "-monitor", "none"],
        }
    }
}

impl Platform {
    /// Chipset and processor.
    fn arguments(self) -> (&'static str, &'static str) {
        const REFERENCE: &str = "Nehalem,-vme,+pdpe1gb,-xsave,-xsaveopt,-xsavec,-fsgsbase,\
                                 -invpcid,+syscall,+lm";
        match self {
            Self::Modern => ("q35", "max"),
            Self::Old => ("pc", "max"),
            Self::Reference => ("pc", REFERENCE),
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
