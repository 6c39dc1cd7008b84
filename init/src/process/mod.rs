//! Init's process: carries out with kernel calls what the library decided.
//!
//! [`system::System`] is the whole state; [`run`] brings it up and then serves for ever. Init is
//! the only program that never calls another, so nobody can hang it: it answers, signals and
//! invokes kernel objects, nothing else.

mod device;
mod kernel;
mod loader;
mod memory;
mod own;
mod platform;
mod power;
mod program;
#[expect(unsafe_code, reason = "makes slices of what the kernel mapped before init ran")]
mod raw;
mod resources;
mod serial;
mod serve;
mod system;
#[expect(unsafe_code, reason = "lends a static to a second thread as its stack")]
mod ticker;
mod trouble;
#[expect(unsafe_code, reason = "copies to and from frames that it maps for the purpose")]
mod window;

use core::convert::Infallible;

use libd3os::abi::BootInfo;
use libd3os::mark::{Phase, mark};
use libd3os::server::{Event, Message, Server};
use libd3os::service::log::Log;
use libd3os::service::supervisor::Supervisor;

use init::badge::{Channel, Origin, Signals, origin, signals as signals_in};

use system::System;

/// Runs the system. Does not return: without programs there is nothing to go back to.
pub(crate) fn run(info: &'static BootInfo) -> Infallible {
    mark(Phase::InitEntered);
    if info.node_id != 0 {
        rest();
    }
    let (mut system, mut server) = match system::bring_up(info) {
        Ok(up) => up,
        Err(failure) => power::stop_after(*failure),
    };
    system.start_boot_programs();
    mark(Phase::ProgramsStarted);
    loop {
        serve_one(&mut system, &mut server);
    }
}

/// What init does on a core that nobody gives work to: nothing, for good.
fn rest() -> ! {
    loop {
        // Suspending a thread of one's own cannot fail; if it did, time would pass all the same.
        let _ = kernel::THREAD.suspend();
    }
}

fn serve_one(system: &mut System, server: &mut Server) {
    match server.next() {
        Event::Request(request) => match origin(request.caller.0) {
            Origin::Program(_, Channel::Supervisor) => Supervisor::dispatch(system, request),
            Origin::Program(_, Channel::Log) => Log::dispatch(system, request),
            _ => request.reply.fail(libd3os::call::CallError::Denied),
        },
        Event::Signal(bits) => signals(system, bits),
        Event::Message(message) => fault(system, message),
    }
}

fn signals(system: &mut System, bits: u64) {
    let Signals { tick, interrupt } = signals_in(bits);
    if interrupt {
        system.interrupt();
    }
    if tick {
        system.tick();
    }
}

/// A fault's reply is dropped after the thread is gone: nobody is there to hear it.
fn fault(system: &mut System, message: Message<'_>) {
    if let Origin::Program(number, Channel::Fault) = origin(message.badge) {
        system.fault(number, message.label, &message.words);
    }
}
