//! Transactions on words, against a model, with power lost at every instant.

use crate::clumsy::Mistake;
use crate::control;
use crate::heap::{self, Block};
use crate::medium::Medium;
use crate::sim::{Domain, Limits, Random};
use crate::testing::{self, Expected, Machine, Plan, TestMedium, Watching, at_least, steps, watch};
use crate::view::View;
use crate::{PPtr, PointerError, Session, TxError};

const WORDS: usize = 24;
type Words = [u64; WORDS];

fn plan(domain: Domain) -> Plan {
    Plan { domain, logs: 2, log_lines: 20, objects: 2, pages: 3 }
}

fn zeros(_: usize) -> Words {
    [0; WORDS]
}

fn words(machine: &Machine) -> Result<Vec<Words>, String> {
    let session = machine.session(0);
    let read = |number| {
        let object = machine.object::<Words>(number, 0);
        let guard = session.read(&object).map_err(|busy| busy.to_string())?;
        heap::census(&guard).map_err(|damage| damage.to_string())?;
        guard.base().copied().map_err(|error| error.to_string())
    };
    (0..machine.plan.objects).map(read).collect()
}

/// Changes a few words of the objects, as the model does.
fn change(random: &mut Random, state: &[Words]) -> Vec<(usize, usize, u64)> {
    let changes = 1 + random.below(6);
    (0..changes).map(|_| (random.below(state.len()), random.below(WORDS), random.word())).collect()
}

#[test]
fn committed_transactions_are_whole_and_others_are_not_there() {
    let watch = |domain| two_sessions(domain, Mistake::None, at_least(60)).finish("two sessions");
    let images: u64 = [Domain::Adr, Domain::Eadr].into_iter().map(watch).sum();
    assert!(images > 10_000, "{images}");
}

#[test]
fn mistakes_are_found() {
    // Without waiting, the simulator itself objects when the log's next lap begins.
    for (mistake, count) in [(Mistake::NoFlush, 60), (Mistake::NoFence, 5), (Mistake::LateLines, 5)]
    {
        assert!(two_sessions(Domain::Adr, mistake, count).found_a_mistake(), "{mistake:?}");
    }
    assert!(two_sessions(Domain::Eadr, Mistake::LateLines, 5).found_a_mistake());
}

#[test]
fn a_transaction_costs_one_fence() {
    let machine = Machine::new(Plan { log_lines: 200, ..plan(Domain::Adr) }, zeros);
    let mut session = machine.session(0);
    let objects = [0, 1].map(|number| machine.object::<Words>(number, 0));
    let before = machine.fences();
    for value in 1..=50 {
        session
            .tx(|tx| {
                tx.edit(&objects[0])?.modify_base()?[0] = value;
                tx.edit(&objects[1])?.modify_base()?[0] = value;
                Ok::<_, TxError>(())
            })
            .expect("room");
    }
    assert_eq!(machine.fences() - before, 50);
}

#[test]
fn what_was_withdrawn_is_not_reached_for() {
    let machine = Machine::new(plan(Domain::Adr), zeros);
    let (mut lender, mut session) = (machine.session(0), machine.session(1));
    let (whole, lent) = (machine.object::<Words>(0, 0), machine.lent_object::<Words>(0));
    let other = machine.object::<Words>(1, 0);
    let add = |session: &mut Session<TestMedium>| {
        session.tx(|tx| {
            tx.edit(&other)?.modify_base()?[0] += 1;
            tx.edit(&lent)?.modify_base()?[0] += 1;
            Ok::<_, TxError>(())
        })
    };
    add(&mut session).expect("it is there");
    assert_eq!(lender.withdraw(whole.mapping(), || 7), Ok(7));
    let before = machine.operations();
    assert_eq!(add(&mut session), Err(TxError::Withdrawn(testing::id(0))));
    let found = session.withdrawn().expect("it was");
    assert_eq!((found.id, found.withdrawals), (testing::id(0), 1));
    assert!(session.read(&lent).is_err() && session.withdrawn() == Some(found));
    assert_eq!(machine.operations(), before, "nothing is read or written");
    testing::show_again(&lent, found.withdrawals);
    add(&mut session).expect("it is there again");
    assert_eq!((session.withdrawn(), words(&machine)), (None, Ok(vec![first(2), first(2)])));
    lender.withdraw(whole.mapping(), || ()).expect("nobody has it");
    assert!(session.settle().is_err() && session.withdrawn().is_some());
}

fn first(word: u64) -> Words {
    core::array::from_fn(|at| if at == 0 { word } else { 0 })
}

