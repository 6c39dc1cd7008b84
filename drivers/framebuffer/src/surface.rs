//! Copies what changed from the shared region to the device's memory.
//!
//! The region holds at most [`LARGEST`] pixels; on a larger screen they stand in its middle, and
//! the rest of it is black. Rectangles come from another program: they are checked against the
//! region, and the device's description, which comes from firmware, against the device's memory.

use alloc::vec::Vec;

use libd3os::device::Screen;
use libd3os::service::framebuffer::{FramebufferError, MAX_RECTANGLES, Mode, Rectangle};

use crate::format::{Format, OUR_BYTES};

/// Width and height of what is drawn at most.
pub const LARGEST: Mode = Mode { width: 1280, height: 800 };
/// Most pixels of a line of the device: what a screen of today has, and more.
const WIDEST: u32 = 16_384;

/// Memory that is copied from and to, by offset. What is outside is left out.
pub trait Memory {
    /// How many bytes it has.
    fn bytes(&self) -> usize;
    /// Copies from it.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies to it.
    fn write(&mut self, offset: usize, from: &[u8]);
}

/// Why a screen cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadScreen {
    /// Its pixels are in no format that is known.
    Format,
    /// Its size is 0, or its lines overlap, or it has more lines than memory.
    Size,
}

impl core::fmt::Display for BadScreen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Format => "its pixels are in a format that is not known",
            Self::Size => "its size does not fit its memory",
        })
    }
}

/// The device's memory, and where in it the region's pixels stand.
#[derive(Debug)]
pub struct Surface<D> {
    device: D,
    format: Format,
    mode: Mode,
    /// Bytes from one line of the device to the next.
    pitch: usize,
    /// Offset of the first pixel that is shown.
    first: usize,
    /// A line, as it is copied.
    line: Vec<u8>,
    converted: Vec<u8>,
}

impl<D: Memory> Surface<D> {
    /// A screen with its memory, of which `region` bytes are drawn in another place. It is blanked.
    ///
    /// # Errors
    /// [`BadScreen`] where the description cannot be true.
    pub fn new(mut device: D, screen: &Screen, region: usize) -> Result<Self, BadScreen> {
        let format = Format::of(screen).map_err(|_| BadScreen::Format)?;
        let mode = mode(screen, region).ok_or(BadScreen::Size)?;
        let number = |value: u32| usize::try_from(value).map_err(|_| BadScreen::Size);
        let (width, height) = (number(screen.width)?, number(screen.height)?);
        let pitch = number(screen.pitch)?;
        let line = width * format.bytes();
        let end = pitch.checked_mul(height - 1).and_then(|last| last.checked_add(line));
        if pitch < line || end.is_none_or(|end| end > device.bytes()) {
            return Err(BadScreen::Size);
        }
        let black = alloc::vec![0; line];
        (0..height).for_each(|row| device.write(row * pitch, &black));
        let (left, upper) =
            (number((screen.width - mode.width) / 2)?, number((screen.height - mode.height) / 2)?);
        let first = upper * pitch + left * format.bytes();
        let (line, converted) = (Vec::new(), Vec::new());
        Ok(Self { device, format, mode, pitch, first, line, converted })
    }

    /// Size of what is drawn.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Copies these parts of the region; tells how many pixels they have.
    ///
    /// # Errors
    /// [`FramebufferError::Outside`], and nothing is copied.
    pub fn present(
        &mut self,
        region: &impl Memory,
        parts: &[Rectangle],
    ) -> Result<u32, FramebufferError> {
        let pixels = check(self.mode, parts)?;
        for part in parts {
            (0..part.height).for_each(|row| self.copy(region, part, row));
        }
        Ok(pixels)
    }

