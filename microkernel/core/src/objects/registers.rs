//! A thread's registers as user space reads and writes them: what may be in them.

use crate::objects::Context;
use core::mem::offset_of;
use core::ops::Range;
use d3os_abi::REGISTERS;
use zerocopy::transmute_mut;

/// RFLAGS that a user may choose: carry, parity, adjust, zero, sign, direction, overflow, alignment
/// check, identification. Not trap (a debugger's), nested task, I/O privilege, resume, virtual modes.
const USER_FLAGS: u64 = 0x0024_0cd5;
/// RFLAGS that are always set in user mode: interrupts enabled, and the reserved bit 1.
const FORCED_FLAGS: u64 = 0x202;

/// Index of RFLAGS in a register frame.
const RFLAGS: usize = 2;
/// Index of RAX, the first of those that are in the same order in a [`Context`].
const FIRST_GENERAL: usize = 3;
const _: () = assert!(offset_of!(Context, rax) == 0);
const _: () = assert!(offset_of!(Context, gs_base) / 8 == REGISTERS - 1 - FIRST_GENERAL);
/// Registers that hold addresses which the processor refuses to load if they are not canonical.
const ADDRESSES: [usize; 4] = [0, 1, 18, 19];

/// The address, or zero if it is not canonical (bits 47 to 63 alike).
fn canonical(address: u64) -> u64 {
    let sign_extended = (address.cast_signed() << 16) >> 16;
    if sign_extended.cast_unsigned() == address { address } else { 0 }
}

/// What a register may be set to by somebody who asks for `word`.
fn sanitised(index: usize, word: u64) -> u64 {
    if index == RFLAGS {
        word & USER_FLAGS | FORCED_FLAGS
    } else if ADDRESSES.contains(&index) {
        canonical(word)
    } else {
        word
    }
}

/// Bytes of a SYSCALL instruction.
const SYSCALL_LENGTH: u64 = 2;

impl Context {
    /// Makes a new thread's registers of zeroes.
    pub(crate) const fn init(&mut self) {
        self.rflags = FORCED_FLAGS;
        self.full_frame = 1;
    }

    /// The instruction that entered the kernel: where a restart goes on, what faults report.
    #[inline]
    pub(crate) fn instruction(&self) -> u64 {
        if self.full_frame == 0 { self.rip.wrapping_sub(SYSCALL_LENGTH) } else { self.fault_ip }
    }

    /// Fills in what the entry by SYSCALL does not store: it can be told from the rest.
    pub(crate) fn complete(&mut self) {
        if self.full_frame == 0 {
            self.fault_ip = self.instruction();
            (self.rcx, self.r11) = (self.rip, self.rflags);
            self.full_frame = 1;
        }
    }

    /// The register at `index` (below [`REGISTERS`]) in a register frame.
    /// RIP is the instruction that a restart goes on with.
    fn register(&mut self, index: usize) -> &mut u64 {
        match index {
            0 => &mut self.fault_ip,
            1 => &mut self.rsp,
            RFLAGS => &mut self.rflags,
            // RAX to GS base lie in the same order at the beginning of the context.
            _ => {
                let words: &mut [u64; size_of::<Self>() / 8] = transmute_mut!(self);
                &mut words[index - FIRST_GENERAL]
            }
        }
    }

    /// Reads a register by its index.
    pub(crate) fn read_register(&self, index: usize) -> u64 {
        let mut copy = *self;
        copy.complete();
        *copy.register(index)
    }

    /// Writes a register by its index, made safe to run with.
    pub(crate) fn write_register(&mut self, index: usize, word: u64) {
        self.complete();
        *self.register(index) = sanitised(index, word);
    }

    /// Sets FS base, made safe to load.
    pub(crate) fn set_fs_base(&mut self, base: u64) {
        self.fs_base = canonical(base);
    }

    /// Copies registers of another thread.
    pub(crate) fn copy_registers(&mut self, from: &Self, indices: Range<usize>) {
        indices.for_each(|index| self.write_register(index, from.read_register(index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_made_canonical() {
        assert_eq!(canonical(0x7fff_ffff_ffff), 0x7fff_ffff_ffff);
        assert_eq!(canonical(0xffff_8000_0000_0000), 0xffff_8000_0000_0000);
        assert_eq!(canonical(0x8000_0000_0000), 0);
        assert_eq!(canonical(0xffff_7fff_ffff_ffff), 0);
    }

    #[test]
    fn every_register_keeps_its_place_and_dangerous_values_do_not() {
        let mut context = Context::default();
        context.init();
        for index in 0..REGISTERS {
            context.write_register(index, 0x1000 + index as u64);
        }
        for index in (0..REGISTERS).filter(|index| *index != RFLAGS) {
            assert_eq!(context.read_register(index), 0x1000 + index as u64);
        }
        for index in ADDRESSES {
            context.write_register(index, 0x0123_4567_89ab_cdef);
            assert_eq!(context.read_register(index), 0, "register {index}");
        }
    }

    #[test]
    fn flags_keep_the_kernel_in_charge() {
        let mut context = Context::default();
        context.init();
        context.write_register(RFLAGS, u64::MAX);
        let flags = context.rflags;
        for (name, bit) in
            [("TF", 8), ("IOPL", 12), ("IOPL", 13), ("NT", 14), ("RF", 16), ("VM", 17)]
        {
            assert_eq!(flags >> bit & 1, 0, "{name}");
        }
        for (name, bit) in [("CF", 0), ("ZF", 6), ("IF", 9), ("DF", 10), ("AC", 18), ("ID", 21)] {
            assert_eq!(flags >> bit & 1, 1, "{name}");
        }
        context.write_register(RFLAGS, 0);
        assert_eq!(context.rflags, FORCED_FLAGS);
    }
}
