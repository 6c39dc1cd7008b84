//! The PCI transport (4.1): where a device's structures are, features, queues, notifications.

use core::fmt;
use core::hint::spin_loop;

use libd3os::device::{self, CONFIGURATION_BYTES};

use crate::queue::Addresses;
use crate::regs::{COMMON_BYTES, Common, Features, Kind, NO_VECTOR, Status};

/// Bytes of configuration space that capabilities lie in.
pub const CONFIG_BYTES: usize = CONFIGURATION_BYTES;

const VENDOR_SPECIFIC: u8 = 0x09;
const MSI_X: u8 = 0x11;
const LAST_BAR: u8 = 5;

/// Times that a register is read before the device counts as dead. Each read is a round trip to
/// the device, of about a microsecond on real hardware.
const PATIENCE: u32 = 100_000;

/// A part of a device's memory that is mapped: a *window*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Base address register that it belongs to.
    pub bar: u8,
    /// Where in that register's range it begins.
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// A register: which window, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the window, as in the list of openings.
    pub window: usize,
    /// Offset in it, aligned to the register's width.
    pub offset: usize,
}

impl Place {
    const fn at(self, offset: usize) -> Self {
        Self { offset: self.offset + offset, ..self }
    }
}

/// Access to a device's windows; the process has mapped memory behind it, the tests a model.
pub trait Windows {
    /// Reads a byte.
    fn read8(&mut self, place: Place) -> u8;
    /// Reads two bytes.
    fn read16(&mut self, place: Place) -> u16;
    /// Reads four bytes.
    fn read32(&mut self, place: Place) -> u32;
    /// Writes a byte.
    fn write8(&mut self, place: Place, value: u8);
    /// Writes two bytes.
    fn write16(&mut self, place: Place, value: u16);
    /// Writes four bytes.
    fn write32(&mut self, place: Place, value: u32);
}

/// The device cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// It has no such structure: a legacy device.
    Missing(Kind),
    /// A structure is shorter than what lies in it, misaligned, or lies where nothing is mapped.
    Misplaced(Kind),
    /// It does not finish its reset.
    ResetUnfinished,
    /// It does not offer version 1.
    NoVersion1,
    /// It does not accept the features, of those that it offered itself.
    FeaturesRefused(Features),
    /// It has no such queue.
    NoQueue(u16),
    /// The queue's place for notifications lies outside of their structure.
    NoNotifier(u16),
    /// It does not take the interrupt vector.
    NoVector(u16),
    /// Its configuration changes whenever it is read.
    Restless,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(kind) => write!(f, "the device has no {kind:?} structure (legacy?)"),
            Self::Misplaced(kind) => write!(f, "the device's {kind:?} structure is unusable"),
            Self::ResetUnfinished => f.write_str("the device does not finish its reset"),
            Self::NoVersion1 => f.write_str("the device does not offer virtio 1"),
            Self::FeaturesRefused(features) => {
                write!(f, "the device refuses features {:#x}, which it offers", features.bits())
            }
            Self::NoQueue(queue) => write!(f, "the device has no queue {queue}"),
            Self::NoNotifier(queue) => write!(f, "queue {queue} cannot be notified"),
            Self::NoVector(vector) => write!(f, "the device refuses interrupt vector {vector}"),
            Self::Restless => f.write_str("the device's configuration does not come to rest"),
        }
    }
}

impl core::error::Error for TransportError {}

/// A structure of the device: where it begins, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Structure {
    place: Place,
    bytes: usize,
}

/// The structures that a device's capabilities tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Structures {
    common: Structure,
    notify: Structure,
    /// Bytes from one queue's place for notifications to the next.
    notify_step: usize,
    isr: Structure,
    device: Option<Structure>,
}

/// Where a queue's notifications go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notifier {
    place: Place,
    queue: u16,
}

/// A device behind its windows.
#[derive(Debug)]
pub struct Transport<W> {
    windows: W,
    structures: Structures,
}

