//! What a program is told when it starts: its name, arguments and capabilities.
//!
//! `init` writes a [`StartInfo`] in postcard form into a read-only page of the new program and
//! passes its address in a register; the runtime decodes it before `main` runs. Nothing else
//! reaches a program at its start: a capability that has no [`Grant`] here does not exist in its
//! capability space.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::device::DeviceGrant;
use crate::image::{IrqLine, PortRange};
use crate::region::{RegionId, Rights};

/// Where things lie in a program's address space. All addresses are virtual.
pub mod layout {
    /// First address of the program's ELF image (`images/user.ld` links there).
    pub const IMAGE_BASE: u64 = 0x40_0000;
    /// First address of the heap; the image must end below.
    pub const HEAP_BASE: u64 = 0x1_0000_0000;
    /// The IPC buffer, one page.
    pub const IPC_BUFFER: u64 = 0x7000_0000_0000;
    /// The [`crate::control::Block`], behind the IPC buffer in its page.
    pub const CONTROL: u64 = IPC_BUFFER + 0x800;
    /// The [`super::StartInfo`], read-only, as many pages as it takes.
    pub const START_INFO: u64 = 0x7000_0001_0000;
    /// Longest encoded [`super::StartInfo`], in bytes.
    pub const START_INFO_MAX: usize = 0x1_0000;
    /// One past the highest byte of the stack, which grows down to an unmapped guard page.
    pub const STACK_TOP: u64 = 0x7fff_0000_0000;
    /// The *ring window*: the pair of rings at place `i` lies `i` times [`RING_SPAN`] behind this
    /// address. Unmapped where no pair is attached.
    pub const RING_WINDOW: u64 = 0x6000_0000_0000;
    /// Bytes of a pair of rings: two pages, one for each ring ([`crate::ring::Pair`]). A ring of a
    /// page carries three of the longest messages, or 56 short ones; half a page could not carry one.
    pub const RING_SPAN: u64 = 2 * PAGE_SIZE;
    /// Places in the ring window.
    pub const RING_PLACES: u16 = 64;
    /// The [`crate::ring::Directory`] of the ring window, one page, read-only. Mapped in programs
    /// that take part in rings.
    pub const RING_DIRECTORY: u64 = 0x6fff_0000_0000;
    /// Shared memory of the program, each piece at a multiple of [`WINDOW_ALIGNMENT`].
    pub const REGION_WINDOW: u64 = 0x4000_0000_0000;
    /// Registers and memory of the program's devices, each base address register's at a multiple of
    /// [`WINDOW_ALIGNMENT`].
    pub const DEVICE_WINDOW: u64 = 0x5000_0000_0000;
    /// The *platform window*: pages of device memory that the program has asked the service
    /// `devices` for, at one of [`PLATFORM_PLACES`] places each.
    pub const PLATFORM_WINDOW: u64 = 0x5f00_0000_0000;
    /// Places in the platform window.
    pub const PLATFORM_PLACES: u16 = 256;
    /// The *persistent window*: pieces of persistent memory that the program has asked the service
    /// `persistent` for, at one of [`PERSISTENT_PLACES`] places each.
    pub const PERSISTENT_WINDOW: u64 = 0x5e00_0000_0000;
    /// Places in the persistent window: 128 GiB of persistent memory, and 64 MiB of RAM.
    pub const PERSISTENT_PLACES: u32 = VOLATILE_PLACES.end;
    /// Those of them in which RAM for objects of the volatile tier is seen; the others are for ranges of
    /// persistent memory.
    pub const VOLATILE_PLACES: core::ops::Range<u32> = 1 << 16..(1 << 16) + 32;
    /// Places that show a GiB together, as one frame, from a multiple of this on.
    pub const HUGE_PLACES: u32 = 512;
    /// Bytes of each of them: a large frame.
    pub const PERSISTENT_BYTES: u64 = 2 << 20;
    /// Pages of persistent memory that another program has lent: each where its range's window
    /// begins, and as far behind that as it is in the range. So a page has the same address in every
    /// program that it is lent to.
    pub const LENT_WINDOW: u64 = 0x6800_0000_0000;
    /// Addresses between the windows of two ranges.
    pub const LENT_SPAN: u64 = 1 << 40;
    /// Ranges of which pages can be lent.
    pub const LENT_RANGES: u16 = 7;
    /// The number of the range that is RAM, set aside for objects of the volatile tier.
    pub const VOLATILE_RANGE: u16 = LENT_RANGES - 1;
    /// What starts in a window of its own starts at a multiple of this: a page table's span, so that
    /// large frames fit and two such things share no page table.
    pub const WINDOW_ALIGNMENT: u64 = 2 << 20;
    /// Where the boot archive lies in init's own address space.
    pub const ARCHIVE_BASE: u64 = 0x1000_0000;
    /// log2 of a page.
    pub const PAGE_BITS: u8 = 12;
    /// Bytes of a page.
    pub const PAGE_SIZE: u64 = 1 << PAGE_BITS;
}

