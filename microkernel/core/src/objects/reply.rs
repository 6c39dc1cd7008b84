//! Reply objects: the way back to a caller, and the chain of lent scheduling contexts (manual, chapter 4.2.4).

use crate::memory::{KernelObject, Link};
use crate::objects::Tcb;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A reply object; the stack of replies under one scheduling context is linked through `prev` and `next`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Reply {
    pub(crate) thread: Link<Tcb>,
    pub(crate) prev: u64,
    pub(crate) next: u64,
    pub(crate) flags: u64,
}

impl KernelObject for Reply {}
const _: () = assert!(size_of::<Reply>() == 1 << d3os_abi::size_bits::REPLY);
