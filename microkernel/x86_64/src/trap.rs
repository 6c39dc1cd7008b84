//! Into the kernel and out of it.
//!
//! Every entry from user mode stores the registers straight into the current thread's [`Context`],
//! at which the core's window points. Then the kernel runs on the core's one stack, from its top, and
//! leaves by loading the context of whoever runs next: with SYSRET if that thread entered by SYSCALL,
//! else with IRETQ. Idle means `sti; hlt` on the empty kernel stack; an interrupt there begins on it
//! anew.
//!
//! There are two variants of entries and exits, of which the boot chooses one (`mitigations=`):
//!
//! - `shared`: kernel and user space share a page table. The task state's entry stack is the end of
//!   the context, so that the processor itself pushes the interrupt frame where it belongs.
//! - `separate`: the kernel has a page table of its own, and of it user space shows this code and the
//!   core's [`Window`] only. Entries load the kernel's root before they touch anything else; exits load
//!   the user's last, when all registers but one are the user's. Interrupt frames are pushed in the
//!   window and go from and to the context by copy. What the processor's buffers hold is cleared on
//!   the way out (VERW).
//!
//! NMI, debug, double fault and machine check have stacks of their own, in the window: they may arrive
//! at any instruction of this code, with either root and either GS.

use crate::core_local::{Core, Window};
use crate::irq_lines::LAST_VECTOR;
use crate::local_apic::{SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::segments::{InterruptStack, USER_CODE, USER_DATA};
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use d3os_abi::IRQ_VECTOR_BASE;
use kernel_core::objects::{Context, Tcb};
use kernel_core::{Event, Next, Ref};
use x86_64::registers::control::Cr2;
use x86_64::structures::tss::TaskStateSegment;

/// Bytes from one vector's entry to the next.
pub(crate) const STUB_SIZE: u64 = 16;

const NMI: u8 = 2;
const DEBUG: u8 = 1;
const DOUBLE_FAULT: u8 = 8;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const MACHINE_CHECK: u8 = 18;
const LAST_IRQ: u8 = IRQ_VECTOR_BASE + LAST_VECTOR;

/// Flags that user mode may have: status, direction, trap, nested task, resume, alignment check,
/// identification. A thread may set all of them itself, and keeps them over an interrupt.
const USER_FLAGS: u64 = 0x25_4dd5;
/// Flags that user mode always has: interrupts, and the one that is fixed.
const FIXED_FLAGS: u64 = 0x202;
/// Canonical user addresses have no bit from here up.
const USER_ADDRESS_BITS: u32 = 47;

/// From the frame of an NMI, at the top of its stack, to the count.
const NMIS_FROM_FRAME: usize =
    40 + Window::above_stack(InterruptStack::Nmi) + offset_of!(Window, nmis);

// The frame that the processor and the stubs push ends where the context's frame does, on a 16-byte
// boundary, to which the processor aligns.
const FRAME_END: usize = offset_of!(Context, ss) + 8;
const _: () = {
    assert!((offset_of!(Tcb, context) + FRAME_END).is_multiple_of(16));
    assert!(offset_of!(Context, rax) == 0 && offset_of!(Context, r15) == 14 * 8);
    assert!(offset_of!(Context, ss) == offset_of!(Context, rsp) + 8);
    assert!(offset_of!(Context, rsp) == offset_of!(Context, rflags) + 8);
    assert!(offset_of!(Context, rflags) == offset_of!(Context, cs) + 8);
    assert!(offset_of!(Context, cs) == offset_of!(Context, rip) + 8);
    assert!(offset_of!(Context, rip) == offset_of!(Context, full_frame) + 8);
    assert!(offset_of!(Context, full_frame) == offset_of!(Context, fault_ip) + 8);
};

global_asm!(
    r#"
    # The general registers lie in this order at the beginning of a context. To the one at RSP: all but
    # RCX and R11.
    .macro SAVE_GENERAL
    .set place, 0
    .irp register, rax, rbx, skip, rdx, rsi, rdi, rbp, r8, r9, r10, skip, r12, r13, r14, r15
    .ifnc \register, skip
    mov [rsp + place], \register
    .endif
    .set place, place + 8
    .endr
    .endm

    # From the context at RAX: all but RAX, RCX and R11.
    .macro LOAD_GENERAL
    .set place, 8
    .irp register, rbx, skip, rdx, rsi, rdi, rbp, r8, r9, r10, skip, r12, r13, r14, r15
    .ifnc \register, skip
    mov \register, [rax + place]
    .endif
    .set place, place + 8
    .endr
    .endm

    # The user's root, when all registers but RSP, GS and RAX, which the window keeps, are the user's.
    .macro LOAD_USER_ROOT
    mov gs:[{SCRATCH}], rax
    mov rax, gs:[{USER_ROOT}]
    mov cr3, rax
    verw word ptr gs:[{DATA_SELECTOR}]
    mov rax, gs:[{SCRATCH}]
    .endm

    .section .text.entry, "ax", @progbits

    .macro VARIANT variant, separate, on_syscall, on_trap

    # From user mode by SYSCALL: RCX is the return address, R11 the flags, RSP still the user's. What can
    # be told from these is not stored (`Context::complete`).
    .balign 64
    .type trap_syscall_\variant, @function
trap_syscall_\variant:
    swapgs
    mov gs:[{SCRATCH}], rsp
    .if \separate
    mov rsp, gs:[{KERNEL_ROOT}]
    mov cr3, rsp
    .endif
    mov rsp, gs:[{CONTEXT}]
    SAVE_GENERAL
    mov [rsp + {RIP}], rcx
    mov [rsp + {RFLAGS}], r11
    mov rcx, gs:[{SCRATCH}]
    mov [rsp + {RSP}], rcx
    mov qword ptr [rsp + {FULL_FRAME}], 0
    mov r12, gs:[{THIS}]
    mov r13, rdx
    mov rsp, gs:[{STACK}]
    xor ebp, ebp
    call \on_syscall
    ud2

    # To the user by SYSRET: RAX is the context to load. RIP is behind a SYSCALL that was executed, and
    # nothing is mapped at the highest page of the user's half: it is canonical.
    .global trap_return_syscall_\variant
    .type trap_return_syscall_\variant, @function
trap_return_syscall_\variant:
    mov rcx, [rax + {RIP}]
    mov r11, [rax + {RFLAGS}]
    LOAD_GENERAL
    mov rsp, [rax + {RSP}]
    mov rax, [rax + {RAX}]
    .if \separate
    LOAD_USER_ROOT
    .endif
    swapgs
    sysretq

    # To the user by IRETQ: RAX is the context to load.
    .global trap_return_\variant
    .type trap_return_\variant, @function
trap_return_\variant:
    mov ecx, [rax + {RFLAGS}]
    and ecx, {USER_FLAGS}
    or ecx, {FIXED_FLAGS}
    .if \separate
    mov rsp, gs:[{ENTRY_STACK}]
    push {USER_DATA}
    push qword ptr [rax + {RSP}]
    push rcx
    push {USER_CODE}
    push qword ptr [rax + {RIP}]
    .else
    lea rsp, [rax + {RIP}]
    mov qword ptr [rax + {CS}], {USER_CODE}
    mov [rax + {RFLAGS}], rcx
    mov qword ptr [rax + {SS}], {USER_DATA}
    .endif
    LOAD_GENERAL
    mov rcx, [rax + {RCX}]
    mov r11, [rax + {R11}]
    mov rax, [rax + {RAX}]
    .if \separate
    LOAD_USER_ROOT
    .endif
    swapgs
    iretq

    # Interrupts and exceptions: a stub each, which completes the frame with an error code where
    # the processor pushes none, and the vector.
    .balign 16
    .type trap_stubs_\variant, @function
trap_stubs_\variant:
    .set vector, 0
    .rept 256
    .balign 16
    .if (vector != 8) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
    .if (vector < 10) || (vector > 14)
    push 0
    .endif
    .endif
    push vector
    jmp trap_common_\variant
    .set vector, vector + 1
    .endr

    # LFENCE: not even speculatively does this go on with the wrong GS.
    .balign 16
trap_common_\variant:
    test byte ptr [rsp + 24], 3
    jz trap_from_kernel_\variant
    swapgs
    lfence
    .if \separate
    mov gs:[{SCRATCH}], rax
trap_from_stack_\variant:
    mov rax, gs:[{KERNEL_ROOT}]
    mov cr3, rax
    mov rax, gs:[{CONTEXT}]
    .irp field, {FAULT_IP}, {FULL_FRAME}, {RIP}, {CS}, {RFLAGS}, {RSP}
    pop qword ptr [rax + \field]
    .endr
    mov rsp, rax
    mov rax, gs:[{SCRATCH}]
    .else
    # RSP is inside the current thread's context: at fault_ip, which holds the vector now;
    # full_frame holds the error code.
trap_from_context_\variant:
    sub rsp, {FAULT_IP}
    .endif
    SAVE_GENERAL
    mov [rsp + {RCX}], rcx
    mov [rsp + {R11}], r11
    mov rsi, [rsp + {FAULT_IP}]
    mov rdx, [rsp + {FULL_FRAME}]
    mov rax, [rsp + {RIP}]
    mov [rsp + {FAULT_IP}], rax
    mov qword ptr [rsp + {FULL_FRAME}], 1
    mov rdi, gs:[{THIS}]
    mov rsp, gs:[{STACK}]
    # The user's direction and alignment-check flags (with the latter SMAP lets user memory be
    # touched) end here, as SYSCALL's mask ends them.
    push 2
    popfq
    xor ebp, ebp
    call \on_trap
    ud2

    # Interrupts are on in the kernel only while it idles; anything else is a fault of its own.
trap_from_kernel_\variant:
    lfence
    cmp qword ptr [rsp], 32
    jb trap_kernel_fault_\variant
    mov rsi, [rsp]
    xor edx, edx
    mov rdi, gs:[{THIS}]
    mov rsp, gs:[{STACK}]
    xor ebp, ebp
    call \on_trap
    ud2

    # The stack holds vector, error code and the interrupt frame. GS and root may be the user's.
trap_kernel_fault_\variant:
    .irp register, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    push \register
    .endr
    mov ecx, {GS_BASE}
    rdmsr
    test edx, edx
    js 1f
    swapgs
1:  .if \separate
    mov rax, gs:[{KERNEL_ROOT}]
    mov cr3, rax
    .endif
    mov rdi, rsp
    and rsp, -16
    cld
    call {on_kernel_fault}
    ud2

    # From user mode: moved into the context and on as any exception; else forgotten.
    .type trap_debug_\variant, @function
trap_debug_\variant:
    test byte ptr [rsp + 8], 3
    jz 1f
    swapgs
    lfence
    mov gs:[{SCRATCH}], rax
    .if \separate
    push 0
    push {DEBUG}
    jmp trap_from_stack_\variant
    .else
    mov rax, gs:[{CONTEXT}]
    .irp field, {RIP}, {CS}, {RFLAGS}, {RSP}, {SS}
    pop qword ptr [rax + \field]
    .endr
    lea rsp, [rax + {RIP}]
    mov rax, gs:[{SCRATCH}]
    push 0
    push {DEBUG}
    jmp trap_from_context_\variant
    .endif
1:  iretq

    .type trap_double_fault_\variant, @function
trap_double_fault_\variant:
    push {DOUBLE_FAULT}
    jmp trap_kernel_fault_\variant

    .type trap_machine_check_\variant, @function
trap_machine_check_\variant:
    push 0
    push {MACHINE_CHECK}
    jmp trap_kernel_fault_\variant

    .pushsection .rodata.trap, "a", @progbits
    .balign 8
    .global trap_entries_\variant
trap_entries_\variant:
    .quad trap_syscall_\variant, trap_stubs_\variant, trap_debug_\variant
    .quad trap_double_fault_\variant, trap_machine_check_\variant
    .popsection
    .endm

    VARIANT shared, 0, {on_syscall_shared}, {on_trap_shared}
    VARIANT separate, 1, {on_syscall_separate}, {on_trap_separate}

    # Counted and forgotten.
    .global trap_nmi
    .type trap_nmi, @function
trap_nmi:
    inc qword ptr [rsp + {NMIS_FROM_FRAME}]
    iretq

    # Nothing to run: an interrupt ends the wait in trap_from_kernel. An NMI returns here.
    .global trap_idle
    .type trap_idle, @function
trap_idle:
    mov rsp, gs:[{STACK}]
    xor ebp, ebp
1:  sti
    hlt
    jmp 1b
    .text
    "#,
    THIS = const offset_of!(Window, this),
    STACK = const offset_of!(Window, stack),
    CONTEXT = const offset_of!(Window, context),
    SCRATCH = const offset_of!(Window, scratch),
    KERNEL_ROOT = const offset_of!(Window, kernel_root),
    USER_ROOT = const offset_of!(Window, user_root),
    DATA_SELECTOR = const offset_of!(Window, data_selector),
    ENTRY_STACK = const offset_of!(Window, task) + offset_of!(TaskStateSegment, privilege_stack_table),
    NMIS_FROM_FRAME = const NMIS_FROM_FRAME,
    RAX = const offset_of!(Context, rax),
    RCX = const offset_of!(Context, rcx),
    R11 = const offset_of!(Context, r11),
    FULL_FRAME = const offset_of!(Context, full_frame),
    FAULT_IP = const offset_of!(Context, fault_ip),
    RIP = const offset_of!(Context, rip),
    CS = const offset_of!(Context, cs),
    RFLAGS = const offset_of!(Context, rflags),
    RSP = const offset_of!(Context, rsp),
    SS = const offset_of!(Context, ss),
    USER_CODE = const USER_CODE,
    USER_DATA = const USER_DATA,
    USER_FLAGS = const USER_FLAGS,
    FIXED_FLAGS = const FIXED_FLAGS,
    GS_BASE = const crate::processor::msr::GS_BASE,
    DEBUG = const DEBUG,
    DOUBLE_FAULT = const DOUBLE_FAULT,
    MACHINE_CHECK = const MACHINE_CHECK,
    on_syscall_shared = sym on_syscall::<false>,
    on_syscall_separate = sym on_syscall::<true>,
    on_trap_shared = sym on_trap::<false>,
    on_trap_separate = sym on_trap::<true>,
    on_kernel_fault = sym on_kernel_fault,
);

unsafe extern "C" {
    fn trap_nmi();
    fn trap_idle();
    fn trap_return_shared();
    fn trap_return_separate();
    fn trap_return_syscall_shared();
    fn trap_return_syscall_separate();
    static trap_entries_shared: Entries;
    static trap_entries_separate: Entries;
}

/// Where one variant's entries are.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entries {
    /// SYSCALL's.
    pub(crate) syscall: u64,
    /// The first of the stubs, [`STUB_SIZE`] bytes each.
    pub(crate) stubs: u64,
    debug: u64,
    double_fault: u64,
    machine_check: u64,
}

