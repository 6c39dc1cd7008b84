//! The client's side of observing: any server, by the name of its service.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{COUNTERS_METHOD, Count, CountPage, Happening, TRACE_METHOD, TracePage};
use crate::call::{CallError, Transport, call_again, decode, encode};
use crate::connection::Connection;
use crate::ipc::MissingGrant;

/// Observes a server. A call that the server's end cuts short is repeated; counters and event numbers
/// then begin anew.
#[derive(Clone, Copy, Debug)]
pub struct ObserveClient<T = Connection> {
    transport: T,
}

impl ObserveClient {
    /// Observes the server of a service that this program may call.
    ///
    /// # Errors
    /// The manifest does not grant that.
    pub fn connect(service: &str) -> Result<Self, MissingGrant<'_>> {
        Connection::to(service).map(Self::new)
    }
}

impl<T: Transport> ObserveClient<T> {
    /// Observes the server at the other end of this transport.
    pub const fn new(transport: T) -> Self {
        Self { transport }
    }

    /// The server's counters: the library's, under the names in [`super::names`], then its own.
    ///
    /// # Errors
    /// That of the call; [`CallError::Malformed`] where the list does not go on where it says.
    pub fn counters(&self) -> Result<Vec<Count>, CallError> {
        let (mut counters, mut from) = (Vec::new(), Some(0));
        while let Some(first) = from {
            let page: CountPage = self.call(COUNTERS_METHOD, &(first,))?;
            counters.extend(page.items);
            from = page.next;
            if from.is_some_and(|next| next <= first) {
                return Err(CallError::Malformed);
            }
        }
        Ok(counters)
    }

    /// As many of the server's events from number `from` on as fit in one message; behind the last
    /// one, none, and [`TracePage::first`] tells the number that the next one will have.
    ///
    /// # Errors
    /// That of the call.
    pub fn trace(&self, from: u64) -> Result<TracePage, CallError> {
        self.call(TRACE_METHOD, &(from,))
    }

    /// The server's last events, at most `count` of them, with their numbers, oldest first. Events
    /// that it notes meanwhile are left out.
    ///
    /// # Errors
    /// That of the call.
    pub fn latest(&self, count: u64) -> Result<Vec<(u64, Happening)>, CallError> {
        let end = self.trace(u64::MAX)?.first;
        self.events(end.saturating_sub(count), end)
    }

    /// The events that the server still knows of those from number `from` to before number `end`.
    ///
    /// # Errors
    /// That of the call.
    pub fn events(&self, from: u64, end: u64) -> Result<Vec<(u64, Happening)>, CallError> {
        let (mut events, mut from) = (Vec::new(), from);
        while from < end {
            let page = self.trace(from)?;
            let next = page.next();
            if page.events.is_empty() || next <= from {
                break;
            }
            events.extend((page.first..end).zip(page.events));
            from = next;
        }
        Ok(events)
    }

    fn call<R: DeserializeOwned>(
        &self,
        method: u16,
        arguments: &impl Serialize,
    ) -> Result<R, CallError> {
        decode(&call_again(&self.transport, method, &encode(arguments)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Bytes;
    use crate::observe::{Recorder, Watch};
    use alloc::rc::Rc;
    use proptest::prelude::*;

    fn client<const N: usize>(recorder: &Recorder<u32, N>) -> ObserveClient<Watch> {
        let mut watch = Watch::default();
        watch.tell(Rc::new(recorder.clone()));
        ObserveClient::new(watch)
    }

    /// A server that answers whatever it likes.
    struct Liar(Bytes);

    impl Transport for Liar {
        fn call(&self, _: u16, _: &[u8]) -> Result<Bytes, CallError> {
            Ok(self.0.clone())
        }
    }

    #[test]
    fn a_list_that_does_not_advance_is_refused() {
        let page = CountPage { items: Vec::new(), next: Some(0) };
        let client = ObserveClient::new(Liar(encode(&page).expect("small")));
        assert_eq!(client.counters(), Err(CallError::Malformed));
    }

    proptest! {
        #[test]
        fn the_latest_events_are_the_last_that_are_known(noted in 0u32..300, wanted in 0u64..200) {
            let recorder = Recorder::<u32, 128>::default();
            (0..noted).for_each(|event| recorder.note(event));
            let told = client(&recorder).latest(wanted).expect("told");
            let told: Vec<_> = told.into_iter().map(|(number, event)| (number, event.what)).collect();
            let count = wanted.min(128).min(noted.into());
            let expected = (u64::from(noted) - count..noted.into())
                .map(|number| (number, alloc::format!("{number}")));
            prop_assert_eq!(told, expected.collect::<Vec<_>>());
        }

        #[test]
        fn no_answer_makes_the_client_hang_or_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let client = ObserveClient::new(Liar(Bytes::from_slice(&bytes).expect("small")));
            let _ = (client.counters(), client.latest(1 << 40));
        }
    }
}