    /// Copies a line of a rectangle that was checked.
    fn copy(&mut self, region: &impl Memory, part: &Rectangle, row: u32) {
        let number = |value: u32| value as usize;
        let (x, y, width) = (number(part.x), number(part.y + row), number(part.width));
        let from = (y * number(self.mode.width) + x) * OUR_BYTES;
        self.line.resize(width * OUR_BYTES, 0);
        region.read(from, &mut self.line);
        let to = self.first + y * self.pitch + x * self.format.bytes();
        if self.format == Format::OURS {
            return self.device.write(to, &self.line);
        }
        self.converted.resize(width * self.format.bytes(), 0);
        self.format.convert(&self.line, &mut self.converted);
        self.device.write(to, &self.converted);
    }
}

/// Size of what is drawn on a screen, if there is something of both it and the region.
fn mode(screen: &Screen, region: usize) -> Option<Mode> {
    let width = screen.width.min(LARGEST.width);
    let line = (width as usize).checked_mul(OUR_BYTES).filter(|line| *line > 0)?;
    let lines = u32::try_from(region / line).unwrap_or(u32::MAX);
    let height = screen.height.min(LARGEST.height).min(lines);
    (height > 0 && screen.width <= WIDEST).then_some(Mode { width, height })
}

/// How many pixels these rectangles have, all being within `mode`.
///
/// # Errors
/// [`FramebufferError::Outside`] where one is not, or there are too many.
pub fn check(mode: Mode, parts: &[Rectangle]) -> Result<u32, FramebufferError> {
    let within = |start: u32, length: u32, end: u32| {
        start.checked_add(length).is_some_and(|last| last <= end)
    };
    let fits = |part: &Rectangle| {
        within(part.x, part.width, mode.width) && within(part.y, part.height, mode.height)
    };
    if parts.len() > MAX_RECTANGLES || !parts.iter().all(fits) {
        return Err(FramebufferError::Outside);
    }
    // Each has at most as many as the screen has, and there are few.
    Ok(parts.iter().map(|part| part.width * part.height).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ram;
    use libd3os::device::ColourField;
    use proptest::prelude::*;

    const fn field(position: u8) -> ColourField {
        ColourField { position, size: 8 }
    }

    fn screen(width: u32, height: u32, pitch: u32, bits: u8) -> Screen {
        Screen { width, height, pitch, bits, red: field(16), green: field(8), blue: field(0) }
    }

    fn part(x: u32, y: u32, width: u32, height: u32) -> Rectangle {
        Rectangle { x, y, width, height }
    }

    /// Where each pixel has another colour.
    fn region(mode: Mode) -> Ram {
        let pixels = (0..mode.width * mode.height).flat_map(|at| (at + 1).to_le_bytes());
        Ram::with(pixels.collect())
    }

    #[test]
    fn lines_are_where_the_pitch_says() {
        let mut surface = Surface::new(Ram::of(64), &screen(3, 2, 20, 32), 1 << 20).expect("fits");
        let region = region(surface.mode());
        assert_eq!(surface.present(&region, &[part(1, 0, 2, 2)]), Ok(4));
        let shown = &surface.device;
        assert_eq!((shown.pixel(0), shown.pixel(4), shown.pixel(8)), (0, 2, 3));
        assert_eq!((shown.pixel(20), shown.pixel(24), shown.pixel(28)), (0, 5, 6));
    }

    #[test]
    fn pixels_of_three_bytes_are_packed() {
        let mut surface = Surface::new(Ram::of(6), &screen(2, 1, 6, 24), 8).expect("fits");
        surface
            .present(&Ram::with(vec![1, 2, 3, 9, 4, 5, 6, 9]), &[part(0, 0, 2, 1)])
            .expect("inside");
        assert_eq!(surface.device.bytes, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_larger_screen_shows_the_region_in_its_middle() {
        let large = screen(1920, 1080, 1920 * 4, 32);
        let mut surface = Surface::new(Ram::of(1920 * 1080 * 4), &large, 4 << 20).expect("fits");
        assert_eq!(surface.mode(), LARGEST);
        let region = region(LARGEST);
        surface.present(&region, &[part(0, 0, 1280, 800)]).expect("inside");
        let at = |x: usize, y: usize| surface.device.pixel((y * 1920 + x) * 4);
        assert_eq!((at(319, 140), at(320, 140), at(1599, 140), at(1600, 140)), (0, 1, 1280, 0));
        assert_eq!((at(320, 139), at(320, 939), at(320, 940)), (0, 799 * 1280 + 1, 0));
    }

    #[test]
    fn a_small_region_shows_fewer_lines() {
        let surface = Surface::new(Ram::of(4096), &screen(16, 16, 64, 32), 64 * 3 + 63);
        assert_eq!(surface.map(|surface| surface.mode().height), Ok(3));
    }

    #[test]
    fn descriptions_that_cannot_be_true_are_refused() {
        for wrong in [
            screen(0, 1, 4, 32),
            screen(1, 0, 4, 32),
            screen(4, 4, 15, 32),
            screen(4, 5, 16, 32),
            screen(u32::MAX, u32::MAX, u32::MAX, 32),
            screen(1, u32::MAX, u32::MAX, 32),
        ] {
            assert_eq!(
                Surface::new(Ram::of(64), &wrong, 1 << 20).err(),
                Some(BadScreen::Size),
                "{wrong:?}"
            );
        }
        let wrong = Surface::new(Ram::of(64), &screen(1, 1, 4, 8), 64);
        assert_eq!(wrong.err(), Some(BadScreen::Format));
    }

    #[test]
    fn too_many_rectangles_are_refused() {
        let mut surface = Surface::new(Ram::of(64), &screen(4, 4, 16, 32), 64).expect("fits");
        let many = [part(0, 0, 1, 1); MAX_RECTANGLES + 1];
        assert_eq!(surface.present(&Ram::of(64), &many), Err(FramebufferError::Outside));
    }

    fn edge() -> impl Strategy<Value = u32> {
        prop_oneof![4 => 0u32..20, 1 => any::<u32>(), 1 => (0u32..4).prop_map(|n| u32::MAX - n)]
    }

    proptest! {
        #[test]
        fn hostile_rectangles_change_nothing_and_others_just_what_they_name(
            parts in prop::collection::vec((edge(), edge(), edge(), edge()), 0..4),
            three in any::<bool>(),
        ) {
            let (bits, bytes) = if three { (24, 3) } else { (32, 4) };
            let screen = screen(13, 11, 60, bits);
            let mut surface = Surface::new(Ram::of(60 * 11), &screen, 1 << 20).expect("fits");
            let region = region(surface.mode());
            let parts: Vec<_> = parts.into_iter().map(|(x, y, w, h)| part(x, y, w, h)).collect();
            let within = parts.iter().all(|p| {
                u64::from(p.x) + u64::from(p.width) <= 13 && u64::from(p.y) + u64::from(p.height) <= 11
            });
            prop_assert_eq!(surface.present(&region, &parts).is_ok(), within);
            for (x, y) in (0..13u32).flat_map(|x| (0..11u32).map(move |y| (x, y))) {
                let named = within && parts.iter().any(|p| {
                    (p.x..p.x + p.width).contains(&x) && (p.y..p.y + p.height).contains(&y)
                });
                let expected = if named { y * 13 + x + 1 } else { 0 };
                let at = (y * 60) as usize + x as usize * bytes;
                prop_assert_eq!(surface.device.pixel(at) & 0x00ff_ffff, expected, "{},{}", x, y);
            }
        }

        #[test]
        fn no_description_reaches_beyond_the_memory(width in edge(), height in edge(), pitch in edge(), bits in 0u8..40, memory in 0usize..500, region in 0usize..500) {
            let screen = screen(width, height, pitch, bits);
            if let Ok(mut surface) = Surface::new(Ram::of(memory), &screen, region) {
                let Mode { width, height } = surface.mode();
                prop_assert!((width * height * 4) as usize <= region);
                surface.present(&Ram::of(region), &[part(0, 0, width, height)]).expect("all of it");
            }
        }
    }
}