impl Entries {
    /// Those for a kernel that shares its page table with user space, or has a separate one.
    pub(crate) fn of(separate: bool) -> Self {
        // SAFETY: the tables are constants of this shape.
        unsafe { if separate { trap_entries_separate } else { trap_entries_shared } }
    }

    /// Vectors with entries and stacks of their own.
    pub(crate) fn special(&self) -> [(u8, u64, InterruptStack); 4] {
        [
            (DEBUG, self.debug, InterruptStack::Debug),
            (NMI, trap_nmi as *const () as u64, InterruptStack::Nmi),
            (DOUBLE_FAULT, self.double_fault, InterruptStack::DoubleFault),
            (MACHINE_CHECK, self.machine_check, InterruptStack::MachineCheck),
        ]
    }
}

/// Leaves boot for the first thread.
///
/// # Safety
/// `core.running` is set: every entry will find the kernel instance.
pub(crate) unsafe fn enter(core: &mut Core, next: Next) -> ! {
    if core.separate { leave::<true>(core, next) } else { leave::<false>(core, next) }
}

// Below, `SEPARATE` tells the variant of the entry, and so of the exit.

/// Jumps to an exit with the context to load. What is on the stack is left there: every entry begins
/// at its top.
macro_rules! exit {
    ($to:path, $context:expr) => {
        // SAFETY: the context is that of the thread which the kernel chose, and in the state that the
        // exit names; nothing on the stack is to be dropped.
        unsafe { asm!("jmp {to}", to = sym $to, in("rax") $context, options(noreturn)) }
    };
}

