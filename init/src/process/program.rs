//! What init keeps for one program while it runs and while it does not: its file, its plan, the
//! memory set aside for it, the slots for its parts.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use init::devices::GRANT_BYTES;
use init::elf;
use init::grants::{self, Found, Granted, RingSlots, grants};
use init::memory::{PageUse, Plan, Regions, RingRoom};
use init::pulse::Pulse;
use init::regions::{self, RegionUse};
use init::supervise::ProgramNumber;
use libd3os::abi::{FrameSize, MessageInfo, ObjectType};
use libd3os::call::CallError;
use libd3os::cap::{CNode, Notification, Reply, SchedContext, Slot, Tcb, Untyped, VSpace};
use libd3os::image::{Archive, Manifest, ProgramSpec};
use libd3os::start::{BellGrant, HEARTBEAT, RING_BELL, StartInfo, StartInfoError};
use libd3os::sys::Cptr;

use super::kernel::own_slot;
use super::memory::Memory;
use super::platform::Platform;
use super::resources::Shared;
use super::rings::Attached;
use super::trouble::{Doing, Refused, Unfit};

/// Bytes of arguments for which every program has room in its start information: as many as
/// a call to the supervisor can carry.
const ARGUMENT_BYTES: usize = 1024;
/// Bytes that a bus address adds to a program's start information at most.
const BUS_BYTES: usize = 10;
/// Bytes that rings in the place of an endpoint add to a program's start information at most.
const ROUTE_BYTES: usize = 16;

/// A program, not yet with memory.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) number: ProgramNumber,
    pub(super) spec: ProgramSpec,
    pub(super) file: elf::Program<'static>,
    pub(super) regions: Regions,
    /// Its shared memory.
    pub(super) shared: Vec<RegionUse>,
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
        cores: u64,
    ) -> Result<Self, Unfit> {
        let bytes = archive.file(spec.file()).unwrap_or(&[]);
        let file = elf::Program::parse(bytes).map_err(Unfit::Elf)?;
        let grants = grants(archive.manifest(), number, spec, 0, &[], &Found::default());
        let grants = grants.map_err(Unfit::Grants)?;
        let shared = regions::uses(archive.manifest(), spec).map_err(Unfit::Grants)?;
        let rings = ring_room(archive.manifest(), spec, cores);
        let info = start_info(spec, &grants, arguments, &Birth::default());
        let encoded = info.encode().map_err(Unfit::StartInfo)?.len();
        let start_info_bytes = encoded
            + ARGUMENT_BYTES
            + spec.calls.len() * ROUTE_BYTES
            + spec.devices.len() * GRANT_BYTES
            + spec.dma.len() * BUS_BYTES;
        let segments: Vec<_> =
            file.segments.iter().map(|segment| (segment.address, segment.bytes)).collect();
        let regions =
            Regions::new(&segments, start_info_bytes as u64, spec, rings).map_err(Unfit::Plan)?;
        let regions = regions.sharing(&shared);
        let finds_devices = spec.calls.iter().any(|name| name == grants::DEVICES);
        let regions = if finds_devices { regions.finding_devices() } else { regions };
        let sees_persistent = spec.calls.iter().any(|name| name == grants::PERSISTENT);
        let regions = if sees_persistent { regions.seeing_persistent_memory() } else { regions };
        let granted = grants::count(spec);
        let slots = match rings {
            RingRoom::None => granted,
            RingRoom::Window => RingSlots::behind(granted).last(),
        };
        let replies = if spec.serves.is_empty() { 0 } else { spec.replies };
        let plan = Plan::new(&regions, slots, replies).map_err(Unfit::Plan)?;
        let spec = spec.clone();
        Ok(Self { number, spec, file, regions, shared, plan, start_info_bytes })
    }
}

/// A program alone on its core, or one that talks to init only, needs no rings.
fn ring_room(manifest: &Manifest, spec: &ProgramSpec, cores: u64) -> RingRoom {
    let talks = !spec.serves.is_empty() || grants::called(manifest, spec).next().is_some();
    if cores > 1 && talks { RingRoom::Window } else { RingRoom::None }
}

/// What distinguishes one start of a program from another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Birth {
    /// The core.
    pub(super) core: u32,
    /// It has a signal line.
    pub(super) has_line: bool,
    /// Ticks of the time stamp counter per microsecond.
    pub(super) tsc_mhz: u32,
    /// Zero of the machine's uptime.
    pub(super) boot_tsc: u64,
}

/// A program, and the memory that it runs in.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) draft: Draft,
    /// Untyped memory, as [`Plan::pieces`] lists it; none while nothing was set aside.
    pub(super) pieces: Vec<Untyped>,
    /// The first of the slots for its objects, in the plan's order.
    pub(super) objects: u64,
    pub(super) fault_endpoint: Cptr,
    /// Wakes it as a peer on another core does.
    pub(super) bell: Notification,
    /// Asks it whether it is alive, if the manifest wants that.
    pub(super) heart: Notification,
    /// Whether it is.
    pub(super) pulse: Pulse,
    /// The event of its trace at which it is to end itself.
    pub(super) last_event: Option<u64>,
    /// Slot for the handler of its signal line; 0 where it cannot take part in rings.
    pub(super) handler: u64,
    /// Pairs of rings that are mapped in it.
    pub(super) attached: Vec<Attached>,
    /// The first of its own slots for the frames of each of its regions, those that it has had yet.
    pub(super) shared: Vec<u64>,
    /// Whether it runs.
    pub(super) is_live: bool,
    /// Whether it will run again, if it does not.
    pub(super) is_expected: bool,
    used_us: u64,
}

