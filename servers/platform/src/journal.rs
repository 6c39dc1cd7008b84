//! What the server counts and notes of itself.

use core::fmt;

use libd3os::observe::{Counter, Recorder};
use libd3os::service::platform::PciAddress;

use crate::iommu::faults::Fault;

/// Events that are remembered.
const EVENTS: usize = 64;

/// Something that the server has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This device of the manifest, by its place there, was given to its driver.
    Given(u32),
    /// This device was found to be absent.
    Absent(u32),
    /// This function's driver has ended, and it can no longer reach memory.
    Quiet(PciAddress),
    /// This function was reset.
    Reset(PciAddress),
    /// Routes of interrupt pins were told: so many.
    Routes(u32),
    /// The IOMMU kept a device from something.
    Kept(Fault),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(device) => write!(f, "gave device {device} to its driver"),
            Self::Absent(device) => write!(f, "told that device {device} is absent"),
            Self::Quiet(address) => write!(f, "made {address} quiet, its driver has ended"),
            Self::Reset(address) => write!(f, "reset {address}"),
            Self::Routes(count) => write!(f, "was told {count} routes"),
            Self::Kept(fault) => fault.fmt(f),
        }
    }
}

/// Counters and events.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, EVENTS>,
    given: Counter,
    reset: Counter,
    absent: Counter,
    kept: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let counter = |name| Recorder::counter(&recorder, name);
        let (given, reset) = (counter("devices given"), counter("devices reset"));
        let (absent, kept) = (counter("devices absent"), counter("accesses refused"));
        Self { given, reset, absent, kept, recorder }
    }
}

impl Journal {
    /// For [`libd3os::server::Server::observe`].
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, EVENTS> {
        &self.recorder
    }

    /// Notes an event.
    pub fn note(&self, event: Event) {
        match event {
            Event::Given(_) => self.given.increment(),
            Event::Reset(_) => self.reset.increment(),
            Event::Absent(_) => self.absent.increment(),
            Event::Kept(_) => self.kept.increment(),
            Event::Quiet(_) | Event::Routes(_) => {}
        }
        self.recorder.note(event);
    }
}
