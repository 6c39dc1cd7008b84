//! `plot`: a counter of a server over time, as a chart: of block characters, over which a terminal
//! with graphics draws a line.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use libd3os::observe::{Count, names};
use libd3os::service::console::{GRAPH_VALUES, Graph};

use super::top::INTERVAL;
use super::trace::{SERVICE, observable};
use super::{Argument, Arguments, Background, Command, CommandError, Flag, Kind, Presence};
use crate::chart::{Chart, chart, shares};
use crate::live::{Pace, show};
use crate::parser::Place;
use crate::sample::{rate, remember};
use crate::session::{Mode, Session};

/// Lines of a chart at least, and at most.
const LINES: RangeInclusive<usize> = 10..=24;
/// Lines of the terminal that title and hint take, and the frame's end.
const BESIDE: usize = 4;
/// Columns that its numbers and its edge take at most.
const MARGIN: usize = 24;
/// Columns of a chart in a script, and so the values that one is made of.
const SCRIPT_WIDTH: usize = 60;
/// Values that a script's chart has if nothing else is asked for.
const SCRIPT_VALUES: u64 = 10;

pub(super) static PLOT: Command = Command {
    name: "plot",
    summary: "draws a server's counter over time",
    arguments: &[
        SERVICE,
        Argument {
            name: "COUNTER",
            kind: Kind::Text,
            presence: Presence::Optional,
            about: "a counter, or how its name begins; else `requests`",
        },
    ],
    flags: &[
        Flag {
            name: "-n",
            value: Argument {
                name: "N",
                kind: Kind::Count,
                presence: Presence::Required,
                about: "how many values to take",
            },
        },
        INTERVAL,
    ],
    background: Background::Refused,
    help: "How much the counter grows in a second, a column for each value, the newest at the \
           right. `trace NAME` lists the counters of a server; names with blanks go between quotes. \
           On the screen it is drawn as a line, elsewhere of block characters. \
           A script gets the chart of its last value: of 10, or of as many as -n says.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let service = arguments.required("NAME");
    observable(session, service)?;
    let wanted = arguments.get("COUNTER").unwrap_or(names::REQUESTS);
    let counters = session.system.counters(service)?;
    let counter = choose(&counters, wanted).ok_or_else(|| no_such(wanted, &counters))?;
    let interval_ms = arguments.count("MS").unwrap_or(500);
    let mut plot = Plot::new(service, counter, interval_ms, (session.width(), session.height()));
    let frames = arguments.count("N");
    match session.mode {
        Mode::Script => {
            let values = frames.unwrap_or(SCRIPT_VALUES);
            let mut last = String::new();
            for _ in 0..=values {
                let now_us = session.system.info()?.uptime_us;
                last = plot.add(now_us, &session.system.counters(service)?);
                let next_us = now_us.saturating_add(interval_ms.saturating_mul(1000));
                session.system.wait_until(next_us.saturating_mul(1000))?;
            }
            session.print(format_args!("{last}"));
            Ok(())
        }
        Mode::Interactive { .. } => {
            let shown = show(session, Pace { interval_ms, frames }, |system| {
                let now_us = system.info()?.uptime_us;
                let text = plot.add(now_us, &system.counters(service)?);
                // Without graphics there is the text.
                let _ = system.draw_graph(plot.graph());
                Ok(text)
            });
            // The text stays, and moves up with what follows.
            let _ = session.system.draw_graph(Graph::default());
            shown
        }
    }
}

/// The counter of this name, or the first whose name begins so.
fn choose<'c>(counters: &'c [Count], wanted: &str) -> Option<&'c str> {
    let name = |count: &'c Count| count.name.as_str();
    let exact = counters.iter().map(name).find(|name| *name == wanted);
    exact.or_else(|| counters.iter().map(name).find(|name| name.starts_with(wanted)))
}

fn no_such(wanted: &str, counters: &[Count]) -> CommandError {
    CommandError::NoSuchCounter {
        name: wanted.to_string(),
        counters: counters.iter().map(|count| count.name.clone()).collect(),
    }
}

/// Columns and lines of a terminal, where there is one.
type Size = (Option<usize>, Option<usize>);

/// A counter's growth so far.
#[derive(Debug)]
struct Plot {
    title: String,
    counter: String,
    width: usize,
    lines: usize,
    last: Option<(u64, u64)>,
    rates: Vec<u64>,
}

impl Plot {
    fn new(service: &str, counter: &str, interval_ms: u64, (width, height): Size) -> Self {
        let title = format!("{service}: {counter} in a second, {interval_ms} ms a column");
        let width = width.map_or(SCRIPT_WIDTH, |width| width.saturating_sub(MARGIN).max(1));
        let lines = height.map_or(0, |height| height.saturating_sub(BESIDE));
        let lines = lines.clamp(*LINES.start(), *LINES.end());
        Self { title, counter: counter.to_string(), width, lines, last: None, rates: Vec::new() }
    }

    /// Takes in what the counters say at an uptime in microseconds, and draws.
    fn add(&mut self, now_us: u64, counters: &[Count]) -> String {
        let value = crate::sample::count(counters, &self.counter);
        if let Some((then_us, before)) = self.last.replace((now_us, value)) {
            // A server that was restarted counts anew.
            let grown = value.saturating_sub(before);
            remember(&mut self.rates, rate(grown, now_us.saturating_sub(then_us)));
        }
        self.draw()
    }

    fn chart(&self) -> Chart {
        chart(&self.rates, self.width, self.lines, |amount| amount.to_string())
    }

    /// What is drawn over the chart's values, in its place below the title.
    fn graph(&self) -> Graph {
        let columns = self.width.min(GRAPH_VALUES);
        let number = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
        Graph {
            row: 1,
            column: number(self.chart().margin + self.width - columns),
            rows: number(self.lines),
            columns: number(columns),
            values: shares(&self.rates, columns),
            ..Graph::default()
        }
    }

    fn draw(&self) -> String {
        let now = self.rates.last().copied().unwrap_or(0);
        let mut text = format!("{}; now {now}\n", self.title);
        for line in self.chart().lines {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_the_beginning_of_its_name() {
        let counters = ["bytes sent", "bytes", "requests"].map(|name| Count::new(name, 0));
        assert_eq!(choose(&counters, "bytes"), Some("bytes"));
        assert_eq!(choose(&counters, "by"), Some("bytes sent"));
        assert_eq!(choose(&counters, "x"), None);
    }

    #[test]
    fn growth_is_drawn_and_a_restart_is_no_growth() {
        let mut plot = Plot::new("uart", "bytes sent", 500, (Some(28), None));
        let mut add = |us, value| plot.add(us, &[Count::new("bytes sent", value)]);
        add(0, 100);
        add(1_000_000, 110);
        add(2_000_000, 5);
        let text = add(2_500_000, 15);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "uart: bytes sent in a second, 500 ms a column; now 20");
        assert_eq!((lines[1], lines[10]), ("20 ┤   █", " 0 ┤ █ █"));
        assert_eq!(lines.len(), 11);
        let graph = plot.graph();
        assert_eq!((graph.row, graph.column, graph.columns), (1, 4, 4));
        assert_eq!(graph.values, [u16::MAX / 2, 0, u16::MAX]);
    }
}
