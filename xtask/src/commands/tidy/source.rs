//! Source files: where they are, that each says its purpose, that each member has the lints.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Findings, TidyError};
use crate::workshop::Workshop;

/// Every Rust file begins with a sentence that says what it is for.
pub(crate) fn purpose(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut findings = Findings::new();
    for package in &workshop.metadata.packages {
        for file in rust_files(package.dir())? {
            if !read(&file)?.starts_with("//!") {
                findings.push(format!("{} does not begin with `//!`", shown(workshop, &file)));
            }
        }
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Every member says `[lints] workspace = true`.
pub(crate) fn lints(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut findings = Findings::new();
    for package in &workshop.metadata.packages {
        if !inherits_lints(&read(&package.manifest_path)?) {
            let file = shown(workshop, &package.manifest_path);
            findings.push(format!("{file} lacks `[lints] workspace = true`"));
        }
    }
    Ok(findings)
}

fn inherits_lints(manifest: &str) -> bool {
    let table: Option<toml::Table> = manifest.parse().ok();
    let flag = table.as_ref().and_then(|table| table.get("lints")?.get("workspace")?.as_bool());
    flag == Some(true)
}

/// All Rust files below a folder, without what a build wrote.
pub(crate) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, TidyError> {
    let failed = |source| TidyError::Read { path: folder.into(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, TidyError> {
    fs::read_to_string(path).map_err(|source| TidyError::Read { path: path.into(), source })
}

/// A file's name as a person inside the repository would say it.
pub(crate) fn shown(workshop: &Workshop, path: &Path) -> String {
    path.strip_prefix(workshop.paths.root()).unwrap_or(path).display().to_string()
}

/// Reads and parses a Rust file.
pub(crate) fn parse(path: &Path) -> Result<(String, syn::File), TidyError> {
    let text = read(path)?;
    let file =
        syn::parse_file(&text).map_err(|source| TidyError::Parse { path: path.into(), source })?;
    Ok((text, file))
}

#[cfg(test)]
mod tests {
    use super::inherits_lints;

    #[test]
    fn lints_are_inherited_or_not() {
        assert!(inherits_lints("[package]\nname = \"x\"\n[lints]\nworkspace = true\n"));
        assert!(!inherits_lints(
            "[package]\nname = \"x\"\n[lints.rust]\nunsafe_code = \"allow\"\n"
        ));
        assert!(!inherits_lints("[package]\nname = \"x\"\n"));
    }
}
