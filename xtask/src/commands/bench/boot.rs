//! `bench boot`: from the kernel's first instruction to the shell's prompt.

use std::process::ExitCode;

use serde::Serialize;

use super::BenchError;
use super::counting::{Counted, Passed, grouped};
use crate::commands::build;
use crate::compile::Profile;
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
        let counted = Counted::new(&workshop, machine(&workshop, &self.image)?, PROMPT)?;
        let runs: Result<Vec<Run>, BenchError> = (1..=self.runs)
            .map(|number| {
                progress::step(&format!("counting boot {number} of {}", self.runs));
                measured(&counted.run()?)
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

/// The machine that boots the shipped kernel with an image.
fn machine(workshop: &Workshop, image: &str) -> Result<Machine, BenchError> {
    let kernel = build::kernel(workshop, Profile::Release)?;
    let module = build::image(workshop, image)?;
    Ok(Machine::new(Boot::Direct { kernel, module, command_line: String::new() }))
}

/// Turns marks into lengths of phases.
fn measured(marks: &[Passed]) -> Result<Run, BenchError> {
    let at = |phase: u32| {
        let found = marks.iter().find(|mark| mark.phase == phase);
        found.map(|mark| mark.executed).ok_or(BenchError::NoMark(phase))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_phases() {
        let mark = |phase, executed| Passed { phase, executed, ..Passed::default() };
        let marks = [mark(0, 0), mark(1, 100), mark(2, 250), mark(3, 1000), mark(4, 1234)];
        let run = measured(&marks).expect("all marks");
        let lengths: Vec<u64> = run.phases.iter().map(|phase| phase.instructions).collect();
        assert_eq!((run.total, lengths), (1234, vec![100, 150, 750, 234]));
        let error = measured(&[marks[0], marks[1], marks[4]]).expect_err("a mark is missing");
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
}
