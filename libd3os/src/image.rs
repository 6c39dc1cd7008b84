//! The boot archive: image manifest, boot configuration and program files in one blob.
//!
//! The xtask writes it ([`write()`]) and `init` reads it ([`Archive::parse`]). All numbers are
//! little-endian:
//!
//! ```text
//! 0   magic "D3OSBOOT"
//! 8   format version, u32
//! 12  CRC-32C of all bytes before the files, with these four bytes zero
//! 16  bytes of the archive, u64
//! 24  bytes of the header, u64
//! 32  header: postcard { manifest, boot configuration, entries (name, offset, length, CRC-32C) }
//! ..  files, each from the next multiple of 4096
//! ```
//!
//! A file's checksum includes the zeros behind it, up to where the next one begins. So each byte is
//! summed up once, and a damaged file is known by name.
//!
//! The reader trusts nothing: every offset is checked, a changed byte anywhere is found by one of the
//! checksums, and it neither panics nor allocates more than the header's own size suggests.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::checksum::crc32c;

/// First bytes of every archive.
pub const MAGIC: [u8; 8] = *b"D3OSBOOT";
/// Version of the format, of the header's types included.
pub const FORMAT_VERSION: u32 = 3;
/// Bytes before the header.
pub const PREFIX_BYTES: usize = 32;

const ALIGNMENT: usize = 4096;
const CRC_FIELD: Range<usize> = 12..16;

/// Which program runs, with what, and who may call whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The image's name.
    pub name: String,
    /// Named hardware at known addresses.
    pub resources: Vec<Resource>,
    /// Memory that programs share.
    pub regions: Vec<RegionSpec>,
    /// Hardware that is found at run time.
    pub devices: Vec<DeviceSpec>,
    /// Programs in the order in which they start.
    pub programs: Vec<ProgramSpec>,
}

impl Manifest {
    /// The program with this name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&ProgramSpec> {
        self.programs.iter().find(|program| program.name == name)
    }

    /// The resource with this name.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// The shared memory with this name.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<&RegionSpec> {
        self.regions.iter().find(|region| region.name == name)
    }

    /// The device with this name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&DeviceSpec> {
        self.devices.iter().find(|device| device.name == name)
    }
}

/// Memory that programs share: contiguous, zeroed when it is first used, and kept over restarts of
/// the programs that use it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionSpec {
    /// Its name in the programs' `regions`, `reads` and `dma`.
    pub name: String,
    /// Its bytes: a power of two, a page at least.
    pub bytes: u64,
}

/// Hardware that is found at run time. The first of its kinds that the machine has is it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Its name in a program's `devices`.
    pub name: String,
    /// PCI functions that it may be.
    pub pci: Vec<PciId>,
    /// The ACPI table that may describe it.
    pub acpi: Option<AcpiDevice>,
    /// What the boot loader may have left that it is.
    pub boot: Option<BootDevice>,
}

/// A kind of PCI function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PciId {
    /// Who made it.
    pub vendor: u16,
    /// Which of the vendor's devices it is.
    pub device: u16,
}

impl PciId {
    /// Reads `VVVV:DDDD`, four hexadecimal digits each; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (vendor, device) = text.split_once(':')?;
        let number = |text: &str| {
            let fits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            u16::from_str_radix(text, 16).ok().filter(|_| fits)
        };
        Some(Self { vendor: number(vendor)?, device: number(device)? })
    }
}

/// As in `1af4:1041`.
impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// A device that an ACPI table describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AcpiDevice {
    /// The event timer, of the table HPET.
    Hpet,
    /// Persistent memory, of the table NFIT.
    Nfit,
}

impl AcpiDevice {
    /// Every such device.
    pub const ALL: [Self; 2] = [Self::Hpet, Self::Nfit];

    /// The word for it in manifests.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hpet => "hpet",
            Self::Nfit => "nfit",
        }
    }
}

