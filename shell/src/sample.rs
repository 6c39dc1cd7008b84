//! What the machine's counters say at one time, and how fast they grow.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use libd3os::observe::{Count, names};
use libd3os::service::supervisor::{
    CoreStatus, MemoryReport, ProgramState, ProgramStatus, ServiceStatus, SystemInfo,
};

use crate::system::{System, SystemError};

/// Values that are remembered of each series.
pub const REMEMBERED: usize = 240;

/// The machine at one time.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The system; among other things, when.
    pub info: SystemInfo,
    /// Its cores.
    pub cores: Vec<CoreStatus>,
    /// Their memory.
    pub memory: Vec<MemoryReport>,
    /// The threads of its programs.
    pub programs: Vec<ProgramStatus>,
    /// Its services, and what their servers have counted: nothing where the shell may not ask or
    /// the server does not run.
    pub services: Vec<(ServiceStatus, Vec<Count>)>,
}

impl Sample {
    /// Asks everybody.
    ///
    /// # Errors
    /// The supervisor does not answer. Servers that do not are left out.
    pub fn take(system: &mut dyn System) -> Result<Self, SystemError> {
        let services = system.services()?;
        let services = services.into_iter().map(|service| {
            let counts = match service.state {
                ProgramState::Running => system.counters(&service.name).unwrap_or_default(),
                _ => Vec::new(),
            };
            (service, counts)
        });
        let services = services.collect();
        let (cores, memory) = (system.cores()?, system.memory()?);
        let programs = system.programs()?;
        Ok(Self { info: system.info()?, cores, memory, programs, services })
    }
}

/// What a counter says; 0 where it is not among them.
pub fn count(counts: &[Count], name: &str) -> u64 {
    counts.iter().find(|count| count.name == name).map_or(0, |count| count.value)
}

/// What grows, and is shown as so much in a second.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Processor time of a core's threads, in thousandths of a second.
    Core(u32),
    /// Processor time of a program's threads on a core, in thousandths of a second.
    Program(String, u32),
    /// Calls to a service and calls that its server made.
    Messages(String),
    /// Interrupts that a server acknowledged.
    Interrupts(String),
}

/// The rates of the last samples.
#[derive(Debug, Default)]
pub struct History {
    last: Option<(u64, BTreeMap<Series, u64>)>,
    rates: BTreeMap<Series, Vec<u64>>,
}

impl History {
    /// Takes a sample in. The first gives no rates: they are what changes from one to the next.
    pub fn add(&mut self, sample: &Sample) {
        let (now_us, totals) = (sample.info.uptime_us, totals(sample));
        if let Some((then_us, before)) = &self.last {
            let span_us = now_us.saturating_sub(*then_us).max(1);
            for (series, total) in &totals {
                // A server that was restarted counts anew.
                let grown = before.get(series).map_or(0, |before| total.saturating_sub(*before));
                remember(self.rates.entry(series.clone()).or_default(), rate(grown, span_us));
            }
            self.rates.retain(|series, _| totals.contains_key(series));
        }
        self.last = Some((now_us, totals));
    }

    /// A series' rates, in a second, the newest last.
    pub fn rates(&self, series: &Series) -> &[u64] {
        self.rates.get(series).map_or(&[], Vec::as_slice)
    }

    /// A series' newest rate.
    pub fn rate(&self, series: &Series) -> u64 {
        self.rates(series).last().copied().unwrap_or(0)
    }
}

/// Adds a value; the oldest makes room.
pub fn remember(values: &mut Vec<u64>, value: u64) {
    if values.len() >= REMEMBERED {
        values.remove(0);
    }
    values.push(value);
}

/// So much in a second, when there was `grown` in `span_us` microseconds.
pub fn rate(grown: u64, span_us: u64) -> u64 {
    let rate = u128::from(grown) * 1_000_000 / u128::from(span_us.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn totals(sample: &Sample) -> BTreeMap<Series, u64> {
    let mut totals = BTreeMap::new();
    for program in &sample.programs {
        let cpu_ms = |series| (series, program.cpu_us);
        let series =
            [Series::Core(program.core), Series::Program(program.name.clone(), program.core)];
        for (series, us) in series.map(cpu_ms) {
            *totals.entry(series).or_insert(0) += us;
        }
    }
    totals.values_mut().for_each(|us| *us /= 1000);
    for (service, counts) in &sample.services {
        let messages = count(counts, names::REQUESTS) + count(counts, names::CALLS);
        totals.insert(Series::Messages(service.name.clone()), messages);
        let interrupts = count(counts, names::INTERRUPTS);
        totals.insert(Series::Interrupts(service.name.clone()), interrupts);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[test]
    fn rates_are_what_changes_in_a_second() {
        let mut sample = Sample::take(&mut Fake::default()).unwrap();
        let mut history = History::default();
        history.add(&sample);
        let (messages, core) = (Series::Messages("log".into()), Series::Core(0));
        assert!(history.rates(&messages).is_empty());
        sample.info.uptime_us += 500_000;
        sample.programs[0].cpu_us += 250_000;
        let counts = &mut sample.services[0].1;
        counts.iter_mut().for_each(|count| count.value += 10);
        history.add(&sample);
        assert_eq!((history.rate(&messages), history.rate(&core)), (20, 500));
        let program = Series::Program(sample.programs[0].name.clone(), 0);
        assert_eq!(history.rate(&program), 500);
    }

    #[test]
    fn a_restarted_server_and_one_that_is_gone_are_no_surprise() {
        let mut sample = Sample::take(&mut Fake::default()).unwrap();
        let mut history = History::default();
        history.add(&sample);
        sample.info.uptime_us += 1_000_000;
        sample.services[0].1.iter_mut().for_each(|count| count.value = 0);
        history.add(&sample);
        let series = Series::Messages("log".into());
        assert_eq!(history.rates(&series), [0]);
        sample.services.clear();
        history.add(&sample);
        assert!(history.rates(&series).is_empty());
    }

    #[test]
    fn the_oldest_values_are_forgotten() {
        let mut values = Vec::new();
        (0..REMEMBERED as u64 + 5).for_each(|value| remember(&mut values, value));
        assert_eq!((values.len(), values[0]), (REMEMBERED, 5));
    }
}
