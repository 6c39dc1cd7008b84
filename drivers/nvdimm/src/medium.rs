//! Memory that outlives a loss of power once it was written back.

/// Bytes that are written back together.
pub const LINE_BYTES: u64 = 64;

/// The memory could not be reached: it was not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable;

/// A range of such memory. Offsets and lengths are checked by the caller.
pub trait Medium {
    /// Its bytes.
    fn bytes(&self) -> u64;

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Unreachable`].
    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Unreachable>;

    /// Copies bytes in: into the processor's caches, for the time being.
    ///
    /// # Errors
    /// [`Unreachable`]; a part may be written then.
    fn write(&mut self, offset: u64, from: &[u8]) -> Result<(), Unreachable>;

    /// Has the line of this offset written back.
    ///
    /// # Errors
    /// [`Unreachable`].
    fn write_back(&mut self, offset: u64) -> Result<(), Unreachable>;

    /// Waits until all that is written back has arrived.
    fn fence(&mut self);
}
