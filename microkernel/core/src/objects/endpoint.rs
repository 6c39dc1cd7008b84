//! Endpoints: synchronous message passing (manual, chapter 4).

use crate::memory::{KernelObject, Link};
use crate::objects::Tcb;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An endpoint: a queue of threads that all wait to send or all wait to receive.
///
/// The low bit of `head` tells which (1: receivers); threads are 2 KiB aligned.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Endpoint {
    pub(crate) head_and_state: u64,
    pub(crate) tail: Link<Tcb>,
}

impl KernelObject for Endpoint {}
const _: () = assert!(size_of::<Endpoint>() == 1 << d3os_abi::size_bits::ENDPOINT);
