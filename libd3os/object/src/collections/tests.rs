//! Collections against those of the standard library, with power lost at every instant.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::fot::{self, Rights};
use crate::heap;
use crate::medium::Medium;
use crate::sim::{Domain, Limits, Random};
use crate::testing::{Expected, Machine, Plan, TestMedium, at_least, steps, watch};
use crate::view::View;
use crate::{Editor, Guard, Object, PPtr, Persist, Session, TxError, field};

use super::{PArena, PBox, PHashMap, POrderedMap, PString, PVec};

/// One of each, as a program would have them.
#[derive(Default, Persist)]
#[repr(C)]
struct Shelf {
    title: PString,
    numbers: PVec<u64>,
    last: PBox<[u8; 24]>,
    by_hash: PHashMap<u64, [u64; 7]>,
    by_order: POrderedMap<u64, [u64; 7]>,
}

type Base = PPtr<Shelf>;

fn title(base: Base) -> PPtr<PString> {
    field!(base, Shelf, title)
}

fn numbers(base: Base) -> PPtr<PVec<u64>> {
    field!(base, Shelf, numbers)
}

fn last(base: Base) -> PPtr<PBox<[u8; 24]>> {
    field!(base, Shelf, last)
}

fn by_hash(base: Base) -> PPtr<PHashMap<u64, [u64; 7]>> {
    field!(base, Shelf, by_hash)
}

fn by_order(base: Base) -> PPtr<POrderedMap<u64, [u64; 7]>> {
    field!(base, Shelf, by_order)
}

/// The same in the standard library's terms.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    title: String,
    numbers: Vec<u64>,
    last: Option<[u8; 24]>,
    map: BTreeMap<u64, u64>,
}

type Step = Vec<Operation>;

#[derive(Clone, Debug)]
enum Operation {
    Title(String),
    Append(String),
    Push(u64),
    Pop,
    ClearNumbers,
    Put(u8),
    Clear,
    Insert(u64, u64),
    /// Keys, of which some may be the same.
    Several(Vec<u64>, u64),
    Remove(u64),
    ClearMaps,
}

fn any_operation(random: &mut Random, keys: usize) -> Operation {
    let value = random.word();
    let mut any_key = || (random.below(keys) as u64).wrapping_mul(0x1234_5678_9abc_def1);
    let (key, several) = (any_key(), [0; 11].map(|_: u64| any_key()).to_vec());
    match random.below(41) {
        0 | 1 => Operation::Title(format!("title {value}").repeat(1 + random.below(9))),
        2 => Operation::Append(" and more".to_owned()),
        3..=6 => Operation::Push(value),
        7 => Operation::Pop,
        8 => Operation::ClearNumbers,
        9 => Operation::Put(value.to_le_bytes()[0]),
        10 => Operation::Clear,
        11..=29 => Operation::Insert(key, value),
        30 => Operation::Several(several, value),
        31..=39 => Operation::Remove(key),
        _ => Operation::ClearMaps,
    }
}

impl Model {
    fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Title(text) => self.title.clone_from(text),
            Operation::Append(text) => self.title.push_str(text),
            Operation::Push(value) => self.numbers.push(*value),
            Operation::Pop => drop(self.numbers.pop()),
            Operation::ClearNumbers => self.numbers.clear(),
            Operation::Put(value) => self.last = Some([*value; 24]),
            Operation::Clear => self.last = None,
            Operation::Insert(key, value) => drop(self.map.insert(*key, *value)),
            Operation::Several(keys, value) => {
                self.map.extend(keys.iter().map(|key| (*key, *value)));
            }
            Operation::Remove(key) => drop(self.map.remove(key)),
            Operation::ClearMaps => self.map.clear(),
        }
    }
}

