//! The process of an echo server.

use core::convert::Infallible;

use libd3os::server::{Event, Server, ServerError};
use libd3os::start::{GrantKind, StartInfo};
use libd3os::time::tsc;

use crate::echo::{Echo, Ledger};

/// Serves the service that this program was granted, for ever.
///
/// # Errors
/// The manifest lacks `serves` or `replies`.
pub fn serve(start: &'static StartInfo) -> Result<Infallible, ServerError> {
    let grant = start.grants.iter().find(|grant| grant.kind == GrantKind::Serves);
    let service = grant.map_or("echo", |grant| &grant.name);
    let mut server = Server::serving(service)?;
    let mut ledger = Ledger::new(tsc());
    loop {
        match server.next() {
            Event::Request(request) => ledger.dispatch(request),
            Event::Signal(_) => {}
            Event::Message(message) => log::warn!("unexpected message {:#x}", message.label),
        }
    }
}
