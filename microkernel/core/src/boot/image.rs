//! The root task's image: an ELF from outside, checked before anything of it is used.

use core::ops::Range;
use d3os_abi::USER_TOP;
use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use heapless::Vec;

/// Loadable segments that an image may have.
const MAX_SEGMENTS: usize = 16;
/// Bytes of a page, of which lengths in memory are counted.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes of a page, of which addresses are counted.
pub(super) const PAGE: u64 = PAGE_BYTES as u64;

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not an ELF, or cut off.
    #[error("it is not an ELF file, or damaged")]
    Malformed,
    /// An ELF, but not a statically linked 64-bit executable for x86_64.
    #[error("it is not a static 64-bit x86_64 executable")]
    WrongKind,
    /// More segments than an image may have.
    #[error("it has more than {MAX_SEGMENTS} segments to load")]
    TooManySegments,
    /// A segment's bytes are not all in the file, or more than its memory.
    #[error("a segment's bytes are outside the file")]
    SegmentBytes,
    /// A segment is in the first page or above user space.
    #[error("a segment is outside user space")]
    SegmentAddress,
    /// A segment begins before the last one ends.
    #[error("its segments overlap or are not in ascending order")]
    SegmentOrder,
    /// The first instruction is in no segment.
    #[error("its entry point is in no segment")]
    Entry,
}

/// A range of memory and what it begins with; the rest is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    start: u64,
    end: u64,
    bytes: &'a [u8],
}

impl<'a> Segment<'a> {
    fn parse(header: &ProgramHeader, elf: &ElfBytes<'a, LittleEndian>) -> Result<Self, ImageError> {
        let bytes = elf.segment_data(header).map_err(|_| ImageError::SegmentBytes)?;
        if bytes.len() as u64 > header.p_memsz {
            return Err(ImageError::SegmentBytes);
        }
        let (start, end) = (header.p_vaddr, header.p_vaddr.checked_add(header.p_memsz));
        match end {
            Some(end) if start >= PAGE && end <= USER_TOP => Ok(Self { start, end, bytes }),
            _ => Err(ImageError::SegmentAddress),
        }
    }

    /// The part of the segment's file bytes that belongs to the page at `page`: where in the page
    /// it begins, and the bytes.
    pub(super) fn bytes_in_page(&self, page: u64) -> (usize, &'a [u8]) {
        let skip = usize::try_from(page.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.bytes.get(skip..).unwrap_or(&[]);
        match usize::try_from(self.start.saturating_sub(page)) {
            Ok(offset) if offset < PAGE_BYTES => {
                (offset, &rest[..rest.len().min(PAGE_BYTES - offset)])
            }
            _ => (0, &[]),
        }
    }
}

/// A checked image.
#[derive(Clone, Debug)]
pub(super) struct RootImage<'a> {
    /// The first instruction.
    pub(super) entry: u64,
    segments: Vec<Segment<'a>, MAX_SEGMENTS>,
}

impl<'a> RootImage<'a> {
    /// Checks `file`.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        let elf =
            ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| ImageError::Malformed)?;
        let header = elf.ehdr;
        if (header.class, header.e_type, header.e_machine) != (Class::ELF64, ET_EXEC, EM_X86_64) {
            return Err(ImageError::WrongKind);
        }
        let mut segments = Vec::<Segment<'a>, MAX_SEGMENTS>::new();
        let headers = elf.segments().ok_or(ImageError::Malformed)?;
        for header in headers.iter().filter(|h| h.p_type == PT_LOAD && h.p_memsz > 0) {
            let segment = Segment::parse(&header, &elf)?;
            if segments.last().is_some_and(|last| segment.start < last.end) {
                return Err(ImageError::SegmentOrder);
            }
            segments.push(segment).map_err(|_| ImageError::TooManySegments)?;
        }
        let entry = header.e_entry;
        if !segments.iter().any(|s| (s.start..s.end).contains(&entry)) {
            return Err(ImageError::Entry);
        }
        Ok(Self { entry, segments })
    }

    /// The segments, ascending.
    pub(super) fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The pages that segments touch: ascending, disjoint ranges.
    pub(super) fn page_ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.segments.iter().scan(0, |done, segment| {
            let start = (segment.start & !(PAGE - 1)).max(*done);
            *done = segment.end.next_multiple_of(PAGE);
            Some(start..*done)
        })
    }

    /// Number of pages in all ranges.
    pub(super) fn pages(&self) -> u64 {
        self.page_ranges().map(|range| (range.end - range.start) / PAGE).sum()
    }

    /// First page above the image.
    pub(super) fn end(&self) -> u64 {
        self.page_ranges().last().map_or(0, |range| range.end)
    }
}
