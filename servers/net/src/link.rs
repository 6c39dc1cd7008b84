//! The consumer's end of a driver's rings, as a card.

use libd3os::nic::{Checks, Frame, Link, Outgoing, Sum, Wake};
use libd3os::service::net::LinkState;
use libd3os::service::nic::{CardState, Line};

use crate::device::Card;
use crate::interface::CardInfo;

impl<W: Wake> Card for Link<'static, W> {
    type Frame = Frame<'static>;
    type Buffer = Outgoing<'static>;

    fn receive(&mut self) -> Option<(Frame<'static>, Checks)> {
        let frame = Self::receive(self)?;
        let checks = frame.checks();
        Some((frame, checks))
    }

    fn give_back(&mut self, frame: Frame<'static>) {
        Self::give_back(self, frame);
    }

    fn take(&mut self) -> Option<Outgoing<'static>> {
        Self::take(self)
    }

    fn sums(&self) -> bool {
        Self::sums(self)
    }

    fn send(&mut self, buffer: Outgoing<'static>, length: usize, sum: Sum) {
        Self::send(self, buffer, length, sum);
    }

    fn give_up(&mut self, buffer: Outgoing<'static>) {
        Self::give_up(self, buffer);
    }

    fn flush(&mut self) {
        if self.is_urgent() {
            Self::flush(self);
        }
    }

    fn arm(&mut self) -> bool {
        Self::arm(self)
    }
}

/// What a driver says of its card.
#[must_use]
pub fn info(state: &CardState, instance: u32) -> CardInfo {
    CardInfo { mac: state.mac, mtu: state.mtu, link: link_state(state.line), instance }
}

/// The state of a card's line.
#[must_use]
pub const fn link_state(line: Line) -> LinkState {
    match line {
        Line::Down => LinkState::Down,
        Line::Up(_) => LinkState::Up,
    }
}
