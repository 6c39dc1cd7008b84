//! Devices: what the manifest wants, and what the machine has. Served by `init`, called by `platform`
//! alone.
//!
//! The life of a device, as init sees it:
//!
//! ```text
//!                 provide           ready             its program ends
//!   Unsettled ---------------> Held --------> Ready --------------------> Held again, marked Ended
//!       |                       ^                                             |
//!       | absent                +------- reset, wired by platform, ready -----+
//!       v
//!     Absent (may still be provided later)
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Page;
use crate::device::{Caching, DeviceIdentity, Screen};
use crate::image::{AcpiDevice, BootDevice, PciId};

/// Memory windows that a device can have at most.
pub const MAX_WINDOWS: usize = 16;

/// The devices of the image, and the means to find and wire them. Init serves it to the one program
/// whose manifest entry calls it.
///
/// Init holds what a device is made of: frames over its memory, the handler of its interrupt. It keeps
/// them over restarts of the driver and of the caller, who finds in [`Devices::wanted`] what its
/// predecessor did. Init never waits for the caller: if that dies, drivers go on; if it is given up,
/// what is unsettled counts as absent.
#[crate::service(name = "devices", version = 1)]
pub trait Devices {
    /// The devices of the manifest, in its order, from the `from`-th on.
    #[retryable]
    fn wanted(from: u32) -> Result<Page<WantedDevice>, DevicesError>;

    /// Maps the page of device memory at physical address `paddr` into the caller, uncached, at place
    /// `place` of the platform window ([`crate::start::layout::PLATFORM_WINDOW`]), instead of what
    /// was there. Never RAM that programs can have, nor what the cores share. When the caller ends,
    /// its window is empty again.
    #[retryable]
    fn map(place: u16, paddr: u64) -> Result<(), DevicesError>;

    /// What the boot loader and the firmware left.
    #[retryable]
    fn boot() -> Result<BootFacts, DevicesError>;

    /// Tells what a wanted device is. Init takes its memory and makes the handler of its interrupt, and
    /// tells how to wire it; [`Devices::ready`] lets the program start. Telling the same of a device that is
    /// held changes nothing and has the same answer; the device of a program that has ended may have
    /// become another.
    #[retryable]
    fn provide(name: String, provided: Provided) -> Result<Wiring, DevicesError>;

    /// A provided device has been reset and wired: its program may start, or start again.
    #[retryable]
    fn ready(name: String) -> Result<(), DevicesError>;

    /// The machine does not have a wanted device, or it cannot be used; why is for the log. What the
    /// boot loader left may take its place.
    #[retryable]
    fn absent(name: String, reason: String) -> Result<(), DevicesError>;

    /// What to write into the sleep types of the power management registers to switch off (S5), as
    /// the firmware's bytecode has it.
    #[retryable]
    fn sleep_types(a: u8, b: u8) -> Result<(), DevicesError>;
}

/// A device that the manifest wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedDevice {
    /// Its name.
    pub name: String,
    /// The program that drives it; empty where none does.
    pub driver: String,
    /// PCI functions that it may be; the first that there is is it.
    pub pci: Vec<PciId>,
    /// The ACPI table that may describe it.
    pub acpi: Option<AcpiDevice>,
    /// What the boot loader may have left that it is.
    pub boot: Option<BootDevice>,
    /// How it stands.
    pub state: DeviceState,
    /// What it was said to be.
    pub provided: Option<Provided>,
}

/// How a wanted device stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeviceState {
    /// Nobody has said yet.
    #[default]
    Unsettled,
    /// Its memory and interrupt are held, its program may not start before it is wired.
    Held,
    /// Its program may run.
    Ready,
    /// Its program has ended: it is to be reset and wired again.
    Ended,
    /// The machine does not have it.
    Absent,
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unsettled => "not looked for yet",
            Self::Held => "found",
            Self::Ready => "ready",
            Self::Ended => "to be reset",
            Self::Absent => "absent",
        })
    }
}

/// What a device is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provided {
    /// What it is.
    pub identity: DeviceIdentity,
    /// Its memory, at most [`MAX_WINDOWS`] pieces, without the pages that its program must not touch.
    pub windows: Vec<ProvidedWindow>,
    /// How it interrupts.
    pub interrupt: ProvidedInterrupt,
}

/// A piece of a device's memory: whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvidedWindow {
    /// Base address register that it belongs to, or number of the window where there are none.
    pub bar: u8,
    /// Where in that register's range it begins.
    pub offset: u64,
    /// Physical address.
    pub paddr: u64,
    /// Its bytes.
    pub bytes: u64,
    /// How the processor treats it.
    pub caching: Caching,
}

/// How a device interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProvidedInterrupt {
    /// By a message that init tells.
    Message,
    /// By an input of the interrupt controllers.
    Pin {
        /// Global system interrupt.
        gsi: u32,
        /// For as long as it is active, not by a change.
        level: bool,
        /// A low voltage is "on".
        low: bool,
    },
    /// Not at all.
    None,
}

/// How to wire a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wiring {
    /// The message that is its interrupt.
    pub message: Option<InterruptMessage>,
    /// Memory that it may reach, and no other: the `dma` regions of its program.
    pub dma: Vec<DmaRange>,
}

