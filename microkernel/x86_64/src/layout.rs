//! Where the kernel's address space has what, and where the linker put the image.

use core::ops::Range;
use core::ptr::addr_of;

/// Virtual minus physical address of the kernel's image.
pub(crate) const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Virtual minus physical address of RAM.
pub(crate) const PHYSMAP: u64 = 0xffff_8000_0000_0000;
/// Registers of interrupt controllers, a page each, uncached.
pub(crate) const DEVICES: u64 = 0xffff_ffff_c000_0000;

/// log2 of the bytes of an area: the registers are in the first, and at the top of the area of each
/// core other than the boot core is its stack, below which nothing is mapped.
pub(crate) const AREA_BITS: u32 = 21;
/// Bytes of a kernel stack.
pub(crate) const STACK_BYTES: u64 = STACK_LENGTH as u64;
/// The same, as a length in memory.
pub(crate) const STACK_LENGTH: usize = 64 << 10;

/// Where the stack of a core other than the boot core begins.
pub(crate) const fn stack_in_area(core: u32) -> u64 {
    DEVICES + ((core as u64 + 1) << AREA_BITS)
}

/// Where RAM at `physical` is seen.
pub(crate) const fn physmap(physical: u64) -> u64 {
    PHYSMAP + physical
}

/// Physical address of something in the kernel's image, or in RAM as the kernel sees it.
pub(crate) const fn physical(address: u64) -> u64 {
    if address >= KERNEL_BASE { address - KERNEL_BASE } else { address - PHYSMAP }
}

// The linker script's symbols: only their addresses mean anything.
unsafe extern "C" {
    static boot_start: u8;
    static text_start: u8;
    static text_end: u8;
    static entry_end: u8;
    static rodata_start: u8;
    static rodata_end: u8;
    static data_start: u8;
    static stack_guard: u8;
    static stack_bottom: u8;
    static stack_top: u8;
}

macro_rules! addresses {
    ($($(#[$doc:meta])* $name:ident: $start:ident .. $end:ident,)*) => {
        $($(#[$doc])* pub(crate) fn $name() -> Range<u64> {
            addr_of!($start).addr() as u64..addr_of!($end).addr() as u64
        })*
    };
}

addresses! {
    /// Code.
    text: text_start..text_end,
    /// The part of it that enters the kernel and leaves it.
    entry: text_start..entry_end,
    /// Constants.
    rodata: rodata_start..rodata_end,
    /// Variables, from the first to the page that is kept unmapped below the stack.
    data: data_start..stack_guard,
    /// The boot core's stack.
    stack: stack_bottom..stack_top,
}

/// The image, physically; its stack is the last of it.
pub(crate) fn image() -> Range<u64> {
    addr_of!(boot_start).addr() as u64..physical(stack().end)
}
