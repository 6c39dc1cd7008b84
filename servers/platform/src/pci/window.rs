//! What a driver may touch of a function: the memory that its base address registers open, without
//! the pages of its MSI-X table, whose messages are interrupts of any number.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use libd3os::device::Caching;
use libd3os::service::devices::{MAX_WINDOWS, ProvidedWindow};
use libd3os::service::platform::{Bar, BarSpace, Interrupt};

use super::capability::{MSIX_ENTRY_BYTES, VENDOR};
use super::config::{ConfigSpace, read8};
use super::function::Function;
use crate::pages::PAGE_BYTES;

/// Virtio's vendor, whose own capabilities say where its registers are (virtio 1.2, section 4.1.4).
const VIRTIO: u16 = 0x1af4;
const DISPLAY: u8 = 0x03;

/// What is special about a driver's windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The firmware gave this base address register no address.
    Unassigned(u8),
    /// What this base address register opens is smaller than a page that holds other things, too.
    SharesPage(u8),
    /// What this base address register opens cannot be where it says.
    Impossible(u8),
    /// The driver's registers are in the same page as the table of its messages, so it gets both.
    SharesTable(u8),
    /// There are more windows than a driver can have.
    TooMany,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = "its driver does not get it";
        match self {
            Self::Unassigned(bar) => {
                write!(f, "the firmware gave base address register {bar} no address; {kept}")
            }
            Self::SharesPage(bar) => write!(
                f,
                "what base address register {bar} opens shares its page with something else; {kept}"
            ),
            Self::Impossible(bar) => {
                write!(f, "what base address register {bar} opens cannot be where it says; {kept}")
            }
            Self::SharesTable(bar) => write!(
                f,
                "its MSI-X table shares a page of base address register {bar} with its registers; \
                 its driver gets both, and can raise any interrupt"
            ),
            Self::TooMany => write!(f, "it opens more than {MAX_WINDOWS} pieces of memory"),
        }
    }
}

/// A function's windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// The windows.
    pub windows: Vec<ProvidedWindow>,
    /// What is special about them.
    pub notes: Vec<Note>,
}

/// The windows of a function of `functions`, which interrupts like this.
pub fn windows(
    space: &mut impl ConfigSpace,
    functions: &[Function],
    function: &Function,
    interrupt: Interrupt,
) -> Windows {
    let structures = structures(space, function);
    let table = table_pages(interrupt);
    let mut found = Windows::default();
    for bar in function.bars.iter().filter(|bar| is_memory(bar)) {
        if let Err(note) = check(functions, function, bar) {
            found.notes.push(note);
            continue;
        }
        let table = table.clone().filter(|(index, _)| *index == bar.index).map(|(_, pages)| pages);
        let is_used = |pages: &Range<u64>| shares(function, bar, pages, &structures);
        let withheld = match table {
            Some(pages) if is_used(&pages) => {
                found.notes.push(Note::SharesTable(bar.index));
                None
            }
            table => table,
        };
        let caching = caching(function, bar, interrupt, &structures);
        found.windows.extend(pieces(bar, withheld, caching));
    }
    if found.windows.len() > MAX_WINDOWS {
        found.windows.truncate(MAX_WINDOWS);
        found.notes.push(Note::TooMany);
    }
    found
}

fn is_memory(bar: &Bar) -> bool {
    matches!(bar.space, BarSpace::Memory { .. })
}

/// Whether a driver can be given what a register opens.
fn check(functions: &[Function], function: &Function, bar: &Bar) -> Result<(), Note> {
    if bar.address == 0 || bar.size == 0 {
        return Err(Note::Unassigned(bar.index));
    }
    let own = pages_of(bar).ok_or(Note::Impossible(bar.index))?;
    if bar.size >= PAGE_BYTES {
        let is_aligned = bar.address.is_multiple_of(PAGE_BYTES);
        return if is_aligned { Ok(()) } else { Err(Note::Impossible(bar.index)) };
    }
    let others = functions.iter().flat_map(|other| other.bars.iter().map(move |b| (other, b)));
    let is_other = |(other, b): &(&Function, &Bar)| {
        (other.address, b.index) != (function.address, bar.index) && is_memory(b)
    };
    let in_page = |(_, b): (&Function, &Bar)| {
        pages_of(b).is_some_and(|pages| pages.start < own.end && own.start < pages.end)
    };
    if !bar.address.is_multiple_of(PAGE_BYTES) || others.filter(is_other).any(in_page) {
        return Err(Note::SharesPage(bar.index));
    }
    Ok(())
}

/// The pages that what a register opens lies in, by physical address.
fn pages_of(bar: &Bar) -> Option<Range<u64>> {
    let end = bar.address.checked_add(bar.size)?.checked_next_multiple_of(PAGE_BYTES)?;
    Some(bar.address - bar.address % PAGE_BYTES..end)
}