extern "rust-preserve-none" fn on_syscall<const SEPARATE: bool>(core: &mut Core, number: i64) -> ! {
    // SAFETY: user mode runs only after the instance is there.
    match unsafe { core.kernel() }.fast_message(number) {
        Some(thread) => {
            // SAFETY: as above.
            let context = unsafe { core.kernel() }.machine.load_other(thread);
            leave_with::<SEPARATE>(core, context)
        }
        None => on_other_syscall::<SEPARATE>(core, number),
    }
}

/// Apart from the messages' way, which stays straight so.
#[inline(never)]
extern "rust-preserve-none" fn on_other_syscall<const SEPARATE: bool>(
    core: &mut Core,
    number: i64,
) -> ! {
    // SAFETY: as in `on_syscall`.
    match unsafe { core.kernel() }.fast_signal(number) {
        Some(next) => leave::<SEPARATE>(core, next),
        None => on_long_syscall::<SEPARATE>(core, number),
    }
}

#[inline(never)]
fn on_long_syscall<const SEPARATE: bool>(core: &mut Core, number: i64) -> ! {
    // SAFETY: as in `on_syscall`.
    let next = unsafe { core.kernel() }.syscall(number);
    leave::<SEPARATE>(core, next)
}

extern "C" fn on_trap<const SEPARATE: bool>(core: &mut Core, vector: u8, error_code: u64) -> ! {
    match vector {
        PAGE_FAULT => on_page_fault::<SEPARATE>(core, Cr2::read_raw(), error_code),
        0..32 => handle::<SEPARATE>(core, Event::Exception { vector, error_code }),
        // Among the interrupts' vectors, in the gap between devices and signal lines.
        TIMER_VECTOR => on_timer::<SEPARATE>(core),
        IRQ_VECTOR_BASE..=LAST_IRQ => on_irq::<SEPARATE>(core, vector - IRQ_VECTOR_BASE),
        SPURIOUS_VECTOR | 32.. => resume::<SEPARATE>(core),
    }
}

