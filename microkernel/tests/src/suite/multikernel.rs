//! Several instances: memory, signals, messages of devices, and cores stopped and started anew.
//!
//! On every core but the first this root task does what these tests tell it to (`peer`). Whatever is
//! waited for here must come: a signal that is lost ends the test by the machine's patience.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;
use libd3os::abi::{BootInfo, FrameSize, IRQ_VECTOR_BASE, Label, MAX_CORES, ObjectType};
use libd3os::cap::{
    Capability, CoreControl, Error, Frame, IoPort, IoPortRange, IrqHandler, Notification, Signal,
    SlotRun, Untyped, invoke,
};

use super::tests;
use crate::arena::{Arena, CNODE, IO_PORT_CONTROL, IRQ_CONTROL, slot_of, untypeds};
use crate::check::{Failure, Outcome, check, check_eq};
use crate::machine::{read32, time, write32};
use crate::mailbox::{self, Facts, Mailbox, Word};
use crate::peer::{self, Command, FLOOD, QUESTION, TOKEN, answer_line};

tests![
    every_instance_has_memory_of_its_own,
    the_pool_is_for_frames,
    a_core_signals_itself,
    signals_without_acknowledgement_become_one,
    ends_of_lines_are_checked,
    tokens_go_round_all_cores,
    a_flood_is_delivered_once_per_acknowledgement,
    devices_send_messages_to_every_core,
    cores_are_checked,
    a_stopped_core_leaves_the_others_alone,
    a_core_that_runs_is_not_started_again;
    noisy: a_dead_neighbour_leaves_the_others_alone
];

/// Signals that are counted one by one: tokens, and each peer's part of a flood.
const MANY: u64 = 10_000;
/// Ticks of the time stamp counter that a core is given to stop: the interface says 10 ms.
const STOPPING_TICKS: u64 = 100_000_000;

/// A line of this core, with a notification of its own.
struct Line {
    handler: IrqHandler,
    notification: Notification,
}

impl Line {
    fn new(arena: &mut Arena, line: u32) -> Result<Self, Error> {
        let notification = arena.notification()?;
        Ok(Self { handler: peer::receive(arena, line, notification, 1)?, notification })
    }

    fn wait(&self) -> Outcome {
        check_eq!(self.notification.wait(), 1);
        Ok(())
    }
}

fn cores(boot: &BootInfo) -> u32 {
    u32::try_from(boot.num_nodes).unwrap_or(1)
}

fn facts(arena: &Arena) -> Result<Facts, Failure> {
    Facts::of(arena.boot()).ok_or_else(|| Failure::new("no chunk of D3OS's".into()))
}

fn core_control(arena: &Arena) -> Result<CoreControl, Failure> {
    let slot = facts(arena)?.core_control;
    slot.map(CoreControl::new).ok_or_else(|| Failure::new("no core control".into()))
}

/// The root tasks of the other cores.
struct Peers {
    /// By core, with this one's.
    pages: Vec<(Frame, Mailbox)>,
    /// From core 1 on.
    answers: Vec<Line>,
    questions: Vec<Signal>,
}

impl Peers {
    /// Meets all of them, as soon as they listen.
    fn meet(arena: &mut Arena) -> Result<Self, Failure> {
        let pages = mailbox::open(arena)?;
        let (mut answers, mut questions) = (Vec::new(), Vec::new());
        for core in 1..cores(arena.boot()) {
            answers.push(Line::new(arena, answer_line(core))?);
            questions.push(peer::signal(arena, core, QUESTION)?);
        }
        let peers = Self { pages, answers, questions };
        peers.numbers().try_for_each(|core| peers.wait_until_listening(core))?;
        Ok(peers)
    }

    fn numbers(&self) -> Range<usize> {
        1..self.pages.len()
    }

    fn page(&self, core: usize) -> Mailbox {
        self.pages[core].1
    }

    fn wait_until_listening(&self, core: usize) -> Outcome {
        let page = self.page(core);
        while page.get(Word::Signature) != mailbox::SIGNATURE
            || page.get(Word::Listening) != page.get(Word::Begun)
        {
            core::hint::spin_loop();
        }
        Ok(())
    }

    /// Tells a core what to do.
    fn tell(&self, core: usize, command: Command, argument: u64) {
        let page = self.page(core);
        page.set(Word::Command, command as u64);
        page.set(Word::Argument, argument);
        page.set(Word::Number, page.get(Word::Done) + 1);
        self.questions[core - 1].send();
    }

