//! What an object consists of, for people: its pages, its table of other objects, and the pointers in it.
//!
//! Pointers are found by the description of the base's type, from the base on: through structures and
//! arrays, and through each pointer to what it leads to, once. Where a collection keeps an array of
//! which its type says only where it begins, the first element is looked at, and no more than
//! [`MOST_POINTERS`] are listed. Nothing here trusts what is read.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::fot::{self, Entry};
use crate::heap::{self, Area};
use crate::object::BASE;
use crate::persist::{Description, Kind};
use crate::pointer::PPtr;
use crate::tx::TxError;
use crate::view::View;

/// So many areas are listed at most.
pub const MOST_AREAS: usize = 1024;
/// So many pointers are listed at most.
pub const MOST_POINTERS: usize = 256;
/// So many elements of an array inside a value are looked at.
const MOST_ELEMENTS: u64 = 32;
/// So many values are looked at: a hostile description has many without pointers.
const MOST_VALUES: usize = 4096;

/// What an object consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMap {
    /// Its size in bytes, guard page included.
    pub bytes: u64,
    /// Pages of its heap, in order.
    pub areas: Vec<Area>,
    /// What its table says of other objects, by number.
    pub entries: Vec<(u32, Entry)>,
    /// Pointers in it that are not null.
    pub pointers: Vec<Pointer>,
    /// Whether there are more areas or pointers than are listed.
    pub more: bool,
}

/// A pointer in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Where it is.
    pub at: u64,
    /// The way to it from the base: `head.next.value`.
    pub name: String,
    /// The entry of the table for other objects, or 0.
    pub entry: u32,
    /// Where it leads to there.
    pub to: u64,
}

/// What the object that is viewed consists of; without a description of its base, no pointers are found.
///
/// # Errors
/// What describes the heap or the table is damaged.
pub fn map(view: &impl View, description: Option<&Description>) -> Result<ObjectMap, TxError> {
    let areas = heap::areas(view, MOST_AREAS)?;
    let entries = fot::entries(view)?;
    let (pointers, more) = description.map_or((Vec::new(), false), |known| {
        let mut walk = Walk::new(view, known);
        let is_whole = walk.go();
        (walk.found, !is_whole)
    });
    let more = more || areas.len() >= MOST_AREAS;
    Ok(ObjectMap { bytes: view.end(), areas, entries, pointers, more })
}

/// A value that is to be looked at.
struct Value {
    of: u16,
    at: u64,
    name: String,
}

struct Walk<'a, V> {
    view: &'a V,
    description: &'a Description,
    due: VecDeque<Value>,
    seen: BTreeSet<(u64, u16)>,
    found: Vec<Pointer>,
}

impl<'a, V: View> Walk<'a, V> {
    fn new(view: &'a V, description: &'a Description) -> Self {
        let base = Value { of: description.root_number(), at: BASE.offset(), name: String::new() };
        let seen = BTreeSet::from([(base.at, base.of)]);
        let (due, found) = (VecDeque::from([base]), Vec::new());
        Self { view, description, due, seen, found }
    }

    /// Looks at all values, or at as many as are too many; tells which.
    fn go(&mut self) -> bool {
        for _ in 0..MOST_VALUES {
            let Some(value) = self.due.pop_front() else { return true };
            if !self.look(value) {
                return false;
            }
        }
        false
    }

    fn look(&mut self, Value { of, at, name }: Value) -> bool {
        let description = self.description;
        match &description.get(of).kind {
            Kind::Unsigned | Kind::Signed | Kind::Float => {}
            Kind::Array { of, length } => {
                let bytes = description.get(*of).bytes;
                self.due.extend((0..(*length).min(MOST_ELEMENTS)).map(|index| {
                    let at = at.saturating_add(index.saturating_mul(bytes));
                    Value { of: *of, at, name: format!("{name}[{index}]") }
                }));
            }
            Kind::Structure(members) => self.due.extend(members.iter().map(|member| {
                let at = at.saturating_add(member.at);
                Value { of: member.of, at, name: joined(&name, &member.name) }
            })),
            Kind::Pointer { to } => return self.follow(*to, at, name),
        }
        true
    }

