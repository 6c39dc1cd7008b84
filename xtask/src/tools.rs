//! The programs and files that the commands need from the system, and how to get them.
//!
//! A missing tool is installed where that needs no question (root, or sudo without a password,
//! on a system with apt), and the command says so. Elsewhere the error names the packages.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, CommandError};
use crate::progress;

/// Something that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The emulator.
    Qemu,
    /// Writes the ISO image.
    GrubMkrescue,
    /// GRUB's modules for BIOS machines.
    GrubBios,
    /// GRUB's modules for UEFI machines.
    GrubEfi,
    /// What `grub-mkrescue` writes the file system with.
    Xorriso,
    /// What `grub-mkrescue` makes the EFI partition with.
    Mtools,
    /// UEFI firmware for QEMU.
    Ovmf,
    /// The linker, where the toolchain brings none.
    Lld,
    /// The C compiler.
    Cc,
    /// libpmemobj with its header and its examples.
    Pmdk,
}

/// A tool is missing and could not be installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// This account may not install.
    #[error("missing: {what}; install with `{command}`")]
    Missing {
        /// The tools' names.
        what: String,
        /// What to type.
        command: String,
    },
    /// It may, but apt failed.
    #[error("installing {what} failed")]
    Install {
        /// The tools' names.
        what: String,
        /// apt's failure.
        source: CommandError,
    },
}

/// UEFI firmware images by the paths of several distributions.
const OVMF_PATHS: [&str; 4] = [
    "/usr/share/ovmf/OVMF.fd",
    "/usr/share/qemu/OVMF.fd",
    "/usr/share/edk2/ovmf/OVMF.fd",
    "/usr/share/edk2-ovmf/x64/OVMF.fd",
];

impl Tool {
    /// What it is called in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86_64",
            Self::GrubMkrescue => "grub-mkrescue",
            Self::GrubBios => "GRUB's i386-pc modules",
            Self::GrubEfi => "GRUB's x86_64-efi modules",
            Self::Xorriso => "xorriso",
            Self::Mtools => "mtools",
            Self::Ovmf => "OVMF firmware",
            Self::Lld => "ld.lld",
            Self::Cc => "cc",
            Self::Pmdk => "libpmemobj",
        }
    }

    /// Debian's package.
    fn package(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86",
            Self::GrubMkrescue => "grub-common",
            Self::GrubBios => "grub-pc-bin",
            Self::GrubEfi => "grub-efi-amd64-bin",
            Self::Xorriso => "xorriso",
            Self::Mtools => "mtools",
            Self::Ovmf => "ovmf",
            Self::Lld => "lld",
            Self::Cc => "gcc",
            Self::Pmdk => "libpmemobj-dev",
        }
    }

    /// Where it is, if it is there.
    pub(crate) fn find(self) -> Option<PathBuf> {
        match self {
            Self::Qemu => in_path("qemu-system-x86_64"),
            Self::GrubMkrescue => in_path("grub-mkrescue").or_else(|| in_path("grub2-mkrescue")),
            Self::GrubBios => existing(&["/usr/lib/grub/i386-pc", "/usr/lib/grub2/i386-pc"]),
            Self::GrubEfi => existing(&["/usr/lib/grub/x86_64-efi", "/usr/lib/grub2/x86_64-efi"]),
            Self::Xorriso => in_path("xorriso"),
            Self::Mtools => in_path("mformat"),
            Self::Ovmf => existing(&OVMF_PATHS),
            Self::Lld => in_path("ld.lld"),
            Self::Cc => in_path("cc"),
            Self::Pmdk => existing(&["/usr/include/libpmemobj.h"]),
        }
    }
}

/// Returns where the tool is; installs it if need be.
pub(crate) fn ensure(tool: Tool) -> Result<PathBuf, ToolError> {
    ensure_all(&[tool])?;
    tool.find().ok_or_else(|| missing(&[tool]))
}

/// Makes sure that all the tools are there, with one installation for those that are not.
pub(crate) fn ensure_all(tools: &[Tool]) -> Result<(), ToolError> {
    let absent: Vec<Tool> = tools.iter().copied().filter(|tool| tool.find().is_none()).collect();
    if absent.is_empty() {
        return Ok(());
    }
    install_packages(&names(&absent), &packages(&absent))?;
    match absent.iter().all(|tool| tool.find().is_some()) {
        true => Ok(()),
        false => Err(missing(&absent)),
    }
}

/// Installs Debian packages if this account may.
///
/// # Errors
/// [`ToolError::Missing`] with the command to type where it may not or there is no apt.
pub(crate) fn install_packages(what: &str, packages: &[&str]) -> Result<(), ToolError> {
    let by_hand = || ToolError::Missing { what: what.into(), command: apt_line(packages) };
    let become_root = Privilege::of_this_process().ok_or_else(by_hand)?;
    if in_path("apt-get").is_none() {
        return Err(by_hand());
    }
    progress::step(&format!("{what} is missing: installing it with apt"));
    // An outdated list makes the installation fail; an unreachable one may not matter.
    let _refreshed = process::run_aside(become_root.command("apt-get").args(["update", "-qq"]));
    let mut install = become_root.command("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    process::run_aside(&mut install)
        .map_err(|source| ToolError::Install { what: what.into(), source })
}

/// Looks a program up in `PATH`.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// How this process may act as root.
#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn of_this_process() -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            return Some(Self::Root);
        }
        // `-n`: never ask for a password in the middle of a build.
        process::succeeds(Command::new("sudo").args(["-n", "true"])).then_some(Self::Sudo)
    }

    fn command(self, program: &str) -> Command {
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", program]);
                command
            }
        }
    }
}

fn existing(candidates: &[&str]) -> Option<PathBuf> {
    candidates.iter().map(Path::new).find(|path| path.exists()).map(Path::to_path_buf)
}

fn names(tools: &[Tool]) -> String {
    tools.iter().map(|tool| tool.name()).collect::<Vec<_>>().join(", ")
}

fn packages(tools: &[Tool]) -> Vec<&'static str> {
    tools.iter().map(|tool| tool.package()).collect()
}

fn missing(tools: &[Tool]) -> ToolError {
    ToolError::Missing { what: names(tools), command: apt_line(&packages(tools)) }
}

fn apt_line(packages: &[&str]) -> String {
    format!("sudo apt-get install {}", packages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_the_command_that_installs_it() {
        let text = missing(&[Tool::Qemu, Tool::Mtools]).to_string();
        assert_eq!(
            text,
            "missing: qemu-system-x86_64, mtools; install with \
             `sudo apt-get install qemu-system-x86 mtools`"
        );
    }

    #[test]
    fn programs_are_found_in_the_path() {
        assert!(in_path("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(in_path("no-such-program-here"), None);
    }
}