    /// Waits until it has done so.
    fn wait(&self, core: usize) -> Outcome {
        let (page, line) = (self.page(core), &self.answers[core - 1]);
        while page.get(Word::Done) != page.get(Word::Number) {
            line.wait()?;
            line.handler.ack()?;
            if let Some(complaint) = page.complaint() {
                return Err(Failure::new(complaint));
            }
        }
        Ok(())
    }

    fn ask(&self, core: usize, command: Command, argument: u64) -> Outcome {
        self.tell(core, command, argument);
        self.wait(core)
    }

    /// Starts a stopped core anew and meets its root task.
    fn revive(&self, control: CoreControl, core: usize) -> Outcome {
        let begun = self.page(core).get(Word::Begun);
        control.start(number(core))?;
        while self.page(core).get(Word::Begun) == begun {
            core::hint::spin_loop();
        }
        self.wait_until_listening(core)?;
        check_eq!(self.page(core).get(Word::Begun), begun + 1);
        self.ask(core, Command::Report, 0)
    }
}

fn number(core: usize) -> u32 {
    u32::try_from(core).unwrap_or(u32::MAX)
}

fn apart(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.end <= b.start || b.end <= a.start
}

/// Of the two nodes of memory (`second_node=` says where the second begins), the second is that of the
/// upper half of the cores.
fn check_node(arena: &Arena, core: usize, private: &Range<u64>) -> Outcome {
    let border = crate::option(arena.boot(), "second_node=").and_then(|word| word.parse().ok());
    let border = border.ok_or_else(|| Failure::new("where is the second node?".into()))?;
    let in_second = 2 * core >= cores(arena.boot()) as usize;
    let own = if in_second { border..u64::MAX } else { 0..border };
    check!(
        own.start <= private.start && private.end <= own.end,
        "core {core} has {private:x?}, which is far from it"
    );
    Ok(())
}

fn every_instance_has_memory_of_its_own(arena: &mut Arena) -> Outcome {
    let (peers, mine) = (Peers::meet(arena)?, facts(arena)?);
    check_eq!(arena.boot().node_id, 0);
    check!(!mine.pool.is_empty(), "there is no pool");
    let mut pieces = alloc::vec![mine.pool.clone()];
    let mut apics = alloc::vec![mine.apic];
    for core in peers.numbers() {
        peers.ask(core, Command::Report, 0)?;
        let page = peers.page(core);
        check_eq!(page.get(Word::Node), core as u64);
        check_eq!(page.get(Word::Nodes), arena.boot().num_nodes);
        let pool = page.get(Word::PoolStart)..page.get(Word::PoolEnd);
        check_eq!(&pool, &mine.pool, "core {core}'s pool");
        let private = page.get(Word::PrivateStart)..page.get(Word::PrivateEnd);
        check!(private.end - private.start >= 16 << 20, "{private:x?} is little");
        check_node(arena, core, &private)?;
        check!(pieces.iter().all(|piece| apart(piece, &private)), "{private:x?} is shared");
        check!(!apics.contains(&page.get(Word::Apic)), "two cores with one local APIC");
        pieces.push(private);
        apics.push(page.get(Word::Apic));
    }
    // What is RAM here is nobody else's.
    for (_, about) in untypeds(arena.boot()).filter(|(_, about)| about.is_device == 0) {
        let piece = about.paddr..about.paddr + (1 << about.size_bits);
        check!(pieces.iter().all(|other| apart(other, &piece)), "{piece:x?} is another core's");
    }
    Ok(())
}

fn the_pool_is_for_frames(arena: &mut Arena) -> Outcome {
    let peers = Peers::meet(arena)?;
    mailbox::check_pool_is_for_frames(arena, peers.pages[0].0)?;
    let fresh = mailbox::pool(arena.boot())?;
    let run = SlotRun::within(CNODE, arena.empty_slot().address());
    fresh.retype(ObjectType::Untyped, 12, run, 1)?;
    Ok(())
}

fn a_core_signals_itself(arena: &mut Arena) -> Outcome {
    let (line, signal) = (Line::new(arena, FLOOD)?, peer::signal(arena, 0, FLOOD)?);
    for _ in 0..100 {
        signal.send();
        line.wait()?;
        line.handler.ack()?;
    }
    Ok(())
}

