//! RDSEED and RDRAND.

use core::arch::x86_64::{_rdrand64_step, _rdseed64_step};

use libd3os::service::entropy::Source;
use raw_cpuid::CpuId;

use crate::source::Words;

/// Tries after which RDRAND is taken to be broken (section 5.2.1 of the guide).
const RDRAND_TRIES: usize = 10;
/// Tries of RDSEED, which other processors may have emptied (section 5.3.1).
const RDSEED_TRIES: usize = 100;

/// The processor's `RDRAND` instruction.
#[derive(Debug)]
pub struct RdRand(());

impl RdRand {
    /// The instruction, where the processor has it.
    #[must_use]
    pub fn find() -> Option<Self> {
        let features = CpuId::new().get_feature_info()?;
        features.has_rdrand().then_some(Self(()))
    }
}

impl Words for RdRand {
    fn source(&self) -> Source {
        Source::RdRand
    }

    fn word(&mut self) -> Option<u64> {
        tried(RDRAND_TRIES, rdrand)
    }
}

/// The processor's `RDSEED` instruction.
#[derive(Debug)]
pub struct RdSeed(());

impl RdSeed {
    /// The instruction, where the processor has it.
    #[must_use]
    pub fn find() -> Option<Self> {
        let features = CpuId::new().get_extended_feature_info()?;
        features.has_rdseed().then_some(Self(()))
    }
}

impl Words for RdSeed {
    fn source(&self) -> Source {
        Source::RdSeed
    }

    fn word(&mut self) -> Option<u64> {
        tried(RDSEED_TRIES, rdseed)
    }
}

fn tried(tries: usize, step: fn() -> Option<u64>) -> Option<u64> {
    (0..tries).find_map(|_| {
        let word = step();
        if word.is_none() {
            core::hint::spin_loop();
        }
        word
    })
}

fn rdrand() -> Option<u64> {
    let mut word = 0;
    // SAFETY: only `RdRand`'s methods come here, and it exists only where the processor has the
    // instruction.
    let given = unsafe { rdrand_step(&mut word) };
    given.then_some(word)
}

fn rdseed() -> Option<u64> {
    let mut word = 0;
    // SAFETY: only `RdSeed`'s methods come here, and it exists only where the processor has the
    // instruction.
    let given = unsafe { rdseed_step(&mut word) };
    given.then_some(word)
}

/// # Safety
/// The processor has the instruction.
#[target_feature(enable = "rdrand")]
unsafe fn rdrand_step(word: &mut u64) -> bool {
    _rdrand64_step(word) == 1
}

/// # Safety
/// The processor has the instruction.
#[target_feature(enable = "rdseed")]
unsafe fn rdseed_step(word: &mut u64) -> bool {
    _rdseed64_step(word) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a processor without them there is nothing to read.
    #[test]
    fn words_of_this_processor_differ() {
        let sources: [Option<Box<dyn Words>>; 2] =
            [RdRand::find().map(|s| Box::new(s) as _), RdSeed::find().map(|s| Box::new(s) as _)];
        for mut source in sources.into_iter().flatten() {
            let words: Vec<u64> = (0..8).filter_map(|_| source.word()).collect();
            assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{words:x?}");
        }
    }
}
