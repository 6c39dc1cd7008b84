//! Chooses what a thread asks for: mostly what can be carried out, with now and then something wrong.

use super::instance::{CORES, FIRST_FREE, Instance, ROOT_CONTEXT, ROOT_THREAD};
use super::ledger::Kind;
use super::random::Random;
use super::wires::Wires;
use crate::cap::{Cap, TableLevel};
use crate::memory::{PhysAddr, Ref};
use crate::objects::{DOMAINS, PageTable, SchedContext, Tcb, TcbSlot, ThreadState};
use crate::slot::Slot;
use d3os_abi::{
    CNodeCapData, CapRights, FIRST_SIGNAL_VECTOR, FrameSize, Label, MAX_IRQ_VECTOR, ObjectType,
    SIGNAL_LINES,
};

/// A message to an object of the kernel's.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) target: u64,
    pub(super) label: u64,
    pub(super) words: Vec<u64>,
    pub(super) caps: Vec<u64>,
}

/// What is asked for how often.
const WEIGHTS: &[(Label, u64)] = &[
    (Label::UntypedRetype, 120),
    (Label::TcbReadRegisters, 6),
    (Label::TcbWriteRegisters, 6),
    (Label::TcbCopyRegisters, 6),
    (Label::TcbConfigure, 20),
    (Label::TcbSetPriority, 10),
    (Label::TcbSetMcPriority, 4),
    (Label::TcbSetSchedParams, 20),
    (Label::TcbSetTimeoutEndpoint, 10),
    (Label::TcbSetIpcBuffer, 10),
    (Label::TcbSetSpace, 10),
    (Label::TcbSuspend, 4),
    (Label::TcbResume, 50),
    (Label::TcbBindNotification, 10),
    (Label::TcbUnbindNotification, 10),
    (Label::TcbSetTlsBase, 2),
    (Label::TcbSetFlags, 2),
    (Label::CNodeRevoke, 12),
    (Label::CNodeDelete, 60),
    (Label::CNodeCancelBadgedSends, 10),
    (Label::CNodeCopy, 50),
    (Label::CNodeMint, 50),
    (Label::CNodeMove, 30),
    (Label::CNodeMutate, 20),
    (Label::CNodeRotate, 20),
    (Label::IrqControlGet, 1),
    (Label::IrqHandlerAck, 30),
    (Label::IrqHandlerSetNotification, 20),
    (Label::IrqHandlerClear, 3),
    (Label::DomainSetSet, 3),
    (Label::DomainSetScheduleConfigure, 6),
    (Label::DomainSetScheduleSetStart, 3),
    (Label::SchedControlConfigureFlags, 30),
    (Label::SchedContextBind, 30),
    (Label::SchedContextUnbind, 12),
    (Label::SchedContextUnbindObject, 3),
    (Label::SchedContextConsumed, 10),
    (Label::SchedContextYieldTo, 15),
    (Label::PdptMap, 15),
    (Label::PdptUnmap, 4),
    (Label::PageDirectoryMap, 15),
    (Label::PageDirectoryUnmap, 4),
    (Label::PageTableMap, 15),
    (Label::PageTableUnmap, 4),
    (Label::PageMap, 40),
    (Label::PageUnmap, 10),
    (Label::PageGetAddress, 3),
    (Label::AsidControlMakePool, 6),
    (Label::AsidPoolAssign, 15),
    (Label::IoPortControlIssue, 5),
    (Label::IoPortIn8, 2),
    (Label::IoPortIn16, 2),
    (Label::IoPortIn32, 2),
    (Label::IoPortOut8, 2),
    (Label::IoPortOut16, 2),
    (Label::IoPortOut32, 2),
    (Label::IrqControlGetIoApic, 5),
    (Label::IrqControlGetMsi, 5),
    (Label::IrqControlIssueSignal, 10),
    (Label::IrqControlGetSignal, 20),
    (Label::CoreControlStop, 1),
    (Label::CoreControlStart, 1),
];

/// A slot, as a CNode invocation names it.
struct Place {
    node: u64,
    index: u64,
    depth: u64,
}

/// What `thread` could ask of `instance`.
pub(super) struct Chooser<'a> {
    pub(super) instance: &'a Instance,
    pub(super) thread: Ref<Tcb>,
    pub(super) random: &'a mut Random,
}

