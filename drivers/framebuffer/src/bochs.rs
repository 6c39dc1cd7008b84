//! Mode setting of QEMU's standard VGA.

use libd3os::device::{ColourField, Screen};

use crate::regs::{ENABLED, KEEP_MEMORY, LINEAR, Register, Registers, SHOW, VERSION, VERSION_MASK};

/// The mode that is set.
const WIDTH: u16 = 1024;
const HEIGHT: u16 = 768;
const BITS: u16 = 32;
/// Bytes of a line of it.
const PITCH: u32 = WIDTH as u32 * 4;

/// Why there is no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMode {
    /// The registers are not the extensions'.
    NoExtensions,
    /// The device did not take the mode.
    Refused,
}

impl core::fmt::Display for NoMode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoExtensions => "it has no registers to set a mode with",
            Self::Refused => "it did not take the mode",
        })
    }
}

/// Sets 1024 by 768 pixels of 32 bits, and describes them.
///
/// # Errors
/// [`NoMode`].
pub fn set_mode(registers: &mut impl Registers) -> Result<Screen, NoMode> {
    if registers.read(Register::Id) & VERSION_MASK != VERSION {
        return Err(NoMode::NoExtensions);
    }
    // The size is taken over while nothing is shown.
    registers.write(Register::Enable, 0);
    let wanted = [(Register::Width, WIDTH), (Register::Height, HEIGHT), (Register::Bits, BITS)];
    wanted.into_iter().for_each(|(register, value)| registers.write(register, value));
    registers.write(Register::VirtualWidth, WIDTH);
    registers.write(Register::OffsetX, 0);
    registers.write(Register::OffsetY, 0);
    registers.write(Register::Enable, ENABLED | LINEAR | KEEP_MEMORY);
    registers.write_attribute_index(SHOW);
    if wanted.into_iter().all(|(register, value)| registers.read(register) == value) {
        Ok(screen())
    } else {
        Err(NoMode::Refused)
    }
}

fn screen() -> Screen {
    let field = |position| ColourField { position, size: 8 };
    Screen {
        width: WIDTH.into(),
        height: HEIGHT.into(),
        pitch: PITCH,
        bits: 32,
        red: field(16),
        green: field(8),
        blue: field(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::model::Vga;

    #[test]
    fn the_mode_is_set_and_shown() {
        let mut vga = Vga::default();
        let screen = set_mode(&mut vga).expect("a mode");
        assert_eq!((vga.shown(), screen.pitch), (Some((1024, 768, 32)), 4096));
        assert_eq!(Format::of(&screen), Ok(Format::OURS));
        // Whatever a predecessor or the firmware has left.
        vga.write(Register::OffsetY, 5);
        vga.write(Register::Width, 640);
        assert!(set_mode(&mut vga).is_ok());
        assert_eq!((vga.shown(), vga.read(Register::OffsetY)), (Some((1024, 768, 32)), 0));
    }

    #[test]
    fn devices_without_the_extensions_are_told_apart() {
        let mut other = Vga { id: 0xffff, ..Vga::default() };
        assert_eq!(set_mode(&mut other), Err(NoMode::NoExtensions));
        assert_eq!(other.shown(), None);
        let mut small = Vga { widest: 800, ..Vga::default() };
        assert_eq!(set_mode(&mut small), Err(NoMode::Refused));
    }
}
