//! Physical memory: bytes of the firmware's tables, registers of devices.

/// Reads physical memory.
pub trait PhysicalMemory {
    /// Fills `into` with the bytes from `address` on.
    ///
    /// # Errors
    /// [`Unreadable`] where any of them cannot be read.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Unreadable>;
}

/// Registers of devices by their physical addresses. Each access happens exactly once, and takes
/// four bytes at a multiple of four.
pub trait DeviceMemory {
    /// Reads a register.
    ///
    /// # Errors
    /// [`Unreadable`] where it cannot be reached.
    fn read(&mut self, address: u64) -> Result<u32, Unreadable>;

    /// Writes a register.
    ///
    /// # Errors
    /// [`Unreadable`] where it cannot be reached.
    fn write(&mut self, address: u64, value: u32) -> Result<(), Unreadable>;
}

/// Physical memory that is not there, or not for this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A part of physical memory whose bytes are at hand.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Address of the first byte.
    pub address: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl PhysicalMemory for [Span<'_>] {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        let found = self.iter().find_map(|span| span.part(address, into.len()));
        into.copy_from_slice(found.ok_or(Unreadable)?);
        Ok(())
    }
}

impl<'a> Span<'a> {
    fn part(&self, address: u64, length: usize) -> Option<&'a [u8]> {
        let from = usize::try_from(address.checked_sub(self.address)?).ok()?;
        self.bytes.get(from..from.checked_add(length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_ends_where_the_memory_does() {
        let memory =
            [Span { address: 0x1000, bytes: b"abc" }, Span { address: 0x2000, bytes: b"d" }];
        let read = |address, length| {
            let mut bytes = vec![0; length];
            memory.read(address, &mut bytes).map(|()| bytes)
        };
        assert_eq!(read(0x1001, 2), Ok(b"bc".to_vec()));
        assert_eq!(read(0x2000, 1), Ok(b"d".to_vec()));
        for (address, length) in [(0x0fff, 1), (0x1001, 3), (0x1003, 1), (u64::MAX, 2)] {
            assert_eq!(read(address, length), Err(Unreadable), "{address:#x}");
        }
    }
}
