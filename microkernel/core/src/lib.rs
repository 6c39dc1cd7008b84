//! The kernel's decisions, without hardware: every object of the API, capabilities and their
//! derivation, scheduling, message passing.
//!
//! [`Kernel`] is one instance: a value, never a global, so that a test can hold several. What it
//! needs from the machine (memory of its objects, interrupt controller, clock, ports) is the
//! [`Machine`] trait, which `kernel-x86_64` implements on hardware and `simulation` on the host.
//!
//! | to find | look in |
//! |---|---|
//! | what a capability is, how it is stored | `cap`, `slot` |
//! | who was derived from whom | `derivation` |
//! | how an address in a capability space is resolved | `lookup` |
//! | deletion, revocation, preemption of both | `delete` |
//! | one object of the API | `objects/NAME` |
//! | message transfer, blocking, faults | `ipc`, `fault`; the short way: `fast_path` |
//! | who runs next, and for how long | `scheduler`, `refill` |
//! | system calls and their dispatch | `syscall`, `invocation` |
//! | page-table entries and walks | `vspace` |
//! | the root task's first state | `boot` |
#![cfg_attr(not(any(test, feature = "simulation")), no_std)]
#![forbid(unsafe_code)]

mod boot;
mod cap;
#[cfg(test)]
mod cap_tests;
#[cfg(test)]
mod cap_world;
#[cfg(test)]
mod cnode_tests;
#[cfg(feature = "debug-syscalls")]
mod debug;
mod delete;
#[cfg(test)]
mod delete_tests;
mod derivation;
#[cfg(test)]
mod device_tests;
mod error;
mod fast_path;
mod fault;
#[cfg(test)]
mod fuzz;
#[cfg(any(test, feature = "simulation"))]
pub mod invariants;
mod invocation;
mod ipc;
mod kernel;
mod lookup;
#[cfg(test)]
mod lookup_tests;
mod machine;
mod memory;
#[cfg(test)]
mod model_tests;
pub mod objects;
mod refill;
mod scheduler;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod slot;
mod syscall;
#[cfg(test)]
mod test_bench;
#[cfg(test)]
mod thread_bench;
#[cfg(test)]
mod thread_invariants;
#[cfg(test)]
mod thread_tests;
#[cfg(test)]
mod untyped_tests;
mod vspace;
#[cfg(test)]
mod vspace_tests;

pub use boot::{BootError, BootInput, Framebuffer, ImageError, MAX_REGIONS, RegionList};
pub use cap::{Asid, Cap, Mapping, TableLevel, Zombie, ZombieKind, ZombieState};
pub(crate) use delete::Preempted;
pub(crate) use error::{Decoded, ensure, ensure_range};
pub use error::{LookupFailure, SyscallError};
pub(crate) use invocation::{Answer, Invocation, Outcome};
pub use kernel::{Event, Kernel, Next};
pub use machine::{CoreControl, InterruptTrigger, Machine, PortWidth, Ticks};
pub use memory::{KernelObject, Link, PhysAddr, Ref};
pub use slot::Slot;
