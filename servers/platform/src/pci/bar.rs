//! Base address registers, and how large what they open is (PCI Local Bus 3.0, section 6.2.5).
//!
//! A register tells its size when all ones are written to it, during which the function must not
//! answer at the address that results: its decoding is switched off, and on again afterwards. So
//! this is for functions that nobody uses yet. Of one that a driver holds ([`Held`]), sizes are those
//! that were found when the driver got it.

use alloc::vec::Vec;

use libd3os::service::platform::{Bar, BarSpace, PciAddress};

use super::config::ConfigSpace;
use super::problem::Wrong;

/// Command register, in the lower half of these four bytes; the status in the upper half is
/// cleared by ones, so zeros are written there.
const COMMAND: u16 = 0x04;
/// The function answers at ports (bit 0) and in memory (bit 1).
const DECODING: u32 = 0b11;
const FIRST_BAR: u16 = 0x10;

/// A function that must be left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub address: PciAddress,
    /// What its base address registers open, in bytes or ports; 0 where that is not known.
    pub sizes: [u64; BARS],
}

/// Base address registers of a device.
pub const BARS: usize = 6;

/// The registers of a function that a driver holds, nothing but read. Those that are zero are taken
/// to be not there.
pub fn read_held(space: &mut impl ConfigSpace, held: &Held, count: u8) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut index = 0;
    while index < count {
        let value = |space: &mut _, index: u8| read_value(space, held.address, index);
        let low = value(space, index);
        let is_wide = low & 0b111 == 0b100 && index + 1 < count;
        let high = if is_wide { value(space, index + 1) } else { 0 };
        let size = held.sizes.get(usize::from(index)).copied().unwrap_or(0);
        if (low, high) != (0, 0) || size != 0 {
            let (space, address) = meaning(low, is_wide.then_some(high));
            bars.push(Bar { index, space, address, size });
        }
        index += if is_wide { 2 } else { 1 };
    }
    bars
}

fn read_value(space: &mut impl ConfigSpace, address: PciAddress, index: u8) -> u32 {
    space.read(address, FIRST_BAR + 4 * u16::from(index))
}

/// What a register opens and where; `high` is the upper half of one of 64 bits.
fn meaning(low: u32, high: Option<u32>) -> (BarSpace, u64) {
    if low & 1 != 0 {
        return (BarSpace::Ports, u64::from(low & 0xfffc));
    }
    let space = BarSpace::Memory { wide: high.is_some(), prefetchable: low & 0b1000 != 0 };
    (space, u64::from(high.unwrap_or(0)) << 32 | u64::from(low & !0xf))
}

/// The registers that a function has, `count` of them at most (6, or 2 in bridges).
pub fn read_all(
    space: &mut impl ConfigSpace,
    address: PciAddress,
    count: u8,
    mut wrong: impl FnMut(Wrong),
) -> Vec<Bar> {
    let command = space.read(address, COMMAND) & 0xffff;
    space.write(address, COMMAND, command & !DECODING);
    let mut bars = Vec::new();
    let mut index = 0;
    while index < count {
        let raw = Raw::read(space, address, index, count);
        match raw.decode(index) {
            Ok(bar) => bars.extend(bar),
            Err(error) => wrong(error),
        }
        index += if raw.high.is_some() { 2 } else { 1 };
    }
    space.write(address, COMMAND, command);
    bars
}

/// What a register holds, and what it holds after all ones were written.
#[derive(Clone, Copy, Debug)]
struct Raw {
    low: Half,
    /// For one of 64 bits.
    high: Option<Half>,
    /// It has 64 bits, and there is no room for the upper ones.
    cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Half {
    value: u32,
    mask: u32,
}

impl Half {
    fn read(space: &mut impl ConfigSpace, address: PciAddress, index: u8) -> Self {
        let offset = FIRST_BAR + 4 * u16::from(index);
        let value = space.read(address, offset);
        space.write(address, offset, u32::MAX);
        let mask = space.read(address, offset);
        space.write(address, offset, value);
        Self { value, mask }
    }
}

impl Raw {
    fn read(space: &mut impl ConfigSpace, address: PciAddress, index: u8, count: u8) -> Self {
        let low = Half::read(space, address, index);
        let is_wide = low.value & 0b111 == 0b100;
        let has_room = index + 1 < count;
        let high = (is_wide && has_room).then(|| Half::read(space, address, index + 1));
        Self { low, high, cut: is_wide && !has_room }
    }

