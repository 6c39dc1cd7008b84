//! What a program declares that it needs: lines like `calls log` in its `.d3os.needs` section.

use std::collections::BTreeSet;
use std::fmt;

use elf::ElfBytes;
use elf::endian::LittleEndian;
use libd3os::start::GrantKind;

use super::ElfError;

const SECTION: &str = ".d3os.needs";

/// A program's declaration cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NeedsError {
    /// Not an ELF file.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The section holds something else.
    #[error("{SECTION} holds a line that is no need: {0:?}")]
    Line(String),
}

/// One capability that a program asks for or is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    /// What it allows.
    pub(crate) kind: GrantKind,
    /// Of which service, resource or signal.
    pub(crate) name: String,
}

/// The name that leaves the names of its kind to the manifest.
const ANY: &str = "*";

impl Need {
    /// Whether the program takes whatever the manifest grants of this kind, besides what it names.
    pub(crate) fn is_open(&self) -> bool {
        self.name == ANY
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Reads the declaration of a linked program; none declared is an empty set.
pub(crate) fn read(file: &[u8]) -> Result<BTreeSet<Need>, NeedsError> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(ElfError::from)?;
    let Some(header) = elf.section_header_by_name(SECTION).map_err(ElfError::from)? else {
        return Ok(BTreeSet::new());
    };
    let (bytes, _) = elf.section_data(&header).map_err(ElfError::from)?;
    // The linker may pad between the declarations of several objects.
    let text = String::from_utf8_lossy(bytes).replace('\0', "\n");
    text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
}

fn parse(line: &str) -> Result<Need, NeedsError> {
    line.split_once(' ')
        .and_then(|(kind, name)| Some((GrantKind::from_word(kind)?, name.trim())))
        .filter(|(_, name)| !name.is_empty())
        .map(|(kind, name)| Need { kind, name: name.into() })
        .ok_or_else(|| NeedsError::Line(line.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf_file::sample::{self, Sample};

    fn needs(text: &'static str) -> Result<Vec<String>, NeedsError> {
        let file = sample::elf(Sample { needs: Some(text), ..Sample::default() });
        Ok(read(&file)?.iter().map(Need::to_string).collect())
    }

    #[test]
    fn lines_become_needs() {
        assert_eq!(
            needs("calls log\nserves uart\n\0\0calls log\n").expect("good lines"),
            ["serves uart", "calls log"]
        );
        let none = sample::elf(Sample::default());
        assert!(read(&none).expect("no section is no need").is_empty());
    }

    #[test]
    fn other_lines_are_named() {
        for bad in ["owns com1", "calls", "calls ", "reply uart"] {
            let error = needs(bad).expect_err(bad);
            assert!(error.to_string().ends_with(&format!("{bad:?}")), "{error}");
        }
    }
}
