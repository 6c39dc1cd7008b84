//! `bench io`: executed instructions of network traffic, beside a Linux guest on the same emulator.
//!
//! Both guests run a program that echoes datagrams and takes and sends streams, and passes marks
//! between which the plugin counts. The host's side drives both in the same way. What a guest
//! executes while it idles is no work: `hlt` counts once.
//!
//! Time in the guests is real: their clocks tick meanwhile, and whether a card's next frame comes before
//! its driver sleeps is a matter of the host's speed. So runs of either system differ, by up to a quarter.
//! Each guest runs several times, and of each row the least counts, of both systems alike: the work
//! itself, with as little as was seen of what came between. The most is shown beside it.

mod traffic;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use libd3os::mark::io::{BYTES, ECHOES};
use libd3os::mark::{Phase, Plan};
use serde::Serialize;

use self::traffic::{Ports, Traffic};
use super::counting::{self, Passed, grouped};
use super::{BenchError, plugin};
use crate::commands::build;
use crate::commands::qemu::script::Module;
use crate::compile::Profile;
use crate::linux;
use crate::process::{self, CommandError};
use crate::progress;
use crate::vm::{Boot, EXIT_PORT, Machine, Network, NicChoice};
use crate::workshop::Workshop;

/// What our shell is given to run: a driver is killed while the host sends, and the servers start,
/// once the network answers again; they do not end.
fn lines(card: Card) -> String {
    format!("ping -n 1 10.0.2.2; kill {}; ping -n 3 10.0.2.2; run serve --measured", card.driver())
}
/// How often each guest runs.
const RUNS: u32 = 3;
/// How long a guest may take to end after the last mark.
const LAST_MOMENTS: Duration = Duration::from_secs(20);

/// Options of `bench io`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this card.
    #[arg(long, value_enum)]
    nic: Option<Card>,
    /// Only this system.
    #[arg(long, value_enum)]
    only: Option<System>,
    /// How often each guest runs; of each row the least counts.
    #[arg(long, default_value_t = RUNS, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Cards that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
enum Card {
    Virtio,
    E1000e,
}

impl Card {
    const fn driver(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-net",
            Self::E1000e => "e1000e",
        }
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
enum System {
    /// This system.
    Ours,
    /// Debian's Linux.
    Linux,
}

/// What is measured, in the order in which the host asks for it.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Datagrams of so many bytes, so many under way.
    Echo { bytes: usize, window: u64 },
    /// A stream to the guest.
    Receive,
    /// A stream from it.
    Send,
}

struct Row {
    name: &'static str,
    work: Work,
    /// What ours may take at most, as a part of what Linux takes.
    bound: f64,
}

/// Datagrams under way when the guest is never idle.
const BUSY: u64 = 32;

const ROWS: [Row; 6] = [
    Row {
        name: "UDP echo, 64 B, one at a time",
        work: Work::Echo { bytes: 64, window: 1 },
        bound: 0.5,
    },
    Row {
        name: "UDP echo, 1,400 B, one at a time",
        work: Work::Echo { bytes: 1400, window: 1 },
        bound: 0.5,
    },
    Row {
        name: "UDP echo, 64 B, 32 under way",
        work: Work::Echo { bytes: 64, window: BUSY },
        bound: 0.5,
    },
    Row {
        name: "UDP echo, 1,400 B, 32 under way",
        work: Work::Echo { bytes: 1400, window: BUSY },
        bound: 0.5,
    },
    Row { name: "TCP received, a KiB", work: Work::Receive, bound: 1.0 },
    Row { name: "TCP sent, a KiB", work: Work::Send, bound: 1.0 },
];

/// Instructions of one piece of work.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figure {
    /// Executed.
    instructions: f64,
    /// Of them, the kernel's.
    kernel: f64,
    /// Datagrams that were lost meanwhile.
    lost: u64,
}

/// One guest with one card.
#[derive(Clone, Debug, Serialize)]
struct Run {
    system: System,
    card: Card,
    /// By row.
    figures: Vec<Figure>,
    /// Instructions from killing the card's driver to the first frame that its successor moved; the
    /// other system's drivers are not killed.
    restart: Option<u64>,
}

