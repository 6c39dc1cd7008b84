//! How long a side looks at a ring before it sleeps.

use super::sync::{LOOKS_BEFORE_SLEEP, spin_loop};

/// Fewest looks: what costs next to nothing.
const FEWEST: u32 = if LOOKS_BEFORE_SLEEP < 16 { LOOKS_BEFORE_SLEEP } else { 16 };

/// Every so many waits the side looks for long, to find out whether that pays again.
const PROBE_EVERY: u32 = 16;

/// What the last waits teach for the next: looking pays where a peer answers at once, and is a
/// waste of the core where it takes its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    looks: u32,
    waits: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { looks: LOOKS_BEFORE_SLEEP, waits: 0 }
    }
}

impl Patience {
    /// Looks until `found` is true, as often as it is worth it. Tells whether it was.
    pub(super) fn look(&mut self, mut found: impl FnMut() -> bool) -> bool {
        let looks = self.begin();
        for look in 0..looks {
            if found() {
                // Twice as many as were needed, so that small delays do not end it.
                self.looks = (2 * look).clamp(FEWEST, LOOKS_BEFORE_SLEEP);
                return true;
            }
            spin_loop();
        }
        self.looks = (self.looks / 2).max(FEWEST);
        false
    }

    fn begin(&mut self) -> u32 {
        self.waits = (self.waits + 1) % PROBE_EVERY;
        if self.waits == 0 { LOOKS_BEFORE_SLEEP } else { self.looks }
    }
}
