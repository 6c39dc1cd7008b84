//! The ranges, and what may be done to them: sans-IO, over any [`Medium`].
//!
//! A write is answered when it would outlive a loss of power: its lines are written back and have
//! arrived, unless the platform saves the processors' caches itself. Where the firmware does not
//! say what it saves, they are written back: that is never wrong. A range whose module is not armed
//! is read only: it would accept a write and lose it.

use alloc::vec::Vec;

use libd3os::device::PersistenceDomain;
use libd3os::service::nvdimm::{MOST_BYTES, NvdimmError, RangeStatus};

use crate::events::{Event, Journal};
use crate::medium::{LINE_BYTES, Medium, Unreachable};

/// All ranges of a machine.
#[derive(Debug)]
pub struct Ranges<M> {
    ranges: Vec<(RangeStatus, M)>,
    domain: Option<PersistenceDomain>,
    journal: Journal,
}

impl<M: Medium> Ranges<M> {
    /// These ranges, with what the firmware says of them and of what it saves when power fails.
    pub fn new(
        ranges: impl IntoIterator<Item = (RangeStatus, M)>,
        domain: Option<PersistenceDomain>,
    ) -> Self {
        let with_size = |(status, medium): (RangeStatus, M)| {
            (RangeStatus { bytes: medium.bytes(), ..status }, medium)
        };
        let ranges = ranges.into_iter().map(with_size).collect();
        Self { ranges, domain, journal: Journal::default() }
    }

    /// What there is.
    pub fn status(&self) -> impl Iterator<Item = RangeStatus> {
        self.ranges.iter().map(|(status, _)| *status)
    }

    /// What the platform saves when power fails.
    #[must_use]
    pub const fn domain(&self) -> Option<PersistenceDomain> {
        self.domain
    }

    /// Bytes of a range.
    ///
    /// # Errors
    /// [`NvdimmError`].
    pub fn read(&mut self, range: u16, offset: u64, bytes: u32) -> Result<Vec<u8>, NvdimmError> {
        if bytes > MOST_BYTES {
            return Err(NvdimmError::TooMany);
        }
        let found = self.ranges.get_mut(usize::from(range));
        let (_, medium) = found.ok_or(NvdimmError::NoSuchRange)?;
        let mut copy = alloc::vec![0; bytes as usize];
        if !is_inside(medium, offset, copy.len()) {
            self.journal.note(Event::Outside(range));
            return Err(NvdimmError::Outside);
        }
        let done = medium.read(offset, &mut copy);
        done.map_err(|why| self.journal.unreachable(range, why))?;
        self.journal.note(Event::Read(range, copy.len()));
        Ok(copy)
    }

    /// Writes bytes into a range; when it returns, they outlive a loss of power.
    ///
    /// # Errors
    /// [`NvdimmError`]; nothing was written then, but for [`NvdimmError::Unreachable`], with which a
    /// part may be.
    pub fn write(&mut self, range: u16, offset: u64, bytes: &[u8]) -> Result<(), NvdimmError> {
        let found = self.ranges.get_mut(usize::from(range));
        let (status, medium) = found.ok_or(NvdimmError::NoSuchRange)?;
        if !status.armed {
            self.journal.note(Event::Unarmed(range));
            return Err(NvdimmError::Unarmed);
        }
        if !is_inside(medium, offset, bytes.len()) {
            self.journal.note(Event::Outside(range));
            return Err(NvdimmError::Outside);
        }
        let saves_caches = self.domain == Some(PersistenceDomain::Caches);
        let done = medium.write(offset, bytes).and_then(|()| match saves_caches {
            true => Ok(()),
            false => write_back(medium, offset, bytes.len()),
        });
        medium.fence();
        done.map_err(|why| self.journal.unreachable(range, why))?;
        self.journal.note(Event::Wrote(range, bytes.len()));
        Ok(())
    }

    /// What was done so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }
}

/// Whether so many bytes from there on are in the medium.
fn is_inside(medium: &impl Medium, offset: u64, bytes: usize) -> bool {
    offset.checked_add(bytes as u64).is_some_and(|end| end <= medium.bytes())
}

