//! The model itself, and three mistakes that a watch must find.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::{Counts, Domain, Explorer, Failure, Limits, Sim};
use crate::medium::{LINE_BYTES, Medium};

const BYTES: usize = 4 * LINE_BYTES;

/// The words at these offsets, in every crash image of this instant.
fn left(sim: &Sim, words: &[usize]) -> BTreeSet<Vec<u64>> {
    let found = Arc::new(Mutex::new(BTreeSet::new()));
    let (words, add) = (words.to_vec(), Arc::clone(&found));
    let explorer = Explorer::new(Limits { product: 1 << 16, ..Limits::default() }, 1);
    sim.watch(explorer, move |image| {
        let word = |at: &usize| u64::from_le_bytes(image[*at..*at + 8].try_into().expect("eight"));
        add.lock().expect("no panic").insert(words.iter().map(word).collect());
        Ok(())
    });
    sim.finish().expect("everything is accepted");
    let found = found.lock().expect("no panic");
    found.clone()
}

fn set<const N: usize, const M: usize>(expected: [[u64; N]; M]) -> BTreeSet<Vec<u64>> {
    expected.into_iter().map(Vec::from).collect()
}

fn both(test: impl Fn(Domain)) {
    test(Domain::Adr);
    test(Domain::Eadr);
}

#[test]
fn stores_to_a_line_keep_their_order() {
    both(|domain| {
        let sim = Sim::new(domain, BYTES);
        let medium = sim.medium(0);
        medium.store_word(0, 1);
        medium.store_word(8, 2);
        medium.store_word(0, 3);
        assert_eq!(left(&sim, &[0, 8]), set([[0, 0], [1, 0], [1, 2], [3, 2]]));
    });
}

#[test]
fn lines_are_independent_unless_caches_are_saved() {
    let store = |domain| {
        let sim = Sim::new(domain, BYTES);
        sim.medium(0).store_word(0, 1);
        sim.medium(1).store_word(64, 2);
        left(&sim, &[0, 64])
    };
    assert_eq!(store(Domain::Adr), set([[0, 0], [0, 2], [1, 0], [1, 2]]));
    assert_eq!(store(Domain::Eadr), set([[0, 0], [1, 0], [1, 2]]));
}

#[test]
fn a_flush_is_durable_after_its_own_thread_s_fence() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let (medium, other) = (sim.medium(0), sim.medium(1));
    medium.store_word(0, 1);
    medium.fence();
    assert_eq!(left(&sim, &[0]), set([[0], [1]]), "a fence alone does nothing");
    medium.flush(0);
    other.fence();
    assert_eq!(left(&sim, &[0]), set([[0], [1]]), "another thread's fence neither");
    medium.store_word(0, 2);
    medium.fence();
    assert_eq!(left(&sim, &[0]), set([[1], [2]]), "stored after the flush");
    medium.flush(7);
    sim.locked_operation(0);
    assert_eq!(left(&sim, &[0]), set([[2]]));
}

#[test]
fn what_is_visible_is_durable_where_caches_are_saved() {
    let sim = Sim::new(Domain::Eadr, BYTES);
    sim.medium(0).store_word(0, 1);
    sim.medium(1).store_word(64, 2);
    sim.medium(1).fence();
    assert_eq!(left(&sim, &[0, 64]), set([[1, 2]]));
}

#[test]
fn words_past_the_cache_are_independent_until_the_fence() {
    both(|domain| {
        let sim = Sim::new(domain, BYTES);
        let medium = sim.medium(0);
        medium.store_line(64, &[1; LINE_BYTES]);
        let ones = u64::from_le_bytes([1; 8]);
        assert_eq!(left(&sim, &[64, 72]), set([[0, 0], [0, ones], [ones, 0], [ones, ones]]));
        sim.medium(1).fence();
        assert_eq!(left(&sim, &[120]), set([[0], [ones]]), "another thread's fence");
        medium.fence();
        assert_eq!(left(&sim, &[64, 120]), set([[ones, ones]]));
    });
}

#[test]
fn a_line_past_the_cache_covers_what_was_in_it() {
    both(|domain| {
        let sim = Sim::new(domain, BYTES);
        let medium = sim.medium(0);
        medium.store_word(64, 7);
        medium.store_line(64, &[1; LINE_BYTES]);
        let ones = u64::from_le_bytes([1; 8]);
        assert_eq!(left(&sim, &[64]), set([[0], [7], [ones]]));
        medium.fence();
        assert_eq!(left(&sim, &[64]), set([[ones]]));
    });
}

