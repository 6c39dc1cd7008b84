//! The core's own interrupt controller (Intel SDM volume 3, chapter 12): interrupts to itself,
//! acknowledgement, and the timer.

use crate::calibration::{CalibrationError, Clocks, Reference, measure};
use crate::instructions::{memory_fence, read_msr, time_stamp, write_msr};
use crate::processor::msr;

/// CPU vector of the kernel's timer.
pub(crate) const TIMER_VECTOR: u8 = 157;
/// CPU vector of interrupts that went away while they were delivered.
pub(crate) const SPURIOUS_VECTOR: u8 = 255;

/// Registers, by their offset.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Register {
    Id = 0x20,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    Spurious = 0xf0,
    Requested = 0x200,
    ErrorVector = 0x370,
    Command = 0x300,
    CommandTarget = 0x310,
    TimerVector = 0x320,
    Line0 = 0x350,
    Line1 = 0x360,
    InitialCount = 0x380,
    CurrentCount = 0x390,
    Divide = 0x3e0,
}

/// Of the register that says where the controller is: it is used by model-specific registers.
const X2APIC: u64 = 1 << 10;
const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;
const NMI: u32 = 4 << 8;
const DEADLINE_MODE: u32 = 2 << 17;
const ASSERT: u32 = 1 << 14;
const INITIALISE: u32 = 5 << 8 | ASSERT;
const START: u32 = 6 << 8 | ASSERT;
/// The last command is still being delivered.
const DELIVERING: u32 = 1 << 12;
/// Readings after which a command that is not delivered is given up.
const DELIVERY_PATIENCE: u32 = 100_000;
const DIVIDE_BY_1: u32 = 0xb;
/// No deadline.
const NEVER: u64 = u64::MAX;

/// How the registers are reached.
#[derive(Clone, Copy)]
enum Access {
    /// In memory, at this mapped address.
    Memory(u64),
    /// As model-specific registers: firmware left the controller in x2APIC mode.
    Msr,
}

/// How the timer is programmed.
#[derive(Clone, Copy)]
enum Timer {
    /// With the time stamp counter's value at which to fire.
    Deadline,
    /// With a count; ticks of the timer per 2^32 ticks of the time stamp counter: zero before that is
    /// measured.
    Count(u64),
}

/// The local APIC. A copy serves another core, once that has enabled its own.
#[derive(Clone, Copy)]
pub(crate) struct LocalApic {
    /// Where the registers are, physically.
    physical: u64,
    access: Access,
    timer: Timer,
    /// When the timer is to fire.
    deadline: u64,
    /// When it will fire: not after the deadline, but maybe before. Deadlines mostly move on, so the
    /// interrupt that comes too early is cheaper than programming each of them.
    programmed: u64,
}

impl LocalApic {
    /// The boot core's controller, in the mode that firmware left it in.
    ///
    /// # Safety
    /// `mapped` is an uncached mapping of `physical`, where the controller's registers are, for
    /// good, or the controller is in x2APIC mode.
    pub(crate) unsafe fn find(physical: u64, mapped: u64) -> Self {
        // SAFETY: CPUID named a local APIC, so the register exists.
        let base = unsafe { read_msr(msr::APIC_BASE) };
        let access = if base & X2APIC != 0 { Access::Msr } else { Access::Memory(mapped) };
        Self { physical, access, timer: Timer::Count(0), deadline: NEVER, programmed: NEVER }
    }

    /// Enables this core's controller, everything masked but NMI on line 1 and the timer.
    pub(crate) fn enable(&mut self) {
        const GLOBAL_ENABLE: u64 = 1 << 11;
        const BOOT_CORE: u64 = 1 << 8;
        // SAFETY: CPUID named a local APIC, so the register exists.
        let base = unsafe { read_msr(msr::APIC_BASE) };
        let mode = if matches!(self.access, Access::Msr) { X2APIC } else { 0 };
        let base = self.physical | GLOBAL_ENABLE | mode | base & BOOT_CORE;
        // SAFETY: the address is that of ACPI's table, the mode the boot core's, whose processor is
        // like this one.
        unsafe { write_msr(msr::APIC_BASE, base) };
        (self.deadline, self.programmed) = (NEVER, NEVER);
        self.write(Register::TaskPriority, 0);
        // While it is disabled every line is masked, and stays so; but emulators leave out that step.
        self.write(Register::Spurious, SPURIOUS_VECTOR.into());
        for vector in [Register::TimerVector, Register::Line0, Register::ErrorVector] {
            self.write(vector, MASKED);
        }
        self.write(Register::Line1, NMI);
        self.write(Register::Spurious, ENABLED | u32::from(SPURIOUS_VECTOR));
        self.arm_timer();
    }

    /// Starts the timer: by deadlines where the processor has them, else by counts, whose rate is
    /// measured.
    pub(crate) fn start_timer(&mut self, has_deadline: bool) -> Result<(), CalibrationError> {
        self.timer = Timer::Deadline;
        if !has_deadline {
            self.write(Register::Divide, DIVIDE_BY_1);
            self.write(Register::InitialCount, u32::MAX);
            self.timer = Timer::Count(self.measure_timer()?);
        }
        self.arm_timer();
        Ok(())
    }

