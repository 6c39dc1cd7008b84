//! Persistent objects, for programs: all of `libd3os-object`, and what it takes on this machine until a
//! store outlives a loss of power.
//!
//! ```
//! use libd3os::object::{PPtr, Persist};
//!
//! #[derive(Persist)]
//! #[repr(C)]
//! struct Node {
//!     next: PPtr<Node>,
//!     value: u64,
//! }
//! ```

pub use libd3os_macros::ObjectPersist as Persist;
#[doc(inline)]
pub use libd3os_object::*;

use libd3os_object::medium::{Durability, WriteBack};

use crate::device::PersistenceDomain;

/// What it takes until a store outlives a loss of power, where this is what the platform saves
/// (`None` where the firmware does not say: then no cache is trusted). Executes CPUID: asked once.
///
/// Where the platform saves only what has reached the medium, lines are written back to the memory
/// controllers all the same: further than that no instruction of the processor reaches.
#[must_use]
pub fn durability(saved: Option<PersistenceDomain>) -> Durability {
    match saved {
        Some(PersistenceDomain::Caches) => Durability::Visible,
        Some(PersistenceDomain::MemoryControllers | PersistenceDomain::Medium) | None => {
            Durability::WrittenBack(WriteBack::find())
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn only_what_is_saved_with_the_caches_is_not_written_back() {
        assert_eq!(durability(Some(PersistenceDomain::Caches)), Durability::Visible);
        let others = [PersistenceDomain::MemoryControllers, PersistenceDomain::Medium];
        for saved in others.into_iter().map(Some).chain([None]) {
            assert_eq!(durability(saved), Durability::WrittenBack(WriteBack::find()));
        }
    }

    /// Compiles: the derive finds the library by its name here.
    #[derive(Default, Persist)]
    #[repr(C)]
    struct Record<T> {
        next: PPtr<Self>,
        value: T,
    }

    #[test]
    fn programs_derive_what_lives_in_objects() {
        let described = persist::Description::of::<Record<u64>>();
        assert!(described.to_string().contains("Record"), "{described}");
    }
}
