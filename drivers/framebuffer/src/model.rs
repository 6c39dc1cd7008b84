//! The devices as their specifications describe them: memory, and the standard VGA's registers.

use alloc::vec::Vec;

use crate::regs::{ENABLED, LINEAR, Register, Registers, SHOW};
use crate::surface::Memory;

/// Memory; what reaches beyond it fails the test.
#[derive(Debug)]
pub(crate) struct Ram {
    pub(crate) bytes: Vec<u8>,
}

impl Ram {
    pub(crate) fn of(bytes: usize) -> Self {
        Self::with(alloc::vec![0xee; bytes])
    }

    pub(crate) fn with(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Four bytes, or as many as there are.
    pub(crate) fn pixel(&self, offset: usize) -> u32 {
        let mut pixel = [0; 4];
        pixel.iter_mut().zip(&self.bytes[offset..]).for_each(|(to, from)| *to = *from);
        u32::from_le_bytes(pixel)
    }
}

impl Memory for Ram {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.bytes[offset..offset + into.len()]);
    }

    fn write(&mut self, offset: usize, from: &[u8]) {
        self.bytes[offset..offset + from.len()].copy_from_slice(from);
    }
}

/// The standard VGA's registers. Sizes are taken over while the mode is off only.
#[derive(Debug)]
pub(crate) struct Vga {
    pub(crate) id: u16,
    pub(crate) widest: u16,
    pub(crate) registers: [u16; 10],
    pub(crate) lit: bool,
}

impl Default for Vga {
    fn default() -> Self {
        Self { id: 0xb0c5, widest: 2560, registers: [0; 10], lit: false }
    }
}

impl Vga {
    /// Width, height and bits, where they are shown.
    pub(crate) fn shown(&self) -> Option<(u16, u16, u16)> {
        let on = self.registers[Register::Enable as usize] & (ENABLED | LINEAR) == ENABLED | LINEAR;
        (on && self.lit).then_some((self.registers[1], self.registers[2], self.registers[3]))
    }
}

impl Registers for Vga {
    fn read(&mut self, register: Register) -> u16 {
        match register {
            Register::Id => self.id,
            register => self.registers[register as usize],
        }
    }

    fn write(&mut self, register: Register, value: u16) {
        let on = self.registers[Register::Enable as usize] & ENABLED != 0;
        match register {
            Register::Id => {}
            Register::Width | Register::Height | Register::Bits if on => {}
            Register::Width if value > self.widest => {}
            register => self.registers[register as usize] = value,
        }
    }

    fn write_attribute_index(&mut self, value: u8) {
        self.lit = value & SHOW != 0;
    }
}
