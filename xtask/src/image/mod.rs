//! The image is data: `images/NAME.toml` says which programs there are and what each may do.
//!
//! [`manifest`] reads the file, [`rules`] checks what it says against itself and the workspace,
//! [`pack`] compiles the programs, compares the manifest with what they declare in their sources,
//! and puts everything into init's ELF file as the boot archive.

pub(crate) mod manifest;
pub(crate) mod pack;
mod problem;
mod quantity;
pub(crate) mod rules;
mod suggest;

#[cfg(test)]
mod bad_manifests;
