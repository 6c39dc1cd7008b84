//! Shared memory: regions of the manifest that init has mapped into this program, and the big memories
//! of devices.
//!
//! Whoever else has the memory mapped, and a device, may change it at any time. So the safe ways to
//! reach it are copies and atomic words; a slice is for whoever the protocol says owns the bytes.

use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::region::{ByteRange, Region, RegionError, RegionId, Rights};
use crate::ring::{LINE_BYTES, Mapping, RingError};
use crate::start::RegionGrant;

const WORD: usize = size_of::<u64>();
/// Words that are copied in one round of a loop: its own cost is then small beside theirs.
const BLOCK: usize = 8;
const BLOCK_BYTES: usize = BLOCK * WORD;

/// Memory that others may change at any time. It stays mapped for as long as the program lives.
pub struct SharedMemory {
    base: NonNull<u8>,
    bytes: usize,
    /// What is mapped, counted from the whole's first byte.
    region: Region,
    bus: Option<u64>,
}

impl SharedMemory {
    /// The memory of this grant.
    ///
    /// # Errors
    /// [`RegionError::Empty`] where there is nothing, [`RegionError::Misaligned`] where it does not
    /// begin at a line, [`RegionError::Overflow`] where addresses cannot say where it ends.
    ///
    /// # Safety
    /// The memory is mapped for as long as the program lives, as the grant says, and not reached in
    /// any other way than through this value and what it is cut into.
    pub unsafe fn new(grant: RegionGrant) -> Result<Self, RegionError> {
        let address = |value: u64| usize::try_from(value).map_err(|_| RegionError::Overflow);
        let (base, bytes) = (address(grant.base)?, address(grant.bytes)?);
        if base.checked_add(bytes).is_none() || isize::try_from(bytes).is_err() {
            return Err(RegionError::Overflow);
        }
        let base = NonNull::new(core::ptr::with_exposed_provenance_mut(base));
        let base = base.ok_or(RegionError::Empty)?;
        if !base.addr().get().is_multiple_of(LINE_BYTES) {
            return Err(RegionError::Misaligned);
        }
        let region = Region::new(grant.id, ByteRange::new(0, grant.bytes)?, grant.rights);
        Ok(Self { base, bytes, region, bus: grant.bus })
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address under which this program's devices reach its first byte, the others following in
    /// a row; `None` where no device may.
    #[must_use]
    pub const fn bus(&self) -> Option<u64> {
        self.bus
    }

    /// What this program may do with it.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.region.rights()
    }

    /// The identity of the whole that it is a part of, the same for all who share it.
    #[must_use]
    pub const fn id(&self) -> RegionId {
        self.region.id()
    }