impl Args {
    /// Measures, prints the table, writes the JSON with all runs; fails where a bound is missed.
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        let workshop = Workshop::open()?;
        let mut runs = Vec::new();
        // One after another rather than each system by itself: what slows the host meets both.
        for number in 1..=self.runs {
            for (system, card) in self.guests() {
                progress::step(&format!(
                    "counting {}, {number} of {}",
                    title(system, card),
                    self.runs
                ));
                runs.push(measure(&workshop, system, card)?);
            }
        }
        let rows: Vec<Span> = self.guests().filter_map(|guest| Span::of(&runs, guest)).collect();
        print!("{}", table(&rows));
        let path = workshop.paths.out().join("bench/io.json");
        build::write(&path, serde_json::to_string_pretty(&runs)?.as_bytes())?;
        println!("{}", path.display());
        let is_met = pairs(&rows).all(|(row, ours, linux)| is_met(row, ours, linux));
        Ok(if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Whom to measure with which card.
    fn guests(&self) -> impl Iterator<Item = (System, Card)> + use<> {
        let (nic, only) = (self.nic, self.only);
        let cards = [Card::Virtio, Card::E1000e].into_iter();
        let cards = cards.filter(move |card| nic.is_none_or(|only| only == *card));
        cards.flat_map(move |card| {
            let systems = [System::Ours, System::Linux].into_iter();
            let systems = systems.filter(move |system| only.is_none_or(|only| only == *system));
            systems.map(move |system| (system, card))
        })
    }
}

/// The runs of one guest with one card: the least and the most of each row.
#[derive(Debug)]
struct Span {
    least: Run,
    most: Run,
    runs: usize,
}

impl Span {
    /// `None` where there was no run.
    fn of(runs: &[Run], (system, card): (System, Card)) -> Option<Self> {
        let mut runs = runs.iter().filter(|run| run.system == system && run.card == card);
        let first = runs.next()?;
        let mut span = Self { least: first.clone(), most: first.clone(), runs: 1 };
        runs.for_each(|run| span.add(run));
        Some(span)
    }

    fn add(&mut self, run: &Run) {
        self.runs += 1;
        let spans = self.least.figures.iter_mut().zip(&mut self.most.figures);
        for ((least, most), figure) in spans.zip(&run.figures) {
            if figure.instructions < least.instructions {
                *least = *figure;
            }
            if figure.instructions > most.instructions {
                *most = *figure;
            }
        }
        self.least.restart = self.least.restart.min(run.restart);
        self.most.restart = self.most.restart.max(run.restart);
    }
}

fn measure(workshop: &Workshop, system: System, card: Card) -> Result<Run, BenchError> {
    let network = |source| BenchError::Network { guest: title(system, card), source };
    let ports = Ports::free().map_err(network)?;
    let nics = match card {
        Card::Virtio => NicChoice::Virtio,
        Card::E1000e => NicChoice::E1000e,
    };
    // Removed when dropped: the machine reads it when it starts.
    let (boot, _module) = boot(workshop, system, card)?;
    let machine = Machine {
        cores: 1,
        network: Network { forwards: ports.forwards(), ..Network::new(nics) },
        ..Machine::new(boot)
    };
    let first = match system {
        System::Ours => Phase::Killed,
        System::Linux => Phase::Lap,
    };
    let guest = Guest::start(workshop, &machine, first)?;
    let lost = drive(ports).map_err(network)?;
    let marks = guest.marks()?;
    let figures = figures(&marks, &lost).ok_or(BenchError::NoMark(Phase::Lap as u32))?;
    let restart = restart(&marks);
    if restart.is_none() && system == System::Ours {
        return Err(BenchError::NoMark(Phase::FirstFrame as u32));
    }
    Ok(Run { system, card, figures, restart })
}

fn title(system: System, card: Card) -> String {
    let system = match system {
        System::Ours => "D3OS",
        System::Linux => "Linux",
    };
    format!("{system}, {card:?}").to_lowercase()
}

/// What the system boots from, and the file that is only for this run.
fn boot(
    workshop: &Workshop,
    system: System,
    card: Card,
) -> Result<(Boot, Option<Module>), BenchError> {
    match system {
        System::Ours => {
            let kernel = build::kernel(workshop, Profile::Release)?;
            let module = Module::write(workshop, build::DEFAULT_IMAGE, lines(card))?;
            let command_line = format!("exit_port={EXIT_PORT:#x}");
            let boot = Boot::Direct { kernel, module: module.path().into(), command_line };
            Ok((boot, Some(module)))
        }
        System::Linux => {
            let modules = match card {
                Card::Virtio => &["virtio_pci", "virtio_net"][..],
                Card::E1000e => &["e1000e"],
            };
            let guest = linux::guest(workshop, modules)?;
            let command_line = "console=ttyS0 panic=-1 quiet -- 10.0.2.15".to_owned();
            let boot = Boot::Direct { kernel: guest.kernel, module: guest.initramfs, command_line };
            Ok((boot, None))
        }
    }
}

/// Does all the work with a guest; returns the datagrams lost in each row.
fn drive(ports: Ports) -> io::Result<Vec<u64>> {
    let traffic = Traffic::with(ports)?;
    let mut lost = Vec::new();
    for row in &ROWS {
        lost.push(match row.work {
            Work::Echo { bytes, window } => traffic.echo(bytes, window)?,
            Work::Receive => traffic.send_stream().map(|()| 0)?,
            Work::Send => traffic.receive_stream().map(|_| 0)?,
        });
    }
    traffic.end()?;
    Ok(lost)
}

/// A running guest whose instructions are counted.
struct Guest {
    qemu: Child,
    counts: PathBuf,
}

impl Guest {
    /// Starts it; its instructions are counted from the mark `first` on.
    fn start(workshop: &Workshop, machine: &Machine, first: Phase) -> Result<Self, BenchError> {
        let counts = workshop.paths.out().join(format!("run/{}.counts", std::process::id()));
        create_parent(&counts)?;
        let plugin = plugin::build(workshop)?;
        let (plugin, out, last) = (plugin.display(), counts.display(), Phase::Measured as u32);
        let mut qemu = machine.command()?;
        let first = first as u32;
        qemu.arg("-plugin").arg(format!("{plugin},first={first},last={last},out={out}"));
        qemu.stdin(Stdio::null()).stdout(Stdio::null());
        let line = process::line(&qemu);
        let qemu = qemu.spawn().map_err(|source| CommandError::NotStarted { line, source })?;
        Ok(Self { qemu, counts })
    }

