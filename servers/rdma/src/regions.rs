//! Memory regions: which ranges may be reached with which key, from which protection domain, and how.
//!
//! A key has the place of its region and a tag. The tag is a permutation, by a secret, of how many regions
//! that place has had: a peer cannot guess it from others, and a key that was given back never becomes
//! right again, for a place that has had 65,536 regions is not used any more. Every access is checked
//! when it is made, packet by packet, so that a region is out of reach as soon as
//! [`Regions::deregister`] or [`Regions::withdraw`] returns.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

bitflags::bitflags! {
    /// What may be done with a region (`IBV_ACCESS_…`). Its owner may always read it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Access: u8 {
        /// The owner's receives, reads and atomics may write into it.
        const LOCAL_WRITE = 1;
        /// Peers may write into it.
        const REMOTE_WRITE = 1 << 1;
        /// Peers may read from it.
        const REMOTE_READ = 1 << 2;
        /// Peers may do atomic operations in it.
        const REMOTE_ATOMIC = 1 << 3;
    }
}

/// A protection domain: queue pairs reach regions of their own only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DomainId(pub(crate) u32);

/// A key of a region, local and remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u32);

/// What a region lies in: an object, as whoever carries memory operations out numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backing(pub u64);

/// A place that may be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// In what.
    pub backing: Backing,
    /// At which byte of it.
    pub offset: u64,
}

/// A region to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// From where it can be reached.
    pub domain: DomainId,
    /// The address of its first byte, as its owner and its peers name it.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// What may be done with it.
    pub access: Access,
    /// Where its first byte lies.
    pub place: Place,
}

/// A region could not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// The rights to what it lies in do not allow such access.
    #[error("the capability does not allow such access")]
    Rights,
    /// Peers may write into what their host may not write into.
    #[error("remote write or atomic access without local write access")]
    Access,
    /// It is empty, or reaches over the end of addresses.
    #[error("not a range of addresses")]
    Range,
    /// There are as many regions as there can be.
    #[error("no room for another region")]
    Full,
    /// There is no such region.
    #[error("no such region")]
    NoRegion,
}

/// An access was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No region has this key.
    #[error("no region has this key")]
    Key,
    /// The region is of another protection domain.
    #[error("a region of another protection domain")]
    Domain,
    /// The region may not be accessed so.
    #[error("the region may not be accessed so")]
    Right,
    /// The range is not within the region.
    #[error("not within the region")]
    Range,
}

/// Regions that a place has, one after the other, before it is used up.
const GENERATIONS: u32 = 1 << TAG_BITS;
const TAG_BITS: u32 = 16;
const TAG: u32 = GENERATIONS - 1;
/// Rounds of the permutation.
const ROUNDS: u64 = 6;

/// All regions of a host.
#[derive(Clone, Debug)]
pub struct Regions {
    slots: Vec<Slot>,
    free: VecDeque<u16>,
    limit: u16,
    secret: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    region: Option<(Key, Region)>,
}

impl Regions {
    /// No regions yet, and room for so many; keys are made with this secret, which is to be random.
    #[must_use]
    pub const fn new(limit: u16, secret: u64) -> Self {
        Self { slots: Vec::new(), free: VecDeque::new(), limit, secret }
    }

    /// Registers a region. `granted` is what the capability for its backing allows.
    ///
    /// # Errors
    /// See [`RegionError`].
    pub fn register(&mut self, region: Region, granted: Access) -> Result<Key, RegionError> {
        let remote_writes = Access::REMOTE_WRITE | Access::REMOTE_ATOMIC;
        if region.access.intersects(remote_writes) && !region.access.contains(Access::LOCAL_WRITE) {
            return Err(RegionError::Access);
        }
        if !granted.contains(region.access) {
            return Err(RegionError::Rights);
        }
        let ends = [region.start, region.place.offset].map(|from| from.checked_add(region.length));
        if region.length == 0 || ends.contains(&None) {
            return Err(RegionError::Range);
        }
        let index = self.place().ok_or(RegionError::Full)?;
        let tag = tag(self.secret, index, self.slots[usize::from(index)].generation);
        let key = Key(u32::from(index) << TAG_BITS | tag);
        self.slots[usize::from(index)].region = Some((key, region));
        Ok(key)
    }

