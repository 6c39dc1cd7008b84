//! Scheduling contexts: budgets, periods and refills (manual, chapter 6.1; Lyons et al., EuroSys 2018).

use crate::memory::{KernelObject, Link};
use crate::objects::{Notification, Tcb};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A scheduling context's head; refills of 16 bytes follow it in its memory.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedContext {
    pub(crate) period: u64,
    pub(crate) consumed: u64,
    pub(crate) thread: Link<Tcb>,
    pub(crate) notification: Link<Notification>,
}

impl KernelObject for SchedContext {}