/// Two sessions with a log each change the same objects by turns.
fn two_sessions(domain: Domain, mistake: Mistake, count: usize) -> Watching {
    let mut machine = Machine::new(plan(domain), zeros);
    machine.mistake = mistake;
    let mut state = vec![[0; WORDS]; 2];
    let expected = Expected::new(state.clone());
    let limits = Limits { product: 128, random: 32, ..Limits::default() };
    let watching = watch(&machine, limits, &expected, words);
    let mut sessions = [machine.session(0), machine.session(1)];
    let objects = [0, 1].map(|thread| [0, 1].map(|n| machine.object::<Words>(n, thread)));
    steps(3, count, |random| {
        let by = random.below(2);
        let aborts = random.below(5) == 0;
        let changes = change(random, &state);
        let mut next = state.clone();
        changes.iter().for_each(|(object, word, value)| next[*object][*word] = *value);
        expected.begin(next.clone());
        let done = sessions[by].tx(|tx| {
            for (object, word, value) in &changes {
                tx.edit(&objects[by][*object])?.modify_base()?[*word] = *value;
            }
            if aborts { Err(TxError::Aborted) } else { Ok(()) }
        });
        if aborts {
            assert_eq!(done, Err(TxError::Aborted));
            expected.abort();
        } else {
            done.expect("room");
            expected.commit();
            state = next;
        }
    });
    watching
}

/// Words in more lines than an object remembers to be written back.
const MANY: usize = 8 * (control::REMEMBERED as usize + 12);

/// Transactions that change all lines of an object, and a word of it, by turns.
fn large(domain: Domain, mistake: Mistake, count: usize) -> Watching {
    let plan = Plan { domain, logs: 1, log_lines: 400, objects: 1, pages: 6 };
    let mut machine = Machine::new(plan, |_| [0_u64; MANY]);
    machine.mistake = mistake;
    let mut state = vec![0; MANY];
    let expected = Expected::new(state.clone());
    let limits = Limits { product: 64, random: 32, ..Limits::default() };
    let watching = watch(&machine, limits, &expected, |machine| {
        let (session, object) = (machine.session(0), machine.object::<[u64; MANY]>(0, 0));
        let guard = session.read(&object).map_err(|busy| busy.to_string())?;
        guard.base().map(|words| words.to_vec()).map_err(|error| error.to_string())
    });
    let (mut session, object) = (machine.session(0), machine.object::<[u64; MANY]>(0, 0));
    steps(11, count, |random| {
        let (word, value, is_large) = (random.below(MANY), random.word(), random.below(2) == 0);
        if is_large {
            state.iter_mut().for_each(|word| *word = word.wrapping_add(value));
        } else {
            state[word] = value;
        }
        expected.begin(state.clone());
        let done = session.tx(|tx| {
            tx.edit(&object)?.modify_base()?.copy_from_slice(&state);
            Ok::<_, TxError>(())
        });
        done.expect("room");
        expected.commit();
    });
    watching
}

#[test]
fn large_transactions_are_whole_or_not_there() {
    let watch = |domain| large(domain, Mistake::None, at_least(6)).finish("large transactions");
    let images: u64 = [Domain::Adr, Domain::Eadr].into_iter().map(watch).sum();
    assert!(images > 2_000, "{images}");
    assert!(large(Domain::Adr, Mistake::NoFlush, 40).found_a_mistake());
    assert!(large(Domain::Adr, Mistake::NoFence, 6).found_a_mistake());
}

#[test]
fn a_transaction_sees_its_own_changes_and_nobody_else_does() {
    let machine = Machine::new(plan(Domain::Adr), zeros);
    let (mut session, other) = (machine.session(0), machine.session(1));
    let object = machine.object::<Words>(0, 0);
    session
        .tx(|tx| {
            let mut editor = tx.edit(&object)?;
            editor.modify_base()?[3] = 7;
            assert_eq!(editor.base()?[3], 7);
            assert_eq!(other_sees(&machine, 3), 0, "not in place before the commit");
            Ok::<_, TxError>(())
        })
        .expect("committed");
    let guard = other.read(&object).expect("free");
    assert_eq!(guard.base().expect("there")[3], 7);
}

fn other_sees(machine: &Machine, word: usize) -> u64 {
    machine.object_medium(0, 1).load_word(0x1000 + 64 + word * 8)
}

