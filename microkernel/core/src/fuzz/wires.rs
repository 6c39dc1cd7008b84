//! The signal lines between the instances: what hardware would do with them, and what must come of it.
//!
//! Of each line of a core, hardware keeps one signal that waits: a second one is merged with it. A
//! signal that waits is delivered, some time, while the kernel has its vector open. Then it must have
//! reached the handler's notification, or a thread that waits there; and the vector must be shut until
//! the handler acknowledges. An invoked sending end must raise its line exactly once, anything else none.

use super::ledger::{Kind, Ledger, Touched};
use super::random::Random;
use super::tally::Tally;
use crate::cap::Cap;
use crate::kernel::{Event, Kernel};
use crate::memory::{PhysAddr, Ref};
use crate::objects::{Notification, Tcb, ThreadState};
use crate::simulation::SimulatedMachine;
use d3os_abi::{FIRST_SIGNAL_VECTOR, Label, MessageInfo, SIGNAL_LINES, Syscall};

/// What can happen to a signal, as counted.
pub(super) mod event {
    /// A line was raised.
    pub(in crate::fuzz) const SENT: &str = "signal sent";
    /// One waited there already.
    pub(in crate::fuzz) const MERGED: &str = "signal merged";
    /// The kernel took it.
    pub(in crate::fuzz) const DELIVERED: &str = "signal delivered";
    /// Its core was replaced first.
    pub(in crate::fuzz) const DROPPED: &str = "signal dropped";
    /// It waits when its world ends.
    pub(in crate::fuzz) const LEFT: &str = "signal left";
    /// Of those delivered: a notification or a thread had it.
    pub(in crate::fuzz) const HEARD: &str = "signal heard";
    /// A handler let the next one come.
    pub(in crate::fuzz) const ACKNOWLEDGED: &str = "signal acknowledged";
}

fn bit(vector: u8) -> u16 {
    vector.checked_sub(FIRST_SIGNAL_VECTOR).map_or(0, |line| 1 << line)
}

/// The lines that lead to one instance, a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wires {
    /// One signal waits to be delivered.
    waiting: u16,
    /// One was delivered to the handler that there is, which has not acknowledged it.
    busy: u16,
    /// The kernel lets one come.
    open: u16,
}

/// Who is to have a signal.
#[derive(Clone, Copy, Debug)]
struct Hearer {
    notification: Ref<Notification>,
    badge: u64,
    /// The first of those who wait for it.
    thread: Option<Ref<Tcb>>,
}

/// What an entry has to do with signals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The thread that calls, its call, and what that goes to.
    caller: Option<(Ref<Tcb>, Syscall, MessageInfo, Cap)>,
    /// The vector that comes, and who is to have it.
    delivery: Option<(u8, Option<Hearer>)>,
}

impl Entry {
    /// Before it is made.
    pub(super) fn of(kernel: &Kernel<SimulatedMachine>, event: Event) -> Self {
        let caller = match event {
            Event::Syscall(number) => Syscall::from_number(number)
                .zip(kernel.current_thread())
                .and_then(|(call, thread)| caller(kernel, thread, call)),
            _ => None,
        };
        let delivery = match event {
            Event::Interrupt(vector) if bit(vector) != 0 => Some((vector, hearer(kernel, vector))),
            _ => None,
        };
        Self { caller, delivery }
    }

    /// The line that the caller asks to acknowledge, if any.
    fn acknowledges(&self) -> u16 {
        match self.caller {
            Some((.., info, Cap::IrqHandler { vector }))
                if info.label() == Label::IrqHandlerAck.number() =>
            {
                bit(vector)
            }
            _ => 0,
        }
    }

    /// Whether the caller was told that what it asked for was done.
    fn is_answered(&self, kernel: &Kernel<SimulatedMachine>) -> bool {
        let Some((thread, Syscall::Call, sent, _)) = self.caller else { return false };
        // The answer differs from what was sent.
        let now = MessageInfo(kernel.get(thread).context.rsi);
        now != sent && now.label() == 0
    }
}

fn caller(
    kernel: &Kernel<SimulatedMachine>,
    thread: Ref<Tcb>,
    call: Syscall,
) -> Option<(Ref<Tcb>, Syscall, MessageInfo, Cap)> {
    let context = &kernel.get(thread).context;
    let target = match call {
        Syscall::Call | Syscall::Send | Syscall::NBSend => context.rdi,
        Syscall::NBSendRecv => context.r13,
        // What stands for a reply object is invoked, whatever it is.
        Syscall::NBSendWait | Syscall::ReplyRecv => context.r12,
        _ => return None,
    };
    let slot = kernel.lookup(thread, target).ok()?;
    Some((thread, call, MessageInfo(context.rsi), kernel.cap_at(slot)))
}

fn hearer(kernel: &Kernel<SimulatedMachine>, vector: u8) -> Option<Hearer> {
    let Cap::Notification { object, badge, .. } = kernel.cap_at(kernel.irq_slot(vector)) else {
        return None;
    };
    let notification = kernel.get(object);
    let receives = |thread: &Ref<Tcb>| {
        kernel.get(*thread).state == ThreadState::BLOCKED_ON_RECEIVE && notification.active == 0
    };
    let bound = notification.bound_thread.get().filter(receives);
    let thread = notification.waiting.head.get().or(bound);
    Some(Hearer { notification: object, badge, thread })
}

