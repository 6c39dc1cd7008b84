//! Which user interrupt vectors may be delivered, and what happens to those that come too early.
//!
//! An edge that arrives while its pin is masked in the IOAPIC is lost. So a masked vector's edge
//! is let through once and remembered, and sent again when the vector is unmasked; only a second
//! one masks the pin. A level stays, so its pin is masked before the interrupt is acknowledged.

use kernel_core::objects::IRQ_VECTORS;

/// User vectors: devices' and signal lines'. Those between the two are never in use.
pub const VECTORS: usize = IRQ_VECTORS;
/// The last user vector.
pub const LAST_VECTOR: u8 = 127;
const _: () = assert!(LAST_VECTOR as usize + 1 == VECTORS);

/// An IOAPIC's pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Which IOAPIC.
    pub io_apic: u8,
    /// Which of its pins.
    pub pin: u8,
    /// Level-triggered.
    pub level: bool,
}

/// What to do with an interrupt that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The kernel is to hear of it; else it will be sent again when the vector is unmasked.
    pub deliver: bool,
    /// Mask this pin before the interrupt is acknowledged.
    pub hold: Option<Pin>,
}

/// What unmasking takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Unmask this pin.
    pub pin: Option<Pin>,
    /// Send the vector to this core: it had arrived meanwhile.
    pub resend: bool,
}

/// The state of every user vector.
#[derive(Clone, Debug)]
pub struct IrqLines {
    masked: u128,
    kept: u128,
    pins: [Option<Pin>; VECTORS],
}

impl Default for IrqLines {
    /// All masked, none routed.
    fn default() -> Self {
        Self { masked: !0, kept: 0, pins: [None; VECTORS] }
    }
}

impl IrqLines {
    /// Routes `pin` to `vector`, masked. Returns the pin that the vector had; mask it.
    pub fn route(&mut self, vector: u8, pin: Pin) -> Option<Pin> {
        self.masked |= bit(vector);
        self.kept &= !bit(vector);
        self.pins.get_mut(usize::from(vector)).and_then(|place| place.replace(pin))
    }

    /// `vector` has arrived.
    pub fn arrive(&mut self, vector: u8) -> Arrival {
        let pin = self.pin(vector);
        let level = pin.filter(|pin| pin.level);
        if self.masked & bit(vector) == 0 {
            return Arrival { deliver: true, hold: level };
        }
        let again = self.kept & bit(vector) != 0;
        if level.is_none() {
            self.kept |= bit(vector);
        }
        Arrival { deliver: false, hold: if again { pin } else { level } }
    }

    /// Keeps `vector` back. Returns the pin to mask: a level's.
    pub fn mask(&mut self, vector: u8) -> Option<Pin> {
        self.masked |= bit(vector);
        self.pin(vector).filter(|pin| pin.level)
    }

    /// Lets `vector` arrive.
    pub fn unmask(&mut self, vector: u8) -> Release {
        let resend = self.kept & bit(vector) != 0;
        self.masked &= !bit(vector);
        self.kept &= !bit(vector);
        Release { pin: self.pin(vector), resend }
    }

    fn pin(&self, vector: u8) -> Option<Pin> {
        self.pins.get(usize::from(vector)).copied().flatten()
    }
}

fn bit(vector: u8) -> u128 {
    1u128.checked_shl(vector.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EDGE: Pin = Pin { io_apic: 0, pin: 4, level: false };
    const LEVEL: Pin = Pin { io_apic: 0, pin: 16, level: true };

    #[test]
    fn an_edge_while_masked_is_sent_again() {
        let mut lines = IrqLines::default();
        lines.route(3, EDGE);
        assert_eq!(lines.unmask(3), Release { pin: Some(EDGE), resend: false });
        assert_eq!(lines.arrive(3), Arrival { deliver: true, hold: None });
        assert_eq!(lines.mask(3), None);
        assert_eq!(lines.arrive(3), Arrival { deliver: false, hold: None });
        assert_eq!(lines.arrive(3), Arrival { deliver: false, hold: Some(EDGE) });
        assert_eq!(lines.unmask(3), Release { pin: Some(EDGE), resend: true });
        assert_eq!(lines.unmask(3), Release { pin: Some(EDGE), resend: false });
    }

    #[test]
    fn a_level_is_held_at_its_pin_and_never_sent_again() {
        let mut lines = IrqLines::default();
        lines.route(5, LEVEL);
        lines.unmask(5);
        assert_eq!(lines.arrive(5), Arrival { deliver: true, hold: Some(LEVEL) });
        assert_eq!(lines.mask(5), Some(LEVEL));
        assert_eq!(lines.arrive(5), Arrival { deliver: false, hold: Some(LEVEL) });
        assert_eq!(lines.unmask(5), Release { pin: Some(LEVEL), resend: false });
    }

    #[test]
    fn routing_anew_gives_the_old_pin_back() {
        let mut lines = IrqLines::default();
        assert_eq!(lines.route(7, EDGE), None);
        assert_eq!(lines.route(7, LEVEL), Some(EDGE));
    }

    proptest! {
        /// However masking and edges interleave, a driver that unmasks hears of the last edge.
        #[test]
        fn no_edge_is_lost(steps in proptest::collection::vec(any::<bool>(), 0..100)) {
            let mut lines = IrqLines::default();
            lines.route(1, EDGE);
            lines.unmask(1);
            let (mut masked, mut held, mut waiting) = (false, false, false);
            for unmask in steps {
                if unmask {
                    let release = lines.unmask(1);
                    prop_assert_eq!(release.resend, waiting);
                    (masked, held, waiting) = (false, false, false);
                } else if !held {
                    match lines.arrive(1) {
                        Arrival { deliver: true, .. } => {
                            prop_assert!(!masked);
                            lines.mask(1);
                            masked = true;
                        }
                        Arrival { deliver: false, hold } => {
                            prop_assert!(masked);
                            waiting = true;
                            held = hold.is_some();
                        }
                    }
                } else {
                    // The pin is masked: this edge is lost, but one is already waiting.
                    prop_assert!(waiting);
                }
            }
        }

        #[test]
        fn any_vector_is_survived(vector in any::<u8>()) {
            let mut lines = IrqLines::default();
            lines.route(vector, LEVEL);
            lines.arrive(vector);
            lines.unmask(vector);
            lines.mask(vector);
        }
    }
}
