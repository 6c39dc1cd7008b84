//! The interface of the echo servers, and what one keeps.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use libd3os::call::Caller;
use serde::{Deserialize, Serialize};

/// Answers what it is asked, and keeps count of each caller's calls.
#[libd3os::service(name = "echo", version = 1)]
pub trait Echo {
    /// The bytes turned around. `number` counts the caller's calls of this server: one more than
    /// at its last call, or 0 for a caller that begins.
    fn echo(number: u64, bytes: Vec<u8>) -> Result<Echoed, EchoError>;

    /// The server panics; the caller gets `Restarted`.
    fn fall() -> Result<(), EchoError>;
}

/// The answer to [`Echo::echo`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echoed {
    /// Unlike that of any other start of the server.
    pub life: u64,
    /// Calls of this caller that were answered in this life, since the caller began.
    pub count: u64,
    /// The request's bytes turned around.
    pub bytes: Vec<u8>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EchoError {
    /// A call between the last one and this one did not arrive, or arrived twice.
    OutOfOrder {
        /// The number that was due.
        due: u64,
    },
}

impl fmt::Display for EchoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::OutOfOrder { due } = self;
        write!(f, "call number {due} was due")
    }
}

impl core::error::Error for EchoError {}

/// What an echo server knows of its callers.
#[derive(Debug)]
pub struct Ledger {
    life: u64,
    callers: BTreeMap<u64, Account>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    due: u64,
    count: u64,
}

impl Ledger {
    /// That of a server which has just started and calls this start so.
    #[must_use]
    pub const fn new(life: u64) -> Self {
        Self { life, callers: BTreeMap::new() }
    }
}

impl Echo for Ledger {
    fn echo(
        &mut self,
        caller: Caller,
        number: u64,
        mut bytes: Vec<u8>,
    ) -> Result<Echoed, EchoError> {
        let count = match self.callers.get(&caller.0) {
            Some(account) if number == account.due => account.count + 1,
            Some(account) if number != 0 => return Err(EchoError::OutOfOrder { due: account.due }),
            // Who begins does so at 0; who knew an earlier life of the server, anywhere.
            _ => 1,
        };
        self.callers.insert(caller.0, Account { due: number.wrapping_add(1), count });
        bytes.reverse();
        Ok(Echoed { life: self.life, count, bytes })
    }

    fn fall(&mut self, _: Caller) -> Result<(), EchoError> {
        panic!("told to fall");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_caller_and_must_follow_each_other() {
        let mut ledger = Ledger::new(7);
        let mut echo = |caller, number| {
            let echoed = ledger.echo(Caller(caller), number, vec![1, 2, 3]);
            echoed.map(|Echoed { life, count, bytes }| {
                assert_eq!((life, bytes), (7, vec![3, 2, 1]));
                count
            })
        };
        assert_eq!([echo(1, 0), echo(1, 1), echo(2, 0), echo(1, 2)], [Ok(1), Ok(2), Ok(1), Ok(3)]);
        assert_eq!(echo(1, 2), Err(EchoError::OutOfOrder { due: 3 }), "twice");
        assert_eq!(echo(1, 4), Err(EchoError::OutOfOrder { due: 3 }), "one was lost");
        assert_eq!(echo(2, 0), Ok(1), "a caller that was started again");
        assert_eq!(echo(3, 900), Ok(1), "a caller that knew an earlier life");
    }
}
