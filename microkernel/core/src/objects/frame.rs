//! Frames: memory that is mapped into address spaces (manual, chapter 7).

use crate::cap::RawCap;
use crate::objects::PageTable;
use crate::vspace::{AddressSpace, Attributes, Entry, EntryPlace, check_user_range};
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Machine, Mapping, Outcome, PhysAddr, Ref,
    SyscallError, ensure,
};
use d3os_abi::{CapRights, IPC_BUFFER_SIZE_BITS, Label};

/// What a frame was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameRequest {
    /// Map it, or change how it is mapped.
    Map {
        /// The root of the address space, whose cached translation is stale.
        root: Ref<PageTable>,
        /// The entry to write.
        place: EntryPlace,
        /// Its new contents.
        entry: Entry,
        /// What the capability records.
        mapping: Mapping,
    },
    /// Unmap it, if it is mapped.
    Unmap,
    /// Tell its physical address.
    GetAddress(PhysAddr),
}

impl<M: Machine> Kernel<M> {
    /// Checks an invocation of a frame.
    pub(crate) fn decode_frame(&self, inv: &Invocation) -> Decoded<FrameRequest> {
        match inv.label()? {
            Label::PageMap => self.decode_page_map(inv),
            Label::PageUnmap => Ok(FrameRequest::Unmap),
            Label::PageGetAddress => Ok(FrameRequest::GetAddress(self.invoked(inv).address())),
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    fn decode_page_map(&self, inv: &Invocation) -> Decoded<FrameRequest> {
        let frame = self.invoked(inv);
        let (base, size, mapping) = (frame.address(), frame.frame_size(), frame.mapping());
        let [vaddr, asked, attributes] = self.arguments(inv, 0)?;
        let rights = frame.frame_rights().and(CapRights::from_word(asked));
        let space = self.address_space_argument(inv)?;
        check_same_mapping(mapping, vaddr, space)?;
        check_user_range(vaddr, size.bytes(), 0)?;
        ensure(PhysAddr(vaddr).is_aligned(size.bits()), SyscallError::Alignment)?;
        let place = self.find_entry(space.root, vaddr, size.bits())?;
        let old = self.entry(place);
        // What a capability recorded may have been undone from above, and the place taken since.
        let is_free = !old.is_present() || mapping.is_some() && old.maps(base, size);
        ensure(is_free, SyscallError::DeleteFirst)?;
        Ok(FrameRequest::Map {
            root: space.root,
            place,
            entry: Entry::page(base, size, rights, Attributes::from_word(attributes)),
            mapping: Mapping { asid: space.asid, vaddr },
        })
    }

    /// Carries out what was asked of a frame.
    pub(crate) fn perform_frame(&mut self, inv: &Invocation, request: FrameRequest) -> Outcome {
        match request {
            FrameRequest::Map { root, place, entry, mapping } => {
                let was_present = self.entry(place).is_present();
                self.set_entry(place, entry);
                if was_present {
                    self.machine.flush_page(root.address(), mapping.vaddr);
                }
                self.set_mapping(inv.slot, Some(mapping));
            }
            FrameRequest::Unmap => {
                self.finalise_frame(self.invoked(inv));
                self.set_mapping(inv.slot, None);
            }
            FrameRequest::GetAddress(base) => return Ok(Answer::Word(base.0)),
        }
        Ok(Answer::Empty)
    }

    /// A frame capability goes away: so does the mapping made with it.
    #[inline]
    pub(crate) fn finalise_frame(&mut self, cap: RawCap) {
        let Some(mapping) = cap.mapping() else { return };
        let (base, size) = (cap.address(), cap.frame_size());
        if let Some(root) = self.unmap(mapping, size.bits(), |entry| entry.maps(base, size)) {
            self.machine.flush_page(root, mapping.vaddr);
        }
    }
}

/// The physical address of an IPC buffer at `vaddr` in the frame of `cap`.
///
/// # Errors
/// `IllegalOperation` for what is no frame or device memory (the kernel writes to the buffer by
/// itself, and reading a device has effects), `Alignment` if `vaddr` is not aligned to the
/// buffer's size.
pub(crate) fn check_ipc_buffer(cap: RawCap, vaddr: u64) -> Decoded<PhysAddr> {
    let Cap::Frame { base, size, device: false, .. } = cap.unpack() else {
        return Err(SyscallError::IllegalOperation);
    };
    ensure(PhysAddr(vaddr).is_aligned(IPC_BUFFER_SIZE_BITS), SyscallError::Alignment)?;
    Ok(base.offset(vaddr & (size.bytes() - 1)))
}

/// A frame capability is one mapping: it may be mapped again only where it already is.
fn check_same_mapping(mapping: Option<Mapping>, vaddr: u64, space: AddressSpace) -> Decoded<()> {
    match mapping {
        Some(mapping) if mapping.asid != space.asid => Err(SyscallError::InvalidCapability(1)),
        Some(mapping) if mapping.vaddr != vaddr => Err(SyscallError::InvalidArgument(0)),
        _ => Ok(()),
    }
}
