//! The card: set up, frames in and out, interrupts, the line.
//!
//! # Interrupts
//!
//! With MSI-X all causes go to vector 0, and a message clears its causes by itself; without, the
//! causes are read, which clears them. Either way the driver masks the queues while it looks by
//! itself. A cause that comes while it is masked is kept and would interrupt as soon as it is
//! unmasked, also where its frame was taken long ago: so [`Device::arm`] first clears the queues'
//! causes, then looks once more, and unmasks only then; what comes in between interrupts.
//!
//! QEMU's card, up to release 7.2, sends messages for nothing: it puts a message off that would come less
//! than 128 µs after the one before, whatever [`crate::regs::THROTTLE`] asks for, and does not forget that
//! it once did. From the first that was put off on, each message is followed by a second one 128 µs later,
//! whether a cause is left and let through or not, until the emulator ends; a reset changes nothing. There
//! is no register that keeps it from that; the driver looks, finds nothing, and sleeps again.
//!
//! # Checksums
//!
//! The card checks those of frames that come in, and makes UDP's and TCP's of frames over IPv4 that it is
//! told to ([`libd3os::nic::Sum`]). It does that only for frames of data descriptors (7.2.5), behind a
//! context descriptor that says where (7.2.4).
//!
//! # Frames of more than one buffer
//!
//! The card writes up to [`BUFFER_ROOM`] bytes into a buffer (it knows powers of two) and goes on
//! in the next one. A frame that is a little longer has its rest appended to its first buffer,
//! which has room for it; what is longer than that is dropped.

use core::fmt;

use libd3os::dma::{Dma, DmaError};
use libd3os::nic::{BUFFER_BYTES, Checks, FRAME_BYTES, FRAME_LEAST, RxIndex, Sum};
use libd3os::service::nic::{CardState, Line};
use nic::card::{Arrival, Card, Flaw, Received, Rest, Slot};

use crate::queue::{
    DAMAGED, DESCRIPTORS, END_OF_FRAME, IPV4_CHECKED, IPV4_WRONG, NOT_CHECKED, RING_BYTES,
    ReceiveRing, TCP_CHECKED, TRANSPORT_WRONG, TransmitRing, UDP_CHECKED, Written,
};
use crate::regs::{
    ADDRESS_VALID, ALL_TO_VECTOR_0, Cause, Control, Eeprom, ExtendedControl, GAPS,
    MULTICAST_REGISTERS, NO_ACK_INTERRUPTS, PCIE_ONE, ReceiveChecksum, ReceiveControl, Register,
    Registers, Status, THROTTLE, TRANSMIT_DESCRIPTORS_ONE, TransmitControl, WRITE_BACK_EACH,
};

/// Bytes that the card writes into a buffer at most.
pub const BUFFER_ROOM: usize = 4096;

/// MTU of Ethernet; the card tells none.
const MTU: u16 = 1500;

/// Looks at a register, a microsecond apart, before the card counts as dead: some ten times as
/// long as it takes to read the EEPROM.
const PATIENCE: u32 = 100_000;

const RECEIVE: ReceiveControl = ReceiveControl::ENABLE
    .union(ReceiveControl::ALL_MULTICAST)
    .union(ReceiveControl::LONG_FRAMES)
    .union(ReceiveControl::BROADCAST)
    .union(ReceiveControl::BUFFERS_OF_256)
    .union(ReceiveControl::BUFFERS_TIMES_16)
    .union(ReceiveControl::STRIP_CRC);

const TRANSMIT: TransmitControl = TransmitControl::ENABLE
    .union(TransmitControl::PAD)
    .union(TransmitControl::COLLISIONS)
    .union(TransmitControl::COLLISION_DISTANCE)
    .union(TransmitControl::MULTIPLE_READS)
    .union(TransmitControl::READ_THRESHOLD);

/// Causes that frames have come in.
const IN: Cause =
    Cause::RECEIVED.union(Cause::FEW_BUFFERS).union(Cause::OVERRUN).union(Cause::RECEIVE_QUEUE);
/// Causes that frames have gone out.
const OUT: Cause = Cause::SENT.union(Cause::TRANSMIT_QUEUE);
/// Causes that the line has changed.
const LINE: Cause = Cause::LINK.union(Cause::OTHER);

/// The card cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// It does not finish its reset: it may still be writing to memory.
    ResetUnfinished,
    /// It does not finish reading its EEPROM.
    NoEeprom,
    /// It has no address of its own.
    NoAddress,
    /// The memory for the rings is too small, or misaligned.
    Memory(DmaError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResetUnfinished => f.write_str("the card does not finish its reset"),
            Self::NoEeprom => f.write_str("the card does not finish reading its EEPROM"),
            Self::NoAddress => f.write_str("the card has no address"),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SetupError {}

impl From<DmaError> for SetupError {
    fn from(error: DmaError) -> Self {
        Self::Memory(error)
    }
}

/// The card wrote more into a buffer than it was told that there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwritten {
    /// The buffer.
    pub index: RxIndex,
    /// Bytes, as the card says.
    pub length: u16,
}

