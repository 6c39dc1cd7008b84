//! Glyphs of 8 by 16 pixels: Spleen's, and block elements and Braille patterns drawn by rule.
//!
//! Spleen is Frederic Cambus's font (two-clause BSD licence, `font/LICENSE`), in the form that
//! Linux's console loads (PSF version 1: a header of four bytes, glyphs of a byte per line, then
//! for each glyph the characters that it shows, 0xffff after each). It has Latin, Greek, Cyrillic
//! and box drawing characters, and of the block elements a few: those are drawn here, so that
//! bars and lines of any length join.

use alloc::vec::Vec;

/// Width of a glyph, in pixels.
pub const WIDTH: usize = 8;
/// Height of a glyph, in pixels.
pub const HEIGHT: usize = 16;

static SPLEEN: &[u8] = include_bytes!("../font/spleen-8x16.psfu");

const MAGIC: [u8; 2] = [0x36, 0x04];
const MODE_512: u8 = 1;
const MODE_TABLE: u8 = 2;
const HEADER_BYTES: usize = 4;
/// Ends a glyph's characters.
const SEPARATOR: u16 = 0xffff;
/// Begins a sequence of characters that are shown by one glyph; such are not used here.
const SEQUENCE: u16 = 0xfffe;

/// A glyph: a byte for each line from the top, its highest bit on the left.
pub type Glyph = [u8; HEIGHT];

/// What is shown for a character that the font lacks: a box.
const MISSING: Glyph =
    [0, 0, 0, 0x7e, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x7e, 0, 0, 0];

/// Glyphs by character.
#[derive(Debug)]
pub struct Font {
    glyphs: &'static [[u8; HEIGHT]],
    /// Characters in order, each with the number of its glyph.
    characters: Vec<(u16, u16)>,
}

impl Default for Font {
    fn default() -> Self {
        Self::spleen()
    }
}

impl Font {
    /// The font of the console.
    #[must_use]
    pub fn spleen() -> Self {
        Self::parse(SPLEEN).unwrap_or(Self { glyphs: &[], characters: Vec::new() })
    }

    fn parse(file: &'static [u8]) -> Option<Self> {
        let (header, rest) = file.split_first_chunk::<HEADER_BYTES>()?;
        let [first, second, mode, height] = *header;
        let known = [first, second] == MAGIC && usize::from(height) == HEIGHT;
        if !known || mode & MODE_TABLE == 0 {
            return None;
        }
        let count = if mode & MODE_512 == 0 { 256 } else { 512 };
        let (glyphs, table) = rest.split_at_checked(count * HEIGHT)?;
        let (glyphs, _) = glyphs.as_chunks::<HEIGHT>();
        Some(Self { glyphs, characters: characters(table) })
    }

    /// The glyph of a character. Dashes that fill a cell are what a box's line is.
    #[must_use]
    pub fn glyph(&self, character: char) -> Glyph {
        let character = if matches!(character, '—' | '―') { '─' } else { character };
        block(character)
            .or_else(|| braille(character))
            .or_else(|| self.drawn(character))
            .unwrap_or(MISSING)
    }

    fn drawn(&self, character: char) -> Option<Glyph> {
        let code = u16::try_from(u32::from(character)).ok()?;
        let at = self.characters.binary_search_by_key(&code, |(code, _)| *code).ok()?;
        self.glyphs.get(usize::from(self.characters.get(at)?.1)).copied()
    }
}

/// The characters of a PSF file's table, in order.
fn characters(table: &[u8]) -> Vec<(u16, u16)> {
    let (words, _) = table.as_chunks::<2>();
    let words: Vec<u16> = words.iter().map(|word| u16::from_le_bytes(*word)).collect();
    let glyphs = (0u16..).zip(words.split(|word| *word == SEPARATOR));
    let mut characters: Vec<_> = glyphs
        .flat_map(|(glyph, codes)| {
            let alone = codes.iter().take_while(|code| **code != SEQUENCE);
            alone.map(move |code| (*code, glyph))
        })
        .collect();
    characters.sort_unstable();
    characters.dedup_by_key(|(code, _)| *code);
    characters
}

/// Block elements (U+2580 to U+259F).
fn block(character: char) -> Option<Glyph> {
    let code = u32::from(character).checked_sub(0x2580)?;
    let eighths = |count: u32| count as usize * HEIGHT / 8;
    // The leftmost so many pixels.
    let left = |count: u32| !(0xffu8.checked_shr(count).unwrap_or(0));
    Some(match code {
        0x00 => fill(0..HEIGHT / 2, 0xff),
        0x01..=0x08 => fill(HEIGHT - eighths(code)..HEIGHT, 0xff),
        0x09..=0x0f => fill(0..HEIGHT, left(0x10 - code)),
        0x10 => fill(0..HEIGHT, 0x0f),
        0x11 => shade([0x88, 0x00, 0x22, 0x00]),
        0x12 => shade([0xaa, 0x55, 0xaa, 0x55]),
        0x13 => shade([0x77, 0xff, 0xdd, 0xff]),
        0x14 => fill(0..eighths(1), 0xff),
        0x15 => fill(0..HEIGHT, 0x01),
        0x16..=0x1f => quadrants(QUADRANTS.get(code as usize - 0x16).copied()?),
        _ => return None,
    })
}

