//! A page of the pool for each core, by which the root tasks of a machine tell each other what is to be
//! done and what they found. Each word has one writer, so nothing is locked.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem::offset_of;
use core::ops::Range;
use libd3os::abi::{BootInfo, FrameSize, MachineChunk, ObjectType, chunk};
use libd3os::cap::{Frame, SlotRun, Untyped};
use libd3os::sys::Cptr;

use crate::arena::{Arena, CNODE, untypeds};
use crate::check::{Failure, Outcome, check};
use crate::machine::{boot_info_chunks, read, write};

/// What tells a page in use from memory that was never written.
pub(crate) const SIGNATURE: u64 = 0xd305_ba11_0fc0_de00;

/// Words of a page, by who writes them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    /// The core: [`SIGNATURE`] once the other words mean something.
    Signature,
    /// The core: how often its root task has begun.
    Begun,
    /// The core: as `Begun`, once it listens.
    Listening,
    /// Core 0: what the core is to do.
    Command,
    /// Core 0: how often, or with what.
    Argument,
    /// Core 0: number of the command.
    Number,
    /// The core: number of the last command that it has carried out.
    Done,
    /// The core: signals that it has sent in the flood, each counted before it is sent.
    Sent,
    /// The core: tokens that it has passed on.
    Passed,
    /// The core: turns of its loop while it spins.
    Turns,
    /// The core: message-signalled interrupts that came to it.
    Messages,
    /// The core: its number, and how many there are.
    Node,
    /// The core: how many instances there are.
    Nodes,
    /// The core: its local APIC.
    Apic,
    /// The core: where its memory begins,
    PrivateStart,
    /// and where it ends.
    PrivateEnd,
    /// The core: where the pool begins,
    PoolStart,
    /// and where it ends.
    PoolEnd,
    /// The core: bytes of text from `Text` on that say what went wrong.
    TextLength,
    /// The core: their beginning.
    Text,
}

/// Bytes of text that fit.
const TEXT_BYTES: usize = 1024;

/// One core's page, by its address here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mailbox(u64);

impl Mailbox {
    fn place(self, word: Word) -> u64 {
        self.0 + 8 * word as u64
    }

    pub(crate) fn get(self, word: Word) -> u64 {
        read(self.place(word))
    }

    pub(crate) fn set(self, word: Word, value: u64) {
        write(self.place(word), value);
    }

    /// Adds one to a word that only the caller writes.
    pub(crate) fn count(self, word: Word) {
        self.set(word, self.get(word).wrapping_add(1));
    }

    /// Says what went wrong.
    pub(crate) fn complain(self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(TEXT_BYTES)];
        for (place, piece) in (self.place(Word::Text)..).step_by(8).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            write(place, u64::from_le_bytes(word));
        }
        self.set(Word::TextLength, bytes.len() as u64);
    }

    /// What went wrong, if anything did.
    pub(crate) fn complaint(self) -> Option<String> {
        let length = usize::try_from(self.get(Word::TextLength)).ok()?.min(TEXT_BYTES);
        let words = (self.place(Word::Text)..).step_by(8).map(|place| read(place).to_le_bytes());
        let bytes: Vec<u8> = words.take(length.div_ceil(8)).flatten().take(length).collect();
        (length > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// What the kernel told of this instance and its memory.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) apic: u64,
    pub(crate) private: Range<u64>,
    pub(crate) pool: Range<u64>,
    /// Slot of the core control capability, if there is one.
    pub(crate) core_control: Option<Cptr>,
}

impl Facts {
    pub(crate) fn of(boot: &'static BootInfo) -> Option<Self> {
        let (_, bytes) = boot_info_chunks(boot).find(|(id, _)| *id == chunk::D3OS_MACHINE)?;
        let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let range = |base, length| {
            let (start, bytes) = (word(base)?, word(length)?);
            Some(start..start + bytes)
        };
        let control = word(offset_of!(MachineChunk, core_control))?;
        Some(Self {
            apic: word(offset_of!(MachineChunk, apic_id))? & u64::from(u32::MAX),
            private: range(
                offset_of!(MachineChunk, private_base),
                offset_of!(MachineChunk, private_bytes),
            )?,
            pool: range(offset_of!(MachineChunk, pool_base), offset_of!(MachineChunk, pool_bytes))?,
            core_control: (control != 0).then(|| Cptr::new(control)),
        })
    }
}

/// The untyped memory with which the pool begins.
pub(crate) fn pool(boot: &'static BootInfo) -> Result<Untyped, Failure> {
    let facts = Facts::of(boot).ok_or_else(|| Failure::new("no chunk of D3OS's".into()))?;
    let first = untypeds(boot).find(|(_, about)| about.paddr == facts.pool.start);
    let (untyped, about) =
        first.ok_or_else(|| Failure::new(alloc::format!("nothing covers {:x?}", facts.pool)))?;
    check!(about.is_device == 1, "the pool is not device memory");
    Ok(untyped)
}

/// Maps every core's page, until the test is over. Their frames are the first of the pool on every
/// instance, which so proves that all have the same.
pub(crate) fn open(arena: &mut Arena) -> Result<Vec<(Frame, Mailbox)>, Failure> {
    let (pool, cores) = (pool(arena.boot())?, arena.boot().num_nodes);
    let first = arena.empty_slots(cores).address();
    pool.retype(ObjectType::SmallPage, 0, SlotRun::within(CNODE, first), cores)?;
    let mut pages = Vec::new();
    for slot in first..first + cores {
        let frame = Frame::new(Cptr::new(slot));
        pages.push((frame, Mailbox(arena.map(frame, FrameSize::Small)?)));
    }
    Ok(pages)
}

/// Whether pool memory becomes frames, and nothing that the kernel keeps its own state in.
pub(crate) fn check_pool_is_for_frames(arena: &mut Arena, frame: Frame) -> Outcome {
    use crate::check::check_eq;
    use libd3os::cap::{Capability as _, Error};
    let pool = pool(arena.boot())?;
    for kind in [
        ObjectType::Tcb,
        ObjectType::Endpoint,
        ObjectType::Notification,
        ObjectType::CNode,
        ObjectType::SchedContext,
        ObjectType::Reply,
        ObjectType::Pdpt,
        ObjectType::Pml4,
        ObjectType::PageTable,
        ObjectType::PageDirectory,
    ] {
        let run = SlotRun::within(CNODE, arena.empty_slot().address());
        let made = pool.retype(kind, 8, run, 1);
        check_eq!(made, Err(Error::InvalidArgument { index: 1 }), "{kind:?} of pool memory");
    }
    let thread = libd3os::cap::Tcb::new(arena.make(ObjectType::Tcb, 0)?);
    let copy = Frame::new(arena.copy(frame.cptr())?);
    let buffer = thread.set_ipc_buffer(0x5000, copy);
    check_eq!(buffer, Err(Error::IllegalOperation), "an IPC buffer of pool memory");
    Ok(())
}
