//! Registers of QEMU's standard VGA in its base address register 2 (`docs/specs/standard-vga.rst`).

/// A register of the Bochs VBE extensions, two bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Register {
    /// Which version of the extensions there is: [`VERSION_MASK`] of it is [`VERSION`].
    Id = 0,
    /// Pixels of a line.
    Width = 1,
    /// Lines.
    Height = 2,
    /// Bits of a pixel.
    Bits = 3,
    /// What is on: [`ENABLED`], [`LINEAR`].
    Enable = 4,
    /// Pixels from one line to the next.
    VirtualWidth = 6,
    /// First column that is shown.
    OffsetX = 8,
    /// First line that is shown.
    OffsetY = 9,
}

/// Access to the device's registers; the process has the memory behind it, the tests a model.
pub trait Registers {
    /// Reads a register.
    fn read(&mut self, register: Register) -> u16;
    /// Writes a register.
    fn write(&mut self, register: Register, value: u16);
    /// Writes the VGA's attribute controller's index port (0x3c0).
    fn write_attribute_index(&mut self, value: u8);
}

/// Where the extensions' registers begin.
pub const BOCHS_REGISTERS: usize = 0x500;
/// Where the VGA's ports from 0x3c0 on are.
pub const VGA_PORTS: usize = 0x400;

/// What [`Register::Id`] reads as, but for the version's last digit.
pub const VERSION: u16 = 0xb0c0;
/// The bits of it that do not count versions.
pub const VERSION_MASK: u16 = 0xfff0;
/// The mode that was set is shown.
pub const ENABLED: u16 = 0x01;
/// All of it lies in base address register 0, one line after another.
pub const LINEAR: u16 = 0x40;
/// What was shown before is not cleared away: the driver does that.
pub const KEEP_MEMORY: u16 = 0x80;
/// The attribute controller leaves its palette alone and shows pixels: without it the screen is dark.
pub const SHOW: u8 = 0x20;
