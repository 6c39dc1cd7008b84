//! How a place is doing, in one word that only the server writes.

use super::SocketError;

/// What a place's socket is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: the place can be opened.
    Free,
    /// It is being connected.
    Opening,
    /// It is connected, or bound.
    Open,
    /// It takes connections.
    Listening,
    /// It works no more, for this reason.
    Failed(SocketError),
}

/// How a place is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which opening of the place this is about.
    pub generation: u32,
    /// Connections that wait to be accepted.
    pub waiting: u8,
    /// What it is doing.
    pub phase: Phase,
}

const FREE: u8 = 0;
const OPENING: u8 = 1;
const OPEN: u8 = 2;
const LISTENING: u8 = 3;
const FAILED: u8 = 4;

impl Status {
    /// The status as the word in the region: generation, then phase, reason and what waits.
    #[must_use]
    pub fn to_word(&self) -> u64 {
        let (phase, reason) = match &self.phase {
            Phase::Free => (FREE, 0),
            Phase::Opening => (OPENING, 0),
            Phase::Open => (OPEN, 0),
            Phase::Listening => (LISTENING, 0),
            Phase::Failed(error) => (FAILED, error.number()),
        };
        let [g0, g1, g2, g3] = self.generation.to_le_bytes();
        u64::from_le_bytes([phase, reason, self.waiting, 0, g0, g1, g2, g3])
    }

    /// What the word says. A word that no server writes is a failure.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        let [phase, reason, waiting, _, g0, g1, g2, g3] = word.to_le_bytes();
        let phase = match phase {
            FREE => Phase::Free,
            OPENING => Phase::Opening,
            OPEN => Phase::Open,
            LISTENING => Phase::Listening,
            FAILED => Phase::Failed(SocketError::from_number(reason)),
            _ => Phase::Failed(SocketError::Protocol),
        };
        Self { generation: u32::from_le_bytes([g0, g1, g2, g3]), waiting, phase }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_and_statuses_agree(generation: u32, waiting: u8, phase in 0usize..6) {
            let phases = [
                Phase::Free, Phase::Opening, Phase::Open, Phase::Listening,
                Phase::Failed(SocketError::Reset), Phase::Failed(SocketError::Restarted),
            ];
            let status = Status { generation, waiting, phase: phases[phase].clone() };
            prop_assert_eq!(Status::from_word(status.to_word()), status);
        }

        #[test]
        fn every_word_says_something(word: u64) {
            let status = Status::from_word(word);
            prop_assert_eq!(Status::from_word(status.to_word()), status);
        }
    }

    #[test]
    fn fresh_memory_is_free() {
        let fresh = Status { generation: 0, waiting: 0, phase: Phase::Free };
        assert_eq!(Status::from_word(0), fresh);
    }
}