/// A peer sends without anybody acknowledging, and answers on another line afterwards: when that has
/// come, all that it sent before has been dealt with.
fn signals_without_acknowledgement_become_one(arena: &mut Arena) -> Outcome {
    let (peers, line) = (Peers::meet(arena)?, Line::new(arena, TOKEN)?);
    for core in peers.numbers() {
        peers.ask(core, Command::Pester, 1)?;
        line.wait()?;
        peers.ask(core, Command::Pester, 100)?;
        check_eq!(line.notification.poll(), 0, "it came without having been acknowledged");
        line.handler.ack()?;
        line.wait()?;
        line.handler.ack()?;
        peers.ask(core, Command::Report, 0)?;
        check_eq!(line.notification.poll(), 0, "100 signals were delivered more than once");
    }
    Ok(())
}

fn ends_of_lines_are_checked(arena: &mut Arena) -> Outcome {
    let greatest = u64::from(cores(arena.boot()) - 1);
    let dest = slot_of(arena.empty_slot());
    let absent = Err(Error::Range { least: 0, greatest });
    check_eq!(IRQ_CONTROL.issue_signal(dest, cores(arena.boot()), 0), absent);
    check_eq!(IRQ_CONTROL.issue_signal(dest, number(MAX_CORES), 0), absent);
    check_eq!(IRQ_CONTROL.issue_signal(dest, u32::MAX, 0), absent);
    let no_line = Err(Error::Range { least: 0, greatest: 15 });
    check_eq!(IRQ_CONTROL.issue_signal(dest, 0, 16), no_line);
    check_eq!(IRQ_CONTROL.get_signal(dest, 16), no_line);
    IRQ_CONTROL.get_signal(dest, 15)?;
    let other = slot_of(arena.empty_slot());
    check_eq!(IRQ_CONTROL.get_signal(other, 15), Err(Error::RevokeFirst));
    check_eq!(IRQ_CONTROL.issue_signal(dest, 1, 0), Err(Error::DeleteFirst));
    Ok(())
}

/// A token passes all cores, again and again: each pass is one signal that depends on the one before,
/// so a lost one ends it, and a delivery too many is a pass too many.
fn go_round(arena: &mut Arena, peers: &Peers, line: &Line, rounds: u64) -> Outcome {
    let next = peer::signal(arena, 1, TOKEN)?;
    let passed = |core: usize| peers.page(core).get(Word::Passed);
    let before: Vec<u64> = peers.numbers().map(passed).collect();
    for _ in 0..rounds {
        next.send();
        line.wait()?;
        check_eq!(line.notification.poll(), 0, "a token came without acknowledgement");
        line.handler.ack()?;
    }
    // Every peer has looked up after its last token when it has answered.
    peers.numbers().try_for_each(|core| peers.ask(core, Command::Report, 0))?;
    for (core, before) in peers.numbers().zip(before) {
        check_eq!(passed(core) - before, rounds, "tokens that core {core} passed on");
    }
    check_eq!(line.notification.poll(), 0, "a token came back twice");
    Ok(())
}

fn tokens_go_round_all_cores(arena: &mut Arena) -> Outcome {
    let (peers, line) = (Peers::meet(arena)?, Line::new(arena, TOKEN)?);
    let cores = arena.boot().num_nodes;
    let rounds = MANY.div_ceil(cores);
    go_round(arena, &peers, &line, rounds)?;
    arena.note(format!("{} signals, each counted", rounds * cores));
    Ok(())
}

/// All peers send to one line as fast as they can, each counting before it sends. What is seen of the
/// counts after a delivery and before its acknowledgement may have become part of it; what comes later
/// must bring another one.
fn a_flood_is_delivered_once_per_acknowledgement(arena: &mut Arena) -> Outcome {
    let (peers, line) = (Peers::meet(arena)?, Line::new(arena, FLOOD)?);
    peers.numbers().for_each(|core| peers.page(core).set(Word::Sent, 0));
    peers.numbers().for_each(|core| peers.tell(core, Command::Flood, MANY));
    let total = MANY * peers.numbers().len() as u64;
    let (mut deliveries, mut seen) = (0, 0);
    while seen < total {
        line.wait()?;
        deliveries += 1;
        seen = peers.numbers().map(|core| peers.page(core).get(Word::Sent)).sum();
        check_eq!(line.notification.poll(), 0, "it came without having been acknowledged");
        line.handler.ack()?;
    }
    peers.numbers().try_for_each(|core| peers.wait(core))?;
    check_eq!(seen, total);
    check!((1..=total).contains(&deliveries), "{deliveries} deliveries of {total} signals");
    arena.note(format!("{total} signals, {deliveries} deliveries"));
    Ok(())
}

