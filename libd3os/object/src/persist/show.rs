//! Prints values of types that this program was not compiled with.

use core::fmt;

use super::description::{Described, Description, Kind};

/// As many elements of an array are printed; of the rest only how many there are.
const SHOWN_ELEMENTS: u64 = 32;

/// A value that is printed by its type's description: `{:?}` in one line, `{:#?}` in many.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    description: &'a Description,
    described: &'a Described,
    bytes: &'a [u8],
}

impl Description {
    /// The value with these bytes, to be printed; nothing if they are not as many as the type has.
    #[must_use]
    pub fn show<'a>(&'a self, bytes: &'a [u8]) -> Option<Shown<'a>> {
        let described = self.root();
        (bytes.len() as u64 == described.bytes).then_some(Shown {
            description: self,
            described,
            bytes,
        })
    }
}

impl<'a> Shown<'a> {
    /// A part of this value. It is within, as a checked description says nothing else.
    fn part(&self, number: u16, at: u64) -> Self {
        let described = self.description.get(number);
        let part = |at| self.bytes.get(at..)?.get(..usize::try_from(described.bytes).ok()?);
        let bytes: &'a [u8] = usize::try_from(at).ok().and_then(part).unwrap_or_default();
        Self { description: self.description, described, bytes }
    }

    fn unsigned(&self) -> u128 {
        self.bytes.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
    }

    fn signed(&self) -> i128 {
        let unused = 128 - 8 * u32::try_from(self.bytes.len()).unwrap_or(16);
        self.unsigned().cast_signed().checked_shl(unused).map_or(0, |number| number >> unused)
    }

    fn float(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bytes.first_chunk(), self.bytes.first_chunk()) {
            (_, Some(eight)) => fmt::Debug::fmt(&f64::from_le_bytes(*eight), f),
            (Some(four), None) => fmt::Debug::fmt(&f32::from_le_bytes(*four), f),
            (None, None) => Ok(()),
        }
    }

    /// Bytes as a text, without the zeros that fill it up; everything else as a list.
    fn array(&self, f: &mut fmt::Formatter<'_>, of: u16, length: u64) -> fmt::Result {
        let element = self.description.get(of);
        if element.bytes == 1 && matches!(element.kind, Kind::Unsigned) {
            let text = self.bytes.len() - self.bytes.iter().rev().take_while(|b| **b == 0).count();
            return write!(f, "\"{}\"", self.bytes[..text].escape_ascii());
        }
        let shown = length.min(SHOWN_ELEMENTS);
        let elements = (0..shown).map(|index| self.part(of, index * element.bytes));
        let mut list = f.debug_list();
        list.entries(elements);
        if shown < length { list.finish_non_exhaustive() } else { list.finish() }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.described.kind {
            Kind::Unsigned => self.unsigned().fmt(f),
            Kind::Signed => self.signed().fmt(f),
            Kind::Float => self.float(f),
            Kind::Array { of, length } => self.array(f, *of, *length),
            Kind::Pointer { .. } if self.unsigned() == 0 => f.write_str("null"),
            Kind::Pointer { to } => {
                write!(f, "{:#x} → {}", self.unsigned(), self.description.name(*to))
            }
            Kind::Structure(members) => {
                let mut structure = f.debug_struct(&self.described.name);
                for member in members {
                    structure.field(&member.name, &self.part(member.of, member.at));
                }
                structure.finish()
            }
        }
    }
}
