//! The interfaces of the system's servers, one file each.
//!
//! An interface is one documented trait; [`macro@crate::service`] makes its client, its dispatch
//! and its documentation. A program calls a service through the client, `connect`ed over the
//! capability that its manifest entry grants; a server implements the trait.

pub mod console;
pub mod devices;
pub mod entropy;
pub mod framebuffer;
pub mod keyboard;
pub mod log;
pub mod net;
pub mod nic;
pub mod nvdimm;
mod page;
pub mod persistent;
pub mod platform;
pub mod pmem;
pub mod rtc;
pub mod share;
pub mod supervisor;
pub mod timer;
pub mod uart;

pub use page::Page;

use crate::call::InterfaceDoc;

/// The interfaces that this library declares.
pub static INTERFACES: [&InterfaceDoc; 17] = [
    &console::CONSOLE,
    &devices::DEVICES,
    &entropy::ENTROPY,
    &framebuffer::FRAMEBUFFER,
    &keyboard::KEYBOARD,
    &log::LOG,
    &net::NET,
    &nic::NIC,
    &nvdimm::NVDIMM,
    &persistent::PERSISTENT,
    &platform::PLATFORM,
    &pmem::PMEM,
    &rtc::RTC,
    &share::SHARE,
    &supervisor::SUPERVISOR,
    &timer::TIMER,
    &uart::UART,
];

/// Services that go by their drivers' names, since there may be several of their kind.
const CARDS: [&str; 2] = ["e1000e", "virtio-net"];

/// The interface of this name or of the service of this name, or `None`.
#[must_use]
pub fn interface(name: &str) -> Option<&'static InterfaceDoc> {
    let name = if CARDS.contains(&name) { nic::NIC.name } else { name };
    INTERFACES.into_iter().find(|interface| interface.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_found_by_name() {
        assert_eq!(interface("uart").map(|doc| doc.version), Some(uart::UART.version));
        assert_eq!(interface("virtio-net").map(|doc| doc.name), Some("nic"));
        assert!(interface("none").is_none());
    }

    #[test]
    fn every_operation_is_documented() {
        for interface in INTERFACES {
            assert!(!interface.doc.is_empty(), "{}", interface.name);
            for operation in interface.operations {
                assert!(!operation.doc.is_empty(), "{}.{}", interface.name, operation.name);
            }
        }
    }
}