/// Badge bit that every signal to a program carries, so that a server tells a signal from a
/// caller: badges of endpoint capabilities leave it clear.
pub const SIGNAL_FLAG: u64 = 1 << 63;

/// Badge of the program's `index`-th awaited notification, counted over its `waits` list.
///
/// All names in one program's `waits` share one notification object, because a thread has one
/// bound notification; each name has its own bit in the badge. Badges of signals that arrive
/// together are or-ed, so several names may be told at once. There are 61 names at most: the bits
/// behind them are [`HEARTBEAT`] and [`RING_BELL`].
#[must_use]
pub const fn signal_badge(index: u32) -> u64 {
    SIGNAL_FLAG | 1 << (index % 61)
}

/// Badge bit by which init asks whether the program is alive. [`crate::server::Server`] answers, in the
/// program's [`crate::control::Block`], and tells the program nothing of it.
pub const HEARTBEAT: u64 = 1 << 61;

/// Badge bit that says that a peer on another core rang: something happened in one of the
/// program's rings, or in its ring directory.
pub const RING_BELL: u64 = 1 << 62;

/// What a granted capability lets the program do; also the words of manifest keys and of the
/// programs' declared needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GrantKind {
    /// Receive side of a service's endpoint.
    Serves,
    /// Send side of a service's endpoint; the badge names the caller.
    Calls,
    /// A range of I/O ports.
    Ports,
    /// An interrupt handler.
    Interrupts,
    /// A device that was found at run time.
    Devices,
    /// Shared memory to read and write.
    Regions,
    /// Shared memory to read.
    Reads,
    /// Shared memory to read and write, for the program and its devices.
    Dma,
    /// Send side of a notification.
    Signals,
    /// The program's own notification, bound to its thread, badged with [`signal_badge`].
    Waits,
    /// A reply object; a program that serves has one grant for each of them.
    Reply,
}

impl GrantKind {
    /// The kinds that a manifest or a program's needs can name.
    pub const NAMED: [Self; 10] = [
        Self::Serves,
        Self::Calls,
        Self::Ports,
        Self::Interrupts,
        Self::Devices,
        Self::Regions,
        Self::Reads,
        Self::Dma,
        Self::Signals,
        Self::Waits,
    ];
    /// The kinds of shared memory.
    pub const MEMORY: [Self; 3] = [Self::Regions, Self::Reads, Self::Dma];

    /// Whether only core 0 has such things: hardware, and memory that programs there share.
    #[must_use]
    pub const fn is_of_core_0(self) -> bool {
        match self {
            Self::Ports | Self::Interrupts => true,
            Self::Devices | Self::Regions | Self::Reads | Self::Dma => true,
            Self::Serves | Self::Calls | Self::Signals | Self::Waits | Self::Reply => false,
        }
    }

    /// The word for it in manifests and needs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::Calls => "calls",
            Self::Ports => "ports",
            Self::Interrupts => "interrupts",
            Self::Devices => "devices",
            Self::Regions => "regions",
            Self::Reads => "reads",
            Self::Dma => "dma",
            Self::Signals => "signals",
            Self::Waits => "waits",
            Self::Reply => "reply",
        }
    }

    /// The nameable kind with this word, or `None`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One capability in the program's capability space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What it allows.
    pub kind: GrantKind,
    /// Service, resource or signal; for reply objects the service that they answer for.
    pub name: String,
    /// Its slot, from 1 up; 0 where [`Self::ring`] stands in its place, and for shared memory, which
    /// is mapped and has none. A device's is that of its interrupt's handler.
    pub slot: u32,
    /// For a service that runs on another core: the rings that lead there.
    pub ring: Option<RingGrant>,
    /// For hardware and shared memory, which: drivers have no addresses of their own.
    pub hardware: Option<Hardware>,
}

/// How a program reaches a service on another core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RingGrant {
    /// Place that stands for the service in the [`crate::ring::Directory`].
    pub place: u16,
    /// Slot of the [`crate::cap::Signal`] that wakes the server first attached there; the directory
    /// tells of later ones.
    pub bell: u32,
}

/// How peers on other cores wake the program. Their signals arrive at its notification, with the
/// badge [`SIGNAL_FLAG`] and [`RING_BELL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BellGrant {
    /// Slot of the IRQ handler of the program's signal line, to be acknowledged after each signal.
    pub handler: u32,
    /// Slot of the program's notification, which is bound to its thread: to wait for the bell
    /// alone.
    pub notification: u32,
}

