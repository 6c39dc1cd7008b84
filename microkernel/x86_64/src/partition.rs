//! Which core gets which memory: a private piece each, from its own domain where that is known, one
//! pool that all of them share, and the rest for core 0, which keeps the lowest.

use crate::affinity::{Affinity, Domain};
use crate::cores::Cores;
use core::ops::Range;
use d3os_abi::MAX_CORES;
use kernel_core::RegionList;

/// Pieces begin and end at multiples of this.
const UNIT: u64 = 2 << 20;
/// What an instance needs at least: its root task, the kernel's objects, some programs.
pub const LEAST_PRIVATE: u64 = 16 << 20;
/// Of free memory, the pool gets one part in this many unless the command line says otherwise.
const POOL_PART: u64 = 4;

/// Who has what. Everything that is in none of these pieces is core 0's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What all share: empty with one core.
    pub pool: Range<u64>,
    private: [Range<u64>; MAX_CORES],
    cores: u32,
}

impl Partition {
    /// Divides `free`. A core for which there is no piece of [`LEAST_PRIVATE`], and every one after
    /// it, goes without an instance. A pool that does not fit is made smaller.
    #[must_use]
    pub fn new(free: &RegionList, cores: &Cores, affinity: &Affinity, pool: Option<u64>) -> Self {
        let mut partition = Self::undivided();
        let affordable = u32::try_from(free.bytes() / LEAST_PRIVATE).unwrap_or(u32::MAX);
        let cores = &cores.first(affordable);
        if cores.count() < 2 {
            return partition;
        }
        let spare = free.bytes() - u64::from(cores.count()) * LEAST_PRIVATE;
        let mut division = Division { free: free.clone(), cores, affinity };
        let pool = division.take(pool.unwrap_or(free.bytes() / POOL_PART).min(spare));
        for core in 1..cores.count() {
            match division.take_private(core) {
                Some(piece) => partition.private[core as usize] = piece,
                None => break,
            }
            partition.cores = core + 1;
        }
        if partition.cores > 1 {
            partition.pool = pool;
        }
        partition
    }

    /// All for core 0.
    #[must_use]
    pub fn undivided() -> Self {
        Self { pool: 0..0, private: [const { 0..0 }; MAX_CORES], cores: 1 }
    }

    /// Cores that have memory.
    #[must_use]
    pub fn cores(&self) -> u32 {
        self.cores
    }

    /// The memory of a core other than 0.
    #[must_use]
    pub fn private(&self, core: u32) -> Range<u64> {
        self.private.get(core as usize).cloned().unwrap_or(0..0)
    }

    /// Everything that is not core 0's.
    pub fn given_away(&self) -> impl Iterator<Item = &Range<u64>> {
        self.private.iter().chain([&self.pool]).filter(|piece| !piece.is_empty())
    }
}

/// Memory that is being divided.
struct Division<'a> {
    free: RegionList,
    cores: &'a Cores,
    affinity: &'a Affinity,
}

impl Division<'_> {
    /// A core's piece: its part of what is free in its domain, or else of all.
    fn take_private(&mut self, core: u32) -> Option<Range<u64>> {
        let domain = self.cores.apic(core).and_then(|apic| self.affinity.domain(apic));
        let near = domain.and_then(|domain| self.take_part(core, Some(domain)));
        near.or_else(|| self.take_part(core, None))
    }

    /// An equal part for this core and each of those that still wait for theirs.
    fn take_part(&mut self, core: u32, domain: Option<Domain>) -> Option<Range<u64>> {
        let free = self.within(domain);
        let waiting = (core..self.cores.count()).chain([0]);
        let sharers = waiting.filter(|core| domain.is_none() || self.domain(*core) == domain);
        let part = free.bytes() / sharers.count().max(1) as u64;
        let piece = highest(&free, part.max(LEAST_PRIVATE));
        if piece.end - piece.start < LEAST_PRIVATE {
            return None;
        }
        self.free.remove(piece.clone());
        Some(piece)
    }

    fn take(&mut self, bytes: u64) -> Range<u64> {
        let piece = highest(&self.free, bytes);
        self.free.remove(piece.clone());
        piece
    }

    fn domain(&self, core: u32) -> Option<Domain> {
        self.affinity.domain(self.cores.apic(core)?)
    }

    /// What is free, in one domain or in all.
    fn within(&self, domain: Option<Domain>) -> RegionList {
        let Some(domain) = domain else { return self.free.clone() };
        let mut inside = RegionList::default();
        for memory in self.affinity.memory(domain) {
            for range in self.free.ranges() {
                inside.insert(range.start.max(memory.start)..range.end.min(memory.end));
            }
        }
        inside
    }
}

