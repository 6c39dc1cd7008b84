//! The kernel's functions by address: for the backtrace of a panic, the build writes them into the
//! image, where the kernel's linker script keeps a place: 512 entries of 128 bytes, an address (u64,
//! little-endian) and a name filled up with zeroes, ascending; the last ones at the end of all addresses.

use std::collections::BTreeMap;

use elf::ElfBytes;
use elf::abi::{PT_LOAD, STT_FUNC};
use elf::endian::LittleEndian;

use super::ElfError;

/// Entries of the table.
const ENTRIES: usize = 512;
/// Bytes of an entry, and of the name in it.
const ENTRY: usize = 128;
const NAME: usize = ENTRY - 8;
/// The symbol at the place of the table.
const TABLE: &str = "symbol_table";

/// Writes the kernel's functions to their place in its ELF file.
pub(crate) fn embed(file: &mut [u8]) -> Result<(), ElfError> {
    let table = table(&functions(file)?)?;
    let at = place(file)?;
    let place = file.get_mut(at..at + table.len()).ok_or(ElfError::NoPlace)?;
    place.copy_from_slice(&table);
    Ok(())
}

fn table(functions: &BTreeMap<u64, String>) -> Result<Vec<u8>, ElfError> {
    if functions.len() > ENTRIES {
        return Err(ElfError::TooMany(functions.len()));
    }
    let mut table = Vec::with_capacity(ENTRIES * ENTRY);
    for (address, name) in functions {
        table.extend(address.to_le_bytes());
        // The end of a long name tells more than its beginning.
        let name = name.as_bytes();
        let name = &name[name.len().saturating_sub(NAME)..];
        table.extend(name.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }));
        table.resize(table.len().next_multiple_of(ENTRY), 0);
    }
    table.resize(ENTRIES * ENTRY, u8::MAX);
    Ok(table)
}

/// Where in the file the table is.
fn place(file: &[u8]) -> Result<usize, ElfError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let (symbols, names) = elf.symbol_table()?.ok_or(ElfError::NoSymbols)?;
    let is_table = |name: u32| {
        usize::try_from(name).is_ok_and(|at| names.get(at).is_ok_and(|known| known == TABLE))
    };
    let symbol = symbols.iter().find(|symbol| is_table(symbol.st_name));
    let address = symbol.ok_or(ElfError::NoPlace)?.st_value;
    let mut segments = elf.segments().into_iter().flat_map(|all| all.iter());
    let segment = segments.find(|segment| {
        segment.p_type == PT_LOAD
            && (segment.p_vaddr..segment.p_vaddr + segment.p_filesz).contains(&address)
    });
    let segment = segment.ok_or(ElfError::NoPlace)?;
    usize::try_from(segment.p_offset + address - segment.p_vaddr).map_err(|_| ElfError::NoPlace)
}

/// Where the function with this demangled name begins, if the file has it.
pub(crate) fn address(file: &[u8], name: &str) -> Result<Option<u64>, ElfError> {
    let functions = functions(file)?;
    Ok(functions.into_iter().find_map(|(address, known)| (known == name).then_some(address)))
}

/// Functions by address; of several names for one address the first by alphabet.
fn functions(file: &[u8]) -> Result<BTreeMap<u64, String>, ElfError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let (symbols, names) = elf.symbol_table()?.ok_or(ElfError::NoSymbols)?;
    let mut functions = BTreeMap::new();
    for symbol in symbols.iter().filter(|symbol| symbol.st_symtype() == STT_FUNC) {
        let mangled = names.get(usize::try_from(symbol.st_name).unwrap_or(0))?;
        let name = format!("{:#}", rustc_demangle::demangle(mangled));
        let known = functions.entry(symbol.st_value).or_insert_with(|| name.clone());
        if name < *known {
            *known = name;
        }
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf_file::sample::{self, Sample};

    #[test]
    fn functions_are_sorted_and_demangled() {
        let file = sample::elf(Sample {
            functions: &[
                (0x2000, 16, "_ZN6kernel5entry17h0123456789abcdefE"),
                (0x1000, 16, "_start"),
                (0x1000, 16, "alias_of_start"),
            ],
            ..Sample::default()
        });
        let known = functions(&file).expect("it has symbols");
        let known: Vec<(u64, &str)> = known.iter().map(|(at, name)| (*at, name.as_str())).collect();
        assert_eq!(known, [(0x1000, "_start"), (0x2000, "kernel::entry")]);
    }

    #[test]
    fn a_table_has_addresses_names_and_an_end() {
        let long = format!("{}the end", "x".repeat(NAME));
        let known = BTreeMap::from([(0x1000, "_start".to_owned()), (0x2000, long)]);
        let table = table(&known).expect("room");
        assert_eq!(table.len(), ENTRIES * ENTRY);
        assert_eq!(table[..16], *b"\0\x10\0\0\0\0\0\0_start\0\0");
        assert_eq!(table[2 * ENTRY - 8..2 * ENTRY], *b"xthe end");
        assert!(table[2 * ENTRY..].iter().all(|byte| *byte == u8::MAX));
    }

    #[test]
    fn too_many_functions_and_a_missing_place_are_refused() {
        let many = (0..).zip(std::iter::repeat_n(String::new(), ENTRIES + 1)).collect();
        assert!(matches!(table(&many), Err(ElfError::TooMany(513))));
        let functions = &[(0x1000, 16, "_start")];
        let mut file = sample::elf(Sample { functions, ..Sample::default() });
        assert!(matches!(embed(&mut file), Err(ElfError::NoPlace)));
    }

    #[test]
    fn a_function_is_found_by_its_name() {
        let functions = &[(0x2000, 16, "_ZN6kernel5entry17h0123456789abcdefE")];
        let file = sample::elf(Sample { functions, ..Sample::default() });
        assert_eq!(address(&file, "kernel::entry").expect("readable"), Some(0x2000));
        assert_eq!(address(&file, "kernel::exit").expect("readable"), None);
    }
}
