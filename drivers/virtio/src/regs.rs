//! What lies in a virtio PCI device's structures, and what the bits mean.

use bitflags::bitflags;

/// A register of the common configuration structure (4.1.4.3), by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Common {
    /// Which 32 of the device's features [`Common::DeviceFeature`] shows.
    DeviceFeatureSelect = 0x00,
    /// Features that the device offers; 32 bits.
    DeviceFeature = 0x04,
    /// Which 32 of the driver's features [`Common::DriverFeature`] is.
    DriverFeatureSelect = 0x08,
    /// Features that the driver accepts; 32 bits.
    DriverFeature = 0x0c,
    /// MSI-X vector of changes of the device's configuration; 16 bits.
    ConfigVector = 0x10,
    /// Queues that the device has; 16 bits.
    NumQueues = 0x12,
    /// [`Status`]; 8 bits.
    DeviceStatus = 0x14,
    /// Changes whenever the device's configuration has changed; 8 bits.
    ConfigGeneration = 0x15,
    /// Which queue the registers behind this one are about; 16 bits.
    QueueSelect = 0x16,
    /// Entries of the queue, 0 where there is none; 16 bits.
    QueueSize = 0x18,
    /// MSI-X vector of the queue; 16 bits.
    QueueVector = 0x1a,
    /// 1 to let the device use the queue; 16 bits.
    QueueEnable = 0x1c,
    /// Where to notify the device of the queue; 16 bits.
    QueueNotifyOffset = 0x1e,
    /// Address of the descriptors; 64 bits.
    QueueDescriptors = 0x20,
    /// Address of the driver's ring; 64 bits.
    QueueDriver = 0x28,
    /// Address of the device's ring; 64 bits.
    QueueDevice = 0x30,
}

/// Bytes of the common configuration structure that this driver uses.
pub const COMMON_BYTES: usize = 0x38;

/// Vector of what is to raise no interrupt (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

bitflags! {
    /// How far driver and device have come with each other (2.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u8 {
        /// The driver has noticed the device.
        const ACKNOWLEDGE = 1;
        /// The driver knows how to drive it.
        const DRIVER = 2;
        /// The driver is ready.
        const DRIVER_OK = 4;
        /// The driver has accepted features, and the device them.
        const FEATURES_OK = 8;
        /// The device cannot go on without a reset.
        const NEEDS_RESET = 64;
        /// The driver has given up.
        const FAILED = 128;
    }

    /// Features of all devices (6); a device type's own are the driver's to name.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// The rings say at which index each side wants to hear of the other's.
        const EVENT_INDEX = 1 << 29;
        /// The device is one of version 1 of the specification.
        const VERSION_1 = 1 << 32;
        /// The device's accesses are translated: it must be told bus addresses.
        const ACCESS_PLATFORM = 1 << 33;
        /// Bits that a device type defines.
        const _ = !0;
    }
}

/// The kinds of structures that a device's capabilities tell of (4.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Common configuration.
    Common,
    /// Notifications.
    Notify,
    /// Interrupt status.
    Isr,
    /// Configuration of this type of device.
    Device,
}

impl Kind {
    /// The kind with this number, of those that are used here.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Common),
            2 => Some(Self::Notify),
            3 => Some(Self::Isr),
            4 => Some(Self::Device),
            _ => None,
        }
    }
}
