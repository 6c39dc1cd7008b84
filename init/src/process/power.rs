//! The end: when the machine is switched off, started again, or stopped because it cannot come up.

use super::platform::Platform;
use super::trouble::Trouble;

/// Exit status for the emulator when the system could not come up, or cannot be used any more.
pub(super) const FAILED: u8 = 1;
/// How long output is waited for before the machine is switched off over it.
const DRAIN_US: u64 = 5_000_000;
/// Ticks in a row for which the serial line is quiet when nobody has anything to send any more: a
/// driver that has refills it within a character time.
const QUIET_TICKS: u32 = 2;

/// What is to happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Switch off, with this status for an emulator.
    Off(u8),
    /// Start again.
    Reset,
}

/// An end that waits until the last output has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    end: End,
    deadline_us: u64,
    quiet_ticks: u32,
}

impl Closing {
    /// An end as soon as the line is quiet.
    pub(super) fn new(end: End, now_us: u64) -> Self {
        Self { end, deadline_us: now_us + DRAIN_US, quiet_ticks: 0 }
    }

    /// A tick has passed. Returns only if it is not time yet, or the machine does not do it.
    pub(super) fn tick(&mut self, platform: &mut Platform) {
        self.quiet_ticks = if platform.serial_is_idle() { self.quiet_ticks + 1 } else { 0 };
        if self.quiet_ticks >= QUIET_TICKS || platform.now_us() >= self.deadline_us {
            carry_out(self.end, platform);
        }
    }
}

/// Ends, or says that this machine cannot, and stops.
fn carry_out(end: End, platform: &mut Platform) {
    match end {
        End::Off(status) => {
            let why = platform.power_off(status);
            platform.print(format_args!("Switch the machine off now, it cannot itself: {why}.\n"));
        }
        End::Reset => {
            platform.reset();
            platform.print(format_args!("Reset the machine now, it cannot itself.\n"));
        }
    }
    platform.halt();
}

/// A system that could not come up, and why.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) platform: Platform,
    pub(super) trouble: Trouble,
}

/// Says why the system cannot come up and switches the machine off; one that cannot be switched off
/// stays as it is, with the message on its line.
pub(super) fn stop_after(mut failure: Failure) -> ! {
    let platform = &mut failure.platform;
    platform.print(format_args!("init: the system cannot start: {}\n", failure.trouble));
    let deadline = platform.now_us() + DRAIN_US;
    while !platform.serial_is_idle() && platform.now_us() < deadline {
        core::hint::spin_loop();
    }
    // Where the configuration could not be read, the command line may know the emulator's port. An
    // ordinary end goes without: there the configuration decides whether a status is wanted.
    platform.exit_port = platform.exit_port.or(platform.machine.exit_port());
    platform.power_off(FAILED);
    platform.halt()
}
