//! Tests only: the bytecode of two emulated machines, from the platform server's test data.

use std::cell::RefCell;
use std::collections::BTreeMap;

use libd3os::service::platform::PciAddress;

use crate::machine::Machine;

/// A machine's tables, one after the other.
pub(crate) const Q35: &[u8] = include_bytes!("../../platform/testdata/q35.tables");
pub(crate) const PC: &[u8] = include_bytes!("../../platform/testdata/pc.tables");

/// The table with this signature.
pub(crate) fn table(tables: &[u8], signature: &[u8; 4]) -> Option<Vec<u8>> {
    let start = tables.windows(4).position(|bytes| bytes == signature)?;
    let length = u32::from_le_bytes(tables[start + 4..start + 8].try_into().expect("four"));
    Some(tables[start..start + length as usize].to_vec())
}

/// Configuration space with some registers; the time passes with every look.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    pub(crate) words: BTreeMap<(PciAddress, u16), u32>,
    pub(crate) reads: RefCell<Vec<(PciAddress, u16)>>,
}

impl Machine for Registers {
    fn configuration(&self, address: PciAddress, offset: u16) -> u32 {
        self.reads.borrow_mut().push((address, offset));
        self.words.get(&(address, offset)).copied().unwrap_or(u32::MAX)
    }

    fn now(&self) -> u64 {
        self.reads.borrow_mut().push((PciAddress::default(), u16::MAX));
        self.reads.borrow().len() as u64 * 1_000_000
    }
}

/// A package length and what it is of (ACPI 6.5, section 20.2.4).
fn sized(opcode: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).expect("small");
    let low = u8::try_from(length & 0xf).expect("four bits") | 0x40;
    let high = u8::try_from(length >> 4).expect("small");
    [opcode, &[low, high], body].concat()
}

/// `Device (name) { … }`
pub(crate) fn device(name: &[u8; 4], body: &[Vec<u8>]) -> Vec<u8> {
    sized(&[0x5b, 0x82], &[&name[..], &body.concat()].concat())
}

/// `Scope (name) { … }`
pub(crate) fn scope(name: &[u8], body: &[Vec<u8>]) -> Vec<u8> {
    sized(&[0x10], &[name, &body.concat()].concat())
}

/// `Name (name, object)`
pub(crate) fn name(name: &[u8; 4], object: &[u8]) -> Vec<u8> {
    [&[0x08], &name[..], object].concat()
}

/// `Package () { … }`
pub(crate) fn package(elements: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(elements.len()).expect("few");
    sized(&[0x12], &[&[count][..], &elements.concat()].concat())
}

/// A number.
pub(crate) fn number(value: u32) -> Vec<u8> {
    [&[0x0c][..], &value.to_le_bytes()].concat()
}

/// A table of this bytecode.
pub(crate) fn main_table(code: &[Vec<u8>]) -> Vec<u8> {
    let mut table = vec![0; 36];
    table[8] = 2;
    table.extend(code.concat());
    table
}
