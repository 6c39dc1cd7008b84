//! Devices: what core 0's init does with what it is told of them, and what follows for the programs.

use alloc::string::String;

use init::acpi::Inputs;
use init::devices::{Missing, Readiness, Told, boot_screen, screen_device};
use init::grants::DEVICES;
use init::service::is_gone;
use init::supervise::{Program, ProgramNumber};
use libd3os::call::Caller;
use libd3os::image::{BootDevice, StartPolicy};
use libd3os::service::Page;
use libd3os::service::devices::{
    BootFacts, Devices, DevicesError, Provided, ProvidedInterrupt, WantedDevice, Wiring,
};
use libd3os::service::log::Level;
use libd3os::service::supervisor::{ProgramState, RunMode, StartFailure};
use libd3os::start::layout::PAGE_SIZE;

use super::held::NotTaken;
use super::serve::program_of;
use super::system::System;

impl Devices for System {
    fn wanted(&mut self, _: Caller, from: u32) -> Result<Page<WantedDevice>, DevicesError> {
        let wanted = self.site.held.devices.wanted(|driver| self.name(driver));
        Ok(Page::fill(from, wanted))
    }

    fn map(&mut self, caller: Caller, place: u16, paddr: u64) -> Result<(), DevicesError> {
        if !paddr.is_multiple_of(PAGE_SIZE) {
            return Err(DevicesError::NotPages { paddr, bytes: PAGE_SIZE });
        }
        if self.site.platform.machine.pool.contains(&paddr) {
            return Err(DevicesError::SharedPool(paddr));
        }
        let program = program_of(caller).and_then(|n| self.site.programs.get(n.index()));
        let Some(program) = program else { return Err(DevicesError::Refused) };
        let memory = &mut self.site.platform.memory;
        let shown = self.site.held.show(place, paddr, program, memory);
        shown.map_err(|not_taken| self.told(not_taken))
    }

    fn boot(&mut self, caller: Caller) -> Result<BootFacts, DevicesError> {
        let run = program_of(caller).and_then(|number| self.runs.get(number.index()));
        let machine = &self.site.platform.machine;
        Ok(BootFacts {
            rsdp: machine.rsdp.clone(),
            screen: boot_screen(&machine.framebuffer),
            first_start: run.is_some_and(|run| run.serial <= 1),
        })
    }

    fn provide(
        &mut self,
        _: Caller,
        name: String,
        provided: Provided,
    ) -> Result<Wiring, DevicesError> {
        let index = match self.site.held.devices.check(&name, &provided)? {
            Told::Known(index) => index,
            Told::New(index) => self.take_device(index, provided)?,
        };
        self.wiring(index)
    }

    fn ready(&mut self, _: Caller, name: String) -> Result<(), DevicesError> {
        let index = self.site.held.devices.ready(&name)?;
        self.reconsider(index);
        Ok(())
    }

    fn absent(&mut self, _: Caller, name: String, reason: String) -> Result<(), DevicesError> {
        let (index, missing) = self.site.held.devices.absent(&name)?;
        self.note(Level::Debug, format_args!("device {name}: {reason}"));
        self.settle(index, missing);
        Ok(())
    }

    fn sleep_types(&mut self, _: Caller, a: u8, b: u8) -> Result<(), DevicesError> {
        self.site.platform.sleep_types = Some((a, b));
        Ok(())
    }
}

impl System {
    /// Whether a program may be started: its devices are there, and it is its turn.
    pub(super) fn readiness(&self, number: ProgramNumber) -> Readiness {
        if self.later.contains(&number) {
            return Readiness::Waits;
        }
        self.site.held.devices.readiness(number, self.start_policy(number))
    }

    /// A program cannot run on this machine.
    pub(super) fn lacks(&mut self, number: ProgramNumber, device: String) {
        let actions = self.supervisor.withdraw(number, StartFailure::NoDevice(device));
        self.carry_out(actions);
    }

    /// Starts one of the programs that were not to be started before the prompt.
    pub(super) fn start_later(&mut self) {
        if let Some(number) = self.later.pop_front() {
            let start = self.supervisor.release(number);
            self.carry_out(start.into_iter().collect());
        }
    }

    /// Answers those who wait for the system to be complete, if it is.
    pub(super) fn tell_settled(&mut self) {
        if !self.settling.is_empty() && self.is_settled() {
            self.settling.drain(..).for_each(|later| later.answer(&Ok(())));
        }
    }

    /// Whether no program waits for its turn or for its devices to be found.
    fn is_settled(&self) -> bool {
        let waits = |number| {
            self.state_of(number) == ProgramState::BackingOff
                && matches!(self.readiness(number), Readiness::Waits)
        };
        self.booted && !self.supervisor.programs().any(|(number, _)| waits(number))
    }

    /// Where no program of the image finds devices, what the boot loader left is all that there is.
    pub(super) fn settle_without_finder(&mut self) {
        if self.finder().is_none() {
            self.abandon_devices();
        }
    }

    /// Settles the devices that nobody will find or reset any more.
    pub(super) fn tend_devices(&mut self) {
        if self.waits_in_vain_for_devices() {
            self.abandon_devices();
        }
    }

    /// Whether devices are not settled, and the program that would do that is gone for good.
    pub(super) fn waits_in_vain_for_devices(&self) -> bool {
        self.booted
            && self.later.is_empty()
            && self.site.held.devices.has_open()
            && self.finder().is_none_or(|finder| is_gone(self.state_of(finder)))
    }

