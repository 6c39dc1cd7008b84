//! A directory of this host that the machine sees, by 9P over virtio.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Iommu;

/// A directory that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share(PathBuf);

/// What is to be shared is no directory.
#[derive(Debug, thiserror::Error)]
#[error("no directory that can be shared")]
pub(crate) struct NoDirectory(#[source] io::Error);

impl Share {
    /// This directory.
    pub(crate) fn new(directory: &Path) -> Result<Self, NoDirectory> {
        let directory = directory.canonicalize().map_err(NoDirectory)?;
        match directory.is_dir() {
            true => Ok(Self(directory)),
            false => Err(NoDirectory(io::ErrorKind::NotADirectory.into())),
        }
    }

    /// QEMU's arguments. Files that the machine makes belong to whoever runs QEMU, and links are
    /// never followed by QEMU.
    pub(super) fn arguments(&self, iommu: Iommu) -> [OsString; 4] {
        let mut directory =
            OsString::from("local,id=share,security_model=none,multidevs=remap,path=");
        directory.push(doubled(&self.0));
        let obeys = match iommu {
            Iommu::Present => ",iommu_platform=on,disable-legacy=on",
            Iommu::Absent => "",
        };
        let device = format!("virtio-9p-pci,fsdev=share,mount_tag=host{obeys}");
        ["-fsdev".into(), directory, "-device".into(), device.into()]
    }
}

impl FromStr for Share {
    type Err = NoDirectory;

    fn from_str(text: &str) -> Result<Self, NoDirectory> {
        Self::new(Path::new(text))
    }
}

/// The path as QEMU wants it in a list: commas twice.
fn doubled(path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = path.as_os_str().as_bytes().iter();
    OsString::from_vec(bytes.flat_map(|byte| vec![*byte; 1 + usize::from(*byte == b',')]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_are_shared() {
        assert!("no such directory".parse::<Share>().is_err());
        assert!(Share::new(&std::env::current_exe().expect("this program")).is_err());
        assert!(".".parse::<Share>().is_ok());
    }

    #[test]
    fn the_device_obeys_the_iommu_and_paths_survive() {
        let share = Share("/a,b".into());
        assert_eq!(
            share.arguments(Iommu::Absent)[1],
            *"local,id=share,security_model=none,multidevs=remap,path=/a,,b"
        );
        let device = &share.arguments(Iommu::Present)[3];
        assert_eq!(
            *device,
            *"virtio-9p-pci,fsdev=share,mount_tag=host,iommu_platform=on,disable-legacy=on"
        );
    }
}
