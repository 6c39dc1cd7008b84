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

use libd3os_object::layout::HEADER;
use libd3os_object::medium::{Durability, Medium, WriteBack};

use crate::device::PersistenceDomain;
use crate::region::{ByteRange, Region, RegionError, RegionId, Rights};

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

/// The memory of an object, of whichever tier, named as all other memory is: its bytes from the header on,
/// counted from its guard page as pointers count them.
///
/// # Errors
/// It has no bytes, which no object has.
pub fn region<M: Medium>(mapping: &Mapping<M>, rights: Rights) -> Result<Region, RegionError> {
    let range = ByteRange::new(HEADER, mapping.bytes().saturating_sub(HEADER))?;
    Ok(Region::new(RegionId(mapping.id().number()), range, rights))
}

#[cfg(test)]
#[expect(unsafe_code, reason = "maps memory of the test's own")]
mod tests {
    use alloc::boxed::Box;
    use alloc::string::ToString;
    use alloc::sync::Arc;
    use core::ptr::NonNull;

    use libd3os_object::control::{ControlRef, Slot};
    use libd3os_object::medium::Mapped;

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

    const PAGES: usize = 4;

    #[repr(align(4096))]
    struct Memory([[u8; 4096]; PAGES]);

    fn volatile() -> Mapped {
        let memory = Box::leak(Box::new(Memory([[0; 4096]; PAGES])));
        let (base, bytes) = (NonNull::from(&mut memory.0).cast(), PAGES * 4096);
        // SAFETY: nobody else has the memory, which is never freed.
        unsafe { Mapped::new(base, bytes, Durability::Never) }
    }

    #[test]
    fn an_object_of_the_volatile_tier_is_used_and_named_like_any_other() {
        let (medium, log) = (volatile(), volatile());
        object::create(&medium, ObjectId::new(7), &Record { next: PPtr::NULL, value: 1_u64 })
            .expect("large enough");
        // SAFETY: the medium is this test's, and mapped once.
        let mapping = unsafe { Mapping::new(medium, ControlRef::own(0)) }.expect("an object");
        let named = region(&mapping, Rights::READ).expect("it has bytes");
        assert_eq!((named.id(), named.range().end()), (RegionId(7), mapping.bytes()));
        assert_eq!(named.range().len(), medium.bytes() as u64);

        let object = Object::<Record<u64>, _>::open(Arc::new(mapping)).expect("of this type");
        Session::format_log(&log).expect("large enough");
        let slot = Slot::new(0).expect("the first");
        // SAFETY: it is the only session, and the memory stays.
        let mut session = unsafe { Session::open(slot, log) }.expect("an empty log");
        let changed = session.tx(|tx| {
            tx.edit(&object)?.modify_base()?.value = 2;
            Ok::<_, TxError>(())
        });
        changed.expect("room");
        assert_eq!(session.read(&object).expect("free").base().map(|base| base.value), Ok(2));
    }
}
