//! After a loss of power: what was committed is put in place, whoever committed it.
//!
//! Recovery reads all logs and brings every object to the last version that was committed. A record's
//! versions say in which order changes to an object were made, whichever logs they are in; what an
//! object has settled already is left alone. Then the objects are written back, then they say so,
//! then the logs are emptied, with a fence between: wherever power is lost again, recovery does what
//! is left.
//!
//! Logs are written by programs, so records are foreign bytes. A record whose checksum is right but whose
//! contents are not, or that concerns an object which the log's owner could not write, or bytes that
//! no transaction can change, is refused as a whole. What else is wrong is told as well: nothing of it
//! ends recovery, and nothing of it is applied.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::control::Slot;
use crate::id::ObjectId;
use crate::layout::{self, LayoutError, STATE};
use crate::log::record::{self, Change, LineChange};
use crate::log::{LogError, Reader};
use crate::mapping::{Mapping, line_offset};
use crate::medium::Medium;
use crate::place;
use crate::session::{Busy, Session};

/// What recovery asks of whoever keeps the objects.
pub trait Objects {
    /// Their memory.
    type Medium: Medium;

    /// Whether the owner of this slot's log could write an object. Who takes a right away has the
    /// object settled before.
    fn access(&mut self, owner: Slot, id: ObjectId) -> Access<Self::Medium>;
}

/// What the owner of a log could do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<M> {
    /// Write it; this is its medium.
    Write(M),
    /// Nothing any more: it was deleted. What a record says of other objects holds nevertheless.
    Deleted,
    /// It was none of its business.
    Forbidden,
}

/// What recovery has done and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that were found whole.
    pub records: u64,
    /// Changes of an object by a transaction that were put in place.
    pub applied: u64,
    /// Changes that were in place already.
    pub settled: u64,
    /// What was wrong.
    pub findings: Vec<Finding>,
}

/// Something was not as this library leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A log cannot be read; nothing of it was applied.
    Log {
        /// Whose.
        owner: Slot,
        /// Why.
        error: LogError,
    },
    /// A log is damaged in the middle: records before that were applied, those behind it were not.
    Gap {
        /// Whose.
        owner: Slot,
    },
    /// A record makes no sense.
    Malformed {
        /// Whose.
        owner: Slot,
    },
    /// A record concerns an object that its owner could not write.
    Forbidden {
        /// Whose.
        owner: Slot,
        /// The object.
        id: ObjectId,
    },
    /// A record concerns bytes that no transaction can change.
    Outside {
        /// Whose.
        owner: Slot,
        /// The object.
        id: ObjectId,
    },
    /// Two records claim the same version of an object; the later one in the order of slots was left
    /// out.
    Twice {
        /// Whose was left out.
        owner: Slot,
        /// The object.
        id: ObjectId,
        /// The version.
        version: u64,
    },
    /// The record of a version is missing: the object was brought to the version before it.
    Missing {
        /// The object.
        id: ObjectId,
        /// The version.
        version: u64,
    },
    /// The object's own header is damaged: it was left alone.
    Object {
        /// The object.
        id: ObjectId,
        /// How.
        error: LayoutError,
    },
}

/// Changes of one object, by version.
struct Pending<M> {
    medium: M,
    changes: Vec<(Slot, Change)>,
}

impl<M> Pending<M> {
    fn in_order(&mut self) {
        self.changes.sort_by_key(|(owner, change)| (change.version, *owner));
    }
}

/// Brings all objects to their last committed version and empties the logs; durable when this returns.
///
/// Nobody may have the logs or the objects mapped to write meanwhile.
pub fn recover<L: Medium, O: Objects>(logs: &[(Slot, L)], objects: &mut O) -> Report {
    let (report, readers) = put_in_place(logs, objects);
    for (log, reader) in &readers {
        reader.clear();
        log.fence();
    }
    report
}

/// Does what [`recover`] does, and leaves the logs as they are: for what has to be recovered before it is
/// known where the other objects are. Those are [`Access::Deleted`] for now, and `recover` follows.
pub fn replay<L: Medium, O: Objects>(logs: &[(Slot, L)], objects: &mut O) -> Report {
    put_in_place(logs, objects).0
}

