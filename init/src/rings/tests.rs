//! The rings' decisions against a model of the programs' memory.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CORES: u32 = 4;
const PROGRAMS: u32 = 6;
/// Programs 1 and 2 serve; the others call both.
const SERVERS: u32 = 2;

fn number(number: u32) -> ProgramNumber {
    ProgramNumber::new(number).expect("not zero")
}

fn candidate(program: u32, core: u32) -> Candidate {
    let serves = program <= SERVERS;
    let servers = (1..=SERVERS).filter(|_| !serves);
    let calls = servers.map(|server| (format!("s{server}"), number(server))).collect();
    Candidate { program: number(program), core, session: 0, serves, calls }
}

fn pool(chunks: u64) -> u64 {
    board::bytes(CORES).next_multiple_of(RING_SPAN) + chunks * RING_SPAN
}

fn rings(chunks: u64) -> Rings {
    Rings::new(PROGRAMS as usize, CORES, pool(chunks))
}

fn attached(actions: &[Action]) -> Vec<Attachment> {
    let attachments = actions.iter().filter_map(|action| match action {
        Action::Change(RingChange::Attach(pair)) => Some(*pair),
        _ => None,
    });
    attachments.collect()
}

#[test]
fn a_client_is_given_its_pair_with_its_start_and_the_server_after() {
    let mut rings = rings(4);
    let server = rings.start(&candidate(1, 0)).expect("room");
    assert_eq!((server.line, server.routes.len()), (Some(1), 0));
    let client = rings.start(&Candidate { session: 2, ..candidate(3, 2) }).expect("room");
    assert_eq!(client.line, Some(1), "another core's lines");
    let pair = client.routes[0].pair.expect("its server runs");
    assert_eq!((pair.peer, pair.caller), (Bell { core: 0, line: 1 }, 2 << 16 | 3));
    assert_eq!(client.before, [Action::Clear(pair.region)]);
    let theirs = attached(&client.after);
    assert_eq!(theirs.len(), 1, "the other server does not run");
    assert_eq!((theirs[0].program, theirs[0].region), (number(1), pair.region));
    assert_eq!(theirs[0].peer, Bell { core: 2, line: 1 });
    assert_eq!((client.routes[1].pair, client.routes[1].place), (None, 1));

    let other = rings.start(&candidate(2, 3)).expect("room");
    let [server_s, client_s] = attached(&other.after)[..] else { panic!("both ends") };
    assert_eq!((server_s.program, client_s.program), (number(2), number(3)));
    assert_eq!((server_s.caller, client_s.place), (2 << 16 | 3, 1));
    assert_ne!(server_s.region, pair.region);
    let held: Vec<_> = rings.held_by(number(2)).collect();
    let line = Held::Line(Bell { core: 3, line: 1 });
    assert_eq!(held, [line, Held::Pair { place: 0, client: number(3) }]);
    assert_eq!(rings.held_by(number(3)).count(), 1, "its routes are its own");
}

#[test]
fn a_dead_client_s_memory_is_taken_when_the_server_is_done_with_it() {
    let mut rings = rings(4);
    rings.start(&candidate(1, 0)).expect("room");
    let pair = rings.start(&candidate(3, 1)).expect("room").routes[0].pair.expect("open");
    let actions = rings.ended(number(3), false, 10);
    let retract = Action::Change(RingChange::Retract(number(1), 0));
    assert_eq!(actions, [Action::End(pair.region, Side::Client), retract]);
    assert!(rings.has_closing());
    assert_eq!(rings.tick(|_, side| side == Side::Client), []);
    let detach = Action::Change(RingChange::Detach(number(1), 0));
    assert_eq!(rings.tick(|_, _| true), [detach]);
    assert!(!rings.has_closing());
    let again = rings.start(&candidate(3, 1)).expect("room").routes[0].pair.expect("open");
    assert_eq!((again.region, again.place), (pair.region, 0));
}

