//! Large pieces of the host's files, through a region that a program shares with the driver `share`.
//!
//! ```text
//! offset 0      the ticket, eight bytes             written by the program
//! offset 64 …   bytes of files                      written by the program, or by the host
//! ```
//!
//! The host reads and writes the region itself, so a piece is copied once, between the program's
//! memory and the region. Each call shows a fresh ticket, and the driver keeps nothing: a call that
//! met the driver's end is made again by its client, and does the same.

use core::fmt;
use core::sync::atomic::Ordering;

use crate::call::{Error, Transport};
use crate::connection::Connection;
use crate::ipc::MissingGrant;
use crate::program;
use crate::region::RegionError;
use crate::service::share::{ShareClient, ShareError, WINDOW_OFFSET, Window};
use crate::shared::SharedMemory;
use crate::time::tsc;

const FIRST: usize = WINDOW_OFFSET as usize;

/// A program's region for files of the host.
#[derive(Debug)]
pub struct Transfer<T = Connection> {
    client: ShareClient<T>,
    region: &'static str,
    memory: SharedMemory,
    ticket: u64,
}

/// Why a program cannot transfer files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// The manifest does not grant something.
    Grant(MissingGrant<'static>),
    /// The region cannot be used.
    Region(RegionError),
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Region(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TransferError {}

impl Transfer {
    /// The region that the program was granted under this name.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn open(region: &'static str) -> Result<Self, TransferError> {
        let memory = program::region(region).map_err(TransferError::Grant)?;
        let client = ShareClient::connect().map_err(TransferError::Grant)?;
        Self::new(client, region, memory, tsc())
    }
}

impl<T: Transport> Transfer<T> {
    /// This region, which has this name; `seed` is for tickets.
    ///
    /// # Errors
    /// [`TransferError::Region`].
    pub fn new(
        client: ShareClient<T>,
        region: &'static str,
        memory: SharedMemory,
        seed: u64,
    ) -> Result<Self, TransferError> {
        memory.atomic64(0).map_err(TransferError::Region)?;
        match memory.bytes() > FIRST && u32::try_from(memory.bytes()).is_ok() {
            true => Ok(Self { client, region, memory, ticket: seed }),
            false => Err(TransferError::Region(RegionError::Outside)),
        }
    }

    /// The driver's other operations.
    #[must_use]
    pub const fn client(&self) -> &ShareClient<T> {
        &self.client
    }

    /// Writes all of `bytes` at `offset` into a file that exists.
    ///
    /// # Errors
    /// [`ShareError`], or that of the call; some of the bytes may have been written.
    pub fn write(
        &mut self,
        path: &str,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error<ShareError>> {
        let mut at = offset;
        for piece in bytes.chunks(self.memory.bytes() - FIRST) {
            self.memory.write(FIRST, piece).map_err(|_| Error::Service(ShareError::Outside))?;
            let window = self.window(piece.len());
            self.client.write_from(path.into(), at, window)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Reads from `offset` on; fewer bytes than there is room for come only at the file's end.
    ///
    /// # Errors
    /// [`ShareError`], or that of the call.
    pub fn read(
        &mut self,
        path: &str,
        offset: u64,
        into: &mut [u8],
    ) -> Result<usize, Error<ShareError>> {
        let mut done = 0;
        for piece in into.chunks_mut(self.memory.bytes() - FIRST) {
            let window = self.window(piece.len());
            let count = self.client.read_into(path.into(), offset + done as u64, window)?;
            let came = piece.get_mut(..usize::try_from(count).unwrap_or(usize::MAX));
            let came = came.ok_or(Error::Service(ShareError::Outside))?;
            let whole = self.memory.read(FIRST, came);
            whole.map_err(|_| Error::Service(ShareError::Outside))?;
            done += came.len();
            if came.len() < piece.len() {
                break;
            }
        }
        Ok(done)
    }

    /// The first `bytes` bytes behind the ticket, with a fresh one.
    fn window(&mut self, bytes: usize) -> Window {
        self.ticket = self.ticket.wrapping_add(1).max(1);
        if let Ok(place) = self.memory.atomic64(0) {
            place.store(self.ticket, Ordering::Release);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Window { region: self.region.into(), ticket: self.ticket, at: WINDOW_OFFSET, bytes }
    }
}

#[cfg(test)]
mod tests;
