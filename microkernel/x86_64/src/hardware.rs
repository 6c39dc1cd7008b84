//! The machine of one core, as the kernel instance sees it: the [`Machine`] of real hardware.

use crate::address_space::KERNEL_ENTRIES;
use crate::core_local::Window;
use crate::instance::Blueprint;
use crate::instructions::{port_in, port_out, stop, time_stamp, write_cr3, write_msr};
use crate::io_apic::IoApics;
use crate::irq_lines::{IrqLines, Pin};
use crate::layout;
use crate::local_apic::LocalApic;
use crate::processor::{Guards, disable_fpu, msr};
use crate::serial::Serial;
use core::arch::asm;
use d3os_abi::{FIRST_SIGNAL_VECTOR, IRQ_VECTOR_BASE, TCB_FLAG_FPU_DISABLED};
use kernel_core::objects::{Context, FpuState, PageTable, Tcb};
use kernel_core::{
    CoreControl, InterruptTrigger, KernelObject, Link, Machine, PhysAddr, PortWidth, Ref, Ticks,
};
use x86_64::VirtAddr;
use x86_64::instructions::tlb;

/// FS and GS bases are user addresses: bits above are cut off.
const USER_ADDRESS: u64 = (1 << 47) - 1;

/// The hardware of one core.
pub(crate) struct Hardware {
    blueprint: &'static Blueprint,
    ticks_per_microsecond: Ticks,
    /// A page-table root with what user space shows of the kernel's half.
    shown_root: PhysAddr,
    guards: Guards,
    /// Whether a new address space is left to the exit, and that is all.
    only_separate: bool,
    /// The page-table root of user space: the active one, or which exits load (with a separate kernel's
    /// page table and no barrier, the window alone knows).
    root: PhysAddr,
    local_apic: LocalApic,
    io_apics: IoApics,
    lines: IrqLines,
    /// Whose bases and FPU registers are loaded.
    loaded: Link<Tcb>,
    fs_base: u64,
    gs_base: u64,
    /// Whose FPU registers are loaded.
    fpu_owner: Link<Tcb>,
    /// Its thread's flags, of which one is whether the FPU is disabled.
    flags: u64,
}

impl Hardware {
    /// On a core in the kernel's address space, with FS and GS base of user mode zero.
    pub(crate) fn new(
        blueprint: &'static Blueprint,
        shown_root: PhysAddr,
        local_apic: LocalApic,
        io_apics: IoApics,
    ) -> Self {
        Self {
            blueprint,
            ticks_per_microsecond: blueprint.megahertz.into(),
            shown_root,
            guards: blueprint.guards,
            only_separate: blueprint.guards.separate && !blueprint.guards.prediction_barrier,
            root: blueprint.space.root,
            local_apic,
            io_apics,
            lines: IrqLines::default(),
            loaded: Link::NONE,
            fs_base: 0,
            gs_base: 0,
            fpu_owner: Link::NONE,
            flags: 0,
        }
    }

    /// The core's local APIC.
    pub(crate) fn apic(&self) -> u32 {
        self.local_apic.id()
    }

    /// The local APIC of another core.
    fn apic_of(&self, core: u32) -> Option<u32> {
        Some(self.blueprint.partition.members.get(core as usize)?.apic)
    }

    /// A user interrupt vector arrived: acknowledges it to the controllers. Whether the kernel
    /// instance is to hear of it.
    pub(crate) fn accept_interrupt(&mut self, vector: u8) -> bool {
        let arrival = self.lines.arrive(vector);
        self.io_apics.set_masked(arrival.hold, true);
        self.local_apic.end_of_interrupt();
        arrival.deliver
    }

    /// The timer's vector arrived. Whether the deadline has passed.
    pub(crate) fn accept_timer(&mut self) -> bool {
        self.local_apic.end_of_interrupt();
        self.local_apic.timer_fired()
    }

    /// Loads what of a thread's state the exit code does not: bases and FPU. Returns its registers.
    ///
    /// A thread can zero its bases by loading a selector, unseen by the kernel: so bases other than
    /// zero are written even if they seem to be loaded.
    #[inline(always)]
    pub(crate) fn load(&mut self, thread: Ref<Tcb>) -> *mut Context {
        if self.loaded != Link::to(thread) {
            self.load_other(thread);
        }
        &raw mut self.object_mut(thread).context
    }