    fn arm_timer(&self) {
        match self.timer {
            Timer::Deadline => {
                self.write(Register::TimerVector, DEADLINE_MODE | u32::from(TIMER_VECTOR));
            }
            Timer::Count(_) => {
                self.write(Register::Divide, DIVIDE_BY_1);
                self.write(Register::InitialCount, 0);
                self.write(Register::TimerVector, u32::from(TIMER_VECTOR));
            }
        }
    }

    fn measure_timer(&mut self) -> Result<u64, CalibrationError> {
        // Taking the timer's unknown rate for 10^9 gives counter ticks per 10^9 of its own.
        const UNIT: u64 = 1_000_000_000;
        let reference = Reference { hertz: UNIT, mask: u32::MAX.into() };
        let counter_ticks = measure(self, reference)?.hertz().max(1);
        Ok(u64::try_from((u128::from(UNIT) << 32) / u128::from(counter_ticks)).unwrap_or(u64::MAX))
    }

    /// Fires the timer's vector once `deadline` has passed.
    #[inline]
    pub(crate) fn set_deadline(&mut self, deadline: u64) {
        self.deadline = deadline;
        if deadline < self.programmed {
            self.program(deadline);
        }
    }

    /// The timer's vector arrived. Whether the deadline has really passed; else it is programmed.
    pub(crate) fn timer_fired(&mut self) -> bool {
        self.programmed = NEVER;
        if time_stamp() >= self.deadline {
            return true;
        }
        self.set_deadline(self.deadline);
        false
    }

    fn program(&mut self, deadline: u64) {
        self.programmed = deadline;
        match self.timer {
            // SAFETY: CPUID named the mode; zero would disarm, so the least is one.
            Timer::Deadline => unsafe { write_msr(msr::TSC_DEADLINE, deadline.max(1)) },
            Timer::Count(rate) => {
                let ticks = deadline.saturating_sub(time_stamp());
                let count = ((u128::from(ticks) * u128::from(rate)) >> 32) + 1;
                self.write(Register::InitialCount, u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
    }

    /// The controller's number, for interrupts to be aimed at.
    pub(crate) fn id(&self) -> u32 {
        let id = self.read(Register::Id, 0);
        if matches!(self.access, Access::Msr) { id } else { id >> 24 }
    }

    /// Lets further interrupts of the current one's priority and below through.
    #[inline]
    pub(crate) fn end_of_interrupt(&self) {
        self.write(Register::EndOfInterrupt, 0);
    }

    /// Whether any interrupt waits. Not inlined, so that benchmarks find in the kernel where it asks.
    #[inline(never)]
    pub(crate) fn interrupt_requested(&self) -> bool {
        // Vectors below 32 are exceptions: the first of the eight words is always zero.
        (1..8).any(|word| self.read(Register::Requested, word) != 0)
    }

    /// Sends an interrupt to the core with this controller. What this core wrote before is seen by
    /// the other's handler.
    pub(crate) fn send(&self, target: u32, vector: u8) {
        self.command(target, ASSERT | u32::from(vector));
    }

    /// Stops another core: it waits to be started.
    pub(crate) fn send_init(&self, target: u32) {
        self.command(target, INITIALISE);
    }

    /// Starts another core that waits for it, in real mode at page `page` of the first MiB; one
    /// that does not wait ignores it.
    pub(crate) fn send_start(&self, target: u32, page: u8) {
        self.command(target, START | u32::from(page));
    }

    fn command(&self, target: u32, command: u32) {
        if matches!(self.access, Access::Msr) {
            let value = u64::from(target) << 32 | u64::from(command);
            // Unlike a write to memory, the register is not ordered after earlier ones.
            memory_fence();
            // SAFETY: the register exists in x2APIC mode.
            unsafe { write_msr(x2apic_register(Register::Command as u64), value) };
            return;
        }
        let delivering = |_: &u32| self.read(Register::Command, 0) & DELIVERING != 0;
        (0..DELIVERY_PATIENCE).take_while(delivering).for_each(|_| core::hint::spin_loop());
        self.write(Register::CommandTarget, target << 24);
        self.write(Register::Command, command);
    }

    #[inline]
    fn read(&self, register: Register, index: u64) -> u32 {
        let offset = register as u64 + index * 16;
        match self.access {
            Access::Memory(base) => {
                let place = (base + offset) as *const u32;
                // SAFETY: `enable`'s caller vouched for the mapping.
                unsafe { place.read_volatile() }
            }
            Access::Msr => {
                // SAFETY: x2APIC mode has a register for each of the offsets.
                let value = unsafe { read_msr(x2apic_register(offset)) };
                (value & 0xffff_ffff) as u32
            }
        }
    }

    #[inline]
    fn write(&self, register: Register, value: u32) {
        let offset = register as u64;
        match self.access {
            Access::Memory(base) => {
                let place = (base + offset) as *mut u32;
                // SAFETY: `enable`'s caller vouched for the mapping.
                unsafe { place.write_volatile(value) };
            }
            // SAFETY: x2APIC mode has a register for each of the offsets.
            Access::Msr => unsafe { write_msr(x2apic_register(offset), value.into()) },
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "offsets are below 4,096")]
fn x2apic_register(offset: u64) -> u32 {
    msr::X2APIC_FIRST + (offset >> 4) as u32
}

/// The time stamp counter against the timer.
impl Clocks for LocalApic {
    fn counter(&mut self) -> u64 {
        time_stamp()
    }

    fn reference(&mut self) -> u64 {
        (!self.read(Register::CurrentCount, 0)).into()
    }
}
