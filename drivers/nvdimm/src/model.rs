//! A memory module behind a processor's caches: what has not arrived is lost with the power.

use std::collections::BTreeSet;

use crate::medium::{LINE_BYTES, Medium};

#[derive(Debug)]
pub(crate) struct Module {
    cached: Vec<u8>,
    durable: Vec<u8>,
    saves_caches: bool,
    /// Lines on their way, by their first offset.
    under_way: BTreeSet<usize>,
    stores: usize,
    lines: usize,
}

impl Module {
    pub(crate) fn new(bytes: usize, saves_caches: bool) -> Self {
        let (cached, durable) = (vec![0; bytes], vec![0; bytes]);
        Self { cached, durable, saves_caches, under_way: BTreeSet::new(), stores: 0, lines: 0 }
    }

    pub(crate) fn after_loss_of_power(&self) -> &[u8] {
        if self.saves_caches { &self.cached } else { &self.durable }
    }

    pub(crate) fn stores(&self) -> usize {
        self.stores
    }

    pub(crate) fn lines_written_back(&self) -> usize {
        self.lines
    }
}

impl Medium for Module {
    fn bytes(&self) -> usize {
        self.cached.len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.cached[offset..offset + into.len()]);
    }

    fn write(&mut self, offset: usize, from: &[u8]) {
        self.stores += 1;
        self.cached[offset..offset + from.len()].copy_from_slice(from);
    }

    fn write_back(&mut self, offset: usize) {
        self.lines += 1;
        self.under_way.insert(offset - offset % LINE_BYTES);
    }

    fn fence(&mut self) {
        for line in std::mem::take(&mut self.under_way) {
            let end = (line + LINE_BYTES).min(self.cached.len());
            self.durable[line..end].copy_from_slice(&self.cached[line..end]);
        }
    }
}
