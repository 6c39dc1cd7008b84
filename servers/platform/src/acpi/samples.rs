//! Tables for tests: those of two emulated machines as their firmware left them, and made ones.
//!
//! `q35`: four processors in two NUMA nodes, a 64 MiB NVDIMM on the second, an IOMMU, one PCI
//! Express root port. `pc`: four processors in two nodes. Both with 512 MiB, by QEMU 7.2.

use proptest::prelude::*;

use super::directory::Directory;
use super::table::sum;
use crate::memory::Span;

/// A machine's tables in physical memory.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) root: Vec<u8>,
    pub(crate) base: u64,
    pub(crate) tables: Vec<u8>,
}

impl Machine {
    pub(crate) fn q35() -> Self {
        Self {
            root: include_bytes!("../../testdata/q35.rsdp").to_vec(),
            base: 0x1ffd_f000,
            tables: include_bytes!("../../testdata/q35.tables").to_vec(),
        }
    }

    pub(crate) fn pc() -> Self {
        Self {
            root: include_bytes!("../../testdata/pc.rsdp").to_vec(),
            base: 0x1ffe_0000,
            tables: include_bytes!("../../testdata/pc.tables").to_vec(),
        }
    }

    pub(crate) fn memory(&self) -> [Span<'_>; 1] {
        [Span { address: self.base, bytes: &self.tables }]
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::read(&self.root, &self.memory()[..]).expect("its root is sound")
    }

    /// Where a table begins.
    pub(crate) fn find(&self, signature: &[u8; 4]) -> usize {
        let table = self.directory().tables.into_iter().find(|t| t.signature() == Some(*signature));
        let offset = table.expect("the machine has it").address - self.base;
        usize::try_from(offset).expect("it lies among them")
    }

    /// A table as it is read.
    pub(crate) fn table(&self, signature: &[u8; 4]) -> Vec<u8> {
        self.directory().sound(signature).expect("the machine has it").to_vec()
    }

    /// Makes changes, and the sums right again where a change says so.
    pub(crate) fn damage(&mut self, changes: &[Change]) {
        for change in changes {
            let at = change.at.index(self.tables.len());
            self.tables[at] = change.value;
            if change.seal {
                self.seal();
            }
        }
    }

    /// Makes the sums of all tables right.
    pub(crate) fn seal(&mut self) {
        for table in self.directory_or_empty().tables {
            let Some(header) = table.header else { continue };
            let Ok(start) = usize::try_from(table.address.wrapping_sub(self.base)) else {
                continue;
            };
            let end = start.saturating_add(header.length.get() as usize);
            if let Some(bytes) = self.tables.get_mut(start..end).filter(|bytes| bytes.len() > 9) {
                bytes[9] = bytes[9].wrapping_sub(sum(bytes));
            }
        }
    }

    fn directory_or_empty(&self) -> Directory {
        Directory::read(&self.root, &self.memory()[..]).unwrap_or_default()
    }
}

/// A byte that is not what it was.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    at: prop::sample::Index,
    value: u8,
    seal: bool,
}

pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    prop::collection::vec(change.prop_map(|(at, value, seal)| Change { at, value, seal }), 1..12)
}

/// A table with a sound header around `body`.
pub(crate) fn sealed(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend(u32::try_from(36 + body.len()).expect("small").to_le_bytes());
    table.extend([1, 0]);
    table.extend(b"D3OS  TESTDATA");
    table.resize(36, 0);
    table.extend(body);
    table[9] = 0u8.wrapping_sub(sum(&table));
    table
}

/// A root pointer.
pub(crate) fn root_pointer(revision: u8, rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR ".to_vec();
    bytes.resize(36, 0);
    bytes[15] = revision;
    bytes[16..20].copy_from_slice(&rsdt.to_le_bytes());
    bytes[8] = 0u8.wrapping_sub(sum(&bytes[..20]));
    bytes[20] = 36;
    bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
    bytes[32] = 0u8.wrapping_sub(sum(&bytes));
    bytes
}

/// A sound table with any one of the bytes behind the header changed, cut or lengthened: for
/// what reads a table whose sum is right.
pub(crate) fn mutated(table: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (prop::collection::vec(change, 0..6), 0usize..80).prop_map(move |(changes, cut)| {
        let mut table = table.clone();
        for (at, value) in changes {
            let at = at.index(table.len());
            table[at] = value;
        }
        table.truncate(table.len() - cut.saturating_sub(40));
        table
    })
}
