//! Signals between cores, and core control: kernels in an array, their signals carried by hand.

use crate::cap::Cap;
use crate::error::SyscallError;
use crate::memory::Ref;
use crate::objects::Notification;
use crate::slot::Slot;
use crate::test_bench::Bench;
use d3os_abi::{CapRights, FIRST_SIGNAL_VECTOR, Label, SIGNAL_LINES};
use proptest::prelude::*;
use std::collections::BTreeSet;

const CORES: usize = 4;
const LINES: usize = 3;

/// One instance of several, with the interrupt control capability and its CNode's.
fn instance(core: u32, cores: u32) -> (Bench, Ref<Slot>, Ref<Slot>) {
    let mut bench = Bench::new();
    bench.kernel.core = core;
    bench.kernel.machine.cores = cores;
    let cnode = bench.cnode_cap();
    let control = bench.root_cap(Cap::IrqControl);
    (bench, cnode, control)
}

/// An instance that has an end of every line there is.
struct Instance {
    bench: Bench,
    /// Sending ends, by core and line.
    sends: Vec<Vec<Ref<Slot>>>,
    /// Receiving ends, by line; line n signals bit n.
    handlers: Vec<Ref<Slot>>,
    notification: Ref<Notification>,
    /// What its interrupt controller keeps while masked.
    kept: BTreeSet<u8>,
}

impl Instance {
    fn new(core: u32) -> Self {
        let (mut bench, cnode, control) = instance(core, CORES as u32);
        let issue = |bench: &mut Bench, label, words: &[u64]| {
            let dest = bench.empty();
            let words: Vec<_> = words.iter().copied().chain([dest, 64]).collect();
            bench.invoke(control, label, &words, &[cnode]).unwrap();
            bench.slot(dest)
        };
        let lines = 0..LINES as u64;
        let to = |bench: &mut Bench, core: u64| {
            let mut end = |line| issue(bench, Label::IrqControlIssueSignal, &[core, line]);
            lines.clone().map(&mut end).collect()
        };
        let sends = (0..CORES as u64).map(|core| to(&mut bench, core)).collect();
        let handlers: Vec<_> =
            lines.map(|line| issue(&mut bench, Label::IrqControlGetSignal, &[line])).collect();
        let notification = Ref::at(bench.page());
        for (line, handler) in handlers.iter().enumerate() {
            let badge = 1 << line;
            let cap = Cap::Notification { object: notification, badge, rights: CapRights::WRITE };
            let target = bench.root_cap(cap);
            bench.invoke(*handler, Label::IrqHandlerSetNotification, &[], &[target]).unwrap();
        }
        Self { bench, sends, handlers, notification, kept: BTreeSet::new() }
    }

    /// A line's interrupt arrives.
    fn arrive(&mut self, line: u8) {
        let vector = FIRST_SIGNAL_VECTOR + line;
        if self.bench.kernel.machine.unmasked.contains(&vector) {
            self.bench.kernel.handle_interrupt(vector);
        } else {
            self.kept.insert(line);
        }
    }

    fn acknowledge(&mut self, line: u8) {
        let handler = self.handlers[usize::from(line)];
        self.bench.invoke(handler, Label::IrqHandlerAck, &[], &[]).unwrap();
        if self.kept.remove(&line) {
            self.arrive(line);
        }
    }

    /// Takes what the notification holds.
    fn take(&mut self) -> u64 {
        let notification = self.bench.kernel.get_mut(self.notification);
        notification.active = 0;
        std::mem::take(&mut notification.word)
    }
}

/// Has `from` signal, and carries the signal.
fn send(instances: &mut [Instance], from: usize, to: usize, line: usize) {
    let sender = &mut instances[from];
    // Any message is a signal.
    sender.bench.invoke(sender.sends[to][line], Label::UntypedRetype, &[], &[]).unwrap();
    for (core, line) in std::mem::take(&mut sender.bench.kernel.machine.signals) {
        instances[core as usize].arrive(line);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send { from: usize, to: usize, line: usize },
    Acknowledge { core: usize, line: usize },
    Take { core: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..CORES, 0..CORES, 0..LINES).prop_map(|(from, to, line)| Step::Send { from, to, line }),
        2 => (0..CORES, 0..LINES).prop_map(|(core, line)| Step::Acknowledge { core, line }),
        1 => (0..CORES).prop_map(|core| Step::Take { core }),
    ]
}

/// The obvious model of one line: delivered and not acknowledged, arrived meanwhile, in the
/// notification and not taken.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    busy: bool,
    waiting: bool,
    told: bool,
}

impl Line {
    fn arrive(&mut self) {
        if self.busy {
            self.waiting = true;
        } else {
            (self.busy, self.told) = (true, true);
        }
    }

