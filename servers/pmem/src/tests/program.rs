//! A program that has an object mapped.

use std::sync::Arc;

use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::layout;
use libd3os_object::mapping::Mapping;
use libd3os_object::medium::{Medium, Part};
use libd3os_object::sim::{Domain, Sim, SimMedium};
use libd3os_object::{Editor, Object, ObjectId, Session, Tx, TxError};

type Memory = Part<SimMedium>;

fn object(memory: Memory) -> Object<u64, Memory> {
    let control = ControlRef::own(layout::settled(&memory).expect("settled"));
    // SAFETY: tests have one thread, and use a mapping of an object at a time.
    let mapping = unsafe { Mapping::new(memory, control) }.expect("an object");
    Object::open(Arc::new(mapping)).expect("of a number")
}

/// A program with a session and an object.
pub(crate) struct Used {
    session: Session<Memory>,
    object: Object<u64, Memory>,
}

/// A program with this session, which was lent an object with this control.
pub(crate) fn used((slot, log): (Slot, Memory), memory: Memory, control: ControlRef) -> Used {
    // SAFETY: whoever is lent the object is lent this control, and tests have one thread.
    let mapping = unsafe { Mapping::lent(memory, control) }.expect("an object");
    let object = Object::open(Arc::new(mapping)).expect("of a number");
    // SAFETY: nobody else has this slot or this log, and the memory lives as long as the simulation.
    let session = unsafe { Session::open(slot, log) }.expect("an empty log");
    Used { session, object }
}

impl Used {
    pub(crate) fn set(&mut self, value: u64) -> Result<(), TxError> {
        self.set_after(value, || ())
    }

    /// Changes the number; `meanwhile` is called when that is not committed yet.
    pub(crate) fn set_after(
        &mut self,
        value: u64,
        mut meanwhile: impl FnMut(),
    ) -> Result<(), TxError> {
        let Self { session, object } = self;
        session.tx(|tx| {
            tx.edit(object)?.set(object.base(), value)?;
            meanwhile();
            Ok(())
        })
    }

    pub(crate) fn value(&self) -> u64 {
        let guard = self.session.read(&self.object).expect("nobody writes it");
        *guard.base().expect("it has room for one")
    }
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

/// Has an object hold another number, and all that the log says of it in place.
pub(super) fn set(slot: Slot, log: Memory, memory: Memory, value: u64) {
    let object = object(memory);
    // SAFETY: nobody else has this slot or this log, and the memory lives as long as the simulation.
    let mut session = unsafe { Session::open(slot, log) }.expect("an empty log");
    let set =
        |tx: &mut Tx<'_, Memory>| Ok::<_, TxError>(tx.edit(&object)?.set(object.base(), value)?);
    session.tx(set).expect("there is room");
    session.settle().expect("nobody else is there");
}

/// The number that an object holds.
pub(super) fn value(memory: Memory) -> u64 {
    let at = object(memory.clone()).base().offset() - layout::HEADER;
    memory.load_word(usize::try_from(at).expect("small"))
}

/// A log as somebody could have written it who has only the log: after what it holds already, a change of an
/// object, wherever that is, to this version.
pub(super) fn forge(slot: Slot, log: &[u8], id: ObjectId, version: u64) -> Vec<u8> {
    const OBJECT_BYTES: usize = 3 * 4096;
    let mut image = vec![0; OBJECT_BYTES];
    image.extend(log);
    let sim = Sim::with_contents(Domain::Adr, &image);
    let [memory, log] = [0..OBJECT_BYTES, OBJECT_BYTES..image.len()]
        .map(|bytes| sim.medium(0).part(bytes.start, bytes.len()));
    libd3os_object::object::create(&memory, id, &[0_u64; 8]).expect("room");
    memory.fence();
    let control = ControlRef::own(version.saturating_sub(1));
    // SAFETY: nobody else has this object, which lives as long as the simulation.
    let mapping = unsafe { Mapping::new(memory, control) }.expect("an object");
    let object: Object<[u64; 8], Memory> = Object::open(Arc::new(mapping)).expect("of numbers");
    // SAFETY: nobody else has this slot or this log.
    let mut session = unsafe { Session::open(slot, log) }.expect("an empty log");
    let all_ones = |tx: &mut Tx<'_, Memory>| {
        tx.edit(&object)?.modify_base()?.fill(!0);
        Ok::<_, TxError>(())
    };
    session.tx(all_ones).expect("there is room");
    sim.durable().split_off(OBJECT_BYTES)
}
