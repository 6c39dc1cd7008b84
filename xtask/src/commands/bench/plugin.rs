//! Building the counting plugin for the QEMU at hand.

use std::path::PathBuf;
use std::process::Command;

use super::BenchError;
use crate::process;
use crate::toolchain;
use crate::tools::{self, Tool};
use crate::workshop::Workshop;

/// First major version of QEMU that refuses plugins of interface version 1.
const NEW_INTERFACE: u32 = 9;

/// Builds the plugin; returns the library.
pub(crate) fn build(workshop: &Workshop) -> Result<PathBuf, BenchError> {
    let interface = if qemu_major()? < NEW_INTERFACE { "1" } else { "2" };
    let target = workshop.paths.out().join("build/host");
    let mut cargo = toolchain::host_cargo();
    cargo.args(["build", "--quiet", "--release", "--package", "boot-counter", "--target-dir"]);
    cargo.arg(&target).current_dir(workshop.paths.root()).env("QEMU_PLUGIN_API", interface);
    process::run_aside(&mut cargo).map_err(BenchError::Plugin)?;
    Ok(target.join("release/libboot_counter.so"))
}

fn qemu_major() -> Result<u32, BenchError> {
    let said = process::output(Command::new(tools::ensure(Tool::Qemu)?).arg("--version"))?;
    major(&said).ok_or(BenchError::QemuVersion(said))
}

fn major(said: &str) -> Option<u32> {
    let version = said.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_version_is_found() {
        assert_eq!(major("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\n..."), Some(7));
        assert_eq!(major("QEMU emulator version 10.0.2\nCopyright"), Some(10));
        assert_eq!(major("something else"), None);
    }
}
