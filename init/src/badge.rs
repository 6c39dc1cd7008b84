//! Who sends a message to init's endpoint, and what kind of message it is: the endpoint's badges.
//!
//! All of init's clients and all faulting threads share one endpoint, since init can wait at one
//! place only. A badge is `program << 8 | channel`; programs count from 1, so no badge is zero.
//! Signals arrive at the same place with [`libd3os::start::SIGNAL_FLAG`] set.

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
}

const CHANNELS: [(u64, Channel); 4] =
    [(1, Channel::Supervisor), (2, Channel::Log), (3, Channel::Fault), (4, Channel::Devices)];

/// The signals that reach init, as they stand in one badge: any of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    /// The ticker ticked: look at the clock.
    pub tick: bool,
    /// The console saw the interrupt key.
    pub interrupt: bool,
    /// An init of another core rang.
    pub line: bool,
}

/// Badge of the ticker's signal.
pub const TICK_BADGE: u64 = signal_badge(0);
/// Badge of the console's signal that the interrupt key was pressed.
pub const INTERRUPT_BADGE: u64 = signal_badge(1);
/// Badge of the signals of other cores' inits.
pub const LINE_BADGE: u64 = signal_badge(2);

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
    Signals {
        tick: bits & TICK_BADGE & !SIGNAL_FLAG != 0,
        interrupt: bits & INTERRUPT_BADGE & !SIGNAL_FLAG != 0,
        line: bits & LINE_BADGE & !SIGNAL_FLAG != 0,
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
        let none = Signals { tick: false, interrupt: false, line: false };
        let both = Signals { tick: true, interrupt: true, ..none };
        assert_eq!(signals(TICK_BADGE | INTERRUPT_BADGE), both);
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
