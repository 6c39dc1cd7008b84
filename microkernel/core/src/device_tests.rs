//! Interrupts and I/O ports.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use crate::cap::Cap;
use crate::error::SyscallError;
use crate::machine::{InterruptTrigger, PortWidth};
use crate::memory::Ref;
use crate::objects::Notification;
use crate::slot::Slot;
use crate::test_bench::Bench;
use d3os_abi::{CapRights, Label};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A bench with a CNode capability and an interrupt control capability.
fn interrupts() -> (Bench, Ref<Slot>, Ref<Slot>) {
    let mut bench = Bench::new();
    let cnode = bench.cnode_cap();
    let control = bench.root_cap(Cap::IrqControl);
    (bench, cnode, control)
}

fn notification(
    bench: &mut Bench,
    badge: u64,
    rights: CapRights,
) -> (Ref<Notification>, Ref<Slot>) {
    let object = Ref::at(bench.page());
    (object, bench.root_cap(Cap::Notification { object, badge, rights }))
}

/// Issues a handler for a pin of the IOAPIC.
fn issue(
    bench: &mut Bench,
    cnode: Ref<Slot>,
    control: Ref<Slot>,
    pin: u64,
    vector: u64,
) -> Ref<Slot> {
    let dest = bench.empty();
    let words = [dest, 64, 0, pin, 1, 0, vector];
    bench.invoke(control, Label::IrqControlGetIoApic, &words, &[cnode]).unwrap();
    bench.slot(dest)
}

#[test]
fn an_interrupt_signals_and_stays_masked_until_acknowledged() {
    let (mut bench, cnode, control) = interrupts();
    let handler = issue(&mut bench, cnode, control, 4, 20);
    let trigger = InterruptTrigger { level: true, active_low: false };
    assert_eq!(bench.kernel.machine.routes[&20], (0, 4, trigger));
    assert!(!bench.kernel.machine.unmasked.contains(&20), "nobody waits for it yet");

    let (object, target) = notification(&mut bench, 0b100, CapRights::WRITE);
    bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[target]).unwrap();
    assert!(bench.kernel.machine.unmasked.contains(&20));

    bench.kernel.handle_interrupt(20);
    assert!(!bench.kernel.machine.unmasked.contains(&20));
    let notification = bench.kernel.get(object);
    assert_eq!((notification.active, notification.word), (1, 0b100));

    bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[target]).unwrap();
    assert!(!bench.kernel.machine.unmasked.contains(&20), "it was not acknowledged");
    bench.invoke(handler, Label::IrqHandlerAck, &[], &[]).unwrap();
    assert!(bench.kernel.machine.unmasked.contains(&20));
}

#[test]
fn a_cleared_or_deleted_handler_signals_nothing() {
    let (mut bench, cnode, control) = interrupts();
    let handler = issue(&mut bench, cnode, control, 4, 20);
    let (object, target) = notification(&mut bench, 1, CapRights::ALL);
    bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[target]).unwrap();
    bench.invoke(handler, Label::IrqHandlerClear, &[], &[]).unwrap();
    bench.kernel.handle_interrupt(20);
    assert_eq!(bench.kernel.get(object).active, 0);

    bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[target]).unwrap();
    bench.kernel.delete(handler).unwrap();
    assert!(bench.kernel.get(bench.kernel.irq_slot(20)).is_empty());
    assert!(!bench.kernel.machine.unmasked.contains(&20));
    bench.kernel.handle_interrupt(20);
    assert_eq!(bench.kernel.get(object).active, 0);
    issue(&mut bench, cnode, control, 4, 20);
}

#[test]
fn a_deleted_notification_is_forgotten_by_its_interrupt() {
    let (mut bench, cnode, control) = interrupts();
    let handler = issue(&mut bench, cnode, control, 1, 0);
    let (_, target) = notification(&mut bench, 1, CapRights::ALL);
    bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[target]).unwrap();
    bench.kernel.revoke(target).unwrap();
    assert!(bench.kernel.get(bench.kernel.irq_slot(0)).is_empty());
    bench.kernel.handle_interrupt(0);
    assert!(!bench.kernel.machine.unmasked.contains(&0));
}