    /// Waits for the end of the machine, which the last mark brings.
    fn marks(mut self) -> Result<Vec<Passed>, BenchError> {
        let end = Instant::now() + LAST_MOMENTS;
        while self.qemu.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = fs::read_to_string(&self.counts)
            .map_err(|_| BenchError::NotReached(LAST_MOMENTS.as_secs()))?;
        Ok(counting::parse(&text))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // One that has ended needs nothing; its counts left behind only take room.
        let _ended = self.qemu.kill().and_then(|()| self.qemu.wait());
        let _left = fs::remove_file(&self.counts);
    }
}

fn create_parent(path: &Path) -> Result<(), BenchError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| BenchError::Io { path: folder.into(), source })
}

/// Instructions from the first kill to the next first frame of a driver.
fn restart(marks: &[Passed]) -> Option<u64> {
    let mut marks = marks.iter().skip_while(|mark| mark.phase != Phase::Killed as u32);
    let killed = marks.next()?;
    let moved = marks.find(|mark| mark.phase == Phase::FirstFrame as u32)?;
    Some(moved.executed - killed.executed)
}

/// Each row passes three marks, in the order of the rows.
fn figures(marks: &[Passed], lost: &[u64]) -> Option<Vec<Figure>> {
    let laps: Vec<&Passed> = marks.iter().filter(|mark| mark.phase == Phase::Lap as u32).collect();
    let rows = ROWS.iter().zip(lost).enumerate();
    rows.map(|(number, (row, lost))| {
        let [first, second, third] = *laps.get(3 * number..3 * number + 3)? else { return None };
        let per = |count: fn(&Passed) -> u64| {
            per_unit(row.work, [count(first), count(second), count(third)])
        };
        Some(Figure {
            instructions: per(|mark| mark.executed),
            kernel: per(|mark| mark.kernel),
            lost: *lost,
        })
    })
    .collect()
}

/// What one echo, or one KiB, takes, over both laps, which are three times a measurement's units. What
/// a lap itself takes is a few instructions of millions; the difference of the two laps would be free
/// of that, and twice as far off where the guest's clocks tick differently often.
#[expect(clippy::cast_precision_loss, reason = "counts of at most billions, for people to read")]
fn per_unit(work: Work, [first, _, third]: [u64; 3]) -> f64 {
    let units = match work {
        Work::Echo { .. } => rounds(ECHOES),
        Work::Receive | Work::Send => rounds(BYTES) / 1024.0,
    };
    (third as f64 - first as f64) / (3.0 * units)
}

#[expect(clippy::cast_precision_loss, reason = "a plan has millions of operations at most")]
fn rounds(plan: Plan) -> f64 {
    plan.rounds as f64
}

/// Rows with both systems' least figures, card by card.
fn pairs(spans: &[Span]) -> impl Iterator<Item = (&'static Row, Figure, Figure)> {
    let runs = || spans.iter().map(|span| &span.least);
    let of = move |system, card| runs().find(move |run| run.system == system && run.card == card);
    let both = [Card::Virtio, Card::E1000e]
        .into_iter()
        .filter_map(move |card| Some((of(System::Ours, card)?, of(System::Linux, card)?)));
    both.flat_map(|(ours, linux)| {
        let figures = ours.figures.iter().copied().zip(linux.figures.iter().copied());
        ROWS.iter().zip(figures).map(|(row, (ours, linux))| (row, ours, linux))
    })
}

