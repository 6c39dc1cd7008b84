//! From our pixels (0x00RRGGBB) to the device's.

use libd3os::device::{ColourField, Screen};

/// Bytes of one of our pixels.
pub const OUR_BYTES: usize = 4;

/// How the device's pixels are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    bytes: usize,
    red: ColourField,
    green: ColourField,
    blue: ColourField,
}

/// A pixel format that the driver cannot write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl Format {
    /// Our own: what needs no conversion.
    pub const OURS: Self = Self {
        bytes: OUR_BYTES,
        red: ColourField { position: 16, size: 8 },
        green: ColourField { position: 8, size: 8 },
        blue: ColourField { position: 0, size: 8 },
    };

    /// The format of a screen: pixels of two, three or four bytes, with a field for each colour.
    ///
    /// # Errors
    /// [`UnknownFormat`] for other sizes, and for fields that are empty, wider than eight bits, or
    /// not within the pixel.
    pub fn of(screen: &Screen) -> Result<Self, UnknownFormat> {
        let Screen { bits, red, green, blue, .. } = *screen;
        let bytes = match bits {
            15 | 16 => 2,
            24 => 3,
            32 => 4,
            _ => return Err(UnknownFormat),
        };
        let fits = |field: ColourField| {
            (1..=8).contains(&field.size)
                && u32::from(field.position) + u32::from(field.size) <= u32::from(bits)
        };
        if [red, green, blue].into_iter().all(fits) {
            Ok(Self { bytes, red, green, blue })
        } else {
            Err(UnknownFormat)
        }
    }

    /// Bytes of a pixel.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bytes
    }

    /// Writes a line of our pixels as the device's; as many as there are in both.
    pub fn convert(self, ours: &[u8], theirs: &mut [u8]) {
        let (ours, _) = ours.as_chunks::<OUR_BYTES>();
        for (ours, theirs) in ours.iter().zip(theirs.chunks_exact_mut(self.bytes)) {
            let pixel = self.pixel(u32::from_le_bytes(*ours)).to_le_bytes();
            theirs.copy_from_slice(&pixel[..self.bytes]);
        }
    }

    fn pixel(self, ours: u32) -> u32 {
        place(ours >> 16, self.red) | place(ours >> 8, self.green) | place(ours, self.blue)
    }
}

/// The highest bits of the lowest byte, in a field.
fn place(value: u32, field: ColourField) -> u32 {
    (value & 0xff) >> (8 - field.size) << field.position
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(position: u8, size: u8) -> ColourField {
        ColourField { position, size }
    }

    fn screen(bits: u8, red: ColourField, green: ColourField, blue: ColourField) -> Screen {
        Screen { width: 1, height: 1, pitch: 4, bits, red, green, blue }
    }

    #[test]
    fn formats_of_boot_loaders() {
        let convert = |screen: Screen| {
            let format = Format::of(&screen).expect("known");
            let mut theirs = [0; 4];
            format.convert(&0x0012_34ff_u32.to_le_bytes(), &mut theirs[..format.bytes()]);
            theirs
        };
        let bgrx = screen(32, field(16, 8), field(8, 8), field(0, 8));
        assert_eq!(Format::of(&bgrx), Ok(Format::OURS));
        assert_eq!(convert(bgrx), [0xff, 0x34, 0x12, 0]);
        assert_eq!(
            convert(screen(32, field(0, 8), field(8, 8), field(16, 8))),
            [0x12, 0x34, 0xff, 0]
        );
        assert_eq!(
            convert(screen(24, field(16, 8), field(8, 8), field(0, 8))),
            [0xff, 0x34, 0x12, 0]
        );
        // 5 bits of 0x12, 6 of 0x34, 5 of 0xff.
        assert_eq!(convert(screen(16, field(11, 5), field(5, 6), field(0, 5))), [0xbf, 0x11, 0, 0]);
    }

    #[test]
    fn formats_that_cannot_be_are_refused() {
        let eight = field(0, 8);
        for wrong in [
            screen(8, eight, eight, eight),
            screen(0, eight, eight, eight),
            screen(32, field(25, 8), eight, eight),
            screen(24, field(17, 8), eight, eight),
            screen(32, field(0, 0), eight, eight),
            screen(32, field(0, 9), eight, eight),
            screen(32, field(255, 255), eight, eight),
        ] {
            assert_eq!(Format::of(&wrong), Err(UnknownFormat), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_colour_reaches_into_another(
            ours in any::<u32>(),
            sizes in prop::array::uniform3(1u8..=8),
        ) {
            let [red, green, blue] = sizes;
            let fields = (field(green + blue, red), field(blue, green), field(0, blue));
            let format = Format::of(&screen(32, fields.0, fields.1, fields.2)).expect("within");
            let pixel = format.pixel(ours);
            let part = |field: ColourField| pixel >> field.position & ((1 << field.size) - 1);
            prop_assert_eq!(part(fields.0), (ours >> 16 & 0xff) >> (8 - red));
            prop_assert_eq!(part(fields.1), (ours >> 8 & 0xff) >> (8 - green));
            prop_assert_eq!(part(fields.2), (ours & 0xff) >> (8 - blue));
        }
    }
}
