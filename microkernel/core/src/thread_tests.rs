//! Whole kernels running threads: messages, signals, faults, time.

mod fault;
mod fuzz;
mod ipc;
mod model;
mod notification;
mod refill;
mod tcb;
mod time;
