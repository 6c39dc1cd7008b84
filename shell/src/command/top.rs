//! `top`: cores, programs, memory and messages, drawn again and again.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;

use libd3os::service::supervisor::{CoreState, CoreStatus, ProgramStatus};

use super::{Argument, Arguments, Background, Command, CommandError, Flag, Kind, Presence, ps};
use crate::chart::{bar, sparkline};
use crate::live::{Pace, show};
use crate::parser::Place;
use crate::sample::{History, Sample, Series};
use crate::session::Session;
use crate::style::{Role, Style};
use crate::table::{Cell, Column, Table};
use crate::units::{bytes, counted, microseconds};

/// Columns of a sparkline and of a bar.
const PICTURE: usize = 20;
/// Thousandths of a second that a processor has in a second.
const WHOLE: u64 = 1000;
/// Lines of the terminal that the frame leaves to its end and to the hint.
const BELOW: usize = 2;

pub(super) static TOP: Command = Command {
    name: "top",
    summary: "a live view of cores, programs and messages",
    arguments: &[],
    flags: &[FRAMES, INTERVAL],
    background: Background::Refused,
    help: "Cores with the share of time that their programs used, memory in use, programs by their \
           share of a processor, and for every service that the shell may observe, its messages \
           (calls that it got and made) and interrupts in a second. The pictures at the right are \
           the last values, the newest at their right end.\n\n\
           A script gets one frame; with -n so many.",
    run,
};

/// How many frames are drawn.
pub(super) const FRAMES: Flag = Flag {
    name: "-n",
    value: Argument {
        name: "N",
        kind: Kind::Count,
        presence: Presence::Required,
        about: "how many frames to draw",
    },
};

/// How fast.
pub(super) const INTERVAL: Flag = Flag {
    name: "-d",
    value: Argument {
        name: "MS",
        kind: Kind::Count,
        presence: Presence::Required,
        about: "milliseconds from one to the next",
    },
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let interval_ms = arguments.count("MS").unwrap_or(1000);
    let pace = Pace { interval_ms, frames: arguments.count("N") };
    let (style, width) = (session.style(), session.width());
    let lines = session.height().map_or(usize::MAX, |height| height.saturating_sub(BELOW));
    let mut history = History::default();
    show(session, pace, |system| {
        let sample = Sample::take(system)?;
        history.add(&sample);
        Ok(frame(&sample, &history, width, style, lines))
    })
}

/// The frame of a sample, of at most so many lines. Half of what the head leaves belongs to the
/// programs, or more where there are few services; what does least is left out first.
fn frame(
    sample: &Sample,
    history: &History,
    width: Option<usize>,
    style: Style,
    lines: usize,
) -> String {
    let head = format!("{}\n\n{}\n", title(sample), cores(sample, history).render(width, style));
    let room = lines.saturating_sub(head.lines().count() + 1);
    let table = services(sample, history, room / 2).render(width, style);
    let programs = programs(sample, history, room - table.lines().count()).render(width, style);
    format!("{head}{programs}\n{table}")
}

fn title(sample: &Sample) -> String {
    let Sample { info, cores, services, .. } = sample;
    let running = cores.iter().filter(|core| core.state == CoreState::Running).count() as u64;
    format!(
        "D3OS {}, up {}: {}, {}, {} of RAM",
        info.version,
        microseconds(info.uptime_us),
        counted(running, "core", "cores"),
        counted(services.len() as u64, "service", "services"),
        bytes(info.ram_bytes),
    )
}

fn cores(sample: &Sample, history: &History) -> Table<6> {
    let mut table = Table::new([
        Column::right("CORE"),
        Column::right("BUSY"),
        Column::left(""),
        Column::right("MEMORY"),
        Column::right("FREE"),
        Column::left(""),
    ]);
    for core in sample.cores.iter().filter(|core| core.state == CoreState::Running) {
        let rates = history.rates(&Series::Core(core.core));
        let used = core.ram_bytes.saturating_sub(core.free_bytes);
        let CoreStatus { ram_bytes, free_bytes, .. } = *core;
        table.row([
            core.core.to_string().into(),
            share(rates.last().copied().unwrap_or(0)).into(),
            Cell::new(Role::Good, sparkline(rates, WHOLE, PICTURE)),
            bytes(ram_bytes).into(),
            bytes(free_bytes).into(),
            Cell::new(Role::Faint, bar(used, ram_bytes, PICTURE)),
        ]);
    }
    table
}

