//! Every image's manifest grants its programs exactly what they declare in their sources.

use std::fs;
use std::path::PathBuf;

use super::{Findings, TidyError};
use crate::image::pack::{Image, PackError};
use crate::progress;
use crate::workshop::Workshop;

/// Builds every image, which makes the comparison both ways.
pub(crate) fn check(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut findings = Findings::new();
    for name in images(workshop)? {
        match Image::build(workshop, &name) {
            Ok(_) => {}
            Err(PackError::Manifest(error)) => findings.push(error.to_string()),
            Err(error) => {
                progress::failure(&error);
                findings.push(format!("the image `{name}` cannot be built"));
            }
        }
    }
    Ok(findings)
}

fn images(workshop: &Workshop) -> Result<Vec<String>, TidyError> {
    let folder: PathBuf = workshop.paths.images();
    let entries = fs::read_dir(&folder);
    let entries = entries.map_err(|source| TidyError::Read { path: folder, source })?;
    let name =
        |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned);
    let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}