    fn place(&mut self) -> Option<u16> {
        let next = u16::try_from(self.slots.len()).ok()?;
        if next < self.limit {
            self.slots.push(Slot { generation: 0, region: None });
            return Some(next);
        }
        self.free.pop_front()
    }

    /// Ends a region: its key opens nothing from now on.
    ///
    /// # Errors
    /// [`RegionError::NoRegion`], also if it is of another domain.
    pub fn deregister(&mut self, key: Key, domain: DomainId) -> Result<Region, RegionError> {
        let region = self.find(key).ok_or(RegionError::NoRegion)?;
        if region.domain != domain {
            return Err(RegionError::NoRegion);
        }
        let region = *region;
        self.end(usize::from(index_of(key)));
        Ok(region)
    }

    /// Ends all regions in something that is to be used for something else; how many there were.
    pub fn withdraw(&mut self, backing: Backing) -> usize {
        let mut ended = 0;
        for index in 0..self.slots.len() {
            let region = self.slots[index].region;
            if region.is_some_and(|(_, region)| region.place.backing == backing) {
                self.end(index);
                ended += 1;
            }
        }
        ended
    }

    fn end(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.region = None;
        slot.generation += 1;
        if let (true, Ok(index)) = (slot.generation < GENERATIONS, u16::try_from(index)) {
            self.free.push_back(index);
        }
    }

    fn find(&self, key: Key) -> Option<&Region> {
        let slot = self.slots.get(usize::from(index_of(key)))?;
        slot.region.as_ref().filter(|(right, _)| *right == key).map(|(_, region)| region)
    }

    /// Whether any region is of this domain.
    #[must_use]
    pub fn uses(&self, domain: DomainId) -> bool {
        self.slots.iter().any(|slot| slot.region.is_some_and(|(_, region)| region.domain == domain))
    }

    /// Where a range lies, if it may be accessed so from this domain; nothing but the owner's
    /// reading needs no right.
    ///
    /// # Errors
    /// See [`AccessError`].
    #[inline]
    pub fn check(
        &self,
        key: Key,
        domain: DomainId,
        address: u64,
        length: u64,
        right: Access,
    ) -> Result<Place, AccessError> {
        let region = self.find(key).ok_or(AccessError::Key)?;
        if region.domain != domain {
            return Err(AccessError::Domain);
        }
        if !region.access.contains(right) {
            return Err(AccessError::Right);
        }
        let offset = address.checked_sub(region.start).ok_or(AccessError::Range)?;
        let end = offset.checked_add(length).ok_or(AccessError::Range)?;
        if end > region.length {
            return Err(AccessError::Range);
        }
        let Place { backing, offset: base } = region.place;
        Ok(Place { backing, offset: base + offset })
    }
}