    /// As [`Hardware::load`], for a thread that is not loaded.
    #[inline(always)]
    pub(crate) fn load_other(&mut self, thread: Ref<Tcb>) -> *mut Context {
        self.loaded = Link::to(thread);
        let tcb = self.object(thread);
        let (flags, fs_base, gs_base) = (tcb.flags, tcb.context.fs_base, tcb.context.gs_base);
        if fs_base | self.fs_base != 0 {
            // SAFETY: an address that is canonical, as the thread's registers are kept.
            unsafe { write_msr(msr::FS_BASE, fs_base) };
            self.fs_base = fs_base;
        }
        let is_usual = flags | self.flags | gs_base | self.gs_base == 0;
        let uses_fpu = is_usual || self.load_unusual(flags, gs_base);
        if uses_fpu && self.fpu_owner != Link::to(thread) {
            self.load_fpu(thread);
        }
        &raw mut self.object_mut(thread).context
    }

    /// Loads GS base, and flags. Whether the thread uses the FPU.
    #[cold]
    fn load_unusual(&mut self, flags: u64, gs_base: u64) -> bool {
        // SAFETY: a canonical address of the user's half; the exit code swaps it in.
        unsafe { write_msr(msr::USER_GS_BASE, gs_base & USER_ADDRESS) };
        self.gs_base = gs_base;
        let uses_fpu = flags & TCB_FLAG_FPU_DISABLED == 0;
        disable_fpu(!uses_fpu);
        self.flags = flags;
        uses_fpu
    }

    #[inline(always)]
    fn load_fpu(&mut self, thread: Ref<Tcb>) {
        if let Some(owner) = self.fpu_owner.get() {
            self.store_fpu(owner);
        }
        let state: *const FpuState = &raw const self.object(thread).fpu;
        // SAFETY: 16-byte aligned, written only by FXSAVE or `FpuState::init`, so MXCSR has
        // no reserved bit; the FPU is enabled, and the kernel itself uses none of its registers.
        unsafe { asm!("fxrstor64 [{}]", in(reg) state, options(nostack, readonly)) };
        self.fpu_owner = Link::to(thread);
    }

    fn store_fpu(&mut self, owner: Ref<Tcb>) {
        let state: *mut FpuState = &raw mut self.object_mut(owner).fpu;
        // SAFETY: 512 aligned bytes of the owner's TCB; the FPU is enabled.
        unsafe { asm!("fxsave64 [{}]", in(reg) state, options(nostack)) };
    }

    #[inline(always)]
    fn switch(&mut self, root: PhysAddr) {
        self.root = root;
        if self.guards.separate {
            // SAFETY: the kernel filled the root's upper half by `init_address_space`.
            unsafe { Window::set_user_root(root) };
        } else {
            // SAFETY: as above.
            unsafe { write_cr3(root.0) };
        }
        if self.guards.prediction_barrier {
            // SAFETY: CPUID named the command.
            unsafe { write_msr(msr::PREDICTION_COMMAND, 1) };
        }
    }
}

impl Machine for Hardware {
    #[inline]
    fn object<T: KernelObject>(&self, r: Ref<T>) -> &T {
        let place = layout::physmap(r.address().0) as *const T;
        // SAFETY: the trait's contract: `r` points at RAM that holds a `T`, of which any bit
        // pattern is a value. All RAM is mapped there. The kernel reaches its objects only through
        // this machine, so that the borrow of it keeps the references apart.
        unsafe { &*place }
    }

    #[inline]
    fn object_mut<T: KernelObject>(&mut self, r: Ref<T>) -> &mut T {
        let place = layout::physmap(r.address().0) as *mut T;
        // SAFETY: as for `object`.
        unsafe { &mut *place }
    }

    #[inline]
    fn clear(&mut self, start: PhysAddr, bytes: u64) {
        let place = layout::physmap(start.0) as *mut u64;
        // SAFETY: the trait's contract: RAM that holds no live object, 8-byte aligned.
        unsafe {
            asm!("rep stosq", inout("rcx") bytes / 8 => _, inout("rdi") place => _, in("rax") 0,
                options(nostack, preserves_flags));
        }
    }

    #[inline]
    fn now(&self) -> Ticks {
        time_stamp()
    }

    #[inline]
    fn ticks_per_microsecond(&self) -> Ticks {
        self.ticks_per_microsecond
    }

    #[inline]
    fn set_deadline(&mut self, deadline: Ticks) {
        self.local_apic.set_deadline(deadline);
    }

    #[inline]
    fn timer_precision(&self) -> Ticks {
        self.ticks_per_microsecond
    }

