//! What this core's init reads and writes in its programs' control blocks: whether they are alive, and
//! where they are to end.

use alloc::vec::Vec;

use init::fault::ordered_end;
use init::memory::PageUse;
use init::pulse::{Pulse, Verdict};
use init::supervise::ProgramNumber;
use libd3os::control::{Block, Reading};
use libd3os::service::supervisor::FaultReport;

use super::platform::Platform;
use super::program::Program;
use super::site::Site;
use super::trouble::{Doing, Refused};
use super::window::Window;

/// How a program's thread came to stand still.
#[derive(Debug)]
pub(super) enum Death {
    /// It did something that it may not.
    Fault(FaultReport),
    /// It ended itself at this event of its trace, as it was told.
    Ordered(u64),
}

impl Site {
    /// Asks those programs of this core that are due whether they are alive; tells who has not
    /// answered, and for how many microseconds.
    pub(super) fn feel_pulses(&mut self) -> Vec<(ProgramNumber, u64)> {
        let now_us = self.platform.now_us();
        let Platform { window: Some(window), .. } = &mut self.platform else { return Vec::new() };
        let due = self.programs.iter_mut();
        let due = due.filter(|program| program.is_live && program.pulse.is_due(now_us));
        due.filter_map(|program| {
            // A block that cannot be looked at says nothing against the program.
            let reading = program.with_control(window, Block::read).ok()?;
            match program.pulse.look(now_us, reading) {
                Verdict::Unresponsive(silent_us) => Some((program.draft.number, silent_us)),
                Verdict::Ask => {
                    program.heart.signal();
                    None
                }
            }
        })
        .collect()
    }

    /// Whether a program of this core is to be asked.
    pub(super) fn has_pulses(&self) -> bool {
        self.programs.iter().any(|program| program.is_live && program.has_heart())
    }

    /// Lets a program of this core end itself when it has noted so many more events.
    pub(super) fn end_after(&mut self, number: ProgramNumber, more: u32) -> Result<(), Refused> {
        let Platform { window: Some(window), .. } = &mut self.platform else { return Ok(()) };
        let Some(program) = self.programs.get_mut(number.index()) else { return Ok(()) };
        if program.is_live {
            let last = program.with_control(window, |block| block.end_after(more.into()))?;
            program.last_event = Some(last);
        }
        Ok(())
    }

    /// How a program of this core came to stand still, from the kernel's message.
    pub(super) fn death(
        &mut self,
        number: ProgramNumber,
        label: u64,
        words: &[u64],
    ) -> Option<Death> {
        let report = self.fault(number, label, words)?;
        let Platform { window: Some(window), .. } = &mut self.platform else {
            return Some(Death::Fault(report));
        };
        let program = self.programs.get(number.index())?;
        let Reading { events, .. } = program.with_control(window, Block::read).unwrap_or_default();
        Some(match ordered_end(report.kind, program.last_event, events) {
            Some(event) => Death::Ordered(event),
            None => Death::Fault(report),
        })
    }
}

impl Program {
    /// A program that is about to run has not been asked anything yet.
    pub(super) fn begin(&mut self, now_us: u64) {
        self.pulse = Pulse::of_a_start(self.draft.spec.heartbeat_us.unwrap_or(0), now_us);
        self.last_event = None;
    }

    /// Whether it is to be asked if it is alive.
    pub(super) fn has_heart(&self) -> bool {
        self.draft.spec.heartbeat_us.is_some()
    }

    fn with_control<R>(
        &self,
        window: &mut Window,
        work: impl FnOnce(&Block) -> R,
    ) -> Result<R, Refused> {
        let frame = self.frame_for(PageUse::IpcBuffer);
        window.with_control(frame, work).doing("looking at a control block")
    }
}