/// A device that the boot loader left set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BootDevice {
    /// The linear framebuffer.
    Framebuffer,
}

impl BootDevice {
    /// The word for it in manifests.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Framebuffer => "framebuffer",
        }
    }
}

/// Named hardware that programs may be granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name in the programs' `ports` and `interrupts`.
    pub name: String,
    /// Its I/O ports, if it has any.
    pub ports: Option<PortRange>,
    /// Its interrupt line, if it has one.
    pub irq: Option<IrqLine>,
}

/// I/O ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

/// An IOAPIC input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrqLine {
    /// Input number.
    pub pin: u32,
    /// How it announces an interrupt.
    pub trigger: Trigger,
    /// Which voltage is "on".
    pub polarity: Polarity,
}

/// How an interrupt line announces an interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// By a change.
    #[default]
    Edge,
    /// For as long as it is active.
    Level,
}

/// Which voltage of an interrupt line is "on".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Polarity {
    /// High.
    #[default]
    ActiveHigh,
    /// Low.
    ActiveLow,
}

/// When a program starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartPolicy {
    /// With the system.
    #[default]
    Boot,
    /// When someone asks the supervisor for it.
    Manual,
    /// After the programs that start with the system run, by init's first ticks: the way to the
    /// prompt is not longer for it.
    Later,
    /// When all of its devices, and those that it needs, are there. Where the machine lacks one, it
    /// stays away.
    Device,
}

/// What its supervisor does when a program has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Starts it again, however it ended.
    Always,
    /// Starts it again after a fault, a kill or a nonzero exit code.
    OnFailure,
    /// Leaves it.
    #[default]
    Never,
}

/// One program of the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// Name. Also that of its binary and of its archive entry, unless `file` says another.
    pub name: String,
    /// The binary and archive entry, where several programs have the same.
    pub file: Option<String>,
    /// The terminal that it belongs to: 0 is the serial line.
    pub session: u8,
    /// When it starts.
    pub start: StartPolicy,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// Core it runs on.
    pub core: u32,
    /// Priority, 0 to 254.
    pub priority: u8,
    /// Processor time per period, in microseconds.
    pub budget_us: u64,
    /// Period, in microseconds.
    pub period_us: u64,
    /// Heap, in bytes.
    pub heap_bytes: u64,
    /// Stack, in bytes.
    pub stack_bytes: u64,
    /// Reply objects: calls that it can hold unanswered at a time, plus one.
    pub replies: u32,
    /// Services that it serves.
    pub serves: Vec<String>,
    /// Services that it may call.
    pub calls: Vec<String>,
    /// Resources whose I/O ports it may use.
    pub ports: Vec<String>,
    /// Resources whose interrupts it handles.
    pub interrupts: Vec<String>,
    /// Devices that it drives.
    pub devices: Vec<String>,
    /// Devices, of whichever driver, without which it has nothing to do: as with its own, it waits
    /// until they are found, and with [`StartPolicy::Device`] stays away where one is absent.
    pub needs: Vec<String>,
    /// Shared memory that it reads and writes.
    pub regions: Vec<String>,
    /// Shared memory that it reads.
    pub reads: Vec<String>,
    /// Shared memory that it and its devices read and write.
    pub dma: Vec<String>,
    /// It must look for its next event this often, in microseconds, or is ended as unresponsive.
    pub heartbeat_us: Option<u64>,
    /// Notifications that it may signal.
    pub signals: Vec<String>,
    /// Notifications that it waits for.
    pub waits: Vec<String>,
}

impl ProgramSpec {
    /// The binary, which is also its archive entry.
    #[must_use]
    pub fn file(&self) -> &str {
        self.file.as_deref().unwrap_or(&self.name)
    }

