//! The server over simulated memory, with programs that ask for everything.

use std::collections::BTreeMap;
use std::time::Duration;

use libd3os::service::pmem::{ObjectKind, PLACES_MOST, WORK_MOST};
use libd3os_object::TxError;
use libd3os_object::control::Slot;
use libd3os_object::object::Base;
use libd3os_object::operators::{Operator, OperatorError, Outcome, Pattern};
use libd3os_object::sim::{Domain, Sim, SimMedium};
use proptest::prelude::*;

use super::model::Model;
use super::*;
use crate::store::contest::BOUND;
use crate::system::Extent;
use crate::tests::program;

const BYTES: usize = 2 << 20;
const SHELL: u16 = 1;
const OTHER: u16 = 2;
const SECOND_SHELL: u16 = 3;

type Tested = Core<SimMedium, Model>;

fn core() -> Tested {
    let sim = Sim::new(Domain::Adr, BYTES);
    let (core, beginning) = Core::new(sim.medium(0), None, Model::default(), Journal::default());
    assert_eq!(beginning, Beginning::Made);
    core
}

fn volatile() -> (Sim, Tested) {
    let sim = Sim::new(Domain::Adr, BYTES);
    let (core, beginning) = Core::volatile(sim.medium(0), Model::default(), Journal::default());
    assert_eq!(beginning, Beginning::Made);
    (sim, core)
}

fn describe(core: &mut Tested, program: u16) {
    let description = 0_u64.description().encode();
    for (number, part) in description.chunks(7).enumerate() {
        core.describe(program, u32::try_from(7 * number).expect("short"), part).expect("in order");
    }
}

fn create(core: &mut Tested, program: u16, path: &str) -> Done<ObjectName> {
    describe(core, program);
    core.create(program, path, 3, 5_u64.to_le_bytes().to_vec())
}

fn open(core: &mut Tested, program: u16, path: &str) -> Done<OpenObject> {
    core.open(program, path, Rights::READ_WRITE, Some(0_u64.description().fingerprint().0))
}

/// What a program does with its session and an object that it was shown.
fn used(core: &Tested, session: SessionGrant, opened: OpenObject) -> program::Used {
    let part = |place: libd3os::service::pmem::Place| {
        let [base, bytes] = [place.base, place.bytes].map(|at| usize::try_from(at).expect("small"));
        core.medium.part(base, bytes)
    };
    let slot = Slot::new(session.slot).expect("few slots");
    let control = core.world.controls[&opened.control.expect("the memory is armed").base].clone();
    let log = part(session.log.expect("the memory is armed"));
    program::used((slot, log), part(opened.memory), control)
}

/// Asks again for all that a program has open.
fn renew_all(core: &mut Tested, program: u16) {
    for path in ["0", "1", "2", "3"] {
        if let Ok(status) = core.stat(program, path) {
            // That it is not open is an answer, too.
            drop(core.renew(program, status.id));
        }
    }
}

/// Pages that are lent to a program.
fn lent(core: &Tested, program: u16) -> usize {
    core.world.lent.keys().filter(|(to, _)| *to == program).count()
}

#[test]
fn a_session_has_its_log_and_what_it_opens() {
    let mut core = core();
    assert_eq!(open(&mut core, SHELL, "a"), Err(PmemError::NotFound));
    let id = create(&mut core, SHELL, "a").expect("room");
    assert_eq!(open(&mut core, SHELL, "a"), Err(PmemError::NoSession));
    let session = core.session(SHELL).expect("there are some");
    let log = usize::try_from(session.log.map_or(0, |log| log.bytes) / 4096).expect("few");
    assert_eq!((session.slot, lent(&core, SHELL)), (1, log));
    let opened = open(&mut core, SHELL, "a").expect("its own");
    assert_eq!(
        (opened.id, opened.memory.bytes, opened.control.map(|page| page.bytes)),
        (id, 3 * 4096, Some(4096))
    );
    assert_eq!(lent(&core, SHELL), log + 4);
    assert_eq!(open(&mut core, SHELL, "a"), Ok(opened), "it has it open");
    assert_eq!(core.stat(SHELL, "a").map(|status| status.users), Ok(1));
    core.release(SHELL, id).expect("a session");
    assert_eq!(lent(&core, SHELL), log);
    core.close(SHELL).expect("nothing against it");
    assert_eq!(core.world.lent, BTreeMap::new());
    assert_eq!(core.release(SHELL, id), Err(PmemError::NoSession));
}

