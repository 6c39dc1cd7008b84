//! The two ports of configuration space.

use libd3os::port::Ports;
use platform::pci::config::{NOTHING, PortPair};

/// Offset of the data port.
const DATA: u16 = 4;

/// Ports 0xcf8 to 0xcff.
#[derive(Debug)]
pub(crate) struct ConfigPorts(pub(crate) Ports);

impl PortPair for ConfigPorts {
    fn select(&mut self, register: u32) {
        // What the kernel refuses is as if nobody were there.
        let _ = self.0.write32(0, register);
    }

    fn input(&mut self) -> u32 {
        self.0.read32(DATA).unwrap_or(NOTHING)
    }

    fn output(&mut self, value: u32) {
        let _ = self.0.write32(DATA, value);
    }
}
