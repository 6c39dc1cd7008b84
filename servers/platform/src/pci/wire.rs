//! Making a function work for its driver: memory on, one interrupt, bus mastering.
//!
//! Interrupts go the best way that the function has: entry 0 of its MSI-X table, MSI with one vector,
//! its pin. Followed: PCI Local Bus 3.0, section 6.8.

use core::fmt;

use libd3os::service::devices::InterruptMessage;
use libd3os::service::platform::{BarSpace, Interrupt, PciAddress};

use super::capability::{MSI, MSIX, MSIX_ENTRY_BYTES};
use super::config::{ConfigSpace, read16, write16, write16_alone};
use super::function::Function;
use super::reset::{BUS_MASTERING, COMMAND, MEMORY_DECODING, PIN_DISABLED};
use crate::memory::{DeviceMemory, Unreadable};

/// MSI-X control, in the upper half of the capability's first word: messages are said.
const MSIX_ENABLE: u16 = 1 << 15;
/// MSI-X control: all of them are masked.
pub const MSIX_MASK_ALL: u16 = 1 << 14;
/// An entry of the table: address, its upper half, data, and whether it is masked.
const ENTRY_MASKED: u32 = 1;

/// MSI control.
const MSI_ENABLE: u16 = 1;
/// How many vectors are in use, as a power of two.
const MSI_COUNT: u16 = 0b111 << 4;
const MSI_WIDE: u16 = 1 << 7;
const MSI_MASKS: u16 = 1 << 8;

/// Why a function could not be wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The table of its messages cannot be reached.
    Table,
    /// There is no message for it.
    NoMessage,
    /// It cannot say this message: its registers are too narrow.
    Narrow,
    /// What it interrupts by is not what it has.
    Gone,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "its MSI-X table cannot be reached",
            Self::NoMessage => "there is no interrupt message for it",
            Self::Narrow => "its MSI registers are too narrow for the message",
            Self::Gone => "its capabilities are no longer what they were",
        })
    }
}

impl core::error::Error for WireError {}

impl From<Unreadable> for WireError {
    fn from(_: Unreadable) -> Self {
        Self::Table
    }
}

/// Wires a function: from here on it may reach memory and interrupt.
///
/// # Errors
/// [`WireError`]; the function can reach no memory then.
pub fn wire(
    space: &mut impl ConfigSpace,
    memory: &mut impl DeviceMemory,
    function: &Function,
    interrupt: Interrupt,
    message: Option<InterruptMessage>,
) -> Result<(), WireError> {
    let address = function.address;
    set(space, address, MEMORY_DECODING | PIN_DISABLED);
    match interrupt {
        Interrupt::MsiX { vectors, bar, offset } => {
            let table = table(function, bar, offset).ok_or(WireError::Gone)?;
            let at = function.capability(MSIX).ok_or(WireError::Gone)?;
            msix(space, memory, (address, at), (table, vectors), message)?;
        }
        Interrupt::Msi { .. } => {
            let at = function.capability(MSI).ok_or(WireError::Gone)?;
            msi(space, (address, at), message)?;
        }
        Interrupt::Pin { .. } => clear(space, address, PIN_DISABLED),
        Interrupt::Unrouted { .. } | Interrupt::None => {}
    }
    set(space, address, BUS_MASTERING);
    Ok(())
}

/// Lets a bridge forward what functions behind it say, and what is said to them.
pub fn open_bridge(space: &mut impl ConfigSpace, bridge: PciAddress) {
    set(space, bridge, MEMORY_DECODING | BUS_MASTERING);
}

fn set(space: &mut impl ConfigSpace, address: PciAddress, bits: u16) {
    let command = read16(space, address, COMMAND);
    write16_alone(space, address, COMMAND, command | bits);
}

fn clear(space: &mut impl ConfigSpace, address: PciAddress, bits: u16) {
    let command = read16(space, address, COMMAND);
    write16_alone(space, address, COMMAND, command & !bits);
}

