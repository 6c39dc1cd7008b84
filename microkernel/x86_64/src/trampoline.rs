//! The first instructions of the other cores: from real mode, in a page of the first MiB, through
//! `entry`'s way into long mode, to a stack of their own in the kernel's address space.
//!
//! A core knows itself by its local APIC's number, which CPUID tells; the boot core has written
//! down which core has which.

use crate::instance::{Blueprint, PAGE};
use crate::layout;
use core::arch::global_asm;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use d3os_abi::MAX_CORES;

/// The root of the kernel's address space, and each core's local APIC: 2^32 - 1, which none has, if
/// there is no such core.
static ROOT: AtomicU64 = AtomicU64::new(0);
static APICS: [AtomicU32; MAX_CORES] = [const { AtomicU32::new(u32::MAX) }; MAX_CORES];

global_asm!(
    r#"
    .section .boot.text, "ax", @progbits
    // Copied to the start page. CS is the page.
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
    .long boot_segments
    .global trampoline_end
trampoline_end:

    .code32
trampoline_protected:
    movw $0x18, %ax
    movw %ax, %ds
    movl $1, %ebp
    jmp enter_long_mode

    .text
    .code64
    // Who am I? Leaf 11 tells 32 bits, where it exists; else leaf 1 tells 8.
    .global trampoline_high
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
2:  leaq {apics}(%rip), %rsi
    xorl %edi, %edi
3:  cmpl (%rsi,%rdi,4), %edx
    je 5f
    incl %edi
    cmpl ${MAX_CORES}, %edi
    jb 3b
4:  cli
    hlt                         // Nobody waits for this core.
    jmp 4b
5:  movq {root}(%rip), %rax
    movq %rax, %cr3
    leaq 1(%rdi), %rsp
    shlq ${AREA_BITS}, %rsp
    movabsq ${AREAS}, %rax
    addq %rax, %rsp
    xorl %ebp, %ebp
    call {arrive}
    ud2
    "#,
    apics = sym APICS,
    root = sym ROOT,
    arrive = sym crate::others::arrive,
    MAX_CORES = const MAX_CORES,
    AREAS = const layout::DEVICES,
    AREA_BITS = const layout::AREA_BITS,
    options(att_syntax)
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// Writes down which cores may come, and copies the first instructions to where they begin.
///
/// # Safety
/// The blueprint's start page is RAM below 1 MiB that nobody uses.
pub(crate) unsafe fn install(blueprint: &Blueprint) {
    ROOT.store(blueprint.space.root.0, Ordering::Release);
    for (place, member) in APICS.iter().zip(&blueprint.partition.members) {
        place.store(member.apic, Ordering::Release);
    }
    let source = addr_of!(trampoline_start).addr() as u64;
    let length = addr_of!(trampoline_end).addr() - addr_of!(trampoline_start).addr();
    let source = layout::physmap(source) as *const u8;
    let target = layout::physmap(u64::from(blueprint.start_page) * PAGE) as *mut u8;
    // SAFETY: the image's bootstrap part is linked at its physical address; the caller vouches for
    // the page.
    unsafe { source.copy_to_nonoverlapping(target, length) };
}
