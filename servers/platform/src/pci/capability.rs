//! The list of capabilities, and those that this server understands (PCI Local Bus 3.0, section
//! 6.7 and 6.8; PCI Express Base 5.0, section 7.5.3).

use alloc::vec::Vec;

use libd3os::service::platform::{Bar, BarSpace, Interrupt, PciAddress};

use super::config::{ConfigSpace, read8, read16};
use super::problem::Wrong;

/// Power management.
pub const POWER: u8 = 0x01;
/// Message-signalled interrupts.
pub const MSI: u8 = 0x05;
/// The vendor's own.
pub const VENDOR: u8 = 0x09;
/// PCI Express.
pub const EXPRESS: u8 = 0x10;
/// Message-signalled interrupts with a table.
pub const MSIX: u8 = 0x11;
/// Advanced features of conventional PCI.
pub const ADVANCED: u8 = 0x13;

const STATUS: u16 = 0x06;
/// The status bit that says that there is a list.
const HAS_LIST: u16 = 1 << 4;
const LIST: u16 = 0x34;
/// The header ends here.
const FIRST_PLACE: u8 = 0x40;

/// Ids and offsets of a function's capabilities, in the order of its list. A list that leads
/// nowhere or in circles ends there.
pub fn list(
    space: &mut impl ConfigSpace,
    address: PciAddress,
    mut wrong: impl FnMut(Wrong),
) -> Vec<(u8, u8)> {
    let mut found: Vec<(u8, u8)> = Vec::new();
    if read16(space, address, STATUS) & HAS_LIST == 0 {
        return found;
    }
    let mut at = read8(space, address, LIST) & !3;
    // Places are four bytes apart and none is visited twice, so this ends.
    while at != 0 {
        if at < FIRST_PLACE {
            wrong(Wrong::CapabilityPlace(at));
            break;
        }
        if found.iter().any(|(_, known)| *known == at) {
            wrong(Wrong::CapabilityLoop(at));
            break;
        }
        let [id, next, ..] = space.read(address, u16::from(at)).to_le_bytes();
        if id == u8::MAX {
            wrong(Wrong::CapabilityPlace(at));
            break;
        }
        found.push((id, at));
        at = next & !3;
    }
    found
}

/// The best message-signalled interrupt that a function has, or [`Interrupt::None`].
pub fn message_interrupt(
    space: &mut impl ConfigSpace,
    address: PciAddress,
    capabilities: &[(u8, u8)],
    bars: &[Bar],
    mut wrong: impl FnMut(Wrong),
) -> Interrupt {
    let find = |wanted: u8| {
        capabilities.iter().find(|(id, _)| *id == wanted).map(|(_, at)| u16::from(*at))
    };
    if let Some(at) = find(MSIX) {
        match msix(space, address, at, bars) {
            Some(interrupt) => return interrupt,
            None => wrong(Wrong::MsixTable),
        }
    }
    find(MSI).map_or(Interrupt::None, |at| msi(space, address, at))
}

/// Bytes of an entry of the MSI-X table.
pub const MSIX_ENTRY_BYTES: u64 = 16;

/// `None` where the table is not in the function's memory: an interrupt that cannot be set up.
fn msix(
    space: &mut impl ConfigSpace,
    address: PciAddress,
    at: u16,
    bars: &[Bar],
) -> Option<Interrupt> {
    let vectors = (read16(space, address, at + 2) & 0x7ff) + 1;
    let table = space.read(address, at.checked_add(4).filter(|at| *at < 0x100)?);
    let [low, ..] = table.to_le_bytes();
    let (bar, offset) = (low & 7, table & !7);
    let memory = bars.iter().find(|candidate| candidate.index == bar)?;
    let end = u64::from(offset) + u64::from(vectors) * MSIX_ENTRY_BYTES;
    // A driver may hold it, and nobody remember the size.
    let fits = end <= memory.size || memory.size == 0;
    let inside = matches!(memory.space, BarSpace::Memory { .. }) && fits;
    inside.then_some(Interrupt::MsiX { vectors, bar, offset })
}

