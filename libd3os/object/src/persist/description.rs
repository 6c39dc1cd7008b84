//! A type's description, which outlives the program that has the type.
//!
//! A store keeps descriptions beside its objects, so that a shell can print an object of a type that
//! it was not compiled with. [`Description::encode`] is the form that is kept (postcard), and the
//! [`Fingerprint`] is a hash of it: the same type has the same fingerprint in every compilation, and
//! a change of anything that is reachable from it (a name, an order, a size, what a pointer leads to)
//! is a change of the fingerprint.
//!
//! Types are listed once each, and before those that contain them; pointers lead anywhere. So a
//! description is finite though types are recursive, and whoever follows containment ends.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::TypeId;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{Persist, Type, layout};

/// No description has more types.
const MOST_TYPES: usize = 1024;
/// No encoded description has more bytes.
const MOST_BYTES: usize = 64 * 1024;
/// Types contain each other no deeper.
const MOST_DEPTH: u8 = 32;

/// A type's position in a description.
pub type TypeNumber = u16;

/// All that is needed to read a type's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Which of the types is the one described.
    root: TypeNumber,
    types: Vec<Described>,
}

/// A type in a description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// Its name, without path and parameters.
    pub name: String,
    /// The size of its values.
    pub bytes: u64,
    /// Their alignment in bytes.
    pub align: u8,
    /// What they consist of.
    pub kind: Kind,
}

/// What a described type consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A number without a sign.
    Unsigned,
    /// A number in two's complement.
    Signed,
    /// A number of IEEE 754.
    Float,
    /// So many of one type.
    Array {
        /// Each element.
        of: TypeNumber,
        /// How many.
        length: u64,
    },
    /// Fields, one after the other.
    Structure(Vec<Member>),
    /// A persistent pointer.
    Pointer {
        /// What it leads to.
        to: TypeNumber,
    },
}

/// A field of a described structure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name; a number in a tuple structure.
    pub name: String,
    /// Where it begins, in bytes from the structure's beginning.
    pub at: u64,
    /// Its type.
    pub of: TypeNumber,
}

/// These bytes are no description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// The encoding itself is wrong, or too long.
    #[error("not an encoded description")]
    Malformed,
    /// There is no such type in the description, or it comes after one that contains it.
    #[error("type {0} refers to one that does not exist or comes later")]
    Reference(TypeNumber),
    /// A type's size is not the sum of its parts, or none that its kind can have.
    #[error("type {0} has an impossible size or alignment")]
    Size(TypeNumber),
    /// Types contain each other too deeply.
    #[error("type {0} is nested too deeply")]
    Depth(TypeNumber),
}

/// The name of a type: 64 bits of hash of its [`Description`].
///
/// It tells types apart that differ by accident: by mistake or by age. It need not withstand who
/// looks for a collision, as it is never believed: whatever the bytes are, they are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a type.
    #[must_use]
    pub fn of<T: Persist>() -> Self {
        Description::of::<T>().fingerprint()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Description {
    /// Describes a type.
    ///
    /// # Panics
    /// More than 1,024 types, or 32 deep: a program that is found out by its first test.
    #[must_use]
    pub fn of<T: Persist>() -> Self {
        let mut survey = Survey::default();
        let root = survey.visit(layout::describe::<T>());
        while let Some(pointee) = survey.pointees.pop_front() {
            survey.visit(pointee);
        }
        let description = Self { root, types: survey.finish() };
        description.check().expect("a type that is too large to be described");
        description
    }

    /// The form in which descriptions are kept.
    ///
    /// # Panics
    /// Never: what there is of it can be encoded.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("numbers, texts and lists")
    }

    /// Reads a kept description, which whoever may write there has written.
    ///
    /// # Errors
    /// See [`DescriptionError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DescriptionError> {
        if bytes.len() > MOST_BYTES {
            return Err(DescriptionError::Malformed);
        }
        match postcard::take_from_bytes(bytes) {
            Ok((description, [])) => Self::check(&description).map(|()| description),
            _ => Err(DescriptionError::Malformed),
        }
    }

    /// The name of the described type, for errors that compare two.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(fnv1a(&self.encode()))
    }

    /// The described type.
    #[must_use]
    pub fn root(&self) -> &Described {
        self.get(self.root)
    }

    /// The described type's number.
    #[must_use]
    pub const fn root_number(&self) -> TypeNumber {
        self.root
    }

    /// A type's name as it would be written, but for parameters: `[u8; 4]`, `PPtr<Node>`.
    pub(super) fn name(&self, number: TypeNumber) -> Name<'_> {
        Name { description: self, described: self.get(number) }
    }

    /// The type with this number, which comes from this description.
    ///
    /// # Panics
    /// It does not.
    #[must_use]
    pub fn get(&self, number: TypeNumber) -> &Described {
        &self.types[usize::from(number)]
    }

    fn check(&self) -> Result<(), DescriptionError> {
        let there = |number| usize::from(number) < self.types.len();
        if self.types.len() > MOST_TYPES || !there(self.root) {
            return Err(DescriptionError::Malformed);
        }
        let mut depths = Vec::with_capacity(self.types.len());
        for (number, described) in (0..).zip(&self.types) {
            if let Kind::Pointer { to } = described.kind
                && !there(to)
            {
                return Err(DescriptionError::Reference(number));
            }
            depths.push(self.depth(number, described, &depths)?);
            self.check_size(number, described)?;
        }
        Ok(())
    }

    /// How deep the type's parts are nested; `depths` are those of the types before it.
    fn depth(
        &self,
        number: TypeNumber,
        described: &Described,
        depths: &[u8],
    ) -> Result<u8, DescriptionError> {
        let mut deepest = 0;
        for part in described.parts() {
            let depth = depths.get(usize::from(part));
            deepest = deepest.max(*depth.ok_or(DescriptionError::Reference(number))? + 1);
        }
        if deepest > MOST_DEPTH { Err(DescriptionError::Depth(number)) } else { Ok(deepest) }
    }

    /// That there is not a byte more or less than the parts have. The parts exist.
    fn check_size(
        &self,
        number: TypeNumber,
        described: &Described,
    ) -> Result<(), DescriptionError> {
        let bytes = described.bytes;
        let possible = match &described.kind {
            Kind::Unsigned | Kind::Signed => matches!(bytes, 1 | 2 | 4 | 8 | 16),
            Kind::Float => matches!(bytes, 4 | 8),
            Kind::Pointer { .. } => bytes == 8,
            Kind::Array { of, length } => self.get(*of).bytes.checked_mul(*length) == Some(bytes),
            Kind::Structure(members) => self.end_of(members) == Some(bytes),
        };
        let aligned = described.align.is_power_of_two()
            && usize::from(described.align) <= layout::MOST_ALIGNMENT;
        if possible && aligned { Ok(()) } else { Err(DescriptionError::Size(number)) }
    }

    /// Where the last of the members ends, if they follow each other.
    fn end_of(&self, members: &[Member]) -> Option<u64> {
        members.iter().try_fold(0u64, |end, member| {
            if member.at == end { end.checked_add(self.get(member.of).bytes) } else { None }
        })
    }
}

