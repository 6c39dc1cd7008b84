//! Features and configuration of a virtio network card (5.1.3, 5.1.4).

use virtio::regs::Features;

/// Device type of network cards in PCI device ids: 0x1040 and this.
pub const DEVICE_TYPE: u16 = 1;

/// The device tells its greatest MTU.
pub const MTU: Features = Features::from_bits_retain(1 << 3);
/// The device has an address.
pub const MAC: Features = Features::from_bits_retain(1 << 5);
/// The device tells the state of its line.
pub const STATUS: Features = Features::from_bits_retain(1 << 16);
/// The device tells the speed of its line.
pub const SPEED_DUPLEX: Features = Features::from_bits_retain(1 << 63);

/// Queue of frames that come in.
pub const RECEIVE_QUEUE: u16 = 0;
/// Queue of frames that go out.
pub const TRANSMIT_QUEUE: u16 = 1;

/// Bytes of the header before each frame (5.1.6), with version 1.
pub const HEADER_BYTES: usize = 12;

/// Bytes of the configuration that are read.
pub const CONFIG_BYTES: usize = 16;

/// A card's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its address; with [`MAC`].
    pub mac: [u8; 6],
    /// Whether the line is up; with [`STATUS`].
    pub up: bool,
    /// Its greatest MTU; with [`MTU`].
    pub mtu: u16,
    /// Millions of bits a second, `u32::MAX` where it does not know; with [`SPEED_DUPLEX`].
    pub speed: u32,
}

impl Config {
    /// The configuration that these bytes are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; CONFIG_BYTES]) -> Self {
        let [a, b, c, d, e, f, status, _, _, _, mtu, mtu_high, s0, s1, s2, s3] = bytes;
        Self {
            mac: [a, b, c, d, e, f],
            up: status & 1 != 0,
            mtu: u16::from_le_bytes([mtu, mtu_high]),
            speed: u32::from_le_bytes([s0, s1, s2, s3]),
        }
    }
}
