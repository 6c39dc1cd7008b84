//! Kernel modules and what they need: Debian's package has no list of that, the modules tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::endian::LittleEndian;

use super::{LinuxError, read};

/// A file is no module that tells.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// It is not an ELF file.
    #[error("is malformed")]
    Elf(#[from] elf::ParseError),
    /// It says nothing of itself.
    #[error("has no section .modinfo")]
    Silent,
}

/// These modules and all that they need, each after what it needs: name and contents.
pub(super) fn closure(
    folder: &Path,
    wanted: &[&str],
) -> Result<Vec<(String, Vec<u8>)>, LinuxError> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut order = Vec::new();
    for name in wanted {
        add(name, &files, &mut order)?;
    }
    Ok(order)
}

/// Depth first. Modules cannot need each other in circles: the kernel would not load them.
fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), LinuxError> {
    if order.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let path = files.get(name).ok_or_else(|| LinuxError::Lacks(format!("module {name}")))?;
    let bytes = read(path)?;
    let needs =
        needs(&bytes).map_err(|source| LinuxError::Module { name: name.to_owned(), source })?;
    for needed in needs {
        add(&needed, files, order)?;
    }
    order.push((name.to_owned(), bytes));
    Ok(())
}

/// All modules below a folder, by the names that the kernel knows them by.
fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), LinuxError> {
    let accessed = |source| LinuxError::Io { path: folder.into(), source };
    for entry in fs::read_dir(folder).map_err(accessed)? {
        let path = entry.map_err(accessed)?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// The names in a module's `depends=`.
fn needs(module: &[u8]) -> Result<Vec<String>, ModuleError> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(module)?;
    let section = file.section_header_by_name(".modinfo")?.ok_or(ModuleError::Silent)?;
    let (text, _) = file.section_data(&section)?;
    let facts = text.split(|byte| *byte == 0).filter_map(|fact| fact.strip_prefix(b"depends="));
    let names = facts.flat_map(|names| names.split(|byte| *byte == b','));
    let names = names.filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).replace('-', "_")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(matches!(needs(b"nothing"), Err(ModuleError::Elf(_))));
        let program = fs::read(std::env::current_exe().expect("this program")).expect("a file");
        assert!(matches!(needs(&program), Err(ModuleError::Silent)));
    }
}
