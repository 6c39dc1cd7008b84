//! Shared memory as buffers of frames.
//!
//! Who may touch a buffer when is the protocol's matter (the module above says it), so bytes are
//! handed out only to [`super::Link`], which keeps the table of what is this side's.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::descriptor::{RxIndex, TxIndex};
use super::layout::{
    BUFFER_BYTES, CONTROL_BYTES, Control, FRAME_BYTES, FRAME_OFFSET, RECEIVE_MOST, TRANSMIT_MOST,
    buffers_in,
};
use crate::region::{RegionError, Rights};
use crate::ring::{LINE_BYTES, Line, RingError};
use crate::shared::SharedMemory;

/// Bytes of a frame that [`Buffers::head`] reads: Ethernet, the longest IPv4 header, UDP's ports.
pub const HEAD_BYTES: usize = 80;

const HEAD_WORDS: usize = HEAD_BYTES / 8;
const _: () = assert!(HEAD_BYTES.is_multiple_of(8) && HEAD_BYTES <= FRAME_BYTES);
const _: () = assert!(BUFFER_BYTES.is_multiple_of(8) && FRAME_OFFSET.is_multiple_of(8));

/// A row of buffers in memory that programs and a device share.
pub struct Buffers<'m> {
    base: NonNull<u8>,
    count: u16,
    writable: bool,
    memory: PhantomData<&'m [u8]>,
}

impl<'m> Buffers<'m> {
    /// The buffers in `bytes` bytes from `base` on, [`RECEIVE_MOST`] at most.
    ///
    /// # Panics
    /// `base` is not aligned to a cache line.
    ///
    /// # Safety
    /// The memory is mapped, readable, for `'m`, and reached by this program through this value
    /// only. Whoever else reaches it (other programs, a device) writes a frame only while the
    /// protocol says that it is his.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, bytes: usize) -> Self {
        assert!(base.addr().get().is_multiple_of(LINE_BYTES), "memory is mapped by pages");
        let count = buffers_in(bytes, RECEIVE_MOST);
        Self { base, count, writable: false, memory: PhantomData }
    }

    /// The buffers of a region.
    ///
    /// # Errors
    /// [`RegionError::Denied`] where it must not be read.
    pub fn of_region(region: SharedMemory) -> Result<Buffers<'static>, RegionError> {
        if !region.rights().contain(Rights::READ) {
            return Err(RegionError::Denied);
        }
        // SAFETY: the region is mapped for as long as the program lives, readable (checked), and
        // taken here, so that this value is the only way to it; the card's driver and its other
        // consumers keep to the protocol, or harm their own frames.
        let buffers = unsafe { Buffers::new(region.base(), region.bytes()) };
        Ok(Buffers { writable: region.rights().contain(Rights::WRITE), ..buffers })
    }

    /// The same buffers, for a program that may write them.
    ///
    /// # Safety
    /// The memory is mapped writable.
    #[must_use]
    pub const unsafe fn writable(self) -> Self {
        Self { writable: true, ..self }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The first [`HEAD_BYTES`] bytes behind the place where a frame begins, whatever lies there,
    /// as they are now: a copy, which no device changes any more. All 0 for a buffer that does
    /// not exist.
    #[must_use]
    #[inline]
    pub fn head(&self, index: RxIndex) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let Some(frame) = self.frame(index.number()) else { return head };
        let words = frame.cast::<[u64; HEAD_WORDS]>();
        // SAFETY: the buffer is mapped (`new`), begins at a multiple of eight (asserted above) and
        // is longer than a head; a volatile read takes whatever the device left there.
        let words = unsafe { words.read_volatile() };
        for (place, word) in head.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        head
    }

    /// Appends the first `bytes` bytes of one buffer's frame to another's, which has `length`: for
    /// a card that puts a frame into two. `false`, and nothing is done, where there are no such
    /// buffers, no such room, or this program must not write.
    #[must_use]
    pub fn append(&self, to: RxIndex, length: usize, from: RxIndex, bytes: usize) -> bool {
        let fits = length.checked_add(bytes).is_some_and(|end| end <= FRAME_BYTES);
        let frames = self.frame(to.number()).zip(self.frame(from.number()));
        let Some((to, from)) = frames.filter(|_| self.writable && fits) else { return false };
        for index in 0..bytes {
            // SAFETY: the frame lies in the mapped memory and has so many bytes (checked).
            let source = unsafe { from.add(index) };
            // SAFETY: as above.
            let place = unsafe { to.add(length + index) };
            // SAFETY: as above; a volatile read takes whatever the device left there.
            let byte = unsafe { source.read_volatile() };
            // SAFETY: as above, and the memory is writable (checked). Slices of it exist only in a
            // link, which has taken its buffers.
            unsafe { place.write_volatile(byte) };
        }
        true
    }

    /// The frame of this length in a receive buffer.
    ///
    /// # Safety
    /// The buffer is this side's until the slice is dropped.
    #[inline]
    pub(super) unsafe fn received(&self, index: RxIndex, length: u16) -> Option<&'m [u8]> {
        let frame = self.frame(index.number())?;
        let length = usize::from(length).min(FRAME_BYTES);
        // SAFETY: the buffer is mapped for 'm and long enough (`new`), and nobody writes it while
        // it is this side's (the caller's promise).
        Some(unsafe { core::slice::from_raw_parts(frame.as_ptr(), length) })
    }

    /// The place of a frame in a transmit buffer.
    ///
    /// # Safety
    /// The memory is mapped writable. The buffer is this side's until the slice is dropped, and
    /// there is no other slice of it.
    #[inline]
    pub(super) unsafe fn room(&self, index: TxIndex) -> Option<&'m mut [u8]> {
        let frame = self.frame(index.number())?;
        // SAFETY: the buffer is mapped for 'm, writable, and nobody else uses it while it is this
        // side's (the caller's promise).
        Some(unsafe { core::slice::from_raw_parts_mut(frame.as_ptr(), FRAME_BYTES) })
    }

    #[inline]
    fn frame(&self, index: u16) -> Option<NonNull<u8>> {
        let offset = usize::from(index) * BUFFER_BYTES + FRAME_OFFSET;
        // SAFETY: the buffer of this index lies in the mapped memory, which `new` was promised.
        (index < self.count).then(|| unsafe { self.base.add(offset) })
    }
}

