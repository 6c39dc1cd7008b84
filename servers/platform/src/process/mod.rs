//! What calls the kernel and init: everything that the library decides is carried out here.

mod ports;
mod supervisor;
mod time;
#[expect(unsafe_code, reason = "accesses pages that init has mapped")]
mod view;

pub(crate) use ports::ConfigPorts;
pub(crate) use supervisor::Supervisor;
pub(crate) use time::Uptime;
pub(crate) use view::View;