    /// `None` where the function does not have this register.
    fn decode(&self, index: u8) -> Result<Option<Bar>, Wrong> {
        let Half { value, mask } = self.low;
        if mask == 0 && self.high.is_none_or(|high| high.mask == 0) {
            return Ok(None);
        }
        // All ones are no register, but a function that is gone.
        let is_gone = mask == u32::MAX && value == u32::MAX;
        let is_port = value & 1 != 0;
        let kind = value >> 1 & 0b11;
        if is_gone || self.cut || !is_port && matches!(kind, 0b01 | 0b11) {
            return Err(Wrong::Bar(index));
        }
        let (space, address) = meaning(value, self.high.map(|high| high.value));
        let mask = if is_port {
            // Ports have 16 bits; the upper half need not be there.
            u64::MAX << 16 | u64::from(mask & 0xfffc)
        } else {
            u64::from(self.high.map_or(u32::MAX, |high| high.mask)) << 32 | u64::from(mask & !0xf)
        };
        let size = (!mask).wrapping_add(1);
        if size == 0 || !size.is_power_of_two() {
            return Err(Wrong::Bar(index));
        }
        Ok(Some(Bar { index, space, address, size }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, Node, device};
    use super::*;
    use proptest::prelude::*;

    fn read(node: Node, count: u8) -> (Vec<Bar>, Vec<Wrong>) {
        let mut model = Model::default();
        model.put(0, 1, 0, node);
        let before = model.clone();
        let address = PciAddress { segment: 0, bus: 0, device: 1, function: 0 };
        let mut wrongs = Vec::new();
        let bars = read_all(&mut model, address, count, |wrong| wrongs.push(wrong));
        assert_eq!(model.nodes, before.nodes, "what was written was restored");
        (bars, wrongs)
    }

    fn memory(wide: bool, prefetchable: bool) -> BarSpace {
        BarSpace::Memory { wide, prefetchable }
    }

    #[test]
    fn every_kind_is_sized() {
        let node = device(0x8086, 0x10d3)
            .bar(0, 0xfeb8_0000, 0x2_0000)
            .bar(1, 0xc001, 32)
            .bar(2, 0x40_0000_000c, 1 << 34)
            .bar(5, 0xfebd_0008, 0x1000);
        let bar = |index, space, address, size| Bar { index, space, address, size };
        let expected = [
            bar(0, memory(false, false), 0xfeb8_0000, 0x2_0000),
            bar(1, BarSpace::Ports, 0xc000, 32),
            bar(2, memory(true, true), 0x40_0000_0000, 1 << 34),
            bar(5, memory(false, true), 0xfebd_0000, 0x1000),
        ];
        assert_eq!(read(node, 6), (expected.to_vec(), vec![]));
    }

    #[test]
    fn one_that_is_held_is_only_read() {
        let node = device(0x8086, 0x10d3).bar(0, 0xfeb8_0000, 0x2_0000).bar(1, 0xc001, 32).bar(
            2,
            0x40_0000_000c,
            1 << 34,
        );
        let mut model = Model::default();
        model.put(0, 1, 0, node);
        let address = PciAddress { device: 1, ..PciAddress::default() };
        let held = Held { address, sizes: [0x2_0000, 0, 1 << 34, 0, 0, 0] };
        let bar = |index, space, address, size| Bar { index, space, address, size };
        let writes = model.writes;
        assert_eq!(
            read_held(&mut model, &held, 6),
            [
                bar(0, memory(false, false), 0xfeb8_0000, 0x2_0000),
                bar(1, BarSpace::Ports, 0xc000, 0),
                bar(2, memory(true, true), 0x40_0000_0000, 1 << 34),
            ]
        );
        assert_eq!(model.writes, writes);
    }

    #[test]
    fn decoding_is_off_while_sizes_are_asked_for() {
        struct Watched(Model, bool);
        impl ConfigSpace for Watched {
            fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
                self.0.read(address, offset)
            }
            fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
                let decoding = self.0.read(address, COMMAND) & DECODING != 0;
                self.1 |= decoding && offset >= FIRST_BAR;
                self.0.write(address, offset, value);
            }
        }
        let mut model = Model::default();
        model.put(0, 0, 0, device(1, 1).with(COMMAND, 7).bar(0, 0x1000, 0x1000));
        let mut watched = Watched(model, false);
        let address = PciAddress::default();
        assert_eq!(read_all(&mut watched, address, 6, |_| ()).len(), 1);
        assert!(!watched.1);
        assert_eq!(watched.read(address, COMMAND), 7);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let at = |index: u16, value: u64, size: u64| device(1, 1).bar(index, value, size);
        assert_eq!(read(at(0, 0x2, 0x1000), 6), (vec![], vec![Wrong::Bar(0)]));
        assert_eq!(read(at(0, 0x6, 0x1000), 6), (vec![], vec![Wrong::Bar(0)]));
        assert_eq!(read(at(5, 0x4, 0x1000), 6), (vec![], vec![Wrong::Bar(5)]));
        assert_eq!(read(at(1, 0x4, 0x1000), 2), (vec![], vec![Wrong::Bar(1)]));
        let gone = device(1, 1).with(0x10, u32::MAX);
        assert_eq!(read(gone, 6), (vec![], vec![Wrong::Bar(0)]));
    }

    proptest! {
        /// Sizes and addresses are what the device has, whatever its kind.
        #[test]
        fn sizes_are_found(bits in 4u32..40, place: u32, wide: bool, prefetchable: bool, index in 0u8..5) {
            let wide = wide || bits > 31;
            let size = 1u64 << bits;
            let address = (u64::from(place) << if wide { 8 } else { 0 }) & !(size - 1);
            let kind = u64::from(wide) << 2 | u64::from(prefetchable) << 3;
            let node = device(1, 1).bar(u16::from(index), address | kind, size);
            let bar = Bar { index, space: memory(wide, prefetchable), address, size };
            prop_assert_eq!(read(node, 6), (vec![bar], vec![]));
        }
    }
}
