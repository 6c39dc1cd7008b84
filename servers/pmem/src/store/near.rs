//! Work on an object's bytes where they lie, of which only the result travels.
//!
//! A program asks for one part after the other, none of which takes long; the server keeps nothing in
//! between, so that others are answered meanwhile and a restart costs one part. It works by its one
//! thread, on one of the processor's cores.

use libd3os::region::Rights;
use libd3os::service::pmem::{ObjectName, PLACES_MOST, PmemError, WORK_MOST, WorkDone, WorkPart};
use libd3os_object::object::Opaque;
use libd3os_object::operators::Operator;
use libd3os_object::{Object, ObjectId, PPtr, View};

use super::{Found, Journal, Kind, May, Medium, Store, World};
use crate::events::Event;

impl<M: Medium + Clone> Store<M> {
    /// Carries out an operator on a part of an object's bytes, which nobody changes meanwhile.
    pub(crate) fn work(
        &mut self,
        program: u16,
        (path, part, message): (&str, WorkPart, &[u8]),
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<WorkDone, PmemError> {
        let operator = decode(message)?;
        let bytes = length(part)?;
        // Whether it can be done with so many.
        operator.pieces(bytes).map(drop).map_err(PmemError::Operator)?;
        let Found { id, kind } = self.resolve(path)?;
        if kind == Kind::Directory {
            return Err(PmemError::IsDirectory);
        }
        self.may(program, id, May::READ, world)?;
        let entry = self.ready(id, Rights::READ)?;
        self.map(id, entry, world)?;
        let done = self.work_on(id, part, |all| operator.carry_out(all, 0..bytes));
        if self.users(id) == 0 {
            self.close(id, journal);
        }
        let (version, outcome) = done?;
        journal.note(Event::Worked(program, bytes as u64));
        Ok(WorkDone { id: ObjectName(id.number()), version, outcome })
    }

    fn work_on<T>(
        &mut self,
        id: ObjectId,
        part: WorkPart,
        work: impl FnOnce(&[u8]) -> T,
    ) -> Result<(u64, T), PmemError> {
        let open = self.open.get(&id).ok_or(PmemError::NotFound)?;
        let object = Object::<Opaque, _>::of_any_type(open.mapping.clone());
        let guard = self.pool.session().read(&object).map_err(|_| PmemError::Busy)?;
        let all = guard.slice::<u8>(PPtr::local(part.begin), part.reach - part.begin);
        let all = all.map_err(|_| PmemError::NoSuchBytes)?;
        Ok((object.mapping().control().version(), work(all)))
    }
}

fn decode(message: &[u8]) -> Result<Operator, PmemError> {
    let operator = Operator::decode(message).map_err(PmemError::Operator)?;
    match operator {
        Operator::Search { limit, .. } if limit > PLACES_MOST => Err(PmemError::TooLong),
        operator => Ok(operator),
    }
}

/// How many bytes are to be worked on.
fn length(part: WorkPart) -> Result<usize, PmemError> {
    let WorkPart { begin, end, reach } = part;
    let bytes = end.checked_sub(begin).filter(|_| end <= reach).ok_or(PmemError::NoSuchBytes)?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= WORK_MOST => Ok(bytes),
        _ => Err(PmemError::TooLong),
    }
}
