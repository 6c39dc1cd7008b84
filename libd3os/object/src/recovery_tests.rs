//! Sessions that end in the middle, and logs whose owners are hostile.

use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use crate::clumsy::Mistake;
use crate::control::{self, Slot};
use crate::layout;
use crate::log::record::{Builder, seal};
use crate::medium::{LINE_BYTES, Medium};
use crate::recovery::{self, Access, Finding, Objects};
use crate::sim::Domain;
use crate::testing::{Machine, Plan, TestMedium, id, put_out, slot};
use crate::{Mapping, Object, ObjectId, Session, TxError};

type Words = [u64; 24];
/// Words in more lines than an object remembers to be written back.
const MANY: usize = 8 * (control::REMEMBERED as usize + 12);

const MANY_PLAN: Plan = Plan { log_lines: 400, pages: 6, ..PLAN };
const PLAN: Plan = Plan { domain: Domain::Adr, logs: 2, log_lines: 20, objects: 2, pages: 3 };

fn machine() -> Machine {
    Machine::new(PLAN, |_| [0_u64; 24])
}

fn set<const N: usize>(
    session: &mut Session<TestMedium>,
    objects: &[Object<[u64; N], TestMedium>; 2],
    value: u64,
) {
    let done = session.tx(|tx| {
        for object in objects {
            tx.edit(object)?.modify_base()?.fill(value);
        }
        Ok::<_, TxError>(())
    });
    done.expect("room");
}

fn found<const N: usize>(
    session: &Session<TestMedium>,
    objects: &[Object<[u64; N], TestMedium>; 2],
) -> [u64; 2] {
    [0, 1].map(|number| {
        let guard = session.read(&objects[number]).expect("free");
        let words = guard.base().expect("there");
        assert!(words.iter().all(|word| *word == words[0]), "whole");
        words[0]
    })
}

/// Carries transactions out in a thread that stops for good after so many operations; whether it did.
fn stalls<const N: usize>(machine: &mut Machine, after: u64) -> bool {
    machine.mistake = Mistake::StallsAfter(after);
    let before = machine.operations();
    assert_eq!(before, machine.operations());
    let mut session = machine.session(1);
    let objects = [0, 1].map(|number| machine.object::<[u64; N]>(number, 1));
    machine.mistake = Mistake::None;
    let worker =
        thread::spawn(move || (2..10).for_each(|value| set(&mut session, &objects, value)));
    loop {
        if worker.is_finished() {
            worker.join().expect("no panic");
            return false;
        }
        if machine.operations() > after {
            return true;
        }
        thread::yield_now();
    }
}

#[test]
fn who_stops_in_the_middle_is_completed_or_forgotten() {
    stop_in_the_middle::<24>(PLAN, 1);
}

#[test]
fn who_stops_in_a_large_transaction_is_completed_or_forgotten() {
    stop_in_the_middle::<MANY>(MANY_PLAN, 37);
}

/// Stops a session after every so many operations.
fn stop_in_the_middle<const N: usize>(plan: Plan, step: usize) {
    let mut stopped = 0;
    for after in (0..).step_by(step) {
        let mut machine = Machine::new(plan, |_| [0_u64; N]);
        let objects = [0, 1].map(|number| machine.object::<[u64; N]>(number, 0));
        let mut session = machine.session(0);
        set(&mut session, &objects, 1);
        let start = machine.operations();
        if !stalls::<N>(&mut machine, start + after) {
            break;
        }
        stopped += 1;
        let mapped = objects.each_ref().map(|object| Arc::clone(object.mapping()));
        let report = put_out(1, &machine.log(1), &mut session, &mapped);
        assert_eq!(report.findings, []);
        let [left, right] = found(&session, &objects);
        assert_eq!(left, right, "of one transaction");
        set(&mut session, &objects, 100 + left);
        assert_eq!(found(&session, &objects), [100 + left; 2]);
        // Nothing of it was only in caches.
        let next = Machine::recovered(plan, &machine.sim.durable()).expect("nothing is wrong");
        let objects = [0, 1].map(|number| next.object::<[u64; N]>(number, 0));
        assert_eq!(found(&next.session(0), &objects), [100 + left; 2]);
    }
    println!("stopped at {stopped} operations");
    assert!(stopped > 100, "{stopped}");
}

/// The first object is the log's owner's, the second is not.
struct Owned<'a>(&'a Machine);

impl Objects for Owned<'_> {
    type Medium = TestMedium;

    fn access(&mut self, _: Slot, of: ObjectId) -> Access<TestMedium> {
        match of {
            of if of == id(0) => Access::Write(self.0.object_medium(0, 0)),
            of if of == id(1) => Access::Forbidden,
            _ => Access::Deleted,
        }
    }
}

/// Lines, and which of their words.
type Lines = Vec<(u32, u8)>;

/// A record that a hostile program might write: its checksum is right, unless it is spoilt.
#[derive(Clone, Debug)]
struct Hostile {
    changes: Vec<(usize, u64, Lines)>,
    spoilt: Option<(usize, u64)>,
    sealed: bool,
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let line = prop_oneof![0..300_u32, any::<u32>()];
    let lines = prop::collection::vec((line, 1..=255_u8), 1..4);
    let version = prop_oneof![0..4_u64, any::<u64>()];
    let changes = prop::collection::vec((0..3_usize, version, lines), 1..4);
    let spoilt = prop::option::weighted(0.3, (0..16_usize, any::<u64>()));
    (changes, spoilt, prop::bool::weighted(0.9)).prop_map(|(changes, spoilt, sealed)| Hostile {
        changes,
        spoilt,
        sealed,
    })
}

