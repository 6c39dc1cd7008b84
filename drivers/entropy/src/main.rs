//! The entropy driver's process: the processor's instructions and the `Entropy` interface.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::convert::Infallible;

use entropy::device::Entropy;
use entropy::instructions::{RdRand, RdSeed};
use entropy::source::Words;
use libd3os::call::Caller;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::entropy::{Entropy as Interface, EntropyError, Health, SourceReport};
use libd3os::start::StartInfo;

libd3os::program! { main: run, serves: ["entropy"], calls: ["log", "supervisor"] }

fn run(_: &'static StartInfo) -> Result<Infallible, ServerError> {
    let mut server = Server::serving("entropy")?;
    let mut driver = Driver(Entropy::new(sources()));
    server.observe(driver.0.journal().recorder());
    if driver.0.report().iter().all(|report| report.health != Health::Good) {
        log::warn!("this processor gives no random bits: programs that need keys get an error");
    }
    loop {
        match server.next() {
            Event::Request(request) => Interface::dispatch(&mut driver, request),
            Event::Signal(bits) => log::warn!("a signal {bits:#x}, which nobody should send"),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

fn sources() -> impl Iterator<Item = Box<dyn Words>> {
    let seed = RdSeed::find().map(|source| Box::new(source) as Box<dyn Words>);
    let rand = RdRand::find().map(|source| Box::new(source) as Box<dyn Words>);
    seed.into_iter().chain(rand)
}

struct Driver(Entropy);

impl Interface for Driver {
    fn fill(&mut self, _: Caller, bytes: u32) -> Result<Vec<u8>, EntropyError> {
        self.0.fill(bytes)
    }

    fn sources(&mut self, _: Caller) -> Result<Vec<SourceReport>, EntropyError> {
        Ok(self.0.report())
    }
}
