//! A program's network: its region, and the one place where it waits.

use core::fmt;

use super::{Bell, SocketError, Stack};
use crate::cap::Notification;
use crate::ipc::MissingGrant;
use crate::program::{self, grant};
use crate::service::net::NetClient;
use crate::start::GrantKind;
use crate::task::block_on;
use crate::time::tsc;

/// What the manifest calls the things of a program that uses the network.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The region that it shares with the server.
    pub region: &'static str,
    /// The notification that wakes the server.
    pub send: &'static str,
    /// The notification that wakes the program; the only one that it waits for.
    pub ready: &'static str,
}

/// A program's network, in a program that waits for nothing else.
#[derive(Debug)]
pub struct Network {
    /// Its sockets are opened here.
    pub stack: Stack,
    ready: Notification,
}

/// Why a program has no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// The manifest does not grant something.
    Grant(MissingGrant<'static>),
    /// The server does not take it, or the region cannot be used.
    Socket(SocketError),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NetworkError {}

impl Network {
    /// The network that the program was granted under these names.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn open(names: Names) -> Result<Self, NetworkError> {
        let notification = |kind, name| grant(kind, name).map(Notification::new);
        let memory = program::region(names.region).map_err(NetworkError::Grant)?;
        let mapping = memory.mapping().map_err(|_| NetworkError::Socket(SocketError::Protocol))?;
        let send = notification(GrantKind::Signals, names.send).map_err(NetworkError::Grant)?;
        let ready = notification(GrantKind::Waits, names.ready).map_err(NetworkError::Grant)?;
        let client = NetClient::connect().map_err(NetworkError::Grant)?;
        let bell = Bell::new(move || send.signal_later());
        let stack = Stack::attach(client, names.region, mapping.lines(), bell, tsc());
        Ok(Self { stack: stack.map_err(NetworkError::Socket)?, ready })
    }

    /// Runs a future to its end, waiting for the server whenever it cannot go on.
    ///
    /// The server is woken once for all that was sent since: when the future waits, or has ended.
    /// One that sends and then works for long calls [`Self::flush`] in between.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let output = block_on(future, || {
            let _whatever_happened = self.ready.wait();
        });
        self.flush();
        output
    }

    /// Wakes the server, if it sleeps and something was sent.
    pub fn flush(&self) {
        Notification::send_kept();
    }
}
