//! The kernel's table of its own functions, for the backtrace of a panic.
//!
//! The kernel reads it where its linker script keeps a place for it (see
//! [`super::segment::SYMBOLS`]). All numbers are little-endian:
//!
//! ```text
//! 0   magic, u64: 0x53594d53_44334f53
//! 8   number of entries, u64
//! 16  entries by ascending address: { address u64, name, demangled, cut or filled up with zeroes }
//! ```

use std::collections::BTreeMap;
use std::iter;

use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;

use super::ElfError;

/// First eight bytes of a table.
pub(crate) const MAGIC: u64 = 0x5359_4d53_4433_4f53;
/// Bytes of a name.
const NAME_BYTES: usize = 120;

/// Makes the table of all functions in an ELF file.
pub(crate) fn table(file: &[u8]) -> Result<Vec<u8>, ElfError> {
    Ok(encode(&functions(file)?))
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

fn encode(functions: &BTreeMap<u64, String>) -> Vec<u8> {
    let mut table = MAGIC.to_le_bytes().to_vec();
    table.extend((functions.len() as u64).to_le_bytes());
    for (address, name) in functions {
        let name = &name[..name.floor_char_boundary(NAME_BYTES)];
        table.extend(address.to_le_bytes());
        table.extend(name.bytes().chain(iter::repeat_n(0, NAME_BYTES - name.len())));
    }
    table
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
        let table = table(&file).expect("it has symbols");
        let mut expected = MAGIC.to_le_bytes().to_vec();
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        for (address, name) in [(0x1000u64, "_start"), (0x2000, "kernel::entry")] {
            expected.extend(address.to_le_bytes());
            expected.extend(name.as_bytes());
            expected.resize(expected.len() + 120 - name.len(), 0);
        }
        assert_eq!(table, expected);
    }

    #[test]
    fn a_function_is_found_by_its_name() {
        let functions = &[(0x2000, 16, "_ZN6kernel5entry17h0123456789abcdefE")];
        let file = sample::elf(Sample { functions, ..Sample::default() });
        assert_eq!(address(&file, "kernel::entry").expect("readable"), Some(0x2000));
        assert_eq!(address(&file, "kernel::exit").expect("readable"), None);
    }

    #[test]
    fn a_kernel_without_functions_has_an_empty_table() {
        let table = table(&sample::elf(Sample::default())).expect("a symbol table without symbols");
        assert_eq!(table.len(), 16);
    }
}