impl fmt::Display for Overwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, length } = self;
        write!(f, "the card wrote {length} bytes into buffer {index}, more than it holds")
    }
}

impl core::error::Error for Overwritten {}

/// How the card interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// By MSI-X, of which it has one vector.
    Vector,
    /// By MSI or by its pin: it has to be asked for the cause.
    Single,
}

/// A frame of which more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// It may end in the next buffer.
    First(RxIndex),
    /// It is too long: all of it is dropped.
    TooLong,
}

/// One 82574 with its rings.
#[derive(Debug)]
pub struct Device<'m, R> {
    registers: R,
    interrupts: Interrupts,
    receive: ReceiveRing<'m>,
    transmit: TransmitRing<'m>,
    /// Where the card finds the frame of the first receive buffer.
    frames: u64,
    buffers: u16,
    mac: [u8; 6],
    open: Option<Open>,
    /// A buffer to hand back before the next is taken.
    spare: Option<Arrival>,
    armed: bool,
}

impl<'m, R: Registers> Device<'m, R> {
    /// Resets the card, whatever a predecessor left, and sets it up. `frames` is where the card
    /// finds the place of the frame in the first of `buffers` receive buffers.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        mut registers: R,
        rings: Dma<'m>,
        frames: u64,
        buffers: u16,
        interrupts: Interrupts,
    ) -> Result<Self, SetupError> {
        reset(&mut registers)?;
        let mac = address(&mut registers)?;
        let receive = ReceiveRing::new(rings.part(0, RING_BYTES)?)?;
        let transmit = TransmitRing::new(rings.part(RING_BYTES, RING_BYTES)?)?;
        let buffers = buffers.min(DESCRIPTORS - 1);
        let (open, spare, armed) = (None, None, false);
        let mut device = Self {
            registers,
            interrupts,
            receive,
            transmit,
            frames,
            buffers,
            mac,
            open,
            spare,
            armed,
        };
        device.set_up();
        Ok(device)
    }

    /// 4.6: link, interrupts, receive and transmit units, in this order.
    fn set_up(&mut self) {
        let control = Control::from_bits_retain(self.registers.read(Register::Control));
        let wrong = Control::FORCE_SPEED | Control::FORCE_DUPLEX | Control::VLAN_MODE;
        let link = control.difference(wrong) | Control::SET_LINK_UP | Control::FULL_DUPLEX;
        self.registers.write(Register::Control, link.bits());
        let pcie = self.registers.read(Register::PcieControl);
        self.registers.write(Register::PcieControl, pcie | PCIE_ONE);
        self.set_up_interrupts();
        self.set_up_receive();
        self.set_up_transmit();
    }

    fn set_up_interrupts(&mut self) {
        let extended = self.registers.read(Register::ExtendedControl);
        let extended = ExtendedControl::from_bits_retain(extended) | ExtendedControl::DRIVER_LOADED;
        let extended = extended.difference(ExtendedControl::ACKNOWLEDGE_MASKS);
        let vector = self.interrupts == Interrupts::Vector;
        let clears =
            if vector { ExtendedControl::PENDING_CLEARS } else { ExtendedControl::empty() };
        self.registers.write(Register::ExtendedControl, (extended | clears).bits());
        if vector {
            let causes = Cause::RECEIVE_QUEUE | Cause::TRANSMIT_QUEUE | Cause::OTHER;
            self.registers.write(Register::VectorAllocation, ALL_TO_VECTOR_0);
            self.registers.write(Register::AutoClear, causes.bits());
            self.registers.write(Register::Throttle0, THROTTLE);
        } else {
            self.registers.write(Register::Throttle, THROTTLE);
        }
        self.registers.write(Register::InterruptMaskSet, LINE.bits());
    }

    fn set_up_receive(&mut self) {
        let [low, high] = halves(self.receive.bus());
        for index in 0..MULTICAST_REGISTERS {
            self.registers.write_nth(Register::MulticastTable, index, 0);
        }
        let checks = ReceiveChecksum::IPV4 | ReceiveChecksum::TRANSPORT;
        let writes = [
            (Register::ReceiveFilter, NO_ACK_INTERRUPTS),
            (Register::ReceiveChecksum, checks.bits()),
            (Register::ReceiveBaseLow, low),
            (Register::ReceiveBaseHigh, high),
            (Register::ReceiveLength, ring_bytes()),
            (Register::ReceiveHead, 0),
            (Register::ReceiveTail, 0),
            (Register::ReceiveDescriptors, WRITE_BACK_EACH),
            (Register::ReceiveControl, RECEIVE.bits()),
        ];
        self.write_all(&writes);
    }

    fn set_up_transmit(&mut self) {
        let [low, high] = halves(self.transmit.bus());
        let writes = [
            (Register::TransmitGap, GAPS),
            (Register::TransmitBaseLow, low),
            (Register::TransmitBaseHigh, high),
            (Register::TransmitLength, ring_bytes()),
            (Register::TransmitHead, 0),
            (Register::TransmitTail, 0),
            (Register::TransmitDescriptors, WRITE_BACK_EACH | TRANSMIT_DESCRIPTORS_ONE),
            (Register::TransmitControl, TRANSMIT.bits()),
        ];
        self.write_all(&writes);
    }

    fn write_all(&mut self, writes: &[(Register, u32)]) {
        for (register, value) in writes {
            self.registers.write(*register, *value);
        }
    }

    /// What the card has written, as a frame or a part of one.
    #[inline]
    fn arrival(&mut self, written: Written) -> Option<Arrival> {
        let Written { index, status, .. } = written;
        let ends = status & END_OF_FRAME != 0;
        match (self.open, ends) {
            (None, true) => Some(Arrival { index, frame: whole(written) }),
            (None, false) => {
                self.open = Some(Open::First(index));
                None
            }
            (Some(open), _) => {
                self.open = (!ends).then_some(Open::TooLong);
                Some(self.rest(open, written))
            }
        }
    }

    /// A frame's second buffer, or a later one.
    #[cold]
    fn rest(&mut self, open: Open, written: Written) -> Arrival {
        let Written { index, length, status, errors } = written;
        let Open::First(first) = open else { return Arrival { index, frame: Err(Flaw::Long) } };
        let fits = BUFFER_ROOM + usize::from(length) <= FRAME_BYTES;
        if status & END_OF_FRAME != 0 && fits && errors & DAMAGED == 0 {
            let whole = BUFFER_ROOM + usize::from(length);
            let rest = Some(Rest { index, length });
            let length = u16::try_from(whole).unwrap_or(u16::MAX);
            let frame = Ok(Received { length, checks: checks(status, errors), rest });
            return Arrival { index: first, frame };
        }
        self.spare = Some(Arrival { index: first, frame: Err(Flaw::Long) });
        Arrival { index, frame: Err(Flaw::Long) }
    }
}