#[test]
fn nested_parts_fail_by_themselves() {
    let machine = Machine::new(plan(Domain::Adr), zeros);
    let mut session = machine.session(0);
    let object = machine.object::<Words>(0, 0);
    let set = |tx: &mut crate::Tx<'_, TestMedium>, word: usize, value| {
        tx.edit(&object)?.modify_base()?[word] = value;
        Ok::<_, TxError>(())
    };
    session
        .tx(|tx| {
            set(tx, 0, 1)?;
            let failed = tx.nested(|tx| {
                set(tx, 0, 2)?;
                set(tx, 9, 2)?;
                tx.nested(|tx| set(tx, 10, 2))?;
                Err::<(), _>(TxError::Aborted)
            });
            assert_eq!(failed, Err(TxError::Aborted));
            assert_eq!(tx.edit(&object)?.base()?[..11], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            tx.nested(|tx| {
                tx.nested(|tx| set(tx, 1, 3))?;
                let _ = tx.nested(|tx| {
                    set(tx, 1, 4)?;
                    Err::<(), _>(TxError::Aborted)
                });
                set(tx, 2, 5)
            })
        })
        .expect("committed");
    let guard = session.read(&object).expect("free");
    assert_eq!(guard.base().expect("there")[..3], [1, 3, 5]);
}

#[test]
fn pointers_that_lead_nowhere_are_refused() {
    let machine = Machine::new(plan(Domain::Adr), zeros);
    let mut session = machine.session(0);
    let object = machine.object::<Words>(0, 0);
    let end = object.mapping().bytes();
    let cases = [
        (PPtr::NULL, PointerError::Null),
        (PPtr::local(8), PointerError::Outside { offset: 8 }),
        (PPtr::local(end), PointerError::Outside { offset: end }),
        (PPtr::local(end - 4), PointerError::Outside { offset: end - 4 }),
        (PPtr::local(0x2044), PointerError::Misaligned { offset: 0x2044 }),
        (PPtr::foreign(3, 0x2000), PointerError::Foreign { entry: 3 }),
    ];
    for (pointer, error) in cases {
        assert_eq!(session.read(&object).expect("free").get::<u64>(pointer), Err(error));
        let modified =
            session.tx(|tx| Ok::<_, TxError>(*tx.edit(&object)?.modify::<u64>(pointer)?));
        assert_eq!(modified, Err(TxError::Pointer(error)));
    }
    let state =
        session.tx(|tx| Ok::<_, TxError>(*tx.edit(&object)?.modify(PPtr::<u64>::local(0x1800))?));
    assert_eq!(state, Err(TxError::Pointer(PointerError::Outside { offset: 0x1800 })));
}

#[test]
fn what_is_larger_than_the_log_is_refused_and_leaves_nothing() {
    let machine = Machine::new(Plan { pages: 8, ..plan(Domain::Adr) }, zeros);
    let mut session = machine.session(0);
    let object = machine.object::<Words>(0, 0);
    let failed = session.tx(|tx| {
        tx.edit(&object)?.modify_slice::<u64>(PPtr::local(0x3000), 512)?.fill(1);
        Ok::<_, TxError>(())
    });
    assert!(matches!(failed, Err(TxError::TooLarge { capacity: 18, .. })), "{failed:?}");
    assert_eq!(session.read(&object).expect("free").get(PPtr::<u64>::local(0x3000)), Ok(&0));
    let mut set =
        |value| session.tx(|tx| Ok::<_, TxError>(tx.edit(&object)?.set(object.base(), value)?));
    assert_eq!(set([1; WORDS]), Ok(()), "it goes on");
}

const BLOCKS: usize = 20;

/// Blocks with their lengths; each is filled with a byte that its place in the table says.
type Table = [[u64; 2]; BLOCKS];

fn table(_: usize) -> Table {
    [[0; 2]; BLOCKS]
}

fn blocks(machine: &Machine) -> Result<Vec<u64>, String> {
    let session = machine.session(0);
    let object = machine.object::<Table>(0, 0);
    let guard = session.read(&object).map_err(|busy| busy.to_string())?;
    let census = heap::census(&guard).map_err(|damage| damage.to_string())?;
    let table = guard.base().map_err(|error| error.to_string())?;
    let mut expected = vec![object.base().offset()];
    for (number, [at, bytes]) in (0..).zip(table).filter(|(_, [at, _])| *at != 0) {
        let contents = guard.slice::<u8>(PPtr::local(*at), *bytes).map_err(|e| e.to_string())?;
        if contents.iter().any(|byte| *byte != number) {
            return Err(format!("block {number} holds something else"));
        }
        expected.push(*at);
    }
    expected.sort_unstable();
    let taken: Vec<u64> = census.blocks.iter().map(|Block { offset, .. }| *offset).collect();
    if taken != expected {
        return Err(format!("taken are {taken:x?}, in use {expected:x?}"));
    }
    let overlap = |pair: &[Block]| pair[0].offset + pair[0].bytes > pair[1].offset;
    if census.blocks.windows(2).any(overlap) {
        return Err("blocks overlap".to_owned());
    }
    Ok(table.iter().map(|[_, bytes]| *bytes).collect())
}