#[test]
fn who_begins_anew_has_lost_what_was_before() {
    let mut core = core();
    create(&mut core, SHELL, "a").expect("room");
    let first = core.session(SHELL).expect("there are some");
    open(&mut core, SHELL, "a").expect("its own");
    let second = core.session(SHELL).expect("there are some");
    assert_eq!((first, core.status(SHELL).map(|pool| pool.sessions)), (second, Ok(1)));
    core.ended(SHELL);
    assert_eq!(core.world.lent, BTreeMap::new());
}

#[test]
fn an_owner_permits_and_forbids() {
    let mut core = core();
    create(&mut core, SHELL, "a").expect("room");
    core.session(OTHER).expect("there are some");
    core.session(SECOND_SHELL).expect("there are some");
    assert_eq!(open(&mut core, OTHER, "a"), Err(PmemError::Denied));
    assert_eq!(core.remove(OTHER, "a"), Err(PmemError::Denied));
    assert_eq!(core.permit(OTHER, "a", "other", Rights::READ), Err(PmemError::Denied));
    assert!(open(&mut core, SECOND_SHELL, "a").is_ok(), "shells are one principal");
    core.permit(SHELL, "a", "other", Rights::READ).expect("the owner");
    assert_eq!(open(&mut core, OTHER, "a"), Err(PmemError::Denied), "to write");
    let opened = core.open(OTHER, "a", Rights::READ, None).expect("to read");
    let page = opened.memory.base / 4096;
    assert_eq!(core.world.lent[&(OTHER, page)], Rights::READ);
    core.forbid(SHELL, "a", "other").expect("the owner");
    assert_eq!(lent(&core, OTHER), 0);
    assert_eq!(core.open(OTHER, "a", Rights::READ, None), Err(PmemError::NoSession));
    assert_eq!(core.forbid(SHELL, "a", "shell"), Err(PmemError::Denied), "the owner stays it");
}

#[test]
fn what_is_in_use_is_deleted_when_it_is_not() {
    let mut core = core();
    let free = core.status(SHELL).expect("a pool").free;
    create(&mut core, SHELL, "a").expect("room");
    core.session(SHELL).expect("there are some");
    open(&mut core, SHELL, "a").expect("its own");
    assert_eq!(core.grow(SHELL, "a", 1), Err(PmemError::InUse));
    assert_eq!(core.remove(SHELL, "a"), Ok(Removed::InUse));
    assert_eq!(core.stat(SHELL, "a").map(drop), Err(PmemError::NotFound));
    assert_ne!(core.status(SHELL).expect("a pool").free, free);
    core.ended(SHELL);
    assert_eq!(core.status(SHELL).expect("a pool").free, free);
    assert_eq!(core.check(SHELL, 0).map(|page| page.items), Ok(vec![]));
}

fn part(begin: u64, end: u64) -> WorkPart {
    WorkPart { begin, end, reach: end }
}

#[test]
fn work_is_done_where_the_bytes_lie() {
    let mut core = core();
    let id = create(&mut core, SHELL, "a").expect("room");
    let sum = Operator::Sum.encode();
    // The base is behind the first line of the pages.
    let done = core.work(SHELL, "a", part(0x2040, 0x2048), &sum).expect("its own");
    assert_eq!((done.id, done.outcome), (id, Outcome::Sum(5)));
    core.session(SHELL).expect("there are some");
    open(&mut core, SHELL, "a").expect("its own");
    let all = part(0x2000, 0x4000);
    let search = Operator::Search { pattern: Pattern::new(&[5, 0]).expect("short"), limit: 1 };
    let found = core.work(SHELL, "a", all, &search.encode()).expect("open or not").outcome;
    assert!(matches!(found, Outcome::Found { places, .. } if places == [0x40]));
    core.close(SHELL).expect("a session");
    core.work(SHELL, "a", all, &sum).expect("its own");
    assert_eq!(core.remove(SHELL, "a"), Ok(Removed::Deleted), "nobody has it open");
    assert_eq!(core.world.lent, BTreeMap::new(), "nothing is lent for that");
}

