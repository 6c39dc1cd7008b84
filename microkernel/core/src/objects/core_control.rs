//! Core control: the other cores, stopped and started anew. Only instance 0 has it.
//!
//! A core that is stopped keeps nothing: starting it makes a new instance with a new root task,
//! from the boot module. What others share with it (signal lines, pool memory) is for its owners to
//! withdraw before.

use crate::{Answer, Decoded, Invocation, Kernel, Machine, Outcome, SyscallError};
use d3os_abi::Label;

/// What is to become of another core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoreRequest {
    /// It stops at once.
    Stop(u32),
    /// It starts anew.
    Start(u32),
}

impl<M: Machine> Kernel<M> {
    /// Checks an invocation of core control.
    pub(crate) fn decode_core_control(&self, inv: &Invocation) -> Decoded<CoreRequest> {
        let request = match inv.label()? {
            Label::CoreControlStop => CoreRequest::Stop,
            Label::CoreControlStart => CoreRequest::Start,
            _ => return Err(SyscallError::IllegalOperation),
        };
        self.check_core(self.argument(inv, 0)?, 1).map(request)
    }

    /// Stops or starts a core. Neither is waited for.
    pub(crate) fn perform_core_control(&mut self, request: CoreRequest) -> Outcome {
        match request {
            CoreRequest::Stop(core) => self.machine.stop_core(core),
            CoreRequest::Start(core) => self.machine.start_core(core),
        }
        Ok(Answer::Empty)
    }
}