impl Hearer {
    fn has_heard(self, kernel: &Kernel<SimulatedMachine>) -> bool {
        let Self { notification, badge, thread } = self;
        let Some(thread) = thread else {
            let object = kernel.get(notification);
            return object.active == 1 && object.word & badge == badge;
        };
        let tcb = kernel.get(thread);
        let waits = [ThreadState::BLOCKED_ON_NOTIFICATION, ThreadState::BLOCKED_ON_RECEIVE];
        !waits.contains(&tcb.state) && tcb.context.rdi == badge
    }
}

impl Wires {
    /// A signal comes down the line.
    pub(super) fn arrive(&mut self, line: u8, tally: &mut Tally) {
        let waited = self.waiting & 1 << line != 0;
        tally.event(if waited { event::MERGED } else { event::SENT });
        self.waiting |= 1 << line;
    }

    /// A vector that may be delivered now.
    pub(super) fn ready(&self, random: &mut Random) -> Option<u8> {
        let ready: Vec<u8> =
            (0..SIGNAL_LINES).filter(|line| self.waiting & self.open & 1 << line != 0).collect();
        (!ready.is_empty()).then(|| FIRST_SIGNAL_VECTOR + random.pick(&ready))
    }

    /// Whether this vector waits to be acknowledged.
    pub(super) fn is_busy(&self, vector: u8) -> bool {
        self.busy & bit(vector) != 0
    }

    /// Signals that wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.count_ones()
    }

    /// After an entry: what it had to do with signals was done, and nothing else.
    pub(super) fn check(
        &mut self,
        (kernel, ledger): (&Kernel<SimulatedMachine>, &Ledger),
        entry: &Entry,
        touched: &Touched,
        tally: &mut Tally,
    ) {
        check_sends(kernel, entry);
        let machine = &kernel.machine;
        let vectors = machine.unmasked.range(FIRST_SIGNAL_VECTOR..);
        let open = vectors.fold(0, |open, vector| open | bit(*vector));
        if self.busy != 0 && !touched.slots.is_empty() {
            self.busy &= handled(kernel, ledger);
        }
        if let Some((vector, hearer)) = entry.delivery {
            self.deliver(kernel, (vector, hearer), tally);
            assert_eq!(open & bit(vector), 0, "{vector} stays open before it is acknowledged");
        }
        let asked = entry.acknowledges();
        if entry.is_answered(kernel) {
            assert_eq!(open & asked, asked, "an acknowledged line stays shut");
        }
        if self.busy & open & asked != 0 {
            tally.event(event::ACKNOWLEDGED);
        }
        self.busy &= !(open & asked);
        let early = open & self.busy;
        assert_eq!(early, 0, "lines {early:#x} were opened without acknowledgement");
        self.open = open;
    }

    fn deliver(
        &mut self,
        kernel: &Kernel<SimulatedMachine>,
        (vector, hearer): (u8, Option<Hearer>),
        tally: &mut Tally,
    ) {
        assert_ne!(self.waiting & self.open & bit(vector), 0, "{vector} was not to come");
        assert_eq!(self.busy & bit(vector), 0, "a second delivery for one acknowledgement");
        self.waiting &= !bit(vector);
        self.busy |= bit(vector);
        tally.event(event::DELIVERED);
        if let Some(hearer) = hearer {
            assert!(hearer.has_heard(kernel), "the signal of {vector} is lost: {hearer:?}");
            tally.event(event::HEARD);
        }
    }

    /// With everything else: an open line has a handler.
    pub(super) fn check_complete(&self, kernel: &Kernel<SimulatedMachine>, ledger: &Ledger) {
        let nobodys = self.open & !handled(kernel, ledger);
        assert_eq!(nobodys, 0, "lines {nobodys:#x} are open without a handler");
    }
}

/// The lines that have handlers.
fn handled(kernel: &Kernel<SimulatedMachine>, ledger: &Ledger) -> u16 {
    let caps = ledger.of_kind(Kind::IrqHandler).iter();
    caps.fold(0, |lines, slot| match kernel.cap_at(Ref::at(PhysAddr(*slot))) {
        Cap::IrqHandler { vector } => lines | bit(vector),
        _ => lines,
    })
}

/// An invoked sending end raises its line, once; nothing else raises any.
fn check_sends(kernel: &Kernel<SimulatedMachine>, entry: &Entry) {
    let signals = &kernel.machine.signals;
    let meant = match entry.caller {
        Some((.., Cap::Signal { core, line })) => Some((core, line)),
        _ => None,
    };
    assert!(signals.len() <= 1, "one entry sent {signals:?}");
    if let Some(sent) = signals.first() {
        assert_eq!(Some(*sent), meant, "sent, and meant");
    }
    if meant.is_some() && entry.is_answered(kernel) {
        assert_eq!(signals.len(), 1, "{meant:?} was invoked, and nothing sent");
    }
}
