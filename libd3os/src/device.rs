//! Devices that were found at run time: what a driver is told of its own, and how it reaches it.
//!
//! `platform` finds a device and wires its interrupt, init maps its registers into the driver that the
//! manifest names. [`crate::program::device`] is the way to it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroUsize;
use core::ptr::NonNull;

use serde::{Deserialize, Serialize};

use crate::cap::IrqHandler;
use crate::ipc::MissingGrant;
use crate::mmio::Registers;
use crate::program::take_once;
use crate::region::{RegionId, Rights};
use crate::service::platform::PciAddress;
use crate::shared::SharedMemory;
use crate::start::RegionGrant;
use crate::sys::Cptr;

/// Bytes of a PCI function's configuration space that every function has.
pub const CONFIGURATION_BYTES: usize = 256;

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceIdentity {
    /// A PCI function. Its windows are its base address registers that open memory.
    Pci {
        /// Where it is.
        address: PciAddress,
        /// Who made it.
        vendor: u16,
        /// Which of the vendor's devices it is.
        device: u16,
        /// Its configuration space as it was when it was wired, for its lists of capabilities.
        #[serde(with = "configuration")]
        config: Box<[u8; CONFIGURATION_BYTES]>,
    },
    /// The event timer. Its window 0 is its registers.
    Hpet {
        /// Comparators, 1 to 32.
        comparators: u8,
        /// Whether its counter has 64 bits.
        wide: bool,
        /// Fewest ticks between interrupts that are not lost.
        minimum_tick: u16,
        /// Input of the interrupt controllers to which comparator 0 is to be routed, so that its
        /// interrupt is the driver's; `None` where the device has no interrupt.
        input: Option<u32>,
    },
    /// Persistent memory. It has no windows: who may, has pieces of it mapped by the service
    /// `persistent`.
    Nvdimm {
        /// Its ranges.
        ranges: Vec<NvdimmRange>,
        /// What is safe when power fails; `None` where the firmware does not say.
        domain: Option<PersistenceDomain>,
    },
    /// A linear framebuffer, as the boot loader left it. Its window 0 is its pixels.
    Framebuffer(Screen),
}

/// A range of persistent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvdimmRange {
    /// Its number in the firmware's table.
    pub index: u16,
    /// Handle of the module behind it, the first where there are several.
    pub handle: u32,
    /// Its bytes that can be mapped: whole pieces of [`PERSISTENT_BYTES`](crate::start::layout).
    pub bytes: u64,
    /// Its proximity domain, where told.
    pub node: Option<u32>,
    /// A module behind it has failed to save, restore or flush, or is not armed: what is written may
    /// not outlive a loss of power.
    pub unarmed: bool,
}

/// What the platform saves when power fails (ACPI 6.5, section 5.2.25.9). What it does not save,
/// a program has to write back itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PersistenceDomain {
    /// What has reached the processors' caches.
    Caches,
    /// What has reached the memory controllers.
    MemoryControllers,
    /// What has reached the medium.
    Medium,
}

/// A screen's pixels in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub pitch: u32,
    /// Bits of a pixel.
    pub bits: u8,
    /// Where red stands in a pixel.
    pub red: ColourField,
    /// Where green stands in a pixel.
    pub green: ColourField,
    /// Where blue stands in a pixel.
    pub blue: ColourField,
}

/// Bits of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColourField {
    /// The lowest.
    pub position: u8,
    /// How many.
    pub size: u8,
}

/// How the processor may treat a window's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Caching {
    /// Each access reaches the device: registers.
    Uncached,
    /// Writes may be gathered: a screen's pixels.
    Combining,
    /// As RAM: persistent memory.
    Cached,
}

/// A part of a device's memory, mapped in its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWindow {
    /// Base address register that it belongs to, or number of the window where there are none.
    pub bar: u8,
    /// Where in that register's range it begins: not 0 where pages before it are kept back, as those
    /// of the MSI-X table are.
    pub offset: u64,
    /// Address at which it is mapped.
    pub base: u64,
    /// Its bytes.
    pub bytes: u64,
    /// How the processor treats it.
    pub caching: Caching,
}

/// A device as a driver is told of it at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceGrant {
    /// What it is.
    pub identity: DeviceIdentity,
    /// Its memory, by register and offset.
    pub windows: Vec<DeviceWindow>,
    /// Whether the grant's slot holds the handler of its interrupt.
    pub interrupts: bool,
}

/// A device of this program.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    grant: &'static DeviceGrant,
    slot: u32,
}

impl Device {
    /// The device of a grant with this slot.
    pub(crate) const fn new(grant: &'static DeviceGrant, slot: u32) -> Self {
        Self { grant, slot }
    }