    /// The names listed under one kind of grant (none for reply objects: they have no names).
    #[must_use]
    pub fn names(&self, kind: crate::start::GrantKind) -> &[String] {
        use crate::start::GrantKind;
        match kind {
            GrantKind::Serves => &self.serves,
            GrantKind::Calls => &self.calls,
            GrantKind::Ports => &self.ports,
            GrantKind::Interrupts => &self.interrupts,
            GrantKind::Devices => &self.devices,
            GrantKind::Regions => &self.regions,
            GrantKind::Reads => &self.reads,
            GrantKind::Dma => &self.dma,
            GrantKind::Signals => &self.signals,
            GrantKind::Waits => &self.waits,
            GrantKind::Reply => &[],
        }
    }
}

/// How this boot differs from others of the same image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootConfig {
    /// Shell lines to run instead of a session; the machine powers off after them.
    pub script: Option<String>,
    /// Port of QEMU's `isa-debug-exit` device, where the script's status goes.
    pub exit_port: Option<u16>,
    /// Init and console print nothing of their own.
    pub quiet: bool,
}

/// A file of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// The binary's name.
    pub name: &'a str,
    /// Its bytes (an ELF file).
    pub bytes: &'a [u8],
}

/// Why an archive was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// Fewer bytes than the archive says it has, or than its prefix takes.
    Truncated,
    /// It does not begin with [`MAGIC`].
    BadMagic,
    /// It has a format version that this reader does not know.
    UnsupportedVersion(u32),
    /// More bytes than the archive says it has.
    TrailingBytes,
    /// The header's checksum does not match: the archive was damaged.
    Checksum,
    /// The header cannot be decoded.
    BadHeader,
    /// This file lies outside the archive, is misplaced, or fails its checksum.
    BadEntry(String),
    /// Two files have this name.
    DuplicateEntry(String),
    /// The manifest names this program and the archive has no file for it.
    MissingProgram(String),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the boot archive is cut short"),
            Self::BadMagic => f.write_str("there is no boot archive (wrong magic)"),
            Self::UnsupportedVersion(version) => {
                write!(f, "boot archive format {version}, expected {FORMAT_VERSION}")
            }
            Self::TrailingBytes => f.write_str("there are bytes behind the boot archive"),
            Self::Checksum => f.write_str("the boot archive is damaged (checksum)"),
            Self::BadHeader => f.write_str("the boot archive's header is malformed"),
            Self::BadEntry(name) => write!(f, "the boot archive's file `{name}` is damaged"),
            Self::DuplicateEntry(name) => write!(f, "the boot archive holds `{name}` twice"),
            Self::MissingProgram(name) => {
                write!(f, "the manifest names program `{name}`, the boot archive lacks it")
            }
        }
    }
}

impl core::error::Error for ArchiveError {}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    offset: u64,
    len: u64,
    crc: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    manifest: Manifest,
    boot_config: BootConfig,
    entries: Vec<Entry>,
}