    fn acknowledge(&mut self) {
        self.busy = false;
        if std::mem::take(&mut self.waiting) {
            self.arrive();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Nothing is lost, nothing made up, and nothing delivered twice for one acknowledgement.
    #[test]
    fn signals_arrive_as_in_the_model(steps in prop::collection::vec(step(), 0..60)) {
        let mut instances: Vec<_> = (0..CORES as u32).map(Instance::new).collect();
        let mut model = [[Line::default(); LINES]; CORES];
        for step in steps {
            match step {
                Step::Send { from, to, line } => {
                    send(&mut instances, from, to, line);
                    model[to][line].arrive();
                }
                Step::Acknowledge { core, line } => {
                    instances[core].acknowledge(line as u8);
                    model[core][line].acknowledge();
                }
                Step::Take { core } => {
                    let lines = model[core].iter_mut().enumerate();
                    let told = lines.map(|(n, line)| u64::from(std::mem::take(&mut line.told)) << n);
                    prop_assert_eq!(instances[core].take(), told.sum::<u64>());
                }
            }
        }
    }
}

#[test]
fn ends_are_issued_within_their_ranges() {
    let (mut bench, cnode, control) = instance(2, 4);
    let dest = bench.empty();
    let range = |max| Err(SyscallError::Range { min: 0, max });
    let lines = u64::from(SIGNAL_LINES);
    let mut issue =
        |words: &[u64]| bench.invoke(control, Label::IrqControlIssueSignal, words, &[cnode]);
    assert_eq!(issue(&[4, 0, dest, 64]), range(3));
    assert_eq!(issue(&[1 << 32, 0, dest, 64]), range(3));
    assert_eq!(issue(&[3, lines, dest, 64]), range(lines - 1));
    assert_eq!(issue(&[3, 0, 1, 64]), Err(SyscallError::DeleteFirst));
    assert_eq!(issue(&[3, 0, dest]), Err(SyscallError::TruncatedMessage));
    assert_eq!(issue(&[2, lines - 1, dest, 64]), Ok(0), "a core may signal itself");
    assert_eq!(bench.kernel.cap_at(bench.slot(dest)), Cap::Signal { core: 2, line: 15 });
    let dest = bench.empty();
    let mut get =
        |words: &[u64]| bench.invoke(control, Label::IrqControlGetSignal, words, &[cnode]);
    assert_eq!(get(&[lines, dest, 64]), range(lines - 1));
    assert_eq!(get(&[3, dest]), Err(SyscallError::TruncatedMessage));
    assert_eq!(get(&[3, dest, 64]), Ok(0));
    assert_eq!(get(&[3, dest + 1, 64]), Err(SyscallError::RevokeFirst));
    let handler = bench.slot(dest);
    assert_eq!(bench.kernel.cap_at(handler), Cap::IrqHandler { vector: FIRST_SIGNAL_VECTOR + 3 });
    bench.kernel.delete(handler).unwrap();
    let again = bench.invoke(control, Label::IrqControlGetSignal, &[3, dest, 64], &[cnode]);
    assert_eq!(again, Ok(0));
}

#[test]
fn sending_ends_are_withdrawn_each_by_itself_or_all_at_once() {
    let (mut bench, cnode, control) = instance(0, 2);
    let mut issue = || {
        let dest = bench.empty();
        bench.invoke(control, Label::IrqControlIssueSignal, &[1, 5, dest, 64], &[cnode]).unwrap();
        bench.slot(dest)
    };
    let (first, second) = (issue(), issue());
    let copies = [first, second].map(|end| bench.copy(end));
    bench.kernel.revoke(second).unwrap();
    let empty = |bench: &Bench| copies.map(|copy| bench.kernel.get(copy).is_empty());
    assert_eq!(empty(&bench), [false, true]);
    bench.kernel.delete(first).unwrap();
    assert_eq!(empty(&bench), [false, true], "a copy signals on");
    bench.invoke(copies[0], Label::UntypedRetype, &[], &[]).unwrap();
    assert_eq!(bench.kernel.machine.signals, [(1, 5)]);
    bench.kernel.revoke(control).unwrap();
    assert_eq!(empty(&bench), [true, true]);
    assert!(bench.kernel.get(second).is_empty());
}

#[test]
fn devices_pins_and_ports_are_the_first_instances() {
    let (mut bench, cnode, control) = instance(1, 2);
    let dest = bench.empty();
    let words = [dest, 64, 0, 4, 0, 0, 20];
    let pin = bench.invoke(control, Label::IrqControlGetIoApic, &words, &[cnode]);
    assert_eq!(pin, Err(SyscallError::IllegalOperation));
    let ports = bench.root_cap(Cap::IoPortControl);
    let words = [0x60, 0x64, dest, 64];
    let ports = bench.invoke(ports, Label::IoPortControlIssue, &words, &[cnode]);
    assert_eq!(ports, Err(SyscallError::IllegalOperation));
    let msi = bench.invoke(control, Label::IrqControlGetMsi, &[dest, 64, 0, 3, 0, 0, 20], &[cnode]);
    assert_eq!(msi, Ok(0));
}

#[test]
fn only_other_cores_are_stopped_and_started() {
    let (mut bench, ..) = instance(0, 4);
    let control = bench.root_cap(Cap::CoreControl);
    let mut ask = |label, core| bench.invoke(control, label, &[core], &[]);
    for core in [0, 4, u64::MAX] {
        let range = Err(SyscallError::Range { min: 1, max: 3 });
        assert_eq!(ask(Label::CoreControlStop, core), range);
        assert_eq!(ask(Label::CoreControlStart, core), range);
    }
    assert_eq!(ask(Label::TcbSuspend, 1), Err(SyscallError::IllegalOperation));
    assert_eq!(ask(Label::CoreControlStop, 3), Ok(0));
    assert_eq!(ask(Label::CoreControlStart, 3), Ok(0));
    let nothing = bench.invoke(control, Label::CoreControlStop, &[], &[]);
    assert_eq!(nothing, Err(SyscallError::TruncatedMessage));
    assert_eq!(bench.kernel.machine.core_changes, [(3, false), (3, true)]);
}