    /// Where it is mapped.
    #[must_use]
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Copies what stands from `offset` on. A writer at the same time may be seen in part.
    ///
    /// # Errors
    /// [`RegionError::Outside`] where it has fewer bytes, [`RegionError::Denied`] where it must not
    /// be read.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), RegionError> {
        self.check(offset, into.len(), Rights::READ)?;
        let (head, rest) = into.split_at_mut(unaligned(offset, into.len()));
        let middle = offset + head.len();
        let (words, tail) = rest.as_chunks_mut::<WORD>();
        let last = middle + words.len() * WORD;
        self.read_bytes(offset, head);
        self.read_words(middle, words);
        self.read_bytes(last, tail);
        Ok(())
    }

    /// Copies `from` to `offset`. A reader at the same time may see it in part.
    ///
    /// # Errors
    /// [`RegionError::Outside`] where it has fewer bytes, [`RegionError::Denied`] where it must not
    /// be written.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), RegionError> {
        self.check(offset, from.len(), Rights::WRITE)?;
        let (head, rest) = from.split_at(unaligned(offset, from.len()));
        let middle = offset + head.len();
        let (words, tail) = rest.as_chunks::<WORD>();
        let last = middle + words.len() * WORD;
        self.write_bytes(offset, head);
        self.write_words(middle, words);
        self.write_bytes(last, tail);
        Ok(())
    }

    /// Writes these four bytes `count` times from `offset` on.
    ///
    /// # Errors
    /// As [`Self::write`], and [`RegionError::Misaligned`] where `offset` is not a multiple of four.
    pub fn fill(&self, offset: usize, value: u32, count: usize) -> Result<(), RegionError> {
        const HALF: usize = size_of::<u32>();
        if !offset.is_multiple_of(HALF) {
            return Err(RegionError::Misaligned);
        }
        let bytes = count.checked_mul(HALF).ok_or(RegionError::Outside)?;
        self.check(offset, bytes, Rights::WRITE)?;
        let four = value.to_le_bytes();
        let head = unaligned(offset, bytes);
        self.write_bytes(offset, &four[..head]);
        let (first, words) = (offset + head, (bytes - head) / WORD);
        self.fill_words(first, u64::from(value) << 32 | u64::from(value), words);
        self.write_bytes(first + words * WORD, &four[..(bytes - head) % WORD]);
        Ok(())
    }

    /// Two bytes at `offset`, as an atomic word.
    ///
    /// # Errors
    /// [`RegionError::Outside`], [`RegionError::Misaligned`], or [`RegionError::Denied`] where it
    /// must not be both read and written.
    pub fn atomic16(&self, offset: usize) -> Result<&AtomicU16, RegionError> {
        let word = self.aligned::<AtomicU16>(offset)?;
        // SAFETY: inside of the memory, aligned, and valid whatever it contains.
        Ok(unsafe { word.as_ref() })
    }

    /// Four bytes at `offset`, as an atomic word.
    ///
    /// # Errors
    /// As [`Self::atomic16`].
    pub fn atomic32(&self, offset: usize) -> Result<&AtomicU32, RegionError> {
        let word = self.aligned::<AtomicU32>(offset)?;
        // SAFETY: inside of the memory, aligned, and valid whatever it contains.
        Ok(unsafe { word.as_ref() })
    }

    /// Eight bytes at `offset`, as an atomic word.
    ///
    /// # Errors
    /// As [`Self::atomic16`].
    pub fn atomic64(&self, offset: usize) -> Result<&AtomicU64, RegionError> {
        let word = self.aligned::<AtomicU64>(offset)?;
        // SAFETY: inside of the memory, aligned, and valid whatever it contains.
        Ok(unsafe { word.as_ref() })
    }

    /// The same memory for rings, which use it through atomic words only, too.
    ///
    /// # Errors
    /// [`RingError::Denied`] where it must not be written, and what else keeps rings out.
    pub fn mapping(&self) -> Result<Mapping<'static>, RingError> {
        // SAFETY: the memory is mapped as long as the program lives, and the safe ways to reach it
        // are atomic; whoever makes a slice promises that nobody else uses those bytes.
        unsafe { Mapping::new(self.region, self.base) }
    }

    /// The first `bytes` bytes, a multiple of [`LINE_BYTES`], and the rest.
    ///
    /// # Errors
    /// [`RegionError::Misaligned`], or [`RegionError::Outside`] and [`RegionError::Empty`] where one
    /// of them would have no bytes.
    pub fn split_at(self, bytes: usize) -> Result<(Self, Self), RegionError> {
        if !bytes.is_multiple_of(LINE_BYTES) {
            return Err(RegionError::Misaligned);
        }
        let length = bytes as u64;
        let (first, second) = self.region.split_at(length)?;
        let middle = self.place(bytes);
        let low = Self { region: first, bytes, ..self };
        let bus = self.bus.map(|bus| bus + length);
        Ok((low, Self { base: middle, bytes: self.bytes - bytes, region: second, bus }))
    }

    /// These bytes, to read.
    ///
    /// # Errors
    /// [`RegionError::Outside`], [`RegionError::Denied`].
    ///
    /// # Safety
    /// Nobody writes them while the slice lives: by the protocol that they are used with, they
    /// belong to the caller.
    pub unsafe fn slice(&self, range: Range<usize>) -> Result<&[u8], RegionError> {
        let length = range.len();
        self.check(range.start, length, Rights::READ)?;
        let first = self.place(range.start);
        // SAFETY: inside of the memory, which is mapped; nobody writes it (the caller's promise).
        Ok(unsafe { slice::from_raw_parts(first.as_ptr(), length) })
    }

    /// These bytes, to read and write.
    ///
    /// # Errors
    /// [`RegionError::Outside`], [`RegionError::Denied`].
    ///
    /// # Safety
    /// Nobody else reads or writes them while the slice lives: by the protocol that they are used
    /// with, they belong to the caller, who has no other slice of them.
    #[expect(clippy::mut_from_ref, reason = "who owns the bytes is the caller's to say")]
    pub unsafe fn slice_mut(&self, range: Range<usize>) -> Result<&mut [u8], RegionError> {
        let length = range.len();
        self.check(range.start, length, Rights::READ_WRITE)?;
        let first = self.place(range.start);
        // SAFETY: inside of the memory, which is mapped writable; nobody else uses it (the caller's
        // promise).
        Ok(unsafe { slice::from_raw_parts_mut(first.as_ptr(), length) })
    }

    fn check(&self, offset: usize, length: usize, rights: Rights) -> Result<(), RegionError> {
        self.region.allowing(rights)?;
        let end = offset.checked_add(length).ok_or(RegionError::Outside)?;
        if end <= self.bytes { Ok(()) } else { Err(RegionError::Outside) }
    }

    fn aligned<T>(&self, offset: usize) -> Result<NonNull<T>, RegionError> {
        self.check(offset, size_of::<T>(), Rights::READ_WRITE)?;
        let word = self.place(offset).cast::<T>();
        if word.is_aligned() { Ok(word) } else { Err(RegionError::Misaligned) }
    }

    /// Where an offset is that was checked to be at most as large as the memory.
    fn place(&self, offset: usize) -> NonNull<u8> {
        // SAFETY: the memory is one mapping, and every caller has checked the offset.
        unsafe { self.base.add(offset) }
    }

    /// Copies from an offset that was checked and is a multiple of eight.
    fn read_words(&self, offset: usize, into: &mut [[u8; WORD]]) {
        let (blocks, rest) = into.as_chunks_mut::<BLOCK>();
        let last = offset + blocks.len() * BLOCK_BYTES;
        for (index, block) in blocks.iter_mut().enumerate() {
            let from = self.block(offset + index * BLOCK_BYTES);
            let pairs = block.iter_mut().zip(from);
            pairs.for_each(|(to, from)| *to = from.load(Ordering::Relaxed).to_le_bytes());
        }
        for (index, word) in rest.iter_mut().enumerate() {
            *word = self.word(last + index * WORD).load(Ordering::Relaxed).to_le_bytes();
        }
    }

    /// Copies to an offset that was checked and is a multiple of eight.
    fn write_words(&self, offset: usize, from: &[[u8; WORD]]) {
        let (blocks, rest) = from.as_chunks::<BLOCK>();
        let last = offset + blocks.len() * BLOCK_BYTES;
        for (index, block) in blocks.iter().enumerate() {
            let pairs = self.block(offset + index * BLOCK_BYTES).iter().zip(block);
            pairs.for_each(|(to, from)| to.store(u64::from_le_bytes(*from), Ordering::Relaxed));
        }
        for (index, word) in rest.iter().enumerate() {
            self.word(last + index * WORD).store(u64::from_le_bytes(*word), Ordering::Relaxed);
        }
    }

    /// Fills from an offset on that was checked and is a multiple of eight.
    fn fill_words(&self, offset: usize, value: u64, count: usize) {
        let (blocks, rest) = (count / BLOCK, count % BLOCK);
        let last = offset + blocks * BLOCK_BYTES;
        for index in 0..blocks {
            let block = self.block(offset + index * BLOCK_BYTES);
            block.iter().for_each(|word| word.store(value, Ordering::Relaxed));
        }
        for index in 0..rest {
            self.word(last + index * WORD).store(value, Ordering::Relaxed);
        }
    }

    fn read_bytes(&self, offset: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            *byte = self.byte(offset + index).load(Ordering::Relaxed);
        }
    }

    fn write_bytes(&self, offset: usize, from: &[u8]) {
        for (index, byte) in from.iter().enumerate() {
            self.byte(offset + index).store(*byte, Ordering::Relaxed);
        }
    }

    /// The byte at an offset that was checked.
    fn byte(&self, offset: usize) -> &AtomicU8 {
        let byte = self.place(offset).cast::<AtomicU8>();
        // SAFETY: every caller has checked that the memory has this byte; any value is valid.
        unsafe { byte.as_ref() }
    }

    /// Eight words at an offset that was checked and is a multiple of eight.
    fn block(&self, offset: usize) -> &[AtomicU64; BLOCK] {
        let block = self.place(offset).cast::<[AtomicU64; BLOCK]>();
        // SAFETY: as for `word`; the callers have checked that the memory has all eight.
        unsafe { block.as_ref() }
    }

    /// The eight bytes at an offset that was checked and is a multiple of eight.
    fn word(&self, offset: usize) -> &AtomicU64 {
        let word = self.place(offset).cast::<AtomicU64>();
        // SAFETY: every caller has checked that the memory has these bytes; it begins at a line, so
        // they are aligned; any value is valid.
        unsafe { word.as_ref() }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMemory({} at {:?})", self.region, self.base)
    }
}

