//! Resource descriptors: what a device uses, as bytes (ACPI 6.5, section 6.4). Of them all, the
//! interrupts.

use libd3os::service::platform::Signal;

/// An interrupt that a device uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Input of the interrupt controllers.
    pub number: u32,
    /// How it is announced.
    pub signal: Signal,
}

/// In the type of a large descriptor.
const LARGE: u8 = 0x80;
/// Large: an interrupt of any number.
const EXTENDED_INTERRUPT: u8 = 0x89;
/// Small: an interrupt of the old controllers.
const OLD_INTERRUPT: u8 = 4;
/// Small: the end of the list.
const END: u8 = 15;

/// The first interrupt of a list; `None` where it has none, or the bytes make no sense before one.
#[must_use]
pub fn interrupt(list: &[u8]) -> Option<Interrupt> {
    let mut rest = list;
    while let Some((kind, body, after)) = descriptor(rest) {
        match kind {
            EXTENDED_INTERRUPT => return extended(body),
            OLD_INTERRUPT => return old(body),
            END => return None,
            _ => rest = after,
        }
    }
    None
}

/// The type of the first descriptor, what it contains, and what follows it.
fn descriptor(list: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    match list {
        [kind, low, high, rest @ ..] if kind & LARGE != 0 => {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            rest.split_at_checked(length).map(|(body, after)| (*kind, body, after))
        }
        [kind, rest @ ..] if kind & LARGE == 0 => {
            let (body, after) = rest.split_at_checked(usize::from(kind & 7))?;
            Some((kind >> 3, body, after))
        }
        _ => None,
    }
}

/// Section 6.4.3.6. It may list several; a link is connected to the first.
fn extended(body: &[u8]) -> Option<Interrupt> {
    let [flags, count, a, b, c, d, ..] = *body else { return None };
    let signal = Signal { level_triggered: flags & 2 == 0, active_low: flags & 4 != 0 };
    let number = u32::from_le_bytes([a, b, c, d]);
    (count > 0).then_some(Interrupt { number, signal })
}

/// Section 6.4.2.1: a bit for each of sixteen, and, if it says more, how it is announced.
fn old(body: &[u8]) -> Option<Interrupt> {
    let (bits, flags) = match *body {
        [low, high] => (u16::from_le_bytes([low, high]), 1),
        [low, high, flags, ..] => (u16::from_le_bytes([low, high]), flags),
        _ => return None,
    };
    let signal = Signal { level_triggered: flags & 1 == 0, active_low: flags & 8 != 0 };
    (bits != 0).then_some(Interrupt { number: bits.trailing_zeros(), signal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEVEL_HIGH: Signal = Signal { level_triggered: true, active_low: false };
    const LEVEL_LOW: Signal = Signal { level_triggered: true, active_low: true };
    const EDGE_HIGH: Signal = Signal { level_triggered: false, active_low: false };

    #[test]
    fn each_kind_is_read() {
        let found = |list: &[u8]| interrupt(list).map(|found| (found.number, found.signal));
        assert_eq!(found(&[0x89, 6, 0, 9, 1, 20, 0, 0, 0, 0x79, 0]), Some((20, LEVEL_HIGH)));
        assert_eq!(found(&[0x89, 6, 0, 13, 1, 20, 1, 0, 0]), Some((276, LEVEL_LOW)));
        assert_eq!(found(&[0x22, 0x20, 0, 0x79, 0]), Some((5, EDGE_HIGH)));
        assert_eq!(found(&[0x23, 0, 0x08, 0x18, 0x79, 0]), Some((11, LEVEL_LOW)));
    }

    #[test]
    fn others_are_passed_over() {
        let ports = [0x47, 1, 0, 0, 0, 0, 0, 8];
        let memory = [0x86, 9, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0];
        let list = [&ports[..], &memory, &[0x22, 4, 0]].concat();
        assert_eq!(interrupt(&list).map(|found| found.number), Some(2));
        assert_eq!(interrupt(&[&[0x79, 0][..], &list].concat()), None);
    }

    #[test]
    fn what_makes_no_sense_is_no_interrupt() {
        for list in [
            &[][..],
            &[0x22, 4],
            &[0x22, 0, 0],
            &[0x89, 6, 0, 9, 0, 20, 0, 0, 0],
            &[0x89, 5, 0, 9, 1, 20, 0, 0],
            &[0x89, 6, 0, 9, 1],
            &[0x89],
        ] {
            assert_eq!(interrupt(list), None, "{list:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(list: Vec<u8>) {
            let found = interrupt(&list);
            prop_assert!(found.is_none() || list.len() >= 3);
        }
    }
}
