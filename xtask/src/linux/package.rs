//! Debian's kernel package, fetched by apt and unpacked, once for each version of it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LinuxError;
use crate::process;
use crate::progress;
use crate::workshop::Workshop;

/// The package that depends on the newest kernel.
const META: &str = "linux-image-amd64";

/// An unpacked kernel package.
pub(super) struct Package {
    /// The kernel's image.
    pub(super) kernel: PathBuf,
    /// Folder with its modules, in folders of any depth.
    pub(super) modules: PathBuf,
}

/// Fetches and unpacks it, unless that was done before.
pub(super) fn unpacked(workshop: &Workshop) -> Result<Package, LinuxError> {
    let name = newest()?;
    let folder = workshop.paths.out().join("linux").join(&name);
    if !folder.join("boot").exists() {
        progress::step(&format!("fetching Debian's {name}, 70 MB"));
        fetch(&name, &folder)?;
    }
    let kernel = only(&folder.join("boot"), |file| file.starts_with("vmlinuz-"))?;
    let modules = only(&folder.join("lib/modules"), |_| true)?;
    Ok(Package { kernel, modules })
}

/// What the meta package stands for today.
fn newest() -> Result<String, LinuxError> {
    let said = process::output(Command::new("apt-cache").args(["depends", META]))?;
    depends(&said).map(str::to_owned).ok_or(LinuxError::NoPackage(META))
}

fn depends(said: &str) -> Option<&str> {
    let names = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.into_iter().find(|name| name.starts_with("linux-image-"))
}

fn fetch(name: &str, folder: &Path) -> Result<(), LinuxError> {
    // Half of one would be taken for a whole one the next time.
    let half = folder.with_file_name(format!("{name}.part"));
    let accessed = |source| LinuxError::Io { path: half.clone(), source };
    if half.exists() {
        fs::remove_dir_all(&half).map_err(accessed)?;
    }
    fs::create_dir_all(&half).map_err(accessed)?;
    process::run_aside(
        Command::new("apt-get")
            .args(["--quiet", "--option", "APT::Sandbox::User=root", "download", name])
            .current_dir(&half),
    )?;
    let file = only(&half, |file| file.ends_with(".deb"))?;
    process::run_aside(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&half))?;
    fs::remove_file(&file).map_err(accessed)?;
    fs::rename(&half, folder).map_err(accessed)
}

/// The file of a folder that is meant.
fn only(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Result<PathBuf, LinuxError> {
    let accessed = |source| LinuxError::Io { path: folder.into(), source };
    let entries = fs::read_dir(folder).map_err(accessed)?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut meant =
        paths.filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(&is_meant));
    meant.next().ok_or_else(|| LinuxError::Lacks(folder.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn the_kernel_behind_the_meta_package_is_found() {
        let said = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(depends(said), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(depends("linux-image-amd64\n"), None);
        assert_eq!(depends("N: Unable to locate package\n  Depends: libc6\n"), None);
    }
}