fn perform(editor: &mut Editor<'_, Shelf>, operation: &Operation) -> Result<(), TxError> {
    let base = editor.base_pointer();
    match operation {
        Operation::Title(text) => title(base).set(editor, text),
        Operation::Append(text) => title(base).push_str(editor, text),
        Operation::Push(value) => numbers(base).push(editor, *value),
        Operation::Pop => numbers(base).pop(editor).map(drop),
        Operation::ClearNumbers => numbers(base).clear(editor),
        Operation::Put(value) => last(base).put(editor, [*value; 24]),
        Operation::Clear => last(base).clear(editor),
        Operation::Insert(key, value) => {
            let hashed = by_hash(base).insert(editor, *key, [*value; 7])?;
            let ordered = by_order(base).insert(editor, *key, [*value; 7])?;
            assert_eq!(hashed, ordered);
            Ok(())
        }
        Operation::Several(keys, value) => {
            by_hash(base).extend(editor, keys.iter().map(|key| (*key, [*value; 7])))?;
            by_order(base).extend(editor, keys.iter().map(|key| (*key, [*value; 7])))
        }
        Operation::Remove(key) => {
            let hashed = by_hash(base).remove(editor, key)?;
            let ordered = by_order(base).remove(editor, key)?;
            assert_eq!(hashed, ordered);
            Ok(())
        }
        Operation::ClearMaps => {
            by_hash(base).clear(editor)?;
            by_order(base).clear(editor)
        }
    }
}

fn read(machine: &Machine) -> Result<Model, String> {
    let session = machine.session(0);
    let object = machine.object::<Shelf>(0, 0);
    let guard = session.read(&object).map_err(|busy| busy.to_string())?;
    contents(&guard, object.base()).map_err(|error| error.to_string())?
}

fn contents(
    guard: &Guard<'_, Shelf, TestMedium>,
    base: Base,
) -> Result<Result<Model, String>, crate::PointerError> {
    let mut model = Model {
        title: title(base).as_str(guard).expect("text").to_owned(),
        numbers: numbers(base).as_slice(guard)?.to_vec(),
        last: None,
        map: BTreeMap::new(),
    };
    if !last(base).target(guard)?.is_null() {
        model.last = Some(*last(base).value(guard)?);
    }
    let mut hashed = BTreeMap::new();
    by_hash(base).for_each(guard, |key, value| {
        hashed.insert(*key, *value);
    })?;
    let mut ordered = Vec::new();
    by_order(base).for_each(guard, |key, value| ordered.push((*key, *value)))?;
    if ordered.iter().ne(hashed
        .iter()
        .map(|(key, value)| (*key, *value))
        .collect::<Vec<_>>()
        .iter())
    {
        return Ok(Err(format!("hashed {hashed:x?}, ordered {ordered:x?}")));
    }
    for (key, value) in &ordered {
        let found = [by_hash(base).get(guard, key)?, by_order(base).get(guard, key)?];
        if found != [Some(value), Some(value)] || value.iter().any(|word| *word != value[0]) {
            return Ok(Err(format!("{key:x} is {found:?}")));
        }
        model.map.insert(*key, value[0]);
    }
    let lengths = [by_hash(base).len(guard)?, by_order(base).len(guard)?];
    if lengths != [model.map.len() as u64; 2] {
        return Ok(Err(format!("lengths {lengths:?}")));
    }
    Ok(no_leak(guard, base)?.map(|()| model))
}

/// All blocks that are taken belong to a collection, and each to one.
fn no_leak(
    guard: &Guard<'_, Shelf, TestMedium>,
    base: Base,
) -> Result<Result<(), String>, crate::PointerError> {
    let census = match heap::census(guard) {
        Ok(census) => census,
        Err(damage) => return Ok(Err(damage.to_string())),
    };
    let mut used = vec![base.offset()];
    used.extend(by_hash(base).blocks(guard)?.iter().map(|block| block.offset()));
    used.extend(by_order(base).blocks(guard)?.iter().map(|block| block.offset()));
    let element = |at: Option<PPtr<u64>>| at.map(PPtr::offset);
    let elements = guard.get(numbers(base))?.elements();
    used.extend(element((!elements.is_null()).then_some(elements)));
    let text = guard.get(title(base).bytes())?.elements();
    used.extend((!text.is_null()).then(|| text.offset()));
    let boxed = last(base).target(guard)?;
    used.extend((!boxed.is_null()).then(|| boxed.offset()));
    used.sort_unstable();
    let taken: Vec<u64> = census.blocks.iter().map(|block| block.offset).collect();
    Ok(if taken == used {
        Ok(())
    } else {
        Err(format!("{} taken, {} used", taken.len(), used.len()))
    })
}