#[test]
fn wide_stores_tear_between_words() {
    both(|domain| {
        let sim = Sim::new(domain, BYTES);
        sim.medium(0).store(0, &[1; 16]);
        let ones = u64::from_le_bytes([1; 8]);
        assert_eq!(left(&sim, &[0, 8]), set([[0, 0], [ones, 0], [0, ones], [ones, ones]]));
    });
}

#[test]
fn what_is_not_aligned_tears_too() {
    let sim = Sim::new(Domain::Adr, BYTES);
    sim.medium(0).store(4, &[1; 8]);
    let (low, high) = (0x0101_0101, 0x0101_0101 << 32);
    assert_eq!(left(&sim, &[0, 8]), set([[0, 0], [high, 0], [0, low], [high, low]]));
}

#[test]
#[should_panic(expected = "not fenced since")]
fn nobody_may_store_to_a_line_that_is_under_way() {
    let medium = Sim::new(Domain::Adr, BYTES).medium(0);
    medium.store_line(0, &[1; LINE_BYTES]);
    medium.store_word(8, 1);
}

#[test]
fn a_start_finds_what_was_durable() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let medium = sim.medium(0);
    medium.store_word(0, 1);
    medium.flush(0);
    medium.fence();
    medium.store_word(0, 2);
    let next = Sim::with_contents(Domain::Adr, &sim.durable()).medium(0);
    assert_eq!((medium.load_word(0), next.load_word(0)), (2, 1));
    assert_eq!(sim.visible()[0], 2);
}

#[test]
fn many_lines_are_sampled() {
    let sim = Sim::new(Domain::Adr, 32 * LINE_BYTES);
    let medium = sim.medium(0);
    sim.watch(Explorer::new(Limits::default(), 1), |_| Ok(()));
    (0..32).for_each(|line| medium.store_word(line * LINE_BYTES, 1));
    let counts = sim.finish().expect("everything is accepted");
    let chosen = 2 + 2 * 32 + 64;
    assert_eq!(counts, Counts { instants: 1, exhausted: 0, images: chosen });
}

/// A value of two words with a flag that says whether it is whole; and the mistakes one can make.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    NoFlush,
    NoFence,
    WrongOrder,
}

const FLAG: usize = 128;

fn publish(medium: &impl Medium, mistake: Mistake) {
    let value = || {
        medium.store_word(0, 1);
        medium.store_word(64, 2);
    };
    let flag = || medium.store_word(FLAG, 1);
    if mistake == Mistake::WrongOrder {
        flag();
        persist(medium, FLAG, 8, mistake);
        value();
        persist(medium, 0, 128, mistake);
    } else {
        value();
        persist(medium, 0, 128, mistake);
        flag();
        persist(medium, FLAG, 8, Mistake::None);
    }
}

fn persist(medium: &impl Medium, at: usize, bytes: usize, mistake: Mistake) {
    if mistake != Mistake::NoFlush {
        medium.flush_range(at, bytes);
    }
    if mistake != Mistake::NoFence {
        medium.fence();
    }
}

fn watched(domain: Domain, mistake: Mistake) -> Result<Counts, Failure> {
    let sim = Sim::new(domain, BYTES);
    sim.watch(Explorer::new(Limits::default(), 1), |image| {
        let whole = (image[0], image[64]) == (1, 2);
        if image[FLAG] == 0 || whole { Ok(()) } else { Err("published, but not whole".to_owned()) }
    });
    publish(&sim.medium(0), mistake);
    sim.finish()
}

#[test]
fn what_is_right_passes() {
    let counts = watched(Domain::Adr, Mistake::None).expect("no mistake");
    assert_eq!(counts, Counts { instants: 3, exhausted: 3, images: 4 + 2 + 1 });
    watched(Domain::Eadr, Mistake::None).expect("no mistake");
}

#[test]
fn a_missing_flush_is_found() {
    watched(Domain::Adr, Mistake::NoFlush).expect_err("a mistake");
    watched(Domain::Eadr, Mistake::NoFlush).expect("no flush is needed");
}

#[test]
fn a_missing_fence_is_found() {
    watched(Domain::Adr, Mistake::NoFence).expect_err("a mistake");
}

#[test]
fn a_swapped_order_is_found() {
    for domain in [Domain::Adr, Domain::Eadr] {
        let failure = watched(domain, Mistake::WrongOrder).expect_err("a mistake");
        assert!(failure.to_string().contains("published, but not whole"), "{failure}");
    }
}
