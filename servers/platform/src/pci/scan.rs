//! Finds every function: from the root buses through all bridges.
//!
//! The firmware has numbered the buses; this only reads what it did. A bus is visited once, so
//! bridges that lead back to where one came from end the way there. Buses that no bridge leads to
//! are looked at in the end, for machines have more than one host bridge.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use libd3os::service::platform::PciAddress;

use super::bar::Held;
use super::config::ConfigSpace;
use super::function::{self, Function, Kind};
use super::problem::{Problem, Wrong};

/// Buses of a segment.
const BUSES: usize = 256;
/// Most functions that are read: more than any machine has, and an end to what a broken bus
/// may answer.
pub const MOST_FUNCTIONS: usize = 4096;

/// All that is on the buses of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The functions, by address.
    pub functions: Vec<Function>,
    /// What was wrong with them.
    pub problems: Vec<Problem>,
    /// Whether there were more than are read.
    pub cut: bool,
}

/// Finds the functions on buses `first` to `last` of a segment. Those that are `held` are only read.
pub fn scan(
    space: &mut impl ConfigSpace,
    segment: u16,
    (first, last): (u8, u8),
    held: &[Held],
) -> Tree {
    let mut scan = Scan { space, segment, held, tree: Tree::default(), visited: [false; BUSES] };
    for root in first..=last {
        if !scan.visited[usize::from(root)] {
            scan.walk_from(root, last);
        }
    }
    scan.tree.sorted()
}

/// A bus to visit.
#[derive(Clone, Copy, Debug)]
struct Bus {
    number: u8,
    /// Last bus that bridges on it may lead to.
    last: u8,
    parent: Option<usize>,
}

struct Scan<'a, S> {
    space: &'a mut S,
    segment: u16,
    held: &'a [Held],
    tree: Tree,
    visited: [bool; BUSES],
}

impl<S: ConfigSpace> Scan<'_, S> {
    fn walk_from(&mut self, root: u8, last: u8) {
        let mut waiting = VecDeque::from([Bus { number: root, last, parent: None }]);
        while let Some(bus) = waiting.pop_front() {
            if !core::mem::replace(&mut self.visited[usize::from(bus.number)], true) {
                self.visit(bus, &mut waiting);
            }
        }
    }

    fn visit(&mut self, bus: Bus, waiting: &mut VecDeque<Bus>) {
        for device in 0..32 {
            for function in 0..8 {
                let address =
                    PciAddress { segment: self.segment, bus: bus.number, device, function };
                let present = function::identity(self.space, address);
                if let Some(identity) = present {
                    self.add(address, identity, bus, waiting);
                }
                // Without function 0 there is no device, and one that has only that may answer
                // for the others as well.
                let mut has_more =
                    || present.is_some() && function::has_several(self.space, address);
                if function == 0 && !has_more() {
                    break;
                }
            }
        }
    }

    fn add(
        &mut self,
        address: PciAddress,
        identity: (u16, u16),
        bus: Bus,
        waiting: &mut VecDeque<Bus>,
    ) {
        if self.tree.functions.len() == MOST_FUNCTIONS {
            self.tree.cut = true;
            return;
        }
        let problems = &mut self.tree.problems;
        let mut wrong = |wrong| problems.push(Problem { address, wrong });
        let held = self.held.iter().find(|held| held.address == address);
        let found = Function::read(self.space, address, identity, bus.parent, held, &mut wrong);
        if let Kind::Bridge { secondary, subordinate } = found.kind
            // One that the firmware left alone leads nowhere: its numbers are zero.
            && (secondary, subordinate) != (0, 0)
        {
            let parent = Some(self.tree.functions.len());
            match check_buses(&self.visited, bus, secondary, subordinate, waiting) {
                Ok(()) => waiting.push_back(Bus { number: secondary, last: subordinate, parent }),
                Err(error) => wrong(error),
            }
        }
        self.tree.functions.push(found);
    }
}

