//! Values with a checksum, in maps whose memory may be damaged.
//!
//! The checksum covers the key, too: a value that is found where another one belongs is not taken for it.

use libd3os_object::Persist;
use libd3os_object::persist::bytes_of;
use xxhash_rust::xxh3::Xxh3;

const SEED: u64 = 0x0073_6561_6c65_6421;

/// A value of a map, sealed with its key.
#[derive(Clone, Copy, Debug, Persist)]
#[repr(C)]
pub(crate) struct Sealed<T> {
    value: T,
    seal: u64,
}

impl<T: Persist + Copy> Sealed<T> {
    pub(crate) fn new<K: Persist>(key: &K, value: T) -> Self {
        Self { value, seal: seal(key, &value) }
    }

    /// What is no value of any key: for what is taken out of a map, in whose memory it may stay.
    pub(crate) const fn broken(self) -> Self {
        Self { seal: !self.seal, ..self }
    }

    /// The value, if it is what was sealed with this key.
    pub(crate) fn open<K: Persist>(&self, key: &K) -> Option<T> {
        (self.seal == seal(key, &self.value)).then_some(self.value)
    }
}

fn seal<K: Persist, T: Persist>(key: &K, value: &T) -> u64 {
    let mut hash = Xxh3::with_seed(SEED);
    hash.update(bytes_of(key));
    hash.update(bytes_of(value));
    hash.digest()
}