/// Tells what [`recover`] would do, and writes nothing: what would be `applied` is not in place.
pub fn survey<L: Medium, O: Objects>(logs: &[(Slot, L)], objects: &mut O) -> Report {
    let mut recovery = Recovery { report: Report::default(), pending: BTreeMap::new() };
    for (owner, log) in logs {
        recovery.read(*owner, log, objects);
    }
    recovery.count();
    recovery.report
}

type Readers<'l, L> = Vec<(&'l L, Reader<'l, L>)>;

fn put_in_place<'l, L: Medium, O: Objects>(
    logs: &'l [(Slot, L)],
    objects: &mut O,
) -> (Report, Readers<'l, L>) {
    let mut recovery = Recovery { report: Report::default(), pending: BTreeMap::new() };
    let readers = logs
        .iter()
        .filter_map(|(owner, log)| Some((log, recovery.read(*owner, log, objects)?)))
        .collect();
    recovery.put_in_place();
    (recovery.report, readers)
}

struct Recovery<M> {
    report: Report,
    pending: BTreeMap<ObjectId, Pending<M>>,
}

impl<M: Medium> Recovery<M> {
    fn read<'a, L: Medium>(
        &mut self,
        owner: Slot,
        log: &'a L,
        objects: &mut impl Objects<Medium = M>,
    ) -> Option<Reader<'a, L>> {
        let mut reader = match Reader::new(log) {
            Ok(reader) => reader,
            Err(error) => {
                self.report.findings.push(Finding::Log { owner, error });
                return None;
            }
        };
        for words in &mut reader {
            self.report.records += 1;
            match allowed(owner, &words, |id| objects.access(owner, id), end_of) {
                Ok(changes) => changes.into_iter().for_each(|change| self.add(owner, change)),
                Err(finding) => self.report.findings.push(finding),
            }
        }
        if reader.has_gap() {
            self.report.findings.push(Finding::Gap { owner });
        }
        Some(reader)
    }

    fn add(&mut self, owner: Slot, (medium, change): (M, Change)) {
        let empty = || Pending { medium, changes: Vec::new() };
        self.pending.entry(change.id).or_insert_with(empty).changes.push((owner, change));
    }

    /// As [`Self::put_in_place`], but that nothing is put there.
    fn count(&mut self) {
        for (id, mut pending) in core::mem::take(&mut self.pending) {
            pending.in_order();
            match layout::settled(&pending.medium) {
                Ok(settled) => {
                    self.apply(id, &pending, settled, |_, _| {});
                }
                Err(error) => self.report.findings.push(Finding::Object { id, error }),
            }
        }
    }

    fn put_in_place(&mut self) {
        let pending = core::mem::take(&mut self.pending);
        let mut reached = Vec::new();
        for (id, mut pending) in pending {
            pending.in_order();
            match layout::settled(&pending.medium) {
                Ok(settled) => {
                    let version = self.apply(id, &pending, settled, put);
                    reached.push((pending.medium, settled, version));
                }
                Err(error) => self.report.findings.push(Finding::Object { id, error }),
            }
        }
        reached.retain(|(_, settled, version)| version > settled);
        reached.iter().for_each(|(medium, ..)| medium.fence());
        reached.iter().for_each(|(medium, _, version)| layout::settle(medium, *version));
        reached.iter().for_each(|(medium, ..)| medium.fence());
    }

    /// Applies what follows the settled version without a gap, and says how far that goes.
    fn apply(
        &mut self,
        id: ObjectId,
        pending: &Pending<M>,
        settled: u64,
        put: impl Fn(&M, &Change),
    ) -> u64 {
        let mut reached = settled;
        let mut last = None;
        for (owner, change) in &pending.changes {
            let version = change.version;
            if version <= settled {
                self.report.settled += 1;
            } else if last == Some(version) {
                self.report.findings.push(Finding::Twice { owner: *owner, id, version });
            } else if version == reached + 1 {
                put(&pending.medium, change);
                self.report.applied += 1;
                reached = version;
            } else {
                let version = reached + 1;
                self.report.findings.push(Finding::Missing { id, version });
                return reached;
            }
            last = Some(version);
        }
        reached
    }
}

