//! Registers of a device in memory.

use core::ptr::NonNull;

/// Device registers in mapped memory, by byte offset. Each access happens exactly once, in
/// program order with the others.
#[derive(Debug)]
pub struct Registers {
    base: NonNull<u8>,
    bytes: usize,
}

macro_rules! access {
    ($read:ident, $write:ident, $width:ty, $what:literal) => {
        #[doc = concat!("Reads ", $what, ".")]
        ///
        /// # Panics
        /// The offset is not aligned, or beyond the registers.
        #[must_use]
        pub fn $read(&self, offset: usize) -> $width {
            let register = self.register::<$width>(offset);
            // SAFETY: the register lies in the mapped range and is aligned.
            unsafe { register.read_volatile() }
        }

        #[doc = concat!("Writes ", $what, ".")]
        ///
        /// # Panics
        /// The offset is not aligned, or beyond the registers.
        pub fn $write(&mut self, offset: usize, value: $width) {
            let register = self.register::<$width>(offset);
            // SAFETY: the register lies in the mapped range, is aligned, and is borrowed mutably.
            unsafe { register.write_volatile(value) }
        }
    };
}

impl Registers {
    /// The registers in `bytes` bytes from `base` on.
    ///
    /// # Safety
    /// The memory is mapped, for as long as this lives, and used through nothing else; no access
    /// to it by this program can break what the compiler knows of other memory (a device that is
    /// told to write to memory is told of memory meant for that).
    ///
    /// # Panics
    /// `base` is not aligned to eight bytes.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, bytes: usize) -> Self {
        assert!(base.addr().get().is_multiple_of(8), "device memory is mapped by pages");
        Self { base, bytes }
    }

    access!(read8, write8, u8, "a byte");
    access!(read16, write16, u16, "two bytes");
    access!(read32, write32, u32, "four bytes");
    access!(read64, write64, u64, "eight bytes");

    fn register<T>(&self, offset: usize) -> *mut T {
        let end = offset.checked_add(size_of::<T>());
        assert!(end.is_some_and(|end| end <= self.bytes), "register {offset:#x} does not exist");
        assert!(offset.is_multiple_of(size_of::<T>()), "register {offset:#x} is not aligned");
        self.base.as_ptr().wrapping_add(offset).cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(memory: &mut [u64; 2]) -> Registers {
        // SAFETY: the array outlives every use in these tests, which use nothing else.
        unsafe { Registers::new(NonNull::from(memory).cast(), 16) }
    }

    #[test]
    fn each_width_reaches_its_bytes() {
        let mut memory = [0; 2];
        let mut registers = registers(&mut memory);
        registers.write64(0, 0x8877_6655_4433_2211);
        registers.write32(8, 0xccbb_aa99);
        registers.write16(12, 0xeedd);
        registers.write8(14, 0xff);
        assert_eq!(registers.read8(1), 0x22);
        assert_eq!(registers.read16(2), 0x4433);
        assert_eq!(registers.read32(4), 0x8877_6655);
        assert_eq!(registers.read64(8), 0x00ff_eedd_ccbb_aa99);
    }

    #[test]
    #[should_panic(expected = "does not exist")]
    fn registers_end() {
        let _ = registers(&mut [0; 2]).read32(16);
    }

    #[test]
    #[should_panic(expected = "not aligned")]
    fn registers_are_aligned() {
        let _ = registers(&mut [0; 2]).read32(2);
    }
}