fn write_back(medium: &mut impl Medium, offset: u64, bytes: usize) -> Result<(), Unreachable> {
    let end = offset + bytes as u64;
    let mut lines = offset / LINE_BYTES..end.div_ceil(LINE_BYTES);
    lines.try_for_each(|line| medium.write_back(line * LINE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Module;
    use proptest::prelude::*;

    const BYTES: usize = 1000;

    fn status(armed: bool) -> RangeStatus {
        RangeStatus { index: 1, bytes: 0, node: None, armed }
    }

    fn ranges(armed: bool, domain: Option<PersistenceDomain>) -> Ranges<Module> {
        let saves_caches = domain == Some(PersistenceDomain::Caches);
        Ranges::new([(status(armed), Module::new(BYTES, saves_caches))], domain)
    }

    #[test]
    fn an_unarmed_range_can_be_read_and_not_written() {
        let mut ranges = ranges(false, None);
        assert_eq!(ranges.write(0, 0, b"x"), Err(NvdimmError::Unarmed));
        assert_eq!(ranges.read(0, 0, 2), Ok(vec![0, 0]));
        assert_eq!(ranges.ranges[0].1.stores(), 0);
        assert_eq!(ranges.journal().recorder().value("calls refused"), 1);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut ranges = ranges(true, None);
        assert_eq!(ranges.status().map(|range| range.bytes).collect::<Vec<_>>(), [1000]);
        assert_eq!(ranges.write(0, 999, b"xy"), Err(NvdimmError::Outside));
        assert_eq!(ranges.read(0, u64::MAX, 1), Err(NvdimmError::Outside));
        assert_eq!(ranges.read(1, 0, 1), Err(NvdimmError::NoSuchRange));
        assert_eq!(ranges.write(1, 0, b"x"), Err(NvdimmError::NoSuchRange));
        assert_eq!(ranges.read(0, 0, MOST_BYTES + 1), Err(NvdimmError::TooMany));
    }

    #[test]
    fn caches_that_the_platform_saves_are_not_written_back() {
        let mut saved = ranges(true, Some(PersistenceDomain::Caches));
        saved.write(0, 10, &[1; 200]).expect("inside");
        assert_eq!(saved.ranges[0].1.lines_written_back(), 0);
        let mut others = ranges(true, Some(PersistenceDomain::MemoryControllers));
        others.write(0, 10, &[1; 200]).expect("inside");
        assert_eq!(others.ranges[0].1.lines_written_back(), 4);
    }

    #[test]
    fn memory_that_is_not_mapped_is_an_error_and_no_answer() {
        for fails_from in [0, 1, 3] {
            let mut ranges = ranges(true, None);
            ranges.ranges[0].1.fails_from = Some(fails_from);
            assert_eq!(ranges.write(0, 10, &[1; 200]), Err(NvdimmError::Unreachable));
            assert_eq!(ranges.read(0, 0, 8), Err(NvdimmError::Unreachable));
            assert_eq!(ranges.journal().recorder().value("calls refused"), 2);
        }
    }

    fn domain() -> impl Strategy<Value = Option<PersistenceDomain>> {
        use PersistenceDomain::{Caches, Medium, MemoryControllers};
        prop::sample::select(vec![None, Some(Caches), Some(MemoryControllers), Some(Medium)])
    }

    proptest! {
        /// Power fails after any number of writes: each one that was answered is there, whole.
        #[test]
        fn an_answered_write_outlives_a_loss_of_power(
            domain in domain(),
            writes in prop::collection::vec((0u64..1100, prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        ) {
            let mut ranges = ranges(true, domain);
            let mut expected = vec![0; BYTES];
            for (offset, bytes) in writes {
                let start = usize::try_from(offset).expect("small");
                let fits = start + bytes.len() <= BYTES;
                prop_assert_eq!(ranges.write(0, offset, &bytes).is_ok(), fits);
                if fits {
                    expected[start..start + bytes.len()].copy_from_slice(&bytes);
                }
                prop_assert_eq!(ranges.ranges[0].1.after_loss_of_power(), &expected[..]);
                let read = ranges.read(0, 0, 500).expect("inside");
                prop_assert_eq!(&read[..], &expected[..500]);
            }
        }
    }
}
