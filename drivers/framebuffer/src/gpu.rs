//! The 2D commands of a virtio GPU (VIRTIO 1.2, section 5.7), one at a time.
//!
//! The device has one picture, whose pixels it fetches from the shared region by itself: a
//! rectangle that changed is transferred to the picture and then flushed to the screen. Commands go
//! through the control queue, a request and its answer each, and are waited for: the device takes
//! microseconds. One that does not answer in time is given up, and so is the driver: its successor
//! resets it.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

use libd3os::dma::{Dma, DmaError};
use libd3os::service::framebuffer::{FramebufferError, Mode, Rectangle};
use virtio::queue::{Access, Broken, Layout, Queue, Segment};
use virtio::regs::Features;
use virtio::transport::{Notifier, Transport, TransportError, Windows};

use crate::format::OUR_BYTES;
use crate::surface::{LARGEST, check};

/// The queue of commands.
const CONTROL: u16 = 0;
/// Entries of it that are used, at most.
const ENTRIES: u16 = 4;
/// Where requests and answers lie, behind the queue.
const REQUEST: usize = 0x800;
const ANSWER: usize = 0xa00;
/// Bytes of either at most.
const ROOM: usize = 0x200;
/// Bytes of DMA memory that are needed.
pub const RING_BYTES: usize = ANSWER + ROOM;
/// Looks for an answer before the device counts as dead.
const LOOKS: u32 = 1_000_000;

/// Bytes of the header that begins requests and answers (5.7.6.7).
const HEADER: usize = 24;
/// Bytes of what is told of a screen.
const DISPLAY: usize = 24;
/// The picture, and the screen that shows it.
const PICTURE: u32 = 1;
const SCREEN: u32 = 0;
/// Four bytes: blue, green, red, and one that is not looked at.
const FORMAT_BGRX: u32 = 2;
/// Size of the picture where no screen tells one.
const USUAL: Mode = Mode { width: 1024, height: 768 };

/// A command (5.7.6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Tell the screens.
    DisplayInfo = 0x100,
    /// Make a picture.
    Create2d = 0x101,
    /// Show a picture on a screen.
    SetScanout = 0x103,
    /// Show what has changed of a picture.
    Flush = 0x104,
    /// Fetch pixels of a picture.
    Transfer = 0x105,
    /// Fetch a picture's pixels from this memory.
    AttachBacking = 0x106,
}

const OK_NO_DATA: u32 = 0x1100;
const OK_DISPLAY_INFO: u32 = 0x1101;

/// Why the device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuError {
    /// It does not come up.
    Transport(TransportError),
    /// Its memory is too small.
    Memory(DmaError),
    /// It breaks the queue's protocol.
    Broken(Broken),
    /// It does not answer.
    Silent(Command),
    /// It refuses a command, with this answer.
    Refused(Command, u32),
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::Broken(error) => error.fmt(f),
            Self::Silent(command) => write!(f, "the device does not answer to {command:?}"),
            Self::Refused(command, answer) => {
                write!(f, "the device answers {answer:#x} to {command:?}")
            }
        }
    }
}

impl From<TransportError> for GpuError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<DmaError> for GpuError {
    fn from(error: DmaError) -> Self {
        Self::Memory(error)
    }
}

/// The region that is drawn in, as the device finds it.
#[derive(Clone, Copy, Debug)]
pub struct Backing {
    /// Address of its first byte, the others following in a row.
    pub bus: u64,
    /// Its bytes.
    pub bytes: u32,
}

/// A GPU that shows the region.
#[derive(Debug)]
pub struct Gpu<'m, W> {
    transport: Transport<W>,
    queue: Queue<'m>,
    notifier: Notifier,
    memory: Dma<'m>,
    mode: Mode,
    /// Lets others run while the device works.
    pause: fn(),
}

impl<'m, W: Windows> Gpu<'m, W> {
    /// Resets the device and has it show the region, as large as its screen is and the region
    /// allows.
    ///
    /// # Errors
    /// [`GpuError`].
    pub fn new(
        mut transport: Transport<W>,
        memory: Dma<'m>,
        backing: Backing,
        pause: fn(),
    ) -> Result<Self, GpuError> {
        transport.reset()?;
        let features = transport.negotiate(Features::empty())?;
        let layout = Layout::new(transport.queue_size(CONTROL)?.min(ENTRIES));
        let mut queue = Queue::new(memory.part(0, REQUEST.min(memory.bytes()))?, layout, features)?;
        // Answers are looked for, not waited for.
        queue.disarm();
        let notifier = transport.enable(CONTROL, queue.addresses(), None)?;
        transport.start();
        let mut gpu = Self { transport, queue, notifier, memory, mode: USUAL, pause };
        gpu.set_up(backing)?;
        Ok(gpu)
    }