#[test]
fn work_is_for_who_may_read_and_within_bounds() {
    let mut core = core();
    create(&mut core, SHELL, "a").expect("room");
    core.make_directory(SHELL, "d").expect("room");
    let work = |core: &mut Tested, program, path, part, operator: &[u8]| {
        core.work(program, path, part, operator).map(drop)
    };
    let (sum, word) = (Operator::Sum.encode(), part(0x2040, 0x2048));
    assert_eq!(work(&mut core, OTHER, "a", word, &sum), Err(PmemError::Denied));
    core.permit(SHELL, "a", "other", Rights::READ).expect("the owner");
    assert_eq!(work(&mut core, OTHER, "a", word, &sum), Ok(()));
    assert_eq!(work(&mut core, SHELL, "d", word, &sum), Err(PmemError::IsDirectory));
    assert_eq!(work(&mut core, SHELL, "b", word, &sum), Err(PmemError::NotFound));
    for (begin, end) in [(0, 8), (0x3ff8, 0x4008), (0x2008, 0x2000), (u64::MAX - 7, u64::MAX)] {
        let refused = work(&mut core, SHELL, "a", part(begin, end), &Operator::Least.encode());
        assert!(refused.is_err(), "{begin:#x}..{end:#x}");
    }
    let short = WorkPart { reach: 0x2040, ..word };
    assert_eq!(work(&mut core, SHELL, "a", short, &sum), Err(PmemError::NoSuchBytes));
    let long = part(0x2000, 0x2008 + WORK_MOST as u64);
    assert_eq!(work(&mut core, SHELL, "a", long, &sum), Err(PmemError::TooLong));
    let pattern = Pattern::new(b"a").expect("short");
    let many = Operator::Search { pattern, limit: PLACES_MOST + 1 }.encode();
    assert_eq!(work(&mut core, SHELL, "a", word, &many), Err(PmemError::TooLong));
    let odd = work(&mut core, SHELL, "a", part(0x2040, 0x2043), &sum);
    assert_eq!(odd, Err(PmemError::Operator(OperatorError::Words(3))));
    let unknown = work(&mut core, SHELL, "a", word, &[9]);
    assert_eq!(unknown, Err(PmemError::Operator(OperatorError::Unknown)));
}

#[test]
fn a_snapshot_is_withdrawn_from_writers_and_read_only() {
    let mut core = core();
    let id = create(&mut core, SHELL, "a").expect("room");
    core.permit(SHELL, "a", "other", Rights::READ).expect("the owner");
    for program in [SHELL, OTHER] {
        core.session(program).expect("there are some");
    }
    let opened = open(&mut core, SHELL, "a").expect("its own");
    core.open(OTHER, "a", Rights::READ, None).expect("permitted");
    assert_eq!(core.renew(SHELL, id), Ok(opened), "nothing was withdrawn");
    let before = [SHELL, OTHER].map(|program| lent(&core, program));
    assert_eq!(core.snapshot(SHELL, "a", "a").map(drop), Err(PmemError::Exists));
    assert_eq!([SHELL, OTHER].map(|program| lent(&core, program)), before);
    let snapshot = core.snapshot(SHELL, "a", "s").expect("room");
    let after = [SHELL, OTHER].map(|program| lent(&core, program));
    assert_eq!(after, [before[0] - 3, before[1]], "the control stays");
    let status = core.stat(SHELL, "s").expect("it is there");
    assert_eq!((status.kind, status.of.as_str()), (ObjectKind::Snapshot, "u64"));
    assert_eq!(core.renew(SHELL, id), Ok(opened), "where it was");
    assert_eq!([SHELL, OTHER].map(|program| lent(&core, program)), before);
    assert_eq!(open(&mut core, SHELL, "s"), Err(PmemError::ReadOnly));
    assert_eq!(core.open(OTHER, "s", Rights::READ, None), Err(PmemError::Denied));
    let shown = core.open(SHELL, "s", Rights::READ, None).expect("its own");
    assert_eq!(shown.id, snapshot);
    assert_eq!(core.renew(OTHER, snapshot), Err(PmemError::NotOpen));
    assert_eq!(core.remove(SHELL, "s"), Ok(Removed::InUse));
    core.ended(SHELL);
    core.ended(OTHER);
    assert_eq!(core.check(SHELL, 0).map(|page| page.items), Ok(vec![]));
}