    /// What it is.
    #[must_use]
    pub const fn identity(&self) -> &'static DeviceIdentity {
        &self.grant.identity
    }

    /// Its memory, by register and offset.
    #[must_use]
    pub fn windows(&self) -> &'static [DeviceWindow] {
        &self.grant.windows
    }

    /// The registers that base address register `bar` opens, from its first byte on, up to the first
    /// page that is kept back. Each window is handed out once.
    ///
    /// # Errors
    /// [`DeviceError::NoWindow`], [`DeviceError::Taken`].
    pub fn registers(&self, bar: u8) -> Result<Registers, DeviceError<'static>> {
        self.registers_at(bar, 0)
    }

    /// The registers of the window that begins at `offset` of base address register `bar`, counted
    /// from there.
    ///
    /// # Errors
    /// [`DeviceError::NoWindow`], [`DeviceError::Taken`].
    pub fn registers_at(&self, bar: u8, offset: u64) -> Result<Registers, DeviceError<'static>> {
        let window = self.window(bar, offset)?;
        let base = usize::try_from(window.base).ok().and_then(NonZeroUsize::new);
        let base = base.ok_or(DeviceError::NoWindow { bar, offset })?;
        let bytes = usize::try_from(window.bytes);
        let bytes = bytes.map_err(|_| DeviceError::NoWindow { bar, offset })?;
        take(window)?;
        let base = NonNull::with_exposed_provenance(base);
        // SAFETY: init has mapped the window there for as long as the program lives, which is what
        // the grant says, and it is handed out once. Memory that the device writes is the program's
        // DMA memory, of which Rust knows as shared memory only.
        Ok(unsafe { Registers::new(base, bytes) })
    }

    /// The memory that base address register `bar` opens, for what is no registers: pixels,
    /// persistent memory.
    ///
    /// # Errors
    /// [`DeviceError::NoWindow`], [`DeviceError::Taken`].
    pub fn memory(&self, bar: u8) -> Result<SharedMemory, DeviceError<'static>> {
        let window = self.window(bar, 0)?;
        take(window)?;
        let DeviceWindow { base, bytes, .. } = *window;
        let (id, rights) = (RegionId(base.into()), Rights::READ_WRITE);
        let grant = RegionGrant { id, base, bytes, rights, bus: None };
        // SAFETY: init has mapped the window there for as long as the program lives, which is what
        // the grant says, and it is handed out once.
        let memory = unsafe { SharedMemory::new(grant) };
        memory.map_err(|_| DeviceError::NoWindow { bar, offset: 0 })
    }

    /// The handler of its interrupt; `None` where it has none. It is to be aimed at a notification
    /// of the program's (`set_notification`) and acknowledged once before the first interrupt is
    /// expected: a predecessor may have left one unacknowledged.
    #[must_use]
    pub fn interrupt(&self) -> Option<IrqHandler> {
        let handler = IrqHandler::new(Cptr::new(self.slot.into()));
        self.grant.interrupts.then_some(handler)
    }

    fn window(&self, bar: u8, offset: u64) -> Result<&'static DeviceWindow, DeviceError<'static>> {
        let found = self.grant.windows.iter().find(|w| (w.bar, w.offset) == (bar, offset));
        found.ok_or(DeviceError::NoWindow { bar, offset })
    }
}

fn take(window: &DeviceWindow) -> Result<(), DeviceError<'static>> {
    let DeviceWindow { bar, offset, base, .. } = *window;
    if take_once(base) { Ok(()) } else { Err(DeviceError::Taken { bar, offset }) }
}

/// A device, or a part of one, that a program cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError<'a> {
    /// The manifest does not grant it.
    NotGranted(MissingGrant<'a>),
    /// This machine does not have it, or it cannot be used: the log says which.
    Absent {
        /// Its name in the manifest.
        name: &'a str,
    },
    /// It opens no memory there.
    NoWindow {
        /// Base address register.
        bar: u8,
        /// Where in its range.
        offset: u64,
    },
    /// The program has taken this window before.
    Taken {
        /// Base address register.
        bar: u8,
        /// Where in its range.
        offset: u64,
    },
}

impl fmt::Display for DeviceError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(missing) => missing.fmt(f),
            Self::Absent { name } => write!(f, "this machine has no `{name}`"),
            Self::NoWindow { bar, offset } => {
                write!(f, "base address register {bar} opens no memory at {offset:#x}")
            }
            Self::Taken { bar, offset } => {
                write!(f, "base address register {bar} is in use already at {offset:#x}")
            }
        }
    }
}

impl core::error::Error for DeviceError<'_> {}

