//! Memory that the kernel has filled before init ran, as slices.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on both sides")]

use core::slice;

use libd3os::abi::BootInfo;
use libd3os::image::{Archive, ArchiveError, PREFIX_BYTES};
use libd3os::start::layout::{ARCHIVE_BASE, PAGE_SIZE};

/// The bytes of extra BootInfo.
pub(super) fn extra_boot_info(info: &'static BootInfo) -> &'static [u8] {
    let address = core::ptr::from_ref(info).addr() + PAGE_SIZE as usize;
    let bytes = usize::try_from(info.extra_len).unwrap_or(0);
    // SAFETY: the kernel maps `extra_len` bytes from the page after BootInfo, never unmaps them
    // and does not write to them after init's start; nor does init.
    unsafe { slice::from_raw_parts(core::ptr::with_exposed_provenance(address), bytes) }
}

/// The boot archive's bytes: as many as its prefix declares.
///
/// # Errors
/// The prefix is not one, or declares more than the kernel has mapped.
pub(super) fn archive(info: &BootInfo) -> Result<&'static [u8], ArchiveError> {
    // The kernel puts the IPC buffer behind the image's last page, and the archive is last in it.
    let mapped = info.ipc_buffer.saturating_sub(ARCHIVE_BASE);
    if mapped < PREFIX_BYTES as u64 {
        return Err(ArchiveError::Truncated);
    }
    let declared = Archive::declared_length(archive_bytes(PREFIX_BYTES as u64))?;
    if declared > mapped {
        return Err(ArchiveError::Truncated);
    }
    Ok(archive_bytes(declared))
}

/// The first `bytes` bytes at the archive's place, at most as many as are mapped there.
fn archive_bytes(bytes: u64) -> &'static [u8] {
    let base = core::ptr::with_exposed_provenance(ARCHIVE_BASE as usize);
    // SAFETY: the callers have found so many bytes of init's image mapped from ARCHIVE_BASE on;
    // that segment is never unmapped, and nobody writes to it.
    unsafe { slice::from_raw_parts(base, bytes as usize) }
}
