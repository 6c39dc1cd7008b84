//! What the console notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;

/// What the console did. Programs are named by the badge of their capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A program wrote so many bytes.
    Wrote(usize),
    /// The program with this badge reads.
    Reads(u64),
    /// It got so many bytes.
    Answered(u64, usize),
    /// It has ended, or reads anew: its earlier call is forgotten.
    Forgot(u64),
    /// It was told that its line was written over.
    Redraw(u64),
    /// An input byte was dropped since nobody reads.
    Dropped,
    /// The interrupt key was passed on.
    Interrupt,
    /// So many log records were shown.
    Shown(usize),
    /// The console of this number is on the screen now.
    Showed(u8),
    /// So many rectangles of the screen were drawn.
    Drew(usize),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrote(bytes) => write!(f, "a program wrote {bytes} bytes"),
            Self::Reads(caller) => write!(f, "program {caller} reads"),
            Self::Answered(caller, bytes) => write!(f, "program {caller} got {bytes} bytes"),
            Self::Forgot(caller) => write!(f, "forgot that program {caller} reads"),
            Self::Redraw(caller) => write!(f, "program {caller} is to draw its line again"),
            Self::Dropped => f.write_str("dropped a byte, nobody reads"),
            Self::Interrupt => f.write_str("passed the interrupt key on"),
            Self::Shown(records) => write!(f, "showed {records} log records"),
            Self::Showed(number) => write!(f, "console {number} is on the screen"),
            Self::Drew(rectangles) => write!(f, "drew {rectangles} rectangles"),
        }
    }
}

libd3os::counters! {
    /// How often each thing happened, since the console started.
    pub struct Totals {
        written: "bytes written",
        read: "bytes read",
        dropped: "bytes dropped, nobody read",
        interrupts: "interrupt keys passed on",
        records: "log records shown",
        forgotten: "readers forgotten",
        frames: "frames drawn",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Wrote(bytes) => self.written.add(bytes as u64),
            Event::Answered(_, bytes) => self.read.add(bytes as u64),
            Event::Forgot(_) => self.forgotten.increment(),
            Event::Dropped => self.dropped.increment(),
            Event::Interrupt => self.interrupts.increment(),
            Event::Shown(records) => self.records.add(records as u64),
            Event::Drew(_) => self.frames.increment(),
            Event::Reads(_) | Event::Redraw(_) | Event::Showed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_counted() {
        let journal = Journal::default();
        let events = [Event::Wrote(3), Event::Reads(1), Event::Answered(1, 2), Event::Wrote(1)];
        events.into_iter().for_each(|event| journal.note(event));
        assert!(journal.recorder().recent(0).into_iter().eq((0..).zip(events)));
        assert_eq!((journal.totals().written.get(), journal.totals().read.get()), (4, 2));
        assert_eq!(journal.recorder().value("bytes written"), 4);
    }
}
