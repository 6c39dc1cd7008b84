//! A machine that is run to its last mark, and the counts that the plugin wrote by then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::{BenchError, plugin};
use crate::elf_file::pvh;
use crate::process::{self, CommandError};
use crate::vm::{Boot, Machine};
use crate::workshop::Workshop;

/// Real time that a machine may take, in seconds: counting makes emulation slow.
const PATIENCE: u64 = 600;

/// Everything that a counted run needs.
pub(super) struct Counted {
    machine: Machine,
    plugin: PathBuf,
    entry: u64,
    counts: PathBuf,
    last: u32,
}

/// A mark that was passed, and the instructions executed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// The mark's number; 0 is the kernel's entry.
    pub(super) phase: u32,
    /// All instructions.
    pub(super) executed: u64,
    /// Those of the kernel's half of the address space.
    pub(super) kernel: u64,
}

impl Counted {
    /// Counts `machine`, which boots a kernel directly, up to the mark `last`.
    pub(super) fn new(
        workshop: &Workshop,
        machine: Machine,
        last: u32,
    ) -> Result<Self, BenchError> {
        let Boot::Direct { kernel, .. } = &machine.boot else { return Err(BenchError::NoEntry) };
        let entry = entry(kernel)?;
        let counts = workshop.paths.out().join(format!("run/{}.counts", std::process::id()));
        let machine = Machine { cores: 1, counted: true, ..machine };
        Ok(Self { machine, plugin: plugin::build(workshop)?, entry, counts, last })
    }

    /// Runs the machine once; the marks in the order in which they were passed.
    pub(super) fn run(&self) -> Result<Vec<Passed>, BenchError> {
        let mut qemu = self.machine.command()?;
        qemu.arg("-plugin").arg(self.plugin_option());
        qemu.stdin(Stdio::null()).stdout(Stdio::null());
        create_parent(&self.counts)?;
        let line = process::line(&qemu);
        let mut child = qemu.spawn().map_err(|source| CommandError::NotStarted { line, source })?;
        let end = Instant::now() + Duration::from_secs(PATIENCE);
        while child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > end {
                // Dead already is as good.
                let _dead = child.kill().and_then(|()| child.wait());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.take_counts()
    }

    fn plugin_option(&self) -> String {
        let (plugin, entry, out) = (self.plugin.display(), self.entry, self.counts.display());
        format!("{plugin},entry={entry:#x},last={},out={out}", self.last)
    }

    fn take_counts(&self) -> Result<Vec<Passed>, BenchError> {
        let text =
            fs::read_to_string(&self.counts).map_err(|_| BenchError::NotReached(PATIENCE))?;
        // Left behind it would be overwritten by the next run.
        let _left = fs::remove_file(&self.counts);
        Ok(parse(&text))
    }
}

fn entry(kernel: &Path) -> Result<u64, BenchError> {
    let file = fs::read(kernel).map_err(|source| BenchError::Io { path: kernel.into(), source })?;
    pvh::entry(&file)?.ok_or(BenchError::NoEntry)
}

fn create_parent(path: &Path) -> Result<(), BenchError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| BenchError::Io { path: folder.into(), source })
}

/// Reads the plugin's lines `PHASE INSTRUCTIONS KERNEL`; others are not the plugin's.
pub(super) fn parse(text: &str) -> Vec<Passed> {
    text.lines().filter_map(passed).collect()
}

fn passed(line: &str) -> Option<Passed> {
    let mut numbers = line.split(' ');
    let phase = numbers.next()?.parse().ok()?;
    let executed = numbers.next()?.parse().ok()?;
    Some(Passed { phase, executed, kernel: numbers.next()?.parse().ok()? })
}

/// A number with commas.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(String::from_utf8_lossy);
    let head = Some(head.into()).filter(|_| first > 0);
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_marks() {
        let marks = parse("0 0 0\nnonsense\n256 100 40\n");
        let lap = Passed { phase: 256, executed: 100, kernel: 40 };
        assert_eq!(marks, [Passed { phase: 0, executed: 0, kernel: 0 }, lap]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
