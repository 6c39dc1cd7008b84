//! Message info, capability rights and CNode capability data: the packed words.

/// Longest message in words.
pub const MAX_MESSAGE_LENGTH: usize = 120;
/// Most capabilities that one message carries.
pub const MAX_EXTRA_CAPS: usize = 3;
/// Message words that travel in registers (R10, R8, R9, R15).
pub const MESSAGE_REGISTERS: usize = 4;

/// The message-info word: from bit 0 up length:7, extra caps:2, caps unwrapped:3, label:52.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct MessageInfo(pub u64);

impl MessageInfo {
    /// A message of `length` words and `extra_caps` capabilities; fields wider than their bits are cut.
    pub const fn new(label: u64, caps_unwrapped: u64, extra_caps: usize, length: usize) -> Self {
        Self(
            (length as u64 & 0x7f)
                | (extra_caps as u64 & 3) << 7
                | (caps_unwrapped & 7) << 9
                | label << 12,
        )
    }

    /// Words of the message; a length over [`MAX_MESSAGE_LENGTH`] reads as that.
    pub const fn length(self) -> usize {
        let length = self.announced_length();
        if length > MAX_MESSAGE_LENGTH { MAX_MESSAGE_LENGTH } else { length }
    }

    /// The length as it stands there, which may be more than there is room for.
    #[must_use]
    pub const fn announced_length(self) -> usize {
        (self.0 & 0x7f) as usize
    }

    /// This message without its capabilities.
    #[must_use]
    pub const fn without_caps(self) -> Self {
        Self(self.0 & !0xf80)
    }

    /// This message as received: without capabilities, and `length` words of it.
    pub const fn received(self, length: usize) -> Self {
        Self(self.0 & !0xfff | length as u64)
    }

    /// Capabilities that travel with the message.
    pub const fn extra_caps(self) -> usize {
        (self.0 >> 7 & 3) as usize
    }

    /// Bit i set: capability i was unwrapped, its badge is in the buffer instead.
    pub const fn caps_unwrapped(self) -> u64 {
        self.0 >> 9 & 7
    }

    /// The label.
    pub const fn label(self) -> u64 {
        self.0 >> 12
    }
}

/// Capability rights: bit 0 write, 1 read, 2 grant, 3 grant-reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CapRights(u64);

impl CapRights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Send, signal, or write to memory.
    pub const WRITE: Self = Self(1);
    /// Receive, wait, or read memory.
    pub const READ: Self = Self(2);
    /// Read and write.
    pub const READ_WRITE: Self = Self(3);
    /// Send capabilities, and make reply capabilities that can.
    pub const GRANT: Self = Self(4);
    /// Make reply capabilities (`Call`).
    pub const GRANT_REPLY: Self = Self(8);
    /// Everything.
    pub const ALL: Self = Self(15);

    /// Rights from an argument word; bits above the fourth are ignored.
    pub const fn from_word(word: u64) -> Self {
        Self(word & 15)
    }

    /// The argument word.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Rights that are in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Rights that are in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether every right of `other` is here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The guard word of a CNode capability: guard size in bits 0..6, guard above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct CNodeCapData(pub u64);

impl CNodeCapData {
    /// A guard of `size` bits.
    pub const fn new(guard: u64, size: u8) -> Self {
        Self(guard << 6 | size as u64 & 0x3f)
    }

    /// Bits of the guard.
    pub const fn guard_size(self) -> u8 {
        (self.0 & 0x3f) as u8
    }

    /// The guard, not yet cut to its size.
    pub const fn guard(self) -> u64 {
        self.0 >> 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_info_packs_and_unpacks() {
        let info = MessageInfo::new(0xf_ffff_ffff_ffff, 5, 3, 120);
        assert_eq!(
            (info.label(), info.caps_unwrapped(), info.extra_caps(), info.length()),
            (0xf_ffff_ffff_ffff, 5, 3, 120)
        );
        assert_eq!(MessageInfo(127).length(), MAX_MESSAGE_LENGTH);
    }

    #[test]
    fn guard_word() {
        let data = CNodeCapData::new(0xabc, 51);
        assert_eq!((data.guard(), data.guard_size()), (0xabc, 51));
    }
}