/// A frame that is in one buffer.
#[inline]
fn whole(written: Written) -> Result<Received, Flaw> {
    let Written { length, status, errors, .. } = written;
    if errors & DAMAGED != 0 {
        return Err(Flaw::Damaged);
    }
    if usize::from(length) < FRAME_LEAST {
        return Err(Flaw::Short);
    }
    Ok(Received { length, checks: checks(status, errors), rest: None })
}

/// What the card has found of the checksums (7.1.10).
#[inline]
fn checks(status: u8, errors: u8) -> Checks {
    let checked = status & NOT_CHECKED == 0;
    let transport = status & (TCP_CHECKED | UDP_CHECKED) != 0 && errors & TRANSPORT_WRONG == 0;
    Checks {
        ipv4: checked && status & IPV4_CHECKED != 0 && errors & IPV4_WRONG == 0,
        transport: checked && transport,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "takes the word apart")]
const fn halves(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

#[expect(clippy::cast_possible_truncation, reason = "a few thousand")]
const fn ring_bytes() -> u32 {
    RING_BYTES as u32
}

/// Ends all accesses to memory and resets the card (4.6.1, 5.2.1): interrupts off, no new
/// accesses, those under way waited for, reset.
fn reset(registers: &mut impl Registers) -> Result<(), SetupError> {
    registers.write(Register::InterruptMaskClear, u32::MAX);
    registers.write(Register::ReceiveControl, 0);
    registers.write(Register::TransmitControl, 0);
    let control = Control::from_bits_retain(registers.read(Register::Control));
    registers.write(Register::Control, (control | Control::MASTER_DISABLE).bits());
    // A card that does not come to rest is reset nevertheless (5.2.1).
    let _rests = wait(registers, Register::Status, Status::MASTER_ENABLE.bits(), 0);
    registers.write(Register::Control, (control | Control::RESET).bits());
    registers.wait_us(1_000);
    if !wait(registers, Register::Control, Control::RESET.bits(), 0) {
        return Err(SetupError::ResetUnfinished);
    }
    let done = Eeprom::AUTO_READ_DONE.bits();
    if !wait(registers, Register::Eeprom, done, done) {
        return Err(SetupError::NoEeprom);
    }
    registers.write(Register::InterruptMaskClear, u32::MAX);
    registers.write(Register::InterruptCause, u32::MAX);
    Ok(())
}

/// Waits until these bits of a register have this value.
fn wait(registers: &mut impl Registers, register: Register, bits: u32, value: u32) -> bool {
    (0..PATIENCE).any(|_| {
        let there = registers.read(register) & bits == value;
        if !there {
            registers.wait_us(1);
        }
        there
    })
}

/// The address that the card has read from its EEPROM (10.2.5.18).
fn address(registers: &mut impl Registers) -> Result<[u8; 6], SetupError> {
    let [a, b, c, d] = registers.read(Register::AddressLow).to_le_bytes();
    let high = registers.read(Register::AddressHigh);
    let [e, f, ..] = high.to_le_bytes();
    let group = a & 1 != 0;
    if high & ADDRESS_VALID == 0 || group || [a, b, c, d, e, f] == [0; 6] {
        return Err(SetupError::NoAddress);
    }
    Ok([a, b, c, d, e, f])
}

impl<R: Registers> Card for Device<'_, R> {
    type Broken = Overwritten;

    fn interrupted(&mut self) -> bool {
        match self.interrupts {
            // The message has cleared its causes.
            Interrupts::Vector => false,
            Interrupts::Single => {
                let causes = self.registers.read(Register::InterruptCause);
                Cause::from_bits_retain(causes).contains(Cause::LINK)
            }
        }
    }

    fn state(&mut self) -> CardState {
        self.registers.write(Register::InterruptCause, LINE.bits());
        self.registers.write(Register::InterruptMaskSet, LINE.bits());
        let status = Status::from_bits_retain(self.registers.read(Register::Status));
        let up = status.contains(Status::LINK_UP);
        let line = if up { Line::Up(status.speed()) } else { Line::Down };
        CardState { mac: self.mac, mtu: MTU, line }
    }

    fn statistics(&mut self, tell: &mut dyn FnMut(&'static str, u64)) {
        let registers = [
            (Register::Missed, "card: no room"),
            (Register::NoBuffers, "card: no buffers"),
            (Register::CrcErrors, "card: damaged frames"),
            (Register::ReceiveErrors, "card: line errors"),
        ];
        for (register, name) in registers {
            tell(name, self.registers.read(register).into());
        }
    }

    fn receive_buffers(&self) -> u16 {
        self.buffers
    }

    #[inline]
    fn refill(&mut self, index: RxIndex) {
        let bus = self.frames + u64::from(index.number()) * BUFFER_BYTES as u64;
        // There are fewer buffers than descriptors.
        let _full = self.receive.give(index, bus);
    }

    #[inline]
    fn receive(&mut self) -> Result<Option<Arrival>, Overwritten> {
        if let Some(spare) = self.spare.take() {
            return Ok(Some(spare));
        }
        while let Some(written) = self.receive.take() {
            let Written { index, length, .. } = written;
            if usize::from(length) > BUFFER_ROOM {
                return Err(Overwritten { index, length });
            }
            if let Some(arrival) = self.arrival(written) {
                return Ok(Some(arrival));
            }
        }
        Ok(None)
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.transmit.has_room()
    }

    fn sums(&self) -> bool {
        true
    }

    #[inline]
    fn transmit(&mut self, bus: u64, length: u16, sum: Sum) -> Option<Slot> {
        self.transmit.give(bus, length, sum).map(Slot)
    }

    #[inline]
    fn sent(&mut self) -> Result<Option<Slot>, Overwritten> {
        Ok(self.transmit.take().map(Slot))
    }

    #[inline]
    fn publish(&mut self) {
        if let Some(tail) = self.receive.news() {
            self.registers.write(Register::ReceiveTail, tail.into());
        }
        if let Some(tail) = self.transmit.news() {
            self.registers.write(Register::TransmitTail, tail.into());
        }
    }

    #[inline]
    fn arm(&mut self, sent: bool) -> bool {
        let causes = if sent { IN | OUT } else { IN };
        self.registers.write(Register::InterruptCause, causes.bits());
        if self.receive.is_ready() || sent && self.transmit.is_ready() {
            return true;
        }
        self.registers.write(Register::InterruptMaskSet, (causes | LINE).bits());
        self.armed = true;
        false
    }

    #[inline]
    fn disarm(&mut self) {
        if core::mem::take(&mut self.armed) {
            self.registers.write(Register::InterruptMaskClear, (IN | OUT).bits());
        }
    }

    fn stop(&mut self) {
        // A card that does not finish its reset cannot be stopped by its driver; whoever starts
        // the next one takes away its way to memory before that.
        let _unfinished = reset(&mut self.registers);
    }
}

#[cfg(test)]
mod tests;
