//! The processor's atomic operations; the tests of interleavings have loom's.

pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