/// Physical address of the MSI-X table.
fn table(function: &Function, bar: u8, offset: u32) -> Option<u64> {
    let mut bars = function.bars.iter();
    let bar = bars.find(|b| b.index == bar && matches!(b.space, BarSpace::Memory { .. }))?;
    bar.address.checked_add(u64::from(offset))
}

/// All entries are masked but the first, which says `message`.
fn msix(
    space: &mut impl ConfigSpace,
    memory: &mut impl DeviceMemory,
    (address, at): (PciAddress, u16),
    (table, vectors): (u64, u16),
    message: Option<InterruptMessage>,
) -> Result<(), WireError> {
    let message = message.ok_or(WireError::NoMessage)?;
    let control = read16(space, address, at + 2);
    write16(space, address, at + 2, control | MSIX_ENABLE | MSIX_MASK_ALL);
    for entry in 1..u64::from(vectors) {
        memory.write(table + entry * MSIX_ENTRY_BYTES + 12, ENTRY_MASKED)?;
    }
    let [low, high] = halves(message.address);
    for (offset, value) in [(0, low), (4, high), (8, message.data), (12, 0)] {
        memory.write(table + offset, value)?;
    }
    write16(space, address, at + 2, control & !MSIX_MASK_ALL | MSIX_ENABLE);
    Ok(())
}

/// One vector, which says `message`.
fn msi(
    space: &mut impl ConfigSpace,
    (address, at): (PciAddress, u16),
    message: Option<InterruptMessage>,
) -> Result<(), WireError> {
    let InterruptMessage { address: to, data } = message.ok_or(WireError::NoMessage)?;
    let control = read16(space, address, at + 2);
    let ([low, high], is_wide) = (halves(to), control & MSI_WIDE != 0);
    let data = u16::try_from(data).map_err(|_| WireError::Narrow)?;
    if high != 0 && !is_wide {
        return Err(WireError::Narrow);
    }
    let off = control & !(MSI_ENABLE | MSI_COUNT);
    write16(space, address, at + 2, off);
    space.write(address, at + 4, low);
    let behind = if is_wide {
        space.write(address, at + 8, high);
        at + 12
    } else {
        at + 8
    };
    write16(space, address, behind, data);
    if control & MSI_MASKS != 0 {
        space.write(address, behind + 4, 0);
    }
    write16(space, address, at + 2, off | MSI_ENABLE);
    Ok(())
}

fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::super::model::{Memory, Model, Node, device};
    use super::super::scan::scan;
    use super::*;
    use std::collections::BTreeMap;

    const AT: PciAddress = PciAddress { segment: 0, bus: 0, device: 0, function: 0 };
    const MESSAGE: InterruptMessage = InterruptMessage { address: 0xfee0_1000, data: 0x41 };

    struct Wired {
        result: Result<(), WireError>,
        model: Model,
        memory: BTreeMap<u64, u32>,
    }

    fn wired(node: Node, interrupt: Option<Interrupt>, message: Option<InterruptMessage>) -> Wired {
        let mut model = Model::default();
        model.put(0, 0, 0, node);
        let functions = scan(&mut model, 0, (0, 0), &[]).functions;
        let interrupt = interrupt.unwrap_or(functions[0].message_interrupt);
        let mut memory = Memory::default();
        let result = wire(&mut model, &mut memory, &functions[0], interrupt, message);
        Wired { result, model, memory: memory.0 }
    }

    fn command(wired: &mut Wired) -> u16 {
        read16(&mut wired.model, AT, COMMAND)
    }

    fn with_table() -> Node {
        device(0x8086, 0x10d3)
            .bar(3, 0xfebd_0000, 0x4000)
            .capabilities(&[(0xa0, MSIX, &[0x0002_0000, 0x1003])])
            .writable(0xa0, 0xc000_0000)
    }

    #[test]
    fn the_table_s_first_entry_says_the_message_and_the_others_are_masked() {
        let mut wired = wired(with_table(), None, Some(MESSAGE));
        assert_eq!(wired.result, Ok(()));
        let table = 0xfebd_1000;
        let entries = [
            (table, 0xfee0_1000),
            (table + 4, 0),
            (table + 8, 0x41),
            (table + 12, 0),
            (table + 16 + 12, 1),
            (table + 32 + 12, 1),
        ];
        assert_eq!(wired.memory, BTreeMap::from(entries));
        assert_eq!(read16(&mut wired.model, AT, 0xa2), 0x8002);
        assert_eq!(command(&mut wired), MEMORY_DECODING | BUS_MASTERING | PIN_DISABLED);
    }

    #[test]
    fn a_function_that_cannot_be_wired_reaches_no_memory() {
        let mut silent = wired(with_table(), None, None);
        assert_eq!(silent.result, Err(WireError::NoMessage));
        assert_eq!(command(&mut silent) & BUS_MASTERING, 0);
        let far = device(1, 1)
            .bar(0, 0x40_0000_0004, 0x1000)
            .capabilities(&[(0xa0, MSIX, &[0, 0])])
            .writable(0xa0, 0xc000_0000);
        let mut far = wired(far, None, Some(MESSAGE));
        assert_eq!(far.result, Err(WireError::Table));
        assert_eq!(command(&mut far) & BUS_MASTERING, 0);
        let gone = Interrupt::MsiX { vectors: 1, bar: 2, offset: 0 };
        let mut gone = wired(device(1, 1), Some(gone), Some(MESSAGE));
        assert_eq!((gone.result, command(&mut gone) & BUS_MASTERING), (Err(WireError::Gone), 0));
    }

    fn with_msi(control: u32) -> Node {
        let mut node = device(1, 1).capabilities(&[(0x50, MSI, &[control << 16])]);
        for offset in [0x54, 0x58, 0x5c, 0x60] {
            node = node.with(offset, 0x1234_5678).writable(offset, u32::MAX);
        }
        node.writable(0x50, 0x0071_0000)
    }

    #[test]
    fn messages_without_a_table_are_wired_in_each_layout() {
        let words =
            |wired: &mut Wired| [0x50, 0x54, 0x58, 0x5c, 0x60].map(|at| wired.model.read(AT, at));
        let mut narrow = wired(with_msi(0x006a), None, Some(MESSAGE));
        assert_eq!(narrow.result, Ok(()));
        let old = 0x1234_5678;
        assert_eq!(words(&mut narrow), [0x000b_0005, 0xfee0_1000, 0x1234_0041, old, old]);
        let mut wide = wired(with_msi(0x0180), None, Some(MESSAGE));
        assert_eq!(wide.result, Ok(()));
        assert_eq!(words(&mut wide), [0x0181_0005, 0xfee0_1000, 0, 0x1234_0041, 0]);
        assert_eq!(command(&mut wide), MEMORY_DECODING | BUS_MASTERING | PIN_DISABLED);
    }

    #[test]
    fn messages_that_do_not_fit_are_refused() {
        let with = |control, message| wired(with_msi(control), None, Some(message)).result;
        let far = InterruptMessage { address: 1 << 32, data: 1 };
        assert_eq!((with(0, far), with(0x80, far)), (Err(WireError::Narrow), Ok(())));
        let long = InterruptMessage { address: 0xfee0_0000, data: 1 << 16 };
        assert_eq!(with(0x80, long), Err(WireError::Narrow));
    }

    #[test]
    fn a_pin_is_let_speak_and_what_has_none_is_silent() {
        use libd3os::service::platform::Signal;
        let signal = Signal { level_triggered: true, active_low: true };
        let pin = Interrupt::Pin { pin: 1, gsi: 16, signal };
        let mut by_pin = wired(device(1, 1), Some(pin), None);
        assert_eq!(command(&mut by_pin), MEMORY_DECODING | BUS_MASTERING);
        let mut mute = wired(device(1, 1), Some(Interrupt::None), None);
        assert_eq!(command(&mut mute), MEMORY_DECODING | BUS_MASTERING | PIN_DISABLED);
    }
}
