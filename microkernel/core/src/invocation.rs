//! An invocation of a kernel object: what decoding looks at, and what carrying it out returns.
//!
//! Each object has a `decode` that checks everything and changes nothing, and returns a request
//! type of its own; only that request can be carried out. Carrying out can be preempted (the
//! system call is then restarted), but cannot fail.

use crate::cap::Cap;
use crate::memory::Ref;
use crate::objects::Tcb;
use crate::slot::Slot;

/// A decoded message to a kernel object; words are fetched on demand with `Kernel::argument`.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// The message's label.
    pub label: u64,
    /// Words in the message.
    pub length: usize,
    /// The capability that was invoked.
    pub cap: Cap,
    /// Where it lies.
    pub slot: Ref<Slot>,
    /// Slots of the extra capabilities, in order; `None` from the first that was not sent.
    pub extra: [Option<Ref<Slot>>; 3],
    /// The invoking thread.
    pub thread: Ref<Tcb>,
}

/// Words that an invocation answers with (most answer none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// Success, no words.
    #[default]
    Empty,
    /// Success, one word.
    Word(u64),
    /// Success; the words are already in the caller's message registers (`ReadRegisters`), this many.
    Written(usize),
    /// The caller's registers, state and reply are already what they must be (it changed itself).
    Done,
}

/// How carrying out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Complete.
    Complete(Reply),
    /// An interrupt waits: what was done is kept, the thread restarts its system call.
    Preempted,
}