fn plan(domain: Domain) -> Plan {
    Plan { domain, logs: 1, log_lines: 600, objects: 1, pages: 40 }
}

/// Carries random operations out, a few in each transaction.
fn used(plan: Plan, limits: Limits, seed: u64, count: usize, keys: usize) -> u64 {
    let machine = Machine::new(plan, |_| Shelf::default());
    let mut state = Model::default();
    let expected = Expected::new(state.clone());
    let watching = watch(&machine, limits, &expected, read);
    let mut session = machine.session(0);
    let object = machine.object::<Shelf>(0, 0);
    steps(seed, count, |random| {
        let operations: Step =
            (0..1 + random.below(3)).map(|_| any_operation(random, keys)).collect();
        let mut next = state.clone();
        operations.iter().for_each(|operation| next.perform(operation));
        expected.begin(next.clone());
        carry_out(&mut session, &object, &operations).expect("room");
        expected.commit();
        state = next;
    });
    watching.finish("collections")
}

fn carry_out(
    session: &mut Session<TestMedium>,
    object: &Object<Shelf, TestMedium>,
    operations: &[Operation],
) -> Result<(), TxError> {
    session.tx(|tx| {
        let mut editor = tx.edit(object)?;
        operations.iter().try_for_each(|operation| perform(&mut editor, operation))
    })
}

#[test]
fn collections_are_what_the_standard_library_s_are_after_every_loss_of_power() {
    let limits = Limits { product: 32, random: 12, ..Limits::default() };
    let images: u64 = [Domain::Adr, Domain::Eadr]
        .into_iter()
        .map(|domain| used(plan(domain), limits, 21, at_least(120), 80))
        .sum();
    assert!(images > 5_000, "{images}");
}

#[test]
fn collections_grow_large() {
    let few = Limits { product: 1, random: 0, ..Limits::default() };
    for (seed, keys) in [(1, 200), (2, 2_000)] {
        let plan = Plan { pages: 120, log_lines: 4_000, ..plan(Domain::Eadr) };
        assert!(used(plan, few, seed, 700, keys) > 1_000);
    }
}

#[test]
fn maps_hold_many_thousands() {
    let plan = Plan { pages: 2_000, log_lines: 10_000, ..plan(Domain::Eadr) };
    let machine = Machine::new(plan, |_| Shelf::default());
    let mut session = machine.session(0);
    let object = machine.object::<Shelf>(0, 0);
    let base = object.base();
    let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for round in 0..200_u64 {
        let insert = session.tx(|tx| {
            let mut editor = tx.edit(&object)?;
            for number in round * 100..(round + 1) * 100 {
                by_hash(base).insert(&mut editor, key(number), [number; 7])?;
                by_order(base).insert(&mut editor, key(number), [number; 7])?;
            }
            Ok::<_, TxError>(())
        });
        insert.expect("room");
    }
    let guard = session.read(&object).expect("free");
    for number in 0..20_000 {
        let found =
            [by_hash(base).get(&guard, &key(number)), by_order(base).get(&guard, &key(number))];
        assert_eq!(found, [Ok(Some(&[number; 7])); 2]);
    }
    assert_eq!(by_hash(base).get(&guard, &1), Ok(None));
    let mut keys: Vec<u64> = (0..20_000).map(key).collect();
    keys.sort_unstable();
    let mut from = Vec::new();
    let take = |key: &u64, _: &[u64; 7]| {
        from.push(*key);
        from.len() < 5_000
    };
    by_order(base).for_each_from(&guard, &keys[7_000], take).expect("whole");
    assert_eq!(from, keys[7_000..12_000]);
    assert_eq!(
        contents(&guard, base).map(|model| model.map(|model| model.map.len())),
        Ok(Ok(20_000))
    );
    drop(guard);
    for round in keys.chunks(100) {
        let remove = session.tx(|tx| {
            let mut editor = tx.edit(&object)?;
            for key in round {
                assert!(by_order(base).remove(&mut editor, key)?);
                assert!(by_hash(base).remove(&mut editor, key)?);
            }
            Ok::<_, TxError>(())
        });
        remove.expect("whole");
    }
    let guard = session.read(&object).expect("free");
    assert_eq!(by_order(base).blocks(&guard), Ok(Vec::new()), "an empty tree has nothing");
    assert_eq!(contents(&guard, base).map(|model| model.map(|model| model.map.len())), Ok(Ok(0)));
}

