//! The instruction that marks a phase: `nop dword ptr [rax + 0xD3050000 + PHASE]`.

/// Bytes before the displacement.
const OPCODE: [u8; 3] = [0x0f, 0x1f, 0x80];
const TAG: u32 = 0xd305;

/// The phase that an instruction marks, if it is a mark.
pub(crate) fn phase(instruction: &[u8]) -> Option<u32> {
    let displacement = instruction.strip_prefix(&OPCODE)?;
    let word = u32::from_le_bytes(displacement.try_into().ok()?);
    (word >> 16 == TAG).then_some(word & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_other_instructions() {
        assert_eq!(phase(&[0x0f, 0x1f, 0x80, 4, 0, 0x05, 0xd3]), Some(4));
        assert_eq!(phase(&[0x0f, 0x1f, 0x80, 0, 0, 0, 0]), None, "a compiler's padding");
        assert_eq!(phase(&[0x0f, 0x1f, 0x40, 4]), None);
        assert_eq!(phase(&[0x90]), None);
    }
}
