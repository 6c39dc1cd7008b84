//! A machine made of ordinary memory, for tests on the host.

use crate::machine::{CoreControl, InterruptTrigger, Machine, PortWidth, Ticks};
use crate::memory::{KernelObject, PhysAddr, Ref};
use crate::objects::Tcb;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Physical address at which the simulated RAM begins.
pub const RAM_BASE: u64 = 0x10_0000;

#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// Memory that the kernel has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The first byte.
    pub start: PhysAddr,
    /// How many bytes.
    pub bytes: u64,
    /// Zeroed as mere memory; else reached for as an object, to be changed.
    pub cleared: bool,
}

/// The simulated machine. What hardware would do is recorded in public fields for tests to look at.
pub struct SimulatedMachine {
    ram: Box<[Page]>,
    /// The clock; tests move it. One tick is one nanosecond.
    pub now: Ticks,
    /// Last deadline that was set.
    pub deadline: Option<Ticks>,
    /// Active page-table root.
    pub address_space: PhysAddr,
    /// Interrupts that the preemption points will see: counted down at each question, true at zero.
    pub preempt_after: Cell<Option<u32>>,
    /// Routed IOAPIC pins, by user vector.
    pub routes: BTreeMap<u8, (u8, u8, InterruptTrigger)>,
    /// User vectors that are not masked.
    pub unmasked: BTreeSet<u8>,
    /// Kernel instances in the machine.
    pub cores: u32,
    /// Signals sent: core and line, in order.
    pub signals: Vec<(u32, u8)>,
    /// Cores stopped and started, in order.
    pub core_changes: Vec<(u32, CoreControl)>,
    /// Port writes, in order.
    pub port_writes: Vec<(u16, PortWidth, u32)>,
    /// What reads of a port give.
    pub port_values: BTreeMap<u16, u32>,
    /// Pages and address spaces that were flushed (`None`: the whole space), in order.
    pub flushes: Vec<(PhysAddr, Option<u64>)>,
    /// What was printed.
    pub console: Vec<u8>,
    /// While a test asks for it: every change of memory, in order, until the test empties it.
    pub changes: Option<Vec<Change>>,
}

impl SimulatedMachine {
    /// A machine with `pages` zeroed 4 KiB pages of RAM from [`RAM_BASE`].
    #[must_use]
    pub fn new(pages: usize) -> Self {
        Self {
            ram: <[Page]>::new_box_zeroed_with_elems(pages).expect("host memory"),
            now: 1,
            deadline: None,
            address_space: PhysAddr(0),
            preempt_after: Cell::new(None),
            routes: BTreeMap::new(),
            unmasked: BTreeSet::new(),
            cores: 1,
            signals: Vec::new(),
            core_changes: Vec::new(),
            port_writes: Vec::new(),
            port_values: BTreeMap::new(),
            flushes: Vec::new(),
            console: Vec::new(),
            changes: None,
        }
    }

    fn note_change(&mut self, start: PhysAddr, bytes: u64, cleared: bool) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change { start, bytes, cleared });
        }
    }

    fn range<T>(&self, r: Ref<T>) -> std::ops::Range<usize> {
        let start = r.address().0.checked_sub(RAM_BASE).expect("object below RAM");
        let start = usize::try_from(start).expect("object above RAM");
        start..start + size_of::<T>()
    }
}

impl Machine for SimulatedMachine {
    fn object<T: KernelObject>(&self, r: Ref<T>) -> &T {
        let range = self.range(r);
        T::ref_from_bytes(&self.ram.as_bytes()[range]).expect("object misaligned")
    }

    fn object_mut<T: KernelObject>(&mut self, r: Ref<T>) -> &mut T {
        let range = self.range(r);
        self.note_change(r.address(), size_of::<T>() as u64, false);
        T::mut_from_bytes(&mut self.ram.as_mut_bytes()[range]).expect("object misaligned")
    }

    fn clear(&mut self, start: PhysAddr, bytes: u64) {
        assert!(start.is_aligned(3) && bytes.is_multiple_of(8), "clear of {start:?}+{bytes}");
        self.note_change(start, bytes, true);
        let first = usize::try_from(start.0 - RAM_BASE).expect("address");
        let count = usize::try_from(bytes).expect("length");
        self.ram.as_mut_bytes()[first..first + count].fill(0);
    }

    fn now(&self) -> Ticks {
        self.now
    }

    fn ticks_per_microsecond(&self) -> Ticks {
        1000
    }

    fn set_deadline(&mut self, deadline: Ticks) {
        self.deadline = Some(deadline);
    }

    fn timer_precision(&self) -> Ticks {
        1000
    }

    fn set_address_space(&mut self, root: PhysAddr) {
        self.address_space = root;
    }

    fn kernel_address_space(&self) -> PhysAddr {
        PhysAddr(0)
    }

    fn init_address_space(&mut self, _root: PhysAddr) {}

    fn flush_page(&mut self, root: PhysAddr, vaddr: u64) {
        self.flushes.push((root, Some(vaddr)));
    }

    fn flush_address_space(&mut self, root: PhysAddr) {
        self.flushes.push((root, None));
    }

    fn interrupt_pending(&self) -> bool {
        match self.preempt_after.get() {
            None => false,
            Some(0) => true,
            Some(n) => {
                self.preempt_after.set(Some(n - 1));
                false
            }
        }
    }

    fn route_ioapic(&mut self, ioapic: u8, pin: u8, trigger: InterruptTrigger, vector: u8) {
        self.routes.insert(vector, (ioapic, pin, trigger));
    }

    fn ioapic_pins(&self, ioapic: u8) -> Option<u8> {
        (ioapic == 0).then_some(24)
    }

    fn unmask_interrupt(&mut self, vector: u8) {
        self.unmasked.insert(vector);
    }

    fn mask_interrupt(&mut self, vector: u8) {
        self.unmasked.remove(&vector);
    }

    fn cores(&self) -> u32 {
        self.cores
    }

    fn send_signal(&mut self, core: u32, line: u8) {
        self.signals.push((core, line));
    }

    fn control_core(&mut self, core: u32, control: CoreControl) {
        self.core_changes.push((core, control));
    }

    fn port_in(&mut self, port: u16, _width: PortWidth) -> u32 {
        self.port_values.get(&port).copied().unwrap_or(0xff)
    }

    fn port_out(&mut self, port: u16, width: PortWidth, value: u32) {
        self.port_writes.push((port, width, value));
    }

    fn reload(&mut self, _thread: Ref<Tcb>) {}

    fn release_fpu(&mut self, _thread: Ref<Tcb>) {}

    fn save_fpu(&mut self, _thread: Ref<Tcb>) {}

    fn put_char(&mut self, byte: u8) {
        self.console.push(byte);
    }

    fn halt(&mut self) -> ! {
        panic!("the machine was halted");
    }
}