/// The hardware or memory behind a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hardware {
    /// I/O ports, as the manifest describes them.
    Ports(PortRange),
    /// An interrupt, as the manifest describes it.
    Interrupt(IrqLine),
    /// A device that was found.
    Device(DeviceGrant),
    /// A device that this machine does not have, or that cannot be used; why is in the log.
    AbsentDevice,
    /// Shared memory.
    Region(RegionGrant),
}

/// Shared memory, as it is mapped in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionGrant {
    /// The same for all who share it.
    pub id: RegionId,
    /// Address of its first byte.
    pub base: u64,
    /// Its bytes.
    pub bytes: u64,
    /// What the program may do with it.
    pub rights: Rights,
    /// Under which address the program's devices reach its first byte; the others follow in a row.
    pub bus: Option<u64>,
}

/// Everything that a program is told at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartInfo {
    /// The program's name in the manifest.
    pub name: String,
    /// Arguments, without the name.
    pub args: Vec<String>,
    /// Core it runs on.
    pub core: u32,
    /// Ticks of the time stamp counter per microsecond.
    pub tsc_mhz: u32,
    /// Time stamp counter at the kernel's first instruction: zero of the machine's uptime.
    pub boot_tsc: u64,
    /// Its capabilities, all but those of its bell.
    pub grants: Vec<Grant>,
    /// Its own bell, if it takes part in rings.
    pub bell: Option<BellGrant>,
}

/// Why start information could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartInfoError {
    /// The bytes are not a `StartInfo`.
    Malformed,
    /// It does not fit in [`layout::START_INFO_MAX`].
    TooLarge,
}

impl fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the start information is malformed",
            Self::TooLarge => "the start information (arguments, grants) is too large",
        })
    }
}

impl core::error::Error for StartInfoError {}

impl StartInfo {
    /// The bytes that go into the program's start page.
    ///
    /// # Errors
    /// [`StartInfoError::TooLarge`] where arguments and grants exceed the room for them.
    pub fn encode(&self) -> Result<Vec<u8>, StartInfoError> {
        let bytes = postcard::to_allocvec(self).map_err(|_| StartInfoError::TooLarge)?;
        if bytes.len() > layout::START_INFO_MAX {
            return Err(StartInfoError::TooLarge);
        }
        Ok(bytes)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`StartInfoError::Malformed`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, StartInfoError> {
        postcard::from_bytes(bytes).map_err(|_| StartInfoError::Malformed)
    }

    /// The slot of a grant, or `None` where the program was not given it, or was given rings.
    #[must_use]
    pub fn slot(&self, kind: GrantKind, name: &str) -> Option<u32> {
        self.grant(kind, name).filter(|grant| grant.ring.is_none()).map(|grant| grant.slot)
    }

    /// The rings that lead to a service that the program calls, or `None` where it calls it by
    /// an endpoint or not at all.
    #[must_use]
    pub fn ring(&self, service: &str) -> Option<RingGrant> {
        self.grant(GrantKind::Calls, service)?.ring
    }

    /// Whether this place of the ring directory stands for a service that the program calls.
    #[must_use]
    pub fn calls_through(&self, place: u16) -> bool {
        self.grants.iter().any(|grant| grant.ring.is_some_and(|ring| ring.place == place))
    }

    /// The slot of granted I/O ports, and which they are; `None` where the program was not given
    /// them.
    #[must_use]
    pub fn ports(&self, name: &str) -> Option<(u32, PortRange)> {
        let grant = self.grant(GrantKind::Ports, name)?;
        match grant.hardware {
            Some(Hardware::Ports(range)) => Some((grant.slot, range)),
            _ => None,
        }
    }

    /// Shared memory of this name, by whichever kind of grant; `None` where the program was not
    /// given it.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<RegionGrant> {
        let grants = GrantKind::MEMORY.into_iter().filter_map(|kind| self.grant(kind, name));
        grants.into_iter().find_map(|grant| match grant.hardware {
            Some(Hardware::Region(region)) => Some(region),
            _ => None,
        })
    }

