//! I/O ports.

use libd3os::cap::{Capability, Error, IoPort, IoPortRange};

use super::tests;
use crate::arena::{Arena, IO_PORT_CONTROL, slot_of};
use crate::check::{Outcome, check, check_eq};

tests![
    accesses_reach_the_device,
    all_widths_reach_the_device,
    accesses_outside_the_range_are_refused,
    a_range_is_issued_once,
    ranges_that_are_none_are_refused,
];

/// A range of ports for this test.
fn issue(arena: &mut Arena, first: u16, last: u16) -> Result<IoPort, Error> {
    let dest = arena.empty_slot();
    IO_PORT_CONTROL.issue(IoPortRange { first, last }, slot_of(dest))?;
    Ok(IoPort::new(dest))
}

/// The real-time clock keeps what is written to its memory.
fn accesses_reach_the_device(arena: &mut Arena) -> Outcome {
    const SPARE_BYTE: u8 = 0x40;
    let clock = issue(arena, 0x70, 0x71)?;
    for value in [0xa5, 0x5a] {
        clock.out8(0x70, SPARE_BYTE)?;
        clock.out8(0x71, value)?;
        clock.out8(0x70, SPARE_BYTE)?;
        check_eq!(clock.in8(0x71)?, value);
    }
    Ok(())
}

/// The PCI host bridge, which is Intel's in every QEMU machine of this kind.
fn all_widths_reach_the_device(arena: &mut Arena) -> Outcome {
    let pci = issue(arena, 0xcf8, 0xcff)?;
    pci.out32(0xcf8, 0x8000_0000)?;
    check_eq!(pci.in32(0xcf8)?, 0x8000_0000);
    let id = pci.in32(0xcfc)?;
    check_eq!(id & 0xffff, 0x8086);
    check_eq!(pci.in16(0xcfc)?, 0x8086);
    check_eq!(u32::from(pci.in16(0xcfe)?), id >> 16);
    check_eq!(pci.in8(0xcfd)?, 0x80);
    // The cache line size register of function 0 is ordinary memory or fixed; only widths matter.
    pci.out32(0xcf8, 0x8000_000c)?;
    pci.out16(0xcfc, 0)?;
    pci.out8(0xcfc, 0)?;
    Ok(())
}

fn accesses_outside_the_range_are_refused(arena: &mut Arena) -> Outcome {
    let pci = issue(arena, 0xcf8, 0xcfb)?;
    check_eq!(pci.in8(0xcfc), Err(Error::IllegalOperation));
    check_eq!(pci.in8(0xcf7), Err(Error::IllegalOperation));
    check_eq!(pci.in16(0xcfb), Err(Error::IllegalOperation));
    check_eq!(pci.in32(0xcf9), Err(Error::IllegalOperation));
    check_eq!(pci.out8(0xcfc, 0), Err(Error::IllegalOperation));
    check_eq!(pci.out32(0xcfa, 0), Err(Error::IllegalOperation));
    pci.in32(0xcf8)?;
    Ok(())
}

fn a_range_is_issued_once(arena: &mut Arena) -> Outcome {
    let held = issue(arena, 0x100, 0x1ff)?;
    for (first, last) in [(0x1ff, 0x200), (0x80, 0x100), (0x140, 0x141), (0, 0xffff)] {
        let taken = issue(arena, first, last).err();
        check_eq!(taken, Some(Error::RevokeFirst), "{first:#x}..={last:#x}");
    }
    let copy = arena.copy(held.cptr())?;
    slot_of(held.cptr()).delete()?;
    check_eq!(issue(arena, 0x100, 0x1ff).err(), Some(Error::RevokeFirst), "a copy holds it");
    slot_of(copy).delete()?;
    issue(arena, 0x100, 0x1ff)?;
    Ok(())
}

fn ranges_that_are_none_are_refused(arena: &mut Arena) -> Outcome {
    check_eq!(issue(arena, 2, 1).err(), Some(Error::InvalidArgument { index: 1 }));
    let held = issue(arena, 0x100, 0x100)?;
    let occupied =
        IO_PORT_CONTROL.issue(IoPortRange { first: 0x200, last: 0x200 }, slot_of(held.cptr()));
    check_eq!(occupied, Err(Error::DeleteFirst));
    check!(issue(arena, 0x200, 0x200).is_ok(), "a refused range was taken");
    Ok(())
}