/// A message-signalled interrupt: the device writes `data` to `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptMessage {
    /// Where.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// Memory that a device may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmaRange {
    /// Its first address as the device has to say it; the physical one.
    pub bus: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// What the boot loader and the firmware left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFacts {
    /// The ACPI root pointer, as found; empty where there is none.
    pub rsdp: Vec<u8>,
    /// The screen that the boot loader set up, if it did: where its pixels are, and how.
    pub screen: Option<(u64, Screen)>,
    /// Whether the caller is started for the first time since the machine was: nothing is held then.
    pub first_start: bool,
}

/// Why init refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DevicesError {
    /// The manifest wants no device of this name.
    NoSuchDevice(String),
    /// The platform window has no such place.
    NoSuchPlace(u16),
    /// Not whole pages, or none.
    NotPages {
        /// Address.
        paddr: u64,
        /// Bytes.
        bytes: u64,
    },
    /// This is RAM, or nothing that the kernel handed out as device memory.
    NotDeviceMemory(u64),
    /// This is memory that the cores share.
    SharedPool(u64),
    /// A part of this page belongs to another device.
    Overlaps {
        /// The page.
        paddr: u64,
        /// The device.
        other: String,
    },
    /// More than [`MAX_WINDOWS`] windows, or more ranges of memory than its program can be told of.
    TooManyWindows,
    /// A window twice, or one beyond what addresses can say.
    BadWindow(u8),
    /// There is no such input of the interrupt controllers, or another device has it.
    BadPin(u32),
    /// All vectors are in use.
    NoVector,
    /// This cannot be said of a device in this state.
    State(DeviceState),
    /// The device is held as something else.
    IsOther,
    /// Init has no memory for it, or the kernel refused; the log tells more.
    Refused,
}

impl fmt::Display for DevicesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchDevice(name) => write!(f, "the manifest wants no device `{name}`"),
            Self::NoSuchPlace(place) => write!(f, "the platform window has no place {place}"),
            Self::NotPages { paddr, bytes } => {
                write!(f, "{bytes:#x} bytes from {paddr:#x} on are not whole pages")
            }
            Self::NotDeviceMemory(paddr) => write!(f, "{paddr:#x} is not device memory"),
            Self::SharedPool(paddr) => write!(f, "{paddr:#x} is memory that the cores share"),
            Self::Overlaps { paddr, other } => write!(f, "{paddr:#x} belongs to `{other}`"),
            Self::TooManyWindows => write!(f, "more than {MAX_WINDOWS} windows"),
            Self::BadWindow(bar) => {
                write!(f, "a window of base address register {bar} is there twice or out of range")
            }
            Self::BadPin(gsi) => write!(f, "interrupt input {gsi} does not exist or is in use"),
            Self::NoVector => f.write_str("all interrupt vectors are in use"),
            Self::State(state) => write!(f, "the device is {state}"),
            Self::IsOther => f.write_str("the device is held as something else"),
            Self::Refused => f.write_str("init has no memory for it, or the kernel refused"),
        }
    }
}

impl core::error::Error for DevicesError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::MAX_BYTES;
    use crate::device::CONFIGURATION_BYTES;
    use crate::service::platform::PciAddress;
    use alloc::boxed::Box;
    use alloc::string::ToString;

    /// The longest that a device can be: it must reach the caller, and init.
    #[test]
    fn the_largest_device_fits_in_a_message() {
        let window = |number| ProvidedWindow {
            bar: number,
            offset: u64::MAX,
            paddr: u64::MAX,
            bytes: u64::MAX,
            caching: Caching::Cached,
        };
        let identity = DeviceIdentity::Pci {
            address: PciAddress { segment: u16::MAX, bus: 255, device: 31, function: 7 },
            vendor: u16::MAX,
            device: u16::MAX,
            config: Box::new([0xff; CONFIGURATION_BYTES]),
        };
        let provided = Provided {
            identity,
            windows: (0..16).map(window).collect(),
            interrupt: ProvidedInterrupt::Pin { gsi: u32::MAX, level: true, low: true },
        };
        let wanted = WantedDevice {
            name: "n".repeat(32),
            driver: "d".repeat(32),
            pci: alloc::vec![PciId { vendor: u16::MAX, device: u16::MAX }; 8],
            acpi: Some(AcpiDevice::Nfit),
            boot: Some(BootDevice::Framebuffer),
            state: DeviceState::Ended,
            provided: Some(provided),
        };
        let page = Page::fill(0, [wanted.clone()]);
        assert_eq!(page.items, [wanted]);
        let bytes = postcard::to_allocvec(&page).expect("bytes");
        assert!(bytes.len() + 32 < MAX_BYTES, "{}", bytes.len());
    }

    #[test]
    fn refusals_are_sentences() {
        let other = "hpet".to_string();
        let error = DevicesError::Overlaps { paddr: 0xfed0_0000, other };
        assert_eq!(error.to_string(), "0xfed00000 belongs to `hpet`");
        let state = DevicesError::State(DeviceState::Unsettled).to_string();
        assert_eq!(state, "the device is not looked for yet");
    }
}
