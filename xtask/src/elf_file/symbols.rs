//! The kernel's functions by address: for the backtrace of a panic, which tells bare addresses.

use std::collections::BTreeMap;

use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;

use super::ElfError;

/// Names for the addresses that follow the line `backtrace:` in what a kernel has said, a line each:
/// address, function, offset.
pub(crate) fn backtrace(file: &[u8], said: &str) -> Result<Vec<String>, ElfError> {
    let functions = functions(file)?;
    let addresses = said.lines().skip_while(|line| line.trim_end() != "backtrace:").skip(1);
    let addresses = addresses.map_while(|line| {
        let digits = line.trim().strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok()
    });
    let named = |address: u64| {
        let (start, name) = functions.range(..=address).next_back()?;
        Some(format!("{address:#018x} {name}+{:#x}", address - start))
    };
    Ok(addresses.filter_map(named).collect())
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
        let said = "D3OS kernel panic: no\r\nbacktrace:\r\n  0x0000000000002004\r\n  0x0000000000000fff\r\n  0x0000000000001000\r\nover\r\n  0x0000000000002000\r\n";
        let named = backtrace(&file, said).expect("it has symbols");
        assert_eq!(
            named,
            ["0x0000000000002004 kernel::entry+0x4", "0x0000000000001000 _start+0x0"]
        );
    }

    #[test]
    fn a_function_is_found_by_its_name() {
        let functions = &[(0x2000, 16, "_ZN6kernel5entry17h0123456789abcdefE")];
        let file = sample::elf(Sample { functions, ..Sample::default() });
        assert_eq!(address(&file, "kernel::entry").expect("readable"), Some(0x2000));
        assert_eq!(address(&file, "kernel::exit").expect("readable"), None);
    }
}