/// Values above 5 are reserved; the specification knows no more than 32 vectors.
fn msi(space: &mut impl ConfigSpace, address: PciAddress, at: u16) -> Interrupt {
    let control = read16(space, address, at + 2);
    Interrupt::Msi { vectors: 1 << (control >> 1 & 0b111).min(5) }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, Node, device};
    use super::*;

    const AT: PciAddress = PciAddress { segment: 0, bus: 0, device: 0, function: 0 };

    fn model(node: Node) -> Model {
        let mut model = Model::default();
        model.put(0, 0, 0, node);
        model
    }

    fn listed(node: Node) -> (Vec<(u8, u8)>, Vec<Wrong>) {
        let mut wrongs = Vec::new();
        (list(&mut model(node), AT, |wrong| wrongs.push(wrong)), wrongs)
    }

    fn interrupt(node: Node) -> (Interrupt, Vec<Wrong>) {
        let mut model = model(node);
        let mut wrongs = Vec::new();
        let found = list(&mut model, AT, |wrong| wrongs.push(wrong));
        let bars = super::super::bar::read_all(&mut model, AT, 6, |wrong| wrongs.push(wrong));
        let interrupt =
            message_interrupt(&mut model, AT, &found, &bars, |wrong| wrongs.push(wrong));
        (interrupt, wrongs)
    }

    #[test]
    fn lists_end_where_they_should() {
        let node = device(1, 1).capabilities(&[(0x40, 1, &[]), (0xa0, MSIX, &[]), (0x60, 9, &[])]);
        assert_eq!(listed(node), (vec![(1, 0x40), (MSIX, 0xa0), (9, 0x60)], vec![]));
        assert_eq!(listed(device(1, 1).with(LIST, 0x40)), (vec![], vec![]));
    }

    #[test]
    fn lists_that_do_not_end_are_cut() {
        let ring = device(1, 1).capabilities(&[(0x40, 1, &[]), (0x50, 2, &[])]).with(0x50, 0x4002);
        assert_eq!(listed(ring), (vec![(1, 0x40), (2, 0x50)], vec![Wrong::CapabilityLoop(0x40)]));
        let own = device(1, 1).capabilities(&[(0x44, 1, &[])]).with(0x44, 0x4401);
        assert_eq!(listed(own), (vec![(1, 0x44)], vec![Wrong::CapabilityLoop(0x44)]));
        let header = device(1, 1).capabilities(&[(0x40, 1, &[])]).with(0x40, 0x1001);
        assert_eq!(listed(header), (vec![(1, 0x40)], vec![Wrong::CapabilityPlace(0x10)]));
        let gone = device(1, 1).capabilities(&[(0x40, 1, &[])]).with(0x40, u32::MAX);
        assert_eq!(listed(gone), (vec![], vec![Wrong::CapabilityPlace(0x40)]));
    }

    #[test]
    fn the_table_is_preferred_to_plain_messages() {
        let messages: (u16, u8, &[u32]) = (0x50, MSI, &[0x0080_0000]);
        let table = |words| (0x70, MSIX, words);
        let node = |words: &'static [u32]| {
            device(1, 1).bar(1, 0x10_0000, 0x1000).capabilities(&[messages, table(words)])
        };
        let good = Interrupt::MsiX { vectors: 4, bar: 1, offset: 0x800 };
        assert_eq!(interrupt(node(&[0x0003_0000, 0x801])), (good, vec![]));
        let plain = (Interrupt::Msi { vectors: 1 }, vec![Wrong::MsixTable]);
        // Of the table's last entry, half lies behind the memory; then there is no such memory.
        assert_eq!(interrupt(node(&[0x0003_0000, 0xfc9])), plain);
        assert_eq!(interrupt(node(&[0x0003_0000, 0x802])), plain);
    }

    #[test]
    fn messages_count_in_powers_of_two() {
        let vectors = |control: u32| {
            let words = [control << 16];
            interrupt(device(1, 1).capabilities(&[(0x50, MSI, &words)])).0
        };
        assert_eq!(vectors(0x80), Interrupt::Msi { vectors: 1 });
        assert_eq!(vectors(0x8a), Interrupt::Msi { vectors: 32 });
        assert_eq!(vectors(0x8e), Interrupt::Msi { vectors: 32 });
        assert_eq!(interrupt(device(1, 1)).0, Interrupt::None);
    }
}
