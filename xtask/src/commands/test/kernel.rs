//! The kernel's ring: a root task that tries every object, on the serial line.
//!
//! It prints `test NAME ... ok` or `test NAME ... FAILED: WHY` for each test, at last
//! `kernel tests: N passed, N failed`, and ends the machine through the exit device. It runs
//! with the kernel that ships, sharing its page table with user space and not, and with the kernel
//! that checks itself and has four domains: all tests but those of several instances on one core,
//! those on two, four and eight, with memory in two nodes and a device that sends messages.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::tally::Tally;
use super::{TestError, entry};
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

/// The tests of several instances, and on which machines they run: kernel, mitigations, cores.
const SEVERAL: &str = "multikernel";
const SEVERAL_CORES: [(Profile, &str, u32); 4] = [
    (Profile::Release, "off", 2),
    (Profile::Release, "on", 4),
    (Profile::Release, "off", 8),
    (Profile::Debug, "on", 4),
];
/// What the walk through the entry code is called in a filter.
const ENTRY: &str = "registers::entry";
/// MiB of RAM with several cores, half in each of two nodes.
const SEVERAL_MEMORY: u64 = 1024;

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
        let machine = Setting { mitigations, domains: domains(profile), cores: 1 };
        if filter.is_empty() || !filter.starts_with(SEVERAL) {
            tally += run_on(&kernel, &module, machine, filter)?;
        }
        tally += run_on_several(&kernel, &module, (profile, mitigations), filter)?;
        if profile == Profile::Release
            && (ENTRY.contains(filter) || filter.starts_with(entry::GROUP))
        {
            progress::step(&format!("entry code, mitigations {mitigations}"));
            tally += walk(&kernel, &module, mitigations)?;
        }
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

/// What tests are run on.
#[derive(Clone, Copy, Debug)]
struct Setting {
    mitigations: &'static str,
    domains: u8,
    cores: u32,
}

impl Setting {
    fn options(self) -> String {
        let Self { mitigations, domains, cores } = self;
        let options =
            format!("exit_port={EXIT_PORT:#x} mitigations={mitigations} domains={domains}");
        if cores == 1 {
            return options;
        }
        format!("{options} second_node={}", SEVERAL_MEMORY << 20 >> 1)
    }

    fn memory(self) -> String {
        if self.cores == 1 { MEMORY.into() } else { format!("{SEVERAL_MEMORY}M") }
    }

    /// With several cores: two nodes, and a device that sends messages.
    fn devices(self) -> Vec<OsString> {
        if self.cores == 1 {
            return Vec::new();
        }
        let (half, last) = (self.cores / 2, self.cores - 1);
        let mut arguments = vec!["-device".to_owned(), "edu".to_owned()];
        for (node, cpus) in [(0, format!("0-{}", half - 1)), (1, format!("{half}-{last}"))] {
            let size = SEVERAL_MEMORY / 2;
            arguments.push("-object".into());
            arguments.push(format!("memory-backend-ram,id=ram{node},size={size}M"));
            arguments.push("-numa".into());
            arguments.push(format!("node,nodeid={node},cpus={cpus},memdev=ram{node}"));
        }
        arguments.into_iter().map(OsString::from).collect()
    }
}

/// The tests of several instances on the machines that are this kernel's, if they are asked for.
fn run_on_several(
    kernel: &Path,
    module: &Path,
    (profile, mitigations): (Profile, &'static str),
    filter: &str,
) -> Result<Tally, TestError> {
    let mut tally = Tally::default();
    let Some(filter) = several_filter(filter) else { return Ok(tally) };
    for (_, _, cores) in SEVERAL_CORES.into_iter().filter(|m| (m.0, m.1) == (profile, mitigations))
    {
        progress::step(&format!("tests of {cores} instances"));
        let machine = Setting { mitigations, domains: domains(profile), cores };
        tally += run_on(kernel, module, machine, filter)?;
    }
    Ok(tally)
}

/// Walks through the kernel's entry code while the tests of registers run.
fn walk(kernel: &Path, module: &Path, mitigations: &'static str) -> Result<Tally, TestError> {
    let boot = Boot::Direct {
        kernel: kernel.into(),
        module: module.into(),
        command_line: format!(
            "exit_port={EXIT_PORT:#x} mitigations={mitigations} filter={}::",
            entry::GROUP
        ),
    };
    let socket = entry::Socket::new();
    let extra = socket.arguments().into_iter().map(OsString::from).collect();
    let machine = Machine { cores: 1, extra, ..Machine::new(boot) };
    let guest = Guest::start(machine.command()?)?;
    let roots = if mitigations == "off" { entry::Roots::Shared } else { entry::Roots::Separate };
    let mut tally = entry::walk(kernel, &socket, roots);
    let mut transcript = Transcript::default();
    let patience = if tally.all_passed() { PATIENCE } else { Duration::ZERO };
    let ending = guest.watch(patience, &mut transcript);
    tally += transcript.tally(&ending);
    Ok(tally)
}

/// What is asked for among the tests of several instances.
fn several_filter(filter: &str) -> Option<&str> {
    if SEVERAL.contains(filter) {
        return Some(SEVERAL);
    }
    filter.starts_with(SEVERAL).then_some(filter)
}

fn run_on(
    kernel: &Path,
    module: &Path,
    setting: Setting,
    filter: &str,
) -> Result<Tally, TestError> {
    let filter = if filter.is_empty() { String::new() } else { format!(" filter={filter}") };
    let boot = Boot::Direct {
        kernel: kernel.into(),
        module: module.into(),
        command_line: format!("{}{filter}", setting.options()),
    };
    let machine = Machine {
        cores: setting.cores,
        memory: setting.memory(),
        extra: setting.devices(),
        ..Machine::new(boot)
    };
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
    fn several_instances_are_tried_unless_others_are_asked_for() {
        assert_eq!(several_filter(""), Some(SEVERAL));
        assert_eq!(several_filter("multi"), Some(SEVERAL));
        assert_eq!(several_filter("multikernel::tokens"), Some("multikernel::tokens"));
        assert_eq!(several_filter("endpoint"), None);
    }

    #[test]
    fn nodes_share_cores_and_memory() {
        let setting = Setting { mitigations: "on", domains: 1, cores: 4 };
        let devices = setting.devices().join(&OsString::from(" "));
        let devices = devices.to_string_lossy();
        assert!(devices.contains("nodeid=1,cpus=2-3,memdev=ram1"), "{devices}");
        assert!(setting.options().ends_with("second_node=536870912"));
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
