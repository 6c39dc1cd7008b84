//! What user space shows of a kernel that has a page table of its own: a page-table root with a few
//! pages of the kernel's, at their addresses, and nothing else.
//!
//! Every user root shares its upper half with this one, so a user program can reach, even
//! speculatively, no more of the kernel than that: not RAM, not other threads' registers.

/// A paging structure.
pub type Table = [u64; 512];

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const PAGE: u64 = 4096;
/// Lowest bit of an address that counts at each level, from the root's down.
const LEVELS: [u32; 4] = [39, 30, 21, 12];

/// A root under construction.
pub struct Window<'a> {
    /// The root, and memory for the structures below it.
    tables: &'a mut [Table],
    /// Physical address of the first.
    base: u64,
    /// How many are in use.
    used: usize,
}

impl<'a> Window<'a> {
    /// Shows nothing. `tables` are zero and lie at `base`, physically; the first is the root.
    pub fn new(tables: &'a mut [Table], base: u64) -> Self {
        Self { tables, base, used: 1 }
    }

    /// Shows the page at the kernel's address `page` with this entry.
    ///
    /// # Panics
    /// Where it would need a paging structure too many: the kernel's image is what decides that.
    pub fn show(&mut self, page: u64, entry: u64) {
        let mut table = 0;
        for shift in LEVELS {
            let place = &mut self.tables[table][index(page >> shift & 511)];
            if shift == 12 {
                *place = entry;
            } else if *place == 0 {
                table = self.used;
                *place = (self.base + table as u64 * PAGE) | PRESENT | WRITABLE;
                self.used += 1;
            } else {
                table = index((*place - self.base) / PAGE);
            }
        }
    }
}

/// A number of entries as an index.
#[expect(clippy::cast_possible_truncation, reason = "kernel and host have 64-bit indices")]
pub(crate) const fn index(number: u64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x20_0000;

    /// The entry that the processor would find for an address.
    fn walk(tables: &[Table], address: u64) -> Option<u64> {
        let mut table = 0;
        for shift in LEVELS {
            let entry = tables[table][index(address >> shift & 511)];
            if shift == 12 || entry == 0 {
                return (entry != 0).then_some(entry);
            }
            table = index(((entry & !0xfff) - BASE) / PAGE);
        }
        None
    }

    #[test]
    fn a_window_shows_its_pages_and_nothing_else() {
        let mut tables = [[0; 512]; 6];
        let pages = [0xffff_ffff_8010_9000, 0xffff_ffff_8010_a000, 0xffff_ffff_8041_0000];
        let mut window = Window::new(&mut tables, BASE);
        for page in pages {
            window.show(page, page & 0xfff_f000 | 0x101);
        }
        for page in pages {
            assert_eq!(walk(&tables, page), Some(page & 0xfff_f000 | 0x101));
            assert_eq!(walk(&tables, page + 0x10_0000), None);
        }
        assert_eq!(walk(&tables, 0xffff_8000_0000_0000), None);
        let shown: usize = tables.iter().flatten().filter(|entry| **entry != 0).count();
        assert_eq!(shown, 3 + 2 + 1 + 1, "pages, page tables, a directory, what holds it");
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_page_that_does_not_fit_is_refused() {
        let mut tables = [[0; 512]; 4];
        let mut window = Window::new(&mut tables, BASE);
        window.show(0xffff_ffff_8010_9000, 0x101);
        window.show(0xffff_ffff_8010_a000, 0x101);
        window.show(0xffff_ffff_8041_0000, 0x101);
    }
}