/// Keys and values of odd sizes and alignments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Persist)]
#[repr(C)]
struct Odd {
    bytes: [u8; 3],
}

#[derive(Default, Persist)]
#[repr(C)]
struct OddMaps {
    by_hash: PHashMap<Odd, u128>,
    by_order: POrderedMap<u16, Odd>,
    large: PHashMap<u64, [u64; 400]>,
    wide: POrderedMap<u64, [u64; 400]>,
}

#[test]
fn many_at_once_are_what_one_after_the_other_is() {
    let plan = Plan { pages: 300, log_lines: 8_000, ..plan(Domain::Eadr) };
    let scattered = |number: u64| (number % 500).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for key in [scattered, |number| number / 2, |number| 1_000 - number] {
        let machine = Machine::new(plan, |_| Shelf::default());
        let (mut session, object) = (machine.session(0), machine.object::<Shelf>(0, 0));
        let base = object.base();
        let mut expected = BTreeMap::new();
        // Into empty maps, and into those in which leaves are divided while others wait for them.
        for batch in [0..600, 300..1_000] {
            let entries = batch.map(|number| (key(number), [number; 7]));
            expected.extend(entries.clone());
            let done = session.tx(|tx| {
                let mut editor = tx.edit(&object)?;
                by_hash(base).extend(&mut editor, entries.clone())?;
                by_order(base).extend(&mut editor, entries.clone())
            });
            done.expect("room");
        }
        let guard = session.read(&object).expect("free");
        let (mut hashed, mut ordered) = (BTreeMap::new(), Vec::new());
        by_hash(base)
            .for_each(&guard, |key, value| {
                hashed.insert(*key, *value);
            })
            .expect("whole");
        by_order(base).for_each(&guard, |key, value| ordered.push((*key, *value))).expect("whole");
        assert_eq!(hashed, expected);
        assert_eq!(by_hash(base).len(&guard), Ok(expected.len() as u64));
        assert_eq!(by_order(base).len(&guard), Ok(expected.len() as u64));
        assert_eq!(ordered, Vec::from_iter(expected));
    }
}

#[test]
fn keys_and_values_may_have_odd_sizes() {
    let plan = Plan { pages: 400, log_lines: 8_000, ..plan(Domain::Adr) };
    let machine = Machine::new(plan, |_| OddMaps::default());
    let mut session = machine.session(0);
    let object = machine.object::<OddMaps>(0, 0);
    let base = object.base();
    for number in 0..200_u16 {
        let odd = Odd { bytes: [number.to_le_bytes()[0], number.to_le_bytes()[1], 7] };
        let wide = u64::from(number % 20);
        let done = session.tx(|tx| {
            let mut editor = tx.edit(&object)?;
            field!(base, OddMaps, by_hash).insert(&mut editor, odd, number.into())?;
            field!(base, OddMaps, by_order).insert(&mut editor, number ^ 0x55, odd)?;
            field!(base, OddMaps, large).insert(&mut editor, wide, [wide; 400])?;
            field!(base, OddMaps, wide).insert(&mut editor, wide, [wide; 400])
        });
        done.expect("room");
    }
    let guard = session.read(&object).expect("free");
    let order = field!(base, OddMaps, by_order);
    for number in 0..200_u16 {
        let odd = order.get(&guard, &(number ^ 0x55)).expect("whole").expect("there");
        let value = field!(base, OddMaps, by_hash).get(&guard, odd);
        assert_eq!(value, Ok(Some(&number.into())));
    }
    for number in 0..20 {
        let large = field!(base, OddMaps, large).get(&guard, &number);
        assert_eq!(large, Ok(Some(&[number; 400])));
        assert_eq!(field!(base, OddMaps, wide).get(&guard, &number), large);
    }
    assert_eq!(heap::census(&guard).map(|census| census.blocks.is_empty()), Ok(false));
}