/// A checked boot archive over borrowed bytes.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl<'a> Archive<'a> {
    /// How many bytes the archive has, as its first [`PREFIX_BYTES`] tell: for a reader that
    /// knows only where it begins.
    ///
    /// # Errors
    /// [`ArchiveError::Truncated`], [`ArchiveError::BadMagic`] or
    /// [`ArchiveError::UnsupportedVersion`].
    pub fn declared_length(prefix: &[u8]) -> Result<u64, ArchiveError> {
        Ok(Prefix::parse(prefix)?.total)
    }

    /// Checks the archive that `bytes` hold, from the first to the last.
    ///
    /// # Errors
    /// Whatever of [`ArchiveError`] is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let prefix = Prefix::parse(bytes)?;
        check_length(bytes, prefix.total)?;
        if header_checksum(bytes) != Some(prefix.crc) {
            return Err(ArchiveError::Checksum);
        }
        let header_bytes = range_of(PREFIX_BYTES as u64, prefix.header, bytes.len())
            .and_then(|range| bytes.get(range))
            .ok_or(ArchiveError::BadHeader)?;
        let header: Header =
            postcard::from_bytes(header_bytes).map_err(|_| ArchiveError::BadHeader)?;
        let archive = Self { bytes, header };
        archive.check_entries()?;
        archive.check_programs()?;
        Ok(archive)
    }

    /// The image manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.header.manifest
    }

    /// The boot configuration.
    #[must_use]
    pub fn boot_config(&self) -> &BootConfig {
        &self.header.boot_config
    }

    /// The file of this name, or `None`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&'a [u8]> {
        self.contents(self.header.entries.iter().find(|entry| entry.name == name)?)
    }

    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = File<'_>> {
        self.header
            .entries
            .iter()
            .filter_map(|entry| Some(File { name: &entry.name, bytes: self.contents(entry)? }))
    }

    fn contents(&self, entry: &Entry) -> Option<&'a [u8]> {
        self.bytes.get(range_of(entry.offset, entry.len, self.bytes.len())?)
    }

    /// A file and the zeros behind it.
    fn with_padding(&self, entry: &Entry) -> Option<&'a [u8]> {
        let len = entry.len.checked_next_multiple_of(ALIGNMENT as u64)?;
        self.bytes.get(range_of(entry.offset, len, self.bytes.len())?)
    }

    fn check_entries(&self) -> Result<(), ArchiveError> {
        for (index, entry) in self.header.entries.iter().enumerate() {
            if self.header.entries[..index].iter().any(|other| other.name == entry.name) {
                return Err(ArchiveError::DuplicateEntry(entry.name.clone()));
            }
            let sound = self.with_padding(entry).is_some_and(|file| crc32c(&[file]) == entry.crc);
            if !sound || !entry.offset.is_multiple_of(ALIGNMENT as u64) {
                return Err(ArchiveError::BadEntry(entry.name.clone()));
            }
        }
        Ok(())
    }

    fn check_programs(&self) -> Result<(), ArchiveError> {
        let missing =
            self.manifest().programs.iter().find(|program| self.file(program.file()).is_none());
        missing.map_or(Ok(()), |program| Err(ArchiveError::MissingProgram(program.name.clone())))
    }
}

