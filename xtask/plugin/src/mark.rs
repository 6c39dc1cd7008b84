//! The instructions that mean something: the mark of a phase, which is
//! `nop dword ptr [rax + 0xD3050000 + PHASE]`, and those by which a kernel is left.

/// Bytes before the displacement.
const OPCODE: [u8; 3] = [0x0f, 0x1f, 0x80];
const TAG: u32 = 0xd305;

/// The phase that an instruction marks, if it is a mark.
pub(crate) fn phase(instruction: &[u8]) -> Option<u32> {
    let displacement = instruction.strip_prefix(&OPCODE)?;
    let word = u32::from_le_bytes(displacement.try_into().ok()?);
    (word >> 16 == TAG).then_some(word & 0xffff)
}

/// Whether the instruction leaves the kernel: SYSRET, IRETQ, or HLT, which waits for an interrupt.
pub(crate) fn leaves_kernel(instruction: &[u8]) -> bool {
    matches!(instruction, [0x48, 0x0f, 0x07] | [0x48, 0xcf] | [0xf4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_out_are_told_from_other_instructions() {
        assert!([&[0x48, 0x0f, 0x07][..], &[0x48, 0xcf], &[0xf4]].into_iter().all(leaves_kernel));
        assert!(!leaves_kernel(&[0x0f, 0x05]), "the way in");
        assert!(!leaves_kernel(&[0xc3]));
    }

    #[test]
    fn marks_are_told_from_other_instructions() {
        assert_eq!(phase(&[0x0f, 0x1f, 0x80, 4, 0, 0x05, 0xd3]), Some(4));
        assert_eq!(phase(&[0x0f, 0x1f, 0x80, 0, 0, 0, 0]), None, "a compiler's padding");
        assert_eq!(phase(&[0x0f, 0x1f, 0x40, 4]), None);
        assert_eq!(phase(&[0x90]), None);
    }
}
