//! Shared memory, shown: `scribe` writes on two slates, `reader` may only read them.
//!
//! One slate is made of small frames, the other of large ones. On each stands a text at its start and
//! a copy at its very end, so that all of it has to be there.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

use libd3os::region::RegionError;
use libd3os::shared::SharedMemory;

/// The slates, as the image's manifest names them.
pub const SLATES: [&str; 2] = ["slate", "large-slate"];

/// Bytes of a text with its length.
const ROOM: usize = 64;

/// Writes a text, as much of it as there is room for, at both ends of a slate.
///
/// # Errors
/// [`RegionError`] where the slate cannot be written.
pub fn write(slate: &SharedMemory, text: &str) -> Result<(), RegionError> {
    let mut bytes = [0; ROOM];
    let (head, rest) = bytes.split_at_mut(1);
    for (place, byte) in rest.iter_mut().zip(text.bytes()) {
        *place = byte;
        head[0] += 1;
    }
    slate.write(0, &bytes)?;
    slate.write(slate.bytes().saturating_sub(ROOM), &bytes)
}

/// The texts at both ends of a slate.
///
/// # Errors
/// [`RegionError`] where the slate cannot be read.
pub fn read(slate: &SharedMemory) -> Result<[String; 2], RegionError> {
    Ok([read_at(slate, 0)?, read_at(slate, slate.bytes().saturating_sub(ROOM))?])
}

fn read_at(slate: &SharedMemory, offset: usize) -> Result<String, RegionError> {
    let mut bytes = [0; ROOM];
    slate.read(offset, &mut bytes)?;
    let (length, text) = (usize::from(bytes[0]), &bytes[1..]);
    let text: Vec<u8> = text.iter().copied().take(length).collect();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
#[expect(unsafe_code, reason = "makes shared memory of an array")]
mod tests {
    use super::*;
    use libd3os::region::{RegionId, Rights};
    use libd3os::start::RegionGrant;

    #[repr(align(64))]
    struct Page([u8; 4096]);

    #[test]
    fn a_text_is_read_at_both_ends() {
        let mut page = Page([0; 4096]);
        let base = page.0.as_mut_ptr().expose_provenance() as u64;
        let (id, rights) = (RegionId(1), Rights::READ_WRITE);
        let grant = RegionGrant { id, base, bytes: 4096, rights, bus: None };
        // SAFETY: the array has so many bytes, lives as long, and is not used beside.
        let slate = unsafe { SharedMemory::new(grant) }.expect("fits");
        assert_eq!(read(&slate), Ok([String::new(), String::new()]));
        write(&slate, "one text").expect("writable");
        assert_eq!(read(&slate), Ok(["one text".into(), "one text".into()]));
        let long = "x".repeat(100);
        write(&slate, &long).expect("writable");
        assert_eq!(read(&slate).expect("readable")[1].len(), ROOM - 1);
    }
}
