//! Taking a function away from a driver that has ended, and giving it a fresh one.
//!
//! ```text
//! quiet: no bus mastering, messages masked, no pin
//!   -> transactions pending?  (waits, 100 ms at most)
//!   -> reset by the best way that the function has  (waits as the way demands)
//!   -> answers again?  (waits, a second at most)
//!   -> configuration as it was
//! ```
//!
//! Time comes in as an argument; what has to be waited for goes out. With bus mastering off the
//! function cannot reach memory, whatever comes of the rest. Followed: PCI Express Base 5.0,
//! section 6.6.2 (function-level reset) and 7.5.3; PCI Power Management 1.2, section 5.4; PCI ECN
//! "Advanced Capabilities for Conventional PCI".

use core::fmt;
use core::time::Duration;

use libd3os::device::CONFIGURATION_BYTES;
use libd3os::service::platform::PciAddress;

use super::capability::{ADVANCED, EXPRESS, MSI, MSIX, POWER};
use super::config::{ConfigSpace, NOTHING, read8, read16, write16, write16_alone};
use super::function::Function;
use super::wire::MSIX_MASK_ALL;

/// Command register; the status above it is cleared by ones.
pub const COMMAND: u16 = 0x04;
/// Command: answers at ports.
pub const PORT_DECODING: u16 = 1 << 0;
/// Command: answers in memory.
pub const MEMORY_DECODING: u16 = 1 << 1;
/// Command: reads and writes memory, messages included.
pub const BUS_MASTERING: u16 = 1 << 2;
/// Command: the interrupt pin stays silent.
pub const PIN_DISABLED: u16 = 1 << 10;

/// PCI Express: device capabilities, upper half; bit 12 of it is bit 28 of the whole.
const EXPRESS_CAPABILITIES_HIGH: u16 = 0x06;
const EXPRESS_RESETS: u16 = 1 << 12;
/// PCI Express: device control; the status above it is cleared by ones.
const EXPRESS_CONTROL: u16 = 0x08;
const EXPRESS_RESET: u16 = 1 << 15;
/// PCI Express: device status.
const EXPRESS_STATUS: u16 = 0x0a;
const EXPRESS_PENDING: u16 = 1 << 5;
/// Advanced features: what there is; both of pending and reset are needed.
const ADVANCED_CAPABILITIES: u16 = 0x03;
const ADVANCED_RESETS: u8 = 0b11;
/// Advanced features: control; the status is the byte above.
const ADVANCED_CONTROL: u16 = 0x04;
const ADVANCED_PENDING: u8 = 1;
/// Power management: control and status.
const POWER_CONTROL: u16 = 0x04;
const POWER_STATE: u16 = 0b11;
/// Power management: going from D3 to D0 keeps the state.
const NO_SOFT_RESET: u16 = 1 << 3;

/// How long the specification lets transactions take to come to an end.
const PENDING: Duration = Duration::from_millis(100);
/// How long a function-level reset takes at most.
const RESET: Duration = Duration::from_millis(100);
/// How long a change of power state between D0 and D3 takes.
const POWER_CHANGE: Duration = Duration::from_millis(10);
/// How long a function may answer "not yet" after its reset.
const RETURN: Duration = Duration::from_secs(1);
/// How often a function is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(10);
/// Identity of a function that says "not yet" (section 2.3.2 of PCI Express Base, vendor 0001).
const NOT_YET: u32 = 0xffff_0001;

/// What makes a function forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Function-level reset of PCI Express; the capability's place.
    Express(u16),
    /// The same of conventional PCI.
    Advanced(u16),
    /// Power off and on: D3 and D0.
    Power(u16),
    /// Nothing: its driver resets it.
    None,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Express(_) => "a function-level reset",
            Self::Advanced(_) => "a function-level reset of conventional PCI",
            Self::Power(_) => "a power cycle",
            Self::None => "no reset of its own",
        })
    }
}

/// How a reset came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// By what the function was reset.
    pub method: Method,
    /// Its transactions had not come to an end when it was reset.
    pub pending: bool,
    /// Whether it answers.
    pub alive: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait until then, and ask again.
    Until(Duration),
    /// Nothing more.
    Done(Outcome),
}

