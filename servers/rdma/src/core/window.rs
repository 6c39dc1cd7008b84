//! How many packets a reliable connection has in flight.
//!
//! The window is that of TCP's classical congestion control (RFC 5681), in packets: it doubles each round
//! trip up to a threshold, then grows by one packet each round trip. A lost packet and a
//! congestion notification halve it, once for what was in flight then; no answer within the timeout
//! brings it down to one. It bounds requests and what is asked for by reads, so answers are bounded, too.

use crate::wire::Psn;

/// Packets at the beginning (RFC 6928).
const INITIAL: u32 = 10;
/// Packets at most.
pub(super) const MOST: u32 = 256;
/// What a cut leaves at least.
const LEAST: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    size: u32,
    threshold: u32,
    /// Acknowledged since it grew.
    acknowledged: u32,
    /// It is not cut again before this packet is acknowledged.
    cut: Option<Psn>,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: INITIAL, threshold: MOST, acknowledged: 0, cut: None }
    }
}

impl Window {
    pub(super) const fn packets(&self) -> u32 {
        self.size
    }

    /// So many packets more were acknowledged, all before `until`.
    pub(super) fn grow(&mut self, packets: u32, until: Psn) {
        if self.cut.is_some_and(|cut| !until.is_before(cut)) {
            self.cut = None;
        }
        if self.size < self.threshold {
            self.size = (self.size + packets).min(self.threshold);
            return;
        }
        self.acknowledged += packets;
        if self.acknowledged >= self.size {
            self.acknowledged = 0;
            self.size = (self.size + 1).min(MOST);
        }
    }

    /// A packet was lost or met congestion, when packets before `next` were on their way.
    pub(super) fn cut(&mut self, next: Psn) {
        if self.cut.is_none() {
            self.threshold = (self.size / 2).max(LEAST);
            self.size = self.threshold;
            self.acknowledged = 0;
            self.cut = Some(next);
        }
    }

    /// Nothing was answered in time.
    pub(super) fn collapse(&mut self) {
        self.threshold = (self.size / 2).max(LEAST);
        *self = Self { size: 1, threshold: self.threshold, acknowledged: 0, cut: None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_then_grows_by_one() {
        let mut window = Window::default();
        window.grow(10, Psn::new(10));
        assert_eq!(window.packets(), 20);
        window.cut(Psn::new(40));
        assert_eq!(window.packets(), 10);
        window.cut(Psn::new(41));
        assert_eq!(window.packets(), 10, "once for what was in flight");
        window.grow(9, Psn::new(39));
        assert_eq!(window.packets(), 10);
        window.grow(1, Psn::new(40));
        assert_eq!(window.packets(), 11);
        window.cut(Psn::new(60));
        assert_eq!(window.packets(), 5);
    }

    #[test]
    fn it_has_bounds() {
        let mut window = Window::default();
        (0..10_000).for_each(|_| window.grow(100, Psn::new(1)));
        assert_eq!(window.packets(), MOST);
        window.collapse();
        assert_eq!(window.packets(), 1);
        window.cut(Psn::new(9));
        assert_eq!(window.packets(), LEAST);
    }
}
