//! The supervisor: which programs run and how they are doing. Served by `init`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Page;
use crate::memory::MemoryError;
use crate::start::{GrantKind, StartInfoError};

/// Starts, watches and ends programs, and tells what they hold.
///
/// Init serves it: if it ever stopped, so would the system, hence no caller sees `Restarted`.
#[crate::service(name = "supervisor", version = 7)]
pub trait Supervisor {
    /// Init's threads, then the programs of the image, and the state of each, from the `from`-th
    /// on.
    #[retryable]
    fn programs(from: u32) -> Result<Page<ProgramStatus>, SupervisorError>;

    /// Starts a program of the image on this core, else on the one that its manifest entry names.
    /// In the foreground it is the one that ^C ends. A program on another core is started after
    /// the answer; that it could not be made is told to who waits for its end.
    fn spawn(
        name: String,
        args: Vec<String>,
        mode: RunMode,
        core: Option<u32>,
    ) -> Result<ProgramId, SupervisorError>;

    /// Waits until a program has ended, and tells how. Answers at once if it has already.
    #[deferred]
    fn wait(id: ProgramId) -> Result<Exit, SupervisorError>;

    /// Ends a program, now or when it has noted some more events in its trace. Its manifest entry
    /// decides whether it is started again.
    fn kill(name: String, moment: Moment) -> Result<(), SupervisorError>;

    /// Ends the caller, with this exit code; 0 is success. There is no answer.
    #[deferred]
    fn exit(code: i32) -> Result<(), SupervisorError>;

    /// Answers when every program that starts by itself has been started, or was found to be for
    /// hardware that the machine does not have.
    #[deferred]
    fn settled() -> Result<(), SupervisorError>;

    /// How often each program of the image has ended, from the `from`-th on. They come in the order
    /// of the image, in which callers' badges count from 1. Whoever waits for the notification
    /// `program-ended` asks this to learn whose calls it need not answer any more.
    #[retryable]
    fn ends(from: u32) -> Result<Page<u32>, SupervisorError>;

    /// How a program ended last; nothing where it never has.
    #[retryable]
    fn last_exit(name: String) -> Result<Option<Exit>, SupervisorError>;

    /// What a program holds in its capability space, from the `from`-th on.
    #[retryable]
    fn capabilities(name: String, from: u32) -> Result<Page<CapabilityInfo>, SupervisorError>;

    /// Memory of each core, from the `from`-th on.
    #[retryable]
    fn memory(from: u32) -> Result<Page<MemoryReport>, SupervisorError>;

    /// What core 0's init holds for all programs, counted exactly, from the `from`-th on: the same
    /// before a program's end and after its restart, or something was lost.
    #[retryable]
    fn holdings(from: u32) -> Result<Page<Holding>, SupervisorError>;

    /// Services of the image and the programs behind them, from the `from`-th on.
    #[retryable]
    fn services(from: u32) -> Result<Page<ServiceStatus>, SupervisorError>;

    /// The machine's cores, from the `from`-th on.
    #[retryable]
    fn cores(from: u32) -> Result<Page<CoreStatus>, SupervisorError>;

    /// Stops a core at once, and with it every program that runs there.
    fn stop_core(core: u32) -> Result<(), SupervisorError>;

    /// Stops a core and starts it anew; answers when it is up. Programs that ran there are started
    /// again where their manifest entries say so.
    #[deferred]
    fn restart_core(core: u32) -> Result<(), SupervisorError>;

    /// The system as a whole.
    #[retryable]
    fn system() -> Result<SystemInfo, SupervisorError>;

    /// Switches the machine off. Under an emulator with an exit port, `status` goes there.
    fn power_off(status: u8) -> Result<(), SupervisorError>;

    /// Starts the machine again.
    fn reboot() -> Result<(), SupervisorError>;
}

/// A run of a program. Ids are not reused while the system is up; a restarted program keeps its
/// id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProgramId(pub u32);

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who ^C is for while a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMode {
    /// For the program: it ends it.
    Foreground,
    /// Not for the program.
    Background,
}

/// When a program is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// At once.
    Now,
    /// At the last of so many more events of its trace, and at least one: in the middle of whatever the
    /// program does there. A program that keeps no trace goes on.
    AfterEvents(u32),
}

/// How a program is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProgramState {
    /// Being created.
    Starting,
    /// Running, or waiting for something.
    Running,
    /// Stopped by a fault and about to be cleared away.
    Faulted,
    /// Not running: never started, or ended.
    Stopped,
    /// Ended; it will be started again after a pause.
    BackingOff,
    /// Ended too often within a short time; it is not started again.
    GivenUp,
}

impl fmt::Display for ProgramState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Faulted => "faulted",
            Self::Stopped => "stopped",
            Self::BackingOff => "backing off",
            Self::GivenUp => "given up",
        })
    }
}