/// Register and pages, by offset, of the table of messages.
fn table_pages(interrupt: Interrupt) -> Option<(u8, Range<u64>)> {
    let Interrupt::MsiX { vectors, bar, offset } = interrupt else { return None };
    let start = u64::from(offset);
    let end = start + u64::from(vectors) * MSIX_ENTRY_BYTES;
    Some((bar, start - start % PAGE_BYTES..end.next_multiple_of(PAGE_BYTES)))
}

/// Whether the driver needs these pages of a register: its registers are said to be there, or there
/// is nothing else in which they could be.
fn shares(
    function: &Function,
    bar: &Bar,
    pages: &Range<u64>,
    structures: &[(u8, Range<u64>)],
) -> bool {
    let said = structures.iter().any(|(index, place)| {
        *index == bar.index && place.start < pages.end && pages.start < place.end
    });
    let has_more = pages.start > 0 || pages.end < bar.size;
    let has_others = function.bars.iter().any(|b| b.index != bar.index && is_memory(b));
    said || !has_more && !has_others
}

/// A register's range without what is withheld.
fn pieces(
    bar: &Bar,
    withheld: Option<Range<u64>>,
    caching: Caching,
) -> impl Iterator<Item = ProvidedWindow> {
    let bytes = bar.size.next_multiple_of(PAGE_BYTES);
    let parts = match withheld {
        Some(pages) => [0..pages.start, pages.end.min(bytes)..bytes],
        None => [0..bytes, 0..0],
    };
    let (index, address) = (bar.index, bar.address);
    parts.into_iter().filter(|part| !part.is_empty()).map(move |part| ProvidedWindow {
        bar: index,
        offset: part.start,
        paddr: address + part.start,
        bytes: part.end - part.start,
        caching,
    })
}

/// Pixels may be written in bursts. Registers never, and a register may be called prefetchable that
/// only has registers behind it.
fn caching(
    function: &Function,
    bar: &Bar,
    interrupt: Interrupt,
    structures: &[(u8, Range<u64>)],
) -> Caching {
    let has_registers = structures.iter().any(|(index, _)| *index == bar.index)
        || matches!(interrupt, Interrupt::MsiX { bar: table, .. } if table == bar.index);
    let is_prefetchable = matches!(bar.space, BarSpace::Memory { prefetchable: true, .. });
    match function.class[0] {
        DISPLAY if is_prefetchable && !has_registers => Caching::Combining,
        _ => Caching::Uncached,
    }
}

