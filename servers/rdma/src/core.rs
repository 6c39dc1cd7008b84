//! Queue pairs: packets and time in; packets, memory operations and completions out.
//!
//! Sans-IO. [`Core::receive`] takes a packet, [`Core::transmit`] gives the next one into the caller's
//! buffer, [`Core::tick`] lets time pass until [`Core::deadline`]; memory is reached through
//! [`Memory`]. No packet costs an allocation: queues are as large as they were made, and what is to be
//! sent is found when there is room for it on the wire. So a full card slows the core down and
//! nothing is queued twice; and acknowledgements of what came meanwhile become one.
//!
//! | module | specification, volume 1 |
//! |---|---|
//! | `attributes` | states and attributes: 10.3.1, 11.2.5.2 |
//! | `requester` | what asks: 9.7.2 to 9.7.5, 9.7.7 (order), 9.7.8 (errors) |
//! | `responder` | what answers: 9.7.4 to 9.7.6, 9.8.2 (UC), 9.8.3 (UD) |
//! | `window` | how much is in flight: RFC 5681 |
//!
//! A queue pair's two halves, requester and responder, share its state and nothing else.

mod attributes;
mod completion;
mod memory;
mod queue_pair;
mod receives;
mod requester;
mod responder;
#[cfg(test)]
mod tests;
mod timers;
mod window;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

pub use attributes::{AddressVector, AttrMask, Attributes, ModifyError, PathMtu, State};
pub use completion::Notify;
pub use memory::{Gone, Memory};

use crate::entries::{Completion, ReceiveEntry, SendEntry};
use crate::events::{Counters, Dropped, Event, Journal};
use crate::regions::{Access, Backing, DomainId, Key, Region, RegionError, Regions};
use crate::table::Table;
use crate::wire::{MOST_HEADERS, Received};
use completion::{CompletionQueue, Put};
use queue_pair::QueuePair;
use receives::SharedReceiveQueue;
use timers::Timers;

/// The queue pair of the general services, to which connection managers talk.
pub const GENERAL_SERVICES: u32 = 1;
/// Reads and atomics in flight at most, in each direction of a queue pair.
pub const MAX_RD_ATOMIC: u8 = 16;
/// Bytes of a message at most.
pub const MAX_MESSAGE: u64 = 1 << 30;
/// Work requests in a queue at most.
pub const MAX_WORK_REQUESTS: u16 = 16_384;
/// Completions in a queue at most.
pub const MAX_COMPLETIONS: u32 = 1 << 18;

/// What kind a queue pair is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QpKind {
    /// Reliable connection.
    Rc,
    /// Unreliable connection.
    Uc,
    /// Unreliable datagrams.
    Ud,
    /// The one for general services: datagrams to and from number 1.
    Gsi,
}

impl QpKind {
    /// Whether it sends datagrams.
    #[must_use]
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Ud | Self::Gsi)
    }
}

/// What a host is like.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its address of version 4.
    pub v4: Option<Ipv4Addr>,
    /// Its address of version 6.
    pub v6: Option<Ipv6Addr>,
    /// The largest packets that its network carries.
    pub mtu: PathMtu,
    /// Its partition keys, by index.
    pub partitions: Vec<u16>,
    /// Queue pairs at most, 65,534 or fewer.
    pub queue_pairs: u16,
    /// Completion queues, shared receive queues, address handles, domains at most, of each.
    pub others: u16,
    /// Memory regions at most.
    pub regions: u16,
    /// Something random, for keys.
    pub secret: u64,
}

/// A queue pair to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QpInit {
    /// Its kind.
    pub kind: QpKind,
    /// From where it reaches memory.
    pub domain: DomainId,
    /// Where sends complete.
    pub send_cq: CqId,
    /// Where receives complete.
    pub recv_cq: CqId,
    /// Where receives come from, if not from its own queue.
    pub srq: Option<SrqId>,
    /// Sends that wait at most.
    pub max_send_wr: u16,
    /// Receives that wait at most.
    pub max_recv_wr: u16,
    /// Whether every send has a completion.
    pub sq_sig_all: bool,
}

/// A completion queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CqId(pub(crate) u32);

