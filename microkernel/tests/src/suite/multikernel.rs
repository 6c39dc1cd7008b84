//! Several instances: signals between cores, and cores stopped and started anew.
//!
//! On every instance but the first this root task answers ([`answer`]): it signals back whatever
//! comes on its line. With one core only the core's signals to itself are tested.

use core::mem::offset_of;
use libd3os::abi::{BootInfo, CapRights, MachineChunk, chunk};
use libd3os::cap::{
    Capability, CoreControl, Error, IoPortRange, IrqHandler, IrqPin, Notification, Signal,
};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{Arena, IO_PORT_CONTROL, IRQ_CONTROL, TCB, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::machine::{boot_info_chunks, time};

tests![
    a_core_signals_itself,
    signals_while_unacknowledged_become_one,
    every_core_answers,
    a_stopped_core_is_silent_and_starts_anew,
    cores_and_lines_are_checked,
];

/// The line of every core but the first that [`answer`] listens on.
const QUESTION: u32 = 0;
/// The first core's line on which the others answer.
const ANSWER: u32 = 1;
/// The first core's line on which they tell that something is wrong.
const WRONG: u32 = 2;
/// Round trips with every core.
const ROUNDS: usize = 200;
/// Ticks of the time stamp counter that an answer may take: some seconds.
const PATIENCE: u64 = 20_000_000_000;
/// Ticks after which nothing more is expected, and that a core needs to stop.
const SILENCE: u64 = 100_000_000;

/// A line of this core, which signals a bit of a notification.
struct Line {
    handler: IrqHandler,
    notification: Notification,
}

impl Line {
    fn new(arena: &mut Arena, line: u32) -> Result<Self, Error> {
        let notification = arena.notification()?;
        let badged = Notification::new(arena.mint(notification.cptr(), CapRights::WRITE, 1)?);
        let handler = IrqHandler::new(arena.empty_slot());
        IRQ_CONTROL.get_signal(slot_of(handler.cptr()), line)?;
        handler.set_notification(badged)?;
        let line = Self { handler, notification };
        // What came before this test is none of its business.
        while line.comes_within(SILENCE / 100) {
            line.handler.ack()?;
        }
        Ok(line)
    }

    /// Whether a signal comes in so many ticks; it is not acknowledged.
    fn comes_within(&self, ticks: u64) -> bool {
        let end = time() + ticks;
        loop {
            if self.notification.poll() != 0 {
                return true;
            }
            if time() > end {
                return false;
            }
            core::hint::spin_loop();
        }
    }
}

fn signal(arena: &mut Arena, core: u32, line: u32) -> Result<Signal, Error> {
    let signal = Signal::new(arena.empty_slot());
    IRQ_CONTROL.issue_signal(slot_of(signal.cptr()), core, line)?;
    Ok(signal)
}

/// The core control capability, if there is one.
fn core_control(boot: &'static BootInfo) -> Option<CoreControl> {
    let (_, chunk) = boot_info_chunks(boot).find(|(id, _)| *id == chunk::D3OS_MACHINE)?;
    let slot = chunk.get(offset_of!(MachineChunk, core_control)..)?.first_chunk()?;
    let slot = u64::from_le_bytes(*slot);
    (slot != 0).then(|| CoreControl::new(Cptr::new(slot)))
}

fn cores(arena: &Arena) -> u32 {
    u32::try_from(arena.boot().num_nodes).unwrap_or(1)
}

fn a_core_signals_itself(arena: &mut Arena) -> Outcome {
    let line = Line::new(arena, ANSWER)?;
    let signal = signal(arena, 0, ANSWER)?;
    for _ in 0..3 {
        signal.send();
        check_eq!(line.notification.wait(), 1);
        line.handler.ack()?;
    }
    check!(!line.comes_within(SILENCE), "a signal that nobody sent");
    Ok(())
}

fn signals_while_unacknowledged_become_one(arena: &mut Arena) -> Outcome {
    let line = Line::new(arena, ANSWER)?;
    let signal = signal(arena, 0, ANSWER)?;
    (0..5).for_each(|_| signal.send());
    check_eq!(line.notification.wait(), 1);
    check!(!line.comes_within(SILENCE), "it came without having been acknowledged");
    line.handler.ack()?;
    check!(line.comes_within(PATIENCE), "what came meanwhile was lost");
    line.handler.ack()?;
    check!(!line.comes_within(SILENCE), "it came more than once");
    Ok(())
}

fn every_core_answers(arena: &mut Arena) -> Outcome {
    let (line, wrong) = (Line::new(arena, ANSWER)?, Line::new(arena, WRONG)?);
    for core in 1..cores(arena) {
        let signal = signal(arena, core, QUESTION)?;
        for round in 0..ROUNDS {
            signal.send();
            check!(line.comes_within(PATIENCE), "core {core} is silent in round {round}");
            line.handler.ack()?;
        }
    }
    check!(!wrong.comes_within(SILENCE), "an instance found something wrong");
    Ok(())
}

fn a_stopped_core_is_silent_and_starts_anew(arena: &mut Arena) -> Outcome {
    let Some(control) = core_control(arena.boot()) else {
        check_eq!(cores(arena), 1);
        return Ok(());
    };
    let line = Line::new(arena, ANSWER)?;
    let last = cores(arena) - 1;
    let signal = signal(arena, last, QUESTION)?;
    for _ in 0..3 {
        control.stop(last)?;
        check!(!line.comes_within(SILENCE), "core {last} was asked nothing");
        signal.send();
        check!(!line.comes_within(SILENCE), "core {last} answers though it was stopped");
        control.start(last)?;
        // Until it listens, questions are lost: the boot takes its time.
        let end = time() + PATIENCE;
        let answers = || {
            signal.send();
            line.comes_within(SILENCE)
        };
        check!(core::iter::repeat_with(answers).take_while(|_| time() < end).any(|answer| answer));
        line.handler.ack()?;
        while line.comes_within(SILENCE) {
            line.handler.ack()?;
        }
    }
    Ok(())
}

fn cores_and_lines_are_checked(arena: &mut Arena) -> Outcome {
    let greatest = u64::from(cores(arena) - 1);
    let absent = Err(Error::Range { least: 0, greatest });
    let dest = slot_of(arena.empty_slot());
    check_eq!(IRQ_CONTROL.issue_signal(dest, cores(arena), 0), absent);
    check_eq!(IRQ_CONTROL.issue_signal(dest, u32::MAX, 0), absent);
    let no_line = Err(Error::Range { least: 0, greatest: 15 });
    check_eq!(IRQ_CONTROL.issue_signal(dest, 0, 16), no_line);
    check_eq!(IRQ_CONTROL.get_signal(dest, 16), no_line);
    if let Some(control) = core_control(arena.boot()) {
        let range = Err(Error::Range { least: 1, greatest });
        check_eq!(control.stop(0), range);
        check_eq!(control.start(cores(arena)), range);
    }
    Ok(())
}

/// What this root task does on every instance but the first. Without a way to tell anybody, it
/// stops where it cannot go on; the first instance then misses its answers.
pub(crate) fn answer(arena: &mut Arena) -> ! {
    let _ = try_to_answer(arena);
    loop {
        let _ = TCB.suspend();
    }
}

fn try_to_answer(arena: &mut Arena) -> Result<(), Error> {
    let line = Line::new(arena, QUESTION)?;
    let (answer, wrong) = (signal(arena, 0, ANSWER)?, signal(arena, 0, WRONG)?);
    if !has_nothing_of_the_first(arena) {
        wrong.send();
    }
    loop {
        let _ = line.notification.wait();
        line.handler.ack()?;
        answer.send();
    }
}

/// Whether pins, ports and core control are refused here.
fn has_nothing_of_the_first(arena: &mut Arena) -> bool {
    let dest = slot_of(arena.empty_slot());
    let pin = IRQ_CONTROL.get_io_apic(dest, IrqPin::default(), 0);
    let ports = IO_PORT_CONTROL.issue(IoPortRange { first: 0x80, last: 0x80 }, dest);
    let refused = Err(Error::IllegalOperation);
    (pin, ports) == (refused, refused) && core_control(arena.boot()).is_none()
}