/// The highest piece of `bytes`, or the largest there is if none is so large; in whole units.
fn highest(free: &RegionList, bytes: u64) -> Range<u64> {
    let units = |range: &Range<u64>| {
        let (start, end) = (range.start.next_multiple_of(UNIT), range.end & !(UNIT - 1));
        start.min(end)..end
    };
    let length = |range: &Range<u64>| range.end - range.start;
    let bytes = bytes & !(UNIT - 1);
    let mut pieces = free.ranges().iter().map(units);
    match pieces.clone().rev().find(|piece| length(piece) >= bytes) {
        Some(piece) => piece.end - bytes..piece.end,
        None => pieces.by_ref().max_by_key(length).unwrap_or(0..0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affinity::testing::affinity;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn set(ranges: &[(u64, u64)]) -> RegionList {
        let mut set = RegionList::default();
        ranges.iter().for_each(|(start, end)| set.insert(start * MIB..end * MIB));
        set
    }

    fn cores(count: u32) -> Cores {
        let apics: Vec<u32> = (0..count).collect();
        Cores::new(0, &apics, count, 8)
    }

    #[test]
    fn one_core_has_everything() {
        let partition = Partition::new(&set(&[(1, 512)]), &cores(1), &Affinity::default(), None);
        assert_eq!(partition, Partition::undivided());
        assert_eq!(partition.given_away().count(), 0);
    }

    #[test]
    fn the_rest_is_divided_equally_below_the_pool() {
        let partition = Partition::new(&set(&[(0, 400)]), &cores(3), &Affinity::default(), None);
        assert_eq!(partition.pool, 300 * MIB..400 * MIB);
        assert_eq!(partition.private(1), 200 * MIB..300 * MIB);
        assert_eq!(partition.private(2), 100 * MIB..200 * MIB);
        assert_eq!(partition.cores(), 3);
    }

    #[test]
    fn each_core_has_memory_of_its_domain() {
        let near =
            affinity(&[(0, 0), (1, 1), (2, 1)], &[(0, 512 * MIB, 0), (512 * MIB, 1024 * MIB, 1)]);
        let partition = Partition::new(&set(&[(16, 1024)]), &cores(3), &near, Some(128 * MIB));
        assert_eq!(partition.pool, 896 * MIB..1024 * MIB);
        assert_eq!(partition.private(1), 704 * MIB..896 * MIB);
        assert_eq!(partition.private(2), 512 * MIB..704 * MIB);
    }

    #[test]
    fn a_domain_without_memory_borrows() {
        let near = affinity(&[(0, 0), (1, 1)], &[(0, 512 * MIB, 0)]);
        let partition = Partition::new(&set(&[(0, 512)]), &cores(2), &near, Some(0));
        assert_eq!(partition.private(1), 256 * MIB..512 * MIB);
    }

    #[test]
    fn cores_that_memory_does_not_suffice_for_go_without() {
        let partition = Partition::new(&set(&[(2, 60)]), &cores(8), &Affinity::default(), None);
        assert_eq!(partition.cores(), 3, "58 MiB are three times 16: {partition:?}");
        assert_eq!(partition.pool.end - partition.pool.start, 10 * MIB);
        let partition = Partition::new(&set(&[(2, 30)]), &cores(8), &Affinity::default(), None);
        assert_eq!(partition, Partition::undivided());
    }

    proptest! {
        /// Pieces are free memory, whole units, apart from each other, large enough, near if they can be.
        #[test]
        fn any_memory_is_divided_soundly(
            ranges in prop::collection::vec((0u64..2000, 0u64..700), 0..8),
            count in 1u32..9,
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
            let cores = cores(count);
            let partition = Partition::new(&free, &cores, &near, pool.map(|pool| pool * MIB));
            prop_assert!((1..=count).contains(&partition.cores()));
            let pieces: Vec<_> = partition.given_away().cloned().collect();
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
                let piece = partition.private(core);
                let has_one = core < partition.cores();
                prop_assert_eq!(piece.end - piece.start >= LEAST_PRIVATE, has_one);
            }
            if partition.cores() == 1 {
                prop_assert!(partition.pool.is_empty());
            }
            if let Some(pool) = pool {
                prop_assert!(partition.pool.end - partition.pool.start <= pool * MIB);
            }
        }
    }
}
