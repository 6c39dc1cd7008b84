//! How a program reaches a service: by an endpoint on its own core, by rings on another.

use spin::{Mutex, Once};

use crate::call::{Bytes, CallError, Transport};
use crate::control;
use crate::ipc::{IpcTransport, MissingGrant};
use crate::program;
use crate::ring::{ProgramWindow, Services};
use crate::start::{GrantKind, RingGrant};

/// All services that this program calls over rings. A program has one thread, so the lock is only
/// ever taken when a call panics and the panic is told over the same rings.
static SERVICES: Once<Option<Mutex<Services<ProgramWindow>>>> = Once::new();

/// Carries calls to a service, the way that this program was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Through an endpoint of the kernel.
    Ipc(IpcTransport),
    /// Over a pair of rings.
    Ring(RingGrant),
}

impl Connection {
    /// The connection that the program was granted for `service`.
    ///
    /// # Errors
    /// The manifest does not grant one.
    pub fn to(service: &str) -> Result<Self, MissingGrant<'_>> {
        match program::start_info().and_then(|info| info.ring(service)) {
            Some(ring) => Ok(Self::Ring(ring)),
            None => program::grant(GrantKind::Calls, service).map(IpcTransport::new).map(Self::Ipc),
        }
    }
}

impl Transport for Connection {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        control::calling(|| match self {
            Self::Ipc(transport) => transport.call(method, request),
            Self::Ring(ring) => call_over(*ring, method, request),
        })
    }
}

fn call_over(ring: RingGrant, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
    let services = SERVICES.call_once(|| ProgramWindow::open().map(Services::new).map(Mutex::new));
    let services = services.as_ref().ok_or(CallError::Unavailable)?;
    services.try_lock().ok_or(CallError::Busy)?.call(ring, method, request)
}
