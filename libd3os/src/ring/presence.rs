//! Whether a side of a ring is awake, asleep, or gone.
//!
//! Each side has a word that only it writes: a number that it raises when it is about to sleep
//! (then it is odd) and when it has woken (then it is even), or [`GONE`].
//!
//! No wake-up is lost: a side that goes to sleep writes its word, passes a full fence and looks
//! at the ring once more; its peer writes to the ring, passes a full fence and looks at the word.
//! Whichever fence comes second, its side sees what the other wrote.

use super::doorbell::Doorbell;
use super::sync::{AtomicU64, Ordering, fence};

/// Word of a side that has ended. Odd, which does no harm: it is looked for first.
const GONE: u64 = u64::MAX;

/// What a side remembers of the two words.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// What it wrote to its own last.
    own: u64,
    /// The peer's sleep that it last ended, so that one sleep costs one signal.
    ended: u64,
}

impl Presence {
    /// Says that this side is about to sleep. It must look at the ring once more before it does.
    pub(super) fn doze(&mut self, own: &AtomicU64) {
        // A new number also where the last sleep has not ended: the peer signals once for each.
        self.own = (self.own + 1) | 1;
        own.store(self.own, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that this side is awake.
    #[inline]
    pub(super) fn wake(&mut self, own: &AtomicU64) {
        if self.own & 1 == 1 {
            self.own += 1;
            own.store(self.own, Ordering::Relaxed);
        }
    }

    /// Ends the peer's sleep, if it sleeps, after this side has written to the ring.
    #[inline]
    pub(super) fn rouse<D: Doorbell>(&mut self, peer: &AtomicU64, bell: &D) {
        if D::SLEEPS {
            fence(Ordering::SeqCst);
            let state = peer.load(Ordering::Relaxed);
            if state & 1 == 1 && state != self.ended {
                self.ended = state;
                bell.signal();
            }
        }
    }
}

/// Says that this side has ended. The peer is signalled whether it sleeps or not.
pub(super) fn leave<D: Doorbell>(own: &AtomicU64, bell: &D) {
    end(own);
    bell.signal();
}

/// Says that the side whose word it is has ended.
pub(super) fn end(own: &AtomicU64) {
    own.store(GONE, Ordering::Release);
}

/// Whether the peer has ended. What it wrote to the ring before is then there to be seen.
#[inline]
pub(super) fn gone(peer: &AtomicU64) -> bool {
    peer.load(Ordering::Acquire) == GONE
}
