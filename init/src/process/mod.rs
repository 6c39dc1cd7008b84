//! Init's process: carries out with kernel calls what the library decided.
//!
//! There is an init on every core. On core 0 [`system::System`] is the whole state; [`run`] brings it
//! up and then serves for ever. On the others [`hand`] does what core 0's init wants. What both are
//! made of, the programs of a core and the means to make them, is a [`site::Site`].
//!
//! Init is the only program that never calls another, so nobody can hang it: it answers, signals,
//! writes to rings that it does not wait for, and invokes kernel objects, nothing else.

#[expect(unsafe_code, reason = "takes the board, which it has mapped, as atomic words")]
mod board;
mod control;
mod cores;
mod devices;
mod hand;
mod held;
mod kernel;
mod launch;
mod loader;
mod memory;
mod opening;
mod others;
mod own;
mod persistent;
mod platform;
mod power;
mod program;
#[expect(unsafe_code, reason = "makes slices of what the kernel mapped before init ran")]
mod raw;
mod resources;
mod rings;
mod serial;
mod serve;
mod site;
mod system;
#[expect(unsafe_code, reason = "lends a static to a second thread as its stack")]
mod ticker;
mod trouble;
#[expect(unsafe_code, reason = "copies to and from frames that it maps for the purpose")]
mod window;

use core::convert::Infallible;

use libd3os::abi::BootInfo;
use libd3os::call::{CallError, Request};
use libd3os::mark::{Phase, mark};
use libd3os::server::{Event, Message, Server};
use libd3os::service::devices::Devices;
use libd3os::service::log::Log;
use libd3os::service::persistent::Persistent;
use libd3os::service::supervisor::Supervisor;

use init::badge::{Channel, Origin, origin, signals as signals_in};

use system::System;

/// Runs the system. Does not return: without programs there is nothing to go back to.
pub(crate) fn run(info: &'static BootInfo) -> Infallible {
    mark(Phase::InitEntered);
    if info.node_id != 0 {
        hand::run(info);
    }
    let (mut system, mut server) = match system::bring_up(info) {
        Ok(up) => up,
        Err(failure) => power::stop_after(*failure),
    };
    system.start_when_gathered();
    loop {
        system.exchange();
        system.tell_settled();
        serve_one(&mut system, &mut server);
    }
}

fn serve_one(system: &mut System, server: &mut Server) {
    match server.next() {
        Event::Request(request) => dispatch(system, request),
        Event::Signal(bits) => signals(system, bits),
        Event::Message(message) => fault(system, message),
    }
}

/// A call of one of init's interfaces, by a program of this core or another.
fn dispatch(system: &mut System, request: Request<'_>) {
    match origin(request.caller.0) {
        Origin::Program(_, Channel::Supervisor) => Supervisor::dispatch(system, request),
        Origin::Program(_, Channel::Log) => Log::dispatch(system, request),
        Origin::Program(_, Channel::Devices) => Devices::dispatch(system, request),
        Origin::Program(_, Channel::Persistent) => Persistent::dispatch(system, request),
        _ => request.reply.fail(CallError::Denied),
    }
}

fn signals(system: &mut System, bits: u64) {
    let signals = signals_in(bits);
    if signals.line {
        system.others.acknowledge();
    }
    system.interrupt(signals.interrupted());
    if signals.tick {
        system.tick();
    }
}

/// A fault's reply is dropped after the thread is gone: nobody is there to hear it.
fn fault(system: &mut System, message: Message<'_>) {
    if let Origin::Program(number, Channel::Fault) = origin(message.badge) {
        system.fault(number, message.label, &message.words);
    }
}