#[test]
fn a_copy_of_a_handler_keeps_the_interrupt() {
    let (mut bench, cnode, control) = interrupts();
    let handler = issue(&mut bench, cnode, control, 4, 20);
    let copy = bench.copy(handler);
    let (object, target) = notification(&mut bench, 8, CapRights::ALL);
    bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[target]).unwrap();
    bench.kernel.delete(handler).unwrap();
    bench.kernel.handle_interrupt(20);
    assert_eq!(bench.kernel.get(object).word, 8);
    bench.invoke(copy, Label::IrqHandlerAck, &[], &[]).unwrap();
}

#[test]
fn handlers_are_issued_within_their_ranges_once() {
    let (mut bench, cnode, control) = interrupts();
    let dest = bench.empty();
    let mut issue =
        |words: [u64; 7]| bench.invoke(control, Label::IrqControlGetIoApic, &words, &[cnode]);
    let range = |max| Err(SyscallError::Range { min: 0, max });
    assert_eq!(issue([dest, 64, 0, 4, 0, 0, 108]), range(107));
    assert_eq!(issue([dest, 64, 1, 4, 0, 0, 20]), range(0), "there is one IOAPIC");
    assert_eq!(issue([dest, 64, 0, 24, 0, 0, 20]), range(23), "with 24 pins");
    assert_eq!(issue([dest, 64, 0, u64::MAX, 0, 0, 20]), range(23));
    assert_eq!(issue([dest, 64, 0, 4, 2, 0, 20]), range(1));
    assert_eq!(issue([dest, 64, 0, 4, 0, 2, 20]), range(1));
    assert_eq!(issue([1, 64, 0, 4, 0, 0, 20]), Err(SyscallError::DeleteFirst));
    assert_eq!(issue([dest, 64, 0, 23, 0, 1, 107]), Ok(0));
    let second = dest + 1;
    assert_eq!(issue([second, 64, 0, 4, 0, 0, 107]), Err(SyscallError::RevokeFirst));
    let msi = |bench: &mut Bench, words: [u64; 7]| {
        bench.invoke(control, Label::IrqControlGetMsi, &words, &[cnode])
    };
    let dest = second;
    assert_eq!(msi(&mut bench, [dest, 64, 256, 0, 0, 0, 3]), range(255));
    assert_eq!(msi(&mut bench, [dest, 64, 0, 32, 0, 0, 3]), range(31));
    assert_eq!(msi(&mut bench, [dest, 64, 0, 0, 8, 0, 3]), range(7));
    assert_eq!(msi(&mut bench, [dest, 64, 0, 31, 7, 0, 3]), Ok(0));
    assert_eq!(bench.kernel.cap_at(bench.slot(dest)), Cap::IrqHandler { vector: 3 });
    let old = bench.invoke(control, Label::IrqControlGet, &[3, dest, 64], &[cnode]);
    assert_eq!(old, Err(SyscallError::IllegalOperation));
}

#[test]
fn a_handler_takes_only_what_can_be_signalled() {
    let (mut bench, cnode, control) = interrupts();
    let handler = issue(&mut bench, cnode, control, 4, 20);
    let (_, receive_only) = notification(&mut bench, 1, CapRights::READ);
    for wrong in [receive_only, cnode, handler] {
        let got = bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[wrong]);
        assert_eq!(got, Err(SyscallError::InvalidCapability(1)));
    }
    let none = bench.invoke(handler, Label::IrqHandlerSetNotification, &[], &[]);
    assert_eq!(none, Err(SyscallError::TruncatedMessage));
    let unknown = bench.invoke(handler, Label::PageMap, &[], &[]);
    assert_eq!(unknown, Err(SyscallError::IllegalOperation));
}

#[test]
fn vectors_that_nobody_holds_are_masked_and_forgotten() {
    let (mut bench, ..) = interrupts();
    for vector in 0..=u8::MAX {
        bench.kernel.machine.unmasked.insert(vector);
        bench.kernel.handle_interrupt(vector);
        assert!(!bench.kernel.machine.unmasked.contains(&vector));
    }
}

fn access(label: Label) -> (PortWidth, u64, bool) {
    match label {
        Label::IoPortIn8 => (PortWidth::Byte, 1, false),
        Label::IoPortIn16 => (PortWidth::Word, 2, false),
        Label::IoPortIn32 => (PortWidth::Long, 4, false),
        Label::IoPortOut8 => (PortWidth::Byte, 1, true),
        Label::IoPortOut16 => (PortWidth::Word, 2, true),
        _ => (PortWidth::Long, 4, true),
    }
}

