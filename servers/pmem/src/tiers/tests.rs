//! Both tiers over simulated memory.

use libd3os_object::object::Base;
use libd3os_object::sim::{Domain, Sim, SimMedium};

use super::*;
use crate::core::Beginning;
use crate::core::model::Model;
use crate::events::Journal;

const BYTES: usize = 2 << 20;
const SHELL: u16 = 1;
const OTHER: u16 = 2;

type Made = Core<SimMedium, Model>;
type Tested = Tiers<SimMedium, Model, fn() -> Done<Made>>;

fn volatile() -> Done<Made> {
    let sim = Sim::new(Domain::Adr, BYTES);
    // Ids that no other model draws.
    let world = Model::drawing_from(1 << 64);
    let (core, beginning) = Core::volatile(sim.medium(0), world, Journal::default());
    assert_eq!(beginning, Beginning::Made);
    Ok(core)
}

fn both() -> Tested {
    let sim = Sim::new(Domain::Adr, BYTES);
    let (core, _) = Core::new(sim.medium(0), None, Model::default(), Journal::default());
    Tiers::new(Some(Ok(core)), volatile)
}

fn create(tiers: &mut Tested, tier: Tier, path: &str) -> Done<ObjectName> {
    let description = 0_u64.description().encode();
    tiers.at(tier)?.describe(SHELL, 0, &description)?;
    tiers.create(SHELL, tier, (path, 3, Base::bytes(&5_u64).to_vec()))
}

fn names(tiers: &mut Tested, path: &str) -> Vec<(String, Tier)> {
    let (mut names, mut more) = (Vec::new(), true);
    while more {
        let after =
            names.last().map_or_else(String::new, |(name, _): &(String, Tier)| name.clone());
        let part = tiers.list(SHELL, path, &after).expect("a directory");
        more = part.more;
        names.extend(part.names.into_iter().map(|named| (named.name, named.status.tier)));
    }
    names
}

#[test]
fn a_path_leads_to_one_object_of_whichever_tier() {
    let mut tiers = both();
    let [persistent, volatile] = [Tier::Persistent, Tier::Volatile];
    assert_eq!(tiers.usual(), persistent);
    create(&mut tiers, persistent, "b").expect("room");
    let status = tiers.status(SHELL, volatile);
    assert!(matches!(status, Err(PmemError::NoRam(_))), "{status:?}");
    assert!(tiers.volatile.is_none(), "nobody has asked for it");
    let id = create(&mut tiers, volatile, "a").expect("room");
    assert_eq!(tiers.status(SHELL, volatile).map(|pool| pool.tier), Ok(volatile));
    assert_eq!(create(&mut tiers, volatile, "b"), Err(PmemError::Exists));
    assert_eq!(create(&mut tiers, persistent, "a"), Err(PmemError::Exists));
    let tier_of = |tiers: &mut Tested, path| {
        tiers.of(path).and_then(|core| core.stat(SHELL, path)).map(|status| status.tier)
    };
    assert_eq!(tier_of(&mut tiers, "a"), Ok(volatile));
    assert_eq!(tier_of(&mut tiers, "b"), Ok(persistent));
    assert_eq!(tier_of(&mut tiers, "c"), Err(PmemError::NotFound));
    assert_eq!(names(&mut tiers, ""), [("a".into(), volatile), ("b".into(), persistent)]);
    for tier in [persistent, volatile] {
        tiers.session(SHELL, tier).expect("there are some");
    }
    let open = |tiers: &mut Tested, tier| tiers.open(SHELL, tier, ("a", Rights::READ_WRITE, None));
    assert_eq!(open(&mut tiers, persistent), Err(PmemError::OtherTier(volatile)));
    assert_eq!(open(&mut tiers, volatile).map(|opened| opened.id), Ok(id));
    assert!(tiers.with(SHELL, id).and_then(|core| core.release(SHELL, id)).is_ok());
    let moved = tiers.naming(("a", "b"), |core| core.rename(SHELL, "a", "b"));
    assert_eq!(moved, Err(PmemError::Exists));
    tiers.naming(("a", "c"), |core| core.rename(SHELL, "a", "c")).expect("it is free");
    assert_eq!(tier_of(&mut tiers, "c"), Ok(volatile));
    tiers.ended(SHELL);
    assert_eq!(tiers.check(SHELL, 0).map(|page| page.next), Ok(Some(VOLATILE_DAMAGE)));
    assert_eq!(tiers.check(SHELL, VOLATILE_DAMAGE).map(|page| page.items), Ok(vec![]));
    assert_eq!(tiers.repair(SHELL).map(|page| page.items), Ok(vec![]));
}

#[test]
fn directories_are_in_both_tiers_and_listed_once() {
    let mut tiers = both();
    tiers.make_directory(SHELL, Tier::Persistent, "d").expect("room");
    tiers.make_directory(SHELL, Tier::Persistent, "d/e").expect("room");
    create(&mut tiers, Tier::Volatile, "d/e/x").expect("its directories are made");
    assert_eq!(names(&mut tiers, "").len(), 1);
    assert_eq!(names(&mut tiers, "d/e"), [("x".into(), Tier::Volatile)]);
    let missing = create(&mut tiers, Tier::Volatile, "f/x");
    assert_eq!(missing, Err(PmemError::NotFound));
    assert_eq!(create(&mut tiers, Tier::Volatile, "d"), Err(PmemError::Exists));
    tiers.make_directory(SHELL, Tier::Volatile, "v").expect("room");
    create(&mut tiers, Tier::Persistent, "v/y").expect("the same the other way");
}

#[test]
fn long_lists_of_both_tiers_are_told_in_parts() {
    let mut tiers = both();
    let name = |number: u32| format!("{number:02}-{}", "long".repeat(20));
    for number in 0..40 {
        let tier = if number % 3 == 0 { Tier::Volatile } else { Tier::Persistent };
        create(&mut tiers, tier, &name(number)).expect("room");
    }
    let found: Vec<String> = names(&mut tiers, "").into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, (0..40).map(name).collect::<Vec<_>>());
    assert!(tiers.list(SHELL, "", "").expect("a directory").more, "more than an answer holds");
}

#[test]
fn a_machine_without_persistent_memory_has_volatile_objects_only() {
    let mut tiers: Tested = Tiers::new(None, volatile);
    assert_eq!(tiers.usual(), Tier::Volatile);
    let missing = create(&mut tiers, Tier::Persistent, "a");
    assert!(matches!(missing, Err(PmemError::NoMemory(_))), "{missing:?}");
    create(&mut tiers, Tier::Volatile, "a").expect("room");
    assert_eq!(names(&mut tiers, ""), [("a".into(), Tier::Volatile)]);
    assert_eq!(tiers.check(OTHER, 0).map(|page| page.next), Ok(None));
}

#[test]
fn without_ram_persistent_objects_are_served() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let (core, _) = Core::new(sim.medium(0), None, Model::default(), Journal::default());
    let mut tiers: Tested = Tiers::new(Some(Ok(core)), || Err(PmemError::NoRam("none".into())));
    create(&mut tiers, Tier::Persistent, "a").expect("room");
    let refused = create(&mut tiers, Tier::Volatile, "b");
    assert_eq!(refused, Err(PmemError::NoRam("none".into())));
    assert_eq!(names(&mut tiers, "").len(), 1);
}
