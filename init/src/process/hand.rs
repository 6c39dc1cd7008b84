//! Init on a core other than 0: a hand of core 0's init.
//!
//! It decides nothing. It makes and ends programs when it is told to, hands on what they ask of init,
//! and tells what became of them. While it lives its heart beats on the board.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use core::convert::Infallible;

use init::badge::{Channel, Origin, origin, signals};
use init::board::Header;
use init::message::{Absence, Command, Interface, LinkError, Outbox, Report};
use init::supervise::ProgramNumber;
use libd3os::abi::BootInfo;
use libd3os::call::{CallError, Later, Request};
use libd3os::cap::IrqHandler;
use libd3os::server::{Event, Message, Server};
use libd3os::service::log::Level;

use super::board::{Board, InitLink, LinkEnd, Post, bell_of, take_line};
use super::control::Death;
use super::kernel::THREAD;
use super::memory::Memory;
use super::opening::Opening;
use super::platform::Platform;
use super::resources::Shared;
use super::site::{Site, core_of};
use super::ticker::Pace;
use super::trouble::{Doing, Refused, Trouble};

/// The state of a hand.
#[derive(Debug)]
struct Hand {
    site: Site,
    post: Post,
    link: InitLink,
    line: IrqHandler,
    outbox: Outbox,
    /// The serial number of each program's latest start, by program.
    serials: BTreeMap<ProgramNumber, u32>,
    /// Calls that were handed on, by token.
    calls: BTreeMap<u32, Later<()>>,
    last_token: u32,
}

/// Serves core 0's init for ever.
pub(super) fn run(info: &'static BootInfo) -> Infallible {
    let Ok((mut hand, mut server)) = come_up(info) else { rest() };
    // Its status is there when core 0 hears of it.
    hand.tick();
    hand.report(&Report::Ready);
    loop {
        if hand.exchange().is_err() {
            // Core 0 finds the same out, or sees that the heart has stopped.
            rest();
        }
        hand.set_pace();
        match server.next() {
            Event::Request(request) => hand.hand_on(request),
            Event::Signal(bits) => hand.signalled(bits),
            Event::Message(message) => hand.fault(&message),
        }
    }
}

/// What a hand does that has nobody to work for: nothing, for good.
fn rest() -> ! {
    loop {
        // Suspending a thread of one's own cannot fail; if it did, time would pass all the same.
        let _ = THREAD.suspend();
    }
}

/// Meets core 0's init first, so that it can be told what goes wrong after that.
fn come_up(info: &'static BootInfo) -> Result<(Hand, Server), Trouble> {
    let mut platform = Platform::new(info);
    let opening = Opening::new(info, &mut platform)?;
    let line = take_line(&opening.shared, &mut platform.memory)?;
    let (post, mut link) = meet(info, &mut platform.memory, &opening.shared, line)?;
    match opening.settle(info, &mut platform) {
        Ok(settled) => {
            let (site, server) = settled.on(platform);
            let (calls, serials) = (BTreeMap::new(), BTreeMap::new());
            let outbox = Outbox::default();
            Ok((Hand { site, post, link, line, outbox, serials, calls, last_token: 0 }, server))
        }
        Err(trouble) => {
            let mut outbox = Outbox::default();
            let told = outbox.push(&Report::Failed(trouble.to_string()));
            // Untold, core 0 finds out by itself that this core does not come up.
            let _ = told.and_then(|()| link.send(&mut outbox));
            Err(trouble)
        }
    }
}

/// Waits until the board is laid out, and takes this core's place at it.
fn meet(
    info: &BootInfo,
    memory: &mut Memory,
    shared: &Shared,
    line: IrqHandler,
) -> Result<(Post, InitLink), Trouble> {
    let core = core_of(info);
    let mut board = Board::new();
    let header = Header::new(board.header(memory)?);
    loop {
        // Nothing on the board counts before the signal: it may be from an earlier boot.
        let _bits = shared.own_notification().wait();
        line.ack().doing("listening to core 0")?;
        if header.has_post(core) {
            break;
        }
    }
    let post = board.post(memory, core)?;
    let bell = bell_of(0, line, shared, memory)?;
    let link = post.link(LinkEnd::Hand, bell);
    link.map(|link| (post, link)).ok_or(Trouble::Board("the board is too small for its rings"))
}

