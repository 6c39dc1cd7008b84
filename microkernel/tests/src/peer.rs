//! What this root task is on every core but the first: it does what core 0's tests tell it to, and
//! tells what it finds, by its page of the pool and by signals.

use alloc::format;
use libd3os::abi::{BootInfo, CapRights, Syscall};
use libd3os::cap::{
    Capability, Error, Frame, IoPortRange, IrqHandler, IrqPin, MsiSource, Notification, Signal,
};
use libd3os::sys::{self, Registers};

use crate::arena::{Arena, IO_PORT_CONTROL, IRQ_CONTROL, TCB, slot_of, untypeds};
use crate::check::{Failure, Outcome, check, check_eq};
use crate::console::Console;
use crate::machine;
use crate::mailbox::{self, Facts, Mailbox, SIGNATURE, Word};

/// A peer's line on which commands are told.
pub(crate) const QUESTION: u32 = 0;
/// Every core's line by which a token comes.
pub(crate) const TOKEN: u32 = 14;
/// Core 0's line that all peers flood.
pub(crate) const FLOOD: u32 = 13;
/// A peer's interrupt vector for messages.
pub(crate) const MESSAGE_VECTOR: u64 = 50;

/// Badges of a peer's notification.
const ASKED: u64 = 1;
const TOKEN_CAME: u64 = 2;
const MESSAGE_CAME: u64 = 4;

/// What a peer can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Command {
    /// Say what you have, after checking that it is what it should be.
    Report = 1,
    /// Send so many signals to core 0's line [`FLOOD`].
    Flood,
    /// Send so many signals to core 0's line [`TOKEN`], for which nobody acknowledges any.
    Pester,
    /// Listen to message-signalled interrupts.
    Listen,
    /// Count turns, for ever.
    Spin,
    /// Read an address where nothing is.
    Fault,
    /// Stop the core's kernel; a kernel that ships takes it as a fault.
    Halt,
}

impl Command {
    const ALL: [Self; 7] = [
        Self::Report,
        Self::Flood,
        Self::Pester,
        Self::Listen,
        Self::Spin,
        Self::Fault,
        Self::Halt,
    ];
}

/// Core 0's line on which a peer tells that it has done what it was told.
pub(crate) fn answer_line(core: u32) -> u32 {
    core
}

/// A new sending end.
pub(crate) fn signal(arena: &mut Arena, core: u32, line: u32) -> Result<Signal, Error> {
    let signal = Signal::new(arena.empty_slot());
    IRQ_CONTROL.issue_signal(slot_of(signal.cptr()), core, line)?;
    Ok(signal)
}

/// The end of a line of this core, signalling `badge` of a notification.
pub(crate) fn receive(
    arena: &mut Arena,
    line: u32,
    notification: Notification,
    badge: u64,
) -> Result<IrqHandler, Error> {
    let handler = IrqHandler::new(arena.empty_slot());
    IRQ_CONTROL.get_signal(slot_of(handler.cptr()), line)?;
    let badged = arena.mint(notification.cptr(), CapRights::WRITE, badge)?;
    handler.set_notification(Notification::new(badged))?;
    Ok(handler)
}

/// Runs this core's root task for good.
pub(crate) fn serve(boot: &'static BootInfo, domains: u8) -> ! {
    let mut arena = Arena::new(boot, Console::absent(), domains);
    // Whoever cannot even reach its page is missed by core 0.
    if let Ok(pages) = mailbox::open(&mut arena)
        && let Some((frame, page)) = usize::try_from(boot.node_id).ok().and_then(|n| pages.get(n))
        && let Err(failure) = begin(&mut arena, *frame, *page)
    {
        page.complain(&format!("core {}: {failure}", boot.node_id));
        tell_core_0(&mut arena);
    }
    loop {
        let _ = TCB.suspend();
    }
}

/// So that core 0 looks.
fn tell_core_0(arena: &mut Arena) {
    let core = u32::try_from(arena.boot().node_id).unwrap_or(0);
    if let Ok(answer) = signal(arena, 0, answer_line(core)) {
        answer.send();
    }
}

fn begin(arena: &mut Arena, frame: Frame, page: Mailbox) -> Outcome {
    if page.get(Word::Signature) != SIGNATURE {
        for word in [Word::Begun, Word::Done, Word::Number, Word::TextLength] {
            page.set(word, 0);
        }
        page.set(Word::Signature, SIGNATURE);
    }
    page.count(Word::Begun);
    let mut peer = Peer::new(arena, frame, page)?;
    page.set(Word::Listening, page.get(Word::Begun));
    loop {
        peer.wait(arena)?;
    }
}

struct Peer {
    frame: Frame,
    page: Mailbox,
    notification: Notification,
    question: IrqHandler,
    token: IrqHandler,
    message: Option<IrqHandler>,
    answer: Signal,
    flood: Signal,
    /// Core 0's end of the line for tokens, and the next core's.
    pester: Signal,
    pass_on: Signal,
}

impl Peer {
    fn new(arena: &mut Arena, frame: Frame, page: Mailbox) -> Result<Self, Failure> {
        let notification = arena.notification()?;
        let core = u32::try_from(arena.boot().node_id).unwrap_or(0);
        let cores = u32::try_from(arena.boot().num_nodes).unwrap_or(1);
        Ok(Self {
            frame,
            page,
            notification,
            question: receive(arena, QUESTION, notification, ASKED)?,
            token: receive(arena, TOKEN, notification, TOKEN_CAME)?,
            message: None,
            answer: signal(arena, 0, answer_line(core))?,
            flood: signal(arena, 0, FLOOD)?,
            pester: signal(arena, 0, TOKEN)?,
            pass_on: signal(arena, (core + 1) % cores, TOKEN)?,
        })
    }

