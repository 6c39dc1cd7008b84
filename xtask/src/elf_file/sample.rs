//! A small ELF file for tests, written field by field.

/// Address of the kept place.
pub(crate) const PLACE: u64 = 0x1000_0000;

/// What may differ between test files.
pub(crate) struct Sample {
    /// Bytes of the kept place's segment; the section has 16.
    pub(crate) segment_bytes: u64,
    /// Address of a second segment.
    pub(crate) next_segment: Option<u64>,
    /// Contents of `.d3os.needs`, if it has one.
    pub(crate) needs: Option<&'static str>,
    /// Function symbols: address, size, name.
    pub(crate) functions: &'static [(u64, u64, &'static str)],
}

impl Default for Sample {
    fn default() -> Self {
        Self { segment_bytes: 16, next_segment: None, needs: None, functions: &[] }
    }
}

const HEADER: u64 = 64;
const PHDR: u64 = 56;

struct Section {
    name: &'static str,
    kind: u32,
    addr: u64,
    data: Vec<u8>,
    link: u32,
    entry: u64,
}

/// Writes the file: header, program headers, section contents, section headers.
pub(crate) fn elf(sample: Sample) -> Vec<u8> {
    let mut segments = vec![(PLACE, sample.segment_bytes)];
    segments.extend(sample.next_segment.map(|address| (address, 16)));
    let sections = sections(&sample);
    let mut out = vec![0; usize::try_from(HEADER + PHDR * segments.len() as u64).expect("small")];
    let offsets: Vec<u64> =
        sections.iter().map(|section| append(&mut out, &section.data)).collect();
    for (number, (address, bytes)) in segments.iter().enumerate() {
        let at = usize::try_from(HEADER).expect("small") + 56 * number;
        out[at..at + 56].copy_from_slice(&program_header(*address, offsets[1], *bytes));
    }
    let table = out.len() as u64;
    for (section, offset) in sections.iter().zip(&offsets) {
        out.extend(section_header(section, *offset, &sections));
    }
    let counts = (segments.len(), sections.len());
    out[..64].copy_from_slice(&file_header(table, counts));
    out
}

fn sections(sample: &Sample) -> Vec<Section> {
    let plain = |name, kind, data| Section { name, kind, addr: 0, data, link: 0, entry: 0 };
    let (symbols, strings) = symbol_table(sample.functions);
    let place = Section { addr: PLACE, ..plain(".d3os.archive", 1, vec![0; 16]) };
    let mut all = vec![plain("", 0, Vec::new()), place];
    all.push(Section { link: 3, entry: 24, ..plain(".symtab", 2, symbols) });
    all.push(plain(".strtab", 3, strings));
    all.extend(sample.needs.map(|text| plain(".d3os.needs", 1, text.as_bytes().to_vec())));
    all.push(plain(".shstrtab", 3, Vec::new()));
    let names = names(&all);
    if let Some(last) = all.last_mut() {
        last.data = names;
    }
    all
}

fn symbol_table(functions: &[(u64, u64, &str)]) -> (Vec<u8>, Vec<u8>) {
    let (mut symbols, mut strings) = (vec![0; 24], vec![0]);
    for (address, size, name) in functions {
        let name_at = u32::try_from(strings.len()).expect("small");
        strings.extend(name.as_bytes());
        strings.push(0);
        symbols.extend(name_at.to_le_bytes());
        symbols.extend([2, 0, 1, 0]); // local function in section 1
        symbols.extend(address.to_le_bytes());
        symbols.extend(size.to_le_bytes());
    }
    (symbols, strings)
}

fn names(sections: &[Section]) -> Vec<u8> {
    sections.iter().flat_map(|section| section.name.bytes().chain([0])).collect()
}

fn append(out: &mut Vec<u8>, data: &[u8]) -> u64 {
    let at = out.len() as u64;
    out.extend(data);
    at
}

fn program_header(address: u64, offset: u64, bytes: u64) -> Vec<u8> {
    let words = [offset, address, address, bytes, bytes, 1];
    let kind_and_flags = [1u32, 4].into_iter().flat_map(u32::to_le_bytes);
    kind_and_flags.chain(words.into_iter().flat_map(u64::to_le_bytes)).collect()
}

fn section_header(section: &Section, offset: u64, all: &[Section]) -> Vec<u8> {
    let before = all.iter().take_while(|other| other.name != section.name);
    let name: usize = before.map(|other| other.name.len() + 1).sum();
    let mut out = Vec::new();
    out.extend(u32::try_from(name).expect("small").to_le_bytes());
    out.extend(section.kind.to_le_bytes());
    for word in [0, section.addr, offset, section.data.len() as u64] {
        out.extend(word.to_le_bytes());
    }
    out.extend(section.link.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    out.extend(section.entry.to_le_bytes());
    out
}

fn file_header(section_table: u64, (segments, sections): (usize, usize)) -> Vec<u8> {
    let short = |n: usize| u16::try_from(n).expect("small").to_le_bytes();
    let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
    for word in [PLACE, HEADER, section_table] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    let halves = [64, 56, segments, 64, sections, sections - 1];
    out.extend(halves.into_iter().flat_map(short));
    out
}
