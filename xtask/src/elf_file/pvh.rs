//! Where QEMU enters the kernel: the address in its PVH note.

use elf::ElfBytes;
use elf::abi::PT_NOTE;
use elf::endian::LittleEndian;
use elf::note::Note;

use super::ElfError;

/// Type of the note that holds the 32-bit entry (Xen's `elfnote.h`: PHYS32_ENTRY).
const PHYS32_ENTRY: u64 = 18;

/// The physical address of the kernel's first instruction under `-kernel`, if it has the note.
pub(crate) fn entry(file: &[u8]) -> Result<Option<u64>, ElfError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let segments = elf.segments().into_iter().flat_map(|all| all.iter());
    for segment in segments.filter(|segment| segment.p_type == PT_NOTE) {
        if let Some(address) = elf.segment_data_as_notes(&segment)?.find_map(entry_of) {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

fn entry_of(note: Note<'_>) -> Option<u64> {
    match note {
        Note::Unknown(note) if note.n_type == PHYS32_ENTRY && note.name == b"Xen\0" => {
            let word = note.desc.first_chunk::<4>()?;
            Some(u64::from(u32::from_le_bytes(*word)))
        }
        _ => None,
    }
}
