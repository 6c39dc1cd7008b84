//! Controller and keyboard, over any [`Registers`]: sans-IO, one of each.
//!
//! [`Device::new`] sets both up as if they were in the worst state: the keyboard is silenced, what
//! waits is thrown away, the configuration is written whole. A controller that does not answer is
//! absent; a keyboard that does not answer may be plugged in later, so the rest goes on without it.
//!
//! [`Device::interrupt`] fetches until the controller has nothing left. Waiting is by looking again,
//! a bounded number of times: a controller takes at most milliseconds, a look about one microsecond.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use libd3os::service::keyboard::{Input, Layout};

use crate::events::{Event, Journal};
use crate::keys::{Codes, Keys, UnknownCode};
use crate::regs::{
    ACKNOWLEDGE, Command, Configuration, ENABLE, RESEND, Register, Registers, SELF_TEST_PASSED,
    SET_DEFAULTS, Status,
};

/// Keys that wait for a reader at most; further ones are dropped.
pub const INPUT_KEYS: usize = 256;
/// Bytes fetched in one go; a controller that has more is stuck.
const BYTES_AT_ONCE: usize = 64;
/// Looks at the status before the controller is taken not to answer.
const LOOKS: usize = 50_000;
/// Times that a byte is sent to a keyboard that asks for it again.
const ATTEMPTS: usize = 3;

/// No controller answers at these ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoController;

/// Whether a keyboard answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It did.
    Keyboard,
    /// It did not: there is none, or it speaks when it is plugged in.
    Silence,
}

/// A controller with the keyboard behind it.
#[derive(Debug)]
pub struct Device<R> {
    registers: R,
    keys: Keys,
    input: VecDeque<Input>,
    presence: Presence,
    journal: Journal,
}

impl<R: Registers> Device<R> {
    /// Sets controller and keyboard up.
    ///
    /// # Errors
    /// [`NoController`] where nothing answers.
    pub fn new(mut registers: R, layout: Layout) -> Result<Self, NoController> {
        let codes = set_up_controller(&mut registers)?;
        let presence = set_up_keyboard(&mut registers);
        let keys = Keys::new(codes, layout);
        let journal = Journal::default();
        Ok(Self { registers, keys, input: VecDeque::new(), presence, journal })
    }

    /// Whether a keyboard answered when the driver started.
    #[must_use]
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.keys.layout()
    }

    /// Another layout, from the next key on.
    pub fn set_layout(&mut self, layout: Layout) {
        self.keys.set_layout(layout);
        self.journal.note(Event::Layout);
    }

    /// Fetches all that the controller has; whether somebody may read something.
    pub fn interrupt(&mut self) -> bool {
        self.journal.note(Event::Interrupt);
        let (before, mut fetched) = (self.input.len(), 0);
        for _ in 0..BYTES_AT_ONCE {
            let status = status(&mut self.registers);
            if !status.contains(Status::OUTPUT_FULL) {
                break;
            }
            let byte = self.registers.read(Register::Data);
            if status.intersects(Status::AUXILIARY | Status::ERROR) {
                self.journal.note(Event::Foreign);
            } else {
                fetched += 1;
                self.take(byte);
            }
        }
        self.journal.note(if fetched == 0 { Event::Spurious } else { Event::Fetched(fetched) });
        self.input.len() > before
    }

    /// Takes keys, oldest first: bytes in a row become one input, of `limit` bytes at most in all.
    pub fn receive(&mut self, limit: usize) -> Vec<Input> {
        let (mut taken, mut room): (Vec<Input>, usize) = (Vec::new(), limit);
        while let Some(next) = self.input.pop_front() {
            let Some(rest) = room.checked_sub(size(&next)) else {
                self.input.push_front(next);
                break;
            };
            room = rest;
            match (taken.last_mut(), next) {
                (Some(Input::Bytes(all)), Input::Bytes(bytes)) => all.extend(bytes),
                (_, next) => taken.push(next),
            }
        }
        taken
    }

    /// What happened so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    fn take(&mut self, byte: u8) {
        // A keyboard that was plugged in says so, and is silent until it is told to send.
        if byte == SELF_TEST_PASSED && self.presence == Presence::Silence {
            self.presence = set_up_keyboard(&mut self.registers);
            return;
        }
        match self.keys.push(byte) {
            Ok(Some(_)) if self.input.len() == INPUT_KEYS => self.journal.note(Event::Dropped),
            Ok(Some(input)) => self.input.push_back(input),
            Ok(None) => {}
            Err(UnknownCode) => self.journal.note(Event::Unknown),
        }
    }
}