    /// The grant of a kind and name, or `None`.
    pub(crate) fn grant(&self, kind: GrantKind, name: &str) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.kind == kind && grant.name == name)
    }

    /// Slots of the reply objects, in order.
    pub fn replies(&self) -> impl Iterator<Item = u32> {
        self.grants.iter().filter(|grant| grant.kind == GrantKind::Reply).map(|grant| grant.slot)
    }

    /// The badge with which the awaited notification `name` arrives, or `None` where the program
    /// does not wait for it.
    #[must_use]
    pub fn signal(&self, name: &str) -> Option<u64> {
        let mut awaited = self.grants.iter().filter(|grant| grant.kind == GrantKind::Waits);
        let index = awaited.position(|grant| grant.name == name)?;
        Some(signal_badge(u32::try_from(index).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn grant(kind: GrantKind, name: &str, slot: u32) -> Grant {
        Grant { kind, name: name.to_string(), slot, ring: None, hardware: None }
    }

    fn sample() -> StartInfo {
        StartInfo {
            name: "console".to_string(),
            args: alloc::vec!["--level".to_string(), "info".to_string()],
            core: 0,
            tsc_mhz: 2_400,
            boot_tsc: 17,
            grants: alloc::vec![
                grant(GrantKind::Serves, "console", 1),
                grant(GrantKind::Reply, "console", 2),
                grant(GrantKind::Reply, "console", 3),
                grant(GrantKind::Waits, "console-input", 4),
                grant(GrantKind::Waits, "log-ready", 5),
            ],
            bell: Some(BellGrant { handler: 6, notification: 7 }),
        }
    }

    #[test]
    fn encodes_and_decodes() {
        let bytes = sample().encode().expect("small");
        assert_eq!(StartInfo::decode(&bytes), Ok(sample()));
        assert_eq!(StartInfo::decode(&bytes[..bytes.len() - 1]), Err(StartInfoError::Malformed));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut info = sample();
        info.args.push("x".repeat(layout::START_INFO_MAX));
        assert_eq!(info.encode(), Err(StartInfoError::TooLarge));
    }

    #[test]
    fn finds_grants_and_signals() {
        let info = sample();
        assert_eq!(info.slot(GrantKind::Serves, "console"), Some(1));
        assert_eq!(info.slot(GrantKind::Calls, "console"), None);
        assert!(info.replies().eq([2, 3]));
        assert_eq!(info.signal("console-input"), Some(SIGNAL_FLAG | 1));
        assert_eq!(info.signal("log-ready"), Some(SIGNAL_FLAG | 2));
        assert_eq!(info.signal("other"), None);
    }

    #[test]
    fn ports_come_with_their_numbers() {
        let range = PortRange { first: 0x3f8, last: 0x3ff };
        let mut info = sample();
        info.grants.push(grant(GrantKind::Ports, "nowhere", 6));
        let hardware = Some(Hardware::Ports(range));
        info.grants.push(Grant { hardware, ..grant(GrantKind::Ports, "com1", 7) });
        let read = StartInfo::decode(&info.encode().expect("small")).expect("sound");
        assert_eq!(read.ports("com1"), Some((7, range)));
        assert_eq!((read.ports("nowhere"), read.ports("com2")), (None, None));
    }

    #[test]
    fn shared_memory_is_found_under_each_kind() {
        let region = RegionGrant {
            id: RegionId(4),
            base: layout::REGION_WINDOW,
            bytes: 1 << 20,
            rights: Rights::READ,
            bus: None,
        };
        let mut info = sample();
        let hardware = Some(Hardware::Region(region));
        info.grants.push(Grant { hardware, ..grant(GrantKind::Reads, "frames", 0) });
        let read = StartInfo::decode(&info.encode().expect("small")).expect("sound");
        assert_eq!((read.region("frames"), read.region("console")), (Some(region), None));
    }

    #[test]
    fn a_service_is_reached_by_a_slot_or_by_rings() {
        let ring = RingGrant { place: 3, bell: 9 };
        let mut info = sample();
        info.grants.push(grant(GrantKind::Calls, "log", 8));
        info.grants.push(Grant { ring: Some(ring), ..grant(GrantKind::Calls, "uart", 0) });
        let read = StartInfo::decode(&info.encode().expect("small")).expect("sound");
        assert_eq!((read.slot(GrantKind::Calls, "uart"), read.ring("uart")), (None, Some(ring)));
        assert_eq!((read.slot(GrantKind::Calls, "log"), read.ring("log")), (Some(8), None));
        assert_eq!(read.ring("console"), None, "served, not called");
        assert!(read.calls_through(3) && !read.calls_through(4));
    }

    #[test]
    fn no_name_has_the_bit_of_the_bell_or_the_heartbeat() {
        assert!((0..200).all(|index| signal_badge(index) & (RING_BELL | HEARTBEAT) == 0));
    }

    #[test]
    fn kinds_have_words() {
        for kind in GrantKind::NAMED {
            assert_eq!(GrantKind::from_word(kind.word()), Some(kind));
        }
        assert_eq!(GrantKind::from_word("reply"), None);
    }
}
