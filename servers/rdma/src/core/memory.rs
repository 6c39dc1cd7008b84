//! Memory as queue pairs reach it: through regions, by somebody else's hands.

use super::Context;
use crate::entries::{SendEntry, SendFlags, Sge, WcStatus};
use crate::regions::{Access, DomainId, Key, Place};

/// The memory behind a place cannot be reached any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory is gone")]
pub struct Gone;

/// Whoever carries memory operations out. Places were checked when they are asked for; operations
/// take effect in the order of the calls.
pub trait Memory {
    /// Copies bytes from a place.
    ///
    /// # Errors
    /// The memory is gone.
    fn read(&mut self, from: Place, into: &mut [u8]) -> Result<(), Gone>;

    /// Copies bytes to a place.
    ///
    /// # Errors
    /// The memory is gone.
    fn write(&mut self, to: Place, bytes: &[u8]) -> Result<(), Gone>;

    /// Adds to the eight bytes at a place, atomically for whoever else uses it; what was there.
    ///
    /// # Errors
    /// The memory is gone.
    fn fetch_add(&mut self, at: Place, add: u64) -> Result<u64, Gone>;

    /// Stores `swap` into the eight bytes at a place if they are `compare`, atomically for whoever else
    /// uses it; what was there.
    ///
    /// # Errors
    /// The memory is gone.
    fn compare_swap(&mut self, at: Place, compare: u64, swap: u64) -> Result<u64, Gone>;
}

/// A part of a transfer that lies within one element.
struct Piece {
    address: u64,
    key: Key,
    length: usize,
}

/// The pieces of `length` bytes that begin `skip` bytes into a list.
fn pieces(sges: &[Sge], skip: u64, length: usize) -> impl Iterator<Item = Piece> {
    let (mut skip, mut left) = (skip, length);
    sges.iter().filter_map(move |sge| {
        let all = u64::from(sge.length);
        let before = skip.min(all);
        skip -= before;
        let length = usize::try_from(all - before).unwrap_or(usize::MAX).min(left);
        left -= length;
        // A range over the end of addresses is in no region.
        let address = sge.addr.saturating_add(before);
        (length > 0).then_some(Piece { address, key: Key(sge.lkey), length })
    })
}

/// Bytes of all elements.
pub(super) fn total(sges: &[Sge]) -> u64 {
    sges.iter().map(|sge| u64::from(sge.length)).sum()
}

impl<M: Memory> Context<'_, M> {
    /// Whether all elements may be used so.
    pub(super) fn check_all(
        &self,
        sges: &[Sge],
        domain: DomainId,
        right: Access,
    ) -> Result<(), WcStatus> {
        let allowed = |sge: &Sge| {
            let length = u64::from(sge.length);
            length == 0
                || self.regions.check(Key(sge.lkey), domain, sge.addr, length, right).is_ok()
        };
        if sges.iter().all(allowed) { Ok(()) } else { Err(WcStatus::LocProtErr) }
    }

    /// Fetches a part of what is to be sent.
    pub(super) fn gather(
        &mut self,
        entry: &SendEntry,
        domain: DomainId,
        skip: u64,
        mut room: &mut [u8],
    ) -> Result<(), WcStatus> {
        if entry.send_flags().contains(SendFlags::INLINE) {
            let from = usize::try_from(skip).unwrap_or(usize::MAX);
            let data = entry.inline_data().get(from..).and_then(|data| data.get(..room.len()));
            room.copy_from_slice(data.ok_or(WcStatus::LocLenErr)?);
            return Ok(());
        }
        for piece in pieces(entry.sges(), skip, room.len()) {
            let (part, rest) = room.split_at_mut(piece.length);
            let place = self.local(&piece, domain, Access::empty())?;
            self.memory.read(place, part).map_err(|Gone| WcStatus::LocProtErr)?;
            room = rest;
        }
        if room.is_empty() { Ok(()) } else { Err(WcStatus::LocLenErr) }
    }

    /// Puts bytes that came where they belong.
    pub(super) fn scatter(
        &mut self,
        sges: &[Sge],
        domain: DomainId,
        skip: u64,
        mut bytes: &[u8],
    ) -> Result<(), WcStatus> {
        for piece in pieces(sges, skip, bytes.len()) {
            let (part, rest) = bytes.split_at(piece.length);
            let place = self.local(&piece, domain, Access::LOCAL_WRITE)?;
            self.memory.write(place, part).map_err(|Gone| WcStatus::LocProtErr)?;
            bytes = rest;
        }
        if bytes.is_empty() { Ok(()) } else { Err(WcStatus::LocLenErr) }
    }

    fn local(&self, piece: &Piece, domain: DomainId, right: Access) -> Result<Place, WcStatus> {
        let length = u64::try_from(piece.length).map_err(|_| WcStatus::LocLenErr)?;
        let place = self.regions.check(piece.key, domain, piece.address, length, right);
        place.map_err(|_| WcStatus::LocProtErr)
    }
}
