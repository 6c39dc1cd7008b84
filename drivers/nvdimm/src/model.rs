//! A memory module behind a processor's caches: what has not arrived is lost with the power.

use std::collections::BTreeSet;

use crate::medium::{LINE_BYTES, Medium, Unreachable};

#[derive(Debug)]
pub(crate) struct Module {
    cached: Vec<u8>,
    durable: Vec<u8>,
    saves_caches: bool,
    /// Lines on their way, by their first offset.
    under_way: BTreeSet<usize>,
    stores: usize,
    lines: usize,
    /// Accesses from this one on fail.
    pub(crate) fails_from: Option<usize>,
    accesses: usize,
}

impl Module {
    pub(crate) fn new(bytes: usize, saves_caches: bool) -> Self {
        let (cached, durable) = (vec![0; bytes], vec![0; bytes]);
        Self {
            cached,
            durable,
            saves_caches,
            under_way: BTreeSet::new(),
            stores: 0,
            lines: 0,
            fails_from: None,
            accesses: 0,
        }
    }

    pub(crate) fn after_loss_of_power(&self) -> &[u8] {
        if self.saves_caches { &self.cached } else { &self.durable }
    }

    pub(crate) fn stores(&self) -> usize {
        self.stores
    }

    /// Counts an access, and tells whether it fails.
    fn access(&mut self) -> Result<(), Unreachable> {
        let number = self.accesses;
        self.accesses += 1;
        if self.fails_from.is_some_and(|from| number >= from) { Err(Unreachable) } else { Ok(()) }
    }

    pub(crate) fn lines_written_back(&self) -> usize {
        self.lines
    }
}

impl Medium for Module {
    fn bytes(&self) -> u64 {
        self.cached.len() as u64
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Unreachable> {
        self.access()?;
        let start = place(offset);
        into.copy_from_slice(&self.cached[start..start + into.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u64, from: &[u8]) -> Result<(), Unreachable> {
        self.access()?;
        self.stores += 1;
        let start = place(offset);
        self.cached[start..start + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn write_back(&mut self, offset: u64) -> Result<(), Unreachable> {
        self.access()?;
        self.lines += 1;
        self.under_way.insert(place(offset - offset % LINE_BYTES));
        Ok(())
    }

    fn fence(&mut self) {
        for line in std::mem::take(&mut self.under_way) {
            let end = (line + place(LINE_BYTES)).min(self.cached.len());
            self.durable[line..end].copy_from_slice(&self.cached[line..end]);
        }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("an address")
}