impl fmt::Debug for Buffers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A consumer's memory: its region, and the driver's receive region.
#[derive(Debug)]
pub struct Memory<'m> {
    pub(super) control: Control<'m>,
    pub(super) transmit: Buffers<'m>,
    pub(super) receive: Buffers<'m>,
}

impl<'m> Memory<'m> {
    /// The consumer's region of `bytes` bytes at `base`, and the receive buffers.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] where the region has no room for a transmit buffer.
    ///
    /// # Panics
    /// `base` is not aligned to a cache line.
    ///
    /// # Safety
    /// As for [`Buffers::new`], and the region is writable.
    pub unsafe fn new(
        base: NonNull<u8>,
        bytes: usize,
        receive: Buffers<'m>,
    ) -> Result<Self, RingError> {
        if bytes < CONTROL_BYTES + BUFFER_BYTES {
            return Err(RingError::TooSmall);
        }
        // SAFETY: so many bytes are mapped (the caller's promise, and checked here).
        let lines = unsafe { control_lines(base) };
        // SAFETY: the region is longer than that (checked).
        let buffers = unsafe { base.add(CONTROL_BYTES) };
        // SAFETY: the rest of the region, of which the caller promises what is needed.
        let mut transmit = unsafe { Buffers::new(buffers, bytes - CONTROL_BYTES) };
        transmit.count = transmit.count.min(TRANSMIT_MOST);
        Ok(Self { control: Control::new(lines)?, transmit, receive })
    }

    /// The consumer's region, to read and write, and the driver's receive region.
    ///
    /// # Errors
    /// [`RingError::Denied`] where the manifest grants fewer rights than these,
    /// [`RingError::TooSmall`].
    pub fn of_regions(
        region: SharedMemory,
        receive: SharedMemory,
    ) -> Result<Memory<'static>, RingError> {
        let receive = Buffers::of_region(receive).map_err(|_| RingError::Denied)?;
        if !region.rights().contain(Rights::READ_WRITE) {
            return Err(RingError::Denied);
        }
        // SAFETY: as in `Buffers::of_region`; the region is writable (checked).
        unsafe { Memory::new(region.base(), region.bytes(), receive) }
    }

    /// Writes the ticket that the next call of `attach` shows.
    pub fn ticket(&self, ticket: u64) {
        self.control.set_ticket(ticket);
    }
}

/// The lines of a consumer's region that are not buffers.
///
/// # Safety
/// [`CONTROL_BYTES`] bytes from `base` on are mapped, writable, for `'m`, and used as lines only.
unsafe fn control_lines<'m>(base: NonNull<u8>) -> &'m [Line] {
    let lines = base.cast::<Line>();
    assert!(lines.is_aligned(), "memory is mapped by pages");
    // SAFETY: mapped for 'm (the caller's promise), aligned (checked), and a line is only atomic
    // words, which are valid whatever they contain and whoever changes them.
    unsafe { core::slice::from_raw_parts(lines.as_ptr(), CONTROL_BYTES / LINE_BYTES) }
}

/// Memory of a test's own, in place of what programs share: a line is atomic words, which may be
/// written through a shared reference.
#[cfg(test)]
impl<'m> Memory<'m> {
    /// The memory of a consumer whose region these lines are, beside this receive region.
    pub(super) fn of_test(region: &'m [Line], receive: &'m [Line]) -> Self {
        let base = NonNull::from(region).cast();
        let receive = Buffers::of_test(receive);
        // SAFETY: the lines outlive 'm, and a test runs both sides in turn.
        unsafe { Self::new(base, region.len() * LINE_BYTES, receive) }.expect("large enough")
    }
}

#[cfg(test)]
impl<'m> Buffers<'m> {
    pub(super) fn of_test(lines: &'m [Line]) -> Self {
        // SAFETY: the lines outlive 'm, and a test runs both sides in turn.
        let buffers = unsafe { Self::new(NonNull::from(lines).cast(), lines.len() * LINE_BYTES) };
        Self { writable: true, ..buffers }
    }

    /// Writes a frame, as a device does.
    pub(super) fn put(&self, index: u16, bytes: &[u8]) {
        // SAFETY: the test's memory is writable, and only this is using the buffer.
        let room = unsafe { self.room(TxIndex::new(index)) };
        room.expect("a buffer")[..bytes.len()].copy_from_slice(bytes);
    }

    /// The bytes of a frame, as a device reads it.
    pub(super) fn look(&self, index: u16, length: u16) -> alloc::vec::Vec<u8> {
        // SAFETY: only this is using the buffer.
        let frame = unsafe { self.received(RxIndex::new(index), length) };
        frame.expect("a buffer").to_vec()
    }
}
