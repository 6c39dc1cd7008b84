//! One function: what its header says.

use alloc::vec::Vec;

use libd3os::service::platform::{Bar, Interrupt, PciAddress};

use super::bar::{self, Held};
use super::capability;
use super::config::{ConfigSpace, read8, read16};
use super::problem::Wrong;

const CLASS: u16 = 0x08;
const LAYOUT: u16 = 0x0e;
const BUSES: u16 = 0x18;
const SUBSYSTEM: u16 = 0x2c;
const PIN: u16 = 0x3d;
/// The layout's bit that says that the device has more than one function.
const SEVERAL: u8 = 0x80;

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: PciAddress,
    /// The bridge on whose secondary bus it is, by its place in the list of functions.
    pub parent: Option<usize>,
    /// Who made it.
    pub vendor: u16,
    /// Which of the vendor's devices it is.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass, programming interface.
    pub class: [u8; 3],
    /// What its header is for.
    pub kind: Kind,
    /// Its base address registers.
    pub bars: Vec<Bar>,
    /// Its capabilities: id and offset.
    pub capabilities: Vec<(u8, u8)>,
    /// Its best message-signalled interrupt.
    pub message_interrupt: Interrupt,
    /// Its interrupt pin, 1 to 4.
    pub pin: Option<u8>,
}

/// What a function's header is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device.
    Device {
        /// Subsystem's vendor and device.
        subsystem: (u16, u16),
    },
    /// A bridge to further buses.
    Bridge {
        /// The bus behind it.
        secondary: u8,
        /// The last bus behind that.
        subordinate: u8,
    },
    /// A header of another layout, of which no more is read.
    Other,
}

/// Who is at `address`, if anybody.
pub fn identity(space: &mut impl ConfigSpace, address: PciAddress) -> Option<(u16, u16)> {
    let [a, b, c, d] = space.probe(address).to_le_bytes();
    let (vendor, device) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    // No vendor has number 0; broken bridges answer so.
    (vendor != u16::MAX && vendor != 0).then_some((vendor, device))
}

/// Whether the device whose function 0 is at `address` has further functions.
pub fn has_several(space: &mut impl ConfigSpace, address: PciAddress) -> bool {
    let layout = read8(space, address, LAYOUT);
    layout != u8::MAX && layout & SEVERAL != 0
}

impl Function {
    /// Reads the function at `address`, which has this identity; carefully, if a driver holds it.
    pub fn read(
        space: &mut impl ConfigSpace,
        address: PciAddress,
        (vendor, device): (u16, u16),
        parent: Option<usize>,
        held: Option<&Held>,
        mut wrong: impl FnMut(Wrong),
    ) -> Self {
        let [revision, interface, subclass, base] = space.read(address, CLASS).to_le_bytes();
        let layout = read8(space, address, LAYOUT) & !SEVERAL;
        let (kind, bar_count) = read_kind(space, address, layout);
        if kind == Kind::Other {
            wrong(Wrong::Header(layout));
        }
        let bars = match held {
            Some(held) => bar::read_held(space, held, bar_count),
            None => bar::read_all(space, address, bar_count, &mut wrong),
        };
        let capabilities = match kind {
            Kind::Other => Vec::new(),
            _ => capability::list(space, address, &mut wrong),
        };
        let message_interrupt =
            capability::message_interrupt(space, address, &capabilities, &bars, &mut wrong);
        let pin = read_pin(space, address, kind, wrong);
        Self {
            address,
            parent,
            vendor,
            device,
            revision,
            class: [base, subclass, interface],
            kind,
            bars,
            capabilities,
            message_interrupt,
            pin,
        }
    }
}

impl Function {
    /// Where the first capability with this id is.
    #[must_use]
    pub fn capability(&self, id: u8) -> Option<u16> {
        let mut all = self.capabilities.iter();
        all.find(|(known, _)| *known == id).map(|(_, at)| u16::from(*at))
    }
}

/// What the header is for, and how many base address registers such a header has.
fn read_kind(space: &mut impl ConfigSpace, address: PciAddress, layout: u8) -> (Kind, u8) {
    match layout {
        0 => {
            let vendor = read16(space, address, SUBSYSTEM);
            let device = read16(space, address, SUBSYSTEM + 2);
            (Kind::Device { subsystem: (vendor, device) }, 6)
        }
        1 => {
            let [_, secondary, subordinate, _] = space.read(address, BUSES).to_le_bytes();
            (Kind::Bridge { secondary, subordinate }, 2)
        }
        _ => (Kind::Other, 0),
    }
}

fn read_pin(
    space: &mut impl ConfigSpace,
    address: PciAddress,
    kind: Kind,
    mut wrong: impl FnMut(Wrong),
) -> Option<u8> {
    match read8(space, address, PIN) {
        _ if kind == Kind::Other => None,
        0 => None,
        pin @ 1..=4 => Some(pin),
        pin => {
            wrong(Wrong::Pin(pin));
            None
        }
    }
}