    /// Size of what is drawn.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Shows these parts of the region; tells how many pixels they have.
    ///
    /// # Errors
    /// [`FramebufferError::Outside`], and nothing is shown; [`FramebufferError::NotResponding`].
    pub fn present(&mut self, parts: &[Rectangle]) -> Result<u32, FramebufferError> {
        let pixels = check(self.mode, parts)?;
        let filled = parts.iter().filter(|part| part.width > 0 && part.height > 0);
        for part in filled {
            self.show(part).map_err(|_| FramebufferError::NotResponding)?;
        }
        Ok(pixels)
    }

    fn set_up(&mut self, backing: Backing) -> Result<(), GpuError> {
        self.mode = self.size(backing.bytes)?;
        let Mode { width, height } = self.mode;
        let whole = Rectangle { x: 0, y: 0, width, height };
        self.simple(Command::Create2d, &words(&[PICTURE, FORMAT_BGRX, width, height]))?;
        let entry =
            [&words(&[PICTURE, 1])[..], &backing.bus.to_le_bytes(), &words(&[backing.bytes, 0])];
        self.simple(Command::AttachBacking, &entry.concat())?;
        self.simple(Command::SetScanout, &[rectangle(&whole), words(&[SCREEN, PICTURE])].concat())
    }

    fn show(&mut self, part: &Rectangle) -> Result<(), GpuError> {
        let first = u64::from(part.y) * u64::from(self.mode.width) + u64::from(part.x);
        let offset = (first * OUR_BYTES as u64).to_le_bytes();
        let transfer = [&rectangle(part)[..], &offset, &words(&[PICTURE, 0])].concat();
        self.simple(Command::Transfer, &transfer)?;
        self.simple(Command::Flush, &[rectangle(part), words(&[PICTURE, 0])].concat())
    }

    /// Size of the picture: the first screen's, as far as the region and what is drawn allow.
    fn size(&mut self, bytes: u32) -> Result<Mode, GpuError> {
        let answer = self.command(Command::DisplayInfo, &[], HEADER + DISPLAY)?;
        if word(&answer, 0) != OK_DISPLAY_INFO {
            return Err(GpuError::Refused(Command::DisplayInfo, word(&answer, 0)));
        }
        let told = |at: usize, usual: u32, largest: u32| match word(&answer, HEADER + at) {
            0 => usual,
            length => length.min(largest),
        };
        let width = told(8, USUAL.width, LARGEST.width);
        let line = width * u32::try_from(OUR_BYTES).unwrap_or(u32::MAX);
        Ok(Mode { width, height: told(12, USUAL.height, LARGEST.height).min(bytes / line) })
    }

    /// A command that is answered by yes or no.
    fn simple(&mut self, command: Command, arguments: &[u8]) -> Result<(), GpuError> {
        match word(&self.command(command, arguments, HEADER)?, 0) {
            OK_NO_DATA => Ok(()),
            answer => Err(GpuError::Refused(command, answer)),
        }
    }

    /// Sends a command and waits for its answer, of `room` bytes at most.
    fn command(
        &mut self,
        command: Command,
        arguments: &[u8],
        room: usize,
    ) -> Result<Vec<u8>, GpuError> {
        let mut request = alloc::vec![0; HEADER];
        request[..4].copy_from_slice(&(command as u32).to_le_bytes());
        request.extend_from_slice(arguments);
        self.bytes(REQUEST, request.len())?
            .iter()
            .zip(&request)
            .for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        self.bytes(ANSWER, room)?.iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
        let bytes = |count: usize| u32::try_from(count).unwrap_or(0);
        let (there, back) = (self.memory.bus(REQUEST), self.memory.bus(ANSWER));
        self.queue.prepare(
            0,
            Segment {
                bus: there,
                bytes: bytes(request.len()),
                access: Access::Read,
                next: Some(1),
            },
        );
        self.queue.prepare(
            1,
            Segment { bus: back, bytes: bytes(room), access: Access::Write, next: None },
        );
        if !self.queue.offer(0, bytes(room)) {
            return Err(GpuError::Silent(command));
        }
        if self.queue.publish() {
            self.transport.notify(self.notifier);
        }
        self.wait(command)?;
        Ok(self.bytes(ANSWER, room)?.iter().map(|byte| byte.load(Ordering::Relaxed)).collect())
    }

    fn wait(&mut self, command: Command) -> Result<(), GpuError> {
        for _ in 0..LOOKS {
            if self.queue.take().map_err(GpuError::Broken)?.is_some() {
                return Ok(());
            }
            (self.pause)();
        }
        Err(GpuError::Silent(command))
    }