/// A reset under way.
#[derive(Clone, Debug)]
pub struct Reset {
    address: PciAddress,
    method: Method,
    /// Where to see whether transactions are pending: in which byte, and which bit.
    pending_bit: Option<(u16, u8)>,
    pending: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Waits for the function's transactions to come to an end, until this time at most.
    Ending(Option<Duration>),
    /// In D3 until then.
    Off(Duration),
    /// Being reset until then; the function must not be accessed.
    Resetting(Duration),
    /// Waits for it to answer, until this time at most.
    Returning(Duration),
}

/// Makes the function at `address` unable to reach memory and to interrupt. Where it answers, and
/// its registers, stay. Messages by a table are masked: a function that has just held one back (QEMU's
/// 82574L does, to bound how often it interrupts) need not bear that they are gone altogether.
pub fn quiet(space: &mut impl ConfigSpace, function: &Function) {
    let address = function.address;
    let command = read16(space, address, COMMAND);
    write16_alone(space, address, COMMAND, command & !BUS_MASTERING | PIN_DISABLED);
    if let Some(at) = function.capability(MSIX) {
        let control = read16(space, address, at + 2);
        write16(space, address, at + 2, control | MSIX_MASK_ALL);
    }
    if let Some(at) = function.capability(MSI) {
        let control = read16(space, address, at + 2);
        write16(space, address, at + 2, control & !1);
    }
}

impl Reset {
    /// Begins with a function that is [`quiet`] already.
    pub fn begin(space: &mut impl ConfigSpace, function: &Function) -> Self {
        let address = function.address;
        let method = method(space, function);
        let pending_bit = match (function.capability(EXPRESS), method) {
            (Some(at), _) => Some((at + EXPRESS_STATUS, EXPRESS_PENDING.to_le_bytes()[0])),
            (None, Method::Advanced(at)) => Some((at + ADVANCED_CONTROL + 1, ADVANCED_PENDING)),
            _ => None,
        };
        Self { address, method, pending_bit, pending: false, stage: Stage::Ending(None) }
    }

    /// Goes on at this time, which must be the one that the last step told, or later.
    pub fn step(&mut self, space: &mut impl ConfigSpace, now: Duration) -> Step {
        match self.stage {
            Stage::Ending(until) => self.ending(space, now, until.unwrap_or(now + PENDING)),
            Stage::Off(until) | Stage::Resetting(until) if now < until => Step::Until(until),
            Stage::Off(_) => self.power_on(space, now),
            Stage::Resetting(_) => self.returning(space, now, now + RETURN),
            Stage::Returning(until) => self.returning(space, now, until),
        }
    }

    fn ending(&mut self, space: &mut impl ConfigSpace, now: Duration, until: Duration) -> Step {
        let is_pending = self.pending_bit.is_some_and(|(at, bit)| {
            let status = read8(space, self.address, at);
            // All ones are no status, but a function that is gone.
            status != u8::MAX && status & bit != 0
        });
        if is_pending && now < until {
            self.stage = Stage::Ending(Some(until));
            return Step::Until(until.min(now + LOOK));
        }
        self.pending = is_pending;
        self.start(space, now)
    }

    fn start(&mut self, space: &mut impl ConfigSpace, now: Duration) -> Step {
        let address = self.address;
        match self.method {
            Method::Express(at) => {
                let control = read16(space, address, at + EXPRESS_CONTROL);
                write16_alone(space, address, at + EXPRESS_CONTROL, control | EXPRESS_RESET);
                self.wait(Stage::Resetting(now + RESET), now + RESET)
            }
            Method::Advanced(at) => {
                write16(space, address, at + ADVANCED_CONTROL, 1);
                self.wait(Stage::Resetting(now + RESET), now + RESET)
            }
            Method::Power(at) => {
                let control = read16(space, address, at + POWER_CONTROL);
                write16(space, address, at + POWER_CONTROL, control | POWER_STATE);
                self.wait(Stage::Off(now + POWER_CHANGE), now + POWER_CHANGE)
            }
            Method::None => self.returning(space, now, now + RETURN),
        }
    }