/// A program and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// Its run's id.
    pub id: ProgramId,
    /// Its name in the manifest.
    pub name: String,
    /// Its thread's name.
    pub thread: String,
    /// Core it runs on.
    pub core: u32,
    /// Session that it belongs to: the terminal at which it was started, 0 being the serial line.
    pub session: u8,
    /// Priority.
    pub priority: u8,
    /// Processor time per period, in microseconds; 0 with a period of 0 where the kernel set them.
    pub budget_us: u64,
    /// Period, in microseconds.
    pub period_us: u64,
    /// Processor time used, in microseconds, over all of its restarts.
    pub cpu_us: u64,
    /// How it is doing.
    pub state: ProgramState,
    /// Times it was started again.
    pub restarts: u32,
    /// Microseconds since it was last started; 0 while it does not run.
    pub uptime_us: u64,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// Somebody killed it.
    Killed,
    /// Somebody had it killed at the event of its trace with this number.
    KilledAt(u64),
    /// It did not answer for so many microseconds whether it is alive.
    Unresponsive(u64),
    /// ^C ended it.
    Interrupted,
    /// It did something that it may not.
    Faulted(FaultReport),
    /// It could not even be made.
    NotStarted(StartFailure),
    /// The core that it ran on was stopped.
    CoreStopped(u32),
}

/// Why a program could not be made. Memory for a run on the core that its manifest entry names is
/// set aside when the machine starts; on another core it may lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFailure {
    /// Its arguments do not go into its start information.
    StartInfo(StartInfoError),
    /// Init itself is not up far enough to fill a program's memory.
    TooEarly,
    /// It cannot take part in rings, without which it does not reach other cores.
    Rings(RingShortage),
    /// It signals, or waits to be signalled by, a program on another core, or uses hardware that
    /// only core 0 has.
    BoundToCore {
        /// The kind of the grant, as the manifest's word.
        kind: GrantKind,
        /// What it is about.
        name: String,
    },
    /// It runs only with all of its devices, and this machine lacks one.
    NoDevice(String),
    /// The kernel refused something that it should not.
    Refused {
        /// What init was doing.
        step: String,
        /// What went wrong.
        error: MemoryError,
    },
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartInfo(error) => error.fmt(f),
            Self::TooEarly => f.write_str("init has not come up yet"),
            Self::Rings(shortage) => shortage.fmt(f),
            Self::BoundToCore { kind, name } => {
                write!(f, "`{kind}` `{name}` ties it to another core")
            }
            Self::NoDevice(name) => write!(f, "this machine has no `{name}`"),
            Self::Refused { step, error } => write!(f, "{step}: {error}"),
        }
    }
}

/// Why a program cannot take part in rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RingShortage {
    /// All signal lines of its core are taken.
    Lines,
    /// The ring window of a program is full: its own, or that of a server.
    Places,
    /// The pool has no memory left.
    Pool,
}

impl fmt::Display for RingShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "all signal lines of its core are taken",
            Self::Places => "a ring window is full",
            Self::Pool => "the shared pool has no memory left",
        })
    }
}

impl core::error::Error for RingShortage {}

/// What a program did that it may not, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// The program.
    pub program: String,
    /// What it did.
    pub kind: FaultKind,
    /// The address (or, for a bad capability, the slot) that it used.
    pub address: u64,
    /// Address of the instruction.
    pub ip: u64,
    /// Function and offset of that address, if the program's symbols tell.
    pub symbol: Option<String>,
    /// More about it, for a person to read.
    pub detail: String,
}

/// What a program did that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultKind {
    /// Used memory in the first page.
    NullDereference,
    /// Used memory where it has none.
    BadAddress,
    /// Executed where it has no memory.
    BadJump,
    /// Wrote to memory that it may only read.
    ReadOnlyWrite,
    /// Used the guard page below its stack.
    StackOverflow,
    /// Divided by zero, or the quotient did not fit.
    DivideError,
    /// Executed an instruction that does not exist or that it may not execute.
    IllegalInstruction,
    /// Raised another processor exception, with this number.
    Exception(u8),
    /// Used a capability that it does not hold.
    BadCapability,
    /// Made a system call that does not exist.
    UnknownSyscall,
    /// Used up its budget while someone asked to be told.
    Timeout,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NullDereference => f.pad("null dereference"),
            Self::BadAddress => f.pad("access to unmapped memory"),
            Self::BadJump => f.pad("jump to unmapped memory"),
            Self::ReadOnlyWrite => f.pad("write to read-only memory"),
            Self::StackOverflow => f.pad("stack overflow"),
            Self::DivideError => f.pad("division error"),
            Self::IllegalInstruction => f.pad("illegal instruction"),
            Self::Exception(number) => write!(f, "processor exception {number}"),
            Self::BadCapability => f.pad("bad capability"),
            Self::UnknownSyscall => f.pad("unknown system call"),
            Self::Timeout => f.pad("budget used up"),
        }
    }
}

