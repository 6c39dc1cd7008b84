//! Persistent objects.

pub(crate) mod list;
#[expect(unsafe_code, reason = "maps a file that nobody else uses")]
pub(crate) mod machine;
mod maps;

use std::path::Path;

use libd3os_object::medium::Medium;

use crate::Outcome;
use crate::records::mix;
use crate::timing::figure;
use machine::Machine;

const OURS: &str = "ours";

pub(crate) fn measure(folder: &Path, records: u64) -> Outcome {
    let machine = Machine::new(&folder.join("objects"), records)?;
    raw(&machine, records)?;
    maps::measure(&machine, records)?;
    list::measure(&machine)
}

/// What the machine itself takes: a word of a line somewhere, made durable.
fn raw(machine: &Machine, times: u64) -> Outcome {
    let scratch = machine.scratch();
    let lines = scratch.bytes() as u64 / 64;
    figure("store, write back, fence", "raw", times, || {
        for step in 0..times {
            let at = usize::try_from(mix(step) % lines * 64)?;
            scratch.store_word(at, step);
            scratch.flush(at);
            scratch.fence();
        }
        Ok(())
    })
}
