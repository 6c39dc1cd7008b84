//! `bench boot`: from the kernel's first instruction to the shell's prompt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{BenchError, plugin};
use crate::commands::build;
use crate::compile::Profile;
use crate::elf_file::pvh;
use crate::process::{self, CommandError};
use crate::progress;
use crate::vm::{Boot, Machine};
use crate::workshop::Workshop;

/// Options of `bench boot`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Boot this often and print how far the totals lie apart.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The image: a file images/NAME.toml.
    #[arg(long, value_name = "NAME", default_value = build::DEFAULT_IMAGE)]
    image: String,
}

/// What lies between two marks; phase 0 is the kernel's entry, the marks are libd3os's.
const PHASES: [(u32, &str); 4] = [
    (1, "kernel: first instruction to root task"),
    (2, "init: reads the manifest"),
    (3, "init: starts the programs"),
    (4, "programs: up to the shell's prompt"),
];
const PROMPT: u32 = 4;

/// Real time that a boot may take, in seconds: counting makes emulation slow.
const PATIENCE: u64 = 600;

/// One boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Run {
    total: u64,
    phases: Vec<Phase>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Phase {
    name: &'static str,
    instructions: u64,
}

/// All boots, as the JSON file has them.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    unit: &'static str,
    runs: Vec<Run>,
    /// Largest total less smallest, over smallest.
    spread: f64,
}

impl Args {
    /// Measures, prints the table, writes the JSON.
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        let workshop = Workshop::open()?;
        let bench = Bench::prepare(&workshop, &self.image)?;
        let runs: Result<Vec<Run>, BenchError> = (1..=self.runs)
            .map(|number| {
                progress::step(&format!("counting boot {number} of {}", self.runs));
                bench.run()
            })
            .collect();
        let report = Report::new(self.image, runs?);
        print!("{}", report.table());
        let path = workshop.paths.out().join("bench/boot.json");
        build::write(&path, serde_json::to_string_pretty(&report)?.as_bytes())?;
        println!("{}", path.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Everything that a counted boot needs.
struct Bench {
    machine: Machine,
    plugin: PathBuf,
    entry: u64,
    counts: PathBuf,
}

impl Bench {
    fn prepare(workshop: &Workshop, image: &str) -> Result<Self, BenchError> {
        let kernel = build::kernel(workshop, Profile::Release)?;
        let module = build::image(workshop, image)?;
        let entry = entry(&kernel)?;
        let counts = workshop.paths.out().join(format!("run/{}.counts", std::process::id()));
        let boot = Boot::Direct { kernel, module, command_line: String::new() };
        let machine = Machine { cores: 1, counted: true, ..Machine::new(boot) };
        Ok(Self { machine, plugin: plugin::build(workshop)?, entry, counts })
    }

    fn run(&self) -> Result<Run, BenchError> {
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
        format!("{plugin},entry={entry:#x},last={PROMPT},out={out}")
    }

    fn take_counts(&self) -> Result<Run, BenchError> {
        let text =
            fs::read_to_string(&self.counts).map_err(|_| BenchError::NotReached(PATIENCE))?;
        // Left behind it would be overwritten by the next run.
        let _left = fs::remove_file(&self.counts);
        parse(&text)
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

/// Turns the plugin's lines `PHASE INSTRUCTIONS` into lengths of phases.
fn parse(text: &str) -> Result<Run, BenchError> {
    let counts: Vec<(u32, u64)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(phase, count)| Some((phase.parse().ok()?, count.parse().ok()?)))
        .collect();
    let at = |phase: u32| {
        let found = counts.iter().find(|(known, _)| *known == phase);
        found.map(|(_, count)| *count).ok_or(BenchError::NoMark(phase))
    };
    let mut before = at(0)?;
    let mut phases = Vec::new();
    for (phase, name) in PHASES {
        let reached = at(phase)?;
        phases.push(Phase { name, instructions: reached.saturating_sub(before) });
        before = reached;
    }
    Ok(Run { total: at(PROMPT)?, phases })
}

impl Report {
    fn new(image: String, runs: Vec<Run>) -> Self {
        let spread = spread(runs.iter().map(|run| run.total));
        Self { image, unit: "executed instructions", runs, spread }
    }

    fn table(&self) -> String {
        let mut lines = Vec::new();
        if let Some(first) = self.runs.first() {
            lines.push(format!("{:<44}{:>16}", "phase", "instructions"));
            let phases = first.phases.iter().map(|phase| (phase.name, phase.instructions));
            for (name, count) in phases.chain([("total", first.total)]) {
                lines.push(format!("{name:<44}{:>16}", grouped(count)));
            }
        }
        if self.runs.len() > 1 {
            let percent = self.spread * 100.0;
            lines.push(format!("{} boots, totals {percent:.4} % apart", self.runs.len()));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people; counts are far below 2^53")]
fn spread(totals: impl Iterator<Item = u64> + Clone) -> f64 {
    let (least, most) = (totals.clone().min().unwrap_or(0), totals.max().unwrap_or(0));
    if least == 0 { 0.0 } else { (most - least) as f64 / least as f64 }
}

/// A number with commas.
fn grouped(number: u64) -> String {
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
    fn counts_become_phases() {
        let run = parse("0 0\n1 100\n2 250\n3 1000\n4 1234\n").expect("all marks");
        let lengths: Vec<u64> = run.phases.iter().map(|phase| phase.instructions).collect();
        assert_eq!((run.total, lengths), (1234, vec![100, 150, 750, 234]));
        let error = parse("0 0\n1 100\n4 1234\n").expect_err("a mark is missing");
        assert!(matches!(error, BenchError::NoMark(2)));
    }

    #[test]
    fn the_table_shows_phases_and_spread() {
        let run = |total| Run { total, phases: vec![Phase { name: "x", instructions: 1 }] };
        let report = Report::new("default".into(), vec![run(1_000_000), run(1_010_000)]);
        let table = report.table();
        assert!(table.contains("total                                              1,000,000\n"));
        assert!(table.ends_with("2 boots, totals 1.0000 % apart\n"), "{table}");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
