//! Many threads that do next to nothing: they have no stack and no IPC buffer, make one system call
//! and then another for ever.

use core::time::Duration;

use kernel_workbench::{CNODE, TCB, VSPACE, Workbench, nth};
use libd3os::abi::{ObjectType, Syscall, UserRegisters};
use libd3os::cap::{
    Bandwidth, Capability, Error, Frame, Notification, SchedContext, Server, Space, Tcb,
};
use libd3os::sys::Cptr;
use libd3os::time::Clock;

use crate::long;
use crate::machine;

/// Of every thread here: one that is started runs at once, until it waits.
pub(crate) const PRIORITY: u8 = long::PRIORITY + 1;

/// log2 of a scheduling context's bytes.
const CONTEXT_BITS: u8 = 7;
/// Of who is only to run until it waits.
const TIME_SLICE: Budget = Budget { amount_us: 10_000, period_us: 10_000 };
/// From one thread that gives its budget away to the next: more than that takes.
const APART_US: u64 = 20;
/// What they give away.
const BUDGET_US: u64 = 100;
/// Period of the thread that does so last: time for what comes between that and the refills.
const LAST_PERIOD_US: u64 = 5_000;
/// log2 of the bytes of a scheduling context with room for many refills.
const ROOMY_CONTEXT_BITS: u8 = 15;
/// More than many short activations take.
const LONG_PERIOD_US: u64 = 50_000;
/// Ticks of the time stamp counter in a microsecond: the emulator makes one an instruction, and an
/// instruction takes it a nanosecond.
const COUNTER_MHZ: u32 = 1_000;

/// So much time in each period, in microseconds; as much as the period means "no limit".
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) amount_us: u64,
    pub(crate) period_us: u64,
}

/// What a thread does.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    first: Syscall,
    /// What the first system call names.
    named: Cptr,
    reply: Cptr,
    then: Syscall,
    /// What the others name.
    then_named: Cptr,
}

impl Script {
    /// One system call, repeated.
    const fn repeat(call: Syscall, named: Cptr) -> Self {
        Self { first: call, named, reply: Cptr::NULL, then: call, then_named: named }
    }

    /// Calls.
    pub(crate) const fn call(endpoint: Cptr) -> Self {
        Self::repeat(Syscall::Call, endpoint)
    }

    /// Waits.
    pub(crate) const fn wait(notification: Cptr) -> Self {
        Self::repeat(Syscall::Wait, notification)
    }

    /// Gives its budget away.
    pub(crate) const fn give_way() -> Self {
        Self::repeat(Syscall::Yield, Cptr::NULL)
    }

    /// Receives one call and calls somebody else in its course.
    pub(crate) const fn serve_by_call(endpoint: Cptr, reply: Cptr, other: Cptr) -> Self {
        let (first, then) = (Syscall::Recv, Syscall::Call);
        Self { first, named: endpoint, reply, then, then_named: other }
    }

    fn registers(self) -> UserRegisters {
        UserRegisters {
            rip: machine::crowd_entry(),
            rflags: 0x202,
            rdx: (self.first as i64).cast_unsigned(),
            rdi: self.named.address(),
            r12: self.reply.address(),
            rbx: self.then_named.address(),
            r13: (self.then as i64).cast_unsigned(),
            ..UserRegisters::default()
        }
    }
}

/// Threads in a row of slots, and their scheduling contexts in another.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    threads: Cptr,
    contexts: Cptr,
    count: u64,
}

/// When something is over.
#[derive(Clone, Copy)]
pub(crate) struct Due(u64);

impl Due {
    /// So many microseconds from now.
    fn after(us: u64) -> Self {
        Self(libd3os::time::tsc()).later(us)
    }

    /// So many microseconds after that.
    fn later(self, us: u64) -> Self {
        Self(self.0 + Clock::new(COUNTER_MHZ, 0).ticks(Duration::from_micros(us)))
    }

    /// Does nothing until then.
    pub(crate) fn wait(self) {
        while libd3os::time::tsc() < self.0 {
            core::hint::spin_loop();
        }
    }
}

