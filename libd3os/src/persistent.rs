//! Persistent memory, as a program sees it: through windows of 2 MiB, of which each shows any piece
//! of any range.
//!
//! Init maps them ([`crate::service::persistent`]); a [`Window`] is one place, and remembers what it
//! shows.

use alloc::boxed::Box;
use core::ops::Range;
use core::ptr::NonNull;

use libd3os_object::medium::{Durability, LINE_BYTES, Mapped};

use crate::call::{Error, Transport};
use crate::connection::Connection;
use crate::program::take_once;
use crate::region::{RegionId, Rights};
use crate::service::persistent::{PersistentClient, PersistentError};
use crate::shared::SharedMemory;
use crate::start::RegionGrant;
use crate::start::layout::{HUGE_PLACES, PERSISTENT_BYTES, PERSISTENT_WINDOW};

/// A place that shows pieces of persistent memory, one at a time.
#[derive(Debug)]
pub struct Window<T = Connection> {
    client: PersistentClient<T>,
    place: u32,
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    range: u16,
    start: u64,
    memory: SharedMemory,
}

/// Bytes of a range that one window shows at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where in the range the window begins.
    pub start: u64,
    /// Which of the wanted bytes these are.
    pub bytes: Range<usize>,
    /// Where in the window the first of them is.
    pub offset: usize,
}

/// Cuts `bytes` bytes from `offset` on of a range where windows meet.
pub fn parts(offset: u64, bytes: usize) -> impl Iterator<Item = Part> {
    let mut next = 0;
    core::iter::from_fn(move || {
        let left = bytes.checked_sub(next).filter(|left| *left > 0)?;
        let here = offset.checked_add(next as u64)?;
        let offset = here % PERSISTENT_BYTES;
        let room = usize::try_from(PERSISTENT_BYTES - offset).unwrap_or(usize::MAX);
        let end = next + left.min(room);
        let bytes = core::mem::replace(&mut next, end)..end;
        let offset = usize::try_from(offset).ok()?;
        Some(Part { start: here - here % PERSISTENT_BYTES, bytes, offset })
    })
}

impl<T: Transport> Window<T> {
    /// The window at a place; `None` where there is no such place, or the program has it already. Those behind
    /// the first [`HUGE_PLACES`] are for whole ranges.
    #[must_use]
    pub fn take(client: PersistentClient<T>, place: u32) -> Option<Self> {
        let is_free = place < HUGE_PLACES && take_once(base(place));
        is_free.then_some(Self { client, place, shown: None })
    }

    /// The piece of a range that begins at `start`, a multiple of a window's bytes.
    ///
    /// # Errors
    /// [`PersistentError`], or that init was not reached; nothing is shown then.
    pub fn show(
        &mut self,
        range: u16,
        start: u64,
    ) -> Result<&SharedMemory, Error<PersistentError>> {
        let is_it = |shown: &Shown| (shown.range, shown.start) == (range, start);
        let shown = match self.shown.take().filter(is_it) {
            Some(shown) => shown,
            None => Shown { range, start, memory: self.map(range, start)? },
        };
        Ok(&self.shown.insert(shown).memory)
    }

    fn map(&mut self, range: u16, start: u64) -> Result<SharedMemory, Error<PersistentError>> {
        let rights = self.client.show(self.place, range, start)?;
        let (base, id) = (base(self.place), RegionId(u128::from(range) << 64 | u128::from(start)));
        let grant = RegionGrant { id, base, bytes: PERSISTENT_BYTES, rights, bus: None };
        // SAFETY: init has just mapped the piece there, with these rights. It stays until the place is
        // told to show another, which only this value does, after it has dropped the memory; and the
        // place was taken once.
        let memory = unsafe { SharedMemory::new(grant) };
        memory.map_err(|_| Error::Service(PersistentError::Refused))
    }
}

/// The beginning of a range, as far as a program's places reach, in one piece.
#[derive(Debug)]
pub struct Whole {
    base: NonNull<u8>,
    bytes: usize,
    rights: Rights,
}

