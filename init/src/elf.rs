//! What init reads from a program's ELF file: segments to load, and symbols to name addresses by.
//!
//! The file comes from the archive, whose checksum it passed; still every number in it is checked.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PF_X, PT_LOAD, STT_FUNC};
use elf::endian::LittleEndian;
use rustc_demangle::demangle;

/// A part of the image: its bytes in the file, where they go, and what the program may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// First address.
    pub address: u64,
    /// Bytes in memory; those beyond `contents` are zero.
    pub bytes: u64,
    /// Bytes from the file.
    pub contents: &'a [u8],
    /// Whether the program may write there.
    pub writable: bool,
    /// Whether the program may execute there.
    pub executable: bool,
}

impl Segment<'_> {
    /// The segment's part that lies in `page` (addresses), as bytes of the file and the offset in
    /// the page where they go; `None` where that part is all zero.
    #[must_use]
    pub fn contents_in(&self, page: &Range<u64>) -> Option<(u64, &[u8])> {
        let end = self.address + self.contents.len() as u64;
        let (from, to) = (self.address.max(page.start), end.min(page.end));
        if from >= to {
            return None;
        }
        let start = usize::try_from(from - self.address).ok()?;
        let stop = usize::try_from(to - self.address).ok()?;
        Some((from - page.start, self.contents.get(start..stop)?))
    }

    /// Whether any of it, zeros included, lies in `page`.
    #[must_use]
    pub fn touches(&self, page: &Range<u64>) -> bool {
        self.address < page.end && self.address + self.bytes > page.start
    }
}

/// Why a file is not a program for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// Not an ELF file, or a damaged one.
    Malformed,
    /// For another machine, or not a statically linked executable.
    WrongKind,
    /// A segment's numbers do not fit the file or the address space.
    BadSegment,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "its file is not a sound ELF file",
            Self::WrongKind => "its file is not a static x86_64 executable",
            Self::BadSegment => "its file has a segment that cannot be",
        })
    }
}

impl core::error::Error for ElfError {}

/// A program's file.
#[derive(Debug)]
pub struct Program<'a> {
    file: ElfBytes<'a, LittleEndian>,
    /// Loadable parts, none of them empty.
    pub segments: Vec<Segment<'a>>,
    /// Where it begins to run.
    pub entry: u64,
}

impl<'a> Program<'a> {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ElfError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        let file =
            ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(|_| ElfError::Malformed)?;
        if file.ehdr.e_machine != EM_X86_64 || file.ehdr.e_type != ET_EXEC {
            return Err(ElfError::WrongKind);
        }
        let headers = file.segments().ok_or(ElfError::Malformed)?;
        let segments = headers
            .iter()
            .filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
            .map(|header| segment(bytes, &header))
            .collect::<Result<_, _>>()?;
        Ok(Self { entry: file.ehdr.e_entry, file, segments })
    }

    /// The function that an address lies in, and how far into it: `name+0x12`.
    #[must_use]
    pub fn symbol(&self, address: u64) -> Option<String> {
        let (symbols, names) = self.file.symbol_table().ok()??;
        let symbol = symbols
            .iter()
            .filter(|symbol| symbol.st_symtype() == STT_FUNC)
            .find(|symbol| address.wrapping_sub(symbol.st_value) < symbol.st_size.max(1))?;
        let name = names.get(usize::try_from(symbol.st_name).ok()?).ok()?;
        Some(format!("{:#}+{:#x}", demangle(name), address - symbol.st_value))
    }
}

