//! The server's process: it carries out what the core decides, and decides nothing.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::convert::Infallible;

use libd3os::call::{Caller, Later};
use libd3os::server::{Event, Server, ServerError};
use libd3os::start::StartInfo;
use server_template::core::{Answer, Core};
use server_template::interface::{Counter, CounterError};

libd3os::program! { main: run, serves: ["counter"], calls: ["log", "supervisor"] }

type Waiter = Later<Result<u64, CounterError>>;

fn run(_: &'static StartInfo) -> Result<Infallible, ServerError> {
    let mut server = Server::serving("counter")?;
    let mut process = Process(Core::default());
    server.observe(process.0.journal().recorder());
    loop {
        match server.next() {
            Event::Request(request) => Counter::dispatch(&mut process, request),
            Event::Signal(bits) => log::warn!("a signal {bits:#x}, which nobody should send"),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

struct Process(Core<Waiter>);

impl Counter for Process {
    fn add(&mut self, _: Caller, amount: u64) -> Result<u64, CounterError> {
        let (sum, answers) = self.0.add(amount)?;
        answers.into_iter().for_each(answer);
        Ok(sum)
    }

    fn value(&mut self, _: Caller) -> Result<u64, CounterError> {
        Ok(self.0.value())
    }

    fn reached(&mut self, _: Caller, limit: u64, later: Waiter) {
        match self.0.wait(limit, later) {
            Ok(due) => due.into_iter().for_each(answer),
            Err((later, error)) => later.answer(&Err(error)),
        }
    }
}

fn answer(Answer(waiter, value): Answer<Waiter>) {
    waiter.answer(&Ok(value));
}
