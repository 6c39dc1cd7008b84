//! The machine's cores that run a kernel instance, by number: 0 is the one that booted.

use d3os_abi::MAX_CORES;

/// Which local APIC each core has, and where a core that is started begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    apics: [u32; MAX_CORES],
    count: u32,
    start_page: u8,
}

impl Cores {
    /// The boot core alone.
    #[must_use]
    pub fn alone(apic: u32) -> Self {
        Self { apics: [apic; MAX_CORES], count: 1, start_page: 0 }
    }

    /// The boot core and at most `limit` - 1 of the others that `apics` lists; `start_page` is the
    /// page below 1 MiB that they begin in.
    #[must_use]
    pub fn new(boot: u32, apics: &[u32], limit: u32, start_page: u8) -> Self {
        let mut cores = Self { start_page, ..Self::alone(boot) };
        for &apic in apics.iter().filter(|apic| **apic != boot) {
            if cores.count >= limit {
                break;
            }
            if let Some(place) = cores.apics.get_mut(cores.count as usize) {
                *place = apic;
                cores.count += 1;
            }
        }
        cores
    }

    /// The same without the cores from number `count` on.
    #[must_use]
    pub fn first(self, count: u32) -> Self {
        Self { count: self.count.min(count.max(1)), ..self }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The local APICs, by core.
    #[must_use]
    pub fn apics(&self) -> &[u32] {
        &self.apics[..self.count as usize]
    }

    /// The local APIC of a core.
    #[must_use]
    pub fn apic(&self, core: u32) -> Option<u32> {
        self.apics().get(core as usize).copied()
    }

    /// The page, by number, that a started core begins in.
    #[must_use]
    pub fn start_page(&self) -> u8 {
        self.start_page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_boot_core_is_the_first_wherever_it_is_listed() {
        let cores = Cores::new(4, &[0, 2, 4, 6], 8, 9);
        assert_eq!((cores.apics(), cores.start_page()), (&[4, 0, 2, 6][..], 9));
        assert_eq!((cores.apic(3), cores.apic(4)), (Some(6), None));
        assert_eq!(cores.first(2).apics(), [4, 0]);
        assert_eq!(cores.first(0), cores.first(1));
        assert_eq!(Cores::alone(3).apics(), [3]);
    }

    proptest! {
        #[test]
        fn no_core_is_listed_twice_or_beyond_the_limit(
            boot in 0u32..99,
            others in proptest::collection::btree_set(0u32..99, 0..80),
            limit in any::<u32>(),
        ) {
            let listed: Vec<u32> = others.into_iter().collect();
            let cores = Cores::new(boot, &listed, limit, 8);
            prop_assert_eq!(cores.apics()[0], boot);
            prop_assert!(cores.count() <= limit.max(1) && cores.apics().len() <= MAX_CORES);
            let mut seen = cores.apics().to_vec();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), cores.apics().len());
        }
    }
}
