//! The controller with a keyboard and a mouse, as the specification describes them.

use alloc::collections::VecDeque;

use crate::regs::{
    ACKNOWLEDGE, Command, Configuration, ENABLE, RESEND, Register, Registers, SET_DEFAULTS, Status,
};

/// A controller, what waits at its data port, and the keyboard.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) configuration: u8,
    /// Nothing is at the ports: they read as ones.
    pub(crate) absent: bool,
    /// It never takes a byte.
    pub(crate) stuck: bool,
    /// There is no keyboard.
    pub(crate) unplugged: bool,
    /// It can translate to set 1.
    pub(crate) keeps_translation: bool,
    /// Bytes that the keyboard does not understand at first.
    pub(crate) resends: usize,
    /// What waits, and whether the mouse sent it.
    pub(crate) output: VecDeque<(u8, bool)>,
    pub(crate) expects_configuration: bool,
    pub(crate) enabled: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            configuration: Configuration::TRANSLATE.bits(),
            absent: false,
            stuck: false,
            unplugged: false,
            keeps_translation: true,
            resends: 0,
            output: VecDeque::new(),
            expects_configuration: false,
            enabled: false,
        }
    }
}

impl Model {
    /// The keyboard sends a byte.
    pub(crate) fn press(&mut self, code: u8) {
        self.output.push_back((code, false));
    }

    /// The mouse sends a byte.
    pub(crate) fn move_mouse(&mut self, byte: u8) {
        self.output.push_back((byte, true));
    }

    /// Whether a key would raise an interrupt.
    pub(crate) fn raises_interrupts(&self) -> bool {
        let set = Configuration::from_bits_retain(self.configuration);
        let quiet = Configuration::KEYBOARD_OFF | Configuration::AUXILIARY_INTERRUPT;
        set.contains(Configuration::KEYBOARD_INTERRUPT) && !set.intersects(quiet) && self.enabled
    }

    fn command(&mut self, value: u8) {
        let off = Configuration::KEYBOARD_OFF.bits();
        match value {
            v if v == Command::ReadConfiguration as u8 => {
                // Answers go before what the devices send.
                self.output.push_front((self.configuration, false));
            }
            v if v == Command::WriteConfiguration as u8 => self.expects_configuration = true,
            v if v == Command::DisableKeyboard as u8 => self.configuration |= off,
            v if v == Command::EnableKeyboard as u8 => self.configuration &= !off,
            v if v == Command::DisableAuxiliary as u8 => {
                self.configuration |= Configuration::AUXILIARY_OFF.bits();
            }
            other => panic!("command {other:#x}"),
        }
    }

    fn keyboard(&mut self, byte: u8) {
        if self.unplugged {
            return;
        }
        if self.resends > 0 {
            self.resends -= 1;
            return self.press(RESEND);
        }
        match byte {
            SET_DEFAULTS => {}
            ENABLE => self.enabled = true,
            other => panic!("to the keyboard: {other:#x}"),
        }
        self.press(ACKNOWLEDGE);
    }
}

impl Registers for Model {
    fn read(&mut self, register: Register) -> u8 {
        if self.absent {
            return u8::MAX;
        }
        match register {
            Register::Data => self.output.pop_front().map_or(0, |(byte, _)| byte),
            Register::StatusOrCommand => {
                let mut status = Status::empty();
                status.set(Status::INPUT_FULL, self.stuck);
                status.set(Status::OUTPUT_FULL, !self.output.is_empty());
                status.set(Status::AUXILIARY, self.output.front().is_some_and(|(_, mouse)| *mouse));
                status.bits()
            }
        }
    }

    fn write(&mut self, register: Register, value: u8) {
        assert!(!self.stuck, "a byte for a controller that has not taken the last");
        match register {
            Register::StatusOrCommand => self.command(value),
            Register::Data if core::mem::take(&mut self.expects_configuration) => {
                let kept =
                    if self.keeps_translation { u8::MAX } else { !Configuration::TRANSLATE.bits() };
                self.configuration = value & kept;
            }
            Register::Data => self.keyboard(value),
        }
    }
}