#[derive(Default, Persist)]
#[repr(C)]
struct Graph {
    arena: PArena,
    first: PPtr<Vertex>,
}

#[derive(Clone, Copy, Persist)]
#[repr(C)]
struct Vertex {
    next: PPtr<Self>,
    name: PPtr<u8>,
    length: u64,
}

/// The names of all vertices, from the last that was added; and whether the arena's blocks are all that is
/// taken.
fn names(machine: &Machine) -> Result<Vec<String>, String> {
    let session = machine.session(0);
    let object = machine.object::<Graph>(0, 0);
    let guard = session.read(&object).map_err(|busy| busy.to_string())?;
    let walk = || {
        let mut names = Vec::new();
        let mut at = guard.base()?.first;
        while !at.is_null() {
            let Vertex { next, name, length } = *guard.get(at)?;
            names.push(String::from_utf8_lossy(guard.slice(name, length)?).into_owned());
            at = next;
        }
        let arena = field!(object.base(), Graph, arena).blocks(&guard)?.len();
        Ok::<_, crate::PointerError>((names, arena))
    };
    let (names, arena) = walk().map_err(|error| error.to_string())?;
    let taken = heap::census(&guard).map_err(|damage| damage.to_string())?.blocks.len();
    if taken == 1 + arena { Ok(names) } else { Err(format!("{taken} blocks, {arena} the arena's")) }
}

#[test]
fn an_arena_is_given_back_as_a_whole() {
    let plan = Plan { pages: 24, log_lines: 200, ..plan(Domain::Adr) };
    let machine = Machine::new(plan, |_| Graph::default());
    let expected = Expected::new(Vec::new());
    let limits = Limits { product: 32, random: 8, ..Limits::default() };
    let watching = watch(&machine, limits, &expected, names);
    let mut session = machine.session(0);
    let object = machine.object::<Graph>(0, 0);
    let arena = field!(object.base(), Graph, arena);
    let mut state: Vec<String> = Vec::new();
    steps(5, 60, |random| {
        let name = "name ".repeat(1 + random.below(200));
        let clears = random.below(12) == 0;
        let next = if clears {
            Vec::new()
        } else {
            [core::slice::from_ref(&name), state.as_slice()].concat()
        };
        expected.begin(next.clone());
        let done = session.tx(|tx| {
            let mut editor = tx.edit(&object)?;
            if clears {
                editor.modify_base()?.first = PPtr::NULL;
                return arena.clear(&mut editor);
            }
            let (length, first) = (name.len() as u64, editor.base()?.first);
            let name = arena.alloc_slice(&mut editor, name.as_bytes())?;
            let vertex = arena.alloc(&mut editor, Vertex { next: first, name, length })?;
            editor.modify_base()?.first = vertex;
            Ok(())
        });
        done.expect("room");
        expected.commit();
        state = next;
    });
    assert!(watching.finish("arena") > 1_000);
}

#[test]
fn a_type_says_what_it_consists_of() {
    let machine = Machine::new(plan(Domain::Adr), |_| Shelf::default());
    let object = machine.object::<Shelf>(0, 0);
    let opened = Object::<Odd, TestMedium>::open(object.mapping().clone());
    let error = opened.expect_err("another type").to_string();
    assert!(
        error.starts_with("its base is Shelf { title: PString") && error.contains("not Odd"),
        "{error}"
    );
}

#[test]
fn maps_of_other_types_are_other_types() {
    use crate::persist::Fingerprint;
    let all = [
        Fingerprint::of::<PHashMap<u64, u64>>(),
        Fingerprint::of::<PHashMap<u64, i64>>(),
        Fingerprint::of::<PHashMap<i64, u64>>(),
        Fingerprint::of::<POrderedMap<u64, u64>>(),
    ];
    for (number, one) in all.iter().enumerate() {
        assert!(!all[..number].contains(one));
    }
}