/// Takes and gives back blocks of all sizes.
fn heap_is_used(domain: Domain, limits: Limits, seed: u64, count: usize) -> u64 {
    let plan = Plan { domain, logs: 1, log_lines: 400, objects: 1, pages: 24 };
    let machine = Machine::new(plan, table);
    let mut state = vec![0; BLOCKS];
    let expected = Expected::new(state.clone());
    let watching = watch(&machine, limits, &expected, blocks);
    let mut session = machine.session(0);
    let object = machine.object::<Table>(0, 0);
    let mut full = 0;
    steps(seed, count, |random| {
        let places: Vec<usize> = (0..1 + random.below(3)).map(|_| random.below(BLOCKS)).collect();
        let power = random.below(14);
        let bytes = 1 + random.below(1 << power) as u64;
        let mut next = state.clone();
        places.iter().for_each(|place| next[*place] = if next[*place] == 0 { bytes } else { 0 });
        expected.begin(next.clone());
        let done =
            session.tx(|tx| places.iter().try_for_each(|place| toggle(tx, &object, *place, bytes)));
        match done {
            Ok(()) => {
                expected.commit();
                state = next;
            }
            Err(error) => {
                assert!(matches!(error, TxError::Heap(heap::HeapError::Full { .. })), "{error}");
                expected.abort();
                full += 1;
            }
        }
    });
    println!("{full} of {count} transactions met a full heap");
    watching.finish("heap")
}

fn toggle(
    tx: &mut crate::Tx<'_, TestMedium>,
    object: &crate::Object<Table, TestMedium>,
    place: usize,
    bytes: u64,
) -> Result<(), TxError> {
    let mut editor = tx.edit(object)?;
    let [at, _] = editor.base()?[place];
    if at != 0 {
        editor.free(PPtr::<u8>::local(at))?;
        editor.modify_base()?[place] = [0; 2];
        return Ok(());
    }
    let block = editor.alloc_bytes(bytes, 8)?;
    let length = usize::try_from(bytes).expect("small");
    editor.modify_slice(block, length)?.fill(u8::try_from(place).expect("small"));
    editor.modify_base()?[place] = [block.offset(), bytes];
    Ok(())
}

#[test]
fn no_block_is_lost_or_used_twice() {
    let limits = Limits { product: 64, random: 24, ..Limits::default() };
    let images: u64 = [Domain::Adr, Domain::Eadr]
        .into_iter()
        .map(|d| heap_is_used(d, limits, 5, at_least(60)))
        .sum();
    assert!(images > 5_000, "{images}");
}

#[test]
fn a_heap_fits_together_after_thousands_of_changes() {
    for seed in 0..8 {
        let limits = Limits { product: 1, random: 0, ..Limits::default() };
        assert!(heap_is_used(Domain::Eadr, limits, seed, 400) > 400);
    }
}

#[test]
fn what_was_not_taken_is_not_given_back() {
    let machine = Machine::new(Plan { pages: 24, log_lines: 200, ..plan(Domain::Adr) }, zeros);
    let mut session = machine.session(0);
    let object = machine.object::<Words>(0, 0);
    let free = |session: &mut Session<TestMedium>, at: u64| {
        session.tx(|tx| tx.edit(&object)?.free(PPtr::<u8>::local(at)))
    };
    let (small, large) = session
        .tx(|tx| {
            let mut editor = tx.edit(&object)?;
            let small = editor.alloc(1_u64)?.offset();
            Ok::<_, TxError>((small, editor.alloc_bytes(10_000, 8)?.offset()))
        })
        .expect("room");
    let wrong =
        [0, 0x1800, object.base().offset(), small + 8, small + 16, large + 64, large + 4096];
    for at in wrong.into_iter().chain([object.mapping().bytes(), u64::MAX >> 24]) {
        let error = TxError::Heap(heap::HeapError::NotTaken { offset: at });
        assert_eq!(free(&mut session, at), Err(error), "{at:#x}");
    }
    for at in [small, large] {
        free(&mut session, at).expect("taken");
        let error = TxError::Heap(heap::HeapError::NotTaken { offset: at });
        assert_eq!(free(&mut session, at), Err(error), "twice");
    }
    let guard = session.read(&object).expect("free");
    assert_eq!(heap::census(&guard).expect("whole").blocks.len(), 1, "the base");
}