fn is_met(row: &Row, ours: Figure, linux: Figure) -> bool {
    ours.instructions <= linux.instructions * row.bound
}

fn table(spans: &[Span]) -> String {
    let mut lines = Vec::new();
    for span in spans {
        lines.extend(guest_lines(span));
    }
    for (row, ours, linux) in pairs(spans) {
        let ratio = ours.instructions / linux.instructions;
        let verdict = if is_met(row, ours, linux) { "met" } else { "MISSED" };
        lines.push(format!(
            "{:<36}{ratio:>8.2} of Linux's, at most {:.2}: {verdict}",
            row.name, row.bound
        ));
    }
    lines.join("\n") + "\n"
}

/// What one guest needed with one card.
fn guest_lines(span: &Span) -> Vec<String> {
    let Span { least, most, runs } = span;
    let name = format!("{}, least of {runs}", title(least.system, least.card));
    let line =
        |name: &str, [a, b, c, d]: [&str; 4]| format!("{name:<36}{a:>14}{b:>14}{c:>14}{d:>8}");
    let mut lines = vec![line(&name, ["instructions", "kernel", "most", "lost"])];
    for (row, (least, most)) in ROWS.iter().zip(least.figures.iter().zip(&most.figures)) {
        let cells = [least.instructions, least.kernel, most.instructions].map(rounded);
        let lost = least.lost.to_string();
        lines.push(line(row.name, [&cells[0], &cells[1], &cells[2], &lost]));
    }
    if let (Some(least), Some(most)) = (least.restart, most.restart) {
        let cells = [least, most].map(grouped);
        lines.push(line("driver killed to its first frame", [&cells[0], "", &cells[1], ""]));
    }
    lines
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people to read; negative is zero"
)]
fn rounded(figure: f64) -> String {
    grouped(figure.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(executed: u64) -> Passed {
        Passed { phase: Phase::Lap as u32, executed, kernel: executed / 2, ..Passed::default() }
    }

    #[test]
    fn laps_become_figures() {
        let rounds = ECHOES.rounds;
        // 100 instructions an echo, and 7 a lap.
        let row = [50, 50 + 100 * rounds + 7, 50 + 300 * rounds + 14];
        let marks: Vec<Passed> = ROWS.iter().flat_map(|_| row.map(mark)).collect();
        let figures = figures(&marks, &[0; ROWS.len()]).expect("all marks");
        assert!((figures[0].instructions - 100.0).abs() < 0.1, "{figures:?}");
        assert!((figures[0].kernel - 50.0).abs() < 0.1, "{figures:?}");
        assert!(super::figures(&marks[1..], &[0; ROWS.len()]).is_none(), "a mark is missing");
    }

    #[test]
    fn a_restart_is_from_the_kill_to_the_next_first_frame() {
        let passed = |phase: Phase, executed| Passed { phase: phase as u32, ..mark(executed) };
        let (killed, moved) = (Phase::Killed, Phase::FirstFrame);
        let marks = [passed(moved, 5), passed(killed, 10), mark(15), passed(moved, 30)];
        assert_eq!(restart(&marks), Some(20));
        assert_eq!(restart(&marks[..3]), None);
        assert_eq!(restart(&[]), None);
    }

    #[test]
    fn of_each_row_the_least_counts_and_the_most_is_known() {
        let run = |figures: [f64; 2], restart| Run {
            system: System::Ours,
            card: Card::E1000e,
            figures: figures
                .map(|it| Figure { instructions: it, kernel: it / 2.0, lost: 0 })
                .into(),
            restart,
        };
        let runs = [run([5.0, 2.0], Some(9)), run([3.0, 4.0], Some(7)), run([4.0, 3.0], Some(8))];
        let span = Span::of(&runs, (System::Ours, Card::E1000e)).expect("there are runs");
        let of = |run: &Run| run.figures.iter().map(|it| (it.instructions, it.kernel)).collect();
        let (least, most): (Vec<_>, Vec<_>) = (of(&span.least), of(&span.most));
        assert_eq!(least, [(3.0, 1.5), (2.0, 1.0)]);
        assert_eq!(most, [(5.0, 2.5), (4.0, 2.0)]);
        assert_eq!((span.least.restart, span.most.restart, span.runs), (Some(7), Some(9), 3));
        assert!(Span::of(&runs, (System::Linux, Card::E1000e)).is_none());
    }

    #[test]
    fn half_of_linux_is_the_bound_of_echoes() {
        let figure = |instructions| Figure { instructions, kernel: 0.0, lost: 0 };
        assert!(is_met(&ROWS[0], figure(50.0), figure(100.0)));
        assert!(!is_met(&ROWS[0], figure(51.0), figure(100.0)));
        assert!(is_met(&ROWS[4], figure(100.0), figure(100.0)));
    }
}
