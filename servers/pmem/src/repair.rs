//! Mending what can be worked out anew: which pages are free.
//!
//! What the table of objects says is believed, as far as it can be true; pages that none of them has are
//! free. An object that is damaged itself stays as it is, and is told.

use alloc::vec::Vec;

use libd3os_object::medium::Medium;

use crate::check::Damage;
use crate::pool::{Pool, PoolError};
use crate::space;
use crate::system::{self, Extent};

impl<M: Medium + Clone> Pool<M> {
    /// Makes free what no object has, and nothing else, in one transaction; tells what is damaged still.
    ///
    /// # Errors
    /// The system object is so damaged that it cannot be walked or changed, or the lists of free extents
    /// are too long for a transaction: then nothing was changed.
    pub fn repair(&mut self) -> Result<Vec<Damage>, PoolError> {
        let mut taken = Vec::new();
        self.for_each(|_, entry| taken.push(entry.extent))?;
        taken.retain(|extent| self.holds(*extent));
        taken.sort_unstable();
        let free = self.gaps(&taken);
        self.change(|editor| {
            let base = editor.base_pointer();
            system::by_end(base).clear(editor)?;
            system::by_length(base).clear(editor)?;
            editor.set(system::free(base), 0)?;
            free.iter().try_for_each(|extent| space::insert(editor, *extent))
        })?;
        self.check()
    }

    /// What lies between extents, which are in order and may overlap.
    fn gaps(&self, taken: &[Extent]) -> Vec<Extent> {
        let last = Extent { first: self.layout().pages, pages: 0 };
        let mut reached = self.layout().data();
        let mut gaps = Vec::new();
        for extent in taken.iter().chain([&last]) {
            if extent.first > reached {
                gaps.push(Extent { first: reached, pages: extent.first - reached });
            }
            reached = reached.max(extent.end());
        }
        gaps
    }
}
