//! What init keeps for one program while it runs and while it does not: its file, its plan, the
//! memory set aside for it, the slots for its parts.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use init::elf;
use init::grants::{Granted, grants};
use init::memory::{Plan, Regions};
use init::supervise::ProgramNumber;
use libd3os::abi::{MessageInfo, ObjectType};
use libd3os::call::CallError;
use libd3os::cap::{Reply, SchedContext, Tcb, Untyped};
use libd3os::image::{Archive, Manifest, ProgramSpec};
use libd3os::start::{StartInfo, StartInfoError};
use libd3os::sys::Cptr;

use super::kernel::own_slot;
use super::memory::Memory;
use super::trouble::{Doing, Refused, Unfit};

/// Bytes of arguments for which every program has room in its start information: as many as
/// a call to the supervisor can carry.
const ARGUMENT_BYTES: usize = 1024;

/// A program, not yet with memory.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) number: ProgramNumber,
    pub(super) spec: ProgramSpec,
    pub(super) file: elf::Program<'static>,
    pub(super) grants: Vec<Granted>,
    pub(super) regions: Regions,
    pub(super) plan: Plan,
    start_info_bytes: usize,
}

impl Draft {
    /// Plans a program of the image; `arguments` are those that it will get at boot.
    pub(super) fn new(
        archive: &Archive<'static>,
        number: ProgramNumber,
        spec: &ProgramSpec,
        arguments: &[String],
    ) -> Result<Self, Unfit> {
        if spec.core != 0 {
            return Err(Unfit::Core(spec.core));
        }
        let bytes = archive.file(&spec.name).unwrap_or(&[]);
        let file = elf::Program::parse(bytes).map_err(Unfit::Elf)?;
        let grants = grants(archive.manifest(), number, spec).map_err(Unfit::Grants)?;
        let info = start_info(spec, &grants, arguments, 0, 0);
        let encoded = info.encode().map_err(Unfit::StartInfo)?.len();
        let start_info_bytes = encoded + ARGUMENT_BYTES;
        let segments: Vec<_> =
            file.segments.iter().map(|segment| (segment.address, segment.bytes)).collect();
        let regions =
            Regions::new(&segments, start_info_bytes as u64, spec).map_err(Unfit::Plan)?;
        let granted = u32::try_from(grants.len()).unwrap_or(u32::MAX);
        let replies = grants
            .iter()
            .filter(|granted| matches!(granted.source, init::grants::Source::Reply(_)))
            .count();
        let replies = u32::try_from(replies).unwrap_or(u32::MAX);
        let plan = Plan::new(&regions, granted, replies).map_err(Unfit::Plan)?;
        Ok(Self { number, spec: spec.clone(), file, grants, regions, plan, start_info_bytes })
    }

    /// Sets memory and slots aside for it.
    pub(super) fn equip(
        self,
        memory: &mut Memory,
        fault_endpoint: Cptr,
    ) -> Result<Program, Refused> {
        let pieces = self.plan.pieces().into_iter().map(|bits| memory.piece(bits));
        let pieces = pieces.collect::<Result<_, _>>().doing("setting memory aside")?;
        let objects = memory.slots(self.plan.slots()).doing("setting slots aside")?;
        let arguments = Vec::new();
        Ok(Program { draft: self, pieces, objects, fault_endpoint, arguments, used_us: 0 })
    }
}

/// A program with the memory that it runs in.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) draft: Draft,
    /// Untyped memory, as [`Plan::pieces`] lists it.
    pub(super) pieces: Vec<Untyped>,
    /// The first of the slots for its objects, in the plan's order.
    pub(super) objects: u64,
    pub(super) fault_endpoint: Cptr,
    /// Arguments of its next start.
    pub(super) arguments: Vec<String>,
    used_us: u64,
}

impl Program {
    /// Init's slot of the program's first object of this type.
    pub(super) fn object(&self, object: ObjectType) -> u64 {
        self.objects + self.draft.plan.position(object)
    }

    /// Init's slots of all of its objects of this type.
    pub(super) fn objects_of(&self, object: ObjectType) -> Range<u64> {
        let first = self.object(object);
        first..first + self.draft.plan.count(object)
    }

    /// Its thread.
    pub(super) fn thread(&self) -> Tcb {
        Tcb::new(Cptr::new(self.object(ObjectType::Tcb)))
    }

    /// Its share of the processor.
    pub(super) fn context(&self) -> SchedContext {
        SchedContext::new(Cptr::new(self.object(ObjectType::SchedContext)))
    }

    /// Bytes of memory set aside for it.
    pub(super) fn bytes(&self) -> u64 {
        self.draft.plan.pieces().into_iter().map(|bits| 1u64 << bits).sum()
    }

    /// Processor time over all of its runs, in microseconds.
    pub(super) fn cpu_us(&mut self, is_live: bool) -> u64 {
        if is_live {
            // The kernel's figure begins anew with each question.
            self.used_us += self.context().consumed().unwrap_or(0);
        }
        self.used_us
    }

    /// The start information for its next start.
    ///
    /// # Errors
    /// The arguments are longer than what was set aside for them.
    pub(super) fn start_info(
        &self,
        arguments: &[String],
        tsc_mhz: u32,
        boot_tsc: u64,
    ) -> Result<Vec<u8>, StartInfoError> {
        let info = start_info(&self.draft.spec, &self.draft.grants, arguments, tsc_mhz, boot_tsc);
        let bytes = info.encode()?;
        let fits = bytes.len() <= self.draft.start_info_bytes;
        if fits { Ok(bytes) } else { Err(StartInfoError::TooLarge) }
    }

    /// Takes the program apart: its callers are told, then everything it was made of is untyped
    /// memory again.
    pub(super) fn destroy(&mut self) -> Result<(), Refused> {
        self.cpu_us(true);
        // A stopped thread cannot take up a call between the answers and its end.
        self.thread().suspend().doing("stopping a thread")?;
        self.answer_callers();
        self.reclaim()
    }

    /// Makes everything untyped again.
    pub(super) fn reclaim(&self) -> Result<(), Refused> {
        for piece in &self.pieces {
            let slot = libd3os::cap::Capability::cptr(*piece).address();
            own_slot(slot).revoke().doing("taking a program apart")?;
        }
        Ok(())
    }

    /// Answers every call that the program has taken and not answered. A reply object without a
    /// call does nothing.
    fn answer_callers(&self) {
        let restarted = MessageInfo::new(u64::from(CallError::Restarted.number()), 0, 0, 0);
        for slot in self.objects_of(ObjectType::Reply) {
            Reply::new(Cptr::new(slot)).send(restarted);
        }
    }
}

fn start_info(
    spec: &ProgramSpec,
    granted: &[Granted],
    arguments: &[String],
    tsc_mhz: u32,
    boot_tsc: u64,
) -> StartInfo {
    StartInfo {
        name: spec.name.to_string(),
        args: arguments.to_vec(),
        core: spec.core,
        tsc_mhz,
        boot_tsc,
        grants: granted.iter().map(|granted| granted.grant.clone()).collect(),
        bell: None,
    }
}

/// The program's name in the manifest.
pub(super) fn name(manifest: &Manifest, number: ProgramNumber) -> &str {
    manifest.programs.get(number.index()).map_or("", |spec| &spec.name)
}
