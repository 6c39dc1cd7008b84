//! Memory that outlives a loss of power once it was written back.

/// Bytes that are written back together.
pub const LINE_BYTES: usize = 64;

/// A range of such memory. Offsets and lengths are checked by the caller; what lies outside is not
/// read (zeros) and not written.
pub trait Medium {
    /// Its bytes.
    fn bytes(&self) -> usize;

    /// Copies bytes out.
    fn read(&self, offset: usize, into: &mut [u8]);

    /// Copies bytes in: into the processor's caches, for the time being.
    fn write(&mut self, offset: usize, from: &[u8]);

    /// Has the line of this offset written back.
    fn write_back(&mut self, offset: usize);

    /// Waits until all that is written back has arrived.
    fn fence(&mut self);
}
