//! Init's second thread: a clock that ticks while something waits for time to pass.
//!
//! There is no timer driver this early, and init may not wait for one: it restarts drivers. So a
//! thread with a scheduling context of its own yields, which puts it to sleep until its next
//! period, and then signals init, or does so once in so many periods. While nobody needs it, it
//! waits on a notification and costs nothing.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use init::cores::BEAT_US;
use init::own::Thread;
use libd3os::abi::{MessageInfo, ObjectType, Syscall, UserRegisters};
use libd3os::cap::{Bandwidth, Notification, SchedContext, SchedControl, Space, Tcb};
use libd3os::sys::{self, Cptr, Registers};

use super::kernel::{SPACE, THREAD, VSPACE};
use super::memory::Memory;
use super::trouble::{Doing, Refused};

/// Time between ticks.
const PERIOD_US: u64 = 10_000;
/// More than a tick takes.
const BUDGET_US: u64 = 1_000;
/// Just below init, so that no program can hold up the clock.
const PRIORITY: u8 = 254;
const STACK_BYTES: usize = 4096;
/// log2 of the scheduling context's bytes.
const CONTEXT_BITS: u8 = 7;

/// Periods from tick to tick; 0 while nobody needs any.
static PACE: AtomicU64 = AtomicU64::new(0);
/// Capability addresses that the thread reads before anything else: where it waits, whom it tells.
static GATE: AtomicU64 = AtomicU64::new(0);
static TICK: AtomicU64 = AtomicU64::new(0);

#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; STACK_BYTES]>);

// SAFETY: only the ticker's thread uses the memory, through its stack pointer.
unsafe impl Sync for Stack {}

static STACK: Stack = Stack(UnsafeCell::new([0; STACK_BYTES]));

/// How often the clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Not at all.
    Still,
    /// For heartbeats.
    Slow,
    /// Every period: something waits for time to pass.
    Fast,
}

impl Pace {
    const fn periods(self) -> u64 {
        match self {
            Self::Still => 0,
            Self::Slow => BEAT_US / PERIOD_US,
            Self::Fast => 1,
        }
    }
}

/// Init's side of the clock.
#[derive(Debug)]
pub(super) struct Ticker {
    gate: Notification,
    context: SchedContext,
    used_us: u64,
}

impl Ticker {
    /// Makes the thread, which waits at once. `tick` is signalled at each tick.
    pub(super) fn start(
        memory: &mut Memory,
        time: SchedControl,
        tick: Notification,
    ) -> Result<Self, Refused> {
        let mut make =
            |object, bits| memory.make(object, bits).map(Cptr::new).doing("making the ticker");
        let thread = Tcb::new(make(ObjectType::Tcb, 0)?);
        let context = SchedContext::new(make(ObjectType::SchedContext, CONTEXT_BITS)?);
        let gate = make(ObjectType::Notification, 0)?;
        GATE.store(gate.address(), Ordering::Relaxed);
        TICK.store(libd3os::cap::Capability::cptr(tick).address(), Ordering::Relaxed);
        let space = Space { cspace: SPACE, cspace_data: 0, vspace: VSPACE };
        let bandwidth =
            Bandwidth { budget_us: BUDGET_US, period_us: PERIOD_US, ..Bandwidth::default() };
        let started = time
            .configure(context, bandwidth)
            .and_then(|()| thread.set_space(Cptr::NULL, space))
            .and_then(|()| thread.set_sched_params(THREAD, PRIORITY, PRIORITY, context, Cptr::NULL))
            .and_then(|()| thread.write_registers(&entry_registers(), true));
        started.doing("starting the ticker")?;
        Ok(Self { gate: Notification::new(gate), context, used_us: 0 })
    }

    /// What `ps` shows of it.
    pub(super) fn thread(&mut self) -> Thread {
        self.used_us += self.context.consumed().unwrap_or(0);
        let share_us = (BUDGET_US, PERIOD_US);
        Thread { name: "ticker", priority: PRIORITY, share_us, cpu_us: self.used_us }
    }

    /// Ticks at this pace from now on.
    pub(super) fn set_pace(&self, pace: Pace) {
        if PACE.swap(pace.periods(), Ordering::Relaxed) == 0 && pace != Pace::Still {
            self.gate.signal();
        }
    }
}

fn entry_registers() -> UserRegisters {
    let top = STACK.0.get().addr() + STACK_BYTES;
    UserRegisters {
        rip: tick_for_ever as *const () as u64,
        // As after a call: eight bytes below a multiple of sixteen.
        rsp: top as u64 - 8,
        rflags: 0x202,
        ..UserRegisters::default()
    }
}

/// The thread. It has no thread-local storage and no IPC buffer, hence the raw system calls.
extern "C" fn tick_for_ever() -> ! {
    let gate = Registers { rdi: GATE.load(Ordering::Relaxed), ..Registers::default() };
    let tick = Registers {
        rdi: TICK.load(Ordering::Relaxed),
        rsi: MessageInfo::default().0,
        ..Registers::default()
    };
    loop {
        let _ = sys::raw(Syscall::Wait, gate);
        let mut passed = 0;
        while PACE.load(Ordering::Relaxed) != 0 {
            let _ = sys::raw(Syscall::Yield, Registers::default());
            passed += 1;
            if passed >= PACE.load(Ordering::Relaxed) {
                passed = 0;
                let _ = sys::raw(Syscall::Send, tick);
            }
        }
    }
}
