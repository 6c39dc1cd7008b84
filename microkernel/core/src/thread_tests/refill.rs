//! Property: refills never give more than the budget allows, whatever is charged when.
//!
//! The obvious model is the history itself: every interval that was used is kept, and every window
//! that begins with one of them is added up.

use crate::memory::Ref;
use crate::objects::SchedContext;
use crate::refill::Parameters;
use crate::thread_bench::{Bench, US};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// What happens to a scheduling context in a step.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Nobody runs for so long.
    Idle(u64),
    /// Its thread runs for so long, if there is budget.
    Run(u64),
    /// Its thread runs all that it may, and a bit beyond: interrupts come late.
    Exhaust(u64),
    /// Its thread gives the rest up.
    Yield,
    /// It is configured anew, to the same.
    Configure,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..20_000_000_u64).prop_map(Step::Idle),
        4 => (1..3_000_000_u64).prop_map(Step::Run),
        2 => (0..40_000_u64).prop_map(Step::Exhaust),
        1 => Just(Step::Yield),
        1 => Just(Step::Configure),
    ];
    proptest::collection::vec(step, 1..120)
}

fn parameters() -> impl Strategy<Value = Parameters> {
    (40..4000_u64, 1..6000_u64, 2..12_u32).prop_map(|(budget, more, refill_max)| Parameters {
        budget: budget * US,
        period: (budget + more) * US,
        refill_max,
    })
}

/// A scheduling context, alone, and the history of its use.
struct Run {
    bench: Bench,
    context: Ref<SchedContext>,
    parameters: Parameters,
    used: Vec<(u64, u64)>,
    late: u64,
}

impl Run {
    fn new(parameters: Parameters) -> Self {
        let mut bench = Bench::new();
        let (context, _) = bench.context();
        bench.kernel.new_refills(context, parameters);
        Self { bench, context, parameters, used: Vec::new(), late: 0 }
    }

    fn now(&mut self) -> &mut u64 {
        &mut self.bench.kernel.scheduler.now
    }

    /// Does a step; a dispatch begins a new activation, as it does under constant bandwidth.
    fn step(&mut self, step: Step) {
        let kernel = &mut self.bench.kernel;
        match step {
            Step::Idle(time) => *self.now() += time,
            Step::Configure => kernel.update_refills(self.context, self.parameters),
            _ if !kernel.is_released(self.context) => *self.now() += 50 * US,
            _ => {
                kernel.dispatch_refills(self.context);
                let available = kernel.refill(self.context).amount;
                let (runs, charged) = match step {
                    Step::Run(time) => (time.min(available), time.min(available)),
                    Step::Exhaust(beyond) => (available + beyond, available + beyond),
                    _ => (0, available),
                };
                self.late += runs.saturating_sub(available);
                let start = *self.now();
                *self.now() += runs;
                self.used.push((start, start + runs));
                self.bench.kernel.charge_refills(self.context, charged);
            }
        }
        self.bench.kernel.check_refills(self.context);
    }

    /// Most time used in any window of this length.
    fn most_in_a_window(&self, length: u64) -> u64 {
        let within = |from: u64| -> u64 {
            let to = from + length;
            self.used.iter().map(|(s, e)| (*e).min(to).saturating_sub((*s).max(from))).sum()
        };
        self.used
            .iter()
            .flat_map(|(s, e)| [within(*s), within(e.saturating_sub(length))])
            .max()
            .unwrap_or(0)
    }
}

#[test]
fn constant_bandwidth_keeps_to_the_budget_in_every_window() {
    let (steps_done, windows) = (Cell::new(0_usize), Cell::new(0_usize));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(2000));
    runner
        .run(&(parameters(), steps()), |(parameters, steps)| {
            let mut run = Run::new(parameters);
            for step in &steps {
                run.step(*step);
            }
            let precision = run.bench.kernel.scheduler.precision;
            // A refill may begin early by the timer's precision, each time.
            let slack = precision * run.used.len() as u64 + run.late;
            let most = run.most_in_a_window(parameters.period);
            prop_assert!(most <= parameters.budget + slack, "{most} of {}", parameters.budget);
            steps_done.set(steps_done.get() + steps.len());
            windows.set(windows.get() + 2 * run.used.len());
            Ok(())
        })
        .unwrap();
    println!("refills, constant bandwidth: {} steps, {} windows", steps_done.get(), windows.get());
}

#[test]
fn the_whole_budget_is_there_after_a_rest() {
    let cases = Cell::new(0_usize);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1000));
    runner
        .run(&(parameters(), steps()), |(parameters, steps)| {
            let mut run = Run::new(parameters);
            for step in &steps {
                run.step(*step);
            }
            let refills = run.bench.kernel.refills(run.context);
            let last = refills.last().unwrap();
            *run.now() = (*run.now()).max(last.time + last.amount);
            run.bench.kernel.dispatch_refills(run.context);
            let refill = run.bench.kernel.refill(run.context);
            prop_assert_eq!(refill.amount, parameters.budget);
            // Without late charges, a rest of two periods is always enough.
            if run.late == 0 && !steps.iter().any(|step| matches!(step, Step::Yield)) {
                prop_assert!(last.time <= *run.now() + 2 * parameters.period);
            }
            cases.set(cases.get() + 1);
            Ok(())
        })
        .unwrap();
    println!("refills, rest: {} cases", cases.get());
}

#[test]
fn a_sporadic_server_keeps_to_a_budget_per_period_and_one_more() {
    let steps_done = Cell::new(0_usize);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(2000));
    let wakes = proptest::collection::vec(any::<bool>(), 120);
    runner
        .run(&(parameters(), steps(), wakes), |(parameters, steps, wakes)| {
            let mut run = Run::new(parameters);
            run.bench.kernel.get_mut(run.context).sporadic = 1;
            for (step, wakes) in steps.iter().zip(wakes) {
                sporadic_step(&mut run, *step, wakes);
            }
            let precision = run.bench.kernel.scheduler.precision;
            for periods in 1..5 {
                let most = run.most_in_a_window(periods * parameters.period);
                let slack = precision * run.used.len() as u64 + run.late;
                prop_assert!(most <= (periods + 1) * parameters.budget + slack);
            }
            steps_done.set(steps_done.get() + steps.len());
            Ok(())
        })
        .unwrap();
    println!("refills, sporadic: {} steps", steps_done.get());
}

/// A sporadic server is activated when its thread wakes, not when it is dispatched.
fn sporadic_step(run: &mut Run, step: Step, wakes: bool) {
    let (context, kernel) = (run.context, &mut run.bench.kernel);
    if wakes {
        kernel.wake_sporadic(context);
    }
    let beyond = match step {
        Step::Exhaust(beyond) => Some(beyond),
        Step::Run(_) => None,
        Step::Idle(time) => {
            *run.now() += time;
            return;
        }
        Step::Yield | Step::Configure => return,
    };
    if !kernel.is_released(context) {
        *run.now() += 50 * US;
        return;
    }
    kernel.dispatch_refills(context);
    let available = kernel.refill(context).amount;
    let time = match step {
        Step::Run(time) => time.min(available),
        _ => available + beyond.unwrap_or(0),
    };
    run.late += beyond.unwrap_or(0);
    let start = *run.now();
    *run.now() += time;
    run.used.push((start, start + time));
    run.bench.kernel.charge_refills(context, time);
    run.bench.kernel.check_refills(context);
}