    fn power_on(&mut self, space: &mut impl ConfigSpace, now: Duration) -> Step {
        if let Method::Power(at) = self.method {
            let control = read16(space, self.address, at + POWER_CONTROL);
            write16(space, self.address, at + POWER_CONTROL, control & !POWER_STATE);
        }
        self.wait(Stage::Resetting(now + POWER_CHANGE), now + POWER_CHANGE)
    }

    fn returning(&mut self, space: &mut impl ConfigSpace, now: Duration, until: Duration) -> Step {
        let identity = space.read(self.address, 0);
        let alive = identity != NOTHING && identity != NOT_YET;
        if !alive && now < until {
            return self.wait(Stage::Returning(until), until.min(now + LOOK));
        }
        Step::Done(Outcome { method: self.method, pending: self.pending, alive })
    }

    fn wait(&mut self, stage: Stage, until: Duration) -> Step {
        self.stage = stage;
        Step::Until(until)
    }
}

/// The best way that the function has.
fn method(space: &mut impl ConfigSpace, function: &Function) -> Method {
    let address = function.address;
    let has = |at: Option<u16>, test: &mut dyn FnMut(u16) -> bool| at.filter(|at| test(*at));
    let express = has(function.capability(EXPRESS), &mut |at| {
        read16(space, address, at + EXPRESS_CAPABILITIES_HIGH) & EXPRESS_RESETS != 0
    });
    if let Some(at) = express {
        return Method::Express(at);
    }
    let advanced = has(function.capability(ADVANCED), &mut |at| {
        read8(space, address, at + ADVANCED_CAPABILITIES) & ADVANCED_RESETS == ADVANCED_RESETS
    });
    if let Some(at) = advanced {
        return Method::Advanced(at);
    }
    let power = has(function.capability(POWER), &mut |at| {
        read16(space, address, at + POWER_CONTROL) & NO_SOFT_RESET == 0
    });
    power.map_or(Method::None, Method::Power)
}

/// Wakes a function that the firmware left without power. Whether it has to be given
/// [`WAKING`] before it is used.
pub fn wake(space: &mut impl ConfigSpace, function: &Function) -> bool {
    let Some(at) = function.capability(POWER) else { return false };
    let control = read16(space, function.address, at + POWER_CONTROL);
    let sleeps = control & POWER_STATE != 0;
    if sleeps {
        write16(space, function.address, at + POWER_CONTROL, control & !POWER_STATE);
    }
    sleeps
}

/// How long a function takes to wake.
pub const WAKING: Duration = POWER_CHANGE;

/// A function's configuration space as it was when it was first wired.
pub type Snapshot = [u8; CONFIGURATION_BYTES];

/// Takes it.
pub fn snapshot(space: &mut impl ConfigSpace, address: PciAddress) -> Snapshot {
    let mut bytes = [0; CONFIGURATION_BYTES];
    for (offset, word) in (0u16..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
        word.copy_from_slice(&space.read(address, offset).to_le_bytes());
    }
    bytes
}

/// The header's registers that a reset forgets, in the order in which they are given back: base
/// addresses, option ROM, interrupt line, cache line size and latency. The command comes later, by
/// wiring.
const HEADER: [u16; 9] = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30, 0x3c, 0x0c];
/// The control registers of the PCI Express capability: device, link, device 2, link 2.
const EXPRESS_CONTROLS: [u16; 4] = [EXPRESS_CONTROL, 0x10, 0x28, 0x30];
/// Version of the PCI Express capability from which on the last two of them are there.
const EXPRESS_SECOND: u8 = 2;

fn saved_word(saved: &Snapshot, at: u16) -> u32 {
    let bytes = saved.get(usize::from(at)..).and_then(|rest| rest.first_chunk::<4>());
    u32::from_le_bytes(bytes.copied().unwrap_or_default())
}