impl<W: Windows> Transport<W> {
    /// The device with this configuration space, whose memory is mapped as `openings` say.
    ///
    /// # Errors
    /// [`TransportError::Missing`], [`TransportError::Misplaced`].
    pub fn find(
        config: &[u8; CONFIG_BYTES],
        openings: &[Opening],
        windows: W,
    ) -> Result<Self, TransportError> {
        structures(config, openings).map(|structures| Self { windows, structures })
    }

    /// The windows.
    pub const fn windows(&mut self) -> &mut W {
        &mut self.windows
    }

    /// Resets the device, and waits until it is (2.4). Its queues are then nobody's.
    ///
    /// # Errors
    /// [`TransportError::ResetUnfinished`]: it may still be writing to memory.
    pub fn reset(&mut self) -> Result<(), TransportError> {
        self.write8(Common::DeviceStatus, 0);
        for _ in 0..PATIENCE {
            if self.read8(Common::DeviceStatus) == 0 {
                return Ok(());
            }
            spin_loop();
        }
        Err(TransportError::ResetUnfinished)
    }

    /// Begins with a device that was reset (3.1.1): accepts what it offers of `wanted`, and of
    /// what every driver of this library must or can accept. Returns what was accepted.
    ///
    /// # Errors
    /// [`TransportError::NoVersion1`], [`TransportError::FeaturesRefused`].
    pub fn negotiate(&mut self, wanted: Features) -> Result<Features, TransportError> {
        let mut status = Status::ACKNOWLEDGE | Status::DRIVER;
        self.write8(Common::DeviceStatus, status.bits());
        let always = Features::VERSION_1 | Features::ACCESS_PLATFORM;
        let features = self.offered().intersection(wanted.union(always));
        if !features.contains(Features::VERSION_1) {
            return Err(TransportError::NoVersion1);
        }
        self.accept(features);
        status |= Status::FEATURES_OK;
        self.write8(Common::DeviceStatus, status.bits());
        if self.status().contains(Status::FEATURES_OK) {
            Ok(features)
        } else {
            Err(TransportError::FeaturesRefused(features))
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes the word apart")]
    fn accept(&mut self, features: Features) {
        for (select, half) in [(0, features.bits() as u32), (1, (features.bits() >> 32) as u32)] {
            self.write32(Common::DriverFeatureSelect, select);
            self.write32(Common::DriverFeature, half);
        }
    }

    fn offered(&mut self) -> Features {
        let mut half = |select| {
            self.write32(Common::DeviceFeatureSelect, select);
            u64::from(self.read32(Common::DeviceFeature))
        };
        let low = half(0);
        Features::from_bits_retain(low | half(1) << 32)
    }

    /// Entries that a queue can have at most.
    ///
    /// # Errors
    /// [`TransportError::NoQueue`].
    pub fn queue_size(&mut self, queue: u16) -> Result<u16, TransportError> {
        self.write16(Common::QueueSelect, queue);
        match self.read16(Common::QueueSize) {
            0 => Err(TransportError::NoQueue(queue)),
            size => Ok(size),
        }
    }

    /// Lets the device use a queue (4.1.5.1.3), of [`Self::queue_size`] entries at most, once it
    /// is [started](Self::start). Its interrupts go to `vector`, or to none.
    ///
    /// # Errors
    /// [`TransportError::NoNotifier`], [`TransportError::NoVector`].
    pub fn enable(
        &mut self,
        queue: u16,
        addresses: Addresses,
        vector: Option<u16>,
    ) -> Result<Notifier, TransportError> {
        self.write16(Common::QueueSelect, queue);
        self.write16(Common::QueueSize, addresses.size);
        self.write64(Common::QueueDescriptors, addresses.descriptors);
        self.write64(Common::QueueDriver, addresses.driver);
        self.write64(Common::QueueDevice, addresses.device);
        self.set_vector(Common::QueueVector, vector)?;
        let notifier = self.notifier(queue)?;
        self.write16(Common::QueueEnable, 1);
        Ok(notifier)
    }

    fn notifier(&mut self, queue: u16) -> Result<Notifier, TransportError> {
        let number = usize::from(self.read16(Common::QueueNotifyOffset));
        let Structure { place, bytes } = self.structures.notify;
        let offset = number.checked_mul(self.structures.notify_step);
        let inside = |offset: &usize| offset.checked_add(2).is_some_and(|end| end <= bytes);
        let aligned = |offset: &usize| (place.offset + offset).is_multiple_of(2);
        let offset = offset.filter(inside).filter(aligned);
        offset
            .map(|offset| Notifier { place: place.at(offset), queue })
            .ok_or(TransportError::NoNotifier(queue))
    }

    /// Where changes of the device's configuration raise their interrupt.
    ///
    /// # Errors
    /// [`TransportError::NoVector`].
    pub fn watch_configuration(&mut self, vector: Option<u16>) -> Result<(), TransportError> {
        self.set_vector(Common::ConfigVector, vector)
    }

    fn set_vector(&mut self, register: Common, vector: Option<u16>) -> Result<(), TransportError> {
        let vector = vector.unwrap_or(NO_VECTOR);
        self.write16(register, vector);
        // A device that cannot have the vector says so (4.1.5.1.2.1).
        if self.read16(register) == vector { Ok(()) } else { Err(TransportError::NoVector(vector)) }
    }

    /// Lets the device go: from now on it uses its queues.
    pub fn start(&mut self) {
        let status = self.status() | Status::DRIVER_OK;
        self.write8(Common::DeviceStatus, status.bits());
    }

    /// Tells the device that it will not be driven.
    pub fn give_up(&mut self) {
        let status = self.status() | Status::FAILED;
        self.write8(Common::DeviceStatus, status.bits());
    }

    /// How far the two have come.
    pub fn status(&mut self) -> Status {
        Status::from_bits_retain(self.read8(Common::DeviceStatus))
    }

    /// Tells the device that there is something in a queue.
    #[inline]
    pub fn notify(&mut self, notifier: Notifier) {
        self.windows.write16(notifier.place, notifier.queue);
    }

    /// Why a device without MSI-X interrupts, which ends the interrupt (4.1.4.5): bit 0 a queue,
    /// bit 1 its configuration.
    pub fn take_interrupt(&mut self) -> u8 {
        self.windows.read8(self.structures.isr.place)
    }

    /// `N` bytes of the device type's configuration, from `offset` on, of one moment (2.5.1).
    /// Bytes that it does not have are 0.
    ///
    /// # Errors
    /// [`TransportError::Restless`].
    pub fn configuration<const N: usize>(
        &mut self,
        offset: usize,
    ) -> Result<[u8; N], TransportError> {
        for _ in 0..PATIENCE {
            let before = self.read8(Common::ConfigGeneration);
            let bytes = core::array::from_fn(|index| self.configuration_byte(offset + index));
            if self.read8(Common::ConfigGeneration) == before {
                return Ok(bytes);
            }
        }
        Err(TransportError::Restless)
    }

    fn configuration_byte(&mut self, offset: usize) -> u8 {
        let device = self.structures.device.filter(|device| offset < device.bytes);
        device.map_or(0, |device| self.windows.read8(device.place.at(offset)))
    }

    /// Writes a word of the device type's configuration; `false` where it does not have it.
    pub fn configure32(&mut self, offset: usize, value: u32) -> bool {
        let inside = |device: &Structure| {
            offset.is_multiple_of(4) && offset.checked_add(4).is_some_and(|end| end <= device.bytes)
        };
        let device = self.structures.device.filter(inside);
        device.map(|device| self.windows.write32(device.place.at(offset), value)).is_some()
    }

    fn place(&self, register: Common) -> Place {
        self.structures.common.place.at(register as usize)
    }

    fn read8(&mut self, register: Common) -> u8 {
        let place = self.place(register);
        self.windows.read8(place)
    }

    fn read16(&mut self, register: Common) -> u16 {
        let place = self.place(register);
        self.windows.read16(place)
    }

    fn read32(&mut self, register: Common) -> u32 {
        let place = self.place(register);
        self.windows.read32(place)
    }

    fn write8(&mut self, register: Common, value: u8) {
        let place = self.place(register);
        self.windows.write8(place, value);
    }

    fn write16(&mut self, register: Common, value: u16) {
        let place = self.place(register);
        self.windows.write16(place, value);
    }

    fn write32(&mut self, register: Common, value: u32) {
        let place = self.place(register);
        self.windows.write32(place, value);
    }

    /// Two halves: a driver may always write 64-bit registers so (4.1.3.1).
    #[expect(clippy::cast_possible_truncation, reason = "takes the word apart")]
    fn write64(&mut self, register: Common, value: u64) {
        let place = self.place(register);
        self.windows.write32(place, value as u32);
        self.windows.write32(place.at(4), (value >> 32) as u32);
    }
}

/// Whether the function has MSI-X vectors (PCI 3.0, section 6.8.2), to which its interrupts then go;
/// one without has to be asked for the cause of each ([`Transport::take_interrupt`]).
#[must_use]
pub fn has_vectors(config: &[u8; CONFIG_BYTES]) -> bool {
    device::capabilities(config).any(|(kind, _)| kind == MSI_X)
}

/// A capability that tells of a structure (4.1.4).
#[derive(Clone, Copy, Debug)]
struct Capability {
    kind: Kind,
    bar: u8,
    offset: u32,
    length: u32,
    /// The word behind, which only [`Kind::Notify`] has.
    step: u32,
}

fn structures(
    config: &[u8; CONFIG_BYTES],
    openings: &[Opening],
) -> Result<Structures, TransportError> {
    let find = |kind, least| find(config, openings, kind, least);
    let notify = capability(config, Kind::Notify).ok_or(TransportError::Missing(Kind::Notify))?;
    let device = match find(Kind::Device, 1) {
        Err(TransportError::Missing(_)) => None,
        found => Some(found?),
    };
    Ok(Structures {
        common: find(Kind::Common, COMMON_BYTES)?,
        notify: find(Kind::Notify, 2)?,
        notify_step: usize::try_from(notify.step).unwrap_or(usize::MAX),
        isr: find(Kind::Isr, 1)?,
        device,
    })
}

fn find(
    config: &[u8; CONFIG_BYTES],
    openings: &[Opening],
    kind: Kind,
    least: usize,
) -> Result<Structure, TransportError> {
    let capability = capability(config, kind).ok_or(TransportError::Missing(kind))?;
    let structure = locate(&capability, openings).filter(|structure| structure.bytes >= least);
    structure.ok_or(TransportError::Misplaced(kind))
}

/// The part of a window that the structure lies in. All registers are aligned to their width, so
/// the structure has to be to the widest one's.
fn locate(capability: &Capability, openings: &[Opening]) -> Option<Structure> {
    let (first, length) = (u64::from(capability.offset), u64::from(capability.length));
    let holds = |opening: &Opening| {
        let end = opening.offset.checked_add(opening.bytes);
        opening.bar == capability.bar
            && opening.offset <= first
            && end.is_some_and(|end| first + length <= end)
    };
    let (window, opening) = openings.iter().enumerate().find(|(_, opening)| holds(opening))?;
    let offset = usize::try_from(first - opening.offset).ok()?;
    let aligned = offset.is_multiple_of(4) || capability.kind == Kind::Isr;
    let bytes = usize::try_from(length).ok()?;
    aligned.then_some(Structure { place: Place { window, offset }, bytes })
}

/// The first usable capability of this kind.
fn capability(config: &[u8; CONFIG_BYTES], kind: Kind) -> Option<Capability> {
    capabilities(config).find(|capability| capability.kind == kind && capability.bar <= LAST_BAR)
}

fn capabilities(config: &[u8; CONFIG_BYTES]) -> impl Iterator<Item = Capability> + '_ {
    device::capabilities(config).filter_map(|(_, at)| read_capability(config.get(at..)?))
}

fn read_capability(bytes: &[u8]) -> Option<Capability> {
    let [VENDOR_SPECIFIC, _, length @ 16..=u8::MAX, number, bar, ..] = *bytes else { return None };
    let word = |at: usize| {
        let chunk = bytes.get(at..)?.first_chunk().filter(|_| at + 4 <= length.into())?;
        Some(u32::from_le_bytes(*chunk))
    };
    let kind = Kind::from_number(number)?;
    let step = if kind == Kind::Notify { word(16)? } else { 0 };
    Some(Capability { kind, bar, offset: word(8)?, length: word(12)?, step })
}

#[cfg(test)]
mod tests;
