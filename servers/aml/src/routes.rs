//! Routing tables: what a `_PRT` object says (ACPI 6.5, section 6.2.13).

use alloc::string::String;
use alloc::vec::Vec;

use acpi::aml::object::{Object, WrappedObject};
use libd3os::service::platform::Signal;

use crate::resource::Interrupt;

/// An entry of a routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Device on the table's bus.
    pub device: u8,
    /// Pin, 1 to 4.
    pub pin: u8,
    /// Where it leads.
    pub leads: Leads,
}

/// Where a pin leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To this input of the interrupt controllers.
    Input(Interrupt),
    /// To a device of this name, which is connected to an input by what it says itself.
    Link(String),
}

/// How PCI's pins announce where nobody says otherwise (section 6.2.13).
const PIN_SIGNAL: Signal = Signal { level_triggered: true, active_low: true };
/// More entries than 32 devices have pins are no routing table.
const MOST_ENTRIES: usize = 1024;

/// Reads a routing table. Entries that make no sense are left out; how many they were is the second
/// part of the answer. `None` if it is no table at all.
#[must_use]
pub fn decode(table: &Object) -> Option<(Vec<Entry>, usize)> {
    let Object::Package(elements) = table else { return None };
    let read = elements.iter().take(MOST_ENTRIES).map(|element| entry(element));
    let entries: Vec<Entry> = read.flatten().collect();
    let bad = elements.len() - entries.len();
    Some((entries, bad))
}

fn entry(element: &Object) -> Option<Entry> {
    let Object::Package(fields) = element else { return None };
    let [address, pin, source, index, ..] = &fields[..] else { return None };
    // Device above, function below; all functions of a device share its pins.
    let device = u8::try_from(number(address)? >> 16).ok().filter(|device| *device < 32)?;
    let pin = u8::try_from(number(pin)?).ok().filter(|pin| *pin < 4)? + 1;
    Some(Entry { device, pin, leads: leads(source, index)? })
}

fn leads(source: &WrappedObject, index: &WrappedObject) -> Option<Leads> {
    match &*source.clone().unwrap_reference() {
        Object::Integer(0) => {
            let number = u32::try_from(number(index)?).ok()?;
            Some(Leads::Input(Interrupt { number, signal: PIN_SIGNAL }))
        }
        // The interpreter leaves names in packages as strings.
        Object::String(name) => Some(Leads::Link(name.clone())),
        _ => None,
    }
}

fn number(object: &WrappedObject) -> Option<u64> {
    match &*object.clone().unwrap_reference() {
        Object::Integer(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(fields: impl IntoIterator<Item = Object>) -> Object {
        Object::Package(fields.into_iter().map(Object::wrap).collect())
    }

    fn fields(address: u64, pin: u64, source: Object, index: u64) -> Object {
        package([Object::Integer(address), Object::Integer(pin), source, Object::Integer(index)])
    }

    #[test]
    fn inputs_and_links() {
        let link = Object::String("LNKA".into());
        let table =
            package([fields(0x4_ffff, 0, Object::Integer(0), 20), fields(0x1f_ffff, 3, link, 0)]);
        let input = Interrupt { number: 20, signal: PIN_SIGNAL };
        let first = Entry { device: 4, pin: 1, leads: Leads::Input(input) };
        let second = Entry { device: 31, pin: 4, leads: Leads::Link("LNKA".into()) };
        assert_eq!(decode(&table), Some((vec![first, second], 0)));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let zero = || Object::Integer(0);
        let table = package([
            zero(),
            package([zero(), zero(), zero()]),
            fields(0x20_ffff, 0, zero(), 1),
            fields(0xffff_ffff_ffff, 0, zero(), 1),
            fields(0, 4, zero(), 1),
            fields(0, 0, Object::Device, 1),
            fields(0, 0, Object::Integer(1), 1),
            fields(0, 0, zero(), 1 << 32),
            fields(0, 0, zero(), 1),
        ]);
        let (entries, bad) = decode(&table).expect("a table");
        assert_eq!((entries.len(), bad), (1, 8));
        assert_eq!(decode(&Object::Device), None);
    }
}