fn on_page_fault<const SEPARATE: bool>(core: &mut Core, address: u64, error_code: u64) -> ! {
    let entry = Entries::of(SEPARATE).syscall;
    if address == entry
        && let Some(number) = complete_syscall(core, entry)
    {
        on_syscall::<SEPARATE>(core, number);
    }
    // SAFETY: user mode runs only after the instance is there.
    let next = unsafe { core.kernel() }.page_fault(address, error_code);
    leave::<SEPARATE>(core, next)
}

/// Some paravirtual kinds of KVM carry SYSCALL out as they should but for the privilege level: the
/// entry's first instruction then faults in user mode. That is completed here, and left by IRETQ.
/// A program that jumps to the entry gets a system call so, which it may have anyway.
fn complete_syscall(core: &mut Core, entry: u64) -> Option<i64> {
    // SAFETY: the context of the thread that just faulted, into which its registers were stored.
    let context = unsafe { &mut *core.window.context };
    if context.rip != entry {
        return None;
    }
    context.rip = context.rcx;
    context.fault_ip = context.rcx.wrapping_sub(2);
    context.rflags = context.r11;
    Some(context.rdx.cast_signed())
}

fn on_irq<const SEPARATE: bool>(core: &mut Core, vector: u8) -> ! {
    // SAFETY: interrupts are off until the first thread runs.
    let kernel = unsafe { core.kernel() };
    if kernel.machine.accept_interrupt(vector) {
        let next = kernel.interrupt(vector);
        leave::<SEPARATE>(core, next)
    } else {
        resume::<SEPARATE>(core)
    }
}

