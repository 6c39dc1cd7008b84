//! The system's ring: whole images in QEMU, worked with as a person works with them.
//!
//! Each test is a function that gets the [`Lab`] (everything built once) and starts the machines
//! it wants. Tests wait for what the screen shows, never for a time to pass; every wait has an
//! end, so that a hang is a failure.

mod clock;
mod console;
mod cores;
mod covering;
mod damage;
mod editing;
mod entropy;
mod faults;
mod iommu;
mod kills;
mod lab;
mod machines;
mod matrix;
mod net;
mod nvdimm;
mod objects;
mod picture;
mod platform;
mod restart;
mod screen;
mod script;
mod session;
mod share;
mod shared;
mod shell;
mod sight;
mod storm;
mod traffic;

use std::time::Instant;

use self::lab::{Lab, LabError};
use self::session::SessionError;
use super::TestError;
use super::tally::Tally;
use crate::progress;
use crate::qmp::QmpError;
use crate::vm::PmemError;
use crate::workshop::Workshop;

/// Why a test failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A session did not go on.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A machine or an image could not be made.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The machine's persistent memory could not be made.
    #[error(transparent)]
    Pmem(#[from] PmemError),
    /// The machine's monitor did not help.
    #[error(transparent)]
    Monitor(#[from] QmpError),
    /// Something else than expected.
    #[error("{what}; got:\n{got}")]
    Unexpected {
        /// What should be.
        what: String,
        /// What was.
        got: String,
    },
}

type Outcome = Result<(), Failure>;
type Test = (&'static str, fn(&Lab<'_>) -> Outcome);

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What fits in minutes.
    Representative,
    /// Everything.
    All,
}

/// A test whose name and work are made when the tests are listed.
struct Case {
    name: String,
    work: Box<dyn Fn(&Lab<'_>) -> Outcome>,
}

impl Case {
    fn new(name: impl Into<String>, work: impl Fn(&Lab<'_>) -> Outcome + 'static) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }
}

/// Builds everything and runs the tests whose names contain `filter`.
pub(crate) fn run(workshop: &Workshop, filter: &str, scope: Scope) -> Result<Tally, TestError> {
    let lab = Lab::equip(workshop)?;
    let mut tally = Tally::default();
    for Case { name, work } in all(scope).filter(|case| case.name.contains(filter)) {
        let start = Instant::now();
        let outcome = work(&lab);
        let seconds = start.elapsed().as_secs_f32();
        match &outcome {
            Ok(()) => progress::step(&format!("test {name} ... ok ({seconds:.1} s)")),
            Err(failure) => {
                progress::step(&format!("test {name} ... FAILED ({seconds:.1} s)"));
                progress::failure(failure);
            }
        }
        tally += Tally::one(outcome.is_ok());
    }
    Ok(tally)
}

fn all(scope: Scope) -> impl Iterator<Item = Case> {
    let groups: &[&[Test]] = &[
        &shell::TESTS,
        &editing::TESTS,
        &faults::TESTS,
        &restart::TESTS,
        &script::TESTS,
        &platform::TESTS,
        &machines::TESTS,
        &clock::TESTS,
        &console::TESTS,
        &cores::TESTS,
        &share::TESTS,
        &shared::TESTS,
        &iommu::TESTS,
        &nvdimm::TESTS,
        &entropy::TESTS,
        &objects::TESTS,
        &storm::TESTS,
        &damage::TESTS,
    ];
    let fixed = groups.iter().copied().flatten().map(|(name, test)| Case::new(*name, test));
    fixed.chain(net::cases()).chain(kills::cases()).chain(matrix::cases(scope))
}

/// Fails unless `text` has all of these in it.
fn contains(text: &str, wanted: &[&str]) -> Outcome {
    match wanted.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(unexpected(format!("no {part:?}"), text)),
    }
}

/// Fails unless the text is this, blanks at the ends aside.
fn equals(text: &str, wanted: &str) -> Outcome {
    match text.trim() == wanted {
        true => Ok(()),
        false => Err(unexpected(format!("not {wanted:?}"), text)),
    }
}

fn unexpected(what: impl Into<String>, got: &str) -> Failure {
    Failure::Unexpected { what: what.into(), got: got.to_owned() }
}
