//! `bench pmem`: persistent objects beside other stores, in nanoseconds; and in this system, in
//! instructions.
//!
//! A file in the host's memory stands for persistent memory. All stores do the same work in one run,
//! in turn, and CPU time of the one thread counts; of several repetitions the least, which other
//! programs on the host have disturbed least. Bounds are ratios to what was measured in the same run;
//! where one is missed, the command fails.

mod guest;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::Serialize;

use self::guest::Cost;
use super::BenchError;
use crate::commands::build;
use crate::process;
use crate::progress;
use crate::toolchain;
use crate::tools::{self, Tool};
use crate::workshop::Workshop;

/// Options of `bench pmem`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Records of 64 bytes in each store.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    records: u64,
    /// Repetitions of which the least figure counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// Counts instructions in the guest only.
    #[arg(long)]
    guest: bool,
}

/// What the measuring program calls the stores.
const STORES: [&str; 7] = ["ours", "pool", "search", "plain", "lmdb", "lmdb-writemap", "redb"];
/// The example maps of libpmemobj that are measured.
const PMDK_MAPS: [&str; 2] = ["btree", "hashmap_tx"];
/// Where the example maps' sources are installed, and which files.
const EXAMPLES: &str = "/usr/share/doc/libpmemobj-dev/examples";
const EXAMPLE_SOURCES: [&str; 5] = [
    "map/map.c",
    "map/map_btree.c",
    "map/map_hashmap_tx.c",
    "tree_map/btree_map.c",
    "hashmap/hashmap_tx.c",
];
const EXAMPLE_FOLDERS: [&str; 3] = ["map", "tree_map", "hashmap"];

/// What a durable store of a word took where the bounds were set, in nanoseconds: a figure in
/// nanoseconds there is scaled by what it takes here.
const RAW_THERE: f64 = 205.0;

/// A figure of ours with what it may be at most.
struct Row {
    work: &'static str,
    ours: fn(&Figures) -> Option<f64>,
    bound: fn(&Figures) -> Option<f64>,
    because: &'static str,
}

const ROWS: [Row; 13] = [
    Row {
        work: "hash map: durable insert",
        ours: |all| all.of(HASH, "insert"),
        bound: |all| Some(all.pmdk("insert")? / 4.0),
        because: "a quarter of libpmemobj's best",
    },
    Row {
        work: "hash map: durable insert",
        ours: |all| all.of(HASH, "insert"),
        bound: |all| Some(all.of("lmdb-writemap", "insert")? / 2.0),
        because: "half of LMDB's with WRITEMAP",
    },
    Row {
        work: "hash map: lookup",
        ours: |all| all.of(HASH, "lookup"),
        bound: |all| Some(all.of("HashMap", "lookup")? * 1.3),
        because: "1.3 times std's",
    },
    Row {
        work: "ordered map: durable insert",
        ours: |all| all.of(ORDERED, "insert"),
        bound: |all| Some(all.of("pmdk btree", "insert")? / 3.0),
        because: "a third of libpmemobj's btree",
    },
    Row {
        work: "ordered map: lookup",
        ours: |all| all.of(ORDERED, "lookup"),
        bound: |all| Some(all.of("BTreeMap", "lookup")? * 1.2),
        because: "1.2 times std's",
    },
    Row {
        work: "8-byte durable update, above the lookup",
        ours: |all| Some(all.of(HASH, "find and update")? - all.of(HASH, "lookup")?),
        bound: |all| all.scaled(350.0),
        because: "350 ns where the machine takes 205 for a durable store",
    },
    Row {
        work: "8-byte durable update, above the lookup (ordered map)",
        ours: |all| Some(all.of(ORDERED, "find and update")? - all.of(ORDERED, "lookup")?),
        bound: |all| all.scaled(350.0),
        because: "the same",
    },
    Row {
        work: "hash map: 1,000 records in a transaction, for each",
        ours: |all| all.of(HASH, "insert in thousands"),
        bound: |all| Some(all.of(HASH, "insert")? * 0.6),
        because: "0.6 of one in each",
    },
    Row {
        work: "ordered map: 1,000 records in a transaction, for each",
        ours: |all| all.of(ORDERED, "insert in thousands"),
        bound: |all| Some(all.of(ORDERED, "insert")? * 0.6),
        because: "0.6 of one in each",
    },
    Row {
        work: "pool of 100,000 objects: opened after a loss of power",
        ours: |all| all.of("pool", "open, 100000 objects"),
        bound: |all| Some(all.of("pool", "open, 1000 objects")? * 1.5),
        because: "1.5 times a pool of 1,000 with the same log",
    },
    Row {
        work: "persistent pointer inside an object, above a reference",
        ours: |all| Some(all.of("ours", "hop")? - all.of("reference", "hop")?),
        bound: |_| Some(0.5),
        because: "0.5 ns",
    },
    Row {
        work: "persistent pointer to another object, above a reference",
        ours: |all| Some(all.of("ours", "hop to another object")? - all.of("reference", "hop")?),
        bound: |_| Some(2.5),
        because: "2.5 ns",
    },
    Row {
        work: "search over 1 GiB by two threads, for each KiB",
        ours: |all| all.of("ours", SEARCH),
        bound: |all| Some(all.of("memchr", SEARCH)? * 1.1),
        because: "1.1 times memchr's own search of two halves",
    },
];
const HASH: &str = "our hash map";
const ORDERED: &str = "our ordered map";
const SEARCH: &str = "search a KiB, 2 threads";
const RAW: &str = "store, write back, fence";

