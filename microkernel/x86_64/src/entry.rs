//! The kernel's first instructions: from 32-bit protected mode without paging, as PVH and
//! multiboot2 both leave it, into long mode in the upper half.
//!
//! The bootstrap tables show the first 4 GiB of physical memory twice, at zero and in the physical
//! map, and the first GiB at the image's address. They hold until `address_space` has built better.

use core::arch::global_asm;

global_asm!(
    r#"
    .set MULTIBOOT2, 0xe85250d6
    .set PRESENT_WRITABLE, 3
    .set LARGE_PAGE, 0x83

    .section .boot.header, "a", @progbits
    .balign 8
multiboot2_header:
    .long MULTIBOOT2, 0, multiboot2_end - multiboot2_header
    .long -(MULTIBOOT2 + (multiboot2_end - multiboot2_header))
    // A framebuffer, if there is one: any size, 32 bits.
    .short 5, 1
    .long 20, 0, 0, 32
    .balign 8
    // Modules on page boundaries.
    .short 6, 0
    .long 8
    .short 0, 0
    .long 8
multiboot2_end:

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad boot_entry

    .section .boot.text, "ax", @progbits
    .code32
    .global boot_entry
    .type boot_entry, @function
boot_entry:
    cli
    cld
    movl %eax, %edi
    movl %ebx, %esi
    rdtsc
    movl %eax, boot_time
    movl %edx, boot_time + 4
    movl $boot_stack_end, %esp
    xorl %ebp, %ebp

    // Other cores come here too, with 1 in EBP.
    .global enter_long_mode
enter_long_mode:
    movl $0x80000001, %eax
    cpuid
    movl $0x20, %eax            // CR4: physical address extension
    movl %eax, %cr4
    movl $boot_root, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      // EFER: long mode, and pages that forbid execution where there
    movl %edx, %eax             // are such (bit 20 of EDX, bit 11 of EFER)
    shrl $9, %eax
    andl $0x800, %eax
    orl $0x100, %eax
    xorl %edx, %edx
    wrmsr
    movl $0x80010033, %eax      // CR0: paging, write protection, numeric errors, protection
    movl %eax, %cr0
    lgdt boot_segments_pointer
    ljmp $8, $boot_long_mode

    .code64
boot_long_mode:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    testl %ebp, %ebp
    jnz 1f
    movq $stack_top, %rsp
    movl %edi, %edi             // EAX at entry
    movl %esi, %esi             // EBX at entry
    movl $boot_time, %edx
    movq (%rdx), %rdx           // time stamp counter at entry
    movq ${start}, %rax
    call *%rax
    ud2
1:  movabsq $trampoline_high, %rax
    jmp *%rax

    .section .boot.data, "aw", @progbits
    .balign 4096
boot_root:
    .quad boot_low + PRESENT_WRITABLE
    .fill 255, 8, 0
    .quad boot_low + PRESENT_WRITABLE
    .fill 254, 8, 0
    .quad boot_high + PRESENT_WRITABLE
boot_low:
    .quad boot_directories + PRESENT_WRITABLE
    .quad boot_directories + 0x1000 + PRESENT_WRITABLE
    .quad boot_directories + 0x2000 + PRESENT_WRITABLE
    .quad boot_directories + 0x3000 + PRESENT_WRITABLE
    .fill 508, 8, 0
boot_high:
    .fill 510, 8, 0
    .quad boot_directories + PRESENT_WRITABLE
    .quad 0
boot_directories:
    .set page, 0
    .rept 2048
    .quad page + LARGE_PAGE
    .set page, page + 0x200000
    .endr
    .global boot_segments
boot_segments:
    .quad 0
    .quad 0x00209b0000000000    // 64-bit code
    .quad 0x00cf9b000000ffff    // 32-bit code
    .quad 0x00cf93000000ffff    // data
boot_segments_pointer:
    .short 31
    .long boot_segments
    .balign 8
boot_time:
    .quad 0
    .fill 8, 8, 0
boot_stack_end:
    .text
    "#,
    start = sym crate::start::start,
    options(att_syntax)
);