impl Chooser<'_> {
    /// An invocation; mostly one that can be carried out, if there is what it needs.
    pub(super) fn request(&mut self) -> Request {
        let mut request = self.anything();
        for _ in 0..6 {
            let label = self.label();
            request.label = label.number();
            if let Some(sensible) = self.for_label(label) {
                request = Request { label: label.number(), ..sensible };
                break;
            }
        }
        if self.random.one_in(16) {
            self.spoil(&mut request);
        }
        request
    }

    fn label(&mut self) -> Label {
        let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        for (label, weight) in WEIGHTS {
            if at < *weight {
                return *label;
            }
            at -= weight;
        }
        unreachable!("the weights add up to their sum")
    }

    fn anything(&mut self) -> Request {
        let words = (0..self.random.below(9)).map(|_| self.random.argument()).collect();
        let caps = (0..self.random.below(4)).map(|_| self.random.below(512)).collect();
        let endpoints = self.instance.ledger.of_kind(Kind::Endpoint);
        let target = self.random.below(512);
        // The first thread is to go on, not to wait for an answer.
        let waits = endpoints.iter().any(|slot| self.address(*slot) == Some(target));
        let target = if waits && self.thread == ROOT_THREAD { 0 } else { target };
        Request { target, label: 0, words, caps }
    }

    /// Makes one thing wrong, or only unlikely.
    fn spoil(&mut self, request: &mut Request) {
        let argument = self.random.argument();
        match self.random.below(6) {
            0 => request.label = argument,
            1 if self.thread != ROOT_THREAD => request.target = self.random.below(512),
            2 if !request.words.is_empty() => {
                let last = self.random.index(request.words.len());
                request.words.truncate(last);
            }
            3 if !request.caps.is_empty() => {
                let index = self.random.index(request.caps.len());
                request.caps[index] = self.random.below(512);
            }
            4 if !request.caps.is_empty() => drop(request.caps.pop()),
            _ if !request.words.is_empty() => {
                let index = self.random.index(request.words.len());
                request.words[index] = argument;
            }
            _ => request.words.push(argument),
        }
    }

    fn cap(&self, slot: u64) -> Cap {
        self.instance.kernel.cap_at(Ref::at(PhysAddr(slot)))
    }

    /// The thread's address of a slot, if that is in its root CNode.
    fn address(&self, slot: u64) -> Option<u64> {
        let root = self.instance.kernel.get(self.thread).slots[TcbSlot::CSpace as usize].cap();
        let Cap::CNode { object, radix, guard_size, guard } = root else { return None };
        let index = slot.checked_sub(object.address().0)? >> 5;
        let whole = guard_size + radix == 64 && index < 1 << radix;
        whole.then_some(if guard_size == 0 { index } else { guard << radix | index })
    }

    /// A capability of this kind that the thread can name, and that passes `good`.
    fn find(&mut self, kind: Kind, good: impl Fn(Cap) -> bool) -> Option<(u64, Cap)> {
        self.find_slot(kind, |_, cap| good(cap))
    }

    /// As `find`; `good` is told the slot as well.
    fn find_slot(
        &mut self,
        kind: Kind,
        good: impl Fn(Ref<Slot>, Cap) -> bool,
    ) -> Option<(u64, Cap)> {
        let slots = self.instance.ledger.of_kind(kind);
        if slots.is_empty() {
            return None;
        }
        for _ in 0..8 {
            let slot = self.random.pick(slots);
            let cap = self.cap(slot);
            if let Some(address) = self.address(slot)
                && good(Ref::at(PhysAddr(slot)), cap)
            {
                return Some((address, cap));
            }
        }
        None
    }

    fn any(&mut self, kind: Kind) -> Option<u64> {
        self.find(kind, |_| true).map(|(address, _)| address)
    }

    /// A thread, rarely the one that keeps the others going.
    fn victim(&mut self) -> Option<u64> {
        let spare = !self.random.one_in(400);
        self.find(Kind::Thread, |cap| match cap {
            Cap::Thread { object } => !spare || object != ROOT_THREAD,
            _ => false,
        })
        .map(|(address, _)| address)
    }

    /// A thread that is not the one that asks.
    fn other_thread(&mut self) -> Option<u64> {
        let this = self.thread;
        let other = self.find(Kind::Thread, |cap| match cap {
            Cap::Thread { object } => object != this && object != ROOT_THREAD,
            _ => false,
        });
        other.map(|(address, _)| address)
    }

    /// A scheduling context, rarely the one of the thread that keeps the others going.
    fn context(&mut self) -> Option<(u64, Ref<SchedContext>)> {
        let spare = !self.random.one_in(400);
        let good = |cap| match cap {
            Cap::SchedContext { object, .. } => !spare || object.address() != ROOT_CONTEXT,
            _ => false,
        };
        match self.find(Kind::SchedContext, good)? {
            (address, Cap::SchedContext { object, .. }) => Some((address, object)),
            _ => None,
        }
    }

    /// A configured scheduling context that nobody runs on; rarely any.
    fn free_context(&mut self) -> Option<u64> {
        let (any, kernel) = (self.random.one_in(10), &self.instance.kernel);
        let good = |cap| match cap {
            Cap::SchedContext { object, .. } => {
                let object = kernel.get(object);
                any || object.thread.is_none() && object.is_active()
            }
            _ => false,
        };
        self.find(Kind::SchedContext, good).map(|(address, _)| address)
    }

    /// A thread without time of its own that does not wait for a caller's; rarely any.
    fn passive_thread(&mut self) -> Option<u64> {
        let (any, kernel) = (self.random.one_in(10), &self.instance.kernel);
        let good = |cap| match cap {
            Cap::Thread { object } => {
                let tcb = kernel.get(object);
                let serves = tcb.state == ThreadState::BLOCKED_ON_RECEIVE;
                any || tcb.sched_context.is_none() && !serves
            }
            _ => false,
        };
        self.find(Kind::Thread, good).map(|(address, _)| address)
    }

    fn endpoint(&mut self) -> Option<u64> {
        let answers = CapRights::GRANT.or(CapRights::GRANT_REPLY);
        let good = |cap| match cap {
            Cap::Endpoint { rights, .. } => {
                rights.contains(CapRights::WRITE) && rights.and(answers) != CapRights::NONE
            }
            _ => false,
        };
        self.find(Kind::Endpoint, good).map(|(address, _)| address)
    }

    /// An endpoint, or an empty slot.
    fn handler(&mut self) -> Option<u64> {
        if self.random.one_in(4) { self.empty_address() } else { self.endpoint() }
    }

    fn address_space(&mut self) -> Option<(u64, Ref<PageTable>)> {
        let kernel = &self.instance.kernel;
        let (address, cap) = self.find(Kind::VSpace, |cap| kernel.vspace_root(cap).is_some())?;
        Some((address, kernel.vspace_root(cap)?))
    }

    /// A frame that an IPC buffer may be in.
    fn buffer(&mut self) -> Option<u64> {
        let good = |cap| matches!(cap, Cap::Frame { device: false, .. });
        self.find(Kind::Frame, good).map(|(address, _)| address)
    }

    fn empty_address(&mut self) -> Option<u64> {
        let root = self.instance.kernel.get(self.thread).slots[TcbSlot::CSpace as usize].cap();
        let Cap::CNode { object, radix, .. } = root else { return None };
        let slot = self.empty_in(object, radix)?;
        self.address(slot)
    }

    fn empty_in(&mut self, first: Ref<Slot>, radix: u8) -> Option<u64> {
        let tries = (0..8).map(|_| self.random.below(1 << radix));
        let mut slots = tries.map(|index| first.index(index)).collect::<Vec<_>>().into_iter();
        let empty = slots.find(|slot| self.instance.kernel.get(*slot).is_empty());
        empty.map(|slot| slot.address().0)
    }

    /// How the thread names a slot of a CNode to which it has a capability.
    fn place_of(&mut self, slot: u64) -> Option<Place> {
        let (_, object) = self.instance.ledger.object_with(slot)?;
        if object.kind != Kind::CNode || object.caps.is_empty() {
            return None;
        }
        for _ in 0..4 {
            let cap_slot = self.random.pick(&object.caps);
            let Cap::CNode { object, radix, guard_size, guard } = self.cap(cap_slot) else {
                continue;
            };
            let Some(node) = self.address(cap_slot) else { continue };
            let index = (slot - object.address().0) >> 5;
            let (depth, high) = (guard_size + radix, if radix >= 64 { 0 } else { guard << radix });
            if depth <= 64 {
                return Some(Place { node, index: high | index, depth: depth.into() });
            }
        }
        None
    }

    fn empty_place(&mut self) -> Option<Place> {
        let good = |cap| matches!(cap, Cap::CNode { .. });
        let (_, cap) = self.find(Kind::CNode, good)?;
        let Cap::CNode { object, radix, .. } = cap else { return None };
        let slot = self.empty_in(object, radix)?;
        self.place_of(slot)
    }

    /// A slot that is not empty: of any kind, each as likely as the others; rarely one of those
    /// that everything came from.
    fn full_slot(&mut self) -> Option<u64> {
        const KINDS: [Kind; 16] = [
            Kind::Untyped,
            Kind::Endpoint,
            Kind::Notification,
            Kind::Reply,
            Kind::CNode,
            Kind::Thread,
            Kind::SchedContext,
            Kind::Frame,
            Kind::Frame,
            Kind::Table,
            Kind::VSpace,
            Kind::AsidPool,
            Kind::IrqHandler,
            Kind::Signal,
            Kind::IoPort,
            Kind::SchedControl,
        ];
        for _ in 0..6 {
            let kind = self.random.pick(&KINDS);
            let slots = self.instance.ledger.of_kind(kind);
            if !slots.is_empty() {
                let slot = self.random.pick(slots);
                if !Instance::is_first(slot) || self.random.one_in(500) {
                    return Some(slot);
                }
            }
        }
        None
    }

    fn full_place(&mut self) -> Option<Place> {
        let slot = self.full_slot()?;
        self.place_of(slot)
    }

    fn for_label(&mut self, label: Label) -> Option<Request> {
        match label {
            Label::UntypedRetype => self.retype(),
            Label::CNodeRevoke | Label::CNodeDelete => self.removal(label),
            Label::CNodeCancelBadgedSends => self.cancellation(),
            Label::CNodeCopy | Label::CNodeMint | Label::CNodeMove | Label::CNodeMutate => {
                self.transfer(label)
            }
            Label::CNodeRotate => self.rotation(),
            Label::PdptMap | Label::PageDirectoryMap | Label::PageTableMap => self.table(label),
            Label::PdptUnmap | Label::PageDirectoryUnmap | Label::PageTableUnmap => {
                let level = level_of(label);
                let good = |cap| matches!(cap, Cap::Table { level: is, .. } if is == level);
                plain(self.find(Kind::Table, good)?.0, &[], &[])
            }
            Label::PageMap | Label::PageUnmap | Label::PageGetAddress => self.frame(label),
            Label::AsidControlMakePool => self.pool(),
            Label::AsidPoolAssign => {
                let good = |cap| matches!(cap, Cap::VSpace { asid: None, .. });
                let (space, _) = self.find(Kind::VSpace, good)?;
                plain(self.any(Kind::AsidPool)?, &[], &[space])
            }
            _ if label.number() <= Label::TcbSetFlags.number() => self.thread_request(label),
            _ if (33..=38).contains(&label.number()) => self.time_request(label),
            _ => self.device_request(label),
        }
    }

    fn retype(&mut self) -> Option<Request> {
        let kinds: [(ObjectType, std::ops::Range<u64>, u64); 16] = [
            (ObjectType::Untyped, 7..16, 6),
            (ObjectType::Untyped, 12..13, 4),
            (ObjectType::Tcb, 0..1, 5),
            (ObjectType::Endpoint, 0..1, 5),
            (ObjectType::Notification, 0..1, 5),
            (ObjectType::CNode, 1..6, 6),
            (ObjectType::SchedContext, 7..10, 5),
            (ObjectType::Reply, 0..1, 5),
            (ObjectType::Pdpt, 0..1, 3),
            (ObjectType::PageDirectory, 0..1, 3),
            (ObjectType::PageTable, 0..1, 3),
            (ObjectType::Pml4, 0..1, 3),
            (ObjectType::SmallPage, 0..1, 8),
            (ObjectType::LargePage, 0..1, 1),
            (ObjectType::HugePage, 0..1, 1),
            (ObjectType::Untyped, 30..31, 1),
        ];
        let total = kinds.iter().map(|(_, _, weight)| weight).sum();
        let mut at = self.random.below(total);
        let (kind, sizes, _) = kinds.into_iter().find(|(_, _, weight)| {
            let found = at < *weight;
            at = at.saturating_sub(*weight);
            found
        })?;
        let size = sizes.start + self.random.below(sizes.end - sizes.start);
        let count = 1 + self.random.below(2) * self.random.below(4);
        let bits = kind.size_bits(u8::try_from(size).ok()?);
        let on_device = matches!(
            kind,
            ObjectType::SmallPage
                | ObjectType::LargePage
                | ObjectType::HugePage
                | ObjectType::Untyped
        );
        let kernel = &self.instance.kernel;
        let fits = |slot, cap| match cap {
            Cap::Untyped { size_bits, free, device, .. } => {
                // One without children begins anew.
                let free = if kernel.has_children(slot) { free } else { 0 };
                let used = free.next_multiple_of(1 << bits) + (count << bits);
                (size_bits < 40 && used <= 1 << size_bits) && (on_device || !device)
            }
            _ => false,
        };
        let untyped = match self.find_slot(Kind::Untyped, fits) {
            Some((untyped, _)) => untyped,
            None if self.random.one_in(8) => self.any(Kind::Untyped)?,
            None => return None,
        };
        let (node, cap) = self.find(Kind::CNode, |cap| matches!(cap, Cap::CNode { .. }))?;
        let Cap::CNode { object, radix, .. } = cap else { return None };
        let free = |index: u64| {
            index + count <= 1 << radix
                && (index..index + count).all(|i| kernel.get(object.index(i)).is_empty())
        };
        let tries: Vec<u64> = (0..8).map(|_| self.random.below(1 << radix)).collect();
        let index = tries.iter().copied().find(|index| free(*index)).unwrap_or(tries[0]);
        plain(untyped, &[kind.number(), size, 0, 0, index, count], &[node])
    }

    fn removal(&mut self, label: Label) -> Option<Request> {
        let slot = self.full_slot()?;
        let large = matches!(self.cap(slot), Cap::Untyped { size_bits: 17.., .. });
        if large && label == Label::CNodeRevoke && !self.random.one_in(20) {
            return None;
        }
        let place = self.place_of(slot)?;
        plain(place.node, &[place.index, place.depth], &[])
    }

    fn cancellation(&mut self) -> Option<Request> {
        let slots = self.instance.ledger.of_kind(Kind::Endpoint);
        let all =
            |slot: &&u64| matches!(self.cap(**slot), Cap::Endpoint { rights: CapRights::ALL, .. });
        let slots: Vec<u64> = slots.iter().filter(all).copied().collect();
        if slots.is_empty() {
            return None;
        }
        let slot = self.random.pick(&slots);
        let place = self.place_of(slot)?;
        plain(place.node, &[place.index, place.depth], &[])
    }

    fn data(&mut self) -> u64 {
        match self.random.below(3) {
            0 => self.random.below(4),
            1 => {
                let size = u8::try_from(self.random.below(6)).unwrap();
                CNodeCapData::new(self.random.below(8), size).0
            }
            // What makes a CNode of the root's size one that whole words name slots of.
            _ => CNodeCapData::new(0, 64 - super::instance::ROOT_RADIX).0,
        }
    }

    fn rights(&mut self) -> u64 {
        if self.random.one_in(3) { self.random.below(16) } else { CapRights::ALL.word() }
    }

    fn transfer(&mut self, label: Label) -> Option<Request> {
        let dest = self.empty_place()?;
        let slot = self.full_slot()?;
        let source = self.place_of(slot)?;
        let mut words = vec![dest.index, dest.depth, source.index, source.depth];
        match label {
            Label::CNodeCopy => words.push(self.rights()),
            Label::CNodeMint => words.extend([self.rights(), self.data()]),
            Label::CNodeMutate => words.push(self.data()),
            _ => {}
        }
        plain(dest.node, &words, &[source.node])
    }

    fn rotation(&mut self) -> Option<Request> {
        let (pivot, source) = (self.full_place()?, self.full_place()?);
        let swap = self.random.one_in(3);
        let dest = if swap { source.copy() } else { self.empty_place()? };
        // No data: the capabilities stay as they are, unless they are CNodes.
        let (one, two) = (self.random.below(2), self.random.below(2));
        let words = [
            dest.index,
            dest.depth,
            one,
            pivot.index,
            pivot.depth,
            two,
            source.index,
            source.depth,
        ];
        plain(dest.node, &words, &[pivot.node, source.node])
    }

    /// An address, mostly one where something of 2^`bits` bytes can be mapped.
    fn user_address(&mut self, root: Ref<PageTable>, bits: u8) -> u64 {
        let kernel = &self.instance.kernel;
        let mut vaddr = 0;
        for _ in 0..12 {
            vaddr = self.random.below(2) << 39
                | self.random.below(2) << 30
                | self.random.below(2) << 21
                | self.random.below(4) << 12;
            vaddr = vaddr >> bits << bits;
            let place = kernel.find_entry(root, vaddr, bits);
            if place.is_ok_and(|place| !kernel.entry(place).is_present()) {
                break;
            }
        }
        vaddr
    }

    fn table(&mut self, label: Label) -> Option<Request> {
        let level = level_of(label);
        let good = |cap| matches!(cap, Cap::Table { level: is, mapping: None, .. } if is == level);
        let (table, _) = self.find(Kind::Table, good)?;
        let (space, root) = self.address_space()?;
        let vaddr = self.user_address(root, level.coverage_bits());
        plain(table, &[vaddr, self.random.below(8)], &[space])
    }

    fn frame(&mut self, label: Label) -> Option<Request> {
        let again = label == Label::PageUnmap || self.random.one_in(3);
        let good = |cap| match cap {
            Cap::Frame { mapping, .. } => mapping.is_some() == again,
            _ => false,
        };
        let (frame, cap) = self.find(Kind::Frame, good)?;
        let Cap::Frame { size, mapping, .. } = cap else { return None };
        if label != Label::PageMap {
            return plain(frame, &[], &[]);
        }
        let (space, root) = self.address_space()?;
        let vaddr = match mapping {
            Some(mapping) => mapping.vaddr,
            None => self.user_address(root, FrameSize::bits(size)),
        };
        let words = [vaddr, self.rights(), self.random.below(8)];
        plain(frame, &words, &[space])
    }

    fn pool(&mut self) -> Option<Request> {
        let good = |cap| matches!(cap, Cap::Untyped { size_bits: 12, device: false, .. });
        let (untyped, _) = self.find(Kind::Untyped, good)?;
        let place = self.empty_place()?;
        plain(self.any(Kind::AsidControl)?, &[place.index, place.depth], &[untyped, place.node])
    }

    fn thread_request(&mut self, label: Label) -> Option<Request> {
        let authority = self.any(Kind::Thread)?;
        let priority = 1 + self.random.below(6);
        match label {
            Label::TcbReadRegisters => {
                let flags = u64::from(self.random.one_in(8));
                let words = [flags, 1 + self.random.below(20)];
                plain(self.other_thread()?, &words, &[])
            }
            Label::TcbWriteRegisters => {
                let mut words = vec![self.random.below(2), self.random.below(19)];
                words.extend((0..20).map(|_| self.random.argument()));
                plain(self.other_thread()?, &words, &[])
            }
            Label::TcbCopyRegisters => {
                let flags = self.random.below(8) << 1 | u64::from(self.random.one_in(8));
                plain(self.other_thread()?, &[flags], &[self.victim()?])
            }
            Label::TcbConfigure => {
                let spaces = [self.root_cnode()?, self.address_space()?.0, self.buffer()?];
                plain(self.victim()?, &[0, 0, 0x1_0000 + self.random.below(8) * 1024], &spaces)
            }
            Label::TcbSetPriority | Label::TcbSetMcPriority => {
                let priority = if label == Label::TcbSetPriority { priority } else { 255 };
                plain(self.other_thread()?, &[priority], &[authority])
            }
            Label::TcbSetSchedParams => {
                let (thread, context) = match self.random.below(8) {
                    0 => (self.other_thread()?, self.empty_address()?),
                    _ => (self.passive_thread()?, self.free_context()?),
                };
                let caps = [authority, context, self.handler()?];
                plain(thread, &[255, priority], &caps)
            }
            Label::TcbSetTimeoutEndpoint => plain(self.victim()?, &[], &[self.handler()?]),
            Label::TcbSetIpcBuffer => {
                let vaddr = self.random.below(4) * 1024 + self.random.below(2) * 0x4000;
                plain(self.victim()?, &[vaddr], &[self.buffer()?])
            }
            Label::TcbSetSpace => {
                let caps = [self.handler()?, self.root_cnode()?, self.address_space()?.0];
                plain(self.victim()?, &[0, 0], &caps)
            }
            Label::TcbBindNotification => {
                plain(self.other_thread()?, &[], &[self.any(Kind::Notification)?])
            }
            Label::TcbSetTlsBase => plain(self.victim()?, &[self.random.argument()], &[]),
            Label::TcbSetFlags => plain(self.victim()?, &[self.random.below(2), 1], &[]),
            Label::TcbSuspend => plain(self.victim()?, &[], &[]),
            Label::TcbUnbindNotification => {
                let kernel = &self.instance.kernel;
                let bound = |cap| match cap {
                    Cap::Thread { object } => !kernel.get(object).notification.is_none(),
                    _ => false,
                };
                plain(self.find(Kind::Thread, bound)?.0, &[], &[])
            }
            Label::TcbResume => {
                let (any, kernel) = (self.random.one_in(10), &self.instance.kernel);
                let good = |cap| match cap {
                    Cap::Thread { object } => {
                        let tcb = kernel.get(object);
                        let ready = tcb.sched_context.is_none() || tcb.state.is_runnable();
                        any || !ready && !tcb.slots[TcbSlot::CSpace as usize].is_empty()
                    }
                    _ => false,
                };
                plain(self.find(Kind::Thread, good)?.0, &[], &[])
            }
            _ => plain(self.other_thread()?, &[], &[]),
        }
    }

    /// Mostly a capability to the CNode that most capabilities are in.
    fn root_cnode(&mut self) -> Option<u64> {
        if self.random.one_in(6) {
            return self.any(Kind::CNode);
        }
        let whole = |cap| matches!(cap, Cap::CNode { radix: 9, guard_size: 55, .. });
        self.find(Kind::CNode, whole).map(|(address, _)| address)
    }

    fn time_request(&mut self, label: Label) -> Option<Request> {
        let (context, object) = self.context()?;
        let holder = if self.random.one_in(3) { Kind::Notification } else { Kind::Thread };
        match label {
            Label::SchedControlConfigureFlags => {
                let budget = 20 + self.random.below(900);
                let more = if self.random.one_in(3) { 0 } else { self.random.below(2000) };
                let extra = self.random.below(3) * self.random.below(16);
                let badge = self.random.below(8);
                let words = [budget, budget + more, extra, badge, self.random.below(2)];
                plain(self.any(Kind::SchedControl)?, &words, &[context])
            }
            Label::SchedContextBind if holder == Kind::Thread => {
                plain(self.free_context()?, &[], &[self.passive_thread()?])
            }
            Label::SchedContextBind => plain(context, &[], &[self.any(holder)?]),
            Label::SchedContextUnbindObject => {
                // Mostly the one that has it.
                let object = self.instance.kernel.get(object);
                let thread = object.thread.get();
                let holds = |cap| match cap {
                    Cap::Thread { object } => Some(object) == thread,
                    Cap::Notification { object: lender, .. } => {
                        object.notification.get() == Some(lender)
                    }
                    _ => false,
                };
                let (holder, _) = self.find(holder, holds)?;
                plain(context, &[], &[holder])
            }
            Label::SchedContextUnbind if !self.random.one_in(4) => {
                // From a thread that waits for callers, which then lend it theirs.
                let kernel = &self.instance.kernel;
                let good = |cap| match cap {
                    Cap::SchedContext { object, .. } => {
                        let thread = kernel.get(object).thread.get();
                        let state = thread.map(|thread| kernel.get(thread).state);
                        state == Some(ThreadState::BLOCKED_ON_RECEIVE)
                    }
                    _ => false,
                };
                plain(self.find(Kind::SchedContext, good)?.0, &[], &[])
            }
            _ => plain(context, &[], &[]),
        }
    }

    /// A signal line: mostly one of two, so that both of its ends are in use.
    fn line(&mut self) -> u64 {
        let lines = if self.random.one_in(4) { SIGNAL_LINES } else { 2 };
        self.random.below(lines.into())
    }

    /// A handler: mostly one of those that are wanted, by their vectors.
    fn irq_handler(&mut self, wanted: impl Fn(u8, Wires) -> bool) -> Option<u64> {
        let wires = self.instance.wires;
        let good = |cap| matches!(cap, Cap::IrqHandler { vector } if wanted(vector, wires));
        let found = if self.random.one_in(3) { None } else { self.find(Kind::IrqHandler, good) };
        found.map(|(handler, _)| handler).or_else(|| self.any(Kind::IrqHandler))
    }

    fn device_request(&mut self, label: Label) -> Option<Request> {
        let place = self.empty_place()?;
        let vector = self.random.below(MAX_IRQ_VECTOR + 1);
        match label {
            Label::IrqControlGetIoApic => {
                let pin = self.random.below(24);
                let (level, low) = (self.random.below(2), self.random.below(2));
                let words = [place.index, place.depth, 0, pin, level, low, vector];
                plain(self.any(Kind::IrqControl)?, &words, &[place.node])
            }
            Label::IrqControlGetMsi => {
                let device = self.random.below(32);
                let words = [place.index, place.depth, 1, device, 3, 0, vector];
                plain(self.any(Kind::IrqControl)?, &words, &[place.node])
            }
            Label::IrqControlIssueSignal => {
                let (core, line) = (self.random.below(CORES.into()), self.line());
                let words = [core, line, place.index, place.depth];
                plain(self.any(Kind::IrqControl)?, &words, &[place.node])
            }
            Label::IrqControlGetSignal => {
                let words = [self.line(), place.index, place.depth];
                plain(self.any(Kind::IrqControl)?, &words, &[place.node])
            }
            Label::CoreControlStop | Label::CoreControlStart => {
                let core = self.random.below(CORES.into());
                plain(self.any(Kind::CoreControl)?, &[core], &[])
            }
            Label::IrqControlGet => {
                let words = [vector, place.index, place.depth];
                plain(self.any(Kind::IrqControl)?, &words, &[place.node])
            }
            Label::IrqHandlerSetNotification => {
                let handler = self.irq_handler(|vector, _| vector >= FIRST_SIGNAL_VECTOR)?;
                plain(handler, &[], &[self.any(Kind::Notification)?])
            }
            Label::IrqHandlerAck => {
                plain(self.irq_handler(|vector, wires| wires.is_busy(vector))?, &[], &[])
            }
            Label::IrqHandlerClear => plain(self.any(Kind::IrqHandler)?, &[], &[]),
            Label::DomainSetSet => {
                let domain = self.random.below(DOMAINS as u64);
                plain(self.any(Kind::Domain)?, &[domain], &[self.victim()?])
            }
            Label::DomainSetScheduleConfigure => {
                // Half of the turns are the first thread's, none is long, some are the end.
                let domain = self.random.below(2) * self.random.below(DOMAINS as u64);
                let turn = if self.random.one_in(6) { 0 } else { self.random.below(3_000_000) };
                let words = [self.random.below(2 * DOMAINS as u64), domain, turn];
                plain(self.any(Kind::Domain)?, &words, &[])
            }
            Label::DomainSetScheduleSetStart => {
                let index = self.random.below(DOMAINS as u64);
                plain(self.any(Kind::Domain)?, &[index], &[])
            }
            Label::IoPortControlIssue => {
                let first = self.random.below(0x1000);
                let words = [first, first + self.random.below(8), place.index, place.depth];
                plain(self.any(Kind::IoPortControl)?, &words, &[place.node])
            }
            _ => {
                let (range, cap) = self.find(Kind::IoPort, |_| true)?;
                let Cap::IoPort { first, .. } = cap else { return None };
                plain(range, &[first.into(), self.random.next()], &[])
            }
        }
    }

    /// A partner to talk to, of a kind: mostly one that somebody waits for, and by a capability
    /// that allows it.
    pub(super) fn partner(&mut self, kind: Kind, right: CapRights) -> u64 {
        let allows = |cap| match cap {
            Cap::Endpoint { rights, .. } | Cap::Notification { rights, .. } => {
                rights.contains(right)
            }
            _ => true,
        };
        let kernel = &self.instance.kernel;
        let busy = |cap| match cap {
            Cap::Endpoint { object, .. } => !kernel.get(object).is_idle(),
            Cap::Notification { object, .. } => !kernel.get(object).waiting.head.is_none(),
            Cap::Reply { object, .. } => !kernel.get(object).thread.is_none(),
            _ => false,
        };
        let wanted = !self.random.one_in(3);
        let found = if wanted { self.find(kind, |cap| allows(cap) && busy(cap)) } else { None };
        let found = found.or_else(|| self.find(kind, allows)).map(|(address, _)| address);
        found.or_else(|| self.any(kind)).unwrap_or_else(|| FIRST_FREE + self.random.below(64))
    }

    /// Root, index and depth of a slot in which the thread could receive a capability.
    pub(super) fn receive_path(&mut self) -> Option<[u64; 3]> {
        let place = self.empty_place()?;
        Some([place.node, place.index, place.depth])
    }

    /// A capability to send along.
    pub(super) fn gift(&mut self) -> Option<u64> {
        let slot = self.full_slot()?;
        self.address(slot)
    }
}

impl Place {
    fn copy(&self) -> Self {
        Self { ..*self }
    }
}

fn level_of(label: Label) -> TableLevel {
    match label {
        Label::PdptMap | Label::PdptUnmap => TableLevel::Pdpt,
        Label::PageDirectoryMap | Label::PageDirectoryUnmap => TableLevel::PageDirectory,
        _ => TableLevel::PageTable,
    }
}

fn plain(target: u64, words: &[u64], caps: &[u64]) -> Option<Request> {
    Some(Request { target, label: 0, words: words.to_vec(), caps: caps.to_vec() })
}
