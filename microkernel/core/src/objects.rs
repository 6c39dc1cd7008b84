//! The objects of the API, a file each.

mod asid;
mod cnode;
mod domain;
mod endpoint;
mod frame;
mod io_port;
mod irq;
mod notification;
mod paging;
mod reply;
mod sched_context;
mod tcb;
mod untyped;

pub use asid::AsidPool;
pub use endpoint::Endpoint;
pub use io_port::IoPorts;
pub use irq::IrqTable;
pub use notification::Notification;
pub use paging::PageTable;
pub use reply::Reply;
pub use sched_context::SchedContext;
pub use tcb::{Context, FpuState, Tcb, TcbSlot};