impl Crowd {
    /// Threads in the root task's spaces that have time, but do not run yet.
    pub(crate) fn new(bench: &mut Workbench, count: u64) -> Result<Self, Error> {
        Self::of_priority(bench, count, PRIORITY)
    }

    /// The same, of another priority.
    pub(crate) fn of_priority(
        bench: &mut Workbench,
        count: u64,
        priority: u8,
    ) -> Result<Self, Error> {
        let threads = bench.make_many(ObjectType::Tcb, 0, count)?;
        let contexts = bench.make_many(ObjectType::SchedContext, CONTEXT_BITS, count)?;
        let crowd = Self { threads, contexts, count };
        let space = Space { cspace: CNODE, cspace_data: 0, vspace: VSPACE };
        for n in 0..count {
            crowd.set_budget(bench, n, TIME_SLICE)?;
            let (thread, context) = (crowd.thread(n), crowd.context(n));
            thread.configure(space, 0, Frame::new(Cptr::NULL))?;
            thread.set_sched_params(TCB, 0, priority, context, Cptr::NULL)?;
        }
        Ok(crowd)
    }

    fn thread(self, n: u64) -> Tcb {
        Tcb::new(nth(self.threads, n))
    }

    fn context(self, n: u64) -> SchedContext {
        SchedContext::new(nth(self.contexts, n))
    }

    /// Configures what the `n`th thread runs on.
    pub(crate) fn set_budget(self, bench: &Workbench, n: u64, budget: Budget) -> Result<(), Error> {
        let Budget { amount_us: budget_us, period_us } = budget;
        let bandwidth = Bandwidth { budget_us, period_us, ..Bandwidth::default() };
        bench.sched_control().configure(self.context(n), bandwidth)
    }

    /// Starts one after the other; each runs until it waits.
    pub(crate) fn start(self, script: impl Fn(u64) -> Script) -> Result<(), Error> {
        for n in 0..self.count {
            self.thread(n).write_registers(&script(n).registers(), true)?;
        }
        Ok(())
    }

    /// Takes their time away: from now on they run on what callers lend.
    pub(crate) fn make_passive(self) -> Result<(), Error> {
        (0..self.count).try_for_each(|n| self.context(n).unbind())
    }

    /// Starts threads that give away their budgets, each at a known time and with the period that
    /// is left from then to one and the same time, and tells when all surely have them back.
    pub(crate) fn spend_budgets(self, bench: &Workbench) -> Result<Due, Error> {
        let registers = Script::give_way().registers();
        for n in 0..self.count {
            let period_us = LAST_PERIOD_US + (self.count - 1 - n) * APART_US;
            self.set_budget(bench, n, Budget { amount_us: BUDGET_US, period_us })?;
            self.thread(n).write_registers(&registers, false)?;
        }
        let begin = Due::after(APART_US);
        for n in 0..self.count {
            begin.later(n * APART_US).wait();
            self.thread(n).resume()?;
        }
        Ok(begin.later(self.count * APART_US + LAST_PERIOD_US))
    }

    /// Wakes a single thread so often, as a sporadic server whose used time comes back separately
    /// for each time, and tells when all of it surely has.
    pub(crate) fn split_budget(
        self,
        bench: &mut Workbench,
        wake: Notification,
        times: u64,
    ) -> Result<Due, Error> {
        let bandwidth = Bandwidth {
            budget_us: LONG_PERIOD_US / 2,
            period_us: LONG_PERIOD_US,
            extra_refills: times,
            server: Server::Sporadic,
            ..Bandwidth::default()
        };
        let context = bench.sched_context(ROOMY_CONTEXT_BITS, bandwidth)?;
        self.context(0).unbind()?;
        context.bind(self.threads)?;
        self.start(|_| Script::wait(wake.cptr()))?;
        for _ in 0..times {
            wake.signal();
        }
        Ok(Due::after(LONG_PERIOD_US))
    }
}