/// What was measured: nanoseconds by store and work.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Figures(BTreeMap<String, BTreeMap<String, f64>>);

/// A row with its figures.
#[derive(Debug, Serialize)]
struct Judged {
    work: &'static str,
    ours_ns: f64,
    bound_ns: f64,
    because: &'static str,
    is_met: bool,
}

/// Everything, as the JSON file has it.
#[derive(Debug, Serialize)]
struct Report {
    unit: &'static str,
    records: u64,
    repetitions: u32,
    figures: Figures,
    rows: Vec<Judged>,
    guest: Vec<Cost>,
}

impl Args {
    /// Measures, prints the tables, writes the JSON.
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        let workshop = Workshop::open()?;
        if self.guest {
            print!("{}", guest_table(&guest::measure(&workshop)?));
            return Ok(ExitCode::SUCCESS);
        }
        let programs = programs(&workshop)?;
        let mut figures = Figures::default();
        for repetition in 1..=self.repetitions {
            for program in &programs {
                progress::step(&format!("{}, {repetition} of {}", program.name, self.repetitions));
                figures.add(&program.run(self.records)?)?;
            }
        }
        let report = Report::new(&self, figures, guest::measure(&workshop)?)?;
        print!("{}", report.table());
        let path = workshop.paths.out().join("bench/pmem.json");
        build::write(&path, serde_json::to_string_pretty(&report)?.as_bytes())?;
        println!("{}", path.display());
        Ok(if report.rows.iter().all(|row| row.is_met) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// A program that measures one store.
struct Program {
    path: PathBuf,
    name: &'static str,
    is_pmdk: bool,
}

impl Program {
    fn run(&self, records: u64) -> Result<String, BenchError> {
        let folder = Path::new("/dev/shm").join(format!("d3os-bench-{}", std::process::id()));
        let folder_error = |source| BenchError::Io { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(folder_error)?;
        let place = if self.is_pmdk { folder.join("pool") } else { folder.clone() };
        let mut command = Command::new(&self.path);
        command.arg(self.name).arg(place).arg(records.to_string());
        // A file in memory is written back like persistent memory, not by `msync`.
        command.env("PMEM_IS_PMEM_FORCE", "1");
        let printed = process::output(&mut command);
        fs::remove_dir_all(&folder).map_err(folder_error)?;
        Ok(printed?)
    }
}

/// Builds what measures, optimised.
fn programs(workshop: &Workshop) -> Result<Vec<Program>, BenchError> {
    tools::ensure_all(&[Tool::Cc, Tool::Pmdk])?;
    progress::step("building the stores");
    let target = workshop.paths.out().join("build/host");
    let mut cargo = toolchain::host_cargo();
    cargo.args(["build", "--quiet", "--release", "--package", "libd3os-object-bench"]);
    cargo.arg("--target-dir").arg(&target).current_dir(workshop.paths.root());
    process::run_aside(&mut cargo)?;
    let path = target.join("release/libd3os-object-bench");
    let program = |path: &Path, name, is_pmdk| Program { path: path.into(), name, is_pmdk };
    let stores = STORES.into_iter().map(|name| program(&path, name, false));
    let pmdk = pmdk(workshop)?;
    Ok(stores.chain(PMDK_MAPS.into_iter().map(|name| program(&pmdk, name, true))).collect())
}

/// Builds libpmemobj's maps with what measures them.
fn pmdk(workshop: &Workshop) -> Result<PathBuf, BenchError> {
    let ours = workshop.paths.root().join("libd3os/object/bench/pmdk");
    let examples = Path::new(EXAMPLES);
    let program = workshop.paths.out().join("build/host/pmdk-map");
    let mut cc = Command::new("cc");
    // The examples' own warnings are nothing that could be mended here.
    cc.args(["-O2", "-w", "-std=gnu11", "-I"]).arg(&ours);
    for folder in EXAMPLE_FOLDERS {
        cc.arg("-I").arg(examples.join(folder));
    }
    cc.arg("-o").arg(&program).arg(ours.join("map.c"));
    cc.args(EXAMPLE_SOURCES.map(|source| examples.join(source))).arg("-lpmemobj");
    process::run_aside(&mut cc)?;
    Ok(program)
}

impl Figures {
    fn of(&self, store: &str, work: &str) -> Option<f64> {
        self.0.get(store)?.get(work).copied()
    }

    /// The better one of libpmemobj's maps.
    fn pmdk(&self, work: &str) -> Option<f64> {
        let maps = ["pmdk btree", "pmdk hashmap_tx"].map(|map| self.of(map, work));
        maps.into_iter().flatten().min_by(f64::total_cmp)
    }

    /// A time that was set for a machine on which a durable store takes [`RAW_THERE`].
    fn scaled(&self, nanoseconds: f64) -> Option<f64> {
        Some(nanoseconds * self.of(RAW, "raw")? / RAW_THERE)
    }

    /// Takes a program's lines: store, work, nanoseconds. The least of each figure stays.
    fn add(&mut self, printed: &str) -> Result<(), BenchError> {
        for line in printed.lines() {
            let (store, work, figure) =
                parse(line).ok_or_else(|| BenchError::StoreFigures(printed.to_owned()))?;
            let least = self.0.entry(store).or_default().entry(work).or_insert(f64::INFINITY);
            *least = least.min(figure);
        }
        Ok(())
    }
}

fn parse(line: &str) -> Option<(String, String, f64)> {
    let mut fields = line.split('\t');
    let (store, work) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    let figure = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some((store, work, figure))
}

impl Report {
    fn new(args: &Args, figures: Figures, guest: Vec<Cost>) -> Result<Self, BenchError> {
        let rows: Option<Vec<Judged>> = ROWS.iter().map(|row| row.judged(&figures)).collect();
        let rows = rows.ok_or_else(|| BenchError::StoreFigures(format!("{figures:?}")))?;
        let unit = "nanoseconds of CPU time per operation";
        let Args { records, repetitions, .. } = *args;
        Ok(Self { unit, records, repetitions, figures, rows, guest })
    }

    fn table(&self) -> String {
        let all = self.figures.0.iter().flat_map(|(store, works)| {
            let line = move |(work, figure)| format!("{store:<26}{work:<34}{figure:>10.1}\n");
            works.iter().map(line)
        });
        let unit = [format!("{}, {} records\n\n", self.unit, self.records)];
        let rows = self.rows.iter().map(|row| {
            let Judged { work, ours_ns, bound_ns, because, is_met } = row;
            let verdict = if *is_met { "" } else { "  MISSED" };
            format!("{work:<58}{ours_ns:>8.1} of {bound_ns:>6.1}{verdict}  ({because})\n")
        });
        all.chain(unit).chain(rows).chain([guest_table(&self.guest)]).collect()
    }
}

fn guest_table(costs: &[Cost]) -> String {
    let title = "\nexecuted instructions in this system, IPC included\n".to_owned();
    [title].into_iter().chain(costs.iter().map(Cost::line)).collect()
}

impl Row {
    fn judged(&self, figures: &Figures) -> Option<Judged> {
        let (ours_ns, bound_ns) = ((self.ours)(figures)?, (self.bound)(figures)?);
        let Self { work, because, .. } = *self;
        Some(Judged { work, ours_ns, bound_ns, because, is_met: ours_ns <= bound_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every store takes 1,000 ns for everything.
    fn printed() -> String {
        let stores = [HASH, ORDERED, "pmdk btree", "lmdb-writemap", "HashMap", "BTreeMap"];
        let works = ["insert", "insert in thousands", "lookup"];
        let line = |store, work| format!("{store}\t{work}\t1000.00\n");
        let all = stores.iter().flat_map(|store| works.map(|work| line(store, work)));
        let others = [
            "store, write back, fence\traw\t410.00\n",
            "our hash map\tfind and update\t1600.00\n",
            "our ordered map\tfind and update\t1800.00\n",
            "pmdk hashmap_tx\tinsert\t5000.00\n",
            "pool\topen, 1000 objects\t10.00\npool\topen, 100000 objects\t16.00\n",
            "ours\tsearch a KiB, 2 threads\t51.00\nmemchr\tsearch a KiB, 2 threads\t50.00\n",
            "reference\thop\t5.00\nours\thop\t5.40\nours\thop to another object\t8.00\n",
        ];
        all.chain(others.map(str::to_owned)).collect()
    }

    const ARGS: Args = Args { records: 1000, repetitions: 1, guest: false };

    fn report(printed: &str) -> Report {
        let mut figures = Figures::default();
        figures.add(printed).expect("figures");
        Report::new(&ARGS, figures, Vec::new()).expect("all figures")
    }

    #[test]
    fn bounds_are_scaled_by_the_machine() {
        let report = report(&printed());
        let bounds: Vec<_> = report.rows.iter().map(|row| row.bound_ns.round()).collect();
        let expected = [250.0, 500.0, 1300.0, 333.0, 1200.0, 700.0, 700.0, 600.0, 600.0];
        assert_eq!(bounds[..9], expected);
        let met = report.rows.iter().filter(|row| row.is_met).map(|row| row.work);
        assert_eq!(met.count(), 5);
        let table = report.table();
        assert!(table.contains("600.0 of  700.0  (350 ns"), "{table}");
        assert!(table.contains("800.0 of  700.0  MISSED"), "{table}");
    }

    #[test]
    fn the_least_of_several_figures_counts() {
        let mut figures = Figures::default();
        figures.add("ours\thop\t7.5\n").expect("a figure");
        figures.add("ours\thop\t6.5\n").expect("a figure");
        figures.add("ours\thop\t8.5\n").expect("a figure");
        assert_eq!(figures.of("ours", "hop"), Some(6.5));
    }

    #[test]
    fn what_is_missing_or_no_figure_is_told() {
        let mut figures = Figures::default();
        for line in ["ours", "ours\thop", "ours\thop\tfast", "ours\thop\t1\t2"] {
            assert!(matches!(figures.add(line), Err(BenchError::StoreFigures(_))), "{line}");
        }
        assert!(matches!(
            Report::new(&ARGS, figures, Vec::new()),
            Err(BenchError::StoreFigures(_))
        ));
    }
}
