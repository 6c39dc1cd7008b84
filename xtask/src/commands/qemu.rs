//! `qemu`: boots to the shell on the terminal, or runs shell lines and says how they went.

mod screenshot;
pub(crate) mod script;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::termios::{self, SetArg, Termios};

use self::screenshot::Screenshot;
use super::build::{self, BuildError};
use crate::compile::Profile;
use crate::process::{self, CommandError};
use crate::progress;
use crate::tools::ToolError;
use crate::vm::{
    Accel, Boot, Display, EXIT_PORT, Forward, Iommu, Machine, Network, NicChoice, OnReset,
    Persistence, PmemError, Share, Store,
};
use crate::workshop::{Workshop, WorkshopError};

/// Options of `qemu`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Processors.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=255))]
    smp: u32,
    /// RAM in QEMU's notation.
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: String,
    /// What executes the guest's instructions.
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    /// Network cards, at QEMU's user network.
    #[arg(long, value_enum, default_value_t)]
    nic: NicChoice,
    /// Let a port of this host (on 127.0.0.1) lead to one of the guest, by TCP and UDP.
    #[arg(long, value_name = "HOST:GUEST")]
    forward: Vec<Forward>,
    /// Share a directory of this host with the machine, to read and write (`share` in its shell).
    #[arg(long, value_name = "DIR")]
    share: Option<Share>,
    /// Put an IOMMU (VT-d) between devices and memory.
    #[arg(long)]
    iommu: bool,
    /// Persistent memory over this file, which is made, sparse, where it is not there and a size is
    /// given. Without this, 1 GiB over a file that is kept for the image in target/d3os/pmem.
    #[arg(long, value_name = "FILE[:SIZE]")]
    pmem: Option<Store>,
    /// No persistent memory.
    #[arg(long, conflicts_with = "pmem")]
    no_pmem: bool,
    /// What of the persistent memory is saved when power fails: what has reached the memory
    /// controllers (adr), or the processors' caches (eadr).
    #[arg(long, value_enum, default_value_t, conflicts_with = "no_pmem")]
    pmem_persistence: Persistence,
    /// Where the screen is shown.
    #[arg(long, value_enum, default_value_t)]
    display: Display,
    /// When the machine has switched itself off, write what its screen shows to this PNG file.
    #[arg(long, value_name = "FILE")]
    screenshot: Option<PathBuf>,
    /// Run these shell lines (`line; line`), print only their output and power off; succeed if
    /// all lines did.
    #[arg(long, value_name = "LINES")]
    run: Option<String>,
    /// End the machine after this many seconds (with --run by default after 300) and fail.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Let virtual time follow executed instructions, the same on every run.
    #[arg(long)]
    icount: bool,
    /// Wait for a debugger on port 1234 before the first instruction.
    #[arg(long)]
    gdb: bool,
    /// The image: a file images/NAME.toml.
    #[arg(long, value_name = "NAME", default_value = build::DEFAULT_IMAGE)]
    image: String,
    /// Build the kernel with checks, debug information and the Debug* system calls.
    #[arg(long)]
    debug: bool,
    /// Further arguments for QEMU.
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    extra: Vec<OsString>,
}