impl Hostile {
    fn words(&self, sequence: u64) -> Vec<u64> {
        let mut builder = Builder::default();
        builder.begin();
        for (object, version, lines) in &self.changes {
            builder.object(id(*object), *version);
            lines.iter().for_each(|(line, mask)| builder.line(*line, *mask, &[!0; 8]));
        }
        let mut words = builder.end().clone();
        if let Some((at, value)) = self.spoilt {
            let at = 1 + at % (words.len() - 1);
            words[at] ^= value;
        }
        if self.sealed {
            seal(&mut words, sequence);
        }
        words
    }
}

fn write(log: &impl Medium, records: &[Hostile]) {
    let mut at = 2 * LINE_BYTES;
    for (sequence, record) in (0..).zip(records) {
        for line in record.words(sequence).chunks(8) {
            for (word, value) in line.iter().enumerate().filter(|_| at < log.bytes()) {
                log.store_word(at + word * 8, *value);
            }
            at += LINE_BYTES;
        }
    }
}

fn bytes(medium: &impl Medium) -> Vec<u8> {
    let mut bytes = vec![0; medium.bytes()];
    medium.read(0, &mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn hostile_logs_reach_nothing_that_is_not_theirs(
        records in prop::collection::vec(hostile(), 1..5),
        tail in prop::option::weighted(0.2, (0..16_usize, any::<u64>())),
    ) {
        let machine = machine();
        write(&machine.log(1), &records);
        if let Some((word, value)) = tail {
            machine.log(1).store_word(word * 8, value);
        }
        let before = [0, 1].map(|number| bytes(&machine.object_medium(number, 0)));
        let logs = [(slot(1), machine.log(1))];
        let report = recovery::recover(&logs, &mut Owned(&machine));
        let after = [0, 1].map(|number| bytes(&machine.object_medium(number, 0)));
        prop_assert_eq!(&before[1], &after[1], "not its own");
        let written_once = layout::place(0x1040)..layout::place(0x1080);
        for at in (0..0x800).filter(|at| !written_once.contains(at)) {
            prop_assert_eq!(before[0][at], after[0][at], "identity and description");
        }
        let settled = layout::settled(&machine.object_medium(0, 0));
        prop_assert_eq!(settled, Ok(report.applied), "from version 0, without a gap");
        let again = recovery::recover(&logs, &mut Owned(&machine));
        prop_assert_eq!((again.records, again.applied), (0, 0));
        let is_log = |finding: &Finding| matches!(finding, Finding::Log { .. });
        prop_assert!(again.findings.iter().all(is_log), "{:?}", again.findings);
    }
}

#[test]
fn a_log_that_is_damaged_in_the_middle_is_told() {
    let machine = machine();
    let objects = [0, 1].map(|number| machine.object::<Words>(number, 0));
    let mut session = machine.session(0);
    let one = |session: &mut Session<TestMedium>, value| {
        let done = session.tx(|tx| {
            tx.edit(&objects[0])?.modify_base()?[0] = value;
            Ok::<_, TxError>(())
        });
        done.expect("room");
    };
    (1..=3).for_each(|value| one(&mut session, value));
    let second = 3 * LINE_BYTES;
    let log = machine.log(0);
    log.store_word(second + 48, log.load_word(second + 48) ^ 1);
    let next = Machine::with_contents(PLAN, &machine.sim.visible());
    // As after a start: the objects are as they were before.
    let fresh = Machine::new(PLAN, |_| [0_u64; 24]);
    next.object_medium(0, 0).store(0, &bytes(&fresh.object_medium(0, 0)));
    let report = next.recover();
    assert_eq!((report.records, report.applied), (1, 1));
    assert_eq!(report.findings, [Finding::Gap { owner: slot(0) }]);
    assert_eq!(next.recover().findings, [], "it was told");
}

/// Sessions with different logs change the same object; what only one of them has settled must not be
/// undone by what the other one's log still says.
#[test]
fn records_that_others_have_settled_are_left_alone() {
    let machine = machine();
    let mut sessions = [machine.session(0), machine.session(1)];
    let objects = [0, 1].map(|thread| [0, 1].map(|n| machine.object::<Words>(n, thread)));
    set(&mut sessions[0], &objects[0], 1);
    set(&mut sessions[1], &objects[1], 2);
    sessions[1].settle().expect("free");
    let next = Machine::recovered(PLAN, &machine.sim.durable()).expect("nothing is wrong");
    let objects: [Object<Words, _>; 2] = [0, 1].map(|number| next.object(number, 0));
    assert_eq!(found(&next.session(0), &objects), [2, 2]);
}

/// The compiler knows what may go to another thread.
#[test]
fn sessions_and_mappings_can_move_to_other_threads() {
    fn can_move<T: Send>() {}
    can_move::<Session<TestMedium>>();
    can_move::<Arc<Mapping<TestMedium>>>();
}
