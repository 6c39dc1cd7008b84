//! Foreign bytes: little-endian fields at checked offsets, and physical memory as a reader sees it.

/// Physical memory that firmware and boot loader left tables in.
pub trait PhysicalMemory {
    /// The `length` bytes from `address`, or `None` where they cannot be read.
    fn bytes(&self, address: u64, length: u64) -> Option<&[u8]>;
}

/// The `N` bytes at `offset`.
pub fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// The byte at `offset`.
pub fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// The little-endian 32-bit field at `offset`.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The little-endian 64-bit field at `offset`.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

/// Bytes up to the first NUL, or all of them.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Physical memory for tests: a few pieces at chosen addresses.

    use super::PhysicalMemory;

    /// Pieces of memory; what lies outside them cannot be read.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Pieces(pub(crate) Vec<(u64, Vec<u8>)>);

    impl PhysicalMemory for Pieces {
        fn bytes(&self, address: u64, length: u64) -> Option<&[u8]> {
            self.0.iter().find_map(|(start, bytes)| {
                let first = usize::try_from(address.checked_sub(*start)?).ok()?;
                bytes.get(first..first.checked_add(usize::try_from(length).ok()?)?)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_with_the_bytes() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(u32_at(&bytes, 1), Some(0x0504_0302));
        assert_eq!(u32_at(&bytes, 2), None);
        assert_eq!(u64_at(&bytes, 0), None);
        assert_eq!(u8_at(&bytes, usize::MAX), None);
        assert_eq!(u32_at(&bytes, usize::MAX - 1), None);
    }

    #[test]
    fn strings_end_at_nul_or_with_the_bytes() {
        assert_eq!(until_nul(b"quiet\0junk"), b"quiet");
        assert_eq!(until_nul(b"quiet"), b"quiet");
    }
}