/// The quarters of U+2596 to U+259F: upper left, upper right, lower left, lower right from bit 3
/// down.
const QUADRANTS: [u8; 10] =
    [0b0010, 0b0001, 0b1000, 0b1011, 0b1001, 0b1110, 0b1101, 0b0100, 0b0110, 0b0111];

fn quadrants(bits: u8) -> Glyph {
    let half = |two: u8| ((two >> 1 & 1) * 0xf0) | ((two & 1) * 0x0f);
    core::array::from_fn(|line| half(if line < HEIGHT / 2 { bits >> 2 } else { bits & 3 }))
}

fn fill(lines: core::ops::Range<usize>, bits: u8) -> Glyph {
    core::array::from_fn(|line| if lines.contains(&line) { bits } else { 0 })
}

fn shade(pattern: [u8; 4]) -> Glyph {
    core::array::from_fn(|line| pattern[line % 4])
}

/// Braille patterns (U+2800 to U+28FF), dots of two by two pixels: what charts are drawn with.
fn braille(character: char) -> Option<Glyph> {
    /// Bits of the four rows, left and right dot.
    const DOTS: [[u32; 2]; 4] = [[0, 3], [1, 4], [2, 5], [6, 7]];
    let dots = u32::from(character).checked_sub(0x2800).filter(|dots| *dots < 0x100)?;
    Some(core::array::from_fn(|line| {
        let [left, right] = DOTS[line / 4];
        let (left, right) = (dots >> left & 1, dots >> right & 1);
        let drawn = matches!(line % 4, 1 | 2);
        if drawn {
            (if left == 1 { 0x60 } else { 0 }) | (if right == 1 { 0x06 } else { 0 })
        } else {
            0
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(font: &Font, character: char) -> bool {
        font.glyph(character) != MISSING
    }

    #[test]
    fn everything_that_the_console_promises_is_there() {
        let font = Font::spleen();
        let ranges =
            [(' ', '~'), ('\u{a0}', 'ÿ'), ('\u{2500}', '\u{259f}'), ('\u{2800}', '\u{28ff}')];
        for (first, last) in ranges {
            for character in first..=last {
                assert!(has(&font, character), "{character:?} is missing");
            }
        }
        for character in "µ…–—‘’“”€•→←↑↓≤≥≈∞√●▲▼◆Ωπ".chars()
        {
            assert!(has(&font, character), "{character:?} is missing");
        }
        assert!(!has(&font, '漢'));
    }

    #[test]
    fn letters_are_told_apart() {
        let font = Font::spleen();
        let glyphs: Vec<_> = (33..127u8).map(|byte| font.glyph(char::from(byte))).collect();
        for (index, glyph) in glyphs.iter().enumerate() {
            assert!(!glyphs[..index].contains(glyph), "{index}");
        }
        assert_eq!(font.glyph(' '), [0; HEIGHT]);
    }

    #[test]
    fn bars_grow_by_eighths() {
        let font = Font::spleen();
        for (height, bar) in (1..).zip("▁▂▃▄▅▆▇█".chars()) {
            let filled = font.glyph(bar).iter().filter(|line| **line == 0xff).count();
            assert_eq!(filled, height * 2, "{bar}");
        }
        for (width, bar) in (1..).zip("▏▎▍▌▋▊▉█".chars()) {
            assert!(font.glyph(bar).iter().all(|line| line.leading_ones() == width), "{bar}");
        }
        assert_eq!(font.glyph('▚')[0], 0xf0);
        assert_eq!(font.glyph('▚')[15], 0x0f);
    }

    #[test]
    fn box_lines_reach_the_edges() {
        let font = Font::spleen();
        assert!(font.glyph('─').contains(&0xff));
        assert!(font.glyph('│').iter().all(|line| *line != 0));
        let count = |c| font.glyph(c).iter().map(|line| line.count_ones()).sum::<u32>();
        assert_eq!((count('⣿'), count('⠀'), count('⡀')), (32, 0, 4));
    }

    #[test]
    fn a_file_that_is_no_font_is_refused() {
        assert!(Font::parse(&[]).is_none());
        assert!(Font::parse(&[0x36, 0x04, 2, 8, 0]).is_none());
        assert!(Font::parse(&[0x36, 0x04, 2, 16, 0, 1, 2]).is_none());
    }
}
