//! Filling a reserved segment of a linked ELF file with bytes made after linking.
//!
//! The boot archive that init carries can be made only when everything is linked. For it the linker
//! script keeps a place: a section of
//! a few zero bytes, alone in a loadable segment. [`fill`] appends the bytes to the file and lets
//! the segment (and the section) point at them, so neither needs to be linked again.

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use elf::section::SectionHeader;
use elf::segment::ProgramHeader;

use super::ElfError;

/// The section that init's linker script keeps for the boot archive.
pub(crate) const ARCHIVE: &str = ".d3os.archive";

const PAGE: u64 = 4096;

// Offsets in ELF64 structures (System V ABI, chapter 4 and 5).
const PHDR_OFFSET: usize = 8;
const PHDR_FILESZ: usize = 32;
const PHDR_MEMSZ: usize = 40;
const SHDR_OFFSET: usize = 24;
const SHDR_SIZE: usize = 32;

/// The segment cannot be filled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    /// Not an ELF file.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// No such section.
    #[error("no section {0}: the linker script must keep one")]
    NoSection(String),
    /// The section shares its segment with others, or has none.
    #[error("section {0} is not alone in a loadable segment")]
    NotAlone(String),
    /// With its contents the segment would reach into another.
    #[error("{bytes} bytes in {section} would reach into the segment at {other:#x}")]
    Overlap {
        /// Which section.
        section: String,
        /// How much was to go there.
        bytes: u64,
        /// What is in the way.
        other: u64,
    },
}

/// Puts `content` where the linker script kept the place `section`.
pub(crate) fn fill(file: &mut Vec<u8>, section: &str, content: &[u8]) -> Result<(), SegmentError> {
    let place = Place::find(file, section)?;
    let size = content.len() as u64;
    place.check_room(file, size)?;
    let offset = (file.len() as u64).next_multiple_of(PAGE) + place.segment.p_vaddr % PAGE;
    file.resize(usize::try_from(offset).unwrap_or(usize::MAX), 0);
    file.extend_from_slice(content);
    put(file, place.segment_at + PHDR_OFFSET, offset);
    put(file, place.segment_at + PHDR_FILESZ, size);
    put(file, place.segment_at + PHDR_MEMSZ, size);
    put(file, place.section_at + SHDR_OFFSET, offset);
    put(file, place.section_at + SHDR_SIZE, size);
    Ok(())
}

/// A kept section and its segment, with the file offsets of their headers.
struct Place {
    name: String,
    segment: ProgramHeader,
    segment_at: usize,
    section_at: usize,
}

impl Place {
    fn find(file: &[u8], name: &str) -> Result<Self, SegmentError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(ElfError::from)?;
        let (index, section) = find_section(&elf, name)?;
        let not_alone = || SegmentError::NotAlone(name.into());
        let segments = elf.segments().ok_or_else(not_alone)?;
        let (number, segment) = segments
            .iter()
            .enumerate()
            .find(|(_, segment)| is_alone_in(&section, segment))
            .ok_or_else(not_alone)?;
        Ok(Self {
            name: name.into(),
            segment,
            segment_at: header_at(elf.ehdr.e_phoff, elf.ehdr.e_phentsize, number),
            section_at: header_at(elf.ehdr.e_shoff, elf.ehdr.e_shentsize, index),
        })
    }

    fn check_room(&self, file: &[u8], bytes: u64) -> Result<(), SegmentError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(ElfError::from)?;
        let start = self.segment.p_vaddr;
        let reaches = |other: &ProgramHeader| {
            other.p_type == PT_LOAD && other.p_vaddr > start && other.p_vaddr < start + bytes
        };
        match elf.segments().into_iter().flat_map(|all| all.iter()).find(reaches) {
            None => Ok(()),
            Some(other) => Err(SegmentError::Overlap {
                section: self.name.clone(),
                bytes,
                other: other.p_vaddr,
            }),
        }
    }
}

fn find_section(
    elf: &ElfBytes<'_, LittleEndian>,
    name: &str,
) -> Result<(usize, SectionHeader), SegmentError> {
    let (headers, names) = elf.section_headers_with_strtab().map_err(ElfError::from)?;
    let (headers, names) = headers.zip(names).ok_or(ElfError::NoSections)?;
    let has_name = |header: &SectionHeader| {
        usize::try_from(header.sh_name).is_ok_and(|at| names.get(at).is_ok_and(|n| n == name))
    };
    let mut all = headers.iter().enumerate();
    all.find(|(_, header)| has_name(header)).ok_or_else(|| SegmentError::NoSection(name.into()))
}

fn is_alone_in(section: &SectionHeader, segment: &ProgramHeader) -> bool {
    segment.p_type == PT_LOAD
        && segment.p_vaddr == section.sh_addr
        && segment.p_memsz == section.sh_size
}

/// File offset of the `number`-th header of a table; the parser has checked that it is inside.
fn header_at(table: u64, size: u16, number: usize) -> usize {
    usize::try_from(table).unwrap_or(usize::MAX).saturating_add(usize::from(size) * number)
}

fn put(file: &mut [u8], at: usize, value: u64) {
    if let Some(field) = file.get_mut(at..at + 8) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf_file::sample::{self, Sample};

    #[test]
    fn the_segment_holds_what_was_put_there() {
        let mut file = sample::elf(Sample::default());
        let content: Vec<u8> = (0..9000u32).map(|i| i.to_le_bytes()[0]).collect();
        fill(&mut file, ARCHIVE, &content).expect("there is a place");
        let elf = ElfBytes::<LittleEndian>::minimal_parse(&file).expect("still an ELF file");
        let segments = elf.segments().expect("segments");
        let filled = segments.iter().find(|s| s.p_vaddr == sample::PLACE).expect("the place");
        assert_eq!((filled.p_filesz, filled.p_memsz), (9000, 9000));
        assert_eq!(filled.p_offset % PAGE, filled.p_vaddr % PAGE);
        assert_eq!(elf.segment_data(&filled).expect("inside the file"), content);
        let section = elf.section_header_by_name(ARCHIVE).expect("names").expect("the section");
        assert_eq!(elf.section_data(&section).expect("inside the file").0, content);
    }

    #[test]
    fn a_file_without_the_place_is_refused() {
        let mut file = sample::elf(Sample::default());
        let error = fill(&mut file, ".symbols", &[1]).expect_err("no such section");
        assert_eq!(error.to_string(), "no section .symbols: the linker script must keep one");
    }

    #[test]
    fn a_shared_segment_is_refused() {
        let mut file = sample::elf(Sample { segment_bytes: 32, ..Sample::default() });
        let error = fill(&mut file, ARCHIVE, &[1]).expect_err("not alone");
        assert!(matches!(error, SegmentError::NotAlone(_)));
    }

    #[test]
    fn what_would_reach_into_another_segment_is_refused() {
        let next = sample::PLACE + 2 * PAGE;
        let mut file = sample::elf(Sample { next_segment: Some(next), ..Sample::default() });
        fill(&mut file, ARCHIVE, &[0; 8192]).expect("it just fits");
        let mut file = sample::elf(Sample { next_segment: Some(next), ..Sample::default() });
        let error = fill(&mut file, ARCHIVE, &[0; 8193]).expect_err("a byte too many");
        assert!(matches!(error, SegmentError::Overlap { other, .. } if other == next));
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        let error = fill(&mut b"#!/bin/sh\n".to_vec(), ARCHIVE, &[1]).expect_err("a script");
        assert!(matches!(error, SegmentError::Elf(ElfError::Parse(_))));
    }
}