/// A capability that a program holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityInfo {
    /// Its slot in the program's capability space; 0 for what init keeps for the program
    /// (thread, address space) outside it.
    pub slot: u32,
    /// Kind of object.
    pub kind: String,
    /// Which one: service, ports, badge.
    pub detail: String,
    /// Rights, as letters (`r`, `w`, `g`, `p`).
    pub rights: String,
}

/// Memory of one core. All sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    /// The core.
    pub core: u32,
    /// RAM that is the core's own; with one core, all that the machine has.
    pub ram_bytes: u64,
    /// RAM that the kernel keeps for itself.
    pub kernel_bytes: u64,
    /// RAM that the kernel handed out as untyped memory.
    pub untyped_total: u64,
    /// Of that, not used for anything.
    pub untyped_free: u64,
    /// Pages in use as program memory, 4 KiB each.
    pub frames_used: u64,
    /// Pages set aside for programs and not in use, 4 KiB each.
    pub frames_free: u64,
    /// Untyped memory set aside for programs.
    pub programs_bytes: u64,
    /// Memory that programs share.
    pub regions_bytes: u64,
    /// Empty slots of init's capability space.
    pub slots_free: u64,
    /// Frames that were made over device memory. They are kept.
    pub device_frames: u64,
    /// Handlers of found devices' interrupts.
    pub handlers: u64,
}

/// How much there is of something that programs are made of or given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// What, in words.
    pub what: String,
    /// How much of it.
    pub amount: u64,
}

/// A service and the program behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The service's name.
    pub name: String,
    /// The program that serves it.
    pub program: String,
    /// Core that it runs on, or would.
    pub core: u32,
    /// How that program is doing.
    pub state: ProgramState,
    /// Times it was started again.
    pub restarts: u32,
    /// Microseconds since it was last started.
    pub uptime_us: u64,
}

/// What a core is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CoreState {
    /// Runs a kernel instance and an init, which takes commands.
    Running,
    /// Coming up.
    Starting,
    /// Came up, and its init has not been heard of for seconds.
    Silent,
    /// Stopped by command.
    Stopped,
    /// Did not come up, or broke down.
    Failed,
    /// Present and without a kernel instance.
    Parked,
}

impl fmt::Display for CoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Parked => "parked",
        })
    }
}

/// A core of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreStatus {
    /// Its number.
    pub core: u32,
    /// What it is doing.
    pub state: CoreState,
    /// Programs that run on it.
    pub programs: u32,
    /// Microseconds since it came up; 0 where it is not up.
    pub uptime_us: u64,
    /// Microseconds since its init was last heard of; `None` where there is none to hear of.
    pub heartbeat_us: Option<u64>,
    /// Bytes of RAM that are its own.
    pub ram_bytes: u64,
    /// Of that, not used for anything.
    pub free_bytes: u64,
    /// Times that it was started anew.
    pub restarts: u32,
}

/// The system as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemInfo {
    /// Version of the system.
    pub version: String,
    /// Name of the image.
    pub image: String,
    /// Ticks of the time stamp counter per microsecond.
    pub tsc_mhz: u32,
    /// Microseconds since the machine started.
    pub uptime_us: u64,
    /// Processors in the machine.
    pub cores_present: u32,
    /// Bytes of RAM in the machine: of every core that has come up, and the pool.
    pub ram_bytes: u64,
    /// Of that, the pool, which all cores share.
    pub pool_bytes: u64,
    /// The kernel's command line.
    pub command_line: String,
}

/// Why the supervisor refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorError {
    /// The image has no program of this name.
    NoSuchProgram(String),
    /// No run has this id.
    NoSuchRun(ProgramId),
    /// The program runs already.
    AlreadyRunning(String),
    /// The program does not run.
    NotRunning(String),
    /// The program could not be made.
    NotStarted {
        /// Which.
        name: String,
        /// Why.
        failure: StartFailure,
    },
    /// The program is init itself, which starts and ends the others, or the core is its.
    Indispensable,
    /// The arguments are too long.
    ArgumentsTooLong,
    /// The machine has no such core, or the kernel does not use it.
    NoSuchCore(u32),
    /// The core is stopped, or did not come up.
    CoreDown(u32),
    /// The machine does not offer this (no way to power off is known).
    Unsupported,
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProgram(name) => write!(f, "there is no program `{name}` in this image"),
            Self::NoSuchRun(id) => write!(f, "there is no program run {id}"),
            Self::AlreadyRunning(name) => write!(f, "`{name}` is running already"),
            Self::NotRunning(name) => write!(f, "`{name}` is not running"),
            Self::NotStarted { name, failure } => {
                write!(f, "`{name}` could not be started: {failure}")
            }
            Self::Indispensable => f.write_str("init on core 0 is what starts and ends the others"),
            Self::ArgumentsTooLong => f.write_str("the arguments are too long"),
            Self::NoSuchCore(core) => write!(f, "no kernel runs on a core {core}"),
            Self::CoreDown(core) => write!(f, "core {core} does not run"),
            Self::Unsupported => f.write_str("this machine does not offer that"),
        }
    }
}

impl core::error::Error for SupervisorError {}
