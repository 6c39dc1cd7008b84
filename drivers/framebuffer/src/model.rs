//! The devices as their specifications describe them: memory, the standard VGA's registers, a virtio
//! GPU.

use alloc::vec::Vec;

use libd3os::dma::Dma;
use libd3os::service::framebuffer::Rectangle;
use virtio::model::{Behind, Device};
use virtio::regs::Features;

use crate::gpu::Command;
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

/// A virtio GPU with one screen, behind virtio's model of a device; it answers as soon as it is
/// notified.
#[derive(Debug)]
pub(crate) struct GpuModel<'m> {
    device: Device<'m>,
    /// Width and height of its screen.
    pub(crate) screen: (u32, u32),
    /// A command that it refuses.
    pub(crate) refuses: Option<Command>,
    /// It answers nothing.
    pub(crate) silent: bool,
    picture: Option<(u32, u32)>,
    /// Where the picture's pixels are, and their bytes.
    pub(crate) backing: Option<(u64, u32)>,
    /// Size of the picture that the screen shows.
    pub(crate) scanout: Option<(u32, u32)>,
    /// Where transfers began in the backing.
    pub(crate) offsets: Vec<u64>,
    /// What was shown.
    pub(crate) flushed: Vec<Rectangle>,
}

impl<'m> GpuModel<'m> {
    pub(crate) fn new(memory: Dma<'m>) -> Self {
        Self {
            device: Device::new(memory, Features::VERSION_1, &[64, 16]),
            screen: (1280, 800),
            refuses: None,
            silent: false,
            picture: None,
            backing: None,
            scanout: None,
            offsets: Vec::new(),
            flushed: Vec::new(),
        }
    }

    fn serve(&mut self) {
        while !self.silent
            && let Some(chain) = self.device.pop(0)
        {
            let [there, back] = chain.parts[..] else { panic!("a request and an answer") };
            let answer = self.command(&self.device.read(there));
            self.device.write(back, &answer[..answer.len().min(back.bytes as usize)]);
            self.device.push(0, chain.head, back.bytes);
        }
    }

    fn command(&mut self, request: &[u8]) -> Vec<u8> {
        let words: Vec<u32> =
            request.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let (number, arguments) = (words[0], &words[6..]);
        if self.refuses.is_some_and(|refused| refused as u32 == number) {
            return answer(0x1200, &[]);
        }
        let size = self.picture;
        match (number, arguments) {
            (0x100, []) => return answer(0x1101, &[0, 0, self.screen.0, self.screen.1, 1, 0]),
            (0x101, [1, 2, width, height]) => self.picture = Some((*width, *height)),
            (0x106, [1, 1, low, high, bytes, 0]) => {
                self.backing = Some((u64::from(*low) | u64::from(*high) << 32, *bytes));
            }
            (0x103, [0, 0, width, height, 0, 1]) => self.scanout = Some((*width, *height)),
            (0x105, [x, y, width, height, low, high, 1, 0]) => {
                self.within(*x, *y, *width, *height);
                let offset = u64::from(*low) | u64::from(*high) << 32;
                let stride = u64::from(size.expect("a picture").0) * 4;
                let end = offset + stride * u64::from(height - 1) + u64::from(*width) * 4;
                assert!(end <= self.backing.expect("memory").1.into(), "beyond the backing");
                self.offsets.push(offset);
            }
            (0x104, [x, y, width, height, 1, 0]) => {
                self.within(*x, *y, *width, *height);
                let (x, y, width, height) = (*x, *y, *width, *height);
                self.flushed.push(Rectangle { x, y, width, height });
            }
            other => panic!("{other:?}"),
        }
        answer(0x1100, &[])
    }

    fn within(&self, x: u32, y: u32, width: u32, height: u32) {
        let (w, h) = self.picture.expect("a picture");
        assert!(x + width <= w && y + height <= h && width > 0 && height > 0, "outside");
    }
}

fn answer(number: u32, rest: &[u32]) -> Vec<u8> {
    let header = [number, 0, 0, 0, 0, 0];
    header.iter().chain(rest).flat_map(|word| word.to_le_bytes()).collect()
}

impl<'m> Behind<'m> for GpuModel<'m> {
    fn device(&mut self) -> &mut Device<'m> {
        &mut self.device
    }

    fn notified(&mut self) {
        self.serve();
    }
}