impl Whole {
    /// All whole pieces of a range of `bytes` bytes that there are places for among `places`; as far as they can
    /// be shown, and 1 GiB at least if there is as much.
    ///
    /// # Errors
    /// [`PersistentError`], or that init was not reached. [`PersistentError::NoSuchPlace`] where the
    /// program has a window.
    pub fn show<T: Transport>(
        client: &PersistentClient<T>,
        (range, bytes): (u16, u64),
        places: Range<u32>,
    ) -> Result<Self, Error<PersistentError>> {
        let pieces = (bytes / PERSISTENT_BYTES).min(places.len() as u64);
        let (mut rights, mut next) = (Rights::READ_WRITE, 0);
        while next < pieces {
            let place = places.start + u32::try_from(next).unwrap_or(u32::MAX);
            if !take_once(base(place)) {
                return Err(Error::Service(PersistentError::NoSuchPlace(place)));
            }
            let is_huge = place.is_multiple_of(HUGE_PLACES) && pieces - next >= HUGE_PLACES.into();
            let shown = match next > 0 && is_huge {
                true => client.show_huge(place, range, next * PERSISTENT_BYTES),
                false => client.show(place, range, next * PERSISTENT_BYTES),
            };
            match shown {
                // What is there is used.
                Err(Error::Service(_)) if next >= HUGE_PLACES.into() => break,
                shown => rights = rights & shown?,
            }
            next += if next > 0 && is_huge { HUGE_PLACES.into() } else { 1 };
        }
        let bytes = usize::try_from(next * PERSISTENT_BYTES).unwrap_or(0);
        let base = usize::try_from(base(places.start)).map(core::ptr::with_exposed_provenance_mut);
        let base = base.ok().and_then(NonNull::new).filter(|_| bytes > 0);
        let base = base.ok_or(Error::Service(PersistentError::Outside(0)))?;
        Ok(Self { base, bytes, rights })
    }

    /// How long it is.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the program may do with it.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// The memory. Where it may only be read, whoever stores to it faults, which ends the program.
    #[must_use]
    pub fn into_medium(self, durability: Durability) -> Mapped {
        let Self { base, bytes, .. } = self;
        // SAFETY: init has mapped the pieces at these places, one after the other, for as long as the
        // program lives: the places were taken once, and nobody is left who would show other pieces
        // there. All that is known of them is this value, which is used up. A store that the rights do
        // not allow changes nothing: it ends the program.
        unsafe { Mapped::new(base, bytes, durability) }
    }
}

/// Lines of [`scratch`].
const SCRATCH_LINES: usize = 64;

#[repr(align(64))]
struct Scratch([[u8; LINE_BYTES]; SCRATCH_LINES]);

/// A little memory of the program's own, for good: long enough for a log of which nothing is kept.
#[must_use]
pub fn scratch() -> Mapped {
    let memory = Box::leak(Box::new(Scratch([[0; LINE_BYTES]; SCRATCH_LINES])));
    let base = NonNull::from(&mut memory.0).cast();
    // SAFETY: nobody else has the memory, which is never freed.
    unsafe { Mapped::new(base, SCRATCH_LINES * LINE_BYTES, Durability::Never) }
}

/// Memory that was lent to this program ([`PersistentClient::lend`]).
///
/// # Safety
/// It is lent there, readable and writable, until the program ends or reaches for it no more; no other
/// value was made of it that is still used, but by this function.
#[must_use]
pub unsafe fn lent(base: u64, bytes: u64, durability: Durability) -> Option<Mapped> {
    let (base, bytes) = (usize::try_from(base).ok()?, usize::try_from(bytes).ok()?);
    let base = NonNull::new(core::ptr::with_exposed_provenance_mut(base))?;
    let is_lines = base.addr().get().is_multiple_of(LINE_BYTES) && bytes.is_multiple_of(LINE_BYTES);
    // SAFETY: the caller promises it.
    is_lines.then(|| unsafe { Mapped::new(base, bytes, durability) })
}

const fn base(place: u32) -> u64 {
    PERSISTENT_WINDOW + place as u64 * PERSISTENT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_cut_where_windows_meet() {
        let cut: Vec<_> = parts(PERSISTENT_BYTES - 2, 5).collect();
        let expected = [
            Part { start: 0, bytes: 0..2, offset: 0x1f_fffe },
            Part { start: PERSISTENT_BYTES, bytes: 2..5, offset: 0 },
        ];
        assert_eq!(cut, expected);
        assert_eq!(parts(7, 0).count(), 0);
    }

    proptest! {
        #[test]
        fn no_byte_is_left_out(offset in 0u64..1 << 40, bytes in 0usize..10 << 20) {
            let (mut next, window) = (0, PERSISTENT_BYTES);
            for part in parts(offset, bytes) {
                prop_assert_eq!(part.bytes.start, next);
                prop_assert!(part.start.is_multiple_of(window));
                prop_assert_eq!(part.start + part.offset as u64, offset + next as u64);
                prop_assert!((part.offset + part.bytes.len()) as u64 <= window);
                next = part.bytes.end;
            }
            prop_assert_eq!(next, bytes);
        }
    }
}
