//! Ports, bits and commands of the keyboard controller and of the keyboard behind it.

use bitflags::bitflags;

/// A port of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Port 0x60: what the controller has for us, what the keyboard is to get.
    Data,
    /// Port 0x64: read the status, write a command to the controller.
    StatusOrCommand,
}

/// Access to the controller's ports; the process has the ports behind it, the tests a model.
pub trait Registers {
    /// Reads a port. Reading the data port takes the byte.
    fn read(&mut self, register: Register) -> u8;
    /// Writes a port.
    fn write(&mut self, register: Register, value: u8);
}

bitflags! {
    /// The controller's status.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u8 {
        /// A byte waits to be read.
        const OUTPUT_FULL = 1 << 0;
        /// The controller has not yet taken the byte that was written last.
        const INPUT_FULL = 1 << 1;
        /// The byte that waits comes from the auxiliary device, a mouse.
        const AUXILIARY = 1 << 5;
        /// The byte that waits came garbled or not in time.
        const ERROR = 3 << 6;
    }

    /// The controller's configuration, "command byte" in the specification.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Configuration: u8 {
        /// A byte from the keyboard raises the interrupt.
        const KEYBOARD_INTERRUPT = 1 << 0;
        /// A byte from the auxiliary device raises an interrupt.
        const AUXILIARY_INTERRUPT = 1 << 1;
        /// The system was started.
        const SYSTEM = 1 << 2;
        /// The keyboard's clock is held.
        const KEYBOARD_OFF = 1 << 4;
        /// The auxiliary device's clock is held.
        const AUXILIARY_OFF = 1 << 5;
        /// Scan codes of set 2, which keyboards send, become those of set 1.
        const TRANSLATE = 1 << 6;
    }
}

/// A command to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// The configuration is to be read at the data port.
    ReadConfiguration = 0x20,
    /// The next byte at the data port is the configuration.
    WriteConfiguration = 0x60,
    /// Hold the auxiliary device's clock.
    DisableAuxiliary = 0xa7,
    /// Test the keyboard's lines; answers 0 where they are well.
    TestKeyboard = 0xab,
    /// Hold the keyboard's clock.
    DisableKeyboard = 0xad,
    /// Let the keyboard send.
    EnableKeyboard = 0xae,
}

/// To the keyboard: forget all settings, send when keys go down and up.
pub const SET_DEFAULTS: u8 = 0xf6;
/// To the keyboard: send from now on.
pub const ENABLE: u8 = 0xf4;
/// From the keyboard: the byte was understood.
pub const ACKNOWLEDGE: u8 = 0xfa;
/// From the keyboard: the byte is to be sent again.
pub const RESEND: u8 = 0xfe;
/// From the keyboard: its test after power came on went well. Comes when one is plugged in.
pub const SELF_TEST_PASSED: u8 = 0xaa;