/// Gives a function back what it had; bus mastering and interrupts stay off.
pub fn restore(space: &mut impl ConfigSpace, function: &Function, saved: &Snapshot) {
    let address = function.address;
    let word = |at| saved_word(saved, at);
    if let Some(at) = function.capability(EXPRESS) {
        let has_second = read8(space, address, at + 2) & 0xf >= EXPRESS_SECOND;
        for offset in EXPRESS_CONTROLS.into_iter().take(if has_second { 4 } else { 2 }) {
            let [low, high, ..] = word(at + offset).to_le_bytes();
            let control = u16::from_le_bytes([low, high]);
            write16_alone(space, address, at + offset, control & !EXPRESS_RESET);
        }
    }
    for offset in HEADER {
        space.write(address, offset, word(offset));
    }
    let [low, high, ..] = word(COMMAND).to_le_bytes();
    let command = u16::from_le_bytes([low, high]) & !BUS_MASTERING | PIN_DISABLED;
    write16_alone(space, address, COMMAND, command);
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, Node, device};
    use super::super::scan::scan;
    use super::*;
    use proptest::prelude::*;

    const AT: PciAddress = PciAddress { segment: 0, bus: 0, device: 0, function: 0 };

    fn prepared(node: Node) -> (Model, Function) {
        let mut model = Model::default();
        model.put(0, 0, 0, node);
        let functions = scan(&mut model, 0, (0, 0), &[]).functions;
        (model, functions[0].clone())
    }

    /// Carries a reset out to its end: what came of it, and how long it took.
    fn run(model: &mut Model, function: &Function) -> (Outcome, Duration) {
        let mut now = Duration::from_secs(7);
        let mut reset = Reset::begin(model, function);
        for _ in 0..1000 {
            match reset.step(model, now) {
                Step::Until(until) => {
                    assert!(until > now, "a wait for what is past");
                    now = until;
                }
                Step::Done(outcome) => return (outcome, now - Duration::from_secs(7)),
            }
        }
        panic!("a reset without end");
    }

    fn express(capabilities: u32) -> Node {
        device(0x1af4, 0x1041)
            .capabilities(&[(0x40, EXPRESS, &[0x0002_0000, capabilities, 0x2810])])
            .bar(0, 0xfeb0_0000, 0x1000)
            .with(0x3c, 0x010b)
            .writable(0x3c, 0xff)
            .writable(0x0c, 0xffff)
    }

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn each_function_is_reset_by_the_best_way_that_it_has() {
        let node = express(1 << 28).reset_by(Method::Express(0x40));
        let (mut model, function) = prepared(node);
        let (outcome, took) = run(&mut model, &function);
        let method = Method::Express(0x40);
        assert_eq!(outcome, Outcome { method, pending: false, alive: true });
        assert_eq!((took, model.nodes[&AT].behaviour.resets), (millis(100), 1));

        let words = [0x0300_0000u32, 0];
        let old = device(1, 1).capabilities(&[(0x50, ADVANCED, &words)]);
        let (mut model, function) = prepared(old.reset_by(Method::Advanced(0x50)));
        let (outcome, took) = run(&mut model, &function);
        assert_eq!(
            (outcome.method, outcome.alive, took),
            (Method::Advanced(0x50), true, millis(100))
        );
        assert_eq!(model.nodes[&AT].behaviour.resets, 1);

        let power = device(1, 1).capabilities(&[(0x50, POWER, &[0, 0])]);
        let (mut model, function) = prepared(power.reset_by(Method::Power(0x50)));
        let (outcome, took) = run(&mut model, &function);
        assert_eq!((outcome.method, outcome.alive, took), (Method::Power(0x50), true, millis(20)));
        assert_eq!(model.nodes[&AT].behaviour.resets, 1);
    }

    #[test]
    fn what_is_not_offered_is_not_tried() {
        for node in [
            express(0),
            device(1, 1),
            device(1, 1).capabilities(&[(0x50, ADVANCED, &[0x0100_0000])]),
            device(1, 1).capabilities(&[(0x50, POWER, &[0, 8])]),
        ] {
            let (mut model, function) = prepared(node);
            let writes = model.writes;
            let (outcome, took) = run(&mut model, &function);
            assert_eq!(outcome, Outcome { method: Method::None, pending: false, alive: true });
            assert_eq!((took, model.writes), (Duration::ZERO, writes));
        }
    }

    #[test]
    fn transactions_are_waited_for_and_not_for_ever() {
        let pending = |reads| {
            let mut node = express(1 << 28).reset_by(Method::Express(0x40));
            node.behaviour.pending = Some((0x48, 21, reads));
            let (mut model, function) = prepared(node);
            let (outcome, took) = run(&mut model, &function);
            assert!(outcome.alive);
            (outcome.pending, took)
        };
        assert_eq!(pending(3), (false, millis(130)));
        assert_eq!(pending(1000), (true, millis(200)));
    }

    #[test]
    fn a_function_that_returns_late_is_waited_for_and_not_for_ever() {
        let slow = |reads| {
            let mut node = express(1 << 28).reset_by(Method::Express(0x40));
            node.behaviour.slow = reads;
            let (mut model, function) = prepared(node);
            let (outcome, took) = run(&mut model, &function);
            (outcome.alive, took)
        };
        assert_eq!(slow(5), (true, millis(150)));
        assert_eq!(slow(100_000), (false, millis(1100)));
    }

    #[test]
    fn a_quiet_function_neither_reaches_memory_nor_interrupts() {
        let node = device(1, 1)
            .capabilities(&[(0x50, MSI, &[0x0081_0000]), (0x60, MSIX, &[0x8003_0000])])
            .with(0x04, 0x0010_0007)
            .writable(0x50, 0x0071_0000)
            .writable(0x60, 0xc000_0000);
        let (mut model, function) = prepared(node);
        quiet(&mut model, &function);
        let command = read16(&mut model, AT, COMMAND);
        assert_eq!(command, PORT_DECODING | MEMORY_DECODING | PIN_DISABLED);
        assert_eq!((read16(&mut model, AT, 0x52), read16(&mut model, AT, 0x62)), (0x80, 0xc003));
    }

    #[test]
    fn a_reset_function_gets_its_configuration_back() {
        let node = express(1 << 28).reset_by(Method::Express(0x40)).with(0x04, 0x0010_0106);
        let (mut model, function) = prepared(node);
        let before = snapshot(&mut model, AT);
        quiet(&mut model, &function);
        run(&mut model, &function);
        assert_ne!(snapshot(&mut model, AT), before);
        restore(&mut model, &function, &before);
        let after = snapshot(&mut model, AT);
        assert_eq!((&after[..4], &after[8..]), (&before[..4], &before[8..]));
        let command = read16(&mut model, AT, COMMAND);
        assert_eq!(command, 0x0102 | PIN_DISABLED, "as it was, without bus mastering");
    }

    #[test]
    fn a_function_that_sleeps_is_woken() {
        let node = |state| {
            let node = device(1, 1).capabilities(&[(0x50, POWER, &[0, state])]);
            prepared(node.writable(0x54, 3))
        };
        let (mut model, function) = node(3);
        assert!(wake(&mut model, &function));
        assert_eq!(model.read(AT, 0x54), 0);
        let (mut model, function) = node(8);
        assert!(!wake(&mut model, &function));
    }

    proptest! {
        /// Whatever a function's registers hold, a reset ends in time.
        #[test]
        fn every_reset_ends(node in super::super::model::any_node(), present: bool) {
            let mut model = Model::default();
            model.put(0, 0, 0, if present { node.with(0, 0x1041_1af4) } else { node });
            for function in scan(&mut model, 0, (0, 0), &[]).functions {
                let saved = snapshot(&mut model, function.address);
                quiet(&mut model, &function);
                let (outcome, took) = run(&mut model, &function);
                prop_assert!(took <= Duration::from_millis(1200));
                restore(&mut model, &function, &saved);
                prop_assert!(!outcome.alive || read16(&mut model, function.address, COMMAND) & BUS_MASTERING == 0);
            }
        }
    }
}