fn programs(sample: &Sample, history: &History, room: usize) -> Table<7> {
    let mut table = Table::new([
        Column::left("PROGRAM"),
        Column::right("CORE"),
        Column::right("CPU"),
        Column::left(""),
        Column::right("CPU TIME"),
        Column::left("STATE"),
        Column::right("RESTARTS"),
    ]);
    let series = |program: &ProgramStatus| Series::Program(program.name.clone(), program.core);
    let mut shown: Vec<&ProgramStatus> = Vec::new();
    for program in &sample.programs {
        // A program's threads share a line.
        if !shown.iter().any(|known| series(known) == series(program)) {
            shown.push(program);
        }
    }
    shown.sort_by_key(|program| Reverse((history.rate(&series(program)), program.cpu_us)));
    for program in shown.into_iter().take(room.saturating_sub(1)) {
        let rates = history.rates(&series(program));
        table.row([
            Cell::new(Role::Name, program.name.as_str()),
            program.core.to_string().into(),
            share(rates.last().copied().unwrap_or(0)).into(),
            Cell::new(Role::Good, sparkline(rates, WHOLE, PICTURE)),
            microseconds(program.cpu_us).into(),
            ps::state(program.state),
            program.restarts.to_string().into(),
        ]);
    }
    table
}

fn services(sample: &Sample, history: &History, room: usize) -> Table<5> {
    let mut table = Table::new([
        Column::left("SERVICE"),
        Column::right("MESSAGES/S"),
        Column::left(""),
        Column::right("INTERRUPTS/S"),
        Column::left(""),
    ]);
    let observed = sample.services.iter().filter(|(_, counts)| !counts.is_empty());
    let mut shown: Vec<_> = observed.map(|(service, _)| service).collect();
    shown.sort_by_key(|service| Reverse(history.rate(&Series::Messages(service.name.clone()))));
    for service in shown.into_iter().take(room.saturating_sub(1)) {
        let rates = |series| history.rates(&series);
        let messages = rates(Series::Messages(service.name.clone()));
        let interrupts = rates(Series::Interrupts(service.name.clone()));
        let newest = |rates: &[u64]| rates.last().copied().unwrap_or(0).to_string();
        table.row([
            Cell::new(Role::Name, service.name.as_str()),
            newest(messages).into(),
            Cell::new(Role::Good, relative(messages)),
            newest(interrupts).into(),
            Cell::new(Role::Good, relative(interrupts)),
        ]);
    }
    table
}

/// A sparkline whose highest value fills its block.
fn relative(rates: &[u64]) -> String {
    let shown = rates.get(rates.len().saturating_sub(PICTURE)..).unwrap_or(rates);
    sparkline(rates, shown.iter().copied().max().unwrap_or(0), PICTURE)
}

/// Thousandths of a second in a second, as a share of a processor.
fn share(thousandths: u64) -> String {
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn second_frame(lines: usize) -> String {
        let mut sample = Sample::take(&mut Fake::default()).unwrap();
        let mut history = History::default();
        history.add(&sample);
        sample.info.uptime_us += 1_000_000;
        sample.programs[2].cpu_us += 250_000;
        sample.services[0].1[0].value += 40;
        history.add(&sample);
        frame(&sample, &history, None, Style::Plain, lines)
    }

    #[test]
    fn a_frame_shows_what_changed() {
        let text = second_frame(usize::MAX);
        let rows: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let row = |name: &str| rows.iter().find(|row| row.first() == Some(&name)).expect("a row");
        assert!(text.starts_with("D3OS 0.1.0, up 3 min 21 s: 1 core, "), "{text}");
        assert_eq!(row("0")[1..4], ["25.0", "%", "▂"], "{text}");
        assert_eq!(row("shell")[1..5], ["0", "25.0", "%", "▂"], "{text}");
        assert_eq!(row("log")[1..], ["40", "█", "0"], "{text}");
        assert!(!text.contains("mystery"), "it cannot be observed");
    }

    #[test]
    fn the_busiest_programs_are_shown_where_there_is_little_room() {
        let text = second_frame(12);
        assert!(text.lines().count() <= 12, "{text}");
        assert!(text.contains("shell") && !text.contains("hello"), "{text}");
        assert!(text.contains("SERVICE"), "{text}");
    }
}
