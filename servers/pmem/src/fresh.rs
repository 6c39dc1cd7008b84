//! Which pages nobody was ever given: where a pool was made on zeros, they are zeros still, and whoever
//! gets them need not have them erased.
//!
//! A line of the first page, behind the superblock, tells the first of them: words [magic, id of the pool
//! (two), page, 0, 0, 0, checksum]. It is raised, and durable, before anything is written to the pages
//! below, whatever becomes of the transaction that takes them: so it may say too little, and never too
//! much. A line that is damaged, or not there, says nothing.

use libd3os_object::medium::{LINE_BYTES, Medium, WORD_BYTES};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::superblock::Layout;
use crate::system::Extent;

/// Behind the line of the superblock, and one more.
const AT: usize = 2 * LINE_BYTES;
const MAGIC: u64 = u64::from_le_bytes(*b"D3OSnil\x01");
const SEED: u64 = 0x6672_6573_6820_7067;
const WORDS: usize = LINE_BYTES / WORD_BYTES;

/// Says that the pages from this one on are zeros, in a pool that is being made; durable when this
/// returns.
pub(crate) fn begin(medium: &impl Medium, layout: Layout, from: u64) {
    for (word, at) in words(layout, from).into_iter().zip((AT..).step_by(WORD_BYTES)) {
        medium.store_word(at, word);
    }
    medium.flush(AT);
    medium.fence();
}

/// Takes possession of pages that are about to be written, and tells from which of them on they are zeros;
/// the page behind them if none is.
pub(crate) fn take(medium: &impl Medium, layout: Layout, pages: Extent) -> u64 {
    let from = first(medium, layout);
    if pages.end() > from {
        begin(medium, layout, pages.end());
    }
    from.clamp(pages.first, pages.end())
}

/// The first page of those that are zeros, or the pool's end.
fn first(medium: &impl Medium, layout: Layout) -> u64 {
    let found: [u64; WORDS] = core::array::from_fn(|word| medium.load_word(AT + word * WORD_BYTES));
    let from = found[3];
    if from <= layout.pages && found == words(layout, from) { from } else { layout.pages }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn words(layout: Layout, from: u64) -> [u64; WORDS] {
    let covered = [MAGIC, layout.id as u64, (layout.id >> 64) as u64, from, 0, 0, 0];
    let sum = xxh3_64_with_seed(covered.map(u64::to_le_bytes).as_flattened(), SEED);
    let [magic, low, high, from, ..] = covered;
    [magic, low, high, from, 0, 0, 0, sum]
}

#[cfg(test)]
mod tests {
    use libd3os_object::sim::{Domain, Sim};

    use super::*;

    const LAYOUT: Layout =
        Layout { id: 1 << 70 | 5, pages: 100, logs: 2, log_pages: 1, system_pages: 3 };

    fn extent(first: u64, pages: u64) -> Extent {
        Extent { first, pages }
    }

    #[test]
    fn pages_are_fresh_once() {
        let sim = Sim::new(Domain::Adr, 4096);
        let medium = sim.medium(0);
        let taken = |pages| take(&medium, LAYOUT, pages);
        assert_eq!(taken(extent(20, 4)), 24, "nothing is said");
        begin(&medium, LAYOUT, 20);
        assert_eq!([taken(extent(18, 4)), taken(extent(18, 4))], [20, 22]);
        assert_eq!([taken(extent(30, 5)), taken(extent(25, 10))], [30, 35]);
        assert_eq!(first(&medium, Layout { id: 7, ..LAYOUT }), 100, "another pool's");
        medium.store_word(AT + 3 * WORD_BYTES, 25);
        assert_eq!(first(&medium, LAYOUT), 100, "damaged");
    }
}
