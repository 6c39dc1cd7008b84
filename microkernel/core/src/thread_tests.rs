//! Whole kernels running threads: messages, signals, faults, time.

#[cfg(feature = "debug-syscalls")]
mod debug;
mod domain;
mod exhaustion;
mod fault;
mod ipc;
mod model;
mod notification;
mod preemption;
mod refill;
mod tcb;
mod time;
mod vanishing;