/// Bytes that an input takes in a message.
fn size(input: &Input) -> usize {
    match input {
        Input::Bytes(bytes) => bytes.len() + 2,
        Input::Console(_) | Input::Back | Input::Forward => 2,
    }
}

/// Silences what is behind the controller, then lets the keyboard raise its interrupt. The mouse's
/// clock stays held: its bytes would only be thrown away.
fn set_up_controller(registers: &mut impl Registers) -> Result<Codes, NoController> {
    // Where nothing answers, all bits read as ones.
    if registers.read(Register::StatusOrCommand) == u8::MAX {
        return Err(NoController);
    }
    command(registers, Command::DisableKeyboard)?;
    command(registers, Command::DisableAuxiliary)?;
    throw_away(registers);
    let before = configuration(registers)?;
    let wanted = (before & Configuration::SYSTEM)
        | Configuration::KEYBOARD_INTERRUPT
        | Configuration::AUXILIARY_OFF
        | Configuration::TRANSLATE;
    command(registers, Command::WriteConfiguration)?;
    write_data(registers, wanted.bits())?;
    let translates = configuration(registers)?.contains(Configuration::TRANSLATE);
    command(registers, Command::EnableKeyboard)?;
    Ok(if translates { Codes::Set1 } else { Codes::Set2 })
}

/// Has the keyboard forget what it was told, and send.
fn set_up_keyboard(registers: &mut impl Registers) -> Presence {
    let answers = [SET_DEFAULTS, ENABLE].into_iter().all(|byte| tell(registers, byte));
    if answers { Presence::Keyboard } else { Presence::Silence }
}

/// Sends a byte to the keyboard; whether it was understood.
fn tell(registers: &mut impl Registers, byte: u8) -> bool {
    for _ in 0..ATTEMPTS {
        if write_data(registers, byte).is_err() {
            return false;
        }
        // Keys that were on their way come first, and are lost.
        let mut answers = (0..BYTES_AT_ONCE).map_while(|_| read_data(registers).ok());
        match answers.find(|answer| matches!(*answer, ACKNOWLEDGE | RESEND)) {
            Some(ACKNOWLEDGE) => return true,
            Some(_) => {}
            None => return false,
        }
    }
    false
}

fn configuration(registers: &mut impl Registers) -> Result<Configuration, NoController> {
    command(registers, Command::ReadConfiguration)?;
    read_data(registers).map(Configuration::from_bits_retain)
}

fn command(registers: &mut impl Registers, command: Command) -> Result<(), NoController> {
    wait(registers, |status| !status.contains(Status::INPUT_FULL))?;
    registers.write(Register::StatusOrCommand, command as u8);
    Ok(())
}

fn write_data(registers: &mut impl Registers, byte: u8) -> Result<(), NoController> {
    wait(registers, |status| !status.contains(Status::INPUT_FULL))?;
    registers.write(Register::Data, byte);
    Ok(())
}

fn read_data(registers: &mut impl Registers) -> Result<u8, NoController> {
    wait(registers, |status| status.contains(Status::OUTPUT_FULL))?;
    Ok(registers.read(Register::Data))
}

fn throw_away(registers: &mut impl Registers) {
    for _ in 0..BYTES_AT_ONCE {
        if !status(registers).contains(Status::OUTPUT_FULL) {
            return;
        }
        let _ = registers.read(Register::Data);
    }
}

fn wait(
    registers: &mut impl Registers,
    until: impl Fn(Status) -> bool,
) -> Result<(), NoController> {
    (0..LOOKS).any(|_| until(status(registers))).then_some(()).ok_or(NoController)
}

