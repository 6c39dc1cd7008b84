//! The kernel's ring: a root task that tries every object, on the serial line.
//!
//! It prints `test NAME ... ok` or `test NAME ... FAILED: WHY` for each test, at last
//! `kernel tests: N passed, N failed`, and ends the machine through the exit device. It runs
//! with the kernel that ships, sharing its page table with user space and not, and with the kernel
//! that checks itself and has four domains.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::TestError;
use super::tally::Tally;
use crate::commands::build;
use crate::compile::Profile;
use crate::guest::{Ending, Guest};
use crate::progress;
use crate::vm::{Boot, EXIT_PORT, Machine};
use crate::workshop::Workshop;

/// The package with the tests.
const ROOT_TASK: &str = "kernel-tests";

/// Enough for a frame of 1 GiB, which must lie in one piece; with several cores the kernel would
/// divide the memory among its instances.
const MEMORY: &str = "3G";

/// Real time that all tests of one kernel may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Domains of the kernel that checks itself (its feature `four-domains`).
const CHECKED_DOMAINS: u8 = 4;

/// Builds both kernels and the tests, and runs them.
pub(crate) fn run(workshop: &Workshop, filter: &str) -> Result<Tally, TestError> {
    let mut tally = Tally::default();
    for (profile, mitigations) in
        [(Profile::Release, "off"), (Profile::Release, "on"), (Profile::Debug, "on")]
    {
        let kernel = build::kernel(workshop, profile)?;
        let module = build::root_task(workshop, ROOT_TASK)?;
        progress::step(&format!(
            "kernel tests on the {profile:?} kernel, mitigations {mitigations}"
        ));
        let options = format!("mitigations={mitigations} domains={}", domains(profile));
        tally += run_on(&kernel, &module, &options, filter)?;
    }
    // What lies at target/d3os/kernel.elf afterwards is the kernel that ships.
    build::kernel(workshop, Profile::Release)?;
    Ok(tally)
}

/// How many the kernel was built with.
fn domains(profile: Profile) -> u8 {
    match profile {
        Profile::Release => 1,
        Profile::Debug => CHECKED_DOMAINS,
    }
}

fn run_on(kernel: &Path, module: &Path, options: &str, filter: &str) -> Result<Tally, TestError> {
    let filter = if filter.is_empty() { String::new() } else { format!(" filter={filter}") };
    let boot = Boot::Direct {
        kernel: kernel.into(),
        module: module.into(),
        command_line: format!("exit_port={EXIT_PORT:#x} {options}{filter}"),
    };
    let machine = Machine { cores: 1, memory: MEMORY.into(), ..Machine::new(boot) };
    let guest = Guest::start(machine.command()?)?;
    let mut transcript = Transcript::default();
    let ending = guest.watch(PATIENCE, &mut transcript);
    Ok(transcript.tally(&ending))
}

/// What came over the serial line; shown as it comes.
#[derive(Default)]
struct Transcript(Vec<u8>);

impl Write for Transcript {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend(bytes);
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Transcript {
    /// The results line by line; without the closing line something went wrong in between.
    fn tally(&self, ending: &Ending) -> Tally {
        let text = String::from_utf8_lossy(&self.0);
        let mut tally = Tally::default();
        text.lines().filter_map(result).for_each(|passed| tally += Tally::one(passed));
        let expected = format!("kernel tests: {tally}");
        if *ending != Ending::Over || !text.lines().any(|line| line.trim_end() == expected) {
            progress::note(&format!("the tests did not come to their end ({ending:?})"));
            tally += Tally::failure();
        }
        tally
    }
}

fn result(line: &str) -> Option<bool> {
    let (_, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    match result.trim_end() {
        "ok" => Some(true),
        other => other.starts_with("FAILED").then_some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str, ending: &Ending) -> String {
        Transcript(text.as_bytes().to_vec()).tally(ending).to_string()
    }

    #[test]
    fn results_are_counted() {
        let text = "boot\r\ntest a ... ok\r\ntest b ... FAILED: no\r\n\
                    kernel tests: 1 passed, 1 failed\r\n";
        assert_eq!(tally(text, &Ending::Over), "1 passed, 1 failed");
    }

    #[test]
    fn an_early_end_is_a_failure() {
        assert_eq!(tally("test a ... ok\n", &Ending::Over), "1 passed, 1 failed");
        let whole = "test a ... ok\nkernel tests: 1 passed, 0 failed\n";
        assert_eq!(tally(whole, &Ending::Over), "1 passed, 0 failed");
        assert_eq!(tally(whole, &Ending::Dead), "1 passed, 1 failed");
        assert_eq!(tally("", &Ending::TimeOver), "0 passed, 1 failed");
    }
}