fn segment<'a>(
    bytes: &'a [u8],
    header: &elf::segment::ProgramHeader,
) -> Result<Segment<'a>, ElfError> {
    let range = || {
        let start = usize::try_from(header.p_offset).ok()?;
        let end = start.checked_add(usize::try_from(header.p_filesz).ok()?)?;
        header.p_vaddr.checked_add(header.p_memsz)?;
        bytes.get(start..end).filter(|_| header.p_filesz <= header.p_memsz)
    };
    Ok(Segment {
        address: header.p_vaddr,
        bytes: header.p_memsz,
        contents: range().ok_or(ElfError::BadSegment)?,
        writable: header.p_flags & PF_W != 0,
        executable: header.p_flags & PF_X != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with one segment of `memsz` bytes at 0x400000 whose contents are `contents`.
    fn file(contents: &[u8], memsz: u64) -> Vec<u8> {
        let mut bytes = vec![0u8; 120];
        bytes[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        let mut put = |at: usize, value: u64, len: usize| {
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        };
        put(16, 2, 2); // executable
        put(18, 62, 2); // x86_64
        put(20, 1, 4);
        put(24, 0x40_0010, 8); // entry
        put(32, 64, 8); // program headers
        put(52, 64, 2);
        put(54, 56, 2);
        put(56, 1, 2);
        put(58, 64, 2);
        put(64, 1, 4); // PT_LOAD
        put(68, 6, 4); // read, write
        put(72, 120, 8);
        put(80, 0x40_0000, 8);
        put(96, contents.len() as u64, 8);
        put(104, memsz, 8);
        bytes.extend_from_slice(contents);
        bytes
    }

    #[test]
    fn reads_segments() {
        let bytes = file(&[7; 0x1800], 0x2800);
        let program = Program::parse(&bytes).expect("sound");
        assert_eq!((program.entry, program.segments.len()), (0x40_0010, 1));
        let segment = &program.segments[0];
        assert!(segment.writable && !segment.executable);
        let page = |n: u64| 0x40_0000 + n * 0x1000..0x40_1000 + n * 0x1000;
        assert_eq!(
            segment.contents_in(&page(0)).map(|(at, part)| (at, part.len())),
            Some((0, 0x1000))
        );
        assert_eq!(
            segment.contents_in(&page(1)).map(|(at, part)| (at, part.len())),
            Some((0, 0x800))
        );
        assert_eq!(segment.contents_in(&page(2)), None);
        assert!(segment.touches(&page(2)) && !segment.touches(&page(3)));
        assert_eq!(program.symbol(0x40_0010), None);
    }

    #[test]
    fn refuses_what_is_no_program() {
        assert_eq!(Program::parse(b"#!/bin/sh").err(), Some(ElfError::Malformed));
        let mut other = file(&[], 1);
        other[18] = 0xb7;
        assert_eq!(Program::parse(&other).err(), Some(ElfError::WrongKind));
        assert_eq!(Program::parse(&file(&[1; 9], 8)).err(), Some(ElfError::BadSegment));
        let mut beyond = file(&[1; 9], 9);
        beyond.pop();
        assert_eq!(Program::parse(&beyond).err(), Some(ElfError::BadSegment));
        let mut wraps = file(&[], 1);
        wraps[104..112].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Program::parse(&wraps).err(), Some(ElfError::BadSegment));
    }

    #[test]
    fn names_functions_of_a_real_program() {
        // The test binary itself: not a static executable, but with a symbol table.
        let path = std::env::current_exe().expect("known");
        let bytes = std::fs::read(path).expect("readable");
        let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes).expect("sound");
        let (symbols, names) = file.symbol_table().expect("sound").expect("not stripped");
        let main = symbols
            .iter()
            .find(|symbol| names.get(symbol.st_name as usize).is_ok_and(|name| name == "main"))
            .expect("every program has one");
        let program = Program { file, segments: Vec::new(), entry: 0 };
        assert_eq!(program.symbol(main.st_value + 2).as_deref(), Some("main+0x2"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), sound in any::<bool>(), at in 0usize..120, value in any::<u8>()) {
            if sound {
                bytes = file(&bytes, 300);
                bytes[at] = value;
            }
            if let Ok(program) = Program::parse(&bytes) {
                let page = 0x40_0000..0x40_1000;
                for segment in &program.segments {
                    prop_assert!(segment.contents.len() as u64 <= segment.bytes);
                    let _ = segment.contents_in(&page);
                }
                let _ = program.symbol(0x40_0000);
            }
        }
    }
}
