//! The kernel's entry code, as its ELF file has it: routines by name, and every instruction.

use std::collections::BTreeMap;
use std::ops::Range;

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic};

use crate::elf_file::ElfError;

/// Bytes from one vector's entry to the next.
pub(crate) const STUB_SIZE: u64 = 16;

/// What an instruction does that matters to a debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing special.
    Plain,
    /// It loads the flags, or holds interrupts back until after the next one.
    LoadsFlags,
    /// It returns from an interrupt, or to user mode.
    Returns,
    /// It waits.
    Waits,
    /// It calls a function, which does not come back.
    Calls,
}

/// The entry code of one variant.
pub(crate) struct EntryCode {
    /// Where its routines begin, without the variant's name.
    routines: BTreeMap<String, u64>,
    /// Its instructions.
    instructions: BTreeMap<u64, Kind>,
}

impl EntryCode {
    /// Reads that of the kernel that shares its page table with user space, or has a separate one.
    pub(crate) fn read(file: &[u8], variant: &str) -> Result<Self, ElfError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
        let (symbols, names) = elf.symbol_table()?.ok_or(ElfError::NoSymbols)?;
        let mut all = BTreeMap::new();
        for symbol in symbols.iter() {
            let name = names.get(usize::try_from(symbol.st_name).unwrap_or(0))?;
            if name == "entry_end" || name.starts_with("trap_") {
                all.insert(name.to_owned(), symbol.st_value);
            }
        }
        let end = all.remove("entry_end").ok_or(ElfError::NoSymbols)?;
        all.retain(|name, _| !name.starts_with("trap_entries"));
        let others = if variant == "shared" { "_separate" } else { "_shared" };
        let mut code = Self { routines: BTreeMap::new(), instructions: BTreeMap::new() };
        for (name, start) in all.iter().filter(|(name, _)| !name.ends_with(others)) {
            let next = all.values().copied().filter(|address| address > start).min();
            let bytes = bytes(&elf, *start..next.unwrap_or(end).min(end))?;
            code.instructions.extend(instructions(bytes, *start));
            let short = name.trim_end_matches(variant).trim_end_matches('_');
            code.routines.insert(short.to_owned(), *start);
        }
        Ok(code)
    }

    /// Where a routine begins; zero if there is none of that name.
    pub(crate) fn routine(&self, name: &str) -> u64 {
        self.routines.get(name).copied().unwrap_or(0)
    }

    /// The routine in which an address lies.
    pub(crate) fn routine_of(&self, address: u64) -> &str {
        let below = self.routines.iter().filter(|(_, start)| **start <= address);
        below.max_by_key(|(_, start)| **start).map_or("", |(name, _)| name)
    }

    /// Instructions that can be executed, by address.
    pub(crate) fn instructions(&self) -> &BTreeMap<u64, Kind> {
        &self.instructions
    }

    /// The kind of the instruction at an address, if that is entry code.
    pub(crate) fn kind(&self, address: u64) -> Option<Kind> {
        self.instructions.get(&address).copied()
    }

    /// The instruction behind the one at an address.
    pub(crate) fn behind(&self, address: u64) -> Option<(u64, Kind)> {
        self.instructions.range(address + 1..).next().map(|(next, kind)| (*next, *kind))
    }

    /// Where a vector's stub begins.
    pub(crate) fn stub(&self, vector: u8) -> u64 {
        self.routine("trap_stubs") + STUB_SIZE * u64::from(vector)
    }

    /// The vector whose stub begins at an address.
    pub(crate) fn vector(&self, address: u64) -> Option<u8> {
        let offset = address.checked_sub(self.routine("trap_stubs"))?;
        let vector = u8::try_from(offset / STUB_SIZE).ok()?;
        offset.is_multiple_of(STUB_SIZE).then_some(vector)
    }
}

fn bytes<'a>(elf: &ElfBytes<'a, LittleEndian>, range: Range<u64>) -> Result<&'a [u8], ElfError> {
    let segments = elf.segments().ok_or(ElfError::NoSections)?;
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD) {
        if (segment.p_vaddr..segment.p_vaddr + segment.p_filesz).contains(&range.start) {
            let index = |address: u64| usize::try_from(address - segment.p_vaddr).unwrap_or(0);
            let data = elf.segment_data(&segment)?;
            return Ok(data.get(index(range.start)..index(range.end)).unwrap_or_default());
        }
    }
    Ok(&[])
}

/// What can be executed: neither what fills up, nor what stands behind a call that does not return.
fn instructions(bytes: &[u8], start: u64) -> impl Iterator<Item = (u64, Kind)> {
    let decoded = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    let decoded: Vec<_> = decoded.into_iter().collect();
    let executed = decoded.into_iter().filter(|instruction| {
        !matches!(
            instruction.mnemonic(),
            Mnemonic::Nop | Mnemonic::Int3 | Mnemonic::Ud2 | Mnemonic::INVALID
        )
    });
    executed.map(|instruction| {
        let kind = match instruction.code() {
            Code::Hlt => Kind::Waits,
            Code::Popfq | Code::Sti => Kind::LoadsFlags,
            Code::Iretq | Code::Sysretq => Kind::Returns,
            Code::Call_rel32_64 => Kind::Calls,
            _ => Kind::Plain,
        };
        (instruction.ip(), kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_executed_is_no_instruction() {
        // push 0; jmp +2; nop; ud2; call; hlt; iretq
        let bytes = [0x6a, 0, 0xeb, 2, 0x90, 0x0f, 0x0b, 0xe8, 0, 0, 0, 0, 0xf4, 0x48, 0xcf];
        let found: Vec<_> = instructions(&bytes, 0x1000).collect();
        let expected = [
            (0x1000, Kind::Plain),
            (0x1002, Kind::Plain),
            (0x1007, Kind::Calls),
            (0x100c, Kind::Waits),
            (0x100d, Kind::Returns),
        ];
        assert_eq!(found, expected);
    }
}
