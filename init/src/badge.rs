//! Who sends a message to init's endpoint, and what kind of message it is: the endpoint's badges.
//!
//! All of init's clients and all faulting threads share one endpoint, since init can wait at one
//! place only. A badge is `program << 8 | channel`; programs count from 1, so no badge is zero.
//! Signals arrive at the same place with [`libd3os::start::SIGNAL_FLAG`] set.

use libd3os::service::console::INTERRUPTS;
use libd3os::start::{SIGNAL_FLAG, signal_badge};

use crate::supervise::ProgramNumber;

/// What a message with a given badge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A call of the supervisor's interface.
    Supervisor,
    /// A call of the log's interface.
    Log,
    /// A fault of the program's thread.
    Fault,
    /// A call of the interface through which devices are told of.
    Devices,
    /// A call of the interface that maps persistent memory.
    Persistent,
}

const CHANNELS: [(u64, Channel); 5] = [
    (1, Channel::Supervisor),
    (2, Channel::Log),
    (3, Channel::Fault),
    (4, Channel::Devices),
    (5, Channel::Persistent),
];

/// The signals that reach init, as they stand in one badge: any of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    /// The ticker ticked: look at the clock.
    pub tick: bool,
    /// The console saw the interrupt key, at the terminals of these sessions.
    pub interrupts: [bool; INTERRUPTS.len()],
    /// An init of another core rang.
    pub line: bool,
}

/// Badge of the ticker's signal.
pub const TICK_BADGE: u64 = signal_badge(0);
/// Badge of the signals of other cores' inits.
pub const LINE_BADGE: u64 = signal_badge(1);
/// The first of the bits that stand for interrupt keys, one for each session.
const FIRST_INTERRUPT: u32 = 2;

/// Badge of the console's signal that the interrupt key was pressed at the terminal of a session.
#[must_use]
pub fn interrupt_badge(session: u8) -> u64 {
    signal_badge(FIRST_INTERRUPT + u32::from(session))
}

impl Signals {
    /// The sessions at whose terminals the interrupt key was pressed.
    pub fn interrupted(self) -> impl Iterator<Item = u8> {
        (0..).zip(self.interrupts).filter_map(|(session, pressed)| pressed.then_some(session))
    }
}

/// Where a message to init came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A program, on one of its channels.
    Program(ProgramNumber, Channel),
    /// No badge that init ever gave out.
    Unknown(u64),
}

/// The badge for a program's channel.
#[must_use]
pub fn badge(program: ProgramNumber, channel: Channel) -> u64 {
    let code = CHANNELS.iter().find(|(_, known)| *known == channel).map_or(0, |(code, _)| *code);
    (u64::from(program.number()) << 8) | code
}

/// Reads the badge of a signal.
#[must_use]
pub fn signals(bits: u64) -> Signals {
    let has = |badge: u64| bits & badge & !SIGNAL_FLAG != 0;
    let mut session = 0..;
    Signals {
        tick: has(TICK_BADGE),
        interrupts: INTERRUPTS.map(|_| session.next().is_some_and(|at| has(interrupt_badge(at)))),
        line: has(LINE_BADGE),
    }
}

/// Reads the badge of a message.
#[must_use]
pub fn origin(badge: u64) -> Origin {
    let channel = CHANNELS.iter().find(|(code, _)| *code == badge & 0xff);
    let program = u32::try_from(badge >> 8).ok().and_then(ProgramNumber::new);
    match (program, channel) {
        (Some(program), Some((_, channel))) => Origin::Program(program, *channel),
        _ => Origin::Unknown(badge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_badge_is_read_back() {
        for number in [1, 7, u32::MAX] {
            let program = ProgramNumber::new(number).expect("not zero");
            for (_, channel) in CHANNELS {
                assert_eq!(origin(badge(program, channel)), Origin::Program(program, channel));
            }
        }
    }

    #[test]
    fn signals_may_come_together() {
        let none = Signals { tick: false, interrupts: [false; 5], line: false };
        let both = Signals { tick: true, interrupts: [true, false, false, true, false], ..none };
        assert_eq!(signals(TICK_BADGE | interrupt_badge(0) | interrupt_badge(3)), both);
        assert_eq!(both.interrupted().collect::<Vec<_>>(), [0, 3]);
        assert_eq!(signals(TICK_BADGE), Signals { tick: true, ..none });
        assert_eq!(signals(LINE_BADGE), Signals { line: true, ..none });
        assert_eq!(signals(SIGNAL_FLAG), none);
    }

    #[test]
    fn foreign_badges_are_unknown() {
        for badge in [0, 1, 0x100, 0x0100_0000_0001, 0x1ff, TICK_BADGE] {
            assert_eq!(origin(badge), Origin::Unknown(badge));
        }
    }
}
