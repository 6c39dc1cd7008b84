//! The server's side of being observed.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

use super::totals::of_program;
use super::{COUNTERS_METHOD, Count, CountPage, Observable, TRACE_METHOD, TracePage, names};
use crate::call::{Bytes, CallError, Transport, decode, encode};
use crate::control::note_event;

/// What one server tells of itself: the library's counters, and its recorder.
#[derive(Default)]
pub struct Watch {
    requests: Cell<u64>,
    signals: Cell<u64>,
    recorder: Option<Rc<dyn Observable>>,
}

impl Watch {
    /// From now on also tells what this recorder has.
    pub fn tell(&mut self, recorder: Rc<dyn Observable>) {
        self.recorder = Some(recorder);
    }

    // What a server takes are events of its life, too: one that notes none of its own can be ended
    // at them ([`crate::control`]).
    pub(crate) fn note_request(&self) {
        note_event();
        self.requests.set(self.requests.get() + 1);
    }

    pub(crate) fn note_signal(&self) {
        note_event();
        self.signals.set(self.signals.get() + 1);
    }

    /// The answer to a call of a reserved method.
    ///
    /// # Errors
    /// [`CallError::UnknownMethod`] where it is not one of those that there are,
    /// [`CallError::Malformed`] where the arguments are none.
    pub fn answer(&self, method: u16, arguments: &[u8]) -> Result<Bytes, CallError> {
        note_event();
        match method {
            COUNTERS_METHOD => {
                let (from,) = decode(arguments)?;
                encode(&CountPage::fill(from, self.counters()))
            }
            TRACE_METHOD => {
                let (from,) = decode(arguments)?;
                encode(&self.page(from))
            }
            _ => Err(CallError::UnknownMethod),
        }
    }

    fn counters(&self) -> Vec<Count> {
        let own = [(names::REQUESTS, self.requests.get()), (names::SIGNALS, self.signals.get())];
        let library = own.into_iter().chain(of_program());
        let library = library.map(|(name, value)| Count::new(name, value));
        library.chain(self.recorder.iter().flat_map(|recorder| recorder.counters())).collect()
    }

    fn page(&self, from: u64) -> TracePage {
        self.recorder.as_ref().map(|recorder| recorder.page(from)).unwrap_or_default()
    }
}

/// Calls of reserved methods without a server between: for tests of who observes.
impl Transport for Watch {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        self.answer(method, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{ObserveClient, Recorder, is_reserved};
    use proptest::prelude::*;

    #[test]
    fn a_server_without_a_recorder_tells_what_the_library_counts() {
        let watch = Watch::default();
        watch.note_request();
        watch.note_request();
        watch.note_signal();
        let client = ObserveClient::new(watch);
        let counters = client.counters().expect("told");
        assert_eq!(counters.len(), 6);
        assert_eq!(counters[..2], [Count::new("requests", 2), Count::new("signals", 1)]);
        assert_eq!(client.trace(0), Ok(TracePage::default()));
    }

    #[test]
    fn the_recorder_s_counters_follow_the_library_s() {
        let recorder = Recorder::<u32, 8>::default();
        recorder.counter("bytes sent").add(7);
        recorder.note(41);
        let mut watch = Watch::default();
        watch.tell(Rc::new(recorder));
        let client = ObserveClient::new(watch);
        let counters = client.counters().expect("told");
        assert_eq!(counters.last(), Some(&Count::new("bytes sent", 7)));
        assert_eq!(client.trace(0).map(|page| page.events[0].what.clone()).as_deref(), Ok("41"));
    }

    proptest! {
        #[test]
        fn no_bytes_stop_a_watch(method: u16, bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let answer = Watch::default().answer(method, &bytes);
            if method != COUNTERS_METHOD && method != TRACE_METHOD {
                prop_assert_eq!(answer.err(), Some(CallError::UnknownMethod));
            } else {
                prop_assert!(is_reserved(method));
                prop_assert!(matches!(answer, Ok(_) | Err(CallError::Malformed)));
            }
        }

        #[test]
        fn many_counters_come_whole(count in 0usize..200) {
            let name = |index: usize| -> &'static str {
                alloc::format!("counter number {index}, with a name of some length").leak()
            };
            let recorder = Recorder::<u32, 1>::default();
            (0..count).for_each(|index| recorder.counter(name(index)).add(index as u64));
            let mut watch = Watch::default();
            watch.tell(Rc::new(recorder));
            let told = ObserveClient::new(watch).counters().expect("told");
            let values = told.iter().skip(6).map(|count| count.value);
            prop_assert!(values.eq(0..count as u64));
        }
    }
}
