//! Why a socket's operation failed.

use core::fmt;

use crate::call::{CallError, Error};
use crate::service::net::NetError;

/// Why a socket's operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// The server was started anew: the socket is gone.
    Restarted,
    /// The other side does not accept the connection.
    Refused,
    /// The other side ended the connection abruptly.
    Reset,
    /// The other side did not answer for too long.
    TimedOut,
    /// The interface that the connection used is gone, or has another address.
    AddressLost,
    /// The socket is closed for sending.
    Closed,
    /// All places of the region are in use.
    NoPlace,
    /// The datagram is longer than the region's rings carry.
    TooLong,
    /// What lies in the region was not written by its protocol.
    Protocol,
    /// The server refused.
    Refusal(NetError),
    /// The call to the server failed.
    Call(CallError),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restarted => f.write_str("the network server was restarted"),
            Self::Refused => f.write_str("the connection was refused"),
            Self::Reset => f.write_str("the other side reset the connection"),
            Self::TimedOut => f.write_str("the other side did not answer"),
            Self::AddressLost => f.write_str("the interface has lost its address"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::NoPlace => f.write_str("this program has as many sockets as it can"),
            Self::TooLong => f.write_str("the datagram is too long"),
            Self::Protocol => f.write_str("the shared memory of the sockets is damaged"),
            Self::Refusal(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SocketError {}

impl From<Error<NetError>> for SocketError {
    fn from(error: Error<NetError>) -> Self {
        match error {
            Error::Call(CallError::Restarted) | Error::Service(NetError::NotAttached) => {
                Self::Restarted
            }
            Error::Call(error) => Self::Call(error),
            Error::Service(error) => Self::Refusal(error),
        }
    }
}

/// The failures that the server tells through a status, and their numbers there.
const TOLD: [(SocketError, u8); 6] = [
    (SocketError::Restarted, 1),
    (SocketError::Refused, 2),
    (SocketError::Reset, 3),
    (SocketError::TimedOut, 4),
    (SocketError::AddressLost, 5),
    (SocketError::Protocol, 6),
];

impl SocketError {
    /// Its number in a status. What a status does not tell is [`Self::Protocol`] there.
    pub(super) fn number(&self) -> u8 {
        let known = TOLD.iter().find(|(error, _)| error == self);
        known.map_or(6, |(_, number)| *number)
    }

    /// The error with this number in a status.
    pub(super) fn from_number(number: u8) -> Self {
        let known = TOLD.into_iter().find(|(_, known)| *known == number);
        known.map_or(Self::Protocol, |(error, _)| error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_errors_agree() {
        for (error, number) in TOLD {
            assert_eq!((error.number(), SocketError::from_number(number)), (number, error));
        }
        assert_eq!(SocketError::Closed.number(), SocketError::Protocol.number());
        assert_eq!(SocketError::from_number(200), SocketError::Protocol);
    }
}
