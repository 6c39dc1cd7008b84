//! The host's ring: `cargo nextest` where it is installed, else `cargo test`; and a part of the tests of
//! the kernel and of persistent objects once more under Miri, where that is installed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::TestError;
use super::system::Scope;
use super::tally::Tally;
use crate::paths::Paths;
use crate::process::{self, CommandError};
use crate::progress;
use crate::toolchain;

/// Runs what the workspace's default members test.
pub(crate) fn run(scope: Scope) -> Result<Tally, TestError> {
    let paths = Paths::locate()?;
    let cargo = |arguments: &[&str]| {
        let mut cargo = toolchain::host_cargo();
        cargo.args(arguments).current_dir(paths.root());
        if scope == Scope::All {
            cargo.env("CRASH_TESTS", ALL_CRASHES);
        }
        cargo
    };
    let mut tally = Tally::default();
    if process::succeeds(&mut cargo(&["nextest", "--version"])) {
        tally += counted(&mut cargo(&["nextest", "run", "--no-fail-fast"]))?;
        // Nextest leaves out the examples in documentation.
        tally += counted(&mut cargo(&["test", "--doc", "--no-fail-fast"]))?;
    } else {
        tally += counted(&mut cargo(&["test", "--no-fail-fast"]))?;
    }
    tally += miri(&cargo)?;
    Ok(tally)
}

/// So many times more steps the crash tests of persistent objects make where everything is tested.
const ALL_CRASHES: &str = "4";

/// Tests of a package that Miri, which is a thousand times slower, gets through in minutes.
struct ForMiri {
    package: &'static str,
    tests: &'static [&'static str],
    flags: &'static str,
}

const FOR_MIRI: [ForMiri; 2] = [
    ForMiri {
        package: "kernel-core",
        tests: &["thread_tests::vanishing", "thread_tests::notification", "cnode_tests"],
        // The core has no unsafe code, and the simulated RAM is one slice, whose borrows take Miri
        // most of its time.
        flags: "-Zmiri-disable-stacked-borrows",
    },
    // What makes references of bytes: copies of transactions, guards, values, links between objects.
    ForMiri {
        package: "libd3os-object",
        tests: &[
            "fot_tests::pointers_lead",
            "persist::tests::only_aligned",
            "persist::tests::values_are",
            "snapshot_tests::what_has_no_room",
            "tx_tests::a_transaction_sees",
            "tx_tests::nested_parts",
            "tx_tests::pointers_that",
        ],
        flags: "",
    },
];

/// Runs these under the first Miri that is found: that of the toolchain in use, or a nightly one's.
fn miri(cargo: &impl Fn(&[&str]) -> Command) -> Result<Tally, CommandError> {
    for miri in [&["miri"][..], &["+nightly", "miri"]] {
        if process::succeeds(&mut cargo(&[miri, &["--version"]].concat())) {
            let mut tally = Tally::default();
            for ForMiri { package, tests, flags } in FOR_MIRI {
                let what = ["test", "--package", package, "--lib", "--"];
                let mut run = cargo(&[miri, &what, tests].concat());
                tally += counted(run.env("MIRIFLAGS", flags))?;
            }
            return Ok(tally);
        }
    }
    progress::note("without Miri: `rustup component add miri --toolchain nightly` brings it");
    Ok(Tally::default())
}

/// Runs a test runner, shows what it prints, and reads its closing lines.
fn counted(command: &mut Command) -> Result<Tally, CommandError> {
    let line = process::line(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|source| CommandError::NotStarted { line: line.clone(), source })?;
    let mut tally = read_both(&mut child);
    let status = child.wait().map_err(|source| CommandError::NotStarted { line, source })?;
    // Tests that do not compile are counted by nobody else.
    if !status.success() && tally.failed() == 0 {
        tally += Tally::failure();
    }
    Ok(tally)
}

fn read_both(child: &mut Child) -> Tally {
    let errors = child.stderr.take();
    let reader = thread::spawn(move || errors.map(sum).unwrap_or_default());
    let mut tally = child.stdout.take().map(sum).unwrap_or_default();
    tally += reader.join().unwrap_or_default();
    tally
}

fn sum(source: impl Read) -> Tally {
    let mut tally = Tally::default();
    for line in BufReader::new(source).lines().map_while(Result::ok) {
        eprintln!("{line}");
        if let Some(found) = closing_line(&line) {
            tally += found;
        }
    }
    tally
}

/// What a runner's last line says: `test result: ok. 3 passed; 0 failed; ...` of cargo,
/// `Summary [0.1s] 4 tests run: 3 passed (1 slow), 1 failed, 2 skipped` of nextest.
fn closing_line(line: &str) -> Option<Tally> {
    // Nextest repeats what a failed test's own process printed, indented: that is not counted.
    let counts = line.strip_prefix("test result: ").or_else(|| {
        let summary = line.trim_start().strip_prefix("Summary [")?;
        summary.split_once("run: ").map(|(_, counts)| counts)
    })?;
    let failures = ["failed", "timed out", "exec failed"];
    let failed = failures.iter().map(|word| number_before(counts, word)).sum();
    Some(Tally::new(number_before(counts, "passed"), failed))
}

/// The number in a part like `12 passed (1 slow)`.
fn number_before(counts: &str, word: &str) -> u32 {
    let parts = counts.split([',', ';', '.']).map(str::trim);
    let number = |part: &str| -> Option<u32> {
        let (number, what) = part.split_once(' ')?;
        let what = what.split_once(" (").map_or(what, |(what, _)| what);
        (what == word).then(|| number.parse().ok()).flatten()
    };
    parts.filter_map(number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read() {
        let read = |line| closing_line(line).map(|tally| tally.to_string());
        let cargo =
            "test result: FAILED. 25 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out";
        assert_eq!(read(cargo).as_deref(), Some("25 passed, 1 failed"));
        let nextest = "     Summary [   1.234s] 34 tests run: 31 passed (2 slow), 2 failed, \
                       1 timed out, 4 skipped";
        assert_eq!(read(nextest).as_deref(), Some("31 passed, 3 failed"));
        let small = "     Summary [   0.001s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(read(small).as_deref(), Some("1 passed, 0 failed"));
        assert_eq!(read("test a::b ... ok"), None);
        assert_eq!(read("    test result: FAILED. 0 passed; 1 failed; 0 ignored"), None);
    }

    #[test]
    fn what_does_not_even_start_counts_as_failed() {
        let tally = counted(Command::new("sh").args(["-c", "echo no tests here; exit 101"]));
        assert_eq!(tally.expect("a shell"), Tally::failure());
    }
}