    fn bytes(&self, offset: usize, count: usize) -> Result<&'m [AtomicU8], GpuError> {
        if count > ROOM {
            return Err(GpuError::Memory(DmaError::Outside));
        }
        Ok(self.memory.row(offset, count)?)
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn rectangle(part: &Rectangle) -> Vec<u8> {
    words(&[part.x, part.y, part.width, part.height])
}

/// The word at an offset; 0 beyond the end.
fn word(bytes: &[u8], offset: usize) -> u32 {
    let bytes = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GpuModel;
    use libd3os::service::framebuffer::MAX_RECTANGLES;
    use proptest::prelude::*;
    use virtio::model::Device;

    const BACKING: Backing = Backing { bus: 0x9000_0000, bytes: 4 << 20 };

    fn gpu<'m>(memory: Dma<'m>, model: GpuModel<'m>) -> Result<Gpu<'m, GpuModel<'m>>, GpuError> {
        let transport = Transport::find(&Device::config(), &Device::openings(), model)?;
        Gpu::new(transport, memory, BACKING, || ())
    }

    fn with<T>(
        change: impl FnOnce(&mut GpuModel<'_>),
        test: impl FnOnce(Result<Gpu<'_, GpuModel<'_>>, GpuError>) -> T,
    ) -> T {
        let mut words = [0u64; RING_BYTES / 8];
        let memory = Dma::of_words(&mut words, 0x10_0000);
        let mut model = GpuModel::new(memory);
        change(&mut model);
        test(gpu(memory, model))
    }

    #[test]
    fn the_region_is_shown_as_large_as_the_screen() {
        with(
            |_| (),
            |gpu| {
                let mut gpu = gpu.expect("up");
                assert_eq!(gpu.mode(), Mode { width: 1280, height: 800 });
                let part = Rectangle { x: 8, y: 2, width: 16, height: 4 };
                assert_eq!(gpu.present(&[part]), Ok(64));
                let model = gpu.transport.windows();
                assert_eq!(model.scanout, Some((1280, 800)));
                assert_eq!(
                    (model.backing, model.offsets.as_slice()),
                    (Some((0x9000_0000, 4 << 20)), &[(2 * 1280 + 8) * 4][..])
                );
                assert_eq!(model.flushed, [part]);
            },
        );
    }

    #[test]
    fn screens_are_as_large_as_can_be_drawn() {
        let mode = |width, height| {
            with(|model| model.screen = (width, height), |gpu| gpu.expect("up").mode())
        };
        assert_eq!(mode(0, 0), USUAL);
        assert_eq!(mode(640, 480), Mode { width: 640, height: 480 });
        assert_eq!(mode(u32::MAX, 3), Mode { width: 1280, height: 3 });
    }

    #[test]
    fn a_device_that_refuses_or_is_silent_is_given_up() {
        with(
            |model| model.refuses = Some(Command::SetScanout),
            |gpu| {
                assert_eq!(gpu.err(), Some(GpuError::Refused(Command::SetScanout, 0x1200)));
            },
        );
        with(
            |model| model.silent = true,
            |gpu| {
                assert_eq!(gpu.err(), Some(GpuError::Silent(Command::DisplayInfo)));
            },
        );
        with(
            |_| (),
            |gpu| {
                let mut gpu = gpu.expect("up");
                gpu.transport.windows().silent = true;
                let part = Rectangle { x: 0, y: 0, width: 1, height: 1 };
                assert_eq!(gpu.present(&[part]), Err(FramebufferError::NotResponding));
            },
        );
    }

    #[test]
    fn its_memory_has_to_be_large_enough() {
        let mut words = [0u64; 64];
        let memory = Dma::of_words(&mut words, 0);
        assert_eq!(
            gpu(memory, GpuModel::new(memory)).err(),
            Some(GpuError::Memory(DmaError::Outside))
        );
    }

    proptest! {
        #[test]
        fn hostile_rectangles_do_not_reach_the_device(x in any::<u32>(), y in any::<u32>(), width in any::<u32>(), height in any::<u32>()) {
            with(|_| (), |gpu| {
                let mut gpu = gpu.expect("up");
                let part = Rectangle { x, y, width, height };
                let within = u64::from(x) + u64::from(width) <= 1280 && u64::from(y) + u64::from(height) <= 800;
                assert_eq!(gpu.present(&[part]).is_ok(), within);
                assert_eq!(gpu.present(&[part; MAX_RECTANGLES + 1]), Err(FramebufferError::Outside));
                assert!(within || gpu.transport.windows().flushed.is_empty());
            });
        }
    }
}
