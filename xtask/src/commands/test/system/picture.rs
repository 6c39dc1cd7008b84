//! Reads the text off a picture of the screen, by the console's font.
//!
//! The picture is what QEMU's monitor dumps (PPM, "P6"). The font file is the one that the console
//! draws with (PSF version 1); where its cells stand follows from the screen's size.

use std::collections::HashMap;

const WIDTH: usize = 8;
const HEIGHT: usize = 16;
/// Pixels between the screen's upper edge and the first line, and at the sides at least.
const MARGIN: usize = 6;

static FONT: &[u8] = include_bytes!("../../../../../servers/console/font/spleen-8x16.psfu");
const HEADER_BYTES: usize = 4;
const GLYPHS: usize = 512;

/// A picture of the screen: three bytes a pixel.
#[derive(Debug)]
pub(crate) struct Picture {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Picture {
    /// The picture of a PPM file.
    pub(crate) fn parse(file: &[u8]) -> Option<Self> {
        let mut rest = file.strip_prefix(b"P6")?;
        let [width, height, depth] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
        let bytes = rest.get(1..)?.to_vec();
        (depth == 255 && bytes.len() == width * height * 3).then_some(Self { width, height, bytes })
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// How many pixels have this colour: red, green, blue.
    pub(crate) fn count(&self, colour: [u8; 3]) -> usize {
        self.bytes.chunks_exact(3).filter(|pixel| **pixel == colour).count()
    }

    /// The text of the lines that lie at the console's places, without blanks at their ends.
    pub(crate) fn text(&self) -> String {
        let glyphs = glyphs();
        let columns = self.width.saturating_sub(2 * MARGIN) / WIDTH;
        let left = (self.width - columns * WIDTH) / 2;
        let rows = self.height.saturating_sub(MARGIN) / HEIGHT;
        let row = |row: usize| {
            let cells = (0..columns).map(|column| (left + column * WIDTH, MARGIN + row * HEIGHT));
            let read = cells.map(|(x, y)| glyphs.get(&self.cell(x, y)).copied().unwrap_or('?'));
            read.collect::<String>().trim_end().to_owned()
        };
        (0..rows).map(row).collect::<Vec<_>>().join("\n")
    }

    /// Where the pixels of a cell differ from its ground, which its upper left corner has.
    fn cell(&self, x: usize, y: usize) -> [u8; HEIGHT] {
        let ground = self.pixel(x, y);
        std::array::from_fn(|line| {
            let bits = (0..WIDTH).map(|column| self.pixel(x + column, y + line) != ground);
            bits.fold(0, |bits, set| bits << 1 | u8::from(set))
        })
    }

    fn pixel(&self, x: usize, y: usize) -> &[u8] {
        let at = (y * self.width + x) * 3;
        self.bytes.get(at..at + 3).unwrap_or_default()
    }
}

/// The next number of a PPM file's header.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let text = rest.trim_ascii_start();
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, after) = text.split_at(end);
    *rest = after;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The printable ASCII characters by their glyphs.
fn glyphs() -> HashMap<[u8; HEIGHT], char> {
    let (glyphs, table) = FONT[HEADER_BYTES..].split_at(GLYPHS * HEIGHT);
    let (glyphs, words) = (glyphs.as_chunks::<HEIGHT>().0, table.as_chunks::<2>().0);
    let words: Vec<u16> = words.iter().map(|word| u16::from_le_bytes(*word)).collect();
    let characters = words.split(|word| *word == 0xffff);
    let ascii = |codes: &[u16]| {
        let known = codes.iter().filter_map(|code| char::from_u32((*code).into()));
        known.into_iter().find(|known| matches!(known, ' '..='~'))
    };
    let mut map: HashMap<_, _> =
        glyphs.iter().zip(characters).filter_map(|(g, codes)| Some((*g, ascii(codes)?))).collect();
    // A cell in one colour is a blank, and so is the cursor on one.
    map.insert([0; HEIGHT], ' ');
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> Picture {
        let (width, height) = (text.len() * WIDTH + 2 * MARGIN, MARGIN + HEIGHT);
        let mut bytes = vec![7; width * height * 3];
        let by_character: HashMap<char, [u8; HEIGHT]> =
            glyphs().into_iter().map(|(glyph, character)| (character, glyph)).collect();
        for (column, character) in text.chars().enumerate() {
            for (line, bits) in by_character[&character].iter().enumerate() {
                for x in (0..WIDTH).filter(|x| bits >> (WIDTH - 1 - x) & 1 == 1) {
                    let at = (MARGIN + line) * width + MARGIN + column * WIDTH + x;
                    bytes[at * 3..at * 3 + 3].fill(200);
                }
            }
        }
        Picture { width, height, bytes }
    }

    #[test]
    fn text_is_read_as_it_was_drawn() {
        let text = "d3os> ps; echo 'Quick {brown} fox' 0O1lI|";
        assert_eq!(drawn(text).text(), text);
    }

    #[test]
    fn files_of_the_monitor_are_understood() {
        let picture = Picture::parse(b"P6\n2 1\n255\n\n\r abc").expect("a picture");
        assert_eq!((picture.size(), &picture.bytes[..]), ((2, 1), &b"\n\r abc"[..]));
        assert_eq!((picture.count(*b"abc"), picture.count(*b" ab")), (1, 0));
        assert!(Picture::parse(b"P6 2 1 255 abc").is_none());
        assert!(Picture::parse(b"P5 1 1 255 abc").is_none());
    }
}