#[test]
fn who_holds_an_object_while_others_wait_is_put_out() {
    let mut core = core();
    let id = create(&mut core, SHELL, "a").expect("room");
    let [mut stalls, mut waits] = [SHELL, SECOND_SHELL].map(|program| {
        let session = core.session(program).expect("there are some");
        let opened = open(&mut core, program, "a").expect("of its principal");
        used(&core, session, opened)
    });
    assert_eq!(core.contest(OTHER, id), Err(PmemError::NoSession));
    assert_eq!(core.contest(SECOND_SHELL, ObjectName(99)), Err(PmemError::NotOpen));
    assert_eq!(core.contest(SECOND_SHELL, id), Ok(()), "nobody has it");
    stalls.set(7).expect("nobody has it");
    let all = lent(&core, SHELL);
    let done = stalls.set_after(9, || {
        assert_eq!(core.contest(SECOND_SHELL, id), Ok(()));
        core.world.now += BOUND / 2;
        assert_eq!(core.contest(SHELL, id), Ok(()), "it is its own");
        assert_eq!(core.contest(SECOND_SHELL, id), Ok(()));
        core.world.now += BOUND - Duration::from_nanos(1);
        assert_eq!(core.contest(SECOND_SHELL, id), Ok(()));
        assert_eq!(lent(&core, SHELL), all, "it has its time");
        core.world.now += Duration::from_nanos(1);
        assert_eq!(core.contest(SECOND_SHELL, id), Ok(()));
    });
    assert_eq!(done, Err(TxError::PutOut));
    assert_eq!(stalls.set(9), Err(TxError::PutOut), "once for all");
    let shown: Vec<_> = core.world.lent.iter().filter(|((to, _), _)| *to == SHELL).collect();
    let writable = shown.iter().filter(|(_, rights)| rights.contain(Rights::WRITE));
    assert_eq!((shown.len(), writable.count()), (4, 1), "the object to read, and its control");
    assert_eq!(open(&mut core, SHELL, "a"), Err(PmemError::PutOut));
    assert_eq!(waits.value(), 7, "what was committed");
    waits.set(8).expect("nobody has it");
    let again = core.session(SHELL).expect("there are some");
    let log = again.log.expect("the memory is armed");
    assert_eq!(lent(&core, SHELL), usize::try_from(log.bytes / 4096).expect("few"));
    let opened = open(&mut core, SHELL, "a").expect("its own");
    assert_eq!(used(&core, again, opened).value(), 8);
    [SHELL, SECOND_SHELL].into_iter().for_each(|program| core.ended(program));
    assert_eq!(core.world.lent, BTreeMap::new());
    assert_eq!(core.check(SHELL, 0).map(|page| page.items), Ok(vec![]));
}

#[test]
fn an_object_that_goes_leaves_its_snapshot() {
    let mut core = core();
    create(&mut core, SHELL, "a").expect("room");
    core.session(SHELL).expect("there are some");
    core.snapshot(SHELL, "a", "s").expect("room");
    assert_eq!(core.snapshot(OTHER, "a", "t").map(drop), Err(PmemError::Denied));
    assert_eq!(core.snapshot(SHELL, "", "t").map(drop), Err(PmemError::IsDirectory));
    assert_eq!(core.remove(SHELL, "a"), Ok(Removed::Deleted));
    let status = core.stat(SHELL, "s").expect("it is there");
    assert_eq!((status.kind, status.users), (ObjectKind::Snapshot, 0));
    core.open(SHELL, "s", Rights::READ, None).expect("its own");
    assert_eq!(core.check(SHELL, 0).map(|page| page.items), Ok(vec![]));
}

#[test]
fn what_is_no_base_is_refused() {
    let mut core = core();
    assert_eq!(core.create(SHELL, "a", 3, vec![0; 8]), Err(PmemError::BadBase), "of no type");
    describe(&mut core, SHELL);
    assert_eq!(core.create(SHELL, "a", 3, vec![0; 7]), Err(PmemError::BadBase));
    assert_eq!(core.create(SHELL, "a", 3, vec![0; PART_MOST + 1]), Err(PmemError::TooLong));
    assert_eq!(core.describe(SHELL, 1, b"x"), Err(PmemError::TooLong), "not the next part");
    core.session(SHELL).expect("there are some");
    create(&mut core, SHELL, "a").expect("room");
    let wrong = core.open(SHELL, "a", Rights::READ, Some(1));
    let Err(PmemError::Type { expected: 1, found }) = wrong else { panic!("{wrong:?}") };
    assert_eq!(found, "u64");
}