/// QEMU's teaching device, which sends a message when it is told to.
struct Edu {
    config: IoPort,
    /// Its function, as configuration addresses have it.
    function: u32,
    /// Its registers, mapped.
    registers: u64,
}

impl Edu {
    const CONFIG_ADDRESS: u16 = 0xcf8;
    const CONFIG_DATA: u16 = 0xcfc;
    const IDENTITY: u32 = 0x11e8_1234;
    /// Command: memory and bus mastering.
    const ON: u32 = 6;
    const RAISE: u64 = 0x60;
    const LOWER: u64 = 0x64;

    fn find(arena: &mut Arena) -> Result<Self, Failure> {
        let config = IoPort::new(arena.empty_slot());
        let range = IoPortRange { first: Self::CONFIG_ADDRESS, last: Self::CONFIG_DATA + 3 };
        IO_PORT_CONTROL.issue(range, slot_of(config.cptr()))?;
        let mut edu = Self { config, function: 0, registers: 0 };
        for device in 0..32 {
            edu.function = device << 11;
            if edu.read(0)? == Self::IDENTITY {
                edu.write(4, Self::ON)?;
                let page = u64::from(edu.read(0x10)? & !0xf);
                let frame = device_frame(arena, page)?;
                edu.registers = arena.map(frame, FrameSize::Small)?;
                return Ok(edu);
            }
        }
        Err(Failure::new("the machine has no `edu` device".into()))
    }

    fn select(&self, register: u32) -> Result<(), Error> {
        let address = 0x8000_0000 | self.function | register & 0xfc;
        self.config.out32(Self::CONFIG_ADDRESS, address)
    }

    fn read(&self, register: u32) -> Result<u32, Error> {
        self.select(register)?;
        self.config.in32(Self::CONFIG_DATA)
    }

    fn write(&self, register: u32, value: u32) -> Result<(), Error> {
        self.select(register)?;
        self.config.out32(Self::CONFIG_DATA, value)
    }

    /// Where its list of abilities has message-signalled interrupts (number 5).
    fn messages(&self) -> Result<u32, Failure> {
        let mut place = self.read(0x34)? & 0xfc;
        while place != 0 {
            let head = self.read(place)?;
            if head & 0xff == 5 {
                return Ok(place);
            }
            place = head >> 8 & 0xfc;
        }
        Err(Failure::new("the device knows no messages".into()))
    }

    /// Has it send its messages to this core as this vector.
    fn aim(&self, apic: u64, vector: u64) -> Outcome {
        let place = self.messages()?;
        let head = self.read(place)?;
        let wide = head >> 23 & 1;
        let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        self.write(place + 4, 0xfee0_0000 | word(apic) << 12)?;
        if wide == 1 {
            self.write(place + 8, 0)?;
        }
        self.write(place + 8 + 4 * wide, u32::from(IRQ_VECTOR_BASE) + word(vector))?;
        // On, one message.
        self.write(place, head & 0xff8f_ffff | 1 << 16)?;
        Ok(())
    }

    /// Sends one message.
    fn send(&self) {
        write32(self.registers + Self::RAISE, 1);
        write32(self.registers + Self::LOWER, 1);
    }
}

/// The frame of a page of device memory: what lies before it in its untyped is passed over, in pieces.
fn device_frame(arena: &mut Arena, page: u64) -> Result<Frame, Failure> {
    let covers = |base: u64, bits: u8| (base..base + (1 << bits)).contains(&page);
    let found = untypeds(arena.boot())
        .find(|(_, about)| about.is_device == 1 && covers(about.paddr, about.size_bits));
    let (untyped, about) = found.ok_or_else(|| Failure::new(format!("nobody has {page:#x}")))?;
    let offset = page - about.paddr;
    for bits in (12..about.size_bits).rev().filter(|bits| offset >> bits & 1 == 1) {
        make(arena, untyped, ObjectType::Untyped, bits)?;
    }
    let frame = make(arena, untyped, ObjectType::SmallPage, 0)?;
    check_eq!(frame.address()?, page);
    Ok(frame)
}

fn make(arena: &mut Arena, of: Untyped, kind: ObjectType, bits: u8) -> Result<Frame, Error> {
    let slot = arena.empty_slot();
    of.retype(kind, bits, SlotRun::within(CNODE, slot.address()), 1)?;
    Ok(Frame::new(slot))
}