/// A shared receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SrqId(pub(crate) u32);

/// A queue pair, by its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QpNumber(pub u32);

/// An address handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AhId(pub(crate) u32);

impl AhId {
    /// As it stands in a send entry.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Something was not made, or not taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    /// There are as many as there can be.
    #[error("no room for another one")]
    Full,
    /// There is no such thing, or it is of another protection domain.
    #[error("no such thing")]
    Unknown,
    /// Something still uses it.
    #[error("in use")]
    Busy,
    /// A capacity of zero, or beyond the maximum.
    #[error("a capacity out of range")]
    Capacity,
    /// The host has no address of that version.
    #[error("no address of that version")]
    Address,
}

/// A work request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// There is no such queue.
    #[error("no such queue")]
    NoQueue,
    /// The queue pair's state does not take it.
    #[error("the queue pair is not ready for it")]
    State,
    /// The queue is full.
    #[error("the queue is full")]
    Full,
    /// There is no such operation, or the queue pair's kind does not have it.
    #[error("not an operation of this queue pair")]
    Opcode,
    /// More elements than an entry has.
    #[error("too many scatter/gather elements")]
    Segments,
    /// More inline bytes than an entry has, or none may be inline.
    #[error("bytes that cannot be inline")]
    Inline,
    /// Longer than a message, or a datagram, can be; or an atomic not of eight bytes.
    #[error("a length that cannot be")]
    Length,
    /// An atomic operation across words.
    #[error("not a multiple of eight")]
    Alignment,
    /// There is no such address handle.
    #[error("no such address handle")]
    AddressHandle,
    /// The queue pair receives from a shared queue.
    #[error("receives belong into the shared queue")]
    Shared,
}

/// What a queue pair works with besides itself.
struct Context<'a, M> {
    now: Duration,
    port: &'a Port,
    regions: &'a Regions,
    memory: &'a mut M,
    completions: &'a mut Table<CompletionQueue>,
    shared: &'a mut Table<SharedReceiveQueue>,
    handles: &'a Table<Handle>,
    journal: &'a mut Journal,
    /// A completion of this queue pair's found no room.
    overrun: bool,
}

impl<M> Context<'_, M> {
    fn complete(&mut self, queue: CqId, completion: Completion) {
        let Some(completions) = self.completions.get_mut(queue.0) else { return };
        match completions.put(completion) {
            Put::Quiet => {}
            Put::Event => self.journal.tell(Event::Completion(queue.0)),
            Put::Overrun { first } => {
                self.overrun = true;
                if first {
                    self.journal.tell(Event::CqErr(queue.0));
                }
            }
        }
    }
}

/// What a host is like on the wire.
#[derive(Clone, Debug)]
struct Port {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    mtu: PathMtu,
    partitions: Vec<u16>,
}

impl Port {
    /// The own address that goes with a destination.
    fn address_for(&self, destination: IpAddr) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.address_for(address) == Some(address)
    }
}

#[derive(Clone, Debug)]
struct Handle {
    domain: DomainId,
    vector: AddressVector,
}

/// A packet that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Its bytes, from the IP header on.
    pub length: usize,
    /// Whom it is for.
    pub to: IpAddr,
}

/// All queue pairs of a host, and what belongs to them.
#[derive(Clone, Debug)]
pub struct Core {
    port: Port,
    domains: Table<()>,
    regions: Regions,
    pairs: Table<QueuePair>,
    general: Option<u32>,
    completions: Table<CompletionQueue>,
    shared: Table<SharedReceiveQueue>,
    handles: Table<Handle>,
    /// Queue pairs that may have something to send, each once.
    ready: VecDeque<usize>,
    timers: Timers,
    journal: Journal,
}

/// The parts of a core that a queue pair at this place works with.
macro_rules! context {
    ($core:ident, $now:expr, $memory:expr) => {
        Context {
            now: $now,
            port: &$core.port,
            regions: &$core.regions,
            memory: $memory,
            completions: &mut $core.completions,
            shared: &mut $core.shared,
            handles: &$core.handles,
            journal: &mut $core.journal,
            overrun: false,
        }
    };
}