    /// A program has ended and does not use its devices any more.
    pub(super) fn devices_ended(&mut self, number: ProgramNumber) {
        if self.finder() == Some(number)
            && let Err(refused) = self.site.held.close_window()
        {
            self.note(Level::Error, format_args!("{refused}"));
        }
        let (windows, memory) = (&mut self.site.held.persistent, &mut self.site.platform.memory);
        if let Err(refused) = windows.close(number, &self.site.programs, memory) {
            self.note(Level::Error, format_args!("{refused}"));
        }
        if self.site.held.devices.ended(number) > 0
            && let Some(device_ended) = self.device_ended
        {
            device_ended.signal();
        }
    }

    /// The program that tells what the devices are.
    fn finder(&self) -> Option<ProgramNumber> {
        let mut programs = self.site.manifest.programs.iter();
        let index = programs.position(|spec| spec.calls.iter().any(|name| name == DEVICES))?;
        ProgramNumber::from_index(index)
    }

    fn start_policy(&self, number: ProgramNumber) -> StartPolicy {
        let spec = self.site.manifest.programs.get(number.index());
        spec.map_or(StartPolicy::Manual, |spec| spec.start)
    }

    fn abandon_devices(&mut self) {
        for (index, missing) in self.site.held.devices.abandon() {
            self.settle(index, missing);
        }
    }

    /// A device is absent, unless the boot loader left something that it is.
    fn settle(&mut self, index: usize, missing: Missing) {
        if let Missing::AskBootLoader(index, BootDevice::Framebuffer) = missing {
            self.take_boot_screen(index);
        }
        self.reconsider(index);
    }

    fn take_boot_screen(&mut self, index: usize) {
        let screen = boot_screen(&self.site.platform.machine.framebuffer);
        let Some(provided) = screen.map(screen_device) else { return };
        let name = self.site.held.devices.name(index);
        let checked = self.site.held.devices.check(name, &provided);
        let taken = checked.and_then(|_| self.take_device(index, provided.clone()));
        match taken {
            Ok(_) => self.site.held.devices.hold_from_boot(index, provided),
            Err(error) => {
                self.note(Level::Warn, format_args!("the boot loader's screen: {error}"));
            }
        }
    }

    /// Takes what a device is made of, and holds it. What cannot be taken is absent.
    fn take_device(&mut self, index: usize, provided: Provided) -> Result<usize, DevicesError> {
        let inputs = match provided.interrupt {
            ProvidedInterrupt::Pin { .. } => self.site.platform.inputs(),
            _ => Inputs::default(),
        };
        let memory = &mut self.site.platform.memory;
        let held = &mut self.site.held;
        let taken = held.take(index, &provided, &inputs, memory).and_then(|()| {
            held.devices.hold(index, provided);
            held.equip(index, memory)
        });
        taken.map(|()| index).map_err(|not_taken| {
            let name = self.site.held.devices.name(index);
            let name = String::from(name);
            // It is held at most: its program cannot run yet.
            let _ = self.site.held.devices.absent(&name);
            self.told(not_taken)
        })
    }

    /// How a device that is held is to be wired.
    fn wiring(&mut self, index: usize) -> Result<Wiring, DevicesError> {
        let held = &mut self.site.held;
        let message = held.message(index, self.site.platform.machine.apic_id);
        let wants_message = held.devices.interrupt(index) == ProvidedInterrupt::Message;
        if wants_message && message.is_none() {
            return Err(DevicesError::Refused);
        }
        let driver = held.devices.driver(index).and_then(|n| self.site.programs.get(n.index()));
        let uses = driver.map_or(&[][..], |program| &program.draft.shared);
        let made = held.make_regions(uses, &mut self.site.platform.memory);
        let wiring = Wiring { message, dma: held.dma(uses) };
        match made {
            Ok(()) => Ok(wiring),
            Err(refused) => Err(self.told(refused.into())),
        }
    }

    /// What the caller is told; what it cannot know goes into the log.
    fn told(&mut self, not_taken: NotTaken) -> DevicesError {
        match not_taken {
            NotTaken::Wrong(error) => error,
            NotTaken::Refused(refused) => {
                self.note(Level::Error, format_args!("{refused}"));
                DevicesError::Refused
            }
        }
    }

    /// A device was settled: starts the programs that waited for nothing else.
    fn reconsider(&mut self, index: usize) {
        for number in self.site.held.devices.waiting_for(index) {
            self.reconsider_program(number);
        }
    }

    fn reconsider_program(&mut self, number: ProgramNumber) {
        match self.readiness(number) {
            Readiness::Ready if self.was_withdrawn(number) => self.start_after_all(number),
            Readiness::Ready | Readiness::Lacks(_) => {
                let start = self.supervisor.release(number);
                self.carry_out(start.into_iter().collect());
            }
            Readiness::Waits => {}
        }
    }

    /// Whether a program was not started because the machine lacked one of its devices.
    fn was_withdrawn(&self, number: ProgramNumber) -> bool {
        let failure = self.supervisor.program(number).and_then(Program::start_failure);
        matches!(failure, Some(StartFailure::NoDevice(_)))
    }

    fn start_after_all(&mut self, number: ProgramNumber) {
        let (name, session) = (self.name(number), self.session_of(number));
        let started = self.spawn(&name, alloc::vec![], RunMode::Background, None, session);
        if let Err(error) = started {
            self.note(Level::Warn, format_args!("{error}"));
        }
    }
}