/// Memory that two see, for as long as the test runs.
#[cfg(test)]
pub(crate) fn twins(bytes: usize) -> [SharedMemory; 2] {
    let lines = alloc::vec![[0u8; LINE_BYTES]; bytes / LINE_BYTES + 1].leak();
    let first = lines.as_mut_ptr().expose_provenance().next_multiple_of(LINE_BYTES);
    let (base, bytes, rights) = (first as u64, bytes as u64, Rights::READ_WRITE);
    let grant = RegionGrant { id: RegionId(4), base, bytes, rights, bus: None };
    // SAFETY: there are so many bytes from there on, for good, and they are reached by these two only,
    // whose safe ways are copies and atomic words.
    [(); 2].map(|()| unsafe { SharedMemory::new(grant) }.expect("fits"))
}

/// How many of `length` bytes from `offset` on stand before the first whole word.
fn unaligned(offset: usize, length: usize) -> usize {
    (offset.next_multiple_of(WORD) - offset).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Memory that begins at a line, and the vector that it lies in.
    fn memory(bytes: usize, rights: Rights) -> (SharedMemory, Vec<[u8; LINE_BYTES]>) {
        let mut lines = vec![[0u8; LINE_BYTES]; bytes / LINE_BYTES + 1];
        let first = lines.as_mut_ptr().expose_provenance().next_multiple_of(LINE_BYTES);
        let bus = Some(0x10_0000);
        let (base, bytes) = (first as u64, bytes as u64);
        let grant = RegionGrant { id: RegionId(3), base, bytes, rights, bus };
        // SAFETY: the vector has so many bytes from there on, lives as long, and is not used beside.
        (unsafe { SharedMemory::new(grant) }.expect("fits"), lines)
    }

    proptest! {
        #[test]
        fn copies_are_those_of_a_slice(
            steps in prop::collection::vec((0usize..300, prop::collection::vec(any::<u8>(), 0..200)), 1..40),
        ) {
            let (memory, _lines) = memory(256, Rights::READ_WRITE);
            let mut model = [0u8; 256];
            for (offset, bytes) in steps {
                let place = model.get_mut(offset..offset + bytes.len());
                let expected = if place.is_some() { Ok(()) } else { Err(RegionError::Outside) };
                if let Some(place) = place {
                    place.copy_from_slice(&bytes);
                }
                prop_assert_eq!(memory.write(offset, &bytes), expected);
                let mut back = vec![0; bytes.len()];
                prop_assert_eq!(memory.read(offset, &mut back), expected);
                prop_assert!(expected.is_err() || back == bytes);
            }
            let mut all = [0; 256];
            memory.read(0, &mut all).expect("all of it");
            prop_assert_eq!(all, model);
        }
    }

    proptest! {
        #[test]
        fn what_is_filled_is_just_what_is_named(
            offset in 0usize..300, count in 0usize..70, value in any::<u32>(),
        ) {
            let (memory, _lines) = memory(256, Rights::READ_WRITE);
            let mut model = [0u8; 256];
            let expected = match model.get_mut(offset..offset + count * 4) {
                _ if offset % 4 != 0 => Err(RegionError::Misaligned),
                None => Err(RegionError::Outside),
                Some(place) => {
                    place.chunks_mut(4).for_each(|four| four.copy_from_slice(&value.to_le_bytes()));
                    Ok(())
                }
            };
            prop_assert_eq!(memory.fill(offset, value, count), expected);
            let mut all = [0; 256];
            memory.read(0, &mut all).expect("all of it");
            prop_assert_eq!(all, model);
        }
    }

    #[test]
    fn rights_are_kept() {
        let (readable, _lines) = memory(128, Rights::READ);
        assert_eq!(readable.write(0, &[1]), Err(RegionError::Denied));
        assert_eq!(readable.fill(0, 1, 1), Err(RegionError::Denied));
        assert_eq!(readable.atomic32(0).err(), Some(RegionError::Denied));
        assert_eq!(readable.mapping().err(), Some(RingError::Denied));
        assert_eq!(readable.read(127, &mut [0]), Ok(()));
        // SAFETY: refused before anything is made.
        assert_eq!(unsafe { readable.slice_mut(0..1) }.err(), Some(RegionError::Denied));
    }

    #[test]
    fn words_are_atomic_where_they_are_aligned() {
        let (memory, _lines) = memory(64, Rights::READ_WRITE);
        memory.atomic32(4).expect("there").store(0x0403_0201, Ordering::Relaxed);
        let mut bytes = [0; 4];
        memory.read(4, &mut bytes).expect("there");
        assert_eq!(bytes, [1, 2, 3, 4]);
        assert_eq!(memory.atomic16(5).err(), Some(RegionError::Misaligned));
        assert_eq!(memory.atomic64(60).err(), Some(RegionError::Outside));
        assert_eq!(memory.atomic64(usize::MAX).err(), Some(RegionError::Outside));
        assert_eq!(memory.fill(0, 0, usize::MAX), Err(RegionError::Outside));
    }

    #[test]
    fn parts_know_where_devices_find_them() {
        let (memory, _lines) = memory(256, Rights::READ_WRITE);
        let (low, high) = memory.split_at(64).expect("larger");
        assert_eq!((low.bytes(), high.bytes()), (64, 192));
        assert_eq!((low.bus(), high.bus()), (Some(0x10_0000), Some(0x10_0040)));
        high.write(0, b"high").expect("there");
        // SAFETY: nobody else uses the memory.
        assert_eq!(unsafe { high.slice(0..4) }, Ok(&b"high"[..]));
        assert_eq!(low.write(64, b"x"), Err(RegionError::Outside));
        assert_eq!(high.mapping().expect("lines").lines().len(), 3);
        assert_eq!(high.split_at(63).err(), Some(RegionError::Misaligned));
        assert_eq!(low.split_at(64).err(), Some(RegionError::Empty));
    }

    #[test]
    fn impossible_grants_are_refused() {
        let refused = |base, bytes| {
            let rights = Rights::READ_WRITE;
            let grant = RegionGrant { id: RegionId(1), base, bytes, rights, bus: None };
            // SAFETY: each is refused before memory is touched.
            unsafe { SharedMemory::new(grant) }.err()
        };
        assert_eq!(refused(0, 64), Some(RegionError::Empty));
        assert_eq!(refused(64, 0), Some(RegionError::Empty));
        assert_eq!(refused(65, 64), Some(RegionError::Misaligned));
        assert_eq!(refused(64, u64::MAX), Some(RegionError::Overflow));
    }
}
