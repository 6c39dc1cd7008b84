//! The ring directory: what a program knows of the pairs of rings in its window.
//!
//! One page that `init` writes and the program reads. For each place of the ring window it says
//! whether a pair of rings is attached there, which capability wakes the peer, and on whose behalf
//! the peer calls. A place where the program is the client is one of a grant
//! ([`crate::start::RingGrant`]); at all others it is the server.
//!
//! # Life of a pair
//!
//! 1. *Attach.* `init` clears the memory, maps it into both programs, puts the capabilities of the
//!    bells into both, writes both directories, and rings both bells. A client's first pair is
//!    attached before the client starts.
//! 2. *Use.* The client sends from the first call on, the server as soon as it has seen its entry.
//! 3. *Detach.* `init` clears the entry and rings the bell. A program that sees its entry cleared
//!    or replaced drops its ends, which says so in the rings ([`super::Pair::has_ended`]); from then on it does
//!    not touch the memory until an entry of another generation is there. Only then may `init`
//!    unmap the memory, or clear it for the next attachment. A program that does not drop its ends
//!    within a time that `init` sets faults when the memory is gone: its own loss.
//! 4. A program that *ended* cannot drop its ends: `init` does it in its place
//!    ([`super::Pair::end`]) and rings the peer's bell. The peer sees `Closed` and drops its ends too;
//!    a client's calls answer `Restarted` until a pair of another generation is attached at the
//!    same place, and `Unavailable` while the entry is cleared.

use super::sync::{AtomicU64, Ordering, fence};
use crate::start::layout::{PAGE_SIZE, RING_PLACES};

/// What stands in a place's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingEntry {
    /// Which of the pairs that were attached here it is.
    pub generation: u32,
    /// Slot of the [`crate::cap::Signal`] that wakes the peer.
    pub bell: u32,
    /// Badge that the server knows the client by; of no meaning to a client.
    pub caller: u64,
}

/// The directory page. There is one writer.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Directory {
    places: [Place; RING_PLACES as usize],
    /// How often an entry was written.
    changes: AtomicU64,
}

const _: () = assert!(size_of::<Directory>() as u64 <= PAGE_SIZE);

/// One place: generation (odd while a pair is attached) and bell in one word, then the caller.
#[derive(Debug)]
#[repr(C)]
struct Place {
    state: AtomicU64,
    caller: AtomicU64,
}

impl Default for Place {
    fn default() -> Self {
        Self { state: AtomicU64::new(0), caller: AtomicU64::new(0) }
    }
}

/// A directory without entries, as a page of zeros is one.
impl Default for Directory {
    fn default() -> Self {
        Self { places: core::array::from_fn(|_| Place::default()), changes: AtomicU64::new(0) }
    }
}

impl Directory {
    /// Says that a pair is attached at this place, whose other side is woken by the capability in
    /// slot `bell` and known as `caller`. Tells its generation, which is not that of the place's
    /// last pair; `None` where there is no such place.
    pub fn attach(&self, place: u16, bell: u32, caller: u64) -> Option<u32> {
        let entry = self.places.get(usize::from(place))?;
        let last = generation(entry.state.load(Ordering::Relaxed));
        let next = last.wrapping_add(if is_attached(last) { 2 } else { 1 });
        // A reader must not take the new caller for the old pair's: it sees neither meanwhile.
        entry.state.store(state(next.wrapping_sub(1), 0), Ordering::Relaxed);
        fence(Ordering::Release);
        entry.caller.store(caller, Ordering::Relaxed);
        entry.state.store(state(next, bell), Ordering::Release);
        self.changed();
        Some(next)
    }

    /// Says that no pair is attached at this place any longer.
    pub fn detach(&self, place: u16) {
        let Some(entry) = self.places.get(usize::from(place)) else { return };
        let last = generation(entry.state.load(Ordering::Relaxed));
        if is_attached(last) {
            entry.state.store(state(last.wrapping_add(1), 0), Ordering::Release);
            self.changed();
        }
    }

    /// The entry of this place, or `None` where there is no pair. An entry that is being written
    /// counts as none: [`Self::changes`] is raised after.
    #[must_use]
    pub fn get(&self, place: u16) -> Option<RingEntry> {
        let entry = self.places.get(usize::from(place))?;
        let before = entry.state.load(Ordering::Acquire);
        let caller = entry.caller.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let after = entry.state.load(Ordering::Relaxed);
        let generation = generation(before);
        (before == after && is_attached(generation)).then(|| RingEntry {
            generation,
            bell: bell(before),
            caller,
        })
    }

    /// A number that changes after every change of an entry: who has read it and then the
    /// entries need not read them again before it differs.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn changed(&self) {
        let changes = self.changes.load(Ordering::Relaxed);
        self.changes.store(changes.wrapping_add(1), Ordering::Release);
    }
}

const fn state(generation: u32, bell: u32) -> u64 {
    // Widening, which `From` cannot do in a constant function.
    ((bell as u64) << 32) | generation as u64
}

#[expect(clippy::cast_possible_truncation, reason = "takes the word apart")]
const fn generation(state: u64) -> u32 {
    state as u32
}

const fn bell(state: u64) -> u32 {
    (state >> 32) as u32
}

const fn is_attached(generation: u32) -> bool {
    generation & 1 == 1
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::collections::BTreeMap;
    use core::sync::atomic::AtomicBool;
    use proptest::prelude::*;
    use std::thread;

    #[derive(Clone, Debug)]
    enum Step {
        Attach(u16, u32, u64),
        Detach(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = 0..RING_PLACES + 2;
        prop_oneof![
            (place.clone(), any::<u32>(), any::<u64>())
                .prop_map(|(place, bell, caller)| Step::Attach(place, bell, caller)),
            place.prop_map(Step::Detach),
        ]
    }

    proptest! {
        /// A directory is a map, and no two pairs at a place have the same generation.
        #[test]
        fn a_directory_is_a_map(steps in prop::collection::vec(step(), 0..200)) {
            let directory = Directory::default();
            let mut model = BTreeMap::new();
            let mut seen = std::collections::BTreeSet::new();
            for step in steps {
                let changes = directory.changes();
                match step {
                    Step::Attach(place, bell, caller) => match directory.attach(place, bell, caller) {
                        Some(generation) => {
                            prop_assert!(seen.insert((place, generation)));
                            model.insert(place, RingEntry { generation, bell, caller });
                        }
                        None => prop_assert!(place >= RING_PLACES),
                    },
                    Step::Detach(place) => {
                        directory.detach(place);
                        let was = model.remove(&place).is_some();
                        prop_assert_eq!(directory.changes() != changes, was);
                    }
                }
                for place in 0..RING_PLACES + 2 {
                    prop_assert_eq!(directory.get(place), model.get(&place).copied());
                }
            }
        }
    }

    #[test]
    fn a_reader_never_sees_half_of_an_entry() {
        let (directory, stop) = (Directory::default(), AtomicBool::new(false));
        let rounds = if cfg!(miri) { 200 } else { 200_000 };
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..rounds {
                    directory.attach(1, round, u64::from(round) << 7);
                    if round % 3 == 0 {
                        directory.detach(1);
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
            while !stop.load(Ordering::Relaxed) {
                if let Some(entry) = directory.get(1) {
                    assert_eq!(entry.caller, u64::from(entry.bell) << 7);
                }
            }
        });
    }
}
