//! What stands at one place of a terminal: a character and how it looks.

use bitflags::bitflags;

/// A colour as programs name it; the palette says how it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// The terminal's own, which differs for text and ground.
    #[default]
    Default,
    /// One of 256: 16 named ones, a cube of 216, a ramp of 24 greys.
    Indexed(u8),
    /// Red, green and blue.
    Rgb(u8, u8, u8),
}

bitflags! {
    /// How a character is drawn, beside its colours.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Style: u8 {
        /// Bright, for there is one weight of letters.
        const BOLD = 1;
        /// Half as bright.
        const FAINT = 1 << 1;
        /// Kept and not drawn: the font has no slant.
        const ITALIC = 1 << 2;
        /// A line below.
        const UNDERLINE = 1 << 3;
        /// Text and ground change places.
        const INVERSE = 1 << 4;
        /// In the colour of the ground.
        const HIDDEN = 1 << 5;
        /// A line through the middle.
        const STRUCK = 1 << 6;
    }
}

/// Colours and style of what is written next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Colour of the text.
    pub text: Colour,
    /// Colour of the ground.
    pub ground: Colour,
    /// The rest.
    pub style: Style,
}

/// Which part of a character a cell shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// The left half of a character that takes two cells.
    Left,
    /// The right half of the character before it.
    Right,
}

/// One place of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The character; a blank where nothing is.
    pub character: char,
    /// How it looks.
    pub look: Look,
    /// Which part of it.
    pub part: Part,
}

impl Default for Cell {
    fn default() -> Self {
        Self { character: ' ', look: Look::default(), part: Part::Whole }
    }
}

impl Cell {
    /// An empty cell with the ground of this look, as erasing leaves it.
    #[must_use]
    pub fn blank(look: Look) -> Self {
        Self { look: Look { ground: look.ground, ..Look::default() }, ..Self::default() }
    }
}