fn on_timer<const SEPARATE: bool>(core: &mut Core) -> ! {
    // SAFETY: interrupts are off until the first thread runs.
    let kernel = unsafe { core.kernel() };
    if kernel.machine.accept_timer() { handle::<SEPARATE>(core, Event::Timer) } else { resume::<SEPARATE>(core) }
}

#[inline]
fn handle<const SEPARATE: bool>(core: &mut Core, event: Event) -> ! {
    // SAFETY: user mode runs and interrupts are on only after the instance is there.
    let next = unsafe { core.kernel() }.handle(event);
    leave::<SEPARATE>(core, next)
}

/// Back to whoever was interrupted: nothing happened that concerns the kernel instance.
fn resume<const SEPARATE: bool>(core: &mut Core) -> ! {
    // SAFETY: as in `handle`.
    let running = unsafe { core.kernel() }.current_thread();
    leave::<SEPARATE>(core, running.map_or(Next::Idle, Next::Thread))
}

/// To what runs next.
#[inline]
fn leave<const SEPARATE: bool>(core: &mut Core, next: Next) -> ! {
    if let Next::Thread(thread) = next {
        leave_to::<SEPARATE>(core, thread)
    }
    exit!(trap_idle, 0)
}

/// To a thread.
#[inline(always)]
fn leave_to<const SEPARATE: bool>(core: &mut Core, thread: Ref<Tcb>) -> ! {
    // SAFETY: as in `handle`.
    let context = unsafe { core.kernel() }.machine.load(thread);
    leave_with::<SEPARATE>(core, context)
}