/// A shelf with something of everything in it, and a table of other objects.
fn filled() -> Machine {
    let machine = Machine::new(Plan { pages: 60, ..plan(Domain::Eadr) }, |_| Shelf::default());
    let mut session = machine.session(0);
    let object = machine.object::<Shelf>(0, 0);
    steps(77, 60, |random| {
        let operations: Step = (0..4).map(|_| any_operation(random, 300)).collect();
        let kept = operations.iter().filter(|one| !matches!(one, Operation::ClearMaps));
        let operations: Step = kept.cloned().collect();
        carry_out(&mut session, &object, &operations).expect("room");
    });
    let linked = session.tx(|tx| {
        let mut editor = tx.edit(&object)?;
        editor.link(object.mapping().id(), Rights::READ)?;
        editor.link_name("a name", Rights::READ, 1)
    });
    linked.expect("room");
    session.settle().expect("free");
    machine
}

/// Everything that can be asked and done with what may be damaged; errors are as good as answers.
fn exercise(machine: &Machine, seed: u64) {
    let mut session = machine.session(0);
    let object = machine.object::<Shelf>(0, 0);
    let base = object.base();
    {
        let guard = session.read(&object).expect("free");
        let _ = heap::census(&guard);
        let _ = fot::entries(&guard);
        let _ = title(base).as_str(&guard);
        let _ = numbers(base).as_slice(&guard);
        let _ = last(base).value(&guard);
        let _ = by_hash(base).for_each(&guard, |_, _| ());
        let _ = by_order(base).for_each(&guard, |_, _| ());
        let _ = by_order(base).for_each_from(&guard, &(1 << 60), |_, _| true);
    }
    steps(seed, 12, |random| {
        let operations: Step = (0..3).map(|_| any_operation(random, 300)).collect();
        let _ = session.tx(|tx| {
            let mut editor = tx.edit(&object)?;
            operations.iter().try_for_each(|operation| try_perform(&mut editor, operation))
        });
        let _ = session.tx(|tx| tx.edit(&object)?.link_name("another", Rights::READ, 2));
        let entry = u32::try_from(random.below(5)).expect("small");
        let _ = session.tx(|tx| tx.edit(&object)?.unlink(entry));
    });
    let _ = session.tx(|tx| tx.edit(&object)?.grow());
}

/// Damaged maps need not agree with each other.
fn try_perform(editor: &mut Editor<'_, Shelf>, operation: &Operation) -> Result<(), TxError> {
    let base = editor.base_pointer();
    match operation {
        Operation::Insert(key, value) => {
            by_hash(base).insert(editor, *key, [*value; 7])?;
            by_order(base).insert(editor, *key, [*value; 7]).map(drop)
        }
        Operation::Remove(key) => {
            by_hash(base).remove(editor, key)?;
            by_order(base).remove(editor, key).map(drop)
        }
        other => perform(editor, other),
    }
}

/// Where damage is: in words of the state, of the table of other objects, or of any page.
fn damaged_word() -> impl Strategy<Value = (usize, u64)> {
    let last = 60 * 4096 - 8_usize;
    let at = prop_oneof![0x800..0x1000_usize, last - 128..last, 0x1000..0x1400_usize, 0x1000..last];
    let value = prop_oneof![any::<u64>(), 0..64_u64, Just(u64::MAX), 0x2000..0x4_0000_u64];
    (at.prop_map(|at| at & !7), value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is found in an object, also under checksums that are right, as its other users may be
    /// hostile: nothing panics, nothing runs for ever, nothing outside of the object is touched.
    #[test]
    fn damage_gives_errors_at_worst(
        words in prop::collection::vec(damaged_word(), 1..12),
        sealed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let machine = filled();
        let medium = machine.object_medium(0, 0);
        for (at, value) in words {
            medium.store_word(at, value);
            if sealed {
                let line = at & !63;
                let words = core::array::from_fn(|word| medium.load_word(line + word * 8));
                let [.., checksum] = heap::line::sealed(words, line as u64 + 0x1000);
                medium.store_word(line + 56, checksum);
            }
        }
        exercise(&machine, seed);
    }
}
