//! The Foreign Object Table against a model with power lost at every instant, and pointers through it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fot::{self, Entry, FotError, Rights, Target};
use crate::heap;
use crate::mapping::Mapping;
use crate::sim::{Domain, Limits};
use crate::testing::{Expected, Machine, Plan, TestMedium, id, steps, watch};
use crate::web::{LinkError, Opener, Web};
use crate::{ObjectId, PPtr, TxError};

fn plan(domain: Domain) -> Plan {
    Plan { domain, logs: 1, log_lines: 60, objects: 1, pages: 8 }
}

type Table = Vec<(u32, Entry)>;

fn table(machine: &Machine) -> Result<Table, String> {
    let session = machine.session(0);
    let object = machine.object::<u64>(0, 0);
    let guard = session.read(&object).map_err(|busy| busy.to_string())?;
    let blocks = heap::census(&guard).map_err(|damage| damage.to_string())?.blocks.len();
    let entries = fot::entries(&guard).map_err(|error| error.to_string())?;
    let names = entries.iter().filter(|(_, entry)| matches!(entry.target, Target::Name { .. }));
    let expected = 1 + names.count();
    if blocks == expected { Ok(entries) } else { Err(format!("{blocks} blocks, not {expected}")) }
}

#[test]
fn entries_are_there_or_not() {
    let images: u64 = [Domain::Adr, Domain::Eadr].into_iter().map(entries_are_changed).sum();
    assert!(images > 3_000, "{images}");
}

fn entries_are_changed(domain: Domain) -> u64 {
    let machine = Machine::new(plan(domain), |_| 0_u64);
    let mut state = Table::new();
    let expected = Expected::new(state.clone());
    let limits = Limits { product: 64, random: 16, ..Limits::default() };
    let watching = watch(&machine, limits, &expected, table);
    let mut session = machine.session(0);
    let object = machine.object::<u64>(0, 0);
    let mut free = Vec::new();
    let mut used = 0;
    steps(11, 90, |random| {
        let ends = !state.is_empty() && random.below(3) == 0;
        let mut next = state.clone();
        if ends {
            let (number, _) = next.remove(random.below(next.len()));
            expected.begin(next.clone());
            session.tx(|tx| tx.edit(&object)?.unlink(number)).expect("it is there");
            free.push(number);
        } else {
            let number = free.pop().unwrap_or_else(|| {
                used += 1;
                used
            });
            let entry = any_entry(random.word());
            next.push((number, entry.clone()));
            next.sort_by_key(|(number, _)| *number);
            expected.begin(next.clone());
            let made = session.tx(|tx| make(&mut tx.edit(&object)?, &entry));
            assert_eq!(made, Ok(number));
        }
        expected.commit();
        state = next;
    });
    watching.finish("table")
}

fn any_entry(word: u64) -> Entry {
    let rights = Rights::from_bits(word.to_le_bytes()[1]);
    let target = if word.is_multiple_of(3) {
        Target::Name { name: format!("lib/{word}"), version: word }
    } else {
        Target::Object(ObjectId::new(u128::from(word) << 40))
    };
    Entry { target, rights }
}

fn make(editor: &mut crate::Editor<'_, u64>, entry: &Entry) -> Result<u32, TxError> {
    match &entry.target {
        Target::Object(id) => editor.link(*id, entry.rights),
        Target::Name { name, version } => editor.link_name(name, entry.rights, *version),
    }
}

#[test]
fn a_table_may_have_many_pages_and_moves_when_the_object_grows() {
    let machine = Machine::new(Plan { pages: 24, log_lines: 4000, ..plan(Domain::Adr) }, |_| 0_u64);
    let mut session = machine.session(0);
    let object = machine.object::<u64>(0, 0);
    for number in 1..=200_u32 {
        let made =
            session.tx(|tx| tx.edit(&object)?.link(ObjectId::new(number.into()), Rights::READ));
        assert_eq!(made, Ok(number));
    }
    session.tx(|tx| tx.edit(&object)?.grow()).expect("nothing to do");
    let guard = session.read(&object).expect("free");
    assert_eq!(fot::entries(&guard).expect("whole").len(), 200);
    let free = heap::census(&guard).expect("whole").free_pages;
    assert_eq!(free, 24 - 1 - 1 - 4, "header, base, table");
    assert_eq!(fot::entry(&guard, 201), Err(FotError::Missing { entry: 201 }));
    assert_eq!(fot::entry(&guard, 0), Err(FotError::Missing { entry: 0 }));
}

