//! The ring directory: what a program knows of the pairs of rings in its window.
//!
//! One page that `init` writes and the program reads. Each place of the ring window has an entry.
//!
//! - A place that a grant names ([`crate::start::RingGrant`]) stands for a *service* that the program
//!   calls. Its entry says where in the window the pair of rings lies that leads there now.
//! - At any other place that has an entry lies the pair of a *client* that the program serves.
//!
//! A place of the window holds one pair at most, whoever's it is.
//!
//! # Life of a pair
//!
//! 1. *Attach.* `init` takes a free place in each of the two windows, maps the memory, all zeros, there,
//!    puts the capabilities of the bells into both programs, writes both entries, and rings both
//!    bells. A client's services are attached before it starts, as far as they run.
//! 2. *Use.* The client sends from its next call on; the server takes it in when its bell rings.
//! 3. *End.* A side drops its ends when it sees that the other has ended or broken the protocol,
//!    or that its own entry is cleared or of another generation; dropping says so in the rings
//!    ([`super::Pair::has_ended`]). After that it does not touch this memory. For a program that ended
//!    without dropping anything `init` says it ([`super::Pair::end`]) and rings the peer's bell.
//! 4. *Detach.* `init` clears the entry at once where a program is no longer to be reached. It unmaps
//!    the memory of a running program only when the program has ended its side, and clears it for
//!    another use when both are out: each has said so, or is dead. How long that takes is the
//!    program's affair: one that does not run for a while, or does not call, keeps the memory, and
//!    one that never lets go keeps it until its own end.
//!
//! So no memory goes away under a program. A call that was under way when its server ended answers
//! `Restarted`; one that finds the server gone lets go of the pair and waits until the service is
//! attached anew, as it would at an endpoint; and where the entry is cleared, because the server is
//! not to come back, calls answer `Unavailable`.

use super::sync::{AtomicU64, Ordering, fence};
use crate::start::layout::{PAGE_SIZE, RING_PLACES};

/// What stands in a place's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingEntry {
    /// Which of the pairs that were attached here it is.
    pub generation: u32,
    /// Slot of the [`crate::cap::Signal`] that wakes the peer.
    pub bell: u32,
    /// For a client: the badge that it is known by. For a service: the place in the window where
    /// the pair lies.
    pub peer: u64,
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

/// One place: generation (odd while a pair is attached) and bell in one word, then the peer.
#[derive(Debug)]
#[repr(C)]
struct Place {
    state: AtomicU64,
    peer: AtomicU64,
}

impl Default for Place {
    fn default() -> Self {
        Self { state: AtomicU64::new(0), peer: AtomicU64::new(0) }
    }
}

/// A directory without entries, as a page of zeros is one.
impl Default for Directory {
    fn default() -> Self {
        Self { places: core::array::from_fn(|_| Place::default()), changes: AtomicU64::new(0) }
    }
}

impl Directory {
    /// Says that a client's pair is attached at this place, that the capability in slot `bell` wakes
    /// the client, and by what badge it is known. Tells the pair's generation, which is not that of
    /// the last one here; `None` where there is no such place.
    pub fn attach_client(&self, place: u16, bell: u32, caller: u64) -> Option<u32> {
        self.attach(place, bell, caller)
    }

    /// Says that the service which this place stands for is reached over the pair at `pair`, and
    /// that the capability in slot `bell` wakes the server. Tells the pair's generation, as
    /// [`Self::attach_client`].
    pub fn attach_service(&self, place: u16, bell: u32, pair: u16) -> Option<u32> {
        self.attach(place, bell, pair.into())
    }

    fn attach(&self, place: u16, bell: u32, peer: u64) -> Option<u32> {
        let entry = self.places.get(usize::from(place))?;
        let last = generation(entry.state.load(Ordering::Relaxed));
        let next = last.wrapping_add(if is_attached(last) { 2 } else { 1 });
        // A reader must not take the new peer for the old pair's: it sees neither meanwhile.
        entry.state.store(state(next.wrapping_sub(1), 0), Ordering::Relaxed);
        fence(Ordering::Release);
        entry.peer.store(peer, Ordering::Relaxed);
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
        let peer = entry.peer.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let after = entry.state.load(Ordering::Relaxed);
        let generation = generation(before);
        (before == after && is_attached(generation)).then(|| RingEntry {
            generation,
            bell: bell(before),
            peer,
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
                .prop_map(|(place, bell, peer)| Step::Attach(place, bell, peer)),
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
                    Step::Attach(place, bell, peer) => match directory.attach_client(place, bell, peer) {
                        Some(generation) => {
                            prop_assert!(seen.insert((place, generation)));
                            model.insert(place, RingEntry { generation, bell, peer });
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
                    directory.attach_client(1, round, u64::from(round) << 7);
                    if round % 3 == 0 {
                        directory.detach(1);
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
            while !stop.load(Ordering::Relaxed) {
                if let Some(entry) = directory.get(1) {
                    assert_eq!(entry.peer, u64::from(entry.bell) << 7);
                }
            }
        });
    }
}
