//! SGR, "select graphic rendition" (ECMA-48 8.3.117): from a control sequence's parameters to a
//! [`Look`]. Colours of 256 and of 2^24 come as `38;5;N` and `38;2;R;G;B`, or with colons
//! (ISO 8613-6).

use vte::Params;

use crate::cell::{Colour, Look, Style};

/// Changes `look` as the parameters say. What follows a colour that cannot be read is left out.
pub fn apply(look: &mut Look, parameters: &Params) {
    if parameters.is_empty() {
        *look = Look::default();
    }
    let mut rest = parameters.iter();
    while let Some(parameter) = rest.next() {
        let Some((&code, arguments)) = parameter.split_first() else { continue };
        if !matches!(code, 38 | 48) {
            simple(look, code);
            continue;
        }
        let mut following = rest.by_ref().map(|parameter| parameter.first().copied().unwrap_or(0));
        let colour = match arguments {
            [] => colour(&mut following),
            _ => colour(&mut arguments.iter().copied()),
        };
        let Some(colour) = colour else { return };
        *if code == 38 { &mut look.text } else { &mut look.ground } = colour;
    }
}

/// The colour that `5;N` or `2;R;G;B` names.
fn colour(numbers: &mut impl Iterator<Item = u16>) -> Option<Colour> {
    let kind = numbers.next()?;
    let mut part = || u8::try_from(numbers.next()?).ok();
    match kind {
        5 => Some(Colour::Indexed(part()?)),
        2 => Some(Colour::Rgb(part()?, part()?, part()?)),
        _ => None,
    }
}

fn simple(look: &mut Look, code: u16) {
    // The ranges below end before 256.
    let index = |first: u16| Colour::Indexed(u8::try_from(code - first).unwrap_or(0));
    match code {
        0 => *look = Look::default(),
        1 => {
            look.style.remove(Style::FAINT);
            look.style.insert(Style::BOLD);
        }
        2 => {
            look.style.remove(Style::BOLD);
            look.style.insert(Style::FAINT);
        }
        3 => look.style.insert(Style::ITALIC),
        4 => look.style.insert(Style::UNDERLINE),
        7 => look.style.insert(Style::INVERSE),
        8 => look.style.insert(Style::HIDDEN),
        9 => look.style.insert(Style::STRUCK),
        22 => look.style.remove(Style::BOLD | Style::FAINT),
        23 => look.style.remove(Style::ITALIC),
        24 => look.style.remove(Style::UNDERLINE),
        27 => look.style.remove(Style::INVERSE),
        28 => look.style.remove(Style::HIDDEN),
        29 => look.style.remove(Style::STRUCK),
        30..=37 => look.text = index(30),
        39 => look.text = Colour::Default,
        40..=47 => look.ground = index(40),
        49 => look.ground = Colour::Default,
        90..=97 => look.text = index(82),
        100..=107 => look.ground = index(92),
        _ => {}
    }
}
