//! Where a function's interrupt pin leads.
//!
//! The firmware's routing tables say it for the buses that they are for. Behind a bridge without
//! a table of its own, pins are rotated by the device's number and come out at the bridge's pins
//! (PCI-to-PCI Bridge 1.2, section 9.1).

use alloc::collections::BTreeMap;
use alloc::string::ToString;

use libd3os::service::platform::{DeviceInfo, Interrupt, PciAddress, Route};

use super::class;
use super::function::{Function, Kind};

/// Pins of a device.
const PINS: u8 = 4;
/// Deepest way up: a path visits no bus twice.
const DEEPEST: usize = 256;

/// Most routes that are kept: more than any machine has.
const MOST_ROUTES: usize = 8192;

/// Segment, bus, device and pin.
type Place = (u16, u8, u8, u8);

/// Where the pins of devices on some buses lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(BTreeMap<Place, Route>);

impl Routes {
    /// Adds routes. Impossible pins and devices are left out; the first of two that contradict
    /// each other counts.
    pub fn extend(&mut self, routes: impl IntoIterator<Item = Route>) {
        for route in routes {
            let is_sound = (1..=PINS).contains(&route.pin) && route.device < 32;
            if is_sound && self.0.len() < MOST_ROUTES {
                let place = (route.segment, route.bus, route.device, route.pin);
                self.0.entry(place).or_insert(route);
            }
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether any pin leads to this input.
    #[must_use]
    pub fn lead_to(&self, gsi: u32) -> bool {
        self.0.values().any(|route| route.gsi == gsi)
    }

    /// Where the pin of a function of `functions` leads.
    #[must_use]
    pub fn find(&self, functions: &[Function], function: &Function) -> Option<&Route> {
        let mut pin = function.pin?;
        let mut at = function;
        for _ in 0..DEEPEST {
            let PciAddress { segment, bus, device, .. } = at.address;
            if let Some(route) = self.0.get(&(segment, bus, device, pin)) {
                return Some(route);
            }
            // A bus with a table of its own has said all that there is to say.
            let mut of_bus = self.0.range((segment, bus, 0, 0)..=(segment, bus, u8::MAX, u8::MAX));
            if of_bus.next().is_some() {
                return None;
            }
            pin = (pin - 1 + device) % PINS + 1;
            at = functions.get(at.parent?)?;
        }
        None
    }
}

/// A function as the service tells of it, for nobody so far.
#[must_use]
pub fn describe(functions: &[Function], function: &Function, routes: &Routes) -> DeviceInfo {
    let (subsystem, buses) = match function.kind {
        Kind::Device { subsystem } => (Some(subsystem), None),
        Kind::Bridge { secondary, subordinate } => (None, Some((secondary, subordinate))),
        Kind::Other => (None, None),
    };
    DeviceInfo {
        address: function.address,
        vendor: function.vendor,
        device: function.device,
        revision: function.revision,
        class: function.class,
        subsystem,
        buses,
        bars: function.bars.clone(),
        capabilities: function.capabilities.clone(),
        interrupt: interrupt(functions, function, routes),
        words: class::name(function.class).to_string(),
        claim: None,
    }
}

/// The best way of interrupting that a function of `functions` has.
#[must_use]
pub fn interrupt(functions: &[Function], function: &Function, routes: &Routes) -> Interrupt {
    match (function.message_interrupt, function.pin) {
        (Interrupt::None, Some(pin)) => match routes.find(functions, function) {
            Some(route) => Interrupt::Pin { pin, gsi: route.gsi, signal: route.signal },
            None => Interrupt::Unrouted { pin },
        },
        (message, _) => message,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, bridge, device};
    use super::super::scan::scan;
    use super::*;
    use libd3os::service::platform::Signal;
    use proptest::prelude::*;

    const SIGNAL: Signal = Signal { level_triggered: true, active_low: false };

    fn route(bus: u8, device: u8, pin: u8, gsi: u32) -> Route {
        Route { segment: 0, bus, device, pin, gsi, signal: SIGNAL }
    }

    /// A device with pin 1 on bus 2, behind device 3 of bus 0 and device 1 of bus 1.
    fn functions() -> Vec<Function> {
        let mut model = Model::default();
        let pin = |node: super::super::model::Node| node.with(0x3c, 0x0100);
        model.put(0, 3, 0, pin(bridge(1, 2)));
        model.put(1, 1, 0, pin(bridge(2, 2)));
        model.put(2, 6, 0, pin(device(0x1af4, 0x1000)));
        model.put(0, 4, 0, device(0x1af4, 0x1000));
        scan(&mut model, 0, (0, 255), &[]).functions
    }

    fn found(routes: &[Route], bus: u8, device: u8) -> Option<u32> {
        let functions = functions();
        let mut all = Routes::default();
        all.extend(routes.iter().copied());
        let at = functions.iter().find(|f| (f.address.bus, f.address.device) == (bus, device));
        all.find(&functions, at.expect("it is there")).map(|route| route.gsi)
    }

    #[test]
    fn pins_turn_at_every_bridge_without_a_table() {
        // INTA of device 6 is pin 3 of the bridge; that, of device 1, pin 4 of the next.
        assert_eq!(found(&[route(0, 3, 4, 20)], 2, 6), Some(20));
        assert_eq!(found(&[route(0, 3, 1, 21)], 2, 6), None);
        assert_eq!(found(&[route(0, 3, 4, 20), route(1, 1, 3, 22)], 2, 6), Some(22));
        assert_eq!(found(&[route(0, 3, 4, 20), route(2, 6, 1, 23)], 2, 6), Some(23));
        assert_eq!(found(&[route(0, 3, 4, 20), route(2, 6, 2, 23)], 2, 6), None);
    }

    #[test]
    fn a_function_without_a_pin_needs_no_route() {
        assert_eq!(found(&[route(0, 4, 1, 9)], 0, 4), None);
        assert_eq!(found(&[], 0, 3), None);
    }

    #[test]
    fn messages_go_before_pins() {
        let mut model = Model::default();
        let pin = |node: super::super::model::Node| node.with(0x3c, 0x0100);
        let msi = [(0x50u16, 0x05u8, &[0x0006_0000u32][..])];
        model.put(0, 1, 0, pin(device(0x8086, 1)).capabilities(&msi));
        model.put(0, 2, 0, pin(device(0x8086, 2)));
        model.put(0, 3, 0, pin(device(0x8086, 3)));
        let functions = scan(&mut model, 0, (0, 0), &[]).functions;
        let mut routes = Routes::default();
        routes.extend([route(0, 2, 1, 18)]);
        let interrupts: Vec<_> =
            functions.iter().map(|f| describe(&functions, f, &routes).interrupt).collect();
        assert_eq!(
            interrupts,
            [
                Interrupt::Msi { vectors: 8 },
                Interrupt::Pin { pin: 1, gsi: 18, signal: SIGNAL },
                Interrupt::Unrouted { pin: 1 },
            ]
        );
    }

    proptest! {
        #[test]
        fn any_routes_are_survived(routes in prop::collection::vec((0u8..4, any::<u8>(), any::<u8>()), 0..20)) {
            let functions = functions();
            let mut all = Routes::default();
            all.extend(routes.into_iter().map(|(bus, device, pin)| route(bus, device, pin, 1)));
            for function in &functions {
                if let Some(route) = all.find(&functions, function) {
                    prop_assert!((1..=4).contains(&route.pin));
                }
            }
        }
    }
}
