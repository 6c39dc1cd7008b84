//! Persistent memory: found, written where it is armed, kept over restarts of driver and machine.

use std::fs;

use super::lab::{Lab, LabError};
use super::script::output_of;
use super::session::Session;
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::vm::{Arming, Persistence, Pmem, Store};

pub(crate) const TESTS: [Test; 5] = [
    ("nvdimm::what_is_written_outlives_driver_and_machine", kept),
    ("nvdimm::a_large_module_is_reached_to_its_end", large),
    ("nvdimm::caches_are_said_to_be_saved", eadr),
    ("nvdimm::what_is_not_armed_is_read_only", unarmed),
    ("nvdimm::a_machine_without_says_so", without),
];

/// A module of 128 MiB that holds zeros.
pub(super) fn fresh(lab: &Lab<'_>, name: &str, persistence: Persistence) -> Result<Pmem, Failure> {
    of_size(lab, name, "128M", persistence)
}

/// A module that holds zeros.
pub(super) fn of_size(
    lab: &Lab<'_>,
    name: &str,
    size: &str,
    persistence: Persistence,
) -> Result<Pmem, Failure> {
    let file = lab.place(name);
    match fs::remove_file(&file) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(LabError::Read { path: file, source }.into());
        }
        _ => {}
    }
    let store: Store = format!("{}:{size}", file.display()).parse()?;
    Ok(store.open(persistence)?)
}

fn session(lab: &Lab<'_>, pmem: &Pmem) -> Result<Session, Failure> {
    Ok(Session::at_prompt(&lab.machine().with_pmem(pmem.clone())?)?)
}

/// Near the end, across a line and a page.
const PLACE: &str = "0x7ffeffc";

fn kept(lab: &Lab<'_>) -> Outcome {
    let pmem = fresh(lab, "kept.pmem", Persistence::Adr)?;
    let mut session = session(lab, &pmem)?;
    let listed = session.run("nvdimm")?;
    contains(&listed, &["128 MiB", " armed", "what has reached the memory controllers"])?;
    session.run(&format!("nvdimm write 0 {PLACE} 'as it was'"))?;
    contains(&session.run("kill nvdimm")?, &["`nvdimm` was ended"])?;
    contains(&session.run(&format!("nvdimm read 0 {PLACE}"))?, &["as it was."])?;
    contains(&session.run("trace nvdimm")?, &["read 64 bytes of range 0"])?;
    drop(session);
    let file = fs::read(&pmem.file);
    let file = file.map_err(|source| LabError::Read { path: pmem.file.clone(), source })?;
    match file.get(0x7ff_effc..).is_some_and(|rest| rest.starts_with(b"as it was\0")) {
        true => {}
        false => return Err(unexpected("the module's file has not what was written", "")),
    }
    let mut again = self::session(lab, &pmem)?;
    contains(&again.run(&format!("nvdimm read 0 {PLACE}"))?, &["as it was."])
}

/// 128 GiB, of which the host has what is written; bytes on both sides of where two windows meet.
fn large(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "large.pmem", "128G", Persistence::Adr)?;
    let places = [0x1f_fffc_u64, (64 << 30) - 4, (128 << 30) - 64];
    let lines = places.map(|at| format!("nvdimm write 0 {at} 'at {at:x}'; nvdimm read 0 {at}"));
    let lines = format!("nvdimm; {}; kill nvdimm; nvdimm read 0 {}", lines.join("; "), places[1]);
    let output = output_of(&lab.script("large", &lines)?.with_pmem(pmem.clone())?);
    let removed = fs::remove_file(&pmem.file);
    let output = output?;
    removed.map_err(|source| LabError::Read { path: pmem.file, source })?;
    contains(&output, &["128 GiB", "at 1ffffc", "at 1fffffffc0"])?;
    match output.matches("at ffffffffc.").count() {
        2 => Ok(()),
        _ => Err(unexpected("the middle was not kept over the driver's restart", &output)),
    }
}

fn eadr(lab: &Lab<'_>) -> Outcome {
    let pmem = fresh(lab, "eadr.pmem", Persistence::Eadr)?;
    let lines = "nvdimm; nvdimm write 0 0 text; nvdimm read 0 0";
    let output = output_of(&lab.script("eadr", lines)?.with_pmem(pmem)?)?;
    contains(&output, &["what is in the caches", "text"])
}

fn unarmed(lab: &Lab<'_>) -> Outcome {
    let pmem = fresh(lab, "unarmed.pmem", Persistence::Adr)?;
    let pmem = Pmem { arming: Arming::Unarmed, ..pmem };
    let mut session = session(lab, &pmem)?;
    contains(&session.run("nvdimm")?, &["not armed", "nothing: it is read only"])?;
    let refused = session.run("nvdimm write 0 0 text")?;
    contains(&refused, &["the memory is not armed: what is written would be lost"])?;
    contains(&session.run("nvdimm read 0 0")?, &["000000  00 00 00 00"])?;
    contains(&session.run("trace nvdimm")?, &["refused to write to range 0, not armed"])
}

fn without(lab: &Lab<'_>) -> Outcome {
    let output = output_of(&lab.script("no-nvdimm", "nvdimm; log")?)?;
    contains(&output, &["This machine has no persistent memory."])?;
    contains(&output, &["no NFIT: there is no persistent memory"])
}
