//! Threads beside the test: same image and heap, stack and IPC buffer of their own.
//!
//! A worker has no thread-local storage, so its body makes system calls through [`crate::raw`], and
//! it must not allocate: the test may preempt it anywhere and would then wait for the heap's lock
//! for ever.

use libd3os::abi::{FrameSize, ObjectType};
use libd3os::cap::{
    Bandwidth, CNode, Capability, Error, Notification, SchedContext, Space, Tcb, VSpace,
};
use libd3os::sys::Cptr;

use crate::arena::{Arena, CNODE, TCB, VSPACE};
use crate::machine::Buffer;
use crate::raw;

/// A worker's budget and period where the test does not care: an hour, so that no worker's turn ends
/// by chance, however slow the machine is.
const PLENTY_US: u64 = 3_600_000_000;

/// How a worker is to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) priority: u8,
    /// Highest priority that it may give.
    pub(crate) maximum: u8,
    /// Share of the core; `None`: none of its own, it runs on what others lend.
    pub(crate) bandwidth: Option<Bandwidth>,
    /// log2 of the scheduling context's bytes.
    pub(crate) context_bits: u8,
    /// Who gets its faults.
    pub(crate) fault_endpoint: Cptr,
    pub(crate) cspace: CNode,
    /// Guard word of the capability space.
    pub(crate) cspace_data: u64,
    pub(crate) vspace: VSpace,
    /// Whether it runs at once.
    pub(crate) start: bool,
}

impl Default for Options {
    fn default() -> Self {
        let bandwidth =
            Bandwidth { budget_us: PLENTY_US, period_us: PLENTY_US, ..Bandwidth::default() };
        Self {
            priority: 100,
            maximum: 0,
            bandwidth: Some(bandwidth),
            context_bits: 8,
            fault_endpoint: Cptr::NULL,
            cspace: CNODE,
            cspace_data: 0,
            vspace: VSPACE,
            start: true,
        }
    }
}

impl Options {
    /// A worker of this priority.
    pub(crate) fn priority(priority: u8) -> Self {
        Self { priority, ..Self::default() }
    }

    /// A worker whose faults go to this endpoint.
    pub(crate) fn faults_to(endpoint: impl Capability) -> Self {
        Self { fault_endpoint: endpoint.cptr(), ..Self::default() }
    }
}

/// A thread beside the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worker {
    pub(crate) tcb: Tcb,
    pub(crate) context: SchedContext,
    /// Its IPC buffer, which the test can read and write too.
    pub(crate) buffer: Buffer,
    done: Notification,
}

impl Worker {
    /// Waits until its body has returned.
    pub(crate) fn join(self) {
        let _ = self.done.wait();
    }

    /// Whether its body has returned since this was last asked.
    pub(crate) fn is_done(self) -> bool {
        self.done.poll() != 0
    }
}

impl Arena {
    /// Starts a thread that runs `body` and then stops. The body gets its IPC buffer.
    pub(crate) fn spawn(
        &mut self,
        options: Options,
        body: impl Fn(Buffer) + 'static,
    ) -> Result<Worker, Error> {
        let tcb = Tcb::new(self.make(ObjectType::Tcb, 0)?);
        let done = self.notification()?;
        let done_bit = self.mint(done.cptr(), libd3os::abi::CapRights::ALL, 1)?;
        let frame = self.frame(FrameSize::Small)?;
        let buffer = Buffer(self.map(frame, FrameSize::Small)?);
        let context = self.context_for(&options)?;
        let space = Space {
            cspace: options.cspace,
            cspace_data: options.cspace_data,
            vspace: options.vspace,
        };
        tcb.configure(space, buffer.0, frame)?;
        let Options { maximum, priority, fault_endpoint, .. } = options;
        tcb.set_sched_params(TCB, maximum, priority, context, fault_endpoint)?;
        let registers = self.registers(tcb, move || {
            body(buffer);
            raw::signal(done_bit);
        });
        tcb.write_registers(&registers, options.start)?;
        Ok(Worker { tcb, context, buffer, done })
    }

    /// A thread with priority `priority` and nothing special about it.
    pub(crate) fn worker(
        &mut self,
        priority: u8,
        body: impl Fn(Buffer) + 'static,
    ) -> Result<Worker, Error> {
        self.spawn(Options::priority(priority), body)
    }

    fn context_for(&mut self, options: &Options) -> Result<SchedContext, Error> {
        let Some(bandwidth) = options.bandwidth else {
            return Ok(SchedContext::new(Cptr::NULL));
        };
        self.sched_context(options.context_bits, bandwidth)
    }
}
