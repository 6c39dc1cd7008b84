//! The machine's persistent memory: an NVDIMM over a file of the host, which outlives the machine.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;

/// Sizes are multiples of this: QEMU places memory devices at multiples of the largest page.
const GRAIN: u64 = 2 << 20;

/// The size of what an image's machines have if nothing else is said.
const USUAL: u64 = 1 << 30;

/// Room that QEMU wants for aligning a memory device, besides its size.
const SLACK: u64 = 1 << 30;

/// What the platform saves when power fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Persistence {
    /// What has reached the memory controllers.
    #[default]
    Adr,
    /// What has reached the processors' caches.
    Eadr,
}

/// Whether the module can keep what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arming {
    /// It can.
    #[default]
    Armed,
    /// It has failed.
    Unarmed,
}

/// The file behind an NVDIMM, and its size if it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    file: PathBuf,
    bytes: Option<u64>,
}

/// An NVDIMM.
///
/// As long as it or a copy of it exists, no other is made over its file.
#[derive(Clone, Debug)]
pub(crate) struct Pmem {
    /// Its contents.
    pub(crate) file: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// What is saved of it.
    pub(crate) persistence: Persistence,
    /// Whether anything is.
    pub(crate) arming: Arming,
    /// Held, and let go of with the last copy.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(crate) lock: Option<Arc<File>>,
}

/// There is no file that an NVDIMM could be made of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PmemError {
    /// Not `FILE` or `FILE:SIZE`.
    #[error("expected FILE or FILE:SIZE with a size such as 128M or 1G, a multiple of 2M")]
    Form,
    /// The file is not there, and no size was given.
    #[error("there is no {file}: say how large it is to be, as in {file}:1G", file = file.display())]
    NoSize {
        /// The file.
        file: PathBuf,
    },
    /// The file has another size.
    #[error("{} has {found} bytes, not {wanted}: its contents would be cut or displaced", file.display())]
    OtherSize {
        /// The file.
        file: PathBuf,
        /// Its size.
        found: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// The file has a size that no module has.
    #[error("{} has {found} bytes, which is no multiple of 2M", file.display())]
    OddSize {
        /// The file.
        file: PathBuf,
        /// Its size.
        found: u64,
    },
    /// Another machine runs with the file: both would write it.
    #[error("{} is in use by another machine", file.display())]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// The size of the machine's RAM cannot be read.
    #[error("cannot add persistent memory to {0:?} of RAM: expected a size such as 512M")]
    Ram(String),
    /// The file cannot be opened or made.
    #[error("cannot open {}", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FromStr for Store {
    type Err = PmemError;

    fn from_str(text: &str) -> Result<Self, PmemError> {
        let (file, bytes) = match text.rsplit_once(':') {
            Some((file, size)) => (file, Some(size_of(size).ok_or(PmemError::Form)?)),
            None => (text, None),
        };
        let is_module = |bytes: u64| bytes > 0 && bytes.is_multiple_of(GRAIN);
        match !file.is_empty() && bytes.is_none_or(is_module) {
            true => Ok(Self { file: file.into(), bytes }),
            false => Err(PmemError::Form),
        }
    }
}

impl Store {
    /// An NVDIMM over this file, which is made, without taking space for what is not written, where
    /// it is not there.
    ///
    /// # Errors
    /// [`PmemError`]; a file that is there is not changed.
    pub(crate) fn open(&self, persistence: Persistence) -> Result<Pmem, PmemError> {
        let file = self.file.clone();
        let open = |source| PmemError::Open { file: self.file.clone(), source };
        let bytes = match (std::fs::metadata(&file), self.bytes) {
            (Ok(found), wanted) => self.fits(found.len(), wanted)?,
            (Err(error), Some(bytes)) if error.kind() == io::ErrorKind::NotFound => {
                create(&file, bytes).map_err(open)?;
                bytes
            }
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PmemError::NoSize { file });
            }
            (Err(error), _) => return Err(open(error)),
        };
        let opened = File::open(&file).map_err(open)?;
        match opened.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PmemError::InUse { file }),
            Err(TryLockError::Error(source)) => return Err(open(source)),
        }
        let lock = Some(Arc::new(opened));
        Ok(Pmem { file, bytes, persistence, arming: Arming::Armed, lock })
    }

    /// The one that the machines of an image have if nothing else is said: 1 GiB, in this folder, which is
    /// made.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn of_image(folder: &Path, image: &str) -> Result<Self, PmemError> {
        let open = |source| PmemError::Open { file: folder.into(), source };
        std::fs::create_dir_all(folder).map_err(open)?;
        Ok(Self { file: folder.join(format!("{image}.pmem")), bytes: Some(USUAL) })
    }

    fn fits(&self, found: u64, wanted: Option<u64>) -> Result<u64, PmemError> {
        let file = self.file.clone();
        match wanted {
            Some(wanted) if wanted != found => Err(PmemError::OtherSize { file, found, wanted }),
            _ if found == 0 || !found.is_multiple_of(GRAIN) => {
                Err(PmemError::OddSize { file, found })
            }
            _ => Ok(found),
        }
    }
}

fn create(file: &Path, bytes: u64) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(file)?.set_len(bytes)
}