/// Writes an archive of these parts.
///
/// # Errors
/// [`ArchiveError::DuplicateEntry`] and [`ArchiveError::MissingProgram`] as the reader would
/// find them.
pub fn write(
    manifest: &Manifest,
    boot_config: &BootConfig,
    files: &[File<'_>],
) -> Result<Vec<u8>, ArchiveError> {
    check_names(manifest, files)?;
    // Offsets are varints: their size in the header depends on their value, which depends on the
    // header's size. A header's room is therefore grown until the header fits in it.
    let mut room = ALIGNMENT;
    loop {
        let header = Header {
            manifest: manifest.clone(),
            boot_config: boot_config.clone(),
            entries: entries(files, room),
        };
        let encoded = postcard::to_allocvec(&header).map_err(|_| ArchiveError::BadHeader)?;
        let needed = (PREFIX_BYTES + encoded.len()).next_multiple_of(ALIGNMENT);
        if needed <= room {
            return Ok(assemble(&encoded, room, files));
        }
        room = needed;
    }
}

fn check_names(manifest: &Manifest, files: &[File<'_>]) -> Result<(), ArchiveError> {
    for (index, file) in files.iter().enumerate() {
        if files[..index].iter().any(|other| other.name == file.name) {
            return Err(ArchiveError::DuplicateEntry(file.name.to_string()));
        }
    }
    for program in &manifest.programs {
        if !files.iter().any(|file| file.name == program.file()) {
            return Err(ArchiveError::MissingProgram(program.name.clone()));
        }
    }
    Ok(())
}

fn entries(files: &[File<'_>], room: usize) -> Vec<Entry> {
    let mut offset = room;
    files
        .iter()
        .map(|file| {
            let entry = Entry {
                name: file.name.to_string(),
                offset: offset as u64,
                len: file.bytes.len() as u64,
                crc: crc32c(&[file.bytes, padding(file.bytes)]),
            };
            offset += file.bytes.len().next_multiple_of(ALIGNMENT);
            entry
        })
        .collect()
}

/// The zeros behind a file.
fn padding(file: &[u8]) -> &'static [u8] {
    &[0; ALIGNMENT][..file.len().next_multiple_of(ALIGNMENT) - file.len()]
}

fn assemble(header: &[u8], room: usize, files: &[File<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(header);
    bytes.resize(room, 0);
    for file in files {
        bytes.extend_from_slice(file.bytes);
        bytes.extend_from_slice(padding(file.bytes));
    }
    let total = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&total.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Renews the header's checksum in an archive whose header was changed. What has no header stays as
/// it is.
pub fn seal(archive: &mut [u8]) {
    let Some(sum) = header_checksum(archive) else { return };
    archive[CRC_FIELD].copy_from_slice(&sum.to_le_bytes());
}

struct Prefix {
    crc: u32,
    total: u64,
    header: u64,
}

impl Prefix {
    fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let prefix = bytes.first_chunk::<PREFIX_BYTES>().ok_or(ArchiveError::Truncated)?;
        if prefix[..8] != MAGIC {
            return Err(ArchiveError::BadMagic);
        }
        let version = word32(prefix, 8);
        if version != FORMAT_VERSION {
            return Err(ArchiveError::UnsupportedVersion(version));
        }
        Ok(Self { crc: word32(prefix, 12), total: word64(prefix, 16), header: word64(prefix, 24) })
    }
}

fn word32(prefix: &[u8; PREFIX_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(core::array::from_fn(|i| prefix[at + i]))
}

fn word64(prefix: &[u8; PREFIX_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|i| prefix[at + i]))
}

fn check_length(bytes: &[u8], total: u64) -> Result<(), ArchiveError> {
    match (bytes.len() as u64).cmp(&total) {
        core::cmp::Ordering::Less => Err(ArchiveError::Truncated),
        core::cmp::Ordering::Equal => Ok(()),
        core::cmp::Ordering::Greater => Err(ArchiveError::TrailingBytes),
    }
}

fn range_of(offset: u64, len: u64, limit: usize) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= limit).then_some(start..end)
}

/// The checksum of everything before the files, its own field read as zero; `None` where the archive
/// ends before.
fn header_checksum(archive: &[u8]) -> Option<u32> {
    let header = word64(archive.first_chunk()?, 24).checked_add(PREFIX_BYTES as u64)?;
    let len = usize::try_from(header).ok()?.checked_next_multiple_of(ALIGNMENT)?;
    let bytes = archive.get(..len)?;
    Some(crc32c(&[&bytes[..CRC_FIELD.start], &[0; 4], &bytes[CRC_FIELD.end..]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn program(name: &str) -> ProgramSpec {
        ProgramSpec { name: name.to_string(), priority: 100, ..ProgramSpec::default() }
    }

    fn sample() -> Vec<u8> {
        let manifest = Manifest {
            name: "default".to_string(),
            resources: alloc::vec![Resource {
                name: "com1".to_string(),
                ports: Some(PortRange { first: 0x3f8, last: 0x3ff }),
                irq: Some(IrqLine {
                    pin: 4,
                    trigger: Trigger::Edge,
                    polarity: Polarity::ActiveHigh,
                }),
            }],
            regions: alloc::vec![RegionSpec { name: "frames".to_string(), bytes: 1 << 20 }],
            devices: alloc::vec![DeviceSpec {
                name: "nic".to_string(),
                pci: alloc::vec![PciId { vendor: 0x1af4, device: 0x1041 }],
                ..DeviceSpec::default()
            }],
            programs: alloc::vec![
                program("uart"),
                program("shell"),
                ProgramSpec { file: Some("shell".to_string()), ..program("shell-1") },
            ],
        };
        let config = BootConfig { script: Some("ps".to_string()), exit_port: None, quiet: true };
        let files =
            [File { name: "uart", bytes: &[1; 5000] }, File { name: "shell", bytes: b"elf" }];
        write(&manifest, &config, &files).expect("sound parts")
    }

    #[test]
    fn reads_what_it_wrote() {
        let bytes = sample();
        let archive = Archive::parse(&bytes).expect("sound");
        assert_eq!(archive.manifest().resource("com1").and_then(|r| r.irq).map(|i| i.pin), Some(4));
        assert_eq!(archive.boot_config().script.as_deref(), Some("ps"));
        assert_eq!(archive.manifest().region("frames").map(|region| region.bytes), Some(1 << 20));
        assert_eq!(archive.manifest().device("nic").map(|device| device.pci.len()), Some(1));
        assert_eq!(archive.manifest().program("shell-1").map(ProgramSpec::file), Some("shell"));
        assert_eq!(archive.file("uart"), Some(&[1; 5000][..]));
        assert_eq!(archive.file("shell"), Some(&b"elf"[..]));
        assert_eq!(archive.file("other"), None);
        assert!(archive.files().map(|file| file.name).eq(["uart", "shell"]));
        assert_eq!(Archive::declared_length(&bytes[..PREFIX_BYTES]), Ok(bytes.len() as u64));
    }

    #[test]
    fn refuses_what_is_missing_or_double() {
        let manifest = Manifest { programs: alloc::vec![program("a")], ..Manifest::default() };
        let config = BootConfig::default();
        let a = File { name: "a", bytes: b"" };
        assert_eq!(
            write(&manifest, &config, &[]),
            Err(ArchiveError::MissingProgram("a".to_string()))
        );
        assert_eq!(
            write(&manifest, &config, &[a, a]),
            Err(ArchiveError::DuplicateEntry("a".to_string()))
        );
    }

    #[test]
    fn pci_ids_are_read_as_they_are_written() {
        let id = PciId { vendor: 0x1af4, device: 0x1041 };
        assert_eq!(PciId::parse(&id.to_string()), Some(id));
        for bad in ["", "1af4", "1af4:", "1af4:41", "+af4:1041", "1af4:10410", "1af4:1041:0"] {
            assert_eq!(PciId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_long_header_moves_the_files() {
        let name = "n".repeat(10_000);
        let manifest = Manifest { name: name.clone(), ..Manifest::default() };
        let bytes = write(&manifest, &BootConfig::default(), &[File { name: "f", bytes: b"x" }])
            .expect("sound parts");
        let archive = Archive::parse(&bytes).expect("sound");
        assert_eq!(archive.manifest().name, name);
        assert_eq!(archive.file("f"), Some(&b"x"[..]));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(Archive::parse(&bytes[..len]).is_err(), "cut to {len} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Archive::parse(&longer).err(), Some(ArchiveError::TrailingBytes));
    }

    #[test]
    fn a_checksum_alone_does_not_convince() {
        // A forger can fix the header's checksum: entries are still checked one by one.
        let mut bytes = sample();
        let file = bytes.len() - ALIGNMENT;
        bytes[file] ^= 1;
        seal(&mut bytes);
        assert_eq!(Archive::parse(&bytes).err(), Some(ArchiveError::BadEntry("shell".to_string())));
    }

    proptest! {
        #[test]
        fn every_changed_byte_is_found(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = sample();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Archive::parse(&bytes).is_err());
        }

        #[test]
        fn random_headers_never_panic(tail in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = assemble(&tail, ALIGNMENT, &[]);
            let _ = Archive::parse(&bytes);
            bytes.truncate(PREFIX_BYTES + tail.len());
            prop_assert!(Archive::parse(&bytes).is_err());
        }
    }
}
