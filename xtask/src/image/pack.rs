//! From a manifest to a boot module: compile, compare, archive, fill.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use libd3os::image::{self, ArchiveError, BootConfig, File, Manifest, ProgramSpec};
use libd3os::start::GrantKind;

use super::manifest;
use super::problem::{ManifestError, Place, Problem};
use super::rules;
use crate::compile::{self, CompileError, Layout};
use crate::elf_file::needs::{self, Need, NeedsError};
use crate::elf_file::segment::{self, SegmentError};
use crate::metadata::Metadata;
use crate::workshop::Workshop;

/// No image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(Box<ManifestError>),
    /// A program does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A program's declaration cannot be read.
    #[error("program `{program}`")]
    Needs {
        /// Which.
        program: String,
        /// Why.
        source: NeedsError,
    },
    /// The archive cannot be written.
    #[error("cannot write the boot archive")]
    Archive(#[from] ArchiveError),
    /// Init has no place for it.
    #[error("init's ELF file")]
    Init(#[from] SegmentError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<ManifestError> for PackError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(Box::new(error))
    }
}

/// An image whose programs are compiled and whose manifest holds.
pub(crate) struct Image {
    manifest: Manifest,
    init: Vec<u8>,
    programs: Vec<(String, Vec<u8>)>,
}

impl Image {
    /// Builds `images/NAME.toml`.
    pub(crate) fn build(workshop: &Workshop, name: &str) -> Result<Self, PackError> {
        let path = workshop.paths.images().join(format!("{name}.toml"));
        let manifest = checked_manifest(&workshop.metadata, &path)?;
        let mut programs: Vec<(String, Vec<u8>)> = Vec::new();
        for spec in &manifest.programs {
            // A binary of several programs is there once; each of them grants it what it declares.
            if let Some((_, file)) = programs.iter().find(|(name, _)| name == spec.file()) {
                compare(&path, spec, file)?;
                continue;
            }
            let file = read(&compile::program(workshop, spec.file(), Layout::User)?)?;
            compare(&path, spec, &file)?;
            programs.push((spec.file().into(), file));
        }
        let init = read(&compile::program(workshop, "init", Layout::Init)?)?;
        Ok(Self { manifest, init, programs })
    }

    /// The boot module: init with everything in it. `config` says how this boot differs.
    pub(crate) fn boot_module(&self, config: &BootConfig) -> Result<Vec<u8>, PackError> {
        let files: Vec<File<'_>> =
            self.programs.iter().map(|(name, bytes)| File { name, bytes }).collect();
        let archive = image::write(&self.manifest, config, &files)?;
        let mut module = self.init.clone();
        segment::fill(&mut module, segment::ARCHIVE, &archive)?;
        Ok(module)
    }
}

/// Reads a manifest and checks it against its own rules and the workspace's programs.
pub(crate) fn checked_manifest(
    metadata: &Metadata,
    path: &Path,
) -> Result<Manifest, ManifestError> {
    let manifest = manifest::read(path)?;
    let programs: Vec<&str> = metadata.programs().collect();
    rules::check(&manifest, &programs).map_err(|(place, problem)| ManifestError {
        file: manifest::short_name(path),
        place,
        problem,
    })?;
    Ok(manifest)
}

/// Compares what a program declares in its source with what the manifest grants, both ways.
pub(crate) fn compare(path: &Path, spec: &ProgramSpec, file: &[u8]) -> Result<(), PackError> {
    let declared = needs::read(file)
        .map_err(|source| PackError::Needs { program: spec.name.clone(), source })?;
    match difference(&declared, &grants(spec)) {
        None => Ok(()),
        Some((key, problem)) => Err(PackError::from(ManifestError {
            file: manifest::short_name(path),
            place: Place::program(&spec.name).key(key),
            problem,
        })),
    }
}

fn grants(spec: &ProgramSpec) -> BTreeSet<Need> {
    let of_kind = |kind: GrantKind| {
        spec.names(kind).iter().map(move |name| Need { kind, name: name.clone() })
    };
    GrantKind::NAMED.into_iter().flat_map(of_kind).collect()
}

fn difference(
    declared: &BTreeSet<Need>,
    granted: &BTreeSet<Need>,
) -> Option<(&'static str, Problem)> {
    let (open, named): (Vec<_>, Vec<_>) = declared.iter().partition(|need| need.is_open());
    if let Some(need) = named.iter().find(|need| !granted.contains(need)) {
        return Some((need.kind.word(), Problem::NotGranted(need.to_string())));
    }
    let expected = |need: &Need| named.contains(&need) || open.iter().any(|o| o.kind == need.kind);
    let need = granted.iter().find(|need| !expected(need))?;
    Some((need.kind.word(), Problem::NotDeclared(need.to_string())))
}

fn read(path: &Path) -> Result<Vec<u8>, PackError> {
    fs::read(path).map_err(|source| PackError::Read { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf_file::sample::{self, Sample};

    fn compared(needs: &'static str) -> Result<(), String> {
        let spec = ProgramSpec {
            name: "uart".into(),
            serves: vec!["uart".into()],
            ports: vec!["com1".into()],
            ..ProgramSpec::default()
        };
        let file = sample::elf(Sample { needs: Some(needs), ..Sample::default() });
        compare(Path::new("/a/images/x.toml"), &spec, &file).map_err(|error| error.to_string())
    }

    #[test]
    fn needs_and_grants_are_compared_both_ways() {
        assert_eq!(compared("ports com1\nserves uart\n"), Ok(()));
        assert_eq!(
            compared("ports com1\nserves uart\ncalls log\n"),
            Err("images/x.toml: program `uart`, key `calls`: its source declares `calls log`, \
                 which the manifest does not grant"
                .into())
        );
        assert_eq!(
            compared("serves uart\n"),
            Err("images/x.toml: program `uart`, key `ports`: grants `ports com1`, which its \
                 source does not declare"
                .into())
        );
    }

    #[test]
    fn a_program_may_leave_names_to_the_manifest() {
        assert_eq!(compared("serves *\nports *\n"), Ok(()));
        assert_eq!(compared("serves uart\nserves *\nports com1\n"), Ok(()));
        assert!(compared("serves *\n").is_err(), "ports are not left to it");
        assert!(compared("serves *\nserves log\nports *\n").is_err(), "what is named is needed");
    }

    #[test]
    fn a_boot_module_holds_the_archive_that_init_reads() {
        let program = ProgramSpec { name: "hello".into(), ..ProgramSpec::default() };
        let image = Image {
            manifest: Manifest { programs: vec![program], ..Manifest::default() },
            init: sample::elf(Sample::default()),
            programs: vec![("hello".into(), vec![7; 5000])],
        };
        let config = BootConfig { script: Some("ps".into()), ..BootConfig::default() };
        let module = image.boot_module(&config).expect("init has a place");
        let magic = libd3os::image::MAGIC;
        let start = module.windows(8).position(|bytes| bytes == magic).expect("an archive");
        let archive = image::Archive::parse(&module[start..]).expect("a sound archive");
        assert_eq!(archive.file("hello"), Some(&[7; 5000][..]));
        assert_eq!(archive.boot_config(), &config);
    }
}