/// Ends what a session has left that will not go on: its program has died, or stalls while others wait.
/// What it had committed is completed, what it had not is forgotten, its locks are free, its log is empty.
///
/// `objects` finds the mappings of the objects that its records concern, with the dead session's rights;
/// `mapped` are all objects of which it might hold the lock.
///
/// # Errors
/// An object that it had changed is held by somebody else, and waiting was given up: its log is as it was,
/// and this can be done again.
///
/// # Safety
/// Nobody uses that session any more: its program has ended, or can neither read nor write these objects
/// and its log.
pub unsafe fn evict<L: Medium, M: Medium>(
    dead: (Slot, &L),
    by: &mut Session<M>,
    mut objects: impl FnMut(ObjectId) -> Access<Arc<Mapping<M>>>,
    mapped: &[Arc<Mapping<M>>],
) -> Result<Report, Busy> {
    let (owner, log) = dead;
    let mut report = Report::default();
    let mut changed = BTreeMap::new();
    let reader = match Reader::new(log) {
        Ok(mut reader) => {
            for words in &mut reader {
                report.records += 1;
                match allowed(owner, &words, &mut objects, |mapping| mapping.bytes()) {
                    Ok(changes) => complete(owner, &changes, &mut report, &mut changed),
                    Err(finding) => report.findings.push(finding),
                }
            }
            Some(reader)
        }
        Err(error) => {
            report.findings.push(Finding::Log { owner, error });
            None
        }
    };
    mapped.iter().for_each(|mapping| mapping.control().lock().put_out(owner));
    changed.values().try_for_each(|mapping| by.settle_object(mapping))?;
    if let Some(reader) = reader {
        reader.clear();
        log.fence();
    }
    Ok(report)
}

/// Does what is left of a transaction: what it holds a lock on and has not made a version of.
fn complete<M: Medium>(
    owner: Slot,
    changes: &[(Arc<Mapping<M>>, Change)],
    report: &mut Report,
    changed: &mut BTreeMap<ObjectId, Arc<Mapping<M>>>,
) {
    let is_left = |mapping: &Mapping<M>, change: &Change| {
        let control = mapping.control();
        control.lock().writer() == Some(owner) && change.version == control.version() + 1
    };
    let (left, done): (Vec<_>, Vec<_>) =
        changes.iter().partition(|(mapping, change)| is_left(mapping, change));
    report.settled += done.len() as u64;
    report.applied += left.len() as u64;
    for (mapping, change) in &left {
        let store = |line: &LineChange| place::store(mapping, line.line, line.mask, &line.words);
        change.lines.iter().for_each(store);
    }
    left.iter().for_each(|(mapping, change)| mapping.control().set_version(change.version));
    changed.extend(changes.iter().map(|(mapping, change)| (change.id, Arc::clone(mapping))));
}

/// What a record changes, if all of it may be changed by the log's owner.
fn allowed<M>(
    owner: Slot,
    words: &[u64],
    mut access: impl FnMut(ObjectId) -> Access<M>,
    end: impl Fn(&M) -> u64,
) -> Result<Vec<(M, Change)>, Finding> {
    let changes = record::parse(words).map_err(|_| Finding::Malformed { owner })?;
    let mut kept = Vec::with_capacity(changes.len());
    for change in changes {
        let id = change.id;
        match access(id) {
            Access::Write(medium) if is_within(end(&medium), &change) => {
                kept.push((medium, change))
            }
            Access::Write(_) => return Err(Finding::Outside { owner, id }),
            Access::Deleted => {}
            Access::Forbidden => return Err(Finding::Forbidden { owner, id }),
        }
    }
    Ok(kept)
}

/// Whether a transaction can change these bytes of an object that ends there.
fn is_within(end: u64, change: &Change) -> bool {
    change.lines.iter().all(|line| (STATE..end).contains(&line_offset(line.line)))
}

fn end_of(medium: &impl Medium) -> u64 {
    layout::size(medium).unwrap_or(0)
}

/// Puts a change in place; durable after the next fence.
fn put(medium: &impl Medium, change: &Change) {
    for line in &change.lines {
        place::store_words(medium, line.line, line.mask, &line.words);
        medium.flush(layout::place(line_offset(line.line)));
    }
}
