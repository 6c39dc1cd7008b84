//! `bench ring`: messages of a cache line between two threads of the host, in nanoseconds.
//!
//! The only figures of `bench` that depend on the machine: they are taken of all queues in turn,
//! in one run, and only their ratio says something. The measuring program is libd3os's own
//! benchmark `ring`.

use std::process::ExitCode;

use serde::Serialize;

use super::BenchError;
use crate::commands::build;
use crate::process;
use crate::progress;
use crate::toolchain;
use crate::workshop::Workshop;

/// Options of `bench ring`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Repetitions of each measurement.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
}

/// Our queue, as the benchmark calls it.
const OURS: &str = "libd3os";

/// One queue in one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Figure {
    mode: String,
    queue: String,
    /// Of all repetitions.
    median_ns: f64,
    /// A quarter of the repetitions were faster: what a busy machine disturbs less.
    quartile_ns: f64,
}

/// Ours beside the fastest other in one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Comparison {
    mode: String,
    best_other: String,
    /// The other's median over ours: above 1, ours is faster.
    ratio: f64,
}

/// Everything, as the JSON file has it.
#[derive(Debug, Serialize)]
struct Report {
    unit: &'static str,
    repetitions: u32,
    figures: Vec<Figure>,
    comparisons: Vec<Comparison>,
}

impl Args {
    /// Measures, prints the table, writes the JSON.
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        let workshop = Workshop::open()?;
        progress::step("measuring rings");
        let report = Report::new(self.repetitions, parse(&measure(&workshop, self.repetitions)?)?);
        print!("{}", report.table());
        let path = workshop.paths.out().join("bench/ring.json");
        build::write(&path, serde_json::to_string_pretty(&report)?.as_bytes())?;
        println!("{}", path.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds the benchmark, optimised, and runs it.
fn measure(workshop: &Workshop, repetitions: u32) -> Result<String, BenchError> {
    let mut cargo = toolchain::host_cargo();
    cargo.args(["bench", "--quiet", "--package", "libd3os", "--bench", "ring", "--target-dir"]);
    cargo.arg(workshop.paths.out().join("build/host"));
    cargo.arg("--").arg(repetitions.to_string()).current_dir(workshop.paths.root());
    Ok(process::output(&mut cargo)?)
}

/// Reads the benchmark's lines: mode, queue, median, quartile.
fn parse(text: &str) -> Result<Vec<Figure>, BenchError> {
    let figures: Option<Vec<Figure>> = text.lines().map(figure).collect();
    figures
        .filter(|figures| figures.iter().any(|figure| figure.queue == OURS))
        .ok_or_else(|| BenchError::RingFigures(text.to_owned()))
}

fn figure(line: &str) -> Option<Figure> {
    let mut fields = line.split('\t');
    let (mode, queue) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    let median_ns = fields.next()?.parse().ok()?;
    let quartile_ns = fields.next()?.parse().ok()?;
    Some(Figure { mode, queue, median_ns, quartile_ns })
}

impl Report {
    fn new(repetitions: u32, figures: Vec<Figure>) -> Self {
        let ours = figures.iter().filter(|figure| figure.queue == OURS);
        let comparisons = ours.filter_map(|ours| compare(ours, &figures)).collect();
        Self { unit: "nanoseconds per message of 56 bytes", repetitions, figures, comparisons }
    }

    fn table(&self) -> String {
        let head = format!("{:<12}{:<30}{:>10}{:>10}\n", "mode", "queue", "median", "quartile");
        let figures = self.figures.iter().map(|figure| {
            let Figure { mode, queue, median_ns, quartile_ns } = figure;
            format!("{mode:<12}{queue:<30}{median_ns:>10.1}{quartile_ns:>10.1}\n")
        });
        let comparisons = self.comparisons.iter().map(|comparison| {
            let Comparison { mode, best_other, ratio } = comparison;
            format!("{mode}: {OURS} {ratio:.2} times as fast as {best_other}\n")
        });
        let unit = [format!("{}, {} repetitions\n", self.unit, self.repetitions)];
        [head].into_iter().chain(figures).chain(unit).chain(comparisons).collect()
    }
}

fn compare(ours: &Figure, figures: &[Figure]) -> Option<Comparison> {
    let others = figures.iter().filter(|other| other.mode == ours.mode && other.queue != OURS);
    let best = others.min_by(|one, other| one.median_ns.total_cmp(&other.median_ns))?;
    let ratio = best.median_ns / ours.median_ns;
    Some(Comparison { mode: ours.mode.clone(), best_other: best.queue.clone(), ratio })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "ping-pong\tlibd3os\t100.00\t90.50\nping-pong\trtrb\t150.00\t140.00\n\
                           ping-pong\tother\t250.00\t240.00\nstreaming\tlibd3os\t20.00\t19.00\n\
                           streaming\trtrb\t15.00\t14.00\n";

    #[test]
    fn ours_is_compared_with_the_fastest_other() {
        let report = Report::new(7, parse(PRINTED).expect("figures"));
        let ratios: Vec<_> =
            report.comparisons.iter().map(|c| (c.mode.as_str(), c.ratio)).collect();
        assert_eq!(ratios, [("ping-pong", 1.5), ("streaming", 0.75)]);
        assert!(report.comparisons.iter().all(|comparison| comparison.best_other == "rtrb"));
        let table = report.table();
        assert!(table.ends_with("streaming: libd3os 0.75 times as fast as rtrb\n"), "{table}");
    }

    #[test]
    fn nonsense_is_no_figure() {
        for text in ["", "this takes two cores\n", "ping-pong\trtrb\t1\t1\n", "a\tlibd3os\tx\t1\n"]
        {
            assert!(matches!(parse(text), Err(BenchError::RingFigures(_))), "{text}");
        }
    }
}