/// Where the function says that its registers are: register and range. Only virtio says it.
fn structures(space: &mut impl ConfigSpace, function: &Function) -> Vec<(u8, Range<u64>)> {
    let own = |id: u8| id == VENDOR && function.vendor == VIRTIO;
    let places = function.capabilities.iter().filter(|(id, _)| own(*id));
    let mut found = Vec::new();
    for at in places.map(|(_, at)| u16::from(*at)).filter(|at| *at <= 0xf0) {
        let bar = read8(space, function.address, at + 4);
        let offset = u64::from(space.read(function.address, at + 8));
        let length = u64::from(space.read(function.address, at + 12));
        found.push((bar, offset..offset + length));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, Node, device};
    use super::super::scan::scan;
    use super::*;
    use libd3os::service::platform::PciAddress;
    use proptest::prelude::*;

    const AT: PciAddress = PciAddress { segment: 0, bus: 0, device: 0, function: 0 };

    fn given(node: Node, others: &[Node]) -> Windows {
        let mut model = Model::default();
        model.put(0, 0, 0, node);
        for (slot, other) in (1..).zip(others) {
            model.put(0, slot, 0, other.clone());
        }
        let functions = scan(&mut model, 0, (0, 0), &[]).functions;
        let function = functions.iter().find(|f| f.address == AT).expect("it is there");
        windows(&mut model, &functions, function, function.message_interrupt)
    }

    fn shown(windows: &Windows) -> Vec<(u8, u64, u64, u64)> {
        windows.windows.iter().map(|w| (w.bar, w.offset, w.paddr, w.bytes)).collect()
    }

    /// A capability for so many vectors with the table there.
    fn table(vectors: u32, bar: u32, offset: u32) -> [u32; 2] {
        [(vectors - 1) << 16, offset | bar]
    }

    #[test]
    fn pages_of_the_table_are_kept_back() {
        let node = |words: &[u32]| {
            device(0x8086, 0x10d3)
                .bar(0, 0xfeb8_0000, 0x2_0000)
                .bar(2, 0xc001, 32)
                .bar(3, 0xfebd_0000, 0x8000)
                .capabilities(&[(0xa0, 0x11, words)])
        };
        let first = given(node(&table(5, 3, 0)), &[]);
        let (all, rest) = ((0, 0, 0xfeb8_0000, 0x2_0000), (3, 0x1000, 0xfebd_1000, 0x7000));
        assert_eq!((shown(&first), first.notes), (vec![all, rest], vec![]));
        // 300 entries from 0x2800 on end at 0x3ac0: two pages.
        let middle = given(node(&table(300, 3, 0x2800)), &[]);
        let parts = vec![all, (3, 0, 0xfebd_0000, 0x2000), (3, 0x4000, 0xfebd_4000, 0x4000)];
        assert_eq!(shown(&middle), parts);
    }

    #[test]
    fn a_table_among_the_registers_goes_with_them_and_is_told() {
        let node = device(0x8086, 1).bar(0, 0xfebd_0000, 0x1000).capabilities(&[(
            0xa0,
            0x11,
            &table(2, 0, 0x800),
        )]);
        let alone = given(node, &[]);
        assert_eq!(shown(&alone), [(0, 0, 0xfebd_0000, 0x1000)]);
        assert_eq!(alone.notes, [Note::SharesTable(0)]);
        // Virtio says where its registers are: here in the table's page, and there not.
        let virtio = |offset: u32| {
            let words = [0x0110_0000, 1, offset, 0x100];
            let node = device(0x1af4, 0x1041).bar(0, 0xfebd_0000, 0x1000);
            let node = node.bar(1, 0xfeb0_0000, 0x2000);
            given(node.capabilities(&[(0x40, 9, &words), (0xa0, 0x11, &table(2, 1, 0))]), &[])
        };
        assert_eq!(virtio(0x800).notes, [Note::SharesTable(1)]);
        assert_eq!(virtio(0x1000).notes, []);
        assert_eq!(shown(&virtio(0x1000)).len(), 2);
    }

    #[test]
    fn what_others_share_or_nobody_placed_is_not_given() {
        let small = |address| device(0x8086, 1).bar(0, address, 0x100);
        assert_eq!(shown(&given(small(0xfebd_0000), &[])), [(0, 0, 0xfebd_0000, 0x1000)]);
        assert_eq!(given(small(0xfebd_0100), &[]).notes, [Note::SharesPage(0)]);
        let crowded = given(small(0xfebd_0000), &[small(0xfebd_0800)]);
        assert_eq!((shown(&crowded), crowded.notes), (vec![], vec![Note::SharesPage(0)]));
        let unplaced = given(device(0x8086, 1).bar(0, 0, 0x1000), &[]);
        assert_eq!(unplaced.notes, [Note::Unassigned(0)]);
    }

    #[test]
    fn only_pixels_are_written_in_bursts() {
        let screen = device(0x1234, 0x1111).with(0x08, 0x0300_0002);
        let screen = screen.bar(0, 0xfd00_0008, 16 << 20).bar(2, 0xfebf_0000, 0x1000);
        let caching: Vec<_> = given(screen, &[]).windows.iter().map(|w| w.caching).collect();
        assert_eq!(caching, [Caching::Combining, Caching::Uncached]);
        let nic = device(0x1af4, 0x1041).with(0x08, 0x0200_0000).bar(4, 0xfe00_000c, 0x4000);
        assert_eq!(given(nic, &[]).windows[0].caching, Caching::Uncached);
    }

    proptest! {
        /// Whatever a function says: windows are whole pages of its own memory, lie apart, and hold
        /// no page of the table unless that is told.
        #[test]
        fn windows_are_pages_apart_from_each_other_and_the_table(
            bars in prop::collection::vec((0u64..20, 4u32..20, any::<bool>()), 1..6),
            vectors in 1u32..2049, place in 0u32..64, at in 0u32..6,
        ) {
            let mut node = device(0x8086, 1);
            for (index, (slot, bits, prefetchable)) in (0..).zip(&bars) {
                let address = (0x1_0000u64 + slot) << 12 & !((1 << bits) - 1);
                node = node.bar(index, address | u64::from(*prefetchable) << 3, 1 << bits);
            }
            let words = table(vectors, at, place * 0x800);
            let found = given(node.capabilities(&[(0xa0, 0x11, &words)]), &[]);
            for window in &found.windows {
                let place = window.paddr % PAGE_BYTES;
                prop_assert_eq!((place, window.bytes % PAGE_BYTES, window.offset % PAGE_BYTES), (0, 0, 0));
                prop_assert!(window.bytes > 0);
            }
            for (index, window) in found.windows.iter().enumerate() {
                for other in &found.windows[..index] {
                    let (end, other_end) = (window.offset + window.bytes, other.offset + other.bytes);
                    let apart = end <= other.offset || other_end <= window.offset;
                    prop_assert!(other.bar != window.bar || apart);
                }
            }
        }
    }
}
