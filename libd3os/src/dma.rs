//! Memory that a device reads and writes: rings of descriptors, as atomic words.
//!
//! The device changes it at any time, so it is never a Rust value: it is rows of atomic words, of
//! which any content is valid and whose order against each other is said with each access. A
//! device that is mapped as [`crate::mmio`] sees a store before a later store to its registers:
//! x86 keeps stores in order, and `Ordering::Release` keeps the compiler from moving them.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use crate::region::Rights;
use crate::shared::SharedMemory;

/// What a row can be made of.
///
/// # Safety
/// The type is atomic words and nothing else, without padding, so that every content is valid and
/// everybody may change it.
pub unsafe trait Word {}

// SAFETY: an atomic word.
unsafe impl Word for AtomicU8 {}
// SAFETY: an atomic word.
unsafe impl Word for AtomicU16 {}
// SAFETY: an atomic word.
unsafe impl Word for AtomicU32 {}
// SAFETY: an atomic word.
unsafe impl Word for AtomicU64 {}
// SAFETY: words in a row have no padding between them.
unsafe impl<W: Word, const N: usize> Word for [W; N] {}

/// Memory that a device may reach, and where the device finds it.
#[derive(Clone, Copy)]
pub struct Dma<'m> {
    base: NonNull<u8>,
    bytes: usize,
    bus: u64,
    memory: PhantomData<&'m [AtomicU8]>,
}

/// The memory has no such row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaError {
    /// It ends before the row does.
    Outside,
    /// The row does not begin where its words could.
    Misaligned,
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outside => "the DMA memory is too small",
            Self::Misaligned => "a place in DMA memory that is not aligned",
        })
    }
}

impl core::error::Error for DmaError {}

impl<'m> Dma<'m> {
    /// The `bytes` bytes at `base`, which the device finds at `bus` in a row.
    ///
    /// # Safety
    /// The memory is mapped, readable and writable, for `'m`, and this program reaches it only
    /// through this value and its copies.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, bytes: usize, bus: u64) -> Self {
        Self { base, bytes, bus, memory: PhantomData }
    }

    /// The memory of a region; `None` where the manifest does not let this program write it and
    /// its devices reach it.
    #[must_use]
    pub fn of_region(region: SharedMemory) -> Option<Dma<'static>> {
        let bus = region.bus().filter(|_| region.rights().contain(Rights::READ_WRITE))?;
        // SAFETY: the region is mapped for as long as the program lives, writable (checked), and
        // taken here, so that this value and its copies are the only way to it.
        Some(unsafe { Dma::new(region.base(), region.bytes(), bus) })
    }

    /// Memory of this program's own, for the model of a device.
    #[must_use]
    pub const fn of_words(words: &'m mut [u64], bus: u64) -> Self {
        let bytes = size_of_val(words);
        // SAFETY: the words are borrowed for 'm, so that they are reached through this value only.
        // It cannot leave its thread (`NonNull`), so no two accesses meet.
        unsafe { Self::new(NonNull::from_mut(words).cast(), bytes, bus) }
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address at which the device finds the byte at `offset`.
    #[must_use]
    pub const fn bus(&self, offset: usize) -> u64 {
        self.bus + offset as u64
    }

    /// The offset of the byte that the device finds at this address; `None` outside.
    #[must_use]
    pub fn offset(&self, bus: u64) -> Option<usize> {
        let offset = usize::try_from(bus.checked_sub(self.bus)?).ok()?;
        (offset < self.bytes).then_some(offset)
    }

    /// `count` words from `offset` on.
    ///
    /// # Errors
    /// [`DmaError`].
    pub fn row<W: Word>(&self, offset: usize, count: usize) -> Result<&'m [W], DmaError> {
        let bytes = count.checked_mul(size_of::<W>()).ok_or(DmaError::Outside)?;
        let end = offset.checked_add(bytes).ok_or(DmaError::Outside)?;
        if end > self.bytes {
            return Err(DmaError::Outside);
        }
        // SAFETY: the offset lies in the mapped memory, or just behind its end.
        let first = unsafe { self.base.add(offset) }.cast::<W>();
        if !first.is_aligned() {
            return Err(DmaError::Misaligned);
        }
        // SAFETY: mapped for 'm (`new`), inside (checked), aligned (checked), and atomic words
        // are valid whatever they contain and whoever changes them.
        Ok(unsafe { slice::from_raw_parts(first.as_ptr(), count) })
    }

    /// The word at `offset`.
    ///
    /// # Errors
    /// [`DmaError`].
    pub fn word<W: Word>(&self, offset: usize) -> Result<&'m W, DmaError> {
        self.row(offset, 1)?.first().ok_or(DmaError::Outside)
    }

    /// `bytes` bytes of it from `offset` on.
    ///
    /// # Errors
    /// [`DmaError::Outside`].
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Self, DmaError> {
        let end = offset.checked_add(bytes).ok_or(DmaError::Outside)?;
        if end > self.bytes {
            return Err(DmaError::Outside);
        }
        // SAFETY: the offset lies in the mapped memory, or just behind its end.
        let base = unsafe { self.base.add(offset) };
        Ok(Self { base, bytes, bus: self.bus(offset), memory: PhantomData })
    }
}

impl fmt::Debug for Dma<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dma({} bytes at bus address {:#x})", self.bytes, self.bus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;

    #[test]
    fn rows_lie_where_the_device_finds_them() {
        let mut words = [0u64; 4];
        let memory = Dma::of_words(&mut words, 0x1000);
        memory.row::<AtomicU16>(6, 2).expect("inside")[1].store(0x1234, Ordering::Relaxed);
        let pairs = memory.row::<[AtomicU32; 2]>(8, 3).expect("inside");
        assert_eq!(pairs[0][0].load(Ordering::Relaxed), 0x1234);
        assert_eq!((memory.bus(8), memory.offset(0x1008)), (0x1008, Some(8)));
        assert_eq!((memory.offset(0xfff), memory.offset(0x1020)), (None, None));
        let part = memory.part(8, 16).expect("inside");
        assert_eq!(part.word::<AtomicU8>(0).expect("inside").load(Ordering::Relaxed), 0x34);
        assert_eq!((part.bytes(), part.bus(0)), (16, 0x1008));
    }

    #[test]
    fn nothing_outside_can_be_had() {
        let mut words = [0u64; 4];
        let memory = Dma::of_words(&mut words, 0);
        assert_eq!(memory.row::<AtomicU32>(32, 0).map(<[_]>::len), Ok(0));
        assert_eq!(memory.row::<AtomicU32>(32, 1).err(), Some(DmaError::Outside));
        assert_eq!(memory.row::<AtomicU32>(usize::MAX, 2).err(), Some(DmaError::Outside));
        assert_eq!(memory.row::<AtomicU64>(0, usize::MAX).err(), Some(DmaError::Outside));
        assert_eq!(memory.row::<AtomicU64>(4, 1).err(), Some(DmaError::Misaligned));
        assert_eq!(memory.part(16, 17).err(), Some(DmaError::Outside));
    }
}