fn status(registers: &mut impl Registers) -> Status {
    Status::from_bits_retain(registers.read(Register::StatusOrCommand))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use proptest::prelude::*;

    fn device(model: Model) -> Device<Model> {
        Device::new(model, Layout::Us).expect("a controller")
    }

    fn bytes(text: &str) -> Vec<Input> {
        alloc::vec![Input::Bytes(text.as_bytes().to_vec())]
    }

    #[test]
    fn keys_arrive() {
        let mut device = device(Model::default());
        assert_eq!(device.presence(), Presence::Keyboard);
        assert!(device.registers.raises_interrupts());
        for code in [0x23, 0xa3, 0x17, 0x97] {
            device.registers.press(code);
        }
        assert!(device.interrupt());
        assert_eq!(device.receive(100), bytes("hi"));
        assert!(!device.interrupt());
        assert_eq!(device.journal().totals().fetched.get(), 4);
        assert_eq!(device.journal().totals().spurious.get(), 1);
    }

    #[test]
    fn nothing_answers_where_nothing_is() {
        let absent = Model { absent: true, ..Model::default() };
        assert_eq!(Device::new(absent, Layout::Us).err(), Some(NoController));
        let stuck = Model { stuck: true, ..Model::default() };
        assert_eq!(Device::new(stuck, Layout::Us).err(), Some(NoController));
    }

    #[test]
    fn a_keyboard_can_be_plugged_in_later() {
        let mut device = device(Model { unplugged: true, ..Model::default() });
        assert_eq!(device.presence(), Presence::Silence);
        device.registers.unplugged = false;
        device.registers.press(SELF_TEST_PASSED);
        assert!(!device.interrupt());
        assert_eq!(device.presence(), Presence::Keyboard);
        device.registers.press(0x1e);
        device.interrupt();
        assert_eq!(device.receive(100), bytes("a"));
    }

    #[test]
    fn a_controller_that_does_not_translate_sends_set_two() {
        let mut device = device(Model { keeps_translation: false, ..Model::default() });
        device.registers.press(0x1c);
        device.interrupt();
        assert_eq!(device.receive(100), bytes("a"));
    }

    #[test]
    fn bytes_of_a_mouse_are_thrown_away() {
        let mut device = device(Model::default());
        device.registers.move_mouse(0x1e);
        device.registers.press(0x30);
        device.interrupt();
        assert_eq!(device.receive(100), bytes("b"));
        assert_eq!(device.journal().totals().foreign.get(), 1);
    }

    #[test]
    fn keys_that_nobody_reads_are_bounded() {
        let mut device = device(Model::default());
        for _ in 0..INPUT_KEYS + 3 {
            device.registers.press(0x1e);
            device.interrupt();
        }
        assert_eq!(device.journal().totals().dropped.get(), 3);
        let mut read = 0;
        while let [Input::Bytes(bytes)] = &device.receive(90)[..] {
            read += bytes.len();
        }
        assert_eq!(read, INPUT_KEYS);
    }

    #[test]
    fn a_keyboard_that_did_not_understand_is_told_again() {
        let device = device(Model { resends: 2, ..Model::default() });
        assert_eq!(device.presence(), Presence::Keyboard);
        let deaf = Model { resends: 1000, ..Model::default() };
        assert_eq!(
            Device::new(deaf, Layout::Us).map(|device| device.presence()),
            Ok(Presence::Silence)
        );
    }

    proptest! {
        #[test]
        fn it_is_set_up_from_any_state(configuration in any::<u8>(), waiting in prop::collection::vec(any::<u8>(), 0..16)) {
            let mut model = Model { configuration, ..Model::default() };
            waiting.into_iter().for_each(|byte| model.press(byte));
            let mut device = device(model);
            prop_assert!(device.registers.raises_interrupts());
            device.registers.press(0x1e);
            device.interrupt();
            prop_assert_eq!(device.receive(100), bytes("a"));
        }
    }
}
