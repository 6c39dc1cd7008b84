//! What the image builder reads from ELF files and writes into them.

pub(crate) mod needs;
pub(crate) mod pvh;
pub(crate) mod segment;
pub(crate) mod symbols;

#[cfg(test)]
pub(crate) mod sample;

/// A file is not an ELF file as our linker writes them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElfError {
    /// The ELF reader refuses it.
    #[error("not a readable ELF file")]
    Parse(#[from] elf::ParseError),
    /// It has no section names.
    #[error("no section table")]
    NoSections,
    /// It has no symbols.
    #[error("no symbol table")]
    NoSymbols,
    /// The linker script keeps no place for the table of functions.
    #[error("no place for the table of functions")]
    NoPlace,
    /// It has more functions than the table can hold.
    #[error("{0} functions, more than the table can hold")]
    TooMany(usize),
}