#[test]
fn a_program_that_does_not_run_keeps_the_memory_until_it_does_or_ends() {
    let mut rings = rings(2);
    rings.start(&candidate(1, 0)).expect("room");
    let pair = rings.start(&candidate(3, 1)).expect("room").routes[0].pair.expect("open");
    rings.ended(number(3), false, 10);
    assert!(rings.is_pressing(10 + PRESSING_US - 1) && !rings.is_pressing(10 + PRESSING_US));
    assert_eq!(rings.tick(|_, _| false), []);
    let other = rings.start(&candidate(3, 1)).expect("room").routes[0].pair.expect("open");
    assert_ne!(other.region, pair.region);
    assert_eq!(rings.start(&candidate(4, 1)), Err(RingShortage::Pool));
    // The server is dead: nobody is left who could use the first pair.
    rings.ended(number(1), true, 20);
    rings.start(&candidate(1, 0)).expect("room");
    assert_eq!(rings.tick(|_, _| false), [Action::Change(RingChange::Detach(number(1), 0))]);
    let client = rings.start(&candidate(4, 1)).expect("the memory came back");
    assert_eq!(client.routes[0].pair.map(|pair| pair.region), Some(pair.region));
}

#[test]
fn clients_of_a_server_that_returns_are_connected_anew() {
    let mut rings = rings(4);
    rings.start(&candidate(1, 0)).expect("room");
    let old = rings.start(&candidate(3, 1)).expect("room").routes[0].pair.expect("open");
    let actions = rings.ended(number(1), true, 10);
    let wake = Action::Change(RingChange::Wake(number(3)));
    assert_eq!(actions, [Action::End(old.region, Side::Server), wake]);
    assert_eq!(rings.tick(|_, _| true), [], "it waits for the server");
    assert_eq!(attached(&rings.start(&candidate(1, 0)).expect("room").after), []);
    let actions = rings.tick(|_, _| true);
    assert_eq!(actions[0], Action::Change(RingChange::Detach(number(3), 0)));
    assert_eq!(actions[1], Action::Clear(old.region));
    let [server, client] = attached(&actions)[..] else { panic!("both ends") };
    assert_eq!((server.program, client.program), (number(1), number(3)));
}

#[test]
fn clients_of_a_server_that_stays_away_lose_their_pair() {
    let mut rings = rings(4);
    rings.start(&candidate(1, 0)).expect("room");
    rings.start(&candidate(3, 1)).expect("room");
    rings.ended(number(1), true, 10);
    assert_eq!(rings.tick(|_, _| true), []);
    rings.given_up(number(1));
    let changes = [RingChange::Retract(number(3), 0), RingChange::Detach(number(3), 0)];
    assert_eq!(rings.tick(|_, _| true), changes.map(Action::Change));
    assert_eq!(attached(&rings.start(&candidate(1, 2)).expect("room").after).len(), 2);
}

#[test]
fn shortages_are_told_and_change_nothing() {
    let mut scarce = rings(1);
    for server in 1..=SERVERS {
        scarce.start(&candidate(server, 0)).expect("no memory needed");
    }
    assert_eq!(scarce.start(&candidate(3, 1)), Err(RingShortage::Pool));
    scarce.ended(number(2), false, 0);
    assert!(scarce.start(&candidate(3, 1)).is_ok(), "the one chunk came back");

    let mut rings = Rings::new(40, CORES, pool(99));
    let seats = (3..18).map(|n| rings.start(&candidate(n, 1)).map(|seating| seating.line));
    assert!(seats.eq((1..16).map(|line| Ok(Some(line)))));
    assert_eq!(rings.start(&candidate(20, 1)), Err(RingShortage::Lines));
    rings.ended(number(7), false, 0);
    assert_eq!(rings.start(&candidate(20, 1)).map(|seating| seating.line), Ok(Some(5)));
}

/// Programs and their windows, as the actions leave them.
#[derive(Default)]
struct Model {
    /// By program: the core of those that run.
    running: BTreeMap<u32, u32>,
    windows: BTreeMap<(u32, u16), Region>,
    /// Memory that was used since it was last cleared.
    dirty: BTreeSet<u64>,
    /// Who has said of which memory that it does not use it any more.
    done: BTreeSet<(u64, bool)>,
}