    #[inline(always)]
    fn set_address_space(&mut self, root: PhysAddr) {
        if self.only_separate {
            // SAFETY: the kernel filled the root's upper half by `init_address_space`.
            unsafe { Window::set_user_root(root) };
        } else if self.root != root {
            self.switch(root);
        }
    }

    fn kernel_address_space(&self) -> PhysAddr {
        self.shown_root
    }

    fn init_address_space(&mut self, root: PhysAddr) {
        for entry in KERNEL_ENTRIES {
            let shown = self.object::<PageTable>(Ref::at(self.shown_root)).entries[entry];
            self.object_mut::<PageTable>(Ref::at(root)).entries[entry] = shown;
        }
    }

    fn flush_page(&mut self, root: PhysAddr, vaddr: u64) {
        // Without PCIDs another space's translations went when this one was loaded, and a separate
        // kernel's root loads none.
        if self.root == root && !self.guards.separate {
            tlb::flush(VirtAddr::new_truncate(vaddr));
        }
    }

    fn flush_address_space(&mut self, root: PhysAddr) {
        if self.root == root && !self.guards.separate {
            // SAFETY: it is the active root.
            unsafe { write_cr3(root.0) };
        }
    }

    fn interrupt_pending(&self) -> bool {
        self.local_apic.interrupt_requested()
    }

    fn route_ioapic(&mut self, ioapic: u8, pin: u8, trigger: InterruptTrigger, vector: u8) {
        let pin = Pin { io_apic: ioapic, pin, level: trigger.level };
        let old = self.lines.route(vector, pin);
        self.io_apics.set_masked(old, true);
        let target = u8::try_from(self.local_apic.id()).unwrap_or(u8::MAX);
        let vector = IRQ_VECTOR_BASE + vector;
        self.io_apics.route(pin, trigger.active_low, vector, target);
    }

    fn ioapic_pins(&self, ioapic: u8) -> Option<u8> {
        self.io_apics.pins(ioapic)
    }

    fn unmask_interrupt(&mut self, vector: u8) {
        let release = self.lines.unmask(vector);
        self.io_apics.set_masked(release.pin, false);
        if release.resend {
            self.local_apic.send(self.apic(), IRQ_VECTOR_BASE + vector);
        }
    }

    fn mask_interrupt(&mut self, vector: u8) {
        let pin = self.lines.mask(vector);
        self.io_apics.set_masked(pin, true);
    }

    fn cores(&self) -> u32 {
        self.blueprint.cores()
    }

    fn send_signal(&mut self, core: u32, line: u8) {
        if let Some(apic) = self.apic_of(core) {
            self.local_apic.send(apic, IRQ_VECTOR_BASE + FIRST_SIGNAL_VECTOR + line);
        }
    }

    fn control_core(&mut self, core: u32, control: CoreControl) {
        match (self.apic_of(core), control) {
            (Some(apic), CoreControl::Stop) => self.local_apic.send_init(apic),
            (Some(apic), CoreControl::Start) => {
                self.local_apic.send_start(apic, self.blueprint.start_page_of(core));
            }
            (None, _) => {}
        }
    }

    fn port_in(&mut self, port: u16, width: PortWidth) -> u32 {
        match width {
            PortWidth::Byte => port_in::<u8>(port).into(),
            PortWidth::Word => port_in::<u16>(port).into(),
            PortWidth::Long => port_in(port),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the width says how much counts")]
    fn port_out(&mut self, port: u16, width: PortWidth, value: u32) {
        match width {
            PortWidth::Byte => port_out(port, value as u8),
            PortWidth::Word => port_out(port, value as u16),
            PortWidth::Long => port_out(port, value),
        }
    }

    fn reload(&mut self, thread: Ref<Tcb>) {
        if self.loaded == Link::to(thread) {
            self.loaded = Link::NONE;
        }
    }

    fn release_fpu(&mut self, thread: Ref<Tcb>) {
        if self.fpu_owner == Link::to(thread) {
            self.fpu_owner = Link::NONE;
        }
        self.reload(thread);
    }

    fn save_fpu(&mut self, thread: Ref<Tcb>) {
        if self.fpu_owner == Link::to(thread) {
            // The loaded thread may be one that is not to have it: it is loaded anew.
            disable_fpu(false);
            self.flags = 0;
            self.loaded = Link::NONE;
            self.store_fpu(thread);
        }
    }

    fn put_char(&mut self, byte: u8) {
        Serial.put(byte);
    }

    fn halt(&mut self) -> ! {
        stop()
    }
}