/// Whether a bridge on `bus` may lead to these buses.
fn check_buses(
    visited: &[bool; BUSES],
    bus: Bus,
    secondary: u8,
    subordinate: u8,
    waiting: &VecDeque<Bus>,
) -> Result<(), Wrong> {
    let upwards = bus.number < secondary && secondary <= subordinate;
    if !upwards || subordinate > bus.last {
        return Err(Wrong::Buses(secondary, subordinate));
    }
    let known = waiting.iter().any(|other| other.number == secondary);
    if known || visited[usize::from(secondary)] {
        return Err(Wrong::BusTwice(secondary));
    }
    Ok(())
}

impl Tree {
    /// Puts the functions in the order of their addresses, and what refers to them with them.
    fn sorted(mut self) -> Self {
        let mut order: Vec<usize> = (0..self.functions.len()).collect();
        order.sort_by_key(|&index| self.functions[index].address);
        let mut place = alloc::vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new;
        }
        for function in &mut self.functions {
            function.parent = function.parent.map(|old| place[old]);
        }
        self.functions.sort_by_key(|function| function.address);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{self, Model, Node, bridge, device};
    use super::*;
    use proptest::prelude::*;

    fn addresses(tree: &Tree) -> Vec<String> {
        tree.functions.iter().map(|function| function.address.to_string()).collect()
    }

    fn wrongs(tree: &Tree) -> Vec<(String, Wrong)> {
        tree.problems.iter().map(|p| (p.address.to_string(), p.wrong)).collect()
    }

    #[test]
    fn functions_behind_bridges_are_found() {
        let mut model = Model::default();
        model.put(0, 0, 0, device(0x8086, 0x1237));
        model.put(0, 3, 0, bridge(1, 2));
        model.put(1, 0, 0, bridge(2, 2));
        model.put(2, 5, 0, device(0x1af4, 0x1000).several());
        model.put(2, 5, 6, device(0x1af4, 0x1001));
        model.put(2, 5, 7, device(0, 0x1001));
        model.put(2, 6, 1, device(0x1af4, 0x1002));
        let tree = scan(&mut model, 0, (0, 255), &[]);
        assert_eq!(addresses(&tree), ["00:00.0", "00:03.0", "01:00.0", "02:05.0", "02:05.6"]);
        assert!(tree.functions.iter().map(|f| f.parent).eq([
            None,
            None,
            Some(1),
            Some(2),
            Some(2)
        ]));
        assert_eq!(tree.problems, []);
    }

    #[test]
    fn a_device_without_further_functions_is_asked_for_the_first_only() {
        let mut model = Model::default();
        let ghost = device(0x8086, 1);
        (0..8).for_each(|function| model.put(0, 1, function, ghost.clone()));
        assert_eq!(addresses(&scan(&mut model, 0, (0, 255), &[])), ["00:01.0"]);
    }

    #[test]
    fn further_host_bridges_are_found() {
        let mut model = Model::default();
        model.put(0, 0, 0, device(0x8086, 1));
        model.put(0x80, 0, 0, bridge(0x81, 0x90));
        model.put(0x81, 0, 0, device(0x8086, 2));
        let tree = scan(&mut model, 0, (0, 255), &[]);
        assert_eq!(addresses(&tree), ["00:00.0", "80:00.0", "81:00.0"]);
        assert_eq!(tree.functions[2].parent, Some(1));
    }

