//! I/O ports for drivers: a port of a device, and what stands in for it in a test.

use core::fmt;

use crate::cap::{Error, IoPort};

/// Byte-wide access to a device's ports, by offset from the first.
///
/// A driver takes this instead of [`Ports`], so that a test can give it a model of its device.
pub trait PortAccess {
    /// Why an access failed; a model's never does.
    type Error: fmt::Debug;

    /// Reads a byte.
    ///
    /// # Errors
    /// The access was refused.
    fn read8(&mut self, offset: u16) -> Result<u8, Self::Error>;

    /// Writes a byte.
    ///
    /// # Errors
    /// The access was refused.
    fn write8(&mut self, offset: u16, value: u8) -> Result<(), Self::Error>;
}

/// A device's ports, through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    capability: IoPort,
    base: u16,
}

impl Ports {
    /// The ports from `base` on, through a capability that covers them.
    #[must_use]
    pub const fn new(capability: IoPort, base: u16) -> Self {
        Self { capability, base }
    }

    /// The first port.
    #[must_use]
    pub const fn base(&self) -> u16 {
        self.base
    }

    /// Reads four bytes.
    ///
    /// # Errors
    /// The access was refused.
    pub fn read32(&self, offset: u16) -> Result<u32, Error> {
        self.capability.in32(self.base.wrapping_add(offset))
    }

    /// Writes four bytes.
    ///
    /// # Errors
    /// The access was refused.
    pub fn write32(&self, offset: u16, value: u32) -> Result<(), Error> {
        self.capability.out32(self.base.wrapping_add(offset), value)
    }
}

impl PortAccess for Ports {
    type Error = Error;

    fn read8(&mut self, offset: u16) -> Result<u8, Error> {
        self.capability.in8(self.base.wrapping_add(offset))
    }

    fn write8(&mut self, offset: u16, value: u8) -> Result<(), Error> {
        self.capability.out8(self.base.wrapping_add(offset), value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::host::with_kernel;
    use crate::sys::{Cptr, Registers};
    use d3os_abi::{Label, MessageInfo};

    #[test]
    fn offsets_count_from_the_base() {
        let kernel = |_, input: Registers| {
            assert_eq!(MessageInfo(input.rsi).label(), Label::IoPortIn8.number());
            assert_eq!((input.rdi, input.words[0]), (9, 0x3fd));
            let answer = MessageInfo::new(0, 0, 0, 1);
            Registers { rsi: answer.0, words: [0x60, 0, 0, 0], ..input }
        };
        let mut ports = Ports::new(IoPort::new(Cptr::new(9)), 0x3f8);
        assert_eq!(with_kernel(kernel, || ports.read8(5)), Ok(0x60));
    }
}