#[test]
fn what_init_does_not_lend_is_not_open() {
    let mut core = core();
    create(&mut core, SHELL, "a").expect("room");
    core.session(SHELL).expect("there are some");
    core.world.refuses = true;
    assert_eq!(open(&mut core, SHELL, "a"), Err(PmemError::NotLent));
    assert_eq!(core.session(OTHER), Err(PmemError::NotLent));
    core.world.refuses = false;
    assert!(open(&mut core, SHELL, "a").is_ok());
    assert_eq!(core.session(OTHER).map(|session| session.slot), Ok(2));
}

#[test]
fn somebody_elses_data_is_named_until_it_is_given_up() {
    let mut image = vec![0; BYTES];
    image[70_000] = 1;
    let sim = Sim::with_contents(Domain::Adr, &image);
    let (mut core, beginning) =
        Core::new(sim.medium(0), None, Model::default(), Journal::default());
    let Beginning::Refused(refused @ PmemError::NoPool(_)) = beginning else {
        panic!("{beginning:?}")
    };
    assert_eq!(core.status(SHELL), Err(refused.clone()));
    assert_eq!(core.init(SHELL, Making::Searched), Err(refused));
    assert_eq!(sim.visible(), image);
    assert!(core.init(SHELL, Making::Forced).is_ok());
    core.session(SHELL).expect("a pool");
    assert_eq!(core.init(SHELL, Making::Forced), Err(PmemError::InUse));
}

#[test]
fn volatile_objects_are_used_in_the_same_way_and_outlive_the_server() {
    let (sim, mut core) = volatile();
    create(&mut core, SHELL, "a").expect("room");
    core.session(SHELL).expect("there are some");
    let opened = open(&mut core, SHELL, "a").expect("its own");
    let status = core.stat(SHELL, "a").expect("it is there");
    let pool = core.status(SHELL).expect("a pool").tier;
    assert_eq!([status.tier, pool], [Tier::Volatile; 2]);
    // RAM keeps its contents while the machine is on.
    let again = Sim::with_contents(Domain::Adr, &sim.visible());
    let (mut core, beginning) =
        Core::volatile(again.medium(0), Model::default(), Journal::default());
    assert!(matches!(beginning, Beginning::Opened(..)), "{beginning:?}");
    assert_eq!(
        core.stat(SHELL, "a").map(|status| (status.id, status.tier)),
        Ok((opened.id, Tier::Volatile))
    );
    assert_eq!(core.check(SHELL, 0).map(|page| page.items), Ok(vec![]));
}

/// A core over the memory as it is in `sim`, which nobody may write.
fn reading(sim: &Sim) -> (Sim, Tested, Beginning) {
    let (sim, scratch) =
        (Sim::with_contents(Domain::Adr, &sim.visible()), Sim::new(Domain::Adr, 4096));
    let (core, beginning) =
        Core::reading(sim.medium(0), scratch.medium(0), None, Model::default(), Journal::default());
    (sim, core, beginning)
}

