//! Transfers between the device's buffer and memory.

use core::fmt;

use crate::regs::{
    BUFFER, BUFFER_BYTES, Command, IDENTIFICATION, Register, Registers, TRANSFERRED, WideRegister,
};

/// A transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Where in memory, as the device has to say it.
    pub address: u64,
    /// How many bytes, at most [`BUFFER_BYTES`].
    pub bytes: u64,
    /// Which way.
    pub direction: Direction,
}

/// Which way a transfer goes. The other end is the beginning of the device's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The device reads memory.
    FromMemory,
    /// The device writes memory.
    ToMemory,
}

/// Why the device does not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// It is another device: this is what it says of itself.
    Other(u32),
    /// A transfer is under way.
    Busy,
    /// More bytes than its buffer has.
    TooLong(u64),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(identification) => {
                write!(f, "this is another device, {identification:#010x}")
            }
            Self::Busy => f.write_str("a transfer is under way"),
            Self::TooLong(bytes) => {
                write!(f, "{bytes} bytes are more than its buffer's {BUFFER_BYTES}")
            }
        }
    }
}

impl core::error::Error for DeviceError {}

/// The device.
#[derive(Debug)]
pub struct Device<R> {
    registers: R,
}

impl<R: Registers> Device<R> {
    /// Makes sure that it is one, and takes away what a predecessor left.
    ///
    /// # Errors
    /// [`DeviceError::Other`].
    pub fn new(mut registers: R) -> Result<Self, DeviceError> {
        let identification = registers.read(Register::Identification);
        if identification & 0xffff != IDENTIFICATION {
            return Err(DeviceError::Other(identification));
        }
        let mut device = Self { registers };
        device.acknowledge();
        Ok(device)
    }

    /// Begins a transfer.
    ///
    /// # Errors
    /// [`DeviceError::Busy`], [`DeviceError::TooLong`].
    pub fn begin(&mut self, transfer: Transfer) -> Result<(), DeviceError> {
        let Transfer { address, bytes, direction } = transfer;
        if bytes > BUFFER_BYTES {
            return Err(DeviceError::TooLong(bytes));
        }
        if self.is_busy() {
            return Err(DeviceError::Busy);
        }
        let (source, destination, way) = match direction {
            Direction::FromMemory => (address, BUFFER, Command::empty()),
            Direction::ToMemory => (BUFFER, address, Command::TO_MEMORY),
        };
        self.registers.write_wide(WideRegister::Source, source);
        self.registers.write_wide(WideRegister::Destination, destination);
        self.registers.write_wide(WideRegister::Count, bytes);
        let command = Command::START | Command::INTERRUPT | way;
        self.registers.write_wide(WideRegister::Command, command.bits());
        Ok(())
    }

    /// Whether a transfer is under way.
    pub fn is_busy(&mut self) -> bool {
        let command = self.registers.read_wide(WideRegister::Command);
        Command::from_bits_retain(command).contains(Command::START)
    }

    /// Takes the interrupt's causes away; whether a finished transfer was among them.
    pub fn acknowledge(&mut self) -> bool {
        let causes = self.registers.read(Register::InterruptStatus);
        if causes != 0 {
            self.registers.write(Register::InterruptAcknowledge, causes);
        }
        causes & TRANSFERRED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use proptest::prelude::*;

    fn transfer(address: u64, bytes: u64, direction: Direction) -> Transfer {
        Transfer { address, bytes, direction }
    }

    #[test]
    fn bytes_go_there_and_back() {
        let mut model = Model::default();
        model.memory[0x100..0x104].copy_from_slice(b"abcd");
        let mut device = Device::new(&mut model).expect("it is one");
        device.begin(transfer(0x100, 4, Direction::FromMemory)).expect("idle");
        assert!(device.is_busy());
        assert_eq!(device.begin(transfer(0x200, 4, Direction::ToMemory)), Err(DeviceError::Busy));
        device.registers.finish();
        assert!(!device.is_busy() && device.acknowledge() && !device.acknowledge());
        device.begin(transfer(0x200, 4, Direction::ToMemory)).expect("idle");
        device.registers.finish();
        assert_eq!(&model.memory[0x200..0x204], b"abcd");
    }

    #[test]
    fn others_are_refused() {
        let mut model = Model::default();
        model.identification = 0x1234_5678;
        assert_eq!(Device::new(&mut model).err(), Some(DeviceError::Other(0x1234_5678)));
    }

    proptest! {
        /// No transfer leaves the buffer, which QEMU would end the machine for.
        #[test]
        fn the_buffer_is_never_left(address in 0u64..0x1000, bytes in 0u64..0x3000, out: bool) {
            let direction = if out { Direction::ToMemory } else { Direction::FromMemory };
            let mut model = Model::default();
            let mut device = Device::new(&mut model).expect("it is one");
            let begun = device.begin(transfer(address, bytes, direction));
            prop_assert_eq!(begun.is_ok(), bytes <= BUFFER_BYTES);
            device.registers.finish();
        }
    }
}