const ACCESSES: [Label; 6] = [
    Label::IoPortIn8,
    Label::IoPortIn16,
    Label::IoPortIn32,
    Label::IoPortOut8,
    Label::IoPortOut16,
    Label::IoPortOut32,
];

proptest! {
    /// The model: a set of ports that are taken, and of those of each range.
    #[test]
    fn ports_are_issued_once_and_accessed_inside(
        ranges in prop::collection::vec((0u64..700, 0u64..300, any::<bool>()), 1..20),
        accesses in prop::collection::vec((0usize..20, 0u64..1100, 0usize..6, any::<u64>()), 0..60),
    ) {
        let mut bench = Bench::new();
        let cnode = bench.cnode_cap();
        let control = bench.root_cap(Cap::IoPortControl);
        let mut taken = BTreeSet::new();
        let mut held = BTreeMap::new();
        for (first, length, delete) in ranges {
            let (dest, last) = (bench.empty(), first + length);
            let free = (first..=last).all(|port| !taken.contains(&port));
            let words = [first, last, dest, 64];
            let got = bench.invoke(control, Label::IoPortControlIssue, &words, &[cnode]);
            prop_assert_eq!(got, if free { Ok(0) } else { Err(SyscallError::RevokeFirst) });
            if free {
                taken.extend(first..=last);
                held.insert(dest, (first, last));
            }
            if let (true, Some((&index, &(first, last)))) = (delete, held.iter().next()) {
                bench.kernel.delete(bench.slot(index)).unwrap();
                held.remove(&index);
                (first..=last).for_each(|port| { taken.remove(&port); });
            }
        }
        for (which, port, label, value) in accesses {
            let Some((&index, &(first, last))) = held.iter().nth(which) else { continue };
            let label = ACCESSES[label];
            let (width, bytes, out) = access(label);
            bench.kernel.machine.port_writes.clear();
            let (slot, words) = (bench.slot(index), [port, value]);
            let got = bench.invoke(slot, label, &words, &[]);
            if (port..port + bytes).all(|port| (first..=last).contains(&port)) {
                prop_assert_eq!(got, Ok(if out { 0 } else { 0xff }));
                let written = (port as u16, width, value as u32);
                prop_assert_eq!(bench.kernel.machine.port_writes.contains(&written), out);
            } else {
                prop_assert_eq!(got, Err(SyscallError::IllegalOperation));
                prop_assert!(bench.kernel.machine.port_writes.is_empty());
            }
        }
    }
}

#[test]
fn all_ports_can_be_issued_at_once() {
    let mut bench = Bench::new();
    let cnode = bench.cnode_cap();
    let control = bench.root_cap(Cap::IoPortControl);
    let dest = bench.empty();
    let all = [0, 0xffff, dest, 64];
    bench.invoke(control, Label::IoPortControlIssue, &all, &[cnode]).unwrap();
    let slot = bench.slot(dest);
    assert_eq!(bench.invoke(slot, Label::IoPortIn8, &[0xffff], &[]), Ok(0xff));
    let over = bench.invoke(slot, Label::IoPortIn16, &[0xffff], &[]);
    assert_eq!(over, Err(SyscallError::IllegalOperation), "the last byte is outside");
    let one = [0, 0, dest + 1, 64];
    let taken = bench.invoke(control, Label::IoPortControlIssue, &one, &[cnode]);
    assert_eq!(taken, Err(SyscallError::RevokeFirst));
    bench.kernel.delete(slot).unwrap();
    bench.invoke(control, Label::IoPortControlIssue, &one, &[cnode]).unwrap();
}

#[test]
fn ranges_that_are_none_are_refused() {
    let mut bench = Bench::new();
    let cnode = bench.cnode_cap();
    let control = bench.root_cap(Cap::IoPortControl);
    let dest = bench.empty();
    let mut issue = |first, last| {
        bench.invoke(control, Label::IoPortControlIssue, &[first, last, dest, 64], &[cnode])
    };
    assert_eq!(issue(2, 1), Err(SyscallError::InvalidArgument(1)));
    let range = Err(SyscallError::Range { min: 0, max: 0xffff });
    assert_eq!(issue(0, 0x1_0000), range);
    assert_eq!(issue(u64::MAX, 0), range);
    let other = bench.invoke(control, Label::IoPortIn8, &[0], &[]);
    assert_eq!(other, Err(SyscallError::IllegalOperation));
}