#[test]
fn what_is_not_armed_is_read_and_never_written() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let (mut core, _) = Core::new(sim.medium(0), None, Model::default(), Journal::default());
    create(&mut core, SHELL, "a").expect("room");
    core.make_directory(SHELL, "d").expect("room");
    core.snapshot(SHELL, "a", "s").expect("room");
    core.ended(SHELL);
    let before = sim.visible();
    let (sim, mut core, beginning) = reading(&sim);
    assert_eq!(beginning, Beginning::ReadOnly);
    assert!(core.status(SHELL).expect("a pool").is_read_only);
    assert_eq!(core.session(SHELL).expect("there are some").log, None);
    let opened = core.open(SHELL, "a", Rights::READ, None).expect("its own");
    assert_eq!((opened.control, lent(&core, SHELL)), (None, 3));
    assert_eq!(core.world.lent[&(SHELL, opened.memory.base / 4096)], Rights::READ);
    assert_eq!(open(&mut core, SHELL, "a"), Err(PmemError::Unarmed));
    assert_eq!(create(&mut core, SHELL, "b"), Err(PmemError::Unarmed));
    let refused = [
        core.make_directory(SHELL, "e").map(drop),
        core.remove(SHELL, "a").map(drop),
        core.rename(SHELL, "a", "b"),
        core.link(SHELL, "a", "b"),
        core.snapshot(SHELL, "a", "b").map(drop),
        core.open(SHELL, "s", Rights::READ, None).map(drop),
        core.grow(SHELL, "d", 1).map(drop),
        core.permit(SHELL, "a", "other", Rights::READ),
        core.forbid(SHELL, "a", "other"),
        core.repair(SHELL).map(drop),
        core.init(SHELL, Making::Forced).map(drop),
    ];
    assert_eq!(refused, [const { Err(PmemError::Unarmed) }; 11]);
    assert_eq!(core.check(SHELL, 0).map(|page| page.items), Ok(vec![]));
    core.ended(SHELL);
    assert_eq!((core.world.lent.len(), sim.visible()), (0, before));
}

#[test]
fn what_has_to_be_recovered_is_not_read_before() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let (mut core, _) = Core::new(sim.medium(0), None, Model::default(), Journal::default());
    core.session(SHELL).expect("there are some");
    create(&mut core, SHELL, "a").expect("room");
    let (_, mut reader, beginning) = reading(&sim);
    let Beginning::Refused(refused @ PmemError::NoPool(_)) = beginning else {
        panic!("{beginning:?}")
    };
    assert!(refused.to_string().contains("the memory has to be armed"), "{refused}");
    assert_eq!(reader.stat(SHELL, "a").map(drop), Err(refused));
    core.ended(SHELL);
    let (_, mut reader, beginning) = reading(&sim);
    assert_eq!((beginning, reader.stat(SHELL, "a").is_ok()), (Beginning::ReadOnly, true));
}

#[test]
fn a_directory_is_listed_in_parts() {
    let mut core = core();
    core.make_directory(SHELL, "d").expect("room");
    for number in 0..30 {
        create(&mut core, SHELL, &format!("d/{number:02}")).expect("room");
    }
    let (mut names, mut more) = (Vec::<NamedObject>::new(), true);
    while more {
        let after = names.last().map_or_else(String::new, |last| last.name.clone());
        let part = core.list(SHELL, "d", &after).expect("a directory");
        more = part.more;
        names.extend(part.names);
    }
    let names: Vec<_> = names.into_iter().map(|named| named.name).collect();
    assert_eq!(names, (0..30).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever programs ask for: what is lent to one are its log, controls and its objects, and in the end
    /// nothing is lent, nothing is lost and nothing damaged.
    #[test]
    fn nothing_is_lent_that_is_not_open(
        is_volatile: bool,
        steps in prop::collection::vec((0_u8..10, 1_u16..=3, 0_u8..4), 1..60),
    ) {
        let mut core = if is_volatile { volatile().1 } else { core() };
        for (step, program, name) in steps {
            let path = format!("{name}");
            // That it was refused is an answer, too.
            match step {
                0 => drop(core.session(program)),
                1 | 2 => drop(create(&mut core, program, &path)),
                3 | 4 => drop(open(&mut core, program, &path)),
                5 => drop(core.remove(program, &path)),
                6 => drop(core.permit(program, &path, "other", Rights::READ_WRITE)),
                7 => drop(core.snapshot(program, &path, &format!("{}", (name + 1) % 4))),
                8 => renew_all(&mut core, program),
                _ => core.ended(program),
            }
            let store = core.store.as_ref().expect("a pool");
            let allowed = store.allowed();
            for (program, page) in core.world.lent.keys() {
                let is_its = |extent: &Extent| (extent.first..extent.end()).contains(page);
                prop_assert!(allowed.get(program).is_some_and(|own| own.iter().any(is_its)));
            }
        }
        (1..=3).for_each(|program| core.ended(program));
        prop_assert_eq!(&core.world.lent, &BTreeMap::new());
        prop_assert_eq!(core.check(SHELL, 0).map(|page| page.items), Ok(vec![]));
    }
}
