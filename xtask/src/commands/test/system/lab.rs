//! Everything that the system's tests start machines from, built once.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use libd3os::image::BootConfig;

use crate::commands::build::{self, BuildError};
use crate::commands::iso;
use crate::commands::test::TestError;
use crate::compile::Profile;
use crate::image::pack::{Image, PackError};
use crate::tools::{self, Tool};
use crate::vm::{Boot, EXIT_PORT, Firmware, Machine, Medium};
use crate::workshop::Workshop;

/// Something could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    /// No boot module.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// It could not be written.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Kernel, images and firmware.
pub(crate) struct Lab<'w> {
    workshop: &'w Workshop,
    kernel: PathBuf,
    module: PathBuf,
    iso: PathBuf,
    uefi: PathBuf,
    image: Image,
    storm: OnceCell<PathBuf>,
    slate: OnceCell<PathBuf>,
    iommu: OnceCell<PathBuf>,
    chaos: OnceCell<PathBuf>,
    crash: OnceCell<PathBuf>,
}

impl<'w> Lab<'w> {
    /// Builds kernel, image and ISO image; installs tools if need be.
    pub(crate) fn equip(workshop: &'w Workshop) -> Result<Self, TestError> {
        tools::ensure_all(&[Tool::Qemu, Tool::Ovmf])?;
        let kernel = build::kernel(workshop, Profile::Release)?;
        let module = build::image(workshop, build::DEFAULT_IMAGE)?;
        let image = build::compiled_image(workshop, build::DEFAULT_IMAGE)?;
        let iso = workshop.paths.out().join("test/d3os.iso");
        build::write(&iso, &[])?;
        iso::write(workshop, &kernel, &module, &iso)?;
        let uefi = tools::ensure(Tool::Ovmf)?;
        let [storm, slate, iommu, chaos, crash] = [const { OnceCell::new() }; 5];
        Ok(Self { workshop, kernel, module, iso, uefi, image, storm, slate, iommu, chaos, crash })
    }

    /// The machine of an ordinary session.
    pub(crate) fn machine(&self) -> Machine {
        self.machine_with(&self.module)
    }

    /// A machine with this boot module. A panic ends it.
    pub(crate) fn machine_with(&self, module: &Path) -> Machine {
        Machine::new(Boot::Direct {
            kernel: self.kernel.clone(),
            module: module.into(),
            command_line: format!("exit_port={EXIT_PORT:#x}"),
        })
    }

    /// The boot module of the image `storm`, built when it is first wanted.
    pub(crate) fn storm(&self) -> Result<&Path, LabError> {
        self.other(&self.storm, "storm")
    }

    /// The boot module of the image `slate`, built when it is first wanted.
    pub(crate) fn slate(&self) -> Result<&Path, LabError> {
        self.other(&self.slate, "slate")
    }

    /// The boot module of the image `iommu`, built when it is first wanted.
    pub(crate) fn iommu(&self) -> Result<&Path, LabError> {
        self.other(&self.iommu, "iommu")
    }

    /// The boot module of the image `chaos`, built when it is first wanted.
    pub(crate) fn chaos(&self) -> Result<&Path, LabError> {
        self.other(&self.chaos, "chaos")
    }

    /// The boot module of the image `crash`, built when it is first wanted.
    pub(crate) fn crash(&self) -> Result<&Path, LabError> {
        self.other(&self.crash, "crash")
    }

    fn other<'m>(&self, module: &'m OnceCell<PathBuf>, name: &str) -> Result<&'m Path, LabError> {
        if let Some(module) = module.get() {
            return Ok(module);
        }
        let built = build::image(self.workshop, name)?;
        Ok(module.get_or_init(|| built))
    }

    /// A machine that runs these lines and ends.
    pub(crate) fn script(&self, name: &str, lines: &str) -> Result<Machine, LabError> {
        let config =
            BootConfig { script: Some(lines.into()), exit_port: Some(EXIT_PORT), quiet: true };
        let module = self.image.boot_module(&config)?;
        let mut machine = self.machine_with(&self.write(name, &module)?);
        if let Boot::Direct { command_line, .. } = &mut machine.boot {
            command_line.push_str(" quiet");
        }
        Ok(machine)
    }

    /// A machine that starts from the ISO image.
    pub(crate) fn iso_machine(&self, firmware: Firmware, medium: Medium) -> Machine {
        Machine::new(Boot::Iso { iso: self.iso.clone(), firmware, medium })
    }

    /// The UEFI firmware.
    pub(crate) fn uefi(&self) -> Firmware {
        Firmware::Uefi(self.uefi.clone())
    }

    /// The boot module's bytes.
    pub(crate) fn module_bytes(&self) -> Result<Vec<u8>, LabError> {
        fs::read(&self.module)
            .map_err(|source| LabError::Read { path: self.module.clone(), source })
    }

    /// The place of a file for one test.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.workshop.paths.out().join("test").join(name)
    }

    /// Writes a boot module for one test.
    pub(crate) fn write(&self, name: &str, module: &[u8]) -> Result<PathBuf, LabError> {
        let path = self.workshop.paths.out().join(format!("test/{name}.elf"));
        build::write(&path, module)?;
        Ok(path)
    }
}
