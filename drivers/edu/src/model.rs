//! Tests only: the device, with a little memory.

use crate::regs::{BUFFER, BUFFER_BYTES, Command, Register, Registers, TRANSFERRED, WideRegister};

/// The device and the memory that it reaches.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) identification: u32,
    pub(crate) memory: Vec<u8>,
    buffer: Vec<u8>,
    causes: u32,
    source: u64,
    destination: u64,
    count: u64,
    command: Command,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            identification: 0x0100_00ed,
            memory: vec![0; 0x4000],
            buffer: vec![0; BUFFER_BYTES as usize],
            causes: 1,
            source: 0,
            destination: 0,
            count: 0,
            command: Command::empty(),
        }
    }
}

impl Model {
    /// Carries out what is under way.
    pub(crate) fn finish(&mut self) {
        if !self.command.contains(Command::START) {
            return;
        }
        let place = |at: u64, base: u64| {
            let start = (at - base) as usize;
            start..start + self.count as usize
        };
        if self.command.contains(Command::TO_MEMORY) {
            let (from, to) = (place(self.source, BUFFER), place(self.destination, 0));
            self.memory[to].copy_from_slice(&self.buffer[from]);
        } else {
            let (from, to) = (place(self.source, 0), place(self.destination, BUFFER));
            self.buffer[to].copy_from_slice(&self.memory[from]);
        }
        if self.command.contains(Command::INTERRUPT) {
            self.causes |= TRANSFERRED;
        }
        self.command.remove(Command::START);
    }
}

impl Registers for &mut Model {
    fn read(&mut self, register: Register) -> u32 {
        match register {
            Register::Identification => self.identification,
            Register::InterruptStatus => self.causes,
            Register::InterruptAcknowledge => u32::MAX,
        }
    }

    fn write(&mut self, register: Register, value: u32) {
        match register {
            Register::InterruptAcknowledge => self.causes &= !value,
            other => panic!("{other:?} cannot be written"),
        }
    }

    fn read_wide(&mut self, register: WideRegister) -> u64 {
        match register {
            WideRegister::Source => self.source,
            WideRegister::Destination => self.destination,
            WideRegister::Count => self.count,
            WideRegister::Command => self.command.bits(),
        }
    }

    fn write_wide(&mut self, register: WideRegister, value: u64) {
        match register {
            WideRegister::Source => self.source = value,
            WideRegister::Destination => self.destination = value,
            WideRegister::Count => self.count = value,
            WideRegister::Command => self.command = Command::from_bits_retain(value),
        }
    }
}
