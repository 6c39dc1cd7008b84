//! The ring window of a running program, and its bell.

use core::ops::Deref;
use core::ptr::with_exposed_provenance;
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use super::pair::RING_LINES;
use super::{Directory, Doorbell, LINE_BYTES, Line, Window};
use crate::cap::{Capability, IrqHandler, Notification, Signal};
use crate::program;
use crate::start::layout::{PAGE_SIZE, RING_DIRECTORY, RING_PLACES, RING_SPAN, RING_WINDOW};
use crate::start::{BellGrant, RING_BELL, SIGNAL_FLAG};
use crate::sys::Cptr;

const _: () =
    assert!(RING_WINDOW.is_multiple_of(PAGE_SIZE) && RING_DIRECTORY.is_multiple_of(PAGE_SIZE));
const _: () = assert!(PAGE_SIZE.is_multiple_of(LINE_BYTES as u64));
const _: () = assert!(PAGE_SIZE.is_multiple_of(align_of::<Directory>() as u64));

/// Signals of other kinds that came while something waited for the bell alone.
static KEPT: AtomicU64 = AtomicU64::new(0);

/// Signals sent to peers, and those of peers that have come.
static RUNG: AtomicU64 = AtomicU64::new(0);
static HEARD: AtomicU64 = AtomicU64::new(0);

/// How often this program's rings took the kernel to wake someone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BellCounts {
    /// Signals that this program sent to peers that slept.
    pub rung: u64,
    /// Signals of peers that came; several that wait may come as one.
    pub heard: u64,
}

/// What the program's bells have done since it started.
#[must_use]
pub fn bell_counts() -> BellCounts {
    BellCounts { rung: RUNG.load(Ordering::Relaxed), heard: HEARD.load(Ordering::Relaxed) }
}

/// This program's ring window.
#[derive(Clone, Copy, Debug)]
pub struct ProgramWindow(OwnBell);

impl ProgramWindow {
    /// The window, or `None` where the program takes no part in rings.
    #[must_use]
    pub fn open() -> Option<Self> {
        let BellGrant { handler, notification } = program::start_info()?.bell?;
        let cptr = |slot: u32| Cptr::new(slot.into());
        let own = OwnBell {
            line: IrqHandler::from_cptr(cptr(handler)),
            notification: Notification::from_cptr(cptr(notification)),
        };
        // A predecessor may have ended between a signal and its acknowledgement.
        own.acknowledge();
        Some(Self(own))
    }
}

impl Window for ProgramWindow {
    type Memory = WindowMemory;
    type Bell = ProgramBell;

    fn directory(&self) -> &Directory {
        let page: *const Directory = with_exposed_provenance(address(RING_DIRECTORY));
        // SAFETY: init maps the page, which began as zeros, for as long as a program with a bell
        // runs, and there is a window only where there is a bell. The address is aligned (checked
        // above). A directory is only atomic words, valid whatever they contain and whoever
        // changes them.
        unsafe { &*page }
    }

    fn pair(&self, place: u64) -> Option<(WindowMemory, WindowMemory)> {
        let place = Some(place).filter(|place| *place < RING_PLACES.into())?;
        let requests = RING_WINDOW + place * RING_SPAN;
        let answers = requests + RING_SPAN / 2;
        Some((WindowMemory(requests), WindowMemory(answers)))
    }

    fn bell(&self, slot: u32) -> ProgramBell {
        ProgramBell { peer: Signal::from_cptr(Cptr::new(slot.into())), own: self.0 }
    }

    fn calls_through(&self, place: u16) -> bool {
        program::start_info().is_some_and(|info| info.calls_through(place))
    }

    fn acknowledge(&self) {
        self.0.heard();
    }

    fn take_kept(&self) -> u64 {
        KEPT.swap(0, Ordering::Relaxed)
    }
}

/// A ring's memory in the window, by its address.
#[derive(Clone, Copy, Debug)]
pub struct WindowMemory(u64);

impl Deref for WindowMemory {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        let lines: *const Line = with_exposed_provenance(address(self.0));
        // SAFETY: only `ProgramWindow::pair` makes these, for places where init maps so many lines
        // (a whole ring, aligned to a page) until the ends that use them have said that they have
        // ended; they do not use them after. A line is only atomic words, valid whatever they
        // contain and whoever changes them.
        unsafe { slice::from_raw_parts(lines, RING_LINES) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a program's addresses have 64 bits")]
const fn address(value: u64) -> usize {
    value as usize
}

/// The bell of one pair: wakes the peer on its core, waits for this program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramBell {
    peer: Signal,
    own: OwnBell,
}

impl Doorbell for ProgramBell {
    fn signal(&self) {
        RUNG.fetch_add(1, Ordering::Relaxed);
        self.peer.send();
    }

    fn wait(&self) {
        self.own.wait();
    }
}

/// The program's own bell: a signal line of its core, and the notification that it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnBell {
    line: IrqHandler,
    notification: Notification,
}

impl OwnBell {
    /// A peer's signal has come: the next one may.
    fn heard(self) {
        HEARD.fetch_add(1, Ordering::Relaxed);
        self.acknowledge();
    }

    fn acknowledge(self) {
        // Fails only for a handler that was deleted, whose line stays silent in any case.
        let _gone = self.line.ack();
    }

    /// Waits for the bell. Other signals end the wait too, and are kept.
    fn wait(self) {
        let bits = self.notification.wait();
        KEPT.fetch_or(bits & !(SIGNAL_FLAG | RING_BELL), Ordering::Relaxed);
        if bits & RING_BELL != 0 {
            self.heard();
        }
    }
}
