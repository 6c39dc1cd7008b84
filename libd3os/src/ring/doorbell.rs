//! How the two sides of a ring wake each other.

use alloc::rc::Rc;
use alloc::sync::Arc;

use super::sync::spin_loop;

/// One side's way to wake its peer, and to wait until the peer wakes it.
///
/// A signal is remembered: one that comes before the wait ends the wait at once. Several signals
/// may count as one, and a wait may end without any; the rings look again after each. One
/// doorbell may serve several rings of the same side.
pub trait Doorbell {
    /// Whether [`Self::wait`] may sleep. A side that never sleeps says so, and saves its peer the
    /// work of finding out.
    const SLEEPS: bool = true;

    /// Wakes the peer.
    fn signal(&self);

    /// Waits for the peer's signal.
    fn wait(&self);
}

macro_rules! through_pointer {
    ($($pointer:ty),*) => {$(
        impl<D: Doorbell + ?Sized> Doorbell for $pointer {
            const SLEEPS: bool = D::SLEEPS;

            fn signal(&self) {
                (**self).signal();
            }

            fn wait(&self) {
                (**self).wait();
            }
        }
    )*};
}

through_pointer!(&D, Rc<D>, Arc<D>);

/// Never sleeps: for two sides that have a core each and nothing else to do. Both sides of a ring
/// must use it, for neither wakes the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polling;

impl Doorbell for Polling {
    const SLEEPS: bool = false;

    fn signal(&self) {}

    fn wait(&self) {
        spin_loop();
    }
}
