//! Lists that are walked, in the processor's second cache: inside an object and between two.

use std::error::Error;
use std::hint::black_box;

use libd3os_object::fot::Rights;
use libd3os_object::mapping::Mapping;
use libd3os_object::view::View;
use libd3os_object::web::{LinkError, Opener, Web};
use libd3os_object::{Object, ObjectId, PPtr, Persist, TxError};
use std::sync::Arc;

use super::OURS;
use super::machine::{Machine, Medium};
use crate::Outcome;
use crate::records::mix;
use crate::timing::figure;

/// Nodes of a line each: 640 KB.
pub(crate) const NODES: usize = 10_000;

/// Steps that are measured.
pub(crate) const HOPS: u64 = 20_000_000;

/// A node.
#[derive(Clone, Copy, Persist)]
#[repr(C, align(64))]
struct Node {
    next: PPtr<Node>,
    rest: [u64; 7],
}

/// From which node to which: one circle through all of them, in no order that a prefetcher knows.
/// Neighbours are an even and an odd number.
pub(crate) fn links() -> impl Iterator<Item = (usize, usize)> {
    let mut even: Vec<usize> = (0..NODES).step_by(2).collect();
    let mut odd: Vec<usize> = (1..NODES).step_by(2).collect();
    even[1..].sort_by_key(|node| mix(*node as u64));
    odd.sort_by_key(|node| mix(*node as u64));
    let circle: Vec<usize> = even.into_iter().zip(odd).flat_map(|(one, two)| [one, two]).collect();
    let after: Vec<usize> = circle.iter().copied().cycle().skip(1).take(NODES).collect();
    circle.into_iter().zip(after)
}

pub(super) fn measure(machine: &Machine) -> Outcome {
    inside(machine)?;
    between(machine)
}

fn inside(machine: &Machine) -> Outcome {
    let mut session = machine.session()?;
    let object = machine.object(0, &PPtr::<Node>::NULL)?;
    let first = session.tx(|tx| {
        let mut editor = tx.edit(&object)?;
        let first: PPtr<Node> = editor.alloc_bytes(64 * NODES as u64, 64)?.cast();
        for (from, to) in links() {
            let node = Node { next: first.element(to as u64), rest: [0; 7] };
            editor.set(first.element(from as u64), node)?;
        }
        Ok::<_, TxError>(first)
    })?;
    let guard = session.read(&object)?;
    let walk = |hops| -> Result<(), Box<dyn Error>> {
        let mut at = first;
        for _ in 0..hops {
            at = guard.get(at)?.next;
        }
        black_box(at);
        Ok(())
    };
    walk(NODES as u64)?;
    figure(OURS, "hop", HOPS, || walk(HOPS))
}

/// The two objects know each other.
struct Both([Object<u64, Medium>; 2]);

impl Opener<Medium> for Both {
    fn open(&self, id: ObjectId, _rights: Rights) -> Result<Arc<Mapping<Medium>>, LinkError> {
        let mut mappings = self.0.iter().map(Object::mapping);
        mappings.find(|mapping| mapping.id() == id).cloned().ok_or(LinkError::Dangling { id })
    }

    fn resolve(&self, _name: &str) -> Result<(ObjectId, u64), LinkError> {
        Err(LinkError::Unresolved)
    }
}

/// Even nodes lie in one object, odd ones in the other: every pointer crosses.
fn between(machine: &Machine) -> Outcome {
    let mut session = machine.session()?;
    let both = Both([machine.object(0, &0_u64)?, machine.object(1, &0_u64)?]);
    let [one, two] = &both.0;
    let first = session.tx(|tx| {
        let mut first = [PPtr::<Node>::NULL; 2];
        let mut entries = [0; 2];
        for (number, (from, to)) in [(one, two), (two, one)].into_iter().enumerate() {
            let mut editor = tx.edit(from)?;
            first[number] = editor.alloc_bytes(64 * NODES as u64 / 2, 64)?.cast();
            entries[number] = editor.link(to.mapping().id(), Rights::READ)?;
        }
        for (from, to) in links() {
            let (here, there) = (from % 2, to % 2);
            let offset = first[there].element(to as u64 / 2).offset();
            let node = Node { next: PPtr::foreign(entries[here], offset), rest: [0; 7] };
            tx.edit(&both.0[here])?.set(first[here].element(from as u64 / 2), node)?;
        }
        Ok::<_, TxError>(first[0])
    })?;
    session.tx(|tx| tx.edit(one)?.set(one.base(), first.bits()).map_err(TxError::from))?;
    let web = Web::new(&session, &both);
    let base = web.base(one)?;
    let start = base.follow(PPtr::<Node>::from_bits(*base.get()?))?;
    let walk = |hops| -> Result<(), Box<dyn Error>> {
        let mut at = start;
        for _ in 0..hops {
            at = at.follow(at.get()?.next)?;
        }
        black_box(at.object());
        Ok(())
    };
    walk(NODES as u64)?;
    figure(OURS, "hop to another object", HOPS, || walk(HOPS))
}
