//! Threads beside the root task's.

use alloc::boxed::Box;

use libd3os::abi::{ObjectType, UserRegisters};
use libd3os::cap::{Bandwidth, Error, SchedContext, Space, Tcb, VSpace};
use libd3os::sys::Cptr;

use crate::machine::{self, Stack};
use crate::workbench::{CNODE, TCB, Workbench};

/// log2 of a scheduling context's bytes.
const CONTEXT_BITS: u8 = 8;
/// More than a round takes by far.
const TIME_SLICE_US: u64 = 10_000;

/// A thread beside the root task's.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    context: SchedContext,
}

/// How it is to run.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) priority: u8,
    pub(crate) space: VSpace,
    /// Who is told of its faults; null: nobody.
    pub(crate) fault_endpoint: Cptr,
}

/// What it is started with.
struct Job {
    body: Box<dyn Fn()>,
    buffer: u64,
    tcb: Tcb,
}

/// Its first function.
extern "C" fn begin(job: *const Job) -> ! {
    let job = machine::kept(job);
    machine::attach(job.buffer);
    (job.body)();
    loop {
        // If it cannot be stopped it goes on to try.
        let _ = job.tcb.suspend();
    }
}

impl Peer {
    /// Starts a thread that runs `body` and then stops.
    pub(crate) fn start(
        bench: &mut Workbench,
        terms: Terms,
        body: impl Fn() + 'static,
    ) -> Result<Self, Error> {
        let tcb = Tcb::new(bench.make(ObjectType::Tcb, 0)?);
        let frame = bench.frame()?;
        let buffer = bench.address();
        bench.map(terms.space, frame, buffer)?;
        let space = Space { cspace: CNODE, cspace_data: 0, vspace: terms.space };
        tcb.configure(space, buffer, frame)?;
        let context = time_slice(bench)?;
        tcb.set_sched_params(TCB, terms.priority, terms.priority, context, terms.fault_endpoint)?;
        let job = bench.keep(Job { body: Box::new(body), buffer, tcb });
        let stack = bench.keep(Stack::new());
        let registers = UserRegisters {
            rip: begin as extern "C" fn(*const Job) -> ! as usize as u64,
            rsp: machine::kept(stack).entry_rsp(),
            rdi: job.addr() as u64,
            rflags: 0x202,
            ..UserRegisters::default()
        };
        tcb.write_registers(&registers, true)?;
        Ok(Self { context })
    }

    /// Takes its time away: from now on it runs on what callers lend.
    pub(crate) fn make_passive(self) -> Result<(), Error> {
        self.context.unbind()
    }
}

fn time_slice(bench: &mut Workbench) -> Result<SchedContext, Error> {
    let context = SchedContext::new(bench.make(ObjectType::SchedContext, CONTEXT_BITS)?);
    let (budget_us, period_us) = (TIME_SLICE_US, TIME_SLICE_US);
    let bandwidth = Bandwidth { budget_us, period_us, ..Bandwidth::default() };
    bench.sched_control().configure(context, bandwidth)?;
    Ok(context)
}
