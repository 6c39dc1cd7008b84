//! Lines that run without a person: their output and nothing else, and their status.

use std::time::Duration;

use super::lab::Lab;
use super::session::SessionError;
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::commands::qemu::script;
use crate::guest::{Ending, Guest};
use crate::vm::Machine;

pub(crate) const TESTS: [Test; 4] = [
    ("script::the_tour_succeeds", tour),
    ("script::only_output_is_printed", only_output),
    ("script::a_failing_line_fails", failing_line),
    ("script::every_fault_is_survived", every_fault),
];

const PATIENCE: Duration = Duration::from_secs(120);

fn tour(lab: &Lab<'_>) -> Outcome {
    let output =
        run(lab, "tour", "help; ps; mem; caps shell; svc; fault null; ps", Expected::Success)?;
    let wanted = ["help [COMMAND]", "BUDGET/PERIOD", "untyped", "calls console", "supervisor"];
    contains(&output, &wanted)?;
    contains(&output, &["`fault` died of: "])
}

fn only_output(lab: &Lab<'_>) -> Outcome {
    let output = run(lab, "echo", "echo one; echo two", Expected::Success)?;
    match output.replace('\r', "").as_str() {
        "one\ntwo\n" => Ok(()),
        _ => Err(unexpected("more or less than the lines' output", &output)),
    }
}

fn failing_line(lab: &Lab<'_>) -> Outcome {
    let output = run(lab, "failing", "nonsense; echo on", Expected::Failure)?;
    contains(&output, &["there is no command `nonsense`", "on"])
}

fn every_fault(lab: &Lab<'_>) -> Outcome {
    let lines = ["null", "divide", "illegal", "stack", "readonly", "badcap"];
    let lines = lines.map(|kind| format!("fault {kind}")).join("; ");
    let output = run(lab, "faults", &lines, Expected::Success)?;
    match output.matches("`fault` died of: ").count() {
        6 => Ok(()),
        _ => Err(unexpected("not six deaths", &output)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Success,
    Failure,
}

fn run(lab: &Lab<'_>, name: &str, lines: &str, expected: Expected) -> Result<String, Failure> {
    run_on(&lab.script(name, lines)?, expected)
}

/// The output of a machine whose lines must all succeed.
pub(super) fn output_of(machine: &Machine) -> Result<String, Failure> {
    run_on(machine, Expected::Success)
}

fn run_on(machine: &Machine, expected: Expected) -> Result<String, Failure> {
    let qemu = machine.command().map_err(SessionError::from)?;
    let mut guest = Guest::start(qemu).map_err(SessionError::from)?;
    let mut output = Vec::new();
    let ending = guest.watch(PATIENCE, &mut output);
    let output = String::from_utf8_lossy(&output).into_owned();
    if ending != Ending::Over {
        return Err(unexpected(format!("the machine did not end: {ending:?}"), &output));
    }
    let (status, complaints) = guest.wait().map_err(SessionError::from)?;
    let verdict = match script::judge(status, &complaints) {
        Ok(std::process::ExitCode::SUCCESS) => Expected::Success,
        Ok(_) => Expected::Failure,
        Err(death) => return Err(unexpected(death.to_string(), &output)),
    };
    match verdict == expected {
        true => Ok(output),
        false => Err(unexpected(format!("the wrong status: {status}"), &output)),
    }
}