/// Numbers of a PCI function's capabilities, and where in its configuration space they begin (PCI
/// 3.0, section 6.7). As many as fit: a list that goes round in a circle ends.
pub fn capabilities(config: &[u8; CONFIGURATION_BYTES]) -> impl Iterator<Item = (u8, usize)> + '_ {
    const STATUS: usize = 0x06;
    const HAS_LIST: u8 = 1 << 4;
    const FIRST: usize = 0x34;
    const HEADER_BYTES: usize = 0x40;
    let place = |byte: u8| Some(usize::from(byte & !3)).filter(|at| *at >= HEADER_BYTES);
    let first = place(config[FIRST]).filter(|_| config[STATUS] & HAS_LIST != 0);
    let places = core::iter::successors(first, move |at| place(*config.get(at + 1)?));
    let most = (CONFIGURATION_BYTES - HEADER_BYTES) / 4;
    places.take(most).filter_map(|at| Some((*config.get(at)?, at)))
}

/// Configuration space as bytes: serde knows shorter arrays only.
mod configuration {
    use alloc::boxed::Box;
    use core::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    use super::CONFIGURATION_BYTES;

    type Bytes = [u8; CONFIGURATION_BYTES];

    #[expect(clippy::borrowed_box, reason = "serde hands over a reference to the field")]
    pub(super) fn serialize<S: Serializer>(bytes: &Box<Bytes>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&bytes[..])
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Box<Bytes>, D::Error> {
        from.deserialize_bytes(BytesVisitor)
    }

    struct BytesVisitor;

    impl Visitor<'_> for BytesVisitor {
        type Value = Box<Bytes>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{CONFIGURATION_BYTES} bytes of configuration space")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            let bytes = Bytes::try_from(bytes);
            bytes.map(Box::new).map_err(|_| E::custom("a configuration space of another size"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn nic() -> DeviceGrant {
        let mut config = Box::new([0; CONFIGURATION_BYTES]);
        config[0] = 0xf4;
        let window = |bar, offset, base| DeviceWindow {
            bar,
            offset,
            base,
            bytes: 0x1000,
            caching: Caching::Uncached,
        };
        DeviceGrant {
            identity: DeviceIdentity::Pci {
                address: PciAddress::default(),
                vendor: 0x1af4,
                device: 0x1041,
                config,
            },
            windows: vec![window(1, 0, 0x5000_0000_0000), window(4, 0x2000, 0x5000_0020_2000)],
            interrupts: true,
        }
    }

    #[test]
    fn a_grant_is_read_as_it_was_written() {
        let bytes = postcard::to_allocvec(&nic()).expect("bytes");
        assert_eq!(postcard::from_bytes(&bytes), Ok(nic()));
        assert!(postcard::from_bytes::<DeviceGrant>(&bytes[..100]).is_err());
    }

    #[test]
    fn capabilities_are_listed_and_end() {
        let mut config = [0; CONFIGURATION_BYTES];
        config[0x34] = 0x50;
        (config[0x50], config[0x51]) = (9, 0xfe);
        (config[0xfc], config[0xfd]) = (0x11, 0x50);
        assert_eq!(capabilities(&config).count(), 0, "the function says that it has none");
        config[6] = 0x10;
        let listed: vec::Vec<_> = capabilities(&config).take(3).collect();
        assert_eq!(listed, [(9, 0x50), (0x11, 0xfc), (9, 0x50)]);
        assert_eq!(capabilities(&config).count(), 48, "a circle");
        config[0xfd] = 0x3c;
        assert_eq!(capabilities(&config).count(), 2, "the header is no capability");
    }

    #[test]
    fn windows_are_handed_out_once() {
        let device = Device::new(Box::leak(Box::new(nic())), 7);
        assert!(device.registers(1).is_ok());
        let taken = DeviceError::Taken { bar: 1, offset: 0 };
        assert_eq!(device.registers(1).err(), Some(taken));
        assert_eq!(device.memory(1).err(), Some(taken));
        let nowhere = DeviceError::NoWindow { bar: 4, offset: 0 };
        assert_eq!(device.registers(4).err(), Some(nowhere));
        assert!(device.registers_at(4, 0x2000).is_ok());
        assert_eq!(device.interrupt(), Some(IrqHandler::new(Cptr::new(7))));
    }

    #[test]
    fn errors_are_sentences() {
        let absent = DeviceError::Absent { name: "screen" };
        assert_eq!(alloc::format!("{absent}"), "this machine has no `screen`");
        let nowhere = DeviceError::NoWindow { bar: 4, offset: 0x1000 };
        let text = "base address register 4 opens no memory at 0x1000";
        assert_eq!(alloc::format!("{nowhere}"), text);
    }
}
