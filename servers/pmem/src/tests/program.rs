//! A program that has an object mapped.

use std::sync::Arc;

use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::layout;
use libd3os_object::mapping::Mapping;
use libd3os_object::medium::{Medium, Part};
use libd3os_object::sim::SimMedium;
use libd3os_object::{Editor, Object, Session, TxError};

type Memory = Part<SimMedium>;

fn object(memory: Memory) -> Object<u64, Memory> {
    let control = ControlRef::own(layout::settled(&memory).expect("settled"));
    // SAFETY: tests have one thread, and use a mapping of an object at a time.
    let mapping = unsafe { Mapping::new(memory, control) }.expect("an object");
    Object::open(Arc::new(mapping)).expect("of a number")
}

/// Changes an object in a transaction, and leaves the log as it is then.
pub(super) fn change(
    slot: Slot,
    log: Memory,
    memory: Memory,
    body: impl Fn(&mut Editor<'_, u64>) -> Result<(), TxError>,
) {
    let object = object(memory);
    // SAFETY: nobody else has this slot or this log, and the memory lives as long as the simulation.
    let mut session = unsafe { Session::open(slot, log) }.expect("an empty log");
    session.tx(|tx| body(&mut tx.edit(&object)?)).expect("there is room");
}

/// The number that an object holds.
pub(super) fn value(memory: Memory) -> u64 {
    let at = object(memory.clone()).base().offset() - layout::HEADER;
    memory.load_word(usize::try_from(at).expect("small"))
}
