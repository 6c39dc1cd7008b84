//! The windows of a device that init has mapped into its driver.

use alloc::vec::Vec;

use libd3os::device::{Device, DeviceError};
use libd3os::mmio::Registers;

use crate::transport::{Opening, Place, Windows};

/// All windows of a device.
#[derive(Debug)]
pub struct Mapped(Vec<Registers>);

impl Mapped {
    /// The windows of this device, and what they open. They can be had once.
    ///
    /// # Errors
    /// [`DeviceError::Taken`].
    pub fn open(device: &Device) -> Result<(Self, Vec<Opening>), DeviceError<'static>> {
        let windows = device.windows().iter();
        let registers =
            windows.clone().map(|window| device.registers_at(window.bar, window.offset));
        let openings = windows.map(|window| Opening {
            bar: window.bar,
            offset: window.offset,
            bytes: window.bytes,
        });
        Ok((Self(registers.collect::<Result<_, _>>()?), openings.collect()))
    }
}

/// Places come from [`crate::transport::Transport`], which has found them to lie in the windows.
impl Windows for Mapped {
    fn read8(&mut self, place: Place) -> u8 {
        self.0[place.window].read8(place.offset)
    }

    fn read16(&mut self, place: Place) -> u16 {
        self.0[place.window].read16(place.offset)
    }

    fn read32(&mut self, place: Place) -> u32 {
        self.0[place.window].read32(place.offset)
    }

    fn write8(&mut self, place: Place, value: u8) {
        self.0[place.window].write8(place.offset, value);
    }

    fn write16(&mut self, place: Place, value: u16) {
        self.0[place.window].write16(place.offset, value);
    }

    fn write32(&mut self, place: Place, value: u32) {
        self.0[place.window].write32(place.offset, value);
    }
}
