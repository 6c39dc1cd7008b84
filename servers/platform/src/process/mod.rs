//! What calls the kernel and init: everything that the library decides is carried out here.

mod ports;
mod supervisor;
#[expect(unsafe_code, reason = "flushes the processor's caches")]
mod tables;
mod time;
#[expect(unsafe_code, reason = "accesses pages that init has mapped")]
mod view;

pub(crate) use ports::ConfigPorts;
pub(crate) use supervisor::Supervisor;
pub(crate) use tables::TablePages;
pub(crate) use time::Uptime;
pub(crate) use view::View;