/// The type itself, without what else is described: `Point { x: u32 @0, y: u32 @4 }`.
impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name(self.root).fmt(f)?;
        let Kind::Structure(members) = &self.root().kind else { return Ok(()) };
        for (index, Member { name, at, of }) in members.iter().enumerate() {
            let before = if index == 0 { " {" } else { "," };
            write!(f, "{before} {name}: {} @{at}", self.name(*of))?;
        }
        f.write_str(if members.is_empty() { " {}" } else { " }" })
    }
}

/// See [`Description::name`].
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    description: &'a Description,
    described: &'a Described,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Described { name, kind, .. } = self.described;
        match kind {
            Kind::Array { of, length } => write!(f, "[{}; {length}]", self.description.name(*of)),
            // Of a pointer to a pointer, which may be itself, no more is said.
            Kind::Pointer { to } => write!(f, "{name}<{}>", self.description.get(*to).name),
            _ => f.write_str(name),
        }
    }
}

impl Described {
    /// The types of which values are contained in this type's.
    pub fn parts(&self) -> impl Iterator<Item = TypeNumber> {
        let (element, members) = match &self.kind {
            Kind::Array { of, .. } => (Some(*of), [].as_slice()),
            Kind::Structure(members) => (None, members.as_slice()),
            _ => (None, [].as_slice()),
        };
        element.into_iter().chain(members.iter().map(|member| member.of))
    }
}

/// The types found so far, on the way from one to all that can be reached.
#[derive(Default)]
struct Survey {
    found: Vec<Found>,
    /// To be visited when the type at hand is complete, so that pointers end nothing in a circle.
    pointees: VecDeque<&'static Type>,
}

struct Found {
    id: TypeId,
    described: Described,
    /// What it leads to, if it is a pointer.
    pointee: Option<TypeId>,
}

impl Survey {
    fn visit(&mut self, ty: &'static Type) -> TypeNumber {
        if let Some(number) = self.number(ty.id) {
            return number;
        }
        let mut pointee = None;
        let kind = match ty.shape {
            layout::Shape::Unsigned => Kind::Unsigned,
            layout::Shape::Signed => Kind::Signed,
            layout::Shape::Float => Kind::Float,
            layout::Shape::Array { of, length } => {
                Kind::Array { of: self.visit(of()), length: length as u64 }
            }
            layout::Shape::Structure(fields) => {
                Kind::Structure(fields.iter().map(|field| self.member(field)).collect())
            }
            layout::Shape::Pointer { to } => {
                pointee = Some(to().id);
                self.pointees.push_back(to());
                Kind::Pointer { to: 0 }
            }
        };
        let described = Described {
            name: ty.name.into(),
            bytes: ty.bytes as u64,
            align: u8::try_from(ty.align).unwrap_or(u8::MAX),
            kind,
        };
        self.found.push(Found { id: ty.id, described, pointee });
        self.number(ty.id).expect("the last one found")
    }

    fn member(&mut self, field: &layout::Field) -> Member {
        Member { name: field.name.into(), at: field.at as u64, of: self.visit((field.of)()) }
    }

    fn number(&self, id: TypeId) -> Option<TypeNumber> {
        let index = self.found.iter().position(|found| found.id == id)?;
        Some(TypeNumber::try_from(index).expect("so many types"))
    }

    /// All types, now that those are numbered to which pointers lead.
    fn finish(mut self) -> Vec<Described> {
        for index in 0..self.found.len() {
            if let Some(to) = self.found[index].pointee.and_then(|id| self.number(id)) {
                self.found[index].described.kind = Kind::Pointer { to };
            }
        }
        self.found.into_iter().map(|found| found.described).collect()
    }
}

/// The hash of Fowler, Noll and Vo: stable, and small enough to be seen whole.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