    /// Notes a pointer, and what it leads to in this object; false if there is no more room.
    fn follow(&mut self, of: u16, at: u64, name: String) -> bool {
        let Ok(bits) = self.view.get(PPtr::<u64>::local(at)) else { return true };
        let pointer = PPtr::<u8>::from_bits(*bits);
        if pointer.is_null() {
            return true;
        }
        if self.found.len() == MOST_POINTERS {
            return false;
        }
        let (entry, to) = (pointer.entry(), pointer.offset());
        self.found.push(Pointer { at, name: name.clone(), entry, to });
        let bytes = self.description.get(of).bytes;
        let is_here = entry == 0 && self.view.slice::<u8>(PPtr::local(to), bytes).is_ok();
        if is_here && self.seen.insert((to, of)) {
            self.due.push_back(Value { of, at: to, name });
        }
        true
    }
}

fn joined(name: &str, member: &str) -> String {
    if name.is_empty() { member.into() } else { format!("{name}.{member}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::{PString, PVec};
    use crate::field;
    use crate::fot::Rights;
    use crate::heap::Purpose;
    use crate::medium::Medium;
    use crate::sim::Domain;
    use crate::testing::{Machine, Plan, id};
    use crate::{Object, Persist, Session};

    #[derive(Default, Persist)]
    #[repr(C)]
    struct Node {
        next: PPtr<Node>,
        name: PString,
        others: PVec<PPtr<Node>>,
    }

    fn machine() -> Machine {
        let plan = Plan { domain: Domain::Adr, logs: 1, log_lines: 200, objects: 1, pages: 8 };
        Machine::new(plan, |_| Node::default())
    }

    fn mapped<M: Medium>(session: &Session<M>, object: &Object<Node, M>) -> ObjectMap {
        let guard = session.read(object).expect("nobody writes");
        map(&guard, Some(&Description::of::<Node>())).expect("whole")
    }

    #[test]
    fn an_object_without_pointers_has_its_base() {
        let machine = machine();
        let map = mapped(&machine.session(0), &machine.object::<Node>(0, 0));
        assert_eq!((map.entries, map.pointers, map.more), (vec![], vec![], false));
        let base = Area { page: 2, pages: 1, purpose: Purpose::Large };
        let free = Area { page: 3, pages: 6, purpose: Purpose::Free };
        assert_eq!((map.bytes, map.areas), (9 * 4096, vec![base, free]));
    }

    #[test]
    fn pointers_have_names_and_lead_somewhere() {
        let machine = machine();
        let (mut session, object) = (machine.session(0), machine.object::<Node>(0, 0));
        let tx: Result<u64, TxError> = session.tx(|tx| {
            let mut editor = tx.edit(&object)?;
            let base = object.base();
            field!(base, Node, name).set(&mut editor, "a text")?;
            let second = editor.alloc(Node::default())?;
            editor.set(field!(base, Node, next), second)?;
            // Round, and out of the object.
            editor.set(field!(second, Node, next), base)?;
            let entry = editor.link(id(5), Rights::READ)?;
            field!(second, Node, others).push(&mut editor, PPtr::foreign(entry, 0x2040))?;
            Ok(second.offset())
        });
        let second = tx.expect("room");
        let ObjectMap { areas, entries, pointers, more, .. } = mapped(&session, &object);
        let names: Vec<_> = pointers.iter().map(|known| known.name.as_str()).collect();
        let expected =
            ["next", "next.next", "name.bytes.elements", "next.others.elements"].map(String::from);
        assert_eq!(names[..4], expected);
        let [next, round, _, _, out] = &pointers[..] else { panic!("{pointers:?}") };
        assert_eq!((next.to, round.at, round.to), (second, second, BASE.offset()));
        assert_eq!((&*out.name, out.entry, out.to), ("next.others.elements", 1, 0x2040));
        assert_eq!((entries.len(), more), (1, false));
        let small = |area: &Area| matches!(area.purpose, Purpose::Small { taken: 1, .. });
        assert!(areas.iter().any(small), "{areas:?}");
    }

    #[test]
    fn what_leads_nowhere_is_listed_and_not_followed() {
        let machine = machine();
        let (mut session, object) = (machine.session(0), machine.object::<Node>(0, 0));
        let next = field!(object.base(), Node, next);
        let tx: Result<(), TxError> =
            session.tx(|tx| Ok(tx.edit(&object)?.set(next, PPtr::local(1 << 30))?));
        tx.expect("a word");
        let pointers = mapped(&session, &object).pointers;
        let nowhere = Pointer { at: BASE.offset(), name: "next".into(), entry: 0, to: 1 << 30 };
        assert_eq!(pointers, [nowhere]);
    }
}