    #[test]
    fn bridges_that_cannot_be_are_named_and_not_followed() {
        let mut model = Model::default();
        model.put(0, 0, 0, bridge(1, 4));
        model.put(0, 1, 0, bridge(0, 0));
        model.put(0, 2, 0, bridge(1, 4));
        model.put(0, 3, 0, bridge(7, 6));
        model.put(1, 0, 0, bridge(0, 4));
        model.put(1, 1, 0, bridge(1, 4));
        model.put(1, 2, 0, bridge(3, 5));
        model.put(1, 3, 0, device(0xffff, 0));
        let tree = scan(&mut model, 0, (0, 255), &[]);
        assert_eq!(
            wrongs(&tree),
            [
                ("00:02.0".into(), Wrong::BusTwice(1)),
                ("00:03.0".into(), Wrong::Buses(7, 6)),
                ("01:00.0".into(), Wrong::Buses(0, 4)),
                ("01:01.0".into(), Wrong::Buses(1, 4)),
                ("01:02.0".into(), Wrong::Buses(3, 5)),
            ]
        );
        assert_eq!(tree.functions.len(), 7);
    }

    #[test]
    fn a_bus_that_answers_everywhere_has_an_end() {
        let mut everywhere = model::Everywhere(device(0x8086, 1).several());
        let tree = scan(&mut everywhere, 0, (0, 255), &[]);
        assert_eq!((tree.functions.len(), tree.cut), (MOST_FUNCTIONS, true));
    }

    #[test]
    fn nothing_is_written_but_what_sizing_restores() {
        let mut model = Model::default();
        let node = device(0x8086, 1).with(0x04, 0x0010_0507).bar(0, 0xfebc_0000, 0x2_0000);
        model.put(0, 0, 0, node);
        let before = model.clone();
        scan(&mut model, 0, (0, 255), &[]);
        assert_eq!(model.nodes, before.nodes);
    }

    /// A made tree of buses as firmware numbers it, and the addresses in it.
    fn trees() -> impl Strategy<Value = (Model, Vec<PciAddress>)> {
        let places = prop::collection::vec(
            (any::<prop::sample::Index>(), 0u8..32, 0u8..8, any::<bool>()),
            0..60,
        );
        places.prop_map(|places| {
            let mut model = Model::default();
            model.grow(&places);
            let mut expected = model.reachable();
            expected.sort_unstable();
            (model, expected)
        })
    }

    proptest! {
        /// What the scan finds is what a walk over the model's own links finds, in order, with
        /// the right bridge above each.
        #[test]
        fn a_sound_tree_is_found_whole((mut model, expected) in trees()) {
            let tree = scan(&mut model, 0, (0, 255), &[]);
            let found: Vec<_> = tree.functions.iter().map(|function| function.address).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(&tree.problems, &[]);
            for function in &tree.functions {
                let above = function.parent.map(|parent| tree.functions[parent].kind);
                match above {
                    Some(Kind::Bridge { secondary, .. }) => {
                        prop_assert_eq!(secondary, function.address.bus);
                    }
                    Some(_) => prop_assert!(false, "a parent that is no bridge"),
                    None => prop_assert_eq!(function.address.bus, 0),
                }
            }
        }

        /// Whatever registers hold: the scan ends, finds each function once, and leaves the
        /// registers as they were.
        #[test]
        fn any_registers_are_survived(
            nodes in prop::collection::vec((0u8..6, 0u8..4, 0u8..2, model::any_node()), 0..30),
        ) {
            let mut model = Model::default();
            for (bus, device, function, node) in nodes {
                model.put(bus, device, function, node);
            }
            let before = model.clone();
            let tree = scan(&mut model, 0, (0, 255), &[]);
            let mut seen: Vec<_> = tree.functions.iter().map(|f| f.address).collect();
            prop_assert!(seen.is_sorted());
            seen.dedup();
            prop_assert_eq!(seen.len(), tree.functions.len());
            prop_assert_eq!(model.nodes, before.nodes);
            for function in &tree.functions {
                prop_assert!(function.capabilities.len() <= 48);
                prop_assert!(function.bars.iter().all(|bar| bar.size.is_power_of_two()));
            }
        }
    }

    #[test]
    fn nodes_of_the_model_are_devices_until_told_otherwise() {
        assert_eq!(Node::default(), Node::default().with(0x04, 0));
    }
}
