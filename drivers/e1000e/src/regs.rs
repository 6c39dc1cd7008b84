//! Registers of the 82574 and what their bits mean (10.2).

use bitflags::bitflags;

/// A register that the driver uses, as offset in base address register 0. All have 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Register {
    /// [`Control`] (10.2.2.1).
    Control = 0x0000,
    /// [`Status`] (10.2.2.2).
    Status = 0x0008,
    /// [`Eeprom`] control (10.2.2.3).
    Eeprom = 0x0010,
    /// [`ExtendedControl`] (10.2.2.5).
    ExtendedControl = 0x0018,
    /// [`Cause`] of interrupts; writing ones clears, and reading clears without MSI-X (10.2.4.1).
    InterruptCause = 0x00c0,
    /// Causes to let through: ones set (10.2.4.4).
    InterruptMaskSet = 0x00d0,
    /// Causes to keep back: ones clear (10.2.4.5).
    InterruptMaskClear = 0x00d8,
    /// Causes that their MSI-X message clears (10.2.4.6).
    AutoClear = 0x00dc,
    /// Which cause goes to which MSI-X vector (10.2.4.8).
    VectorAllocation = 0x00e4,
    /// Shortest time between two messages of vector 0, in 256 ns (10.2.4.9).
    Throttle0 = 0x00e8,
    /// The same without MSI-X (10.2.4.2).
    Throttle = 0x00c4,
    /// [`ReceiveControl`] (10.2.5.1).
    ReceiveControl = 0x0100,
    /// [`TransmitControl`] (10.2.6.1).
    TransmitControl = 0x0400,
    /// Gaps between frames (10.2.6.2).
    TransmitGap = 0x0410,
    /// Receive ring: address, low half (10.2.5.4).
    ReceiveBaseLow = 0x2800,
    /// Receive ring: address, high half.
    ReceiveBaseHigh = 0x2804,
    /// Receive ring: bytes.
    ReceiveLength = 0x2808,
    /// Receive ring: the card's next descriptor.
    ReceiveHead = 0x2810,
    /// Receive ring: behind the card's last descriptor.
    ReceiveTail = 0x2818,
    /// How descriptors are fetched and written back (10.2.5.10).
    ReceiveDescriptors = 0x2828,
    /// Transmit ring: address, low half (10.2.6.4).
    TransmitBaseLow = 0x3800,
    /// Transmit ring: address, high half.
    TransmitBaseHigh = 0x3804,
    /// Transmit ring: bytes.
    TransmitLength = 0x3808,
    /// Transmit ring: the card's next descriptor.
    TransmitHead = 0x3810,
    /// Transmit ring: behind the card's last descriptor.
    TransmitTail = 0x3818,
    /// How descriptors are fetched and written back (10.2.6.10).
    TransmitDescriptors = 0x3828,
    /// Frames with a wrong check sequence, since it was last read, as the three below (10.2.7).
    CrcErrors = 0x4000,
    /// Frames with an error of the line.
    ReceiveErrors = 0x400c,
    /// Frames for which the card had no room.
    Missed = 0x4010,
    /// Frames for which there was no buffer when they came.
    NoBuffers = 0x40a0,
    /// [`ReceiveChecksum`] (10.2.5.15).
    ReceiveChecksum = 0x5000,
    /// Receive filter control, of which [`NO_ACK_INTERRUPTS`] alone is set (10.2.5.16).
    ReceiveFilter = 0x5008,
    /// Which multicast addresses pass: the first of 128 registers (10.2.5.17).
    MulticastTable = 0x5200,
    /// The card's address, first four bytes (10.2.5.18).
    AddressLow = 0x5400,
    /// The card's address, last two bytes; [`ADDRESS_VALID`].
    AddressHigh = 0x5404,
    /// PCIe control (10.2.2.14).
    PcieControl = 0x5b00,
}

/// Access to one card's registers; the process has mapped memory behind it, the tests a model.
pub trait Registers {
    /// Reads a register. Some reads have effects (causes, statistics).
    fn read(&mut self, register: Register) -> u32;
    /// Writes a register.
    fn write(&mut self, register: Register, value: u32);
    /// Writes the register so many after this one, of those that are a row.
    fn write_nth(&mut self, register: Register, index: usize, value: u32);
    /// Lets so many microseconds pass.
    fn wait_us(&mut self, microseconds: u32);
}

/// Registers of [`Register::MulticastTable`].
pub const MULTICAST_REGISTERS: usize = 128;

/// The address in [`Register::AddressHigh`] is one.
pub const ADDRESS_VALID: u32 = 1 << 31;

