//! Frames: memory that is mapped into address spaces (manual, chapter 7).

use crate::cap::RawCap;
use crate::vspace::{AddressSpace, Attributes, Entry, check_user_range};
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Machine, Mapping, Outcome, PhysAddr, SyscallError,
    ensure,
};
use d3os_abi::{CapRights, IPC_BUFFER_SIZE_BITS, Label};

impl<M: Machine> Kernel<M> {
    /// Maps a frame or changes how it is mapped, unmaps it, or tells its physical address.
    #[inline(never)]
    pub(crate) fn invoke_frame(&mut self, inv: &Invocation) -> Decoded<Outcome> {
        match inv.label()? {
            Label::PageMap => self.map_page(inv)?,
            Label::PageUnmap => {
                self.finalise_frame(self.invoked(inv));
                self.set_mapping(inv.slot, None);
            }
            Label::PageGetAddress => {
                return Ok(Ok(Answer::Word(self.invoked(inv).address().0)));
            }
            _ => return Err(SyscallError::IllegalOperation),
        }
        Ok(Ok(Answer::Empty))
    }

    #[inline(always)]
    fn map_page(&mut self, inv: &Invocation) -> Decoded<()> {
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
        let entry = Entry::page(base, size, rights, Attributes::from_word(attributes));
        self.set_entry(place, entry);
        if old.is_present() {
            self.machine.flush_page(space.root.address(), vaddr);
        }
        self.set_mapping(inv.slot, Some(Mapping { asid: space.asid, vaddr }));
        Ok(())
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
