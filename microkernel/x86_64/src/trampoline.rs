//! The first instructions of the other cores: from real mode, in a page of the first MiB, through
//! the bootstrap tables into the kernel's own address space, each on its own stack.
//!
//! A core knows itself by its local APIC's number, which CPUID tells; the boot core has written
//! down which core has which ([`STARTUP`]).

use crate::cores::Cores;
use crate::layout;
use core::arch::global_asm;
use core::mem::offset_of;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use d3os_abi::MAX_CORES;
use kernel_core::PhysAddr;

/// No local APIC has this number.
const NOBODY: u32 = u32::MAX;

/// What a core finds itself by, and the kernel's address space. Written by the boot core before it
/// starts another.
#[repr(C)]
pub(crate) struct Startup {
    root: AtomicU64,
    apics: [AtomicU32; MAX_CORES],
}

/// See [`Startup`].
pub(crate) static STARTUP: Startup =
    Startup { root: AtomicU64::new(0), apics: [const { AtomicU32::new(NOBODY) }; MAX_CORES] };

impl Startup {
    /// Writes down which cores may come, and the root of the kernel's address space.
    pub(crate) fn prepare(&self, cores: &Cores, root: PhysAddr) {
        self.root.store(root.0, Ordering::Release);
        for (place, apic) in self.apics.iter().zip(cores.apics()) {
            place.store(*apic, Ordering::Release);
        }
    }
}

global_asm!(
    r#"
    .section .boot.text, "ax", @progbits
    # Copied to the start page. CS is the page; nothing but the stack-less first step is here.
    .code16
    .global trampoline_start
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_segments_pointer - trampoline_start
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x10, $trampoline_protected
    .balign 4
trampoline_segments_pointer:
    .short 31
    .long trampoline_segments
    .global trampoline_end
trampoline_end:

    .code32
trampoline_protected:
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x20, %eax            # CR4: physical address extension
    movl %eax, %cr4
    movl $boot_root, %eax
    movl %eax, %cr3
    movl $0x80000001, %eax
    cpuid
    shrl $9, %edx               # EFER: long mode, and pages that forbid execution where there
    andl $0x800, %edx           # are such (bit 20 here, bit 11 there)
    orl $0x100, %edx
    movl %edx, %eax
    xorl %edx, %edx
    movl $0xc0000080, %ecx
    wrmsr
    movl $0x80010033, %eax      # CR0 as on the boot core
    movl %eax, %cr0
    ljmp $8, $trampoline_long

    .code64
trampoline_long:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movabsq $trampoline_high, %rax
    jmp *%rax

    .section .boot.data, "aw", @progbits
    .balign 8
trampoline_segments:
    .quad 0
    .quad 0x00209b0000000000    # 64-bit code
    .quad 0x00cf9b000000ffff    # 32-bit code
    .quad 0x00cf93000000ffff    # data

    .section .text.entry, "ax", @progbits
    # Who am I? Leaf 11 tells 32 bits, where it exists; else leaf 1 tells 8.
trampoline_high:
    xorl %eax, %eax
    cpuid
    cmpl $11, %eax
    jb 1f
    movl $11, %eax
    xorl %ecx, %ecx
    cpuid
    testl %ebx, %ebx
    jnz 2f
1:  movl $1, %eax
    cpuid
    shrl $24, %ebx
    movl %ebx, %edx
2:  leaq {startup}(%rip), %rsi
    xorl %edi, %edi
3:  cmpl {APICS}(%rsi,%rdi,4), %edx
    je 4f
    incl %edi
    cmpl ${MAX_CORES}, %edi
    jb 3b
5:  cli
    hlt                         # Nobody waits for this core.
    jmp 5b
4:  movq {ROOT}(%rsi), %rax
    movq %rax, %cr3
    leaq 1(%rdi), %rsp
    shlq ${WINDOW_BITS}, %rsp
    movabsq ${WINDOWS}, %rax
    addq %rax, %rsp
    xorl %ebp, %ebp
    call {arrive}
    ud2
    .text
    "#,
    startup = sym STARTUP,
    arrive = sym crate::others::arrive,
    ROOT = const offset_of!(Startup, root),
    APICS = const offset_of!(Startup, apics),
    MAX_CORES = const MAX_CORES,
    WINDOWS = const layout::DEVICES,
    WINDOW_BITS = const layout::WINDOW_BITS,
    options(att_syntax)
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// Copies the first instructions to `page`, where a core begins.
///
/// # Safety
/// `page` is a page of RAM below 1 MiB that nobody uses.
pub(crate) unsafe fn install(page: u8) {
    let source = addr_of!(trampoline_start).addr() as u64;
    let length = addr_of!(trampoline_end).addr() - addr_of!(trampoline_start).addr();
    let source = layout::physmap(source) as *const u8;
    let target = layout::physmap(u64::from(page) * 4096) as *mut u8;
    // SAFETY: the image's bootstrap part is linked at its physical address; the caller vouches for
    // the page.
    unsafe { source.copy_to_nonoverlapping(target, length) };
}
