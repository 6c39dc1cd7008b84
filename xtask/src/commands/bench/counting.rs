//! A machine that is run to its last mark, and the counts that the plugin wrote by then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::{BenchError, plugin};
use crate::elf_file::{pvh, symbols};
use crate::process::{self, CommandError};
use crate::vm::{Boot, Machine};
use crate::workshop::Workshop;

/// Real time that a machine may take, in seconds: counting makes emulation slow.
const PATIENCE: u64 = 900;
/// The kernel's function that asks whether an interrupt waits.
const POLL: &str = "<kernel_x86_64::local_apic::LocalApic>::interrupt_requested";

/// Everything that a counted run needs.
pub(super) struct Counted {
    machine: Machine,
    plugin: PathBuf,
    places: Places,
    counts: PathBuf,
    last: u32,
}

/// Addresses in the kernel that the plugin looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    /// The first instruction.
    entry: u64,
    /// The question whether an interrupt waits.
    poll: u64,
}

/// A mark that was passed, and the instructions executed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// The mark's number; 0 is the kernel's entry.
    pub(super) phase: u32,
    /// All instructions.
    pub(super) executed: u64,
    /// Those of the kernel's half of the address space.
    pub(super) kernel: u64,
    /// Of `executed` and `kernel`, what was counted apart as well.
    pub(super) apart: [u64; 2],
    /// The longest stretch of the kernel's since the mark before in which it let no interrupt in.
    pub(super) longest: u64,
}

impl Counted {
    /// Counts `machine`, which boots a kernel directly, up to the mark `last`.
    pub(super) fn new(
        workshop: &Workshop,
        machine: Machine,
        last: u32,
    ) -> Result<Self, BenchError> {
        let Boot::Direct { kernel, .. } = &machine.boot else { return Err(BenchError::NoEntry) };
        let places = Places::of(kernel)?;
        let counts = workshop.paths.out().join(format!("run/{}.counts", std::process::id()));
        let machine = Machine { cores: 1, counted: true, ..machine };
        Ok(Self { machine, plugin: plugin::build(workshop)?, places, counts, last })
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
        let (plugin, out, last) = (self.plugin.display(), self.counts.display(), self.last);
        let Places { entry, poll } = self.places;
        format!("{plugin},entry={entry:#x},poll={poll:#x},last={last},out={out}")
    }

    fn take_counts(&self) -> Result<Vec<Passed>, BenchError> {
        let text =
            fs::read_to_string(&self.counts).map_err(|_| BenchError::NotReached(PATIENCE))?;
        // Left behind it would be overwritten by the next run.
        let _left = fs::remove_file(&self.counts);
        Ok(parse(&text))
    }
}

impl Places {
    fn of(kernel: &Path) -> Result<Self, BenchError> {
        let file =
            fs::read(kernel).map_err(|source| BenchError::Io { path: kernel.into(), source })?;
        let entry = pvh::entry(&file)?.ok_or(BenchError::NoEntry)?;
        let poll = symbols::address(&file, POLL)?.ok_or(BenchError::NoPoll(POLL))?;
        Ok(Self { entry, poll })
    }
}

fn create_parent(path: &Path) -> Result<(), BenchError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| BenchError::Io { path: folder.into(), source })
}

/// Reads the plugin's lines, six numbers each; others are not the plugin's.
pub(super) fn parse(text: &str) -> Vec<Passed> {
    text.lines().filter_map(passed).collect()
}

fn passed(line: &str) -> Option<Passed> {
    let (phase, counts) = line.split_once(' ')?;
    let counts: Result<Vec<u64>, _> = counts.split(' ').map(str::parse).collect();
    let [executed, kernel, apart, apart_kernel, longest] = counts.ok()?.try_into().ok()?;
    Some(Passed {
        phase: phase.parse().ok()?,
        executed,
        kernel,
        apart: [apart, apart_kernel],
        longest,
    })
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
        let marks = parse("0 0 0 0 0 0\nnonsense\n256 100 40 9 8 7\n1 2 3\n");
        let lap = Passed { phase: 256, executed: 100, kernel: 40, apart: [9, 8], longest: 7 };
        assert_eq!(marks, [Passed::default(), lap]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
