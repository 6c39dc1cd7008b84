//! Walks through the entry code as the guest runs it, and at each instruction that it comes to for the
//! first time lets happen what can happen at any: a non-maskable interrupt, a machine check, a debug
//! exception, a double fault.
//!
//! After a non-maskable interrupt and a debug exception every register must be what it was. A machine
//! check and a double fault are the end: they are followed to the function that reports them, which must
//! have been handed all registers as they were, with the kernel's GS and page table; then the registers
//! are put back and the guest never knows. Code that only such ends run is tried with non-maskable
//! interrupts alone, and so are the stubs of vectors that the guest does not raise, which are entered
//! from where another one's was.

use std::collections::BTreeSet;
use std::fmt;

use super::code::{EntryCode, Kind};
use super::debugger::{DebugError, Debugger, Register, Registers, Stop};

/// Where local APICs take messages; the first one's.
const MESSAGES: u64 = 0xfee0_0000;
/// The message that is a non-maskable interrupt.
const NMI: u32 = 4 << 8;
/// A machine check on the first processor, by its first bank: valid, uncorrected, enabled.
const MACHINE_CHECK: &str = "mce 0 0 0xb200000000000000 0 0 0";
const DEBUG_VECTOR: u64 = 1;
const DOUBLE_FAULT_VECTOR: u64 = 8;
const MACHINE_CHECK_VECTOR: u64 = 18;
const TRAP_FLAG: u64 = 1 << 8;
const INTERRUPT_FLAG: u64 = 1 << 9;
/// The processor's own memory that an exception was resumed, which it keeps in pushed flags.
const RESUME_FLAG: u64 = 1 << 16;
/// An address at which nothing is, in the kernel's half.
const NOWHERE: u64 = 0xffff_fe00_0000_0000;
/// Instructions from a trap's entry to the function that it leads to, at most.
const LONGEST_WAY: u32 = 100;
/// Vectors whose exceptions have an error code.
const WITH_ERROR_CODE: [u8; 10] = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30];
/// Registers in the order in which the kernel is handed them, by their numbers here: R15 to R8, RDI, RSI,
/// RBP, RBX, RDX, RCX, RAX.
const HANDED: [usize; 15] = [15, 14, 13, 12, 11, 10, 9, 8, 5, 4, 6, 1, 3, 2, 0];

/// What was found, or why nothing more can be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    /// The debugger interface failed.
    #[error(transparent)]
    Debug(#[from] DebugError),
    /// The kernel did.
    #[error("{what} at {routine}+{offset:#x}: {why}")]
    Wrong {
        /// What was let happen.
        what: &'static str,
        /// Where.
        routine: String,
        /// How far into it.
        offset: u64,
        /// What was not as it should be.
        why: String,
    },
}

/// At how many instructions what was let happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) interrupts: usize,
    machine_checks: usize,
    debug_exceptions: usize,
    double_faults: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interrupts, machine_checks, debug_exceptions, double_faults } = self;
        write!(
            f,
            "non-maskable interrupts at {interrupts} instructions, machine checks at {machine_checks}, \
             debug exceptions at {debug_exceptions}, double faults at {double_faults}"
        )
    }
}

/// Whether the kernel's page table is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Entries change it.
    Separate,
    /// They do not.
    Shared,
}

