//! Interrupt remapping: a device interrupts only by the entries that are its own (VT-d, sections 5.1
//! and 9.10).
//!
//! An entry says which vector of which processor is meant, and who may use it. The device is told
//! the entry's number in place of processor and vector.

/// Entries of a table: a page of them, so that it lies where all tables lie.
pub const ENTRIES: u16 = 256;
/// In a table's address register: the size, as 2^(n+1) entries.
pub const SIZE_CODE: u64 = 7;
/// In an entry: it is one.
pub const PRESENT: u64 = 1;
/// In an entry's second word: the requester is compared with the entry's.
const VERIFY: u64 = 1 << 18;
/// Where processors take messages.
const MESSAGES: u64 = 0xfee0_0000;
/// In a message's address: it is in remappable form.
const REMAPPABLE: u64 = 1 << 4;

/// A message-signalled interrupt: a write of `data` to `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where the device writes.
    pub address: u64,
    /// What it writes.
    pub data: u32,
}

/// What a message in the ordinary form asks for (Intel SDM, volume 3, section 11.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Local APIC of the processor.
    pub apic: u8,
    /// Vector.
    pub vector: u8,
}

impl Target {
    /// Reads a message; `None` unless it asks for a fixed vector of one processor, by a change: no
    /// driver's device is given another kind.
    #[must_use]
    pub fn of(message: Message) -> Option<Self> {
        let Message { address, data } = message;
        let is_plain = address & !0xff000 == MESSAGES && data & !0xff == 0 && data >= 0x10;
        let apic = u8::try_from(address >> 12 & 0xff).ok()?;
        is_plain.then_some(Self { apic, vector: u8::try_from(data).ok()? })
    }
}

/// An entry: the interrupt `target`, for the requester `source` alone.
#[must_use]
pub fn entry(target: Target, source: u16) -> [u64; 2] {
    // Physical destination, fixed delivery, edge: all zeros. The destination is that of an xAPIC.
    let low = PRESENT | u64::from(target.vector) << 16 | u64::from(target.apic) << 40;
    [low, VERIFY | u64::from(source)]
}

/// The message that uses an entry (section 5.1.2.2).
#[must_use]
pub fn message(entry: u16) -> Message {
    let low = u64::from(entry & 0x7fff) << 5;
    let high = u64::from(entry >> 15) << 2;
    Message { address: MESSAGES | low | REMAPPABLE | high, data: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_and_messages_as_the_specification_has_them() {
        let target = Target::of(Message { address: 0xfee0_3000, data: 0x41 });
        assert_eq!(target, Some(Target { apic: 3, vector: 0x41 }));
        let target = target.expect("it is one");
        assert_eq!(entry(target, 0x0028), [0x0300_0041_0001, 0x0004_0028]);
        assert_eq!(message(5), Message { address: 0xfee0_00b0, data: 0 });
        assert_eq!(message(0x8001), Message { address: 0xfee0_0034, data: 0 });
    }

    #[test]
    fn other_messages_are_refused() {
        for (address, data) in [
            (0xfee0_0000, 0x0f),
            (0xfee0_0000, 0x441),
            (0xfee0_0000, 0x8041),
            (0xfee0_0008, 0x41),
            (0xfee0_0004, 0x41),
            (0x1_fee0_0000, 0x41),
            (0xfed0_0000, 0x41),
        ] {
            assert_eq!(Target::of(Message { address, data }), None, "{address:#x} {data:#x}");
        }
    }

    proptest! {
        #[test]
        fn no_two_entries_have_one_message(one: u16, other: u16) {
            prop_assert_eq!(message(one) == message(other), one == other);
            prop_assert_eq!(Target::of(message(one)), None);
        }
    }
}