fn devices_send_messages_to_every_core(arena: &mut Arena) -> Outcome {
    let (peers, edu) = (Peers::meet(arena)?, Edu::find(arena)?);
    check_eq!(read32(edu.registers) & 0xff, 0xed, "the device's identity register");
    for core in peers.numbers() {
        peers.ask(core, Command::Listen, 0)?;
        let (page, line) = (peers.page(core), &peers.answers[core - 1]);
        edu.aim(page.get(Word::Apic), peer::MESSAGE_VECTOR)?;
        for sent in 1..=100 {
            edu.send();
            while page.get(Word::Messages) < sent {
                line.wait()?;
                line.handler.ack()?;
            }
            check_eq!(page.get(Word::Messages), sent);
        }
        let others = peers.numbers().filter(|other| *other > core);
        for other in others {
            check!(peers.page(other).get(Word::Messages) == 0, "core {other} got one, too");
        }
    }
    // Nobody is to get any more of them.
    edu.write(edu.messages()?, 0)?;
    Ok(())
}

fn cores_are_checked(arena: &mut Arena) -> Outcome {
    let control = core_control(arena)?;
    let greatest = u64::from(cores(arena.boot()) - 1);
    let range = Err(Error::Range { least: 1, greatest });
    for absent in [0, cores(arena.boot()), u32::MAX] {
        check_eq!(control.stop(absent), range);
        check_eq!(control.start(absent), range);
    }
    let ask = |label, words: &[u64]| invoke(control.cptr(), label, words, &[]);
    check_eq!(ask(Label::CoreControlStop, &[1 << 32]), range);
    check_eq!(ask(Label::CoreControlStop, &[]), Err(Error::TruncatedMessage));
    check_eq!(ask(Label::CoreControlStart, &[]), Err(Error::TruncatedMessage));
    check_eq!(ask(Label::TcbSuspend, &[1]), Err(Error::IllegalOperation));
    Ok(())
}

/// Stops a core that counts its turns, and waits until it does not count any more.
fn stop(control: CoreControl, peers: &Peers, core: usize) -> Outcome {
    control.stop(number(core))?;
    let turns = || peers.page(core).get(Word::Turns);
    loop {
        let (before, begin) = (turns(), time());
        while time() - begin < STOPPING_TICKS {
            core::hint::spin_loop();
        }
        if turns() == before {
            return Ok(());
        }
    }
}

fn a_stopped_core_leaves_the_others_alone(arena: &mut Arena) -> Outcome {
    let (control, peers) = (core_control(arena)?, Peers::meet(arena)?);
    for core in peers.numbers() {
        peers.ask(core, Command::Spin, 0)?;
        let turns = || peers.page(core).get(Word::Turns);
        let before = turns();
        while turns() == before {
            core::hint::spin_loop();
        }
        stop(control, &peers, core)?;
        let stopped = turns();
        // It is asked, and stopped once more: neither makes it say anything.
        peers.tell(core, Command::Report, 0);
        control.stop(number(core))?;
        for other in peers.numbers().filter(|other| *other != core) {
            peers.ask(other, Command::Report, 0)?;
        }
        check_eq!(turns(), stopped, "core {core} goes on");
        check!(peers.page(core).get(Word::Done) != peers.page(core).get(Word::Number));
        peers.revive(control, core)?;
    }
    let line = Line::new(arena, TOKEN)?;
    go_round(arena, &peers, &line, 100)
}

fn a_core_that_runs_is_not_started_again(arena: &mut Arena) -> Outcome {
    let (control, peers) = (core_control(arena)?, Peers::meet(arena)?);
    for core in peers.numbers() {
        let begun = peers.page(core).get(Word::Begun);
        control.start(number(core))?;
        for _ in 0..10 {
            peers.ask(core, Command::Report, 0)?;
        }
        check_eq!(peers.page(core).get(Word::Begun), begun, "core {core} has begun again");
    }
    Ok(())
}

/// A neighbour whose root task faults, with nobody to tell, and one whose kernel stops itself.
fn a_dead_neighbour_leaves_the_others_alone(arena: &mut Arena) -> Outcome {
    let (control, peers) = (core_control(arena)?, Peers::meet(arena)?);
    for end in [Command::Fault, Command::Halt] {
        for core in peers.numbers() {
            peers.tell(core, end, 0);
            for other in peers.numbers().filter(|other| *other != core) {
                (0..10).try_for_each(|_| peers.ask(other, Command::Report, 0))?;
            }
            let page = peers.page(core);
            check!(page.get(Word::Done) != page.get(Word::Number), "core {core} survived {end:?}");
            stop(control, &peers, core)?;
            peers.revive(control, core)?;
        }
    }
    let line = Line::new(arena, TOKEN)?;
    go_round(arena, &peers, &line, 100)
}