    fn wait(&mut self, arena: &mut Arena) -> Outcome {
        let came = self.notification.wait();
        if came & ASKED != 0 {
            self.question.ack()?;
            self.obey(arena)?;
        }
        if came & TOKEN_CAME != 0 {
            self.token.ack()?;
            self.page.count(Word::Passed);
            self.pass_on.send();
        }
        if let Some(message) = self.message.filter(|_| came & MESSAGE_CAME != 0) {
            self.page.count(Word::Messages);
            message.ack()?;
            self.answer.send();
        }
        Ok(())
    }

    /// Does what the page says, unless that was done before: a question may come twice.
    fn obey(&mut self, arena: &mut Arena) -> Outcome {
        let number = self.page.get(Word::Number);
        if number == self.page.get(Word::Done) {
            return Ok(());
        }
        let told = self.page.get(Word::Command);
        let command = Command::ALL.into_iter().find(|command| *command as u64 == told);
        let argument = self.page.get(Word::Argument);
        match command.ok_or_else(|| Failure::new(format!("there is no command {told}")))? {
            Command::Report => self.report(arena)?,
            Command::Flood => self.flood(argument),
            Command::Pester => (0..argument).for_each(|_| self.pester.send()),
            Command::Listen => self.listen(arena)?,
            Command::Spin => self.spin(number),
            Command::Fault => machine::touch(0),
            Command::Halt => drop(sys::raw(Syscall::DebugHalt, Registers::default())),
        }
        self.page.set(Word::Done, number);
        self.answer.send();
        Ok(())
    }

    fn report(&self, arena: &mut Arena) -> Outcome {
        let boot = arena.boot();
        let facts = Facts::of(boot).ok_or_else(|| Failure::new("no chunk of D3OS's".into()))?;
        check_memory(boot, &facts)?;
        check!(facts.core_control.is_none(), "core control on another core than the first");
        check_pins_and_ports_are_refused(arena)?;
        mailbox::check_pool_is_for_frames(arena, self.frame)?;
        for (word, value) in [
            (Word::Node, boot.node_id),
            (Word::Nodes, boot.num_nodes),
            (Word::Apic, facts.apic),
            (Word::PrivateStart, facts.private.start),
            (Word::PrivateEnd, facts.private.end),
            (Word::PoolStart, facts.pool.start),
            (Word::PoolEnd, facts.pool.end),
        ] {
            self.page.set(word, value);
        }
        Ok(())
    }

    fn flood(&self, count: u64) {
        for sent in 1..=count {
            self.page.set(Word::Sent, sent);
            self.flood.send();
        }
    }

    fn listen(&mut self, arena: &mut Arena) -> Outcome {
        let handler = IrqHandler::new(arena.empty_slot());
        let device = MsiSource::default();
        IRQ_CONTROL.get_msi(slot_of(handler.cptr()), device, MESSAGE_VECTOR)?;
        let badged = arena.mint(self.notification.cptr(), CapRights::WRITE, MESSAGE_CAME)?;
        handler.set_notification(Notification::new(badged))?;
        self.page.set(Word::Messages, 0);
        self.message = Some(handler);
        Ok(())
    }

    /// It tells first that it begins, as it does not come to an end.
    fn spin(&self, number: u64) {
        self.page.set(Word::Done, number);
        self.answer.send();
        loop {
            self.page.count(Word::Turns);
        }
    }
}

/// Whether RAM lies in the instance's own piece, and all of the pool is there as device memory.
fn check_memory(boot: &'static BootInfo, facts: &Facts) -> Outcome {
    let mut pooled = 0;
    for (_, about) in untypeds(boot) {
        let piece = about.paddr..about.paddr + (1 << about.size_bits);
        let inside = |all: &core::ops::Range<u64>| all.start <= piece.start && piece.end <= all.end;
        let apart = |all: &core::ops::Range<u64>| piece.end <= all.start || all.end <= piece.start;
        if about.is_device == 0 {
            check!(inside(&facts.private), "{piece:x?} is not in {:x?}", facts.private);
        } else if inside(&facts.pool) {
            pooled += piece.end - piece.start;
        } else {
            check!(apart(&facts.pool), "{piece:x?} is partly of the pool");
            check!(apart(&facts.private), "{piece:x?} is device memory and RAM");
        }
    }
    check_eq!(pooled, facts.pool.end - facts.pool.start);
    Ok(())
}

fn check_pins_and_ports_are_refused(arena: &mut Arena) -> Outcome {
    let dest = slot_of(arena.empty_slot());
    let refused = Err(Error::IllegalOperation);
    check_eq!(IRQ_CONTROL.get_io_apic(dest, IrqPin { pin: 4, ..IrqPin::default() }, 7), refused);
    for (first, last) in [(0x80, 0x80), (0x3f8, 0x3ff), (0, 0xffff), (0xcf8, 0xcff)] {
        check_eq!(IO_PORT_CONTROL.issue(IoPortRange { first, last }, dest), refused);
    }
    Ok(())
}