impl Core {
    /// A host without queue pairs.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let Config { v4, v6, mtu, partitions, queue_pairs, others, regions, secret } = config;
        /// Bits of a queue pair's number.
        const NUMBER_BITS: u32 = 24;
        Self {
            port: Port { v4, v6, mtu, partitions },
            domains: Table::new(others, 31),
            regions: Regions::new(regions, secret),
            pairs: Table::new(queue_pairs.min(u16::MAX - 1), NUMBER_BITS),
            general: None,
            completions: Table::new(others, 31),
            shared: Table::new(others, 31),
            handles: Table::new(others, 31),
            ready: VecDeque::new(),
            timers: Timers::default(),
            journal: Journal::default(),
        }
    }

    /// Bytes that a buffer for any packet has.
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        self.port.mtu.bytes() as usize + MOST_HEADERS
    }

    /// Makes a protection domain.
    ///
    /// # Errors
    /// [`CoreError::Full`].
    pub fn alloc_pd(&mut self) -> Result<DomainId, CoreError> {
        self.domains.insert_with(|_| ()).map(DomainId).ok_or(CoreError::Full)
    }

    /// Takes a protection domain away that nothing belongs to.
    ///
    /// # Errors
    /// [`CoreError::Busy`], [`CoreError::Unknown`].
    pub fn dealloc_pd(&mut self, domain: DomainId) -> Result<(), CoreError> {
        let used = self.regions.uses(domain)
            || self.pairs.values().any(|pair| pair.domain() == domain)
            || self.shared.values().any(|shared| shared.domain == domain)
            || self.handles.values().any(|handle| handle.domain == domain);
        if used {
            return Err(CoreError::Busy);
        }
        self.domains.remove(domain.0).ok_or(CoreError::Unknown)
    }

    /// Registers a memory region; `granted` is what the capability for its object allows.
    ///
    /// # Errors
    /// See [`RegionError`].
    pub fn reg_mr(&mut self, region: Region, granted: Access) -> Result<Key, RegionError> {
        if self.domains.get(region.domain.0).is_none() {
            return Err(RegionError::NoRegion);
        }
        self.regions.register(region, granted)
    }

    /// Ends a memory region. Packets that come from now on do not reach it.
    ///
    /// # Errors
    /// [`RegionError::NoRegion`].
    pub fn dereg_mr(&mut self, key: Key, domain: DomainId) -> Result<Region, RegionError> {
        self.regions.deregister(key, domain)
    }

    /// Ends all regions in an object, before it is used for something else; how many there were.
    pub fn withdraw(&mut self, backing: Backing) -> usize {
        self.regions.withdraw(backing)
    }

    /// Makes a completion queue.
    ///
    /// # Errors
    /// [`CoreError::Full`], [`CoreError::Capacity`].
    pub fn create_cq(&mut self, capacity: u32) -> Result<CqId, CoreError> {
        if capacity == 0 || capacity > MAX_COMPLETIONS {
            return Err(CoreError::Capacity);
        }
        let capacity = usize::try_from(capacity).map_err(|_| CoreError::Capacity)?;
        let id = self.completions.insert_with(|_| CompletionQueue::new(capacity));
        id.map(CqId).ok_or(CoreError::Full)
    }

    /// Takes a completion queue away that no queue pair completes to.
    ///
    /// # Errors
    /// [`CoreError::Busy`], [`CoreError::Unknown`].
    pub fn destroy_cq(&mut self, queue: CqId) -> Result<(), CoreError> {
        if self.completions.get(queue.0).ok_or(CoreError::Unknown)?.users > 0 {
            return Err(CoreError::Busy);
        }
        self.completions.remove(queue.0).map(|_| ()).ok_or(CoreError::Unknown)
    }

    /// The next completion.
    pub fn poll_cq(&mut self, queue: CqId) -> Option<Completion> {
        self.completions.get_mut(queue.0)?.take()
    }

    /// Asks for an event at the next completion that is put into the queue.
    ///
    /// # Errors
    /// [`CoreError::Unknown`].
    pub fn req_notify_cq(&mut self, queue: CqId, notify: Notify) -> Result<(), CoreError> {
        self.completions.get_mut(queue.0).ok_or(CoreError::Unknown)?.arm(notify);
        Ok(())
    }

    /// Makes a shared receive queue.
    ///
    /// # Errors
    /// [`CoreError::Full`], [`CoreError::Capacity`], [`CoreError::Unknown`].
    pub fn create_srq(&mut self, domain: DomainId, max_wr: u16) -> Result<SrqId, CoreError> {
        self.domains.get(domain.0).ok_or(CoreError::Unknown)?;
        let capacity = capacity(max_wr)?;
        let id = self.shared.insert_with(|_| SharedReceiveQueue::new(domain, capacity));
        id.map(SrqId).ok_or(CoreError::Full)
    }

    /// Asks for one event when fewer receives than this are left; 0 for none.
    ///
    /// # Errors
    /// [`CoreError::Unknown`].
    pub fn modify_srq(&mut self, shared: SrqId, limit: u16) -> Result<(), CoreError> {
        self.shared.get_mut(shared.0).ok_or(CoreError::Unknown)?.limit = limit.into();
        Ok(())
    }

    /// Takes a shared receive queue away that no queue pair receives from.
    ///
    /// # Errors
    /// [`CoreError::Busy`], [`CoreError::Unknown`].
    pub fn destroy_srq(&mut self, shared: SrqId) -> Result<(), CoreError> {
        if self.shared.get(shared.0).ok_or(CoreError::Unknown)?.users > 0 {
            return Err(CoreError::Busy);
        }
        self.shared.remove(shared.0).map(|_| ()).ok_or(CoreError::Unknown)
    }

    /// Makes an address handle.
    ///
    /// # Errors
    /// [`CoreError::Full`], [`CoreError::Unknown`], [`CoreError::Address`].
    pub fn create_ah(
        &mut self,
        domain: DomainId,
        vector: AddressVector,
    ) -> Result<AhId, CoreError> {
        self.domains.get(domain.0).ok_or(CoreError::Unknown)?;
        self.port.address_for(vector.destination).ok_or(CoreError::Address)?;
        let id = self.handles.insert_with(|_| Handle { domain, vector });
        id.map(AhId).ok_or(CoreError::Full)
    }

    /// Takes an address handle away; datagrams that still need it complete with an error.
    ///
    /// # Errors
    /// [`CoreError::Unknown`].
    pub fn destroy_ah(&mut self, handle: AhId) -> Result<(), CoreError> {
        self.handles.remove(handle.0).map(|_| ()).ok_or(CoreError::Unknown)
    }

    /// Makes a queue pair, in the state RESET.
    ///
    /// # Errors
    /// See [`CoreError`]; [`CoreError::Busy`] for a second one of the general services.
    pub fn create_qp(&mut self, init: QpInit) -> Result<QpNumber, CoreError> {
        self.check_qp(&init)?;
        let make = |handle| {
            let number = if init.kind == QpKind::Gsi { GENERAL_SERVICES } else { handle };
            QueuePair::new(number, init)
        };
        let handle = self.pairs.insert_with(make).ok_or(CoreError::Full)?;
        self.use_queues(&init, 1);
        let index = self.pairs.index(handle).map_or(0, |index| index + 1);
        self.timers.reserve(index);
        self.ready.reserve(index.saturating_sub(self.ready.len()));
        if init.kind == QpKind::Gsi {
            self.general = Some(handle);
            return Ok(QpNumber(GENERAL_SERVICES));
        }
        Ok(QpNumber(handle))
    }

    fn check_qp(&self, init: &QpInit) -> Result<(), CoreError> {
        capacity(init.max_send_wr)?;
        if init.srq.is_none() {
            capacity(init.max_recv_wr)?;
        }
        self.domains.get(init.domain.0).ok_or(CoreError::Unknown)?;
        self.completions.get(init.send_cq.0).ok_or(CoreError::Unknown)?;
        self.completions.get(init.recv_cq.0).ok_or(CoreError::Unknown)?;
        if let Some(shared) = init.srq {
            self.shared.get(shared.0).ok_or(CoreError::Unknown)?;
        }
        if init.kind == QpKind::Gsi && self.general.is_some() {
            return Err(CoreError::Busy);
        }
        Ok(())
    }

    /// Counts a queue pair in, or out, where it completes and receives.
    fn use_queues(&mut self, init: &QpInit, change: i32) {
        for queue in [init.send_cq, init.recv_cq] {
            if let Some(queue) = self.completions.get_mut(queue.0) {
                queue.users = queue.users.saturating_add_signed(change);
            }
        }
        if let Some(shared) = init.srq.and_then(|shared| self.shared.get_mut(shared.0)) {
            shared.users = shared.users.saturating_add_signed(change);
        }
    }

    /// Takes a queue pair away, with whatever it has posted and whatever of its completions was not
    /// polled.
    ///
    /// # Errors
    /// [`CoreError::Unknown`].
    pub fn destroy_qp(&mut self, number: QpNumber) -> Result<(), CoreError> {
        let handle = self.handle(number.0).ok_or(CoreError::Unknown)?;
        let index = self.pairs.index(handle).ok_or(CoreError::Unknown)?;
        let pair = self.pairs.remove(handle).ok_or(CoreError::Unknown)?;
        self.timers.clear(narrow(index));
        self.ready.retain(|ready| *ready != index);
        self.use_queues(pair.init(), -1);
        self.forget(pair.init(), number);
        if number.0 == GENERAL_SERVICES {
            self.general = None;
        }
        Ok(())
    }

    /// Leaves out the completions of a queue pair that is gone.
    fn forget(&mut self, init: &QpInit, number: QpNumber) {
        for queue in [init.send_cq, init.recv_cq] {
            if let Some(queue) = self.completions.get_mut(queue.0) {
                queue.forget(number.0);
            }
        }
    }

    /// A queue pair's place and handle by its number.
    fn handle(&self, number: u32) -> Option<u32> {
        if number == GENERAL_SERVICES { self.general } else { Some(number) }
    }

    fn index(&self, number: u32) -> Option<usize> {
        self.pairs.index(self.handle(number)?)
    }

    /// Changes a queue pair's attributes and state.
    ///
    /// # Errors
    /// See [`ModifyError`]; nothing has changed then.
    pub fn modify_qp<M: Memory>(
        &mut self,
        now: Duration,
        number: QpNumber,
        attributes: &Attributes,
        mask: AttrMask,
        memory: &mut M,
    ) -> Result<(), ModifyError> {
        let index = self.index(number.0).ok_or(ModifyError::NoQueuePair)?;
        let pair = self.pairs.at_mut(index).ok_or(ModifyError::NoQueuePair)?;
        pair.modify(attributes, mask, &mut context!(self, now, memory))?;
        if pair.state() == State::Reset {
            let init = *pair.init();
            self.forget(&init, number);
        }
        self.settle(index);
        Ok(())
    }

    /// A queue pair's state and attributes.
    #[must_use]
    pub fn query_qp(&self, number: QpNumber) -> Option<Attributes> {
        self.pairs.at(self.index(number.0)?).map(QueuePair::query)
    }

    /// Posts a send.
    ///
    /// # Errors
    /// See [`PostError`]; nothing was posted then.
    pub fn post_send<M: Memory>(
        &mut self,
        now: Duration,
        number: QpNumber,
        entry: &SendEntry,
        memory: &mut M,
    ) -> Result<(), PostError> {
        let index = self.index(number.0).ok_or(PostError::NoQueue)?;
        let pair = self.pairs.at_mut(index).ok_or(PostError::NoQueue)?;
        pair.post_send(entry, &mut context!(self, now, memory))?;
        self.settle(index);
        Ok(())
    }

    /// Posts a receive.
    ///
    /// # Errors
    /// See [`PostError`]; nothing was posted then.
    pub fn post_recv<M: Memory>(
        &mut self,
        now: Duration,
        number: QpNumber,
        entry: &ReceiveEntry,
        memory: &mut M,
    ) -> Result<(), PostError> {
        let index = self.index(number.0).ok_or(PostError::NoQueue)?;
        let pair = self.pairs.at_mut(index).ok_or(PostError::NoQueue)?;
        pair.post_recv(entry, &mut context!(self, now, memory))
    }

    /// Posts a receive to a shared queue.
    ///
    /// # Errors
    /// See [`PostError`]; nothing was posted then.
    pub fn post_srq_recv(&mut self, shared: SrqId, entry: &ReceiveEntry) -> Result<(), PostError> {
        let shared = self.shared.get_mut(shared.0).ok_or(PostError::NoQueue)?;
        queue_pair::check_receive(entry)?;
        if !shared.queue.has_room() {
            return Err(PostError::Full);
        }
        shared.queue.post(*entry);
        Ok(())
    }

    /// Takes a datagram, from its IP header on.
    ///
    /// # Errors
    /// Why it was dropped. It is counted; there is nothing else to be done about it.
    pub fn receive<M: Memory>(
        &mut self,
        now: Duration,
        datagram: &[u8],
        memory: &mut M,
    ) -> Result<(), Dropped> {
        let result = self.receive_packet(now, datagram, memory);
        if let Err(dropped) = result {
            self.journal.count_dropped(dropped);
        }
        result
    }

    fn receive_packet<M: Memory>(
        &mut self,
        now: Duration,
        datagram: &[u8],
        memory: &mut M,
    ) -> Result<(), Dropped> {
        let packet = Received::parse(datagram)?;
        self.journal.counters.received += 1;
        if !self.port.is_own(packet.route.to) {
            return Err(Dropped::Host);
        }
        let index = self.index(packet.bth.destination).ok_or(Dropped::QueuePair)?;
        let pair = self.pairs.at_mut(index).ok_or(Dropped::QueuePair)?;
        let result = pair.receive(&packet, &mut context!(self, now, memory));
        self.settle(index);
        result
    }

    /// Writes the next packet into a buffer of at least [`Core::buffer_bytes`]; `None` if there is none
    /// now.
    pub fn transmit<M: Memory>(
        &mut self,
        now: Duration,
        buffer: &mut [u8],
        memory: &mut M,
    ) -> Option<Transmit> {
        while let Some(index) = self.ready.pop_front() {
            let Some(pair) = self.pairs.at_mut(index) else { continue };
            pair.queued = false;
            let transmit = pair.transmit(buffer, &mut context!(self, now, memory));
            if transmit.is_some() {
                self.settle(index);
                self.journal.counters.sent += 1;
                return transmit;
            }
            // What it has to send waits for something to happen to it, or for time.
            let deadline = pair.next_deadline();
            self.arm(index, deadline);
        }
        None
    }

    /// When [`Core::tick`] is to be called at the latest. It may be earlier than there is anything to
    /// do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(deadline, _)| deadline)
    }

    /// Does what is due.
    pub fn tick<M: Memory>(&mut self, now: Duration, memory: &mut M) {
        while let Some((deadline, index)) = self.timers.first() {
            if deadline > now {
                return;
            }
            self.timers.clear(index);
            let Ok(index) = usize::try_from(index) else { continue };
            let Some(pair) = self.pairs.at_mut(index) else { continue };
            pair.tick(&mut context!(self, now, memory));
            self.settle(index);
        }
    }

    /// The next event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.journal.next()
    }

    /// How often each thing happened.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.journal.counters
    }

    /// After something happened to a queue pair: it may have something to send, or to wait for.
    fn settle(&mut self, index: usize) {
        let Some(pair) = self.pairs.at_mut(index) else { return };
        if !pair.queued && pair.has_output() {
            pair.queued = true;
            self.ready.push_back(index);
        }
        let deadline = pair.next_deadline();
        self.arm(index, deadline);
    }

    fn arm(&mut self, index: usize, deadline: Option<Duration>) {
        if let Some(deadline) = deadline {
            self.timers.at_latest(narrow(index), deadline);
        }
    }
}

/// A capacity that a queue can have.
fn capacity(entries: u16) -> Result<usize, CoreError> {
    if entries == 0 || entries > MAX_WORK_REQUESTS {
        return Err(CoreError::Capacity);
    }
    Ok(entries.into())
}

/// A place in a table of at most 2¹⁶.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
