//! Notifications: words of signals (manual, chapter 5).

use crate::memory::{KernelObject, Link};
use crate::objects::{SchedContext, Tcb};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A notification: idle, active with a word of badges, or with a queue of waiting threads.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Notification {
    pub(crate) state: u64,
    pub(crate) word: u64,
    pub(crate) head: Link<Tcb>,
    pub(crate) tail: Link<Tcb>,
    pub(crate) bound_thread: Link<Tcb>,
    pub(crate) sched_context: Link<SchedContext>,
    pub(crate) unused: [u64; 2],
}

impl KernelObject for Notification {}
const _: () = assert!(size_of::<Notification>() == 1 << d3os_abi::size_bits::NOTIFICATION);