/// A guest under the debugger.
pub(crate) struct Walk<'a> {
    debugger: Debugger,
    code: &'a EntryCode,
    roots: Roots,
    /// Instructions at which everything was tried that can be.
    tried: BTreeSet<u64>,
    breakpoints: BTreeSet<u64>,
    counts: Counts,
    /// The kernel's page-table root, once a system call has shown it.
    kernel_root: Option<u64>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(debugger: Debugger, code: &'a EntryCode, roots: Roots) -> Self {
        Self {
            debugger,
            code,
            roots,
            tried: BTreeSet::new(),
            breakpoints: BTreeSet::new(),
            counts: Counts::default(),
            kernel_root: None,
        }
    }

    /// Goes through the guest's life until every instruction was tried, or the guest ends; then lets it
    /// run on. Returns the instructions that it never came to.
    pub(crate) fn run(mut self) -> Result<(Counts, Vec<u64>), WalkError> {
        self.set_breakpoints()?;
        while !self.breakpoints.is_empty() {
            if self.debugger.run()? == Stop::Ended {
                return Ok((self.counts, self.missing()));
            }
            self.walk()?;
            self.clear_breakpoints()?;
        }
        self.debugger.leave()?;
        Ok((self.counts, Vec::new()))
    }

    /// Instructions that were not tried yet.
    fn missing(&self) -> Vec<u64> {
        // A second one waits for the end of the first, so there is nothing to try in its own code.
        let own = |address: &u64| self.code.routine_of(*address) == "trap_nmi";
        let all = self.code.instructions().keys().copied();
        all.filter(|address| !own(address) && !self.tried.contains(address)).collect()
    }

    /// Where the guest is to stop: where entries begin, and exits.
    fn set_breakpoints(&mut self) -> Result<(), WalkError> {
        let routines = [
            "trap_syscall",
            "trap_return_syscall",
            "trap_return",
            "trap_common",
            "trap_debug",
            "trap_idle",
        ];
        let routines = routines.iter().map(|name| self.code.routine(name));
        let stubs = (0..=u8::MAX).map(|vector| self.code.stub(vector));
        for address in routines.chain(stubs).collect::<Vec<_>>() {
            self.debugger.set_breakpoint(address)?;
            self.breakpoints.insert(address);
        }
        Ok(())
    }

    /// Takes away those that lead to nothing new.
    fn clear_breakpoints(&mut self) -> Result<(), WalkError> {
        let missing: BTreeSet<_> =
            self.missing().iter().map(|address| self.routine_start(*address)).collect();
        let common = self.code.routine("trap_common");
        let behind_common = ["trap_from_kernel", "trap_from_context", "trap_from_stack"];
        let needs_common =
            behind_common.iter().any(|name| missing.contains(&self.code.routine(name)));
        let leads_on = |address: &u64| {
            missing.contains(&self.routine_start(*address)) || needs_common && *address == common
        };
        let useless: Vec<_> =
            self.breakpoints.iter().copied().filter(|address| !leads_on(address)).collect();
        for address in useless {
            self.debugger.clear_breakpoint(address)?;
            self.breakpoints.remove(&address);
        }
        Ok(())
    }

    fn routine_start(&self, address: u64) -> u64 {
        self.code.routine(self.code.routine_of(address))
    }

    /// From a breakpoint to where the entry code ends, or waits.
    fn walk(&mut self) -> Result<(), WalkError> {
        let mut registers = self.debugger.registers()?;
        while let Some(kind) = self.code.kind(registers.rip()) {
            // What comes first only shows where the kernel's page table is.
            if self.roots == Roots::Shared || self.kernel_root.is_some() {
                self.try_everything(&registers, kind)?;
            }
            if kind == Kind::Waits {
                return self.try_behind_wait(&registers);
            }
            let next = self.debugger.step()?;
            if kind == Kind::Calls && self.kernel_root.is_none() {
                self.kernel_root = Some(next.get(Register::CR3));
            }
            registers = next;
        }
        Ok(())
    }

    /// At an instruction that the guest has come to.
    fn try_everything(&mut self, at: &Registers, kind: Kind) -> Result<(), WalkError> {
        if !self.tried.insert(at.rip()) {
            return Ok(());
        }
        self.interrupt(at)?;
        self.check_machine(at)?;
        self.double_fault(at)?;
        // On the stack of a debug exception there is no room for another; flags that are loaded hide it.
        let own_stack = self.code.routine_of(at.rip()) == "trap_debug";
        if !own_stack && matches!(kind, Kind::Plain | Kind::Calls) {
            self.debug(at)?;
        }
        if let Some(vector) = self.code.vector(at.rip()) {
            self.try_other_stubs(at, vector)?;
        }
        Ok(())
    }

    /// What ends the wait is an interrupt, at whose stub there is a breakpoint; one that is not maskable
    /// returns to the instruction behind.
    fn try_behind_wait(&mut self, at: &Registers) -> Result<(), WalkError> {
        if let Some((behind, kind)) = self.code.behind(at.rip()) {
            let woken = at.clone().with(Register::RIP, behind);
            self.debugger.set_registers(&woken)?;
            self.try_everything(&woken, kind)?;
            self.restore("a wait", at)?;
        }
        Ok(())
    }

    /// In code that only an injected exception comes to.
    fn try_interrupt(&mut self, at: &Registers) -> Result<(), WalkError> {
        if self.code.kind(at.rip()).is_some() && self.tried.insert(at.rip()) {
            self.interrupt(at)?;
        }
        Ok(())
    }

    /// A non-maskable interrupt: every register is the same afterwards.
    fn interrupt(&mut self, at: &Registers) -> Result<(), WalkError> {
        const WHAT: &str = "a non-maskable interrupt";
        self.debugger.write_physical(MESSAGES, NMI)?;
        let entered = self.debugger.step()?;
        self.expect(WHAT, at, "its entry", entered.rip(), self.code.routine("trap_nmi"))?;
        self.check_frame(WHAT, at, entered.rsp())?;
        let mut after = entered;
        for _ in 0..LONGEST_WAY {
            after = self.debugger.step()?;
            if self.code.routine_of(after.rip()) != "trap_nmi" {
                break;
            }
        }
        self.expect_same(WHAT, at, &after, at)?;
        self.counts.interrupts += 1;
        Ok(())
    }

    /// A machine check: the report is handed everything.
    fn check_machine(&mut self, at: &Registers) -> Result<(), WalkError> {
        const WHAT: &str = "a machine check";
        self.debugger.command_monitor(MACHINE_CHECK)?;
        let entered = self.debugger.step()?;
        self.expect(WHAT, at, "its entry", entered.rip(), self.code.routine("trap_machine_check"))?;
        self.check_frame(WHAT, at, entered.rsp())?;
        self.follow(WHAT, at, &entered, MACHINE_CHECK_VECTOR)?;
        self.counts.machine_checks += 1;
        Ok(())
    }

    /// A double fault: neither the instruction nor the stack is there.
    fn double_fault(&mut self, at: &Registers) -> Result<(), WalkError> {
        const WHAT: &str = "a double fault";
        let lost = deaf(at).with(Register::RIP, NOWHERE).with(Register::RSP, NOWHERE);
        self.debugger.set_registers(&lost)?;
        let entered = self.debugger.step()?;
        self.expect(WHAT, at, "its entry", entered.rip(), self.code.routine("trap_double_fault"))?;
        // Above its error code.
        self.check_frame(WHAT, &lost, entered.rsp() + 8)?;
        self.follow(WHAT, &lost, &entered, DOUBLE_FAULT_VECTOR)?;
        self.restore(WHAT, at)?;
        self.counts.double_faults += 1;
        Ok(())
    }

    /// From the entry of an exception that is the end to the function that reports it; then back.
    fn follow(
        &mut self,
        what: &'static str,
        at: &Registers,
        entered: &Registers,
        vector: u64,
    ) -> Result<(), WalkError> {
        let mut registers = entered.clone();
        for _ in 0..LONGEST_WAY {
            if self.code.kind(registers.rip()).is_none() {
                break;
            }
            self.try_interrupt(&registers)?;
            registers = self.debugger.step()?;
        }
        let handed = self.debugger.words(registers.get(Register::RDI), HANDED.len() + 2)?;
        for (word, number) in handed.iter().zip(HANDED) {
            self.expect(what, at, "a register", *word, at.get(Register::general(number)))?;
        }
        let [.., told, error] = handed[..] else { return Ok(()) };
        self.expect(what, at, "its vector", told, vector)?;
        self.expect(what, at, "its error code", error, 0)?;
        self.expect(what, at, "the stack's alignment", registers.rsp() % 16, 8)?;
        let kernel_gs = registers.get(Register::GS_BASE) >> 63;
        self.expect(what, at, "GS as the kernel's", kernel_gs, 1)?;
        let root = match self.roots {
            Roots::Shared => at.get(Register::CR3),
            Roots::Separate => self.kernel_root.unwrap_or(0),
        };
        self.expect(what, at, "the page table", registers.get(Register::CR3), root)?;
        self.restore(what, at)
    }

    /// A debug exception after the instruction: every register is as without it.
    fn debug(&mut self, at: &Registers) -> Result<(), WalkError> {
        const WHAT: &str = "a debug exception";
        let deaf = deaf(at);
        self.restore(WHAT, &deaf)?;
        let without = self.debugger.step()?;
        let flags = deaf.get(Register::FLAGS) | TRAP_FLAG;
        self.debugger.set_registers(&deaf.with(Register::FLAGS, flags))?;
        let mut registers = self.debugger.step()?;
        self.expect(WHAT, at, "its entry", registers.rip(), self.code.routine("trap_debug"))?;
        let trapped =
            without.clone().with(Register::FLAGS, without.get(Register::FLAGS) | TRAP_FLAG);
        self.check_frame(WHAT, &trapped, registers.rsp())?;
        // The flag is ours: it ends here.
        self.debugger.set_word(registers.rsp() + 16, without.get(Register::FLAGS))?;
        for _ in 0..LONGEST_WAY {
            self.try_interrupt(&registers)?;
            registers = self.debugger.step()?;
            if registers.rip() == without.rip() {
                break;
            }
        }
        self.expect_same(WHAT, at, &registers, &without)?;
        self.restore(WHAT, at)?;
        self.counts.debug_exceptions += 1;
        Ok(())
    }

    /// From the stub of one vector, with a frame as the processor pushed it, to every other's.
    fn try_other_stubs(&mut self, at: &Registers, from: u8) -> Result<(), WalkError> {
        if WITH_ERROR_CODE.contains(&from) || u64::from(from) == DEBUG_VECTOR {
            return Ok(());
        }
        for vector in 0..=u8::MAX {
            let stub = self.code.stub(vector);
            if self.tried.contains(&stub) {
                continue;
            }
            let below = if WITH_ERROR_CODE.contains(&vector) { 8 } else { 0 };
            let rsp = at.rsp() - below;
            let start = at.clone().with(Register::RIP, stub).with(Register::RSP, rsp);
            self.debugger.set_registers(&start)?;
            let mut registers = start;
            while self.code.routine_of(registers.rip()) == "trap_stubs" {
                self.try_interrupt(&registers)?;
                registers = self.debugger.step()?;
            }
            let told = self.debugger.words(registers.rsp(), 1)?;
            let what = "a stub";
            self.expect(what, at, "its vector", told[0] & 0xff, u64::from(vector))?;
            self.expect(what, at, "bytes pushed", at.rsp() - registers.rsp(), 16)?;
        }
        self.restore("a stub", at)
    }

    fn restore(&mut self, what: &'static str, registers: &Registers) -> Result<(), WalkError> {
        self.debugger.set_registers(registers)?;
        let now = self.debugger.registers()?;
        self.expect_same(what, registers, &now, registers)
    }

    /// What the processor pushed is where it was interrupted.
    fn check_frame(
        &mut self,
        what: &'static str,
        at: &Registers,
        rsp: u64,
    ) -> Result<(), WalkError> {
        let frame = self.debugger.words(rsp, 5)?;
        let [rip, cs, flags, old_rsp, ss] = frame[..] else { return Ok(()) };
        let is = |register| at.get(register);
        self.expect(what, at, "the instruction pushed", rip, is(Register::RIP))?;
        self.expect(what, at, "the code segment pushed", cs, is(Register::CS))?;
        let flags = flags & !RESUME_FLAG;
        self.expect(what, at, "the flags pushed", flags, is(Register::FLAGS) & !RESUME_FLAG)?;
        self.expect(what, at, "the stack pushed", old_rsp, is(Register::RSP))?;
        self.expect(what, at, "the stack segment pushed", ss, is(Register::SS))?;
        let own_stack = rsp.abs_diff(is(Register::RSP)) > 64;
        self.expect(what, at, "a stack of its own", u64::from(own_stack), 1)
    }

    fn expect(
        &self,
        what: &'static str,
        at: &Registers,
        name: &str,
        found: u64,
        expected: u64,
    ) -> Result<(), WalkError> {
        if found == expected {
            return Ok(());
        }
        Err(self.wrong(what, at, format!("{name} is {found:#x}, not {expected:#x}")))
    }

    fn expect_same(
        &self,
        what: &'static str,
        at: &Registers,
        found: &Registers,
        expected: &Registers,
    ) -> Result<(), WalkError> {
        if found == expected {
            return Ok(());
        }
        let differences = expected.differences(found);
        let why = format!(
            "registers at {differences:?} differ, RIP is {:#x}, not {:#x}",
            found.rip(),
            expected.rip()
        );
        Err(self.wrong(what, at, why))
    }

    fn wrong(&self, what: &'static str, at: &Registers, why: String) -> WalkError {
        let routine = self.code.routine_of(at.rip()).to_owned();
        let offset = at.rip().wrapping_sub(self.code.routine(&routine));
        WalkError::Wrong { what, routine, offset, why }
    }
}

/// The same without interrupts: where the kernel lets them come, one could come instead of what is tried,
/// and would be lost when the registers are put back.
fn deaf(at: &Registers) -> Registers {
    at.clone().with(Register::FLAGS, at.get(Register::FLAGS) & !INTERRUPT_FLAG)
}