/// The machine did not run, or did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QemuError {
    /// No workspace or no compiler.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    /// Nothing to boot.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No persistent memory.
    #[error(transparent)]
    Pmem(#[from] PmemError),
    /// No QEMU.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// QEMU could not be started.
    #[error(transparent)]
    Start(#[from] CommandError),
    /// QEMU could not be waited for.
    #[error("lost QEMU")]
    Lost(#[source] io::Error),
    /// The screen could not be kept.
    #[error("no screenshot")]
    Screenshot(#[from] screenshot::ScreenshotError),
    /// An option that contradicts another.
    #[error("--icount counts emulated instructions: it needs --accel tcg")]
    CountNeedsEmulation,
    /// The time is over.
    #[error("the machine was ended after {0} s (--timeout)")]
    Timeout(u64),
    /// The guest ended otherwise than its lines.
    #[error("{0}")]
    Guest(#[from] script::GuestDeath),
}

impl Args {
    /// Builds what is needed and runs the machine.
    pub(crate) fn run(self) -> Result<ExitCode, QemuError> {
        if self.icount && self.accel != Accel::Tcg {
            return Err(QemuError::CountNeedsEmulation);
        }
        let workshop = Workshop::open()?;
        let profile = if self.debug { Profile::Debug } else { Profile::Release };
        let kernel = build::kernel(&workshop, profile)?;
        let screenshot = self.screenshot.as_deref();
        let screenshot = screenshot.map(|file| Screenshot::new(&workshop, file)).transpose()?;
        let control = screenshot.as_ref().map(|screenshot| screenshot.control().clone());
        match self.run.clone() {
            Some(lines) => {
                let module = script::Module::write(&workshop, &self.image, lines)?;
                let boot = Boot::Direct {
                    kernel,
                    module: module.path().into(),
                    command_line: format!("quiet exit_port={EXIT_PORT:#x}"),
                };
                let machine = Machine { control, ..self.machine(&workshop.paths.out(), boot)? };
                let seconds = self.timeout.unwrap_or(script::DEFAULT_TIMEOUT);
                script::run(&machine, seconds, screenshot)
            }
            None => {
                let module = build::image(&workshop, &self.image)?;
                let machine = self.interactive_machine(&workshop.paths.out(), kernel, module)?;
                let machine = Machine { control, ..machine };
                interactive(&machine, self.timeout, screenshot)
            }
        }
    }

    /// The machine of a session. A system in it that cannot start, or dies, ends it with a status.
    fn interactive_machine(
        &self,
        out: &Path,
        kernel: PathBuf,
        module: PathBuf,
    ) -> Result<Machine, PmemError> {
        let command_line = format!("exit_port={EXIT_PORT:#x}");
        let boot = Boot::Direct { kernel, module, command_line };
        Ok(Machine { on_reset: OnReset::Restart, ..self.machine(out, boot)? })
    }

    fn machine(&self, out: &Path, boot: Boot) -> Result<Machine, PmemError> {
        let machine = Machine {
            cores: self.smp,
            memory: self.memory.clone(),
            accel: self.accel,
            counted: self.icount,
            display: self.display,
            network: Network { forwards: self.forward.clone(), ..Network::new(self.nic) },
            share: self.share.clone(),
            iommu: if self.iommu { Iommu::Present } else { Iommu::Absent },
            debugger: self.gdb,
            extra: self.extra.clone(),
            ..Machine::new(boot)
        };
        match &self.pmem {
            Some(store) => machine.with_pmem(store.open(self.pmem_persistence)?),
            None if self.no_pmem => Ok(machine),
            None => self.with_usual_pmem(out, machine),
        }
    }

    /// What nobody has asked for is left out where it cannot be had: two machines of an image can run at a
    /// time.
    fn with_usual_pmem(&self, out: &Path, machine: Machine) -> Result<Machine, PmemError> {
        let store = Store::of_image(&out.join("pmem"), &self.image)?;
        match store.open(self.pmem_persistence) {
            Ok(pmem) => machine.with_pmem(pmem),
            Err(error @ PmemError::InUse { .. }) => {
                progress::step(&format!("no persistent memory: {error}"));
                Ok(machine)
            }
            Err(error) => Err(error),
        }
    }
}

/// A session: the terminal belongs to QEMU until it ends.
fn interactive(
    machine: &Machine,
    timeout: Option<u64>,
    screenshot: Option<Screenshot>,
) -> Result<ExitCode, QemuError> {
    let mut qemu = machine.command()?;
    progress::step("booting; Ctrl-A x leaves");
    let terminal = Terminal::save();
    let line = process::line(&qemu);
    let mut child = qemu.spawn().map_err(|source| CommandError::NotStarted { line, source })?;
    let shooting = screenshot.map(Screenshot::begin);
    let status = wait(&mut child, timeout);
    terminal.restore();
    let ended = end_of_session(status?)?;
    if let Some(shooting) = shooting {
        shooting.end()?;
    }
    Ok(ended)
}

/// What the end of a session means. Who switches the machine off ends QEMU with 0; the exit device,
/// which only a system uses that cannot go on, with an odd number of 3 or more.
fn end_of_session(status: ExitStatus) -> Result<ExitCode, QemuError> {
    match status.code() {
        Some(0) => Ok(ExitCode::SUCCESS),
        // QEMU itself has said why.
        Some(1) | None => Ok(ExitCode::FAILURE),
        Some(_) => Err(script::GuestDeath::Dead.into()),
    }
}

/// Waits for the end, or ends the machine when its time is over.
fn wait(child: &mut Child, timeout: Option<u64>) -> Result<ExitStatus, QemuError> {
    let Some(seconds) = timeout else {
        return child.wait().map_err(QemuError::Lost);
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(status) = child.try_wait().map_err(QemuError::Lost)? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill().and_then(|()| child.wait()).map_err(QemuError::Lost)?;
            return Err(QemuError::Timeout(seconds));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The terminal's modes before QEMU changed them; a QEMU that is killed leaves it raw.
struct Terminal(Option<Termios>);

impl Terminal {
    fn save() -> Self {
        Self(termios::tcgetattr(io::stdin()).ok())
    }

    fn restore(self) {
        if let Some(modes) = self.0 {
            // A terminal that has gone away needs no restoring.
            let _gone = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &modes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::os::unix::process::ExitStatusExt;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_session_that_cannot_start_fails() {
        let Line { args } =
            Line::try_parse_from(["qemu", "--smp", "4", "--no-pmem"]).expect("a sound line");
        let machine = args.interactive_machine(Path::new("out"), "kernel".into(), "module".into());
        let machine = machine.expect("no persistent memory");
        let Boot::Direct { command_line, .. } = &machine.boot else { panic!("no CD") };
        assert_eq!((command_line.as_str(), machine.cores), ("exit_port=0xf4", 4));
        let end = |code: i32| end_of_session(ExitStatus::from_raw(code << 8));
        assert!(matches!(end(0), Ok(ExitCode::SUCCESS)));
        assert!(matches!(end(1), Ok(ExitCode::FAILURE)));
        for died in [3, 255] {
            assert!(matches!(end(died), Err(QemuError::Guest(script::GuestDeath::Dead))));
        }
    }
}