#[test]
fn an_object_that_has_grown_uses_its_new_pages() {
    use crate::control::ControlRef;
    use crate::medium::Medium;
    use crate::object::{self, Object};
    use crate::session::Session;
    use crate::sim::Sim;
    let sim = Sim::new(Domain::Adr, 64 * 4096);
    let log = sim.medium(0).part(0, 32 * 4096);
    let medium = |pages: usize| sim.medium(0).part(32 * 4096, pages * 4096);
    object::create(&medium(4), id(0), &7_u64).expect("large enough");
    Session::format_log(&log).expect("large enough");
    let mut session = crate::testing::open(0, log);
    let open = |pages: usize, version| {
        let mapping = crate::testing::map(medium(pages), ControlRef::own(version));
        Object::<u64, _>::open(Arc::new(mapping)).expect("of this type")
    };
    let small = open(4, 0);
    let linked = session.tx(|tx| tx.edit(&small)?.link(id(5), Rights::READ)).expect("room");
    let full = session.tx(|tx| tx.edit(&small)?.alloc_bytes(8000, 8));
    assert!(matches!(full, Err(TxError::Heap(_))), "{full:?}");
    session.settle().expect("free");
    let large = open(16, 1);
    let block = session.tx(|tx| {
        let mut editor = tx.edit(&large)?;
        editor.grow()?;
        editor.alloc_bytes(8000, 8)
    });
    block.expect("room");
    let guard = session.read(&large).expect("free");
    assert_eq!(fot::entry(&guard, linked).expect("moved").target, Target::Object(id(5)));
    assert_eq!(heap::census(&guard).expect("whole").blocks.len(), 2);
}

/// Knows the objects of a machine, and what names mean.
struct Names {
    objects: Vec<Arc<Mapping<TestMedium>>>,
    means: RefCell<BTreeMap<String, (ObjectId, u64)>>,
}

impl Opener<TestMedium> for Names {
    fn open(&self, id: ObjectId, _: Rights) -> Result<Arc<Mapping<TestMedium>>, LinkError> {
        let found = self.objects.iter().find(|mapping| mapping.id() == id);
        found.cloned().ok_or(LinkError::Dangling { id })
    }

    fn resolve(&self, name: &str) -> Result<(ObjectId, u64), LinkError> {
        self.means.borrow().get(name).copied().ok_or(LinkError::Unresolved)
    }
}

/// A value, and where the next one is.
type Node = [u64; 2];

#[test]
fn pointers_lead_from_object_to_object() {
    let plan = Plan { objects: 3, ..plan(Domain::Adr) };
    let machine = Machine::new(plan, |number| [number as u64, 0] as Node);
    let objects = [0, 1, 2].map(|number| machine.object::<Node>(number, 0));
    let mut session = machine.session(0);
    let base = objects[0].base().offset();
    let point = |session: &mut crate::Session<TestMedium>, target: &Target, rights| {
        let entry = Entry { target: target.clone(), rights };
        let set = session.tx(|tx| {
            let mut editor = tx.edit(&objects[0])?;
            let number = match &entry.target {
                Target::Object(id) => editor.link(*id, entry.rights)?,
                Target::Name { name, version } => editor.link_name(name, entry.rights, *version)?,
            };
            editor.modify_base()?[1] = PPtr::<Node>::foreign(number, base).bits();
            Ok::<_, TxError>(())
        });
        set.expect("room");
    };
    let names = Names {
        objects: objects.iter().map(|object| Arc::clone(object.mapping())).collect(),
        means: RefCell::new(BTreeMap::from([("lib".to_owned(), (id(1), 4))])),
    };
    let next = |session: &crate::Session<TestMedium>| {
        let web = Web::new(session, &names);
        let first = web.base(&objects[0])?;
        let found = first.follow(PPtr::<Node>::from_bits(first.get()?[1]))?;
        let again = first.follow(PPtr::<Node>::from_bits(first.get()?[1]))?;
        assert_eq!(found.object(), again.object());
        Ok::<_, LinkError>(found.get()?[0])
    };
    let name = |version| Target::Name { name: "lib".to_owned(), version };
    point(&mut session, &Target::Object(id(2)), Rights::READ);
    assert_eq!(next(&session), Ok(2));
    point(&mut session, &name(3), Rights::READ);
    assert_eq!(next(&session), Ok(1));
    names.means.borrow_mut().insert("lib".to_owned(), (id(2), 5));
    assert_eq!(next(&session), Ok(2), "the next web sees what the name means now");
    point(&mut session, &name(6), Rights::READ);
    assert_eq!(next(&session), Err(LinkError::Outdated { version: 5, wanted: 6 }));
    point(&mut session, &Target::Object(id(9)), Rights::READ);
    assert_eq!(next(&session), Err(LinkError::Dangling { id: id(9) }));
    point(&mut session, &Target::Object(id(2)), Rights::WRITE);
    assert_eq!(next(&session), Err(LinkError::NotReadable));
    session.tx(|tx| tx.edit(&objects[0])?.unlink(5)).expect("the last one");
    assert_eq!(next(&session), Err(LinkError::Entry(FotError::Missing { entry: 5 })));
}
