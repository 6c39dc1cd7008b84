//! Interrupts: the interval timer and the serial port, through the IOAPIC.

use libd3os::abi::CapRights;
use libd3os::cap::{
    Capability, Error, IoPort, IoPortRange, IrqHandler, IrqPin, MsiSource, Notification,
};

use super::tests;
use crate::arena::{Arena, IO_PORT_CONTROL, IRQ_CONTROL, TCB, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::console::COM1;
use crate::raw;

tests![
    the_interval_timer_interrupts,
    the_serial_port_interrupts,
    an_unacknowledged_interrupt_does_not_come_again,
    a_bound_notification_wakes_a_server,
    a_cleared_handler_is_silent,
    handlers_are_checked,
    a_vector_has_one_handler,
    a_deleted_handler_frees_its_vector,
    long_deletions_let_interrupts_in,
];

/// Where the interval timer's output is connected on PCs.
const PIT_PIN: u64 = 2;
const PIT_CHANNEL_0: u16 = 0x40;
const PIT_COMMAND: u16 = 0x43;
/// Channel 0, low and high byte, mode 0: one interrupt when the count has run out.
const ONE_SHOT: u8 = 0x30;
/// Channel 0, low and high byte, mode 2: again and again.
const PERIODIC: u8 = 0x34;

/// The interval timer and its interrupt, which signals bit 0 of a notification.
struct IntervalTimer {
    ports: IoPort,
    handler: IrqHandler,
    notification: Notification,
    signal: Notification,
}

impl IntervalTimer {
    fn new(arena: &mut Arena, vector: u64) -> Result<Self, Error> {
        let ports = IoPort::new(arena.empty_slot());
        let range = IoPortRange { first: PIT_CHANNEL_0, last: PIT_COMMAND };
        IO_PORT_CONTROL.issue(range, slot_of(ports.cptr()))?;
        let handler = handler(arena, PIT_PIN, vector)?;
        let notification = arena.notification()?;
        let signal = Notification::new(arena.mint(notification.cptr(), CapRights::WRITE, 1)?);
        let timer = Self { ports, handler, notification, signal };
        // A mode 0 count that is not complete keeps the output low: nothing comes before `start`.
        ports.out8(PIT_COMMAND, ONE_SHOT)?;
        handler.set_notification(signal)?;
        handler.ack()?;
        let _ = notification.poll();
        Ok(timer)
    }

    /// Starts counting, at 1.19 MHz.
    fn start(&self, mode: u8, count: u16) -> Result<(), Error> {
        let [low, high] = count.to_le_bytes();
        self.ports.out8(PIT_COMMAND, mode)?;
        self.ports.out8(PIT_CHANNEL_0, low)?;
        self.ports.out8(PIT_CHANNEL_0, high)
    }
}

fn handler(arena: &mut Arena, pin: u64, vector: u64) -> Result<IrqHandler, Error> {
    let dest = arena.empty_slot();
    let pin = IrqPin { pin, ..IrqPin::default() };
    IRQ_CONTROL.get_io_apic(slot_of(dest), pin, vector)?;
    Ok(IrqHandler::new(dest))
}

fn the_interval_timer_interrupts(arena: &mut Arena) -> Outcome {
    let timer = IntervalTimer::new(arena, 40)?;
    for _ in 0..5 {
        timer.start(ONE_SHOT, 1000)?;
        check_eq!(timer.notification.wait(), 1);
        timer.handler.ack()?;
    }
    timer.start(PERIODIC, 1000)?;
    for _ in 0..5 {
        check_eq!(timer.notification.wait(), 1);
        timer.handler.ack()?;
    }
    timer.start(ONE_SHOT, 0)?;
    Ok(())
}

/// The port sends to itself, so that each byte sent is one received, which interrupts.
fn the_serial_port_interrupts(arena: &mut Arena) -> Outcome {
    const PIN: u64 = 4;
    const INTERRUPT_ENABLE: u16 = COM1 + 1;
    const MODEM_CONTROL: u16 = COM1 + 4;
    const ON_RECEPTION: u8 = 1;
    const LOOPBACK: u8 = 0x10;
    let port = arena.serial();
    let handler = handler(arena, PIN, 41)?;
    let notification = arena.notification()?;
    let signal = arena.mint(notification.cptr(), CapRights::WRITE, 8)?;
    handler.set_notification(Notification::new(signal))?;
    handler.ack()?;
    let usual = port.in8(MODEM_CONTROL)?;
    port.out8(MODEM_CONTROL, usual | LOOPBACK)?;
    port.out8(INTERRUPT_ENABLE, ON_RECEPTION)?;
    let mut results = [(0, 0); 3];
    for (byte, result) in (0x41..).zip(&mut results) {
        port.out8(COM1, byte)?;
        *result = (notification.wait(), port.in8(COM1)?);
        handler.ack()?;
    }
    // Nothing can be told of before the port is what it was.
    port.out8(INTERRUPT_ENABLE, 0)?;
    port.out8(MODEM_CONTROL, usual)?;
    check_eq!(results, [(8, 0x41), (8, 0x42), (8, 0x43)]);
    Ok(())
}

fn an_unacknowledged_interrupt_does_not_come_again(arena: &mut Arena) -> Outcome {
    let timer = IntervalTimer::new(arena, 40)?;
    timer.start(PERIODIC, 200)?;
    check_eq!(timer.notification.wait(), 1);
    // Meanwhile the timer goes on, for many of its periods.
    let begin = crate::machine::time();
    let spin = arena.worker(100, move |_| {
        while crate::machine::time() - begin < 30_000_000 {
            core::hint::spin_loop();
        }
    })?;
    spin.join();
    check_eq!(timer.notification.poll(), 0, "it came without having been acknowledged");
    timer.handler.ack()?;
    check_eq!(timer.notification.wait(), 1);
    timer.start(ONE_SHOT, 0)?;
    Ok(())
}

fn a_bound_notification_wakes_a_server(arena: &mut Arena) -> Outcome {
    let timer = IntervalTimer::new(arena, 0)?;
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    TCB.bind_notification(timer.notification)?;
    timer.start(ONE_SHOT, 1000)?;
    let received = raw::recv(endpoint.cptr(), reply.cptr());
    check_eq!((received.badge, received.info.0), (1, 0));
    TCB.unbind_notification()?;
    Ok(())
}

fn a_cleared_handler_is_silent(arena: &mut Arena) -> Outcome {
    let timer = IntervalTimer::new(arena, 107)?;
    timer.handler.clear()?;
    timer.start(ONE_SHOT, 200)?;
    let begin = crate::machine::time();
    while crate::machine::time() - begin < 10_000_000 {
        core::hint::spin_loop();
    }
    check_eq!(timer.notification.poll(), 0);
    timer.handler.set_notification(timer.signal)?;
    timer.handler.ack()?;
    timer.start(ONE_SHOT, 200)?;
    check_eq!(timer.notification.wait(), 1);
    Ok(())
}

fn handlers_are_checked(arena: &mut Arena) -> Outcome {
    let slot = slot_of(arena.empty_slot());
    let get = |pin: IrqPin, vector| IRQ_CONTROL.get_io_apic(slot, pin, vector);
    let pin = IrqPin { pin: 5, ..IrqPin::default() };
    check_eq!(get(pin, 108), Err(Error::Range { least: 0, greatest: 107 }));
    check!(matches!(get(IrqPin { pin: 1000, ..pin }, 5), Err(Error::Range { .. })));
    check!(matches!(get(IrqPin { io_apic: 7, ..pin }, 5), Err(Error::Range { .. })));
    check_eq!(IRQ_CONTROL.get(5, slot), Err(Error::IllegalOperation));
    let msi = MsiSource::default();
    check!(matches!(
        IRQ_CONTROL.get_msi(slot, MsiSource { bus: 256, ..msi }, 5),
        Err(Error::Range { .. })
    ));
    IRQ_CONTROL.get_msi(slot, msi, 5)?;
    let handler = IrqHandler::new(libd3os::sys::Cptr::new(slot.index));
    let endpoint = arena.endpoint()?;
    let wrong = handler.set_notification(Notification::new(endpoint.cptr()));
    check_eq!(wrong, Err(Error::InvalidCapability { index: 1 }));
    let notification = arena.notification()?;
    let weak = arena.mint(notification.cptr(), CapRights::READ, 0)?;
    let wrong = handler.set_notification(Notification::new(weak));
    check_eq!(wrong, Err(Error::InvalidCapability { index: 1 }));
    handler.set_notification(notification)?;
    handler.ack()?;
    Ok(())
}

fn a_vector_has_one_handler(arena: &mut Arena) -> Outcome {
    handler(arena, 5, 33)?;
    check_eq!(handler(arena, 6, 33).err(), Some(Error::RevokeFirst));
    Ok(())
}

fn a_deleted_handler_frees_its_vector(arena: &mut Arena) -> Outcome {
    let first = handler(arena, 5, 33)?;
    let copy = arena.copy(first.cptr())?;
    slot_of(first.cptr()).delete()?;
    check_eq!(handler(arena, 5, 33).err(), Some(Error::RevokeFirst), "a copy holds it");
    slot_of(copy).delete()?;
    handler(arena, 5, 33)?;
    Ok(())
}

/// While thousands of capabilities are deleted, interrupts of a fast timer come in between, the
/// deletion goes on, and at its end nothing is left.
fn long_deletions_let_interrupts_in(arena: &mut Arena) -> Outcome {
    let timer = IntervalTimer::new(arena, 40)?;
    let node = arena.cnode(12)?;
    let (memory, notification) = (arena.untyped(12)?, arena.notification()?);
    let ticks = alloc::sync::Arc::new(core::sync::atomic::AtomicU64::new(0));
    let count = alloc::sync::Arc::clone(&ticks);
    let (source, handler) = (timer.notification.cptr(), timer.handler.cptr());
    let ack = raw::info(libd3os::abi::Label::IrqHandlerAck.number(), 0);
    let options = crate::worker::Options { priority: 255, ..crate::worker::Options::default() };
    arena.spawn(options, move |_| {
        loop {
            raw::wait(source);
            count.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            raw::call(handler, ack, [0; 4]);
        }
    })?;
    raw::yield_now();
    timer.start(PERIODIC, 100)?;
    for _ in 0..4 {
        let run = libd3os::cap::SlotRun::within(node, 0);
        memory.retype(libd3os::abi::ObjectType::Endpoint, 0, run, 1)?;
        for index in 1..4096 {
            node.slot(index, 12).mint_from(node.slot(0, 12), CapRights::ALL, index)?;
        }
        slot_of(memory.cptr()).revoke()?;
        for index in 0..4096 {
            let dest = node.slot(index, 12);
            // Each slot is empty, so each can be moved into.
            dest.copy_from(slot_of(notification.cptr()), CapRights::ALL)?;
            dest.delete()?;
        }
    }
    timer.start(ONE_SHOT, 0)?;
    check!(ticks.load(core::sync::atomic::Ordering::Relaxed) > 0, "no interrupt came through");
    Ok(())
}