/// To a thread that is loaded.
#[inline(always)]
fn leave_with<const SEPARATE: bool>(core: &mut Core, context: *mut Context) -> ! {
    core.window.context = context;
    if !SEPARATE {
        core.window.set_entry_stack(context.addr() as u64 + FRAME_END as u64);
    }
    // SAFETY: the context of the thread that the kernel chose.
    let registers = unsafe { &*context };
    if registers.full_frame == 0 {
        if SEPARATE {
            exit!(trap_return_syscall_separate, context)
        }
        exit!(trap_return_syscall_shared, context)
    }
    if registers.rip >> USER_ADDRESS_BITS != 0 {
        leave_unrunnable::<SEPARATE>(core)
    }
    if SEPARATE {
        exit!(trap_return_separate, context)
    }
    exit!(trap_return_shared, context)
}

/// The loaded thread's instruction pointer is one that IRETQ cannot load: that is the thread's fault,
/// not the kernel's. Its handler's may be one, too.
#[cold]
#[inline(never)]
fn leave_unrunnable<const SEPARATE: bool>(core: &mut Core) -> ! {
    loop {
        // SAFETY: as in `handle`.
        let kernel = unsafe { core.kernel() };
        let fault = Event::Exception { vector: GENERAL_PROTECTION, error_code: 0 };
        let next = kernel.handle(fault);
        let Next::Thread(thread) = next else { leave::<SEPARATE>(core, next) };
        // SAFETY: the context of the thread that the kernel chose.
        let registers = unsafe { &*kernel.machine.load(thread) };
        if registers.rip >> USER_ADDRESS_BITS == 0 {
            leave_to::<SEPARATE>(core, thread)
        }
    }
}

/// Registers at a fault inside the kernel, in the order in which the entry pushed them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct KernelFault {
    pub(crate) general: [u64; 15],
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

impl KernelFault {
    /// Names of `general`, in its order.
    pub(crate) const NAMES: [&'static str; 15] = [
        "r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rdi", "rsi", "rbp", "rbx", "rdx",
        "rcx", "rax",
    ];
    const RBP: usize = 10;

    /// The frame pointer.
    pub(crate) fn frame_pointer(&self) -> u64 {
        self.general[Self::RBP]
    }

    /// Whether RSP is where a stack that has grown too far ends.
    pub(crate) fn hit_guard(&self) -> bool {
        let bottom = crate::report::current_stack().start;
        (bottom - 4096..bottom + 256).contains(&self.rsp)
    }
}

extern "C" fn on_kernel_fault(fault: &KernelFault) -> ! {
    crate::report::kernel_fault(fault, Cr2::read_raw())
}