impl Hand {
    /// Carries out what core 0 wants, and sends what there is to tell, until neither is left.
    fn exchange(&mut self) -> Result<(), LinkError> {
        loop {
            while let Some(command) = self.link.receive()? {
                self.obey(command);
                self.link.send(&mut self.outbox)?;
            }
            self.link.send(&mut self.outbox)?;
            if !self.link.arm() {
                return Ok(());
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(start) => {
                let (program, serial) = (start.program, start.serial);
                self.serials.insert(program, serial);
                let started = self.site.start(&start);
                self.report(&match started {
                    Ok(()) => Report::Started(program, serial),
                    Err(failure) => Report::NotStarted(program, serial, failure),
                });
            }
            Command::Kill(program, absence) => {
                let destroyed = self.site.destroy(program);
                if let Some(known) = self.site.programs.get_mut(program.index()) {
                    known.is_expected = absence == Absence::Passing;
                }
                self.complain(destroyed);
            }
            Command::EndAfter(program, more) => {
                let ordered = self.site.end_after(program, more);
                self.complain(ordered);
            }
            Command::Rings(change) => {
                let changed = self.site.change(change);
                self.complain(changed);
            }
            Command::Answer { token, answer } => {
                if let Some(call) = self.calls.remove(&token) {
                    let answer = answer.as_deref().map_err(|n| CallError::from_number((*n).into()));
                    call.pass_on(answer);
                }
            }
        }
        self.publish();
    }

    /// Hands a program's call on to core 0's init.
    fn hand_on(&mut self, request: Request<'_>) {
        let (program, interface) = match origin(request.caller.0) {
            Origin::Program(program, Channel::Supervisor) => (program, Interface::Supervisor),
            Origin::Program(program, Channel::Log) => (program, Interface::Log),
            _ => return request.reply.fail(CallError::Denied),
        };
        let (method, bytes) = (request.method, request.bytes.to_vec());
        let Some(later) = request.reply.later() else { return };
        self.last_token = self.last_token.wrapping_add(1);
        let token = self.last_token;
        let call = Report::Call { token, program, interface, method, bytes };
        match self.outbox.push(&call) {
            Ok(()) => drop(self.calls.insert(token, later)),
            Err(_) => later.fail(CallError::Busy),
        }
    }

    fn signalled(&mut self, bits: u64) {
        let came = signals(bits);
        if came.line {
            // Fails only for a handler that was deleted, and init's own never is.
            let _ = self.line.ack();
        }
        if came.tick {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.post.status.beat(self.site.platform.now_us());
        self.publish();
        for (program, silent_us) in self.site.feel_pulses() {
            let serial = self.serial_of(program);
            self.report(&Report::Unresponsive(program, serial, silent_us));
        }
        let taken = self.site.answer_for_the_absent(|number| self.site.is_absent(number));
        if signals(taken).line {
            let _ = self.line.ack();
        }
    }

    fn fault(&mut self, message: &Message<'_>) {
        let Origin::Program(program, Channel::Fault) = origin(message.badge) else { return };
        let Some(death) = self.site.death(program, message.label, &message.words) else { return };
        let serial = self.serial_of(program);
        self.report(&match death {
            Death::Fault(report) => Report::Fault(program, serial, report),
            Death::Ordered(event) => Report::KilledAt(program, serial, event),
        });
    }

    fn serial_of(&self, program: ProgramNumber) -> u32 {
        self.serials.get(&program).copied().unwrap_or(0)
    }

    fn publish(&mut self) {
        let status = self.site.status();
        self.post.status.publish(&status);
    }

    /// A report that finds no room is lost, and with it core 0's picture of this core: the heart
    /// stops, so that someone looks.
    fn report(&mut self, report: &Report) {
        if self.outbox.push(report).is_err() {
            rest();
        }
    }

    fn complain(&mut self, outcome: Result<(), Refused>) {
        if let Err(refused) = outcome {
            self.report(&Report::Log(Level::Error, refused.to_string()));
        }
    }

    fn set_pace(&self) {
        let pace = if self.site.has_absent() { Pace::Fast } else { Pace::Slow };
        self.site.ticker.set_pace(pace);
    }
}
