//! How colours look on the screen.
//!
//! Light text on a dark ground; the sixteen named colours are of one family and each has a
//! contrast of at least 4.5 to 1 against the ground, but for black, which is one for grounds.

use embedded_graphics::pixelcolor::{Rgb888, RgbColor};

use crate::cell::{Colour, Look, Style};

/// The ground where no program has chosen one.
pub const GROUND: Rgb888 = Rgb888::new(0x11, 0x15, 0x1b);
/// The text where no program has chosen a colour.
pub const TEXT: Rgb888 = Rgb888::new(0xd2, 0xd7, 0xdf);
/// The cursor.
pub const CURSOR: Rgb888 = Rgb888::new(0xf0, 0xb4, 0x4c);

const NAMED: [Rgb888; 16] = [
    Rgb888::new(0x2a, 0x31, 0x3c),
    Rgb888::new(0xe8, 0x6b, 0x73),
    Rgb888::new(0x94, 0xc7, 0x76),
    Rgb888::new(0xe2, 0xb9, 0x6b),
    Rgb888::new(0x6a, 0xab, 0xee),
    Rgb888::new(0xc5, 0x88, 0xe0),
    Rgb888::new(0x5b, 0xbd, 0xc6),
    Rgb888::new(0xc4, 0xca, 0xd3),
    Rgb888::new(0x85, 0x90, 0xa0),
    Rgb888::new(0xff, 0x8e, 0x94),
    Rgb888::new(0xb2, 0xe2, 0x92),
    Rgb888::new(0xff, 0xd9, 0x8a),
    Rgb888::new(0x93, 0xc7, 0xff),
    Rgb888::new(0xde, 0xab, 0xf4),
    Rgb888::new(0x84, 0xdb, 0xe2),
    Rgb888::new(0xff, 0xff, 0xff),
];

/// Levels of the colour cube's six steps, as every terminal has them.
const STEPS: [u8; 6] = [0x00, 0x5f, 0x87, 0xaf, 0xd7, 0xff];

/// The colours of a cell's text and ground.
#[must_use]
pub fn colours(look: Look) -> (Rgb888, Rgb888) {
    let text = match (look.text, look.style.contains(Style::BOLD)) {
        (Colour::Default, true) => Rgb888::WHITE,
        (Colour::Indexed(index @ 0..=7), true) => indexed(index + 8),
        (colour, _) => resolve(colour, TEXT),
    };
    let ground = resolve(look.ground, GROUND);
    let text = if look.style.contains(Style::FAINT) { between(text, ground) } else { text };
    let text = if look.style.contains(Style::HIDDEN) { ground } else { text };
    if look.style.contains(Style::INVERSE) { (ground, text) } else { (text, ground) }
}

fn resolve(colour: Colour, default: Rgb888) -> Rgb888 {
    match colour {
        Colour::Default => default,
        Colour::Indexed(index) => indexed(index),
        Colour::Rgb(red, green, blue) => Rgb888::new(red, green, blue),
    }
}

fn indexed(index: u8) -> Rgb888 {
    let step = |number: u8| STEPS.get(usize::from(number % 6)).copied().unwrap_or_default();
    match index {
        0..=15 => NAMED.get(usize::from(index)).copied().unwrap_or(TEXT),
        16..=231 => {
            let place = index - 16;
            Rgb888::new(step(place / 36), step(place / 6), step(place))
        }
        232.. => {
            let grey = 8 + (index - 232) * 10;
            Rgb888::new(grey, grey, grey)
        }
    }
}

/// Three parts of one colour and two of another.
fn between(text: Rgb888, ground: Rgb888) -> Rgb888 {
    let mix = |a: u8, b: u8| u8::try_from((u16::from(a) * 3 + u16::from(b) * 2) / 5).unwrap_or(a);
    Rgb888::new(mix(text.r(), ground.r()), mix(text.g(), ground.g()), mix(text.b(), ground.b()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, as the Web Content Accessibility Guidelines 2.1 define it.
    fn luminance(colour: Rgb888) -> f64 {
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(colour.r()) + 0.7152 * part(colour.g()) + 0.0722 * part(colour.b())
    }

    fn contrast(a: Rgb888, b: Rgb888) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        if a > b { a / b } else { b / a }
    }

    #[test]
    fn every_text_colour_can_be_read() {
        for index in 1..16 {
            let look = Look { text: Colour::Indexed(index), ..Look::default() };
            let (text, ground) = colours(look);
            assert!(contrast(text, ground) >= 4.5, "{index}: {}", contrast(text, ground));
        }
        let faint = Look { style: Style::FAINT, ..Look::default() };
        let (text, ground) = colours(faint);
        assert!(contrast(text, ground) >= 4.5, "faint: {}", contrast(text, ground));
    }

    #[test]
    fn the_cube_and_the_greys_are_everybodys() {
        assert_eq!(indexed(16), Rgb888::new(0, 0, 0));
        assert_eq!(indexed(196), Rgb888::new(0xff, 0, 0));
        assert_eq!(indexed(231), Rgb888::new(0xff, 0xff, 0xff));
        assert_eq!(indexed(110), Rgb888::new(0x87, 0xaf, 0xd7));
        assert_eq!(indexed(232), Rgb888::new(8, 8, 8));
        assert_eq!(indexed(255), Rgb888::new(238, 238, 238));
    }

    #[test]
    fn inverse_and_hidden() {
        let inverse = Look { style: Style::INVERSE, ..Look::default() };
        assert_eq!(colours(inverse), (GROUND, TEXT));
        let hidden = Look { style: Style::HIDDEN, ..Look::default() };
        assert_eq!(colours(hidden), (GROUND, GROUND));
    }
}
