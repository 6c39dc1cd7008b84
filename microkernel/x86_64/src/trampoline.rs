//! The first instructions of the other cores: from real mode, in a page of the first MiB, through
//! `entry`'s way into long mode, to a stack of their own in the kernel's address space.
//!
//! Each core has a start page of its own, by whose number it knows itself.

use crate::instance::{Blueprint, PAGE};
use crate::layout;
use core::arch::global_asm;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicU64, Ordering};

/// The root of the kernel's address space.
static ROOT: AtomicU64 = AtomicU64::new(0);
/// The start page of core 0, if it had one: the others' lie below, one after the other.
static START_PAGE: AtomicU64 = AtomicU64::new(0);

global_asm!(
    r#"
    .section .boot.text, "ax", @progbits
    // Copied to every start page. CS is the page, in units of 16 bytes.
    .code16
    .global trampoline_start
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %edi
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
    .global trampoline_high
trampoline_high:
    shrl $8, %edi
    negl %edi
    addl {start_page}(%rip), %edi
    movq {root}(%rip), %rax
    movq %rax, %cr3
    leaq 1(%rdi), %rsp
    shlq ${AREA_BITS}, %rsp
    movabsq ${AREAS}, %rax
    addq %rax, %rsp
    xorl %ebp, %ebp
    call {arrive}
    ud2
    "#,
    start_page = sym START_PAGE,
    root = sym ROOT,
    arrive = sym crate::others::arrive,
    AREAS = const layout::DEVICES,
    AREA_BITS = const layout::AREA_BITS,
    options(att_syntax)
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

/// Copies the first instructions to where every core but the first begins.
///
/// # Safety
/// The blueprint's start pages are RAM below 1 MiB that nobody uses.
pub(crate) unsafe fn install(blueprint: &Blueprint) {
    ROOT.store(blueprint.space.root.0, Ordering::Release);
    START_PAGE.store(blueprint.start_page.into(), Ordering::Release);
    let source = addr_of!(trampoline_start).addr() as u64;
    let length = addr_of!(trampoline_end).addr() - addr_of!(trampoline_start).addr();
    let source = layout::physmap(source) as *const u8;
    for core in 1..blueprint.cores() {
        let page = u64::from(blueprint.start_page_of(core)) * PAGE;
        // SAFETY: the image's bootstrap part is linked at its physical address; the caller vouches
        // for the page.
        unsafe { source.copy_to_nonoverlapping(layout::physmap(page) as *mut u8, length) };
    }
}