impl Model {
    fn attach(&mut self, pair: &Attachment) -> Result<(), TestCaseError> {
        let program = pair.program.number();
        prop_assert!(self.running.contains_key(&program), "attached to what does not run");
        let before = self.windows.insert((program, pair.place), pair.region);
        prop_assert_eq!(before, None, "the place was taken");
        let users = self.windows.values().filter(|region| **region == pair.region).count();
        prop_assert!(users <= 2, "more than two ends of a pair");
        Ok(())
    }

    fn carry_out(&mut self, actions: &[Action]) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Clear(region) => {
                    let used = self.windows.values().any(|known| known == region);
                    prop_assert!(!used, "cleared while it is mapped");
                    let start = region.range().start();
                    self.dirty.remove(&start);
                    self.done.retain(|(known, _)| *known != start);
                }
                Action::End(region, _) => drop(self.dirty.insert(region.range().start())),
                Action::Change(RingChange::Attach(pair)) => {
                    prop_assert!(!self.dirty.contains(&pair.region.range().start()));
                    self.attach(pair)?;
                }
                Action::Change(RingChange::Detach(program, place)) => {
                    let program = program.number();
                    if let Some(region) = self.windows.remove(&(program, *place)) {
                        let said = (region.range().start(), program <= SERVERS);
                        prop_assert!(self.done.contains(&said), "taken away from under it");
                    }
                }
                Action::Change(RingChange::Wake(_) | RingChange::Retract(..)) => {}
            }
        }
        Ok(())
    }

    fn tick(&mut self, rings: &mut Rings, has_ended: bool) -> Result<(), TestCaseError> {
        let actions = rings.tick(|region, side| {
            if has_ended {
                self.done.insert((region.range().start(), side == Side::Server));
            }
            has_ended
        });
        self.carry_out(&actions)
    }

    fn end(&mut self, program: u32) {
        self.running.remove(&program);
        self.windows.retain(|(owner, _), _| *owner != program);
    }
}

proptest! {
    /// Whatever starts and ends: memory is mapped in two programs at most, the two ends of one
    /// connection; taken away only from a program that is done with it; never cleared while it is
    /// mapped, always cleared before it is used again; and none is lost.
    #[test]
    fn memory_has_two_owners_at_most(
        steps in prop::collection::vec((0u8..4, 1..=PROGRAMS, 0..CORES, any::<bool>()), 1..150),
    ) {
        let chunks = 5;
        let mut rings = rings(chunks);
        let mut model = Model::default();
        let mut now = 0;
        for (event, program, core, flag) in steps {
            now += 1_000;
            match event {
                0 if !model.running.contains_key(&program) => {
                    let Ok(seating) = rings.start(&candidate(program, core)) else { continue };
                    prop_assert!(seating.line.is_some_and(|line| line != INIT_LINE));
                    model.running.insert(program, core);
                    model.carry_out(&seating.before)?;
                    for pair in seating.routes.iter().filter_map(|route| route.pair) {
                        model.attach(&pair)?;
                    }
                    model.carry_out(&seating.after)?;
                }
                1 if model.running.contains_key(&program) => {
                    model.end(program);
                    model.carry_out(&rings.ended(number(program), flag, now))?;
                }
                2 => model.tick(&mut rings, flag)?,
                3 => {
                    rings.given_up(number(program));
                    model.tick(&mut rings, false)?;
                }
                _ => {}
            }
        }
        for program in model.running.keys().copied().collect::<Vec<_>>() {
            model.end(program);
            model.carry_out(&rings.ended(number(program), false, now))?;
        }
        for server in 1..=SERVERS {
            rings.given_up(number(server));
        }
        model.tick(&mut rings, false)?;
        prop_assert!(model.windows.is_empty() && rings.connections.is_empty());
        prop_assert!(rings.seats.iter().all(|seat| seat.places == 0 && seat.bell.is_none()));
        prop_assert!(rings.lines.iter().all(|lines| *lines == 1 << INIT_LINE));
        let unused = (rings.fresh.end - rings.fresh.start) / RING_SPAN;
        prop_assert_eq!(unused + rings.free.len() as u64, chunks);
    }
}
