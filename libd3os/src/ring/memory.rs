//! A region's memory, as lines: where shared memory becomes Rust's.

use core::ptr::NonNull;
use core::slice;

use super::{Directory, LINE_BYTES, Line, RingError};
use crate::region::{ByteRange, Region, RegionError, Rights};

// A line's header and payload fill it.
const _: () = assert!(size_of::<Line>() == LINE_BYTES && align_of::<Line>() == LINE_BYTES);

/// A region that is mapped into this address space, to be used through atomic words only.
#[derive(Clone, Copy, Debug)]
pub struct Mapping<'m> {
    region: Region,
    lines: &'m [Line],
}

impl<'m> Mapping<'m> {
    /// The region that is mapped at `base`. Bytes behind its last whole line are not used.
    ///
    /// # Errors
    /// [`RingError::Denied`] where the region does not say that it may be read and written,
    /// [`RingError::Misaligned`] where `base` is not a line's, [`RingError::TooSmall`] where the
    /// region has less than a line or more than addresses can say.
    ///
    /// # Safety
    /// As many bytes as the region has, from `base` on, are mapped and may be read and written
    /// for `'m`. This program reaches them in no other way than through atomic words; other
    /// programs and cores may write them.
    pub unsafe fn new(region: Region, base: NonNull<u8>) -> Result<Self, RingError> {
        region.allowing(Rights::READ_WRITE).map_err(|_| RingError::Denied)?;
        let base = base.cast::<Line>();
        if !base.is_aligned() {
            return Err(RingError::Misaligned);
        }
        let count = lines_of(region.range()).ok_or(RingError::TooSmall)?;
        // SAFETY: the memory is mapped for 'm (the caller's promise), begins at a line (checked),
        // has `count` whole lines (computed from its length), and a line is only atomic words,
        // which are valid whatever they contain and whoever changes them.
        let lines = unsafe { slice::from_raw_parts(base.as_ptr(), count) };
        Ok(Self { region, lines })
    }

    /// What is mapped.
    #[must_use]
    pub const fn region(&self) -> Region {
        self.region
    }

    /// Its lines.
    #[must_use]
    pub const fn lines(&self) -> &'m [Line] {
        self.lines
    }

    /// The first `bytes` bytes, and the rest: two mappings, for two rings. `bytes` is a multiple
    /// of [`LINE_BYTES`].
    ///
    /// # Errors
    /// [`RegionError::Outside`] where it is not, or there are not so many;
    /// [`RegionError::Empty`] where one of them would be.
    pub fn split_at(&self, bytes: u64) -> Result<(Self, Self), RegionError> {
        let (first, second) = self.region.split_at(bytes)?;
        let middle = usize::try_from(bytes).map_err(|_| RegionError::Outside)?;
        if !middle.is_multiple_of(LINE_BYTES) {
            return Err(RegionError::Outside);
        }
        let middle = middle / LINE_BYTES;
        let (low, high) = self.lines.split_at_checked(middle).ok_or(RegionError::Outside)?;
        Ok((Self { region: first, lines: low }, Self { region: second, lines: high }))
    }
}

/// The directory in the page that is mapped at `page`.
///
/// # Errors
/// [`RingError::Misaligned`] where no directory can begin there.
///
/// # Safety
/// A page that began as zeros is mapped there for `'m`, writable if the directory is written to,
/// and reached by everyone as a directory only.
pub unsafe fn directory_at<'m>(page: NonNull<u8>) -> Result<&'m Directory, RingError> {
    let directory = page.cast::<Directory>();
    if !directory.is_aligned() {
        return Err(RingError::Misaligned);
    }
    // SAFETY: mapped for 'm (the caller's promise), aligned (checked), and a directory is only
    // atomic words, which are valid whatever they contain and whoever changes them.
    Ok(unsafe { directory.as_ref() })
}

/// Whole lines in so many bytes, if memory can have so many and there is one.
fn lines_of(range: ByteRange) -> Option<usize> {
    let bytes = isize::try_from(range.len()).ok()?.unsigned_abs();
    Some(bytes / LINE_BYTES).filter(|lines| *lines > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::RegionId;
    use crate::ring::{Polling, Received, Receiver, Sender};
    use alloc::vec::Vec;

    fn region(bytes: u64, rights: Rights) -> Region {
        Region::new(RegionId(1), ByteRange::new(0x1000, bytes).expect("a range"), rights)
    }

    fn base(memory: &mut [Line]) -> NonNull<u8> {
        NonNull::from(memory).cast()
    }

    #[test]
    fn two_rings_share_a_mapping() {
        let mut memory: Vec<Line> = (0..64).map(|_| Line::default()).collect();
        // SAFETY: the vector outlives the mapping and is not used beside it.
        let mapping = unsafe { Mapping::new(region(4096, Rights::READ_WRITE), base(&mut memory)) };
        let (low, high) = mapping.expect("fits").split_at(2048).expect("larger");
        assert_eq!(high.region().range(), ByteRange::new(0x1800, 2048).expect("a range"));
        let (mut there, mut back) = (duplex(low), duplex(high));
        there.0.try_send(1, b"there").expect("room");
        back.0.try_send(2, b"back").expect("room");
        let mut buffer = [0; 8];
        let received = there.1.try_receive(&mut buffer);
        assert_eq!(received, Ok(Some(Received { tag: 1, length: 5 })));
        assert_eq!(&buffer[..5], b"there");
        let received = back.1.try_receive(&mut buffer);
        assert_eq!(received, Ok(Some(Received { tag: 2, length: 4 })));
    }

    type Sides<'m> = (Sender<&'m [Line], Polling>, Receiver<&'m [Line], Polling>);

    fn duplex(mapping: Mapping<'_>) -> Sides<'_> {
        let sender = Sender::new(mapping.lines(), Polling).expect("large enough");
        (sender, Receiver::new(mapping.lines(), Polling).expect("large enough"))
    }

    #[test]
    fn unfit_memory_is_refused() {
        let mut memory: Vec<Line> = (0..4).map(|_| Line::default()).collect();
        let mut refused = |offset: usize, bytes, rights| {
            let base = NonNull::new(base(&mut memory).as_ptr().wrapping_add(offset));
            // SAFETY: nothing is mapped, for each of these is refused before memory is touched.
            unsafe { Mapping::new(region(bytes, rights), base.expect("not null")) }.err()
        };
        assert_eq!(refused(0, 256, Rights::READ), Some(RingError::Denied));
        assert_eq!(refused(8, 128, Rights::READ_WRITE), Some(RingError::Misaligned));
        assert_eq!(refused(0, 63, Rights::READ_WRITE), Some(RingError::TooSmall));
        assert_eq!(refused(0, 1 << 63, Rights::READ_WRITE), Some(RingError::TooSmall));
    }

    #[test]
    fn mappings_are_cut_at_lines() {
        let mut memory: Vec<Line> = (0..4).map(|_| Line::default()).collect();
        // SAFETY: the vector outlives the mapping and is not used beside it.
        let mapping = unsafe { Mapping::new(region(256, Rights::READ_WRITE), base(&mut memory)) };
        let mapping = mapping.expect("fits");
        assert_eq!(mapping.split_at(32).err(), Some(RegionError::Outside));
        assert_eq!(mapping.split_at(256).err(), Some(RegionError::Empty));
        assert_eq!(mapping.split_at(320).err(), Some(RegionError::Outside));
        assert_eq!(mapping.split_at(64).expect("cut").1.lines().len(), 3);
    }
}