impl Pmem {
    /// What the chipset has to be told.
    pub(super) fn chipset_options(&self) -> [String; 2] {
        let persistence = match self.persistence {
            Persistence::Adr => "mem-ctrl",
            Persistence::Eadr => "cpu",
        };
        ["nvdimm=on".into(), format!("nvdimm-persistence={persistence}")]
    }

    /// RAM, in QEMU's notation, with room for the module.
    ///
    /// # Errors
    /// [`PmemError::Ram`] where the size is no number with a unit.
    pub(crate) fn with_room(&self, ram: &str) -> Result<String, PmemError> {
        let unreadable = || PmemError::Ram(ram.to_owned());
        // Without a unit QEMU means MiB.
        let in_mib = format!("{ram}M");
        let is_bare = ram.ends_with(|last: char| last.is_ascii_digit());
        let bytes = size_of(if is_bare { &in_mib } else { ram }).ok_or_else(unreadable)?;
        let room = bytes.checked_add(self.bytes).and_then(|sum| sum.checked_add(SLACK));
        let mib = room.ok_or_else(unreadable)?.div_ceil(1 << 20);
        Ok(format!("{}M,slots=1,maxmem={mib}M", bytes.div_ceil(1 << 20)))
    }

    /// QEMU's arguments.
    pub(super) fn arguments(&self) -> [OsString; 4] {
        // A comma in an option's value is doubled.
        let file = self.file.display().to_string().replace(',', ",,");
        let backend = format!(
            "memory-backend-file,id=pmem,share=on,pmem=off,mem-path={file},size={}",
            self.bytes
        );
        let unarmed = match self.arming {
            Arming::Armed => "",
            Arming::Unarmed => ",unarmed=on",
        };
        let device = format!("nvdimm,id=nvdimm,memdev=pmem{unarmed}");
        ["-object", &backend, "-device", &device].map(Into::into)
    }
}

/// Bytes, from a number with a unit: `512M`, `1G`, `2T`.
fn size_of(text: &str) -> Option<u64> {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = found.unwrap_or((text, 0));
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a test, removed with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("d3os-pmem-{}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // A test that failed early may not have made it.
            let _gone = std::fs::remove_file(&self.0);
        }
    }

    fn pmem(bytes: u64) -> Pmem {
        let (persistence, arming) = (Persistence::Eadr, Arming::Unarmed);
        Pmem { file: "a,b".into(), bytes, persistence, arming, lock: None }
    }

    #[test]
    fn a_store_is_a_file_and_perhaps_a_size() {
        let store = |text: &str| text.parse::<Store>().ok();
        let of = |file: &str, bytes| Some(Store { file: file.into(), bytes });
        assert_eq!(store("a.img"), of("a.img", None));
        assert_eq!(store("dir/a:128M"), of("dir/a", Some(128 << 20)));
        assert_eq!(store("a:b:128G"), of("a:b", Some(128 << 30)));
        for bad in ["", ":1G", "a:", "a:0", "a:1M", "a:3", "a:1X", "a:99999999T"] {
            assert_eq!(store(bad), None, "{bad}");
        }
    }

    #[test]
    fn room_is_for_ram_and_module() {
        let room = |ram: &str| pmem(128 << 30).with_room(ram).ok();
        assert_eq!(room("512M").as_deref(), Some("512M,slots=1,maxmem=132608M"));
        assert_eq!(room("512"), room("512M"));
        assert_eq!(room("2G").as_deref(), Some("2048M,slots=1,maxmem=134144M"));
        assert_eq!(room("512M,slots=2"), None);
        assert_eq!(room("18446744073709551615"), None);
    }

    #[test]
    fn the_module_is_said_to_qemu() {
        let arguments = pmem(2 << 20).arguments().map(|word| word.to_string_lossy().into_owned());
        assert_eq!(
            arguments.join(" "),
            "-object memory-backend-file,id=pmem,share=on,pmem=off,mem-path=a,,b,size=2097152 \
             -device nvdimm,id=nvdimm,memdev=pmem,unarmed=on"
        );
        assert_eq!(pmem(2 << 20).chipset_options()[1], "nvdimm-persistence=cpu");
    }

    #[test]
    fn a_file_is_made_once_and_kept() {
        let Scratch(file) = &Scratch::new();
        let store = |bytes| Store { file: file.clone(), bytes };
        let open = |bytes| store(bytes).open(Persistence::Adr).map(|pmem| pmem.bytes);
        assert!(matches!(open(None), Err(PmemError::NoSize { .. })));
        assert!(matches!(open(Some(GRAIN)), Ok(GRAIN)));
        assert!(matches!(open(None), Ok(GRAIN)));
        let one = store(None).open(Persistence::Adr).expect("it is there");
        assert!(matches!(open(None), Err(PmemError::InUse { .. })));
        drop(one);
        assert!(matches!(open(None), Ok(GRAIN)));
        assert!(matches!(open(Some(2 * GRAIN)), Err(PmemError::OtherSize { .. })));
        std::fs::write(file, "somebody's text").expect("written");
        assert!(matches!(open(None), Err(PmemError::OddSize { found: 15, .. })));
    }
}
