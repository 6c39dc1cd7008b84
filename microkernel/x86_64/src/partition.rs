//! Which cores get a kernel instance, and which memory each has: a private piece, from its own domain
//! where that is known, one pool that all of them share, and the rest for core 0, which keeps the
//! lowest.

use crate::affinity::{Affinity, Domain};
use core::ops::Range;
use d3os_abi::MAX_CORES;
use heapless::Vec;
use kernel_core::RegionList;

/// Pieces begin and end at multiples of this.
const UNIT: u64 = 2 << 20;
/// What an instance needs at least: its root task, the kernel's objects, some programs.
pub const LEAST_PRIVATE: u64 = 16 << 20;
/// Of free memory, the pool gets one part in this many unless the command line says otherwise.
const POOL_PART: u64 = 4;

/// A core with an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its local APIC.
    pub apic: u32,
    /// Its memory; for core 0 none, which has everything that is in no piece.
    pub private: Range<u64>,
}

/// Who has what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The cores, by number.
    pub members: Vec<Member, MAX_CORES>,
    /// What all share: empty with one core.
    pub pool: Range<u64>,
}

impl Partition {
    /// Divides `free` among the cores with the local APICs `apics`, core 0 first. A core for which
    /// there is no piece of [`LEAST_PRIVATE`], and every one after it, goes without an instance. A
    /// pool that does not fit is made smaller.
    pub fn new(free: &RegionList, apics: &[u32], affinity: &Affinity, pool: Option<u64>) -> Self {
        let affordable = usize::try_from(free.bytes() / LEAST_PRIVATE).unwrap_or(usize::MAX);
        let apics = &apics[..apics.len().min(affordable).clamp(1, MAX_CORES)];
        let mut partition = Self::undivided(apics[0]);
        if apics.len() < 2 {
            return partition;
        }
        let spare = free.bytes() - apics.len() as u64 * LEAST_PRIVATE;
        let mut division = Division { free: free.clone(), apics, affinity };
        let pool = highest(free, pool.unwrap_or(free.bytes() / POOL_PART).min(spare));
        division.free.remove(pool.clone());
        for (core, &apic) in apics.iter().enumerate().skip(1) {
            let near = affinity.domain(apic).and_then(|domain| division.take(core, Some(domain)));
            let Some(private) = near.or_else(|| division.take(core, None)) else { break };
            // There are no more than MAX_CORES.
            let _ = partition.members.push(Member { apic, private });
        }
        if partition.members.len() > 1 {
            partition.pool = pool;
        }
        partition
    }

    /// All for core 0.
    pub fn undivided(apic: u32) -> Self {
        Self { pool: 0..0, members: Vec::from([Member { apic, private: 0..0 }]) }
    }

    /// Everything that is not core 0's.
    pub fn given_away(&self) -> RegionList {
        let mut pieces = RegionList::default();
        self.members.iter().for_each(|member| pieces.insert(member.private.clone()));
        pieces.insert(self.pool.clone());
        pieces
    }
}

/// Memory that is being divided.
struct Division<'a> {
    free: RegionList,
    apics: &'a [u32],
    affinity: &'a Affinity,
}

impl Division<'_> {
    /// Of what is free, in one domain or in all, an equal part for this core and each of those that
    /// still wait for theirs.
    fn take(&mut self, core: usize, domain: Option<Domain>) -> Option<Range<u64>> {
        let free = self.within(domain);
        let belongs = |apic: &&u32| domain.is_none() || self.affinity.domain(**apic) == domain;
        let waiting = self.apics[core..].iter().chain(&self.apics[..1]);
        let part = free.bytes() / waiting.filter(belongs).count().max(1) as u64;
        let piece = highest(&free, part.max(LEAST_PRIVATE));
        if piece.end - piece.start < LEAST_PRIVATE {
            return None;
        }
        self.free.remove(piece.clone());
        Some(piece)
    }

    fn within(&self, domain: Option<Domain>) -> RegionList {
        let Some(domain) = domain else { return self.free.clone() };
        let mut inside = RegionList::default();
        for memory in self.affinity.memory(domain) {
            for range in self.free.iter() {
                inside.insert(range.start.max(memory.start)..range.end.min(memory.end));
            }
        }
        inside
    }
}

