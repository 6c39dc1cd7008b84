//! Where random words come from.

use libd3os::service::entropy::Source;

/// A piece of hardware that gives random words.
pub trait Words {
    /// Which it is.
    fn source(&self) -> Source;

    /// A word, or `None` where the hardware has none, also after the retries that its
    /// specification asks for.
    fn word(&mut self) -> Option<u64>;
}

/// Words of a source that are worth a seed of 256 bits.
///
/// RDSEED's are said to have full entropy; twice as much is taken as is needed. RDRAND's come from a
/// generator that is seeded anew after 511 samples of 128 bits at the latest: more words than that
/// hold at least one seed that was not there before. A virtio device's are said to be as good as those
/// of the host's own generator.
#[must_use]
pub const fn seed_words(source: Source) -> usize {
    match source {
        Source::RdSeed | Source::VirtioRng => 8,
        Source::RdRand => 1024,
    }
}
