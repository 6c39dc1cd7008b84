//! Events that are counted as they are noted.

use core::fmt::Display;

use super::{Counter, Recorder};

/// Events that a journal remembers.
pub const JOURNAL_EVENTS: usize = 64;

/// A server's counters, as [`crate::counters!`] declares them.
pub trait Totals: Sized {
    /// The counters, each registered under its name.
    fn register(counter: impl FnMut(&'static str) -> Counter) -> Self;
}

/// Counters that a server's events add to.
pub trait Tally: Totals {
    /// What the server notes.
    type Event: Copy + Display;

    /// Counts an event.
    fn count(&self, event: Self::Event);
}

/// The last events of a server, and totals that never forget.
#[derive(Clone, Debug)]
pub struct Journal<T: Tally> {
    recorder: Recorder<T::Event, JOURNAL_EVENTS>,
    totals: T,
}

impl<T: Tally> Journal<T> {
    /// Counts and notes an event.
    pub fn note(&self, event: T::Event) {
        self.totals.count(event);
        self.recorder.note(event);
    }

    /// How often each thing happened.
    #[must_use]
    pub const fn totals(&self) -> &T {
        &self.totals
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<T::Event, JOURNAL_EVENTS> {
        &self.recorder
    }
}

impl<T: Tally> Default for Journal<T> {
    fn default() -> Self {
        let recorder = Recorder::default();
        let totals = T::register(|name| recorder.counter(name));
        Self { recorder, totals }
    }
}

/// Declares counters: a field each, and the name under which observers see it.
///
/// ```
/// use libd3os::observe::{Journal, Tally};
///
/// libd3os::counters! {
///     /// How often each thing happened, since the driver started.
///     pub struct Totals {
///         sent: "bytes sent",
///     }
/// }
///
/// impl Tally for Totals {
///     type Event = usize;
///
///     fn count(&self, bytes: usize) {
///         self.sent.add(bytes as u64);
///     }
/// }
///
/// let journal = Journal::<Totals>::default();
/// journal.note(16);
/// assert_eq!(journal.recorder().value("bytes sent"), 16);
/// assert_eq!(journal.recorder().recent(0), [(0, 16)]);
/// ```
#[macro_export]
macro_rules! counters {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $totals:ident {
            $($(#[$field_meta:meta])* $field:ident: $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $visibility struct $totals {
            $(#[doc = ::core::concat!("Counts ", $name, ".")] $(#[$field_meta])* pub $field: $crate::observe::Counter,)+
        }

        impl $crate::observe::Totals for $totals {
            fn register(
                mut counter: impl FnMut(&'static str) -> $crate::observe::Counter,
            ) -> Self {
                Self { $($field: counter($name),)+ }
            }
        }
    };
}