/// The highest piece of `bytes`, or the largest there is if none is so large; in whole units.
fn highest(free: &RegionList, bytes: u64) -> Range<u64> {
    let units = |range: Range<u64>| {
        let (start, end) = (range.start.next_multiple_of(UNIT), range.end & !(UNIT - 1));
        start.min(end)..end
    };
    let length = |range: &Range<u64>| range.end - range.start;
    let bytes = bytes & !(UNIT - 1);
    let pieces = free.iter().map(units);
    match pieces.clone().filter(|piece| length(piece) >= bytes).last() {
        Some(piece) => piece.end - bytes..piece.end,
        None => pieces.max_by_key(length).unwrap_or(0..0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affinity::testing::affinity;
    use proptest::prelude::*;
    use std::vec::Vec;

    const MIB: u64 = 1 << 20;

    fn set(ranges: &[(u64, u64)]) -> RegionList {
        let mut set = RegionList::default();
        ranges.iter().for_each(|(start, end)| set.insert(start * MIB..end * MIB));
        set
    }

    fn cores(count: u32) -> Vec<u32> {
        (0..count).collect()
    }

    /// What a core has for itself.
    fn private(partition: &Partition, core: usize) -> Range<u64> {
        partition.members.get(core).map_or(0..0, |member| member.private.clone())
    }

    #[test]
    fn one_core_has_everything() {
        let partition = Partition::new(&set(&[(1, 512)]), &cores(1), &Affinity::default(), None);
        assert_eq!(partition, Partition::undivided(0));
        assert_eq!(partition.given_away().bytes(), 0);
    }

    #[test]
    fn the_rest_is_divided_equally_below_the_pool() {
        let partition = Partition::new(&set(&[(0, 400)]), &cores(3), &Affinity::default(), None);
        assert_eq!(partition.pool, 300 * MIB..400 * MIB);
        assert_eq!(private(&partition, 1), 200 * MIB..300 * MIB);
        assert_eq!(private(&partition, 2), 100 * MIB..200 * MIB);
        assert_eq!(partition.members.len(), 3);
    }

    #[test]
    fn each_core_has_memory_of_its_domain() {
        let near =
            affinity(&[(0, 0), (1, 1), (2, 1)], &[(0, 512 * MIB, 0), (512 * MIB, 1024 * MIB, 1)]);
        let partition = Partition::new(&set(&[(16, 1024)]), &cores(3), &near, Some(128 * MIB));
        assert_eq!(partition.pool, 896 * MIB..1024 * MIB);
        assert_eq!(private(&partition, 1), 704 * MIB..896 * MIB);
        assert_eq!(private(&partition, 2), 512 * MIB..704 * MIB);
    }

    #[test]
    fn a_domain_without_memory_borrows() {
        let near = affinity(&[(0, 0), (1, 1)], &[(0, 512 * MIB, 0)]);
        let partition = Partition::new(&set(&[(0, 512)]), &cores(2), &near, Some(0));
        assert_eq!(private(&partition, 1), 256 * MIB..512 * MIB);
    }

    #[test]
    fn cores_that_memory_does_not_suffice_for_go_without() {
        let partition = Partition::new(&set(&[(2, 60)]), &cores(8), &Affinity::default(), None);
        assert_eq!(partition.members.len(), 3, "58 MiB are three times 16: {partition:?}");
        assert_eq!(partition.pool.end - partition.pool.start, 10 * MIB);
        let partition = Partition::new(&set(&[(2, 30)]), &cores(8), &Affinity::default(), None);
        assert_eq!(partition, Partition::undivided(0));
    }

    proptest! {
        /// Pieces are free memory, whole units, apart from each other, large enough, near if they can be.
        #[test]
        fn any_memory_is_divided_soundly(
            ranges in prop::collection::vec((0u64..2000, 0u64..700), 0..8),
            count in 1usize..9,
            domains in prop::collection::vec(0u8..3, 9),
            memories in prop::collection::vec((0u64..2000, 1u64..900, 0u8..3), 0..6),
            pool in prop::option::of(0u64..3000),
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| (start, start + length)).collect();
            let free = set(&ranges);
            let processors: Vec<_> = (0u8..).zip(domains).collect();
            let memories: Vec<_> =
                memories.into_iter().map(|(s, l, d)| (s * MIB, (s + l) * MIB, d)).collect();
            let near = affinity(&processors, &memories);
            let cores = cores(u32::try_from(count).unwrap());
            let partition = Partition::new(&free, &cores, &near, pool.map(|pool| pool * MIB));
            prop_assert!((1..=count).contains(&partition.members.len()));
            let all = (0..count).map(|core| private(&partition, core)).chain([partition.pool.clone()]);
            let pieces: Vec<_> = all.filter(|piece| !piece.is_empty()).collect();
            let inside = |piece: &Range<u64>, set: &RegionList| {
                set.ranges().iter().any(|r| r.start <= piece.start && piece.end <= r.end)
            };
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.start % UNIT == 0 && piece.end % UNIT == 0, "{:x?}", piece);
                prop_assert!(inside(piece, &free), "{:x?}", piece);
                for other in &pieces[..index] {
                    prop_assert!(piece.end <= other.start || other.end <= piece.start);
                }
            }
            for core in 1..count {
                let piece = private(&partition, core);
                let has_one = core < partition.members.len();
                prop_assert_eq!(piece.end - piece.start >= LEAST_PRIVATE, has_one);
            }
            if partition.members.len() == 1 {
                prop_assert!(partition.pool.is_empty());
            }
            if let Some(pool) = pool {
                prop_assert!(partition.pool.end - partition.pool.start <= pool * MIB);
            }
        }
    }
}