bitflags! {
    /// Control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Control: u32 {
        /// Full duplex.
        const FULL_DUPLEX = 1 << 0;
        /// The card begins no accesses to memory any more.
        const MASTER_DISABLE = 1 << 2;
        /// The link may come up.
        const SET_LINK_UP = 1 << 6;
        /// The speed is this register's, not the PHY's.
        const FORCE_SPEED = 1 << 11;
        /// The duplex mode is this register's, not the PHY's.
        const FORCE_DUPLEX = 1 << 12;
        /// Resets all but the PHY and the PCIe configuration; ends by itself.
        const RESET = 1 << 26;
        /// The card obeys pause frames.
        const RECEIVE_PAUSE = 1 << 27;
        /// The card sends pause frames.
        const SEND_PAUSE = 1 << 28;
        /// 802.1Q tags are taken out of frames.
        const VLAN_MODE = 1 << 30;
        const _ = !0;
    }

    /// Status.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u32 {
        /// Full duplex.
        const FULL_DUPLEX = 1 << 0;
        /// The link is up.
        const LINK_UP = 1 << 1;
        /// The card accesses memory, or still may.
        const MASTER_ENABLE = 1 << 19;
        const _ = !0;
    }

    /// EEPROM control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Eeprom: u32 {
        /// The card has read its configuration, the address among it.
        const AUTO_READ_DONE = 1 << 9;
        const _ = !0;
    }

    /// Extended control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ExtendedControl: u32 {
        /// Reading causes also masks them.
        const ACKNOWLEDGE_MASKS = 1 << 27;
        /// A driver is there.
        const DRIVER_LOADED = 1 << 28;
        /// The card's own bits for pending messages are cleared with the messages.
        const PENDING_CLEARS = 1 << 31;
        const _ = !0;
    }

    /// Causes of interrupts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cause: u32 {
        /// A frame to send was written back.
        const SENT = 1 << 0;
        /// The link has changed.
        const LINK = 1 << 2;
        /// There are few receive buffers.
        const FEW_BUFFERS = 1 << 4;
        /// Frames were lost.
        const OVERRUN = 1 << 6;
        /// A frame has come in.
        const RECEIVED = 1 << 7;
        /// With MSI-X: the receive queue.
        const RECEIVE_QUEUE = 1 << 20;
        /// With MSI-X: the transmit queue.
        const TRANSMIT_QUEUE = 1 << 22;
        /// With MSI-X: something else.
        const OTHER = 1 << 24;
        const _ = !0;
    }

    /// Receive control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReceiveControl: u32 {
        /// Frames are received.
        const ENABLE = 1 << 1;
        /// All multicast frames pass.
        const ALL_MULTICAST = 1 << 4;
        /// Frames of more than 1,522 bytes pass.
        const LONG_FRAMES = 1 << 5;
        /// Broadcast frames pass.
        const BROADCAST = 1 << 15;
        /// Buffers have 256 bytes, or sixteen times as many.
        const BUFFERS_OF_256 = 3 << 16;
        /// Sixteen times.
        const BUFFERS_TIMES_16 = 1 << 25;
        /// The check sequence is taken off.
        const STRIP_CRC = 1 << 26;
    }

    /// Transmit control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TransmitControl: u32 {
        /// Frames are sent.
        const ENABLE = 1 << 1;
        /// Short ones are padded.
        const PAD = 1 << 3;
        /// Sixteen collisions at most (half duplex).
        const COLLISIONS = 0xf << 4;
        /// A collision is one within 64 bytes.
        const COLLISION_DISTANCE = 0x3f << 12;
        /// Several reads of memory at a time.
        const MULTIPLE_READS = 1 << 28;
        /// When to read the next frame: the value after a reset.
        const READ_THRESHOLD = 1 << 29;
    }

    /// Receive checksum control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReceiveChecksum: u32 {
        /// IPv4 headers are checked.
        const IPV4 = 1 << 8;
        /// TCP and UDP are checked.
        const TRANSPORT = 1 << 9;
    }
}

impl Status {
    /// Millions of bits a second.
    #[must_use]
    pub const fn speed(self) -> u32 {
        match self.bits() >> 6 & 3 {
            0 => 10,
            1 => 100,
            _ => 1000,
        }
    }
}

/// All causes go to vector 0: receive queue 0, transmit queue 0, and the others, each valid
/// (bit 3 of its four).
pub const ALL_TO_VECTOR_0: u32 = 0x8 | 0x8 << 8 | 0x8 << 16;

/// Shortest time between two interrupts, in 256 ns: none. The driver masks the queues while it works,
/// which bounds what a storm of small frames costs; a message that the card puts off comes when its
/// frame was taken long ago, and wakes the driver for nothing.
pub const THROTTLE: u32 = 0;

/// The card does not interrupt at once for a TCP acknowledgement. It would do so by a cause of its own,
/// one of the "others" with which the line's changes come, and so also while the queues are masked.
pub const NO_ACK_INTERRUPTS: u32 = 1 << 12;

/// Gaps between frames as the data sheet recommends (10.2.6.2).
pub const GAPS: u32 = 8 | 8 << 10 | 6 << 20;

/// Descriptors are written back one by one (threshold 1, counted in descriptors).
pub const WRITE_BACK_EACH: u32 = 1 << 16 | 1 << 24;

/// A bit of the transmit descriptor control that has to be set (10.2.6.10).
pub const TRANSMIT_DESCRIPTORS_ONE: u32 = 1 << 22;

/// A bit of the PCIe control that has to be set (10.2.2.14).
pub const PCIE_ONE: u32 = 1 << 22;