impl Program {
    /// A program without memory.
    pub(super) fn new(draft: Draft) -> Self {
        Self {
            draft,
            pieces: Vec::new(),
            objects: 0,
            fault_endpoint: Cptr::NULL,
            bell: Notification::new(Cptr::NULL),
            heart: Notification::new(Cptr::NULL),
            pulse: Pulse::default(),
            last_event: None,
            handler: 0,
            attached: Vec::new(),
            shared: Vec::new(),
            is_live: false,
            is_expected: false,
            used_us: 0,
        }
    }

    /// Sets memory and slots aside for it, for good, unless that was done before.
    pub(super) fn equip(&mut self, shared: &Shared, memory: &mut Memory) -> Result<(), Refused> {
        if self.is_equipped() {
            return Ok(());
        }
        let number = self.draft.number;
        let pieces = self.draft.plan.pieces().into_iter().map(|bits| memory.piece(bits));
        let pieces = pieces.collect::<Result<_, _>>().doing("setting memory aside")?;
        self.fault_endpoint = shared.fault_endpoint(number, memory)?;
        if !self.draft.regions.ring_window.is_empty() {
            self.bell = shared.signaller(Some(number), RING_BELL, memory)?;
            self.handler = memory.slots(1).doing("taking a slot")?;
        }
        if self.has_heart() {
            self.heart = shared.signaller(Some(number), HEARTBEAT, memory)?;
        }
        self.objects = memory.slots(self.draft.plan.slots()).doing("setting slots aside")?;
        self.pieces = pieces;
        Ok(())
    }

    /// Whether memory is set aside for it.
    pub(super) fn is_equipped(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Its address space.
    pub(super) fn vspace(&self) -> VSpace {
        VSpace::new(Cptr::new(self.object(ObjectType::Pml4)))
    }

    /// A slot of its capability space.
    pub(super) fn slot(&self, number: u32) -> Slot {
        self.cspace().slot(number.into(), self.draft.plan.cnode_bits)
    }

    /// Its capability space.
    pub(super) fn cspace(&self) -> CNode {
        CNode::new(Cptr::new(self.object(ObjectType::CNode)))
    }

    /// The slots of its capability space that are for rings.
    pub(super) fn ring_slots(&self) -> RingSlots {
        RingSlots::behind(grants::count(&self.draft.spec))
    }

    /// Init's slot of the first frame for this purpose.
    pub(super) fn frame_for(&self, purpose: PageUse) -> u64 {
        let before = self.draft.regions.pages().take_while(|(what, _)| *what != purpose);
        self.object(FrameSize::Small.object_type()) + before.count() as u64
    }

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
        let pieces = self.draft.plan.pieces().into_iter().filter(|_| self.is_equipped());
        pieces.map(|bits| 1u64 << bits).sum()
    }

    /// Frames set aside for it.
    pub(super) fn frames(&self) -> u64 {
        if self.is_equipped() { self.draft.regions.frames() } else { 0 }
    }

    /// Processor time over all of its runs on this core, in microseconds.
    pub(super) fn cpu_us(&mut self) -> u64 {
        if self.is_live {
            // The kernel's figure begins anew with each question.
            self.used_us += self.context().consumed().unwrap_or(0);
        }
        self.used_us
    }

    /// The start information for a start with these arguments.
    ///
    /// # Errors
    /// The arguments are longer than what was set aside for them.
    pub(super) fn start_info(
        &self,
        granted: &[Granted],
        arguments: &[String],
        birth: &Birth,
    ) -> Result<Vec<u8>, StartInfoError> {
        let bytes = start_info(&self.draft.spec, granted, arguments, birth).encode()?;
        let fits = bytes.len() <= self.draft.start_info_bytes;
        if fits { Ok(bytes) } else { Err(StartInfoError::TooLarge) }
    }

    /// Stops the program, which is to be taken apart. A stopped thread cannot take up a call between
    /// the answers to its callers and its end.
    pub(super) fn stop(&mut self) -> Result<(), Refused> {
        self.cpu_us();
        self.is_live = false;
        self.thread().suspend().doing("stopping a thread")
    }

    /// Takes a stopped program apart: its callers are told, then everything it was made of is untyped
    /// memory again.
    pub(super) fn destroy(&mut self, platform: &mut Platform) -> Result<(), Refused> {
        self.answer_callers();
        self.drop_rings(&mut platform.memory)?;
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
    birth: &Birth,
) -> StartInfo {
    let slots = RingSlots::behind(grants::count(spec));
    let bell = BellGrant { handler: slots.handler, notification: slots.notification };
    StartInfo {
        name: spec.name.to_string(),
        args: arguments.to_vec(),
        core: birth.core,
        tsc_mhz: birth.tsc_mhz,
        boot_tsc: birth.boot_tsc,
        grants: granted.iter().map(|granted| granted.grant.clone()).collect(),
        bell: birth.has_line.then_some(bell),
    }
}

/// The program's name in the manifest.
pub(super) fn name(manifest: &Manifest, number: ProgramNumber) -> &str {
    manifest.programs.get(number.index()).map_or("", |spec| &spec.name)
}