const fn index_of(key: Key) -> u16 {
    let [high, low, _, _] = key.0.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// A permutation of the generations of a place: a Feistel network over two bytes.
fn tag(secret: u64, index: u16, generation: u32) -> u32 {
    let (mut left, mut right) = (generation >> 8 & 0xff, generation & 0xff);
    for round in 0..ROUNDS {
        let input = u64::from(right) | u64::from(index) << 8 | round << 24;
        let mixed = mix(secret ^ mix(secret.rotate_left(32) ^ input));
        #[expect(clippy::cast_possible_truncation, reason = "one byte of it")]
        let byte = mixed as u32 & 0xff;
        (left, right) = (right, left ^ byte);
    }
    (left << 8 | right) & TAG
}

/// Mixes the bits of a word (the finish of `SplitMix64`).
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const DOMAIN: DomainId = DomainId(2);

    fn region(start: u64, length: u64, access: Access) -> Region {
        let place = Place { backing: Backing(7), offset: 4096 };
        Region { domain: DOMAIN, start, length, access, place }
    }

    #[test]
    fn a_key_is_never_right_again() {
        let mut regions = Regions::new(1, 0x1234_5678_9abc_def0);
        let mut keys = BTreeSet::new();
        for _ in 0..GENERATIONS {
            let key = regions.register(region(0, 8, Access::empty()), Access::all());
            let key = key.expect("room");
            assert!(keys.insert(key.0), "{key:?} twice");
            assert!(regions.deregister(key, DOMAIN).is_ok());
            assert_eq!(regions.check(key, DOMAIN, 0, 1, Access::empty()), Err(AccessError::Key));
        }
        let worn_out = regions.register(region(0, 8, Access::empty()), Access::all());
        assert_eq!(worn_out, Err(RegionError::Full));
    }

    #[test]
    fn what_the_capability_does_not_allow_is_not_registered() {
        let mut regions = Regions::new(4, 1);
        let mut try_it = |access, granted| regions.register(region(0, 8, access), granted);
        let read = Access::REMOTE_READ;
        assert_eq!(try_it(read, Access::LOCAL_WRITE), Err(RegionError::Rights));
        assert_eq!(try_it(Access::REMOTE_WRITE, Access::all()), Err(RegionError::Access));
        assert_eq!(try_it(Access::REMOTE_ATOMIC, Access::all()), Err(RegionError::Access));
        assert!(try_it(read, read).is_ok());
        assert!(try_it(Access::all(), Access::all()).is_ok());
    }

    #[test]
    fn ranges_are_within_addresses() {
        let mut regions = Regions::new(4, 1);
        let mut try_it =
            |start, length| regions.register(region(start, length, Access::empty()), Access::all());
        assert_eq!(try_it(5, 0), Err(RegionError::Range));
        assert_eq!(try_it(u64::MAX, 1), Err(RegionError::Range));
        assert_eq!(try_it(0, u64::MAX), Err(RegionError::Range));
        assert!(try_it(u64::MAX - 8, 8).is_ok());
    }

    #[test]
    fn withdrawn_memory_is_out_of_reach() {
        let mut regions = Regions::new(4, 1);
        let mut other = region(0, 8, Access::empty());
        other.place.backing = Backing(8);
        let kept = regions.register(other, Access::all()).expect("room");
        let keys = [0, 64].map(|start| {
            regions.register(region(start, 8, Access::empty()), Access::all()).expect("room")
        });
        assert!(regions.uses(DOMAIN));
        assert_eq!(regions.withdraw(Backing(7)), 2);
        for key in keys {
            assert_eq!(regions.deregister(key, DOMAIN), Err(RegionError::NoRegion));
        }
        assert!(regions.check(kept, DOMAIN, 0, 8, Access::empty()).is_ok());
        assert_eq!(regions.deregister(kept, DomainId(3)), Err(RegionError::NoRegion));
        assert!(regions.deregister(kept, DOMAIN).is_ok());
        assert!(!regions.uses(DOMAIN));
    }

    proptest! {
        #[test]
        fn accesses_are_within_region_domain_and_rights(
            start: u64,
            length in 1..1_u64 << 40,
            address: u64,
            near in -20..20_i64,
            asked in prop_oneof![0..64_u64, any::<u64>()],
            rights in 0..16_u8,
            wanted in 0..16_u8,
            domain in 2..4_u32,
            use_near: bool,
        ) {
            let start = start.min(u64::MAX - length);
            let access = Access::from_bits_truncate(rights) | Access::LOCAL_WRITE;
            let mut regions = Regions::new(4, 99);
            let key = regions.register(region(start, length, access), Access::all()).expect("room");
            let address = if use_near { start.wrapping_add_signed(near) } else { address };
            let wanted = Access::from_bits_truncate(wanted);
            let result = regions.check(key, DomainId(domain), address, asked, wanted);
            let within = address >= start
                && u128::from(address) + u128::from(asked) <= u128::from(start) + u128::from(length);
            let allowed = within && access.contains(wanted) && domain == DOMAIN.0;
            prop_assert_eq!(result.is_ok(), allowed);
            if let Ok(place) = result {
                let offset = 4096 + (address - start);
                prop_assert_eq!(place, Place { backing: Backing(7), offset });
            }
        }

        #[test]
        fn guessed_keys_open_nothing(guess: u32, secret: u64) {
            let mut regions = Regions::new(16, secret);
            let keys: Vec<Key> = (0..16)
                .map(|_| regions.register(region(0, 8, Access::empty()), Access::all()).expect("room"))
                .collect();
            let opens = regions.check(Key(guess), DOMAIN, 0, 1, Access::empty()).is_ok();
            prop_assert_eq!(opens, keys.contains(&Key(guess)));
        }
    }
}
