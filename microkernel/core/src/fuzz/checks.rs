//! What must hold after every step, of everything that the step has touched; and of everything, now
//! and then.

use super::ledger::{Kind, Ledger, Touched};
use crate::cap::{Cap, TableLevel};
use crate::kernel::{Kernel, Next};
use crate::memory::{Link, PhysAddr, Ref};
use crate::objects::{Endpoint, Neighbours, Notification, PageTable, Queue, Reply};
use crate::objects::{SchedContext, Tcb, TcbSlot, ThreadState};
use crate::simulation::SimulatedMachine;
use crate::slot::Slot;
use crate::thread_invariants::Objects;

/// The kinds of objects that threads meet: they link to each other.
const MEETING: [Kind; 5] =
    [Kind::Thread, Kind::Endpoint, Kind::Notification, Kind::Reply, Kind::SchedContext];

/// Entries of a page-table root that are user space's.
const USER_ENTRIES: usize = 256;
const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A kernel and what lies where in it.
pub(super) struct Subject<'a> {
    pub(super) kernel: &'a Kernel<SimulatedMachine>,
    pub(super) ledger: &'a Ledger,
    pub(super) next: Next,
}

impl Subject<'_> {
    /// After a step.
    pub(super) fn check_touched(&self, touched: &Touched) {
        for slot in &touched.slots {
            self.check_slot(*slot);
        }
        for (kind, at) in &touched.objects {
            self.check_object(*kind, *at);
        }
        let ended = touched.dead.iter().any(|(kind, _)| MEETING.contains(kind));
        if ended {
            MEETING.iter().for_each(|kind| self.check_all_links(*kind));
        }
        let paging = |(kind, _): &(Kind, PhysAddr)| {
            matches!(kind, Kind::Table | Kind::VSpace | Kind::Frame | Kind::AsidPool)
        };
        if touched.objects.iter().chain(&touched.dead).any(paging) {
            self.check_address_spaces();
        }
        self.kernel.check_choice(self.next);
        self.check_loaded();
    }

    /// Everything that meets threads.
    pub(super) fn check_all(&self) {
        self.kernel.check_threads(&self.objects(), self.next);
        MEETING.iter().for_each(|kind| self.check_all_links(*kind));
        self.check_address_spaces();
    }

    fn objects(&self) -> Objects {
        fn of<T>(ledger: &Ledger, kind: Kind) -> Vec<Ref<T>> {
            ledger.objects_of(kind).map(Ref::at).collect()
        }
        Objects {
            threads: of(self.ledger, Kind::Thread),
            endpoints: of(self.ledger, Kind::Endpoint),
            notifications: of(self.ledger, Kind::Notification),
            replies: of(self.ledger, Kind::Reply),
            contexts: of(self.ledger, Kind::SchedContext),
        }
    }

    /// The neighbours in the derivation link back, and of two that name one object, both are next
    /// to each other.
    fn check_slot(&self, slot: Ref<Slot>) {
        let content = self.kernel.get(slot);
        let cap = content.cap();
        if cap == Cap::Null {
            let unlinked = content.prev.is_none() && content.next().is_none();
            assert!(unlinked, "empty slot {slot:?} is in the derivation");
            return;
        }
        self.kernel.check_links(slot);
        let Some((base, _)) = cap.memory(slot) else { return };
        let Some(object) = self.ledger.objects.get(&base.0) else { return };
        if object.kind == Kind::of(cap) && object.caps.len() > 1 {
            let near = |other: Option<Ref<Slot>>| {
                other.is_some_and(|other| cap.same_object(self.kernel.cap_at(other)))
            };
            let found = near(content.prev.get()) || near(content.next());
            assert!(found, "{cap:x?} stands alone, but {object:x?}");
        }
    }

    fn check_object(&self, kind: Kind, at: PhysAddr) {
        let kernel = self.kernel;
        match kind {
            Kind::Thread => {
                kernel.check_thread(Ref::at(at), self.next);
                self.check_waits(Ref::at(at));
                self.check_buffer(Ref::at(at));
            }
            Kind::Endpoint => drop(kernel.endpoint_members(Ref::at(at))),
            Kind::Notification => {
                kernel.notification_members(Ref::at(at));
                kernel.check_signal(Ref::at(at));
            }
            Kind::Reply => kernel.check_reply(Ref::at(at)),
            Kind::SchedContext => kernel.check_context(Ref::at(at)),
            _ => return,
        }
        self.check_links_of(kind, at);
    }

    /// A thread that waits is in the queue that it waits in.
    fn check_waits(&self, thread: Ref<Tcb>) {
        let tcb = self.kernel.get(thread);
        let members = match tcb.state {
            ThreadState::BLOCKED_ON_SEND | ThreadState::BLOCKED_ON_RECEIVE => {
                self.kernel.endpoint_members(Ref::at(tcb.blocked_on))
            }
            ThreadState::BLOCKED_ON_NOTIFICATION => {
                self.kernel.notification_members(Ref::at(tcb.blocked_on))
            }
            _ => return,
        };
        assert!(members.contains(&thread), "{thread:?} waits where nobody will find it");
    }

    /// A thread's IPC buffer is memory of a frame. (One that is being deleted has zombies in its
    /// slots, and sends nothing any more.)
    fn check_buffer(&self, thread: Ref<Tcb>) {
        let names_it = |slot: &u64| {
            self.kernel.cap_at(Ref::at(PhysAddr(*slot))) == Cap::Thread { object: thread }
        };
        if !self.ledger.objects[&thread.address().0].caps.iter().any(names_it) {
            return;
        }
        if let Some(buffer) = self.kernel.ipc_buffer(thread) {
            let at = buffer.address().0;
            let object = self.ledger.object_with(at).map(|(_, object)| object.kind);
            assert_eq!(object, Some(Kind::Frame), "the buffer of {thread:?} at {at:#x}");
            let cap = self.kernel.get(thread).slots[TcbSlot::IpcBuffer as usize].cap();
            let Cap::Frame { base, size, device: false, .. } = cap else {
                panic!("{thread:?} has its buffer in {cap:x?}")
            };
            assert!(base.0 <= at && at < base.0 + size.bytes(), "the buffer is elsewhere");
        }
    }

    fn check_all_links(&self, kind: Kind) {
        for at in self.ledger.objects_of(kind) {
            self.check_links_of(kind, at);
        }
    }

    /// What an object links to lives, and is what it is taken for.
    fn check_links_of(&self, kind: Kind, at: PhysAddr) {
        let mut links = Vec::new();
        match kind {
            Kind::Thread => self.thread_links(Ref::at(at), &mut links),
            Kind::Endpoint => {
                let endpoint: Ref<Endpoint> = Ref::at(at);
                queue_links(self.kernel.get(endpoint).queue().1, &mut links);
            }
            Kind::Notification => {
                let object = self.kernel.get(Ref::<Notification>::at(at));
                queue_links(object.waiting, &mut links);
                links.push((Kind::Thread, target(object.bound_thread)));
                links.push((Kind::SchedContext, target(object.sched_context)));
            }
            Kind::Reply => {
                let object = self.kernel.get(Ref::<Reply>::at(at));
                links.push((Kind::Thread, target(object.thread)));
                links.push((Kind::Reply, target(object.below)));
                links.push((Kind::Reply, target(object.above)));
                links.push((Kind::SchedContext, target(object.lent)));
            }
            Kind::SchedContext => {
                let object = self.kernel.get(Ref::<SchedContext>::at(at));
                links.push((Kind::Thread, target(object.thread)));
                links.push((Kind::Notification, target(object.notification)));
                links.push((Kind::Reply, target(object.reply)));
                links.push((Kind::Thread, target(object.yield_from)));
            }
            _ => {}
        }
        for (kind_of_target, target) in links {
            let Some(target) = target else { continue };
            let lives = self.ledger.lives(kind_of_target, target);
            assert!(lives, "{kind:?} at {at:?} links to a dead {kind_of_target:?} at {target:?}");
        }
    }

    fn thread_links(&self, thread: Ref<Tcb>, links: &mut Vec<(Kind, Option<PhysAddr>)>) {
        let tcb = self.kernel.get(thread);
        links.push((Kind::Reply, target(tcb.reply)));
        links.push((Kind::SchedContext, target(tcb.sched_context)));
        links.push((Kind::Notification, target(tcb.notification)));
        links.push((Kind::SchedContext, target(tcb.yield_to)));
        match tcb.state {
            ThreadState::BLOCKED_ON_SEND | ThreadState::BLOCKED_ON_RECEIVE => {
                links.push((Kind::Endpoint, Some(tcb.blocked_on)));
                neighbour_links(tcb.waiting, links);
            }
            ThreadState::BLOCKED_ON_NOTIFICATION => {
                links.push((Kind::Notification, Some(tcb.blocked_on)));
                neighbour_links(tcb.waiting, links);
            }
            _ => {}
        }
        if tcb.queued != crate::objects::Queued::NOWHERE {
            neighbour_links(tcb.scheduled, links);
        }
    }

    /// The processor runs on the tables of the thread that runs, or on the kernel's; a thread that
    /// lost its own while it ran keeps them until another one runs, as long as they live.
    fn check_loaded(&self) {
        let loaded = self.kernel.machine.address_space;
        if loaded != PhysAddr(0) {
            assert!(self.ledger.lives(Kind::VSpace, loaded), "runs on dead tables {loaded:?}");
        }
        let Next::Thread(thread) = self.next else { return };
        let cap = self.kernel.get(thread).slots[TcbSlot::VSpace as usize].cap();
        if let Some(root) = self.kernel.vspace_root(cap) {
            assert_eq!(loaded, root.address(), "{thread:?} runs in another address space");
        }
    }

    /// What user space can reach by any address space is frames, by tables; each is recorded in a
    /// capability that allows it.
    fn check_address_spaces(&self) {
        for root in self.ledger.objects_of(Kind::VSpace) {
            let caps = &self.ledger.objects[&root.0].caps;
            let cap = self.kernel.cap_at(Ref::at(PhysAddr(caps[0])));
            let root: Ref<PageTable> = Ref::at(root);
            let table = self.kernel.get(root);
            let kernels = table.entries[USER_ENTRIES..].iter().all(|entry| *entry == 0);
            assert!(kernels, "the kernel's half of {root:?} has changed");
            if self.kernel.vspace_root(cap).is_some() {
                self.check_table(root, 39, 0);
            }
        }
    }

    fn check_table(&self, table: Ref<PageTable>, shift: u8, from: u64) {
        let entries = self.kernel.get(table).entries;
        for (index, entry) in (0u64..).zip(entries) {
            let vaddr = from + (index << shift);
            let to = PhysAddr(entry & ADDRESS);
            match shift {
                _ if entry & PRESENT == 0 => {}
                39 => self.check_table_entry(to, TableLevel::Pdpt, 30, vaddr),
                30 if entry & LARGE == 0 => {
                    self.check_table_entry(to, TableLevel::PageDirectory, 21, vaddr);
                }
                21 if entry & LARGE == 0 => {
                    self.check_table_entry(to, TableLevel::PageTable, 12, vaddr);
                }
                _ => self.check_page(entry, shift, vaddr),
            }
        }
    }

    fn check_table_entry(&self, to: PhysAddr, level: TableLevel, shift: u8, vaddr: u64) {
        assert!(self.ledger.lives(Kind::Table, to), "{vaddr:#x} leads to a dead table {to:?}");
        let recorded = |slot: &u64| match self.kernel.cap_at(Ref::at(PhysAddr(*slot))) {
            Cap::Table { level: is, mapping: Some(at), .. } => is == level && at.vaddr == vaddr,
            _ => false,
        };
        let caps = &self.ledger.objects[&to.0].caps;
        assert!(caps.iter().any(recorded), "{level:?} {to:?} is at {vaddr:#x}, unrecorded");
        self.check_table(Ref::at(to), shift, vaddr);
    }

    fn check_page(&self, entry: u64, shift: u8, vaddr: u64) {
        let base = PhysAddr(entry & ADDRESS & !((1 << shift) - 1));
        assert!(
            self.ledger.lives(Kind::Frame, base),
            "{vaddr:#x} maps {base:?}, which is no frame"
        );
        let writable = entry & WRITE != 0;
        let recorded = |slot: &u64| match self.kernel.cap_at(Ref::at(PhysAddr(*slot))) {
            Cap::Frame { size, rights, mapping: Some(at), .. } => {
                size.bits() == shift
                    && at.vaddr == vaddr
                    && (rights == d3os_abi::CapRights::READ_WRITE || !writable)
            }
            _ => false,
        };
        let caps = &self.ledger.objects[&base.0].caps;
        assert!(caps.iter().any(recorded), "{base:?} is mapped at {vaddr:#x}, unrecorded");
    }
}

fn target<T>(link: Link<T>) -> Option<PhysAddr> {
    link.get().map(Ref::address)
}

fn queue_links(queue: Queue, links: &mut Vec<(Kind, Option<PhysAddr>)>) {
    links.push((Kind::Thread, target(queue.head)));
    links.push((Kind::Thread, target(queue.tail)));
}

fn neighbour_links(neighbours: Neighbours, links: &mut Vec<(Kind, Option<PhysAddr>)>) {
    links.push((Kind::Thread, target(neighbours.prev)));
    links.push((Kind::Thread, target(neighbours.next)));
}
