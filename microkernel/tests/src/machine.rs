//! What takes instructions of its own: touching addresses, faults, FPU registers, FS.

use core::arch::asm;
use core::sync::atomic::AtomicU64;
use libd3os::abi::{BootInfo, BootInfoHeader, MAX_MESSAGE_LENGTH};

/// Reads a word from an address that may well fault.
pub(crate) fn read(address: u64) -> u64 {
    let value;
    // SAFETY: assembly, so that the compiler assumes nothing about the address; where it is not
    // mapped the thread faults, which is what tests of it wait for.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack, readonly)) };
    value
}

/// Reads a word as [`read`] does, for the fault that it may raise.
pub(crate) fn touch(address: u64) {
    let _ = read(address);
}

/// Writes a word to an address that may well fault. Tests give addresses of frames that they
/// mapped themselves, of IPC buffers, or of nothing.
pub(crate) fn write(address: u64, value: u64) {
    // SAFETY: no memory of the compiler's is there.
    unsafe { asm!("mov [{}], {}", in(reg) address, in(reg) value, options(nostack)) };
}

/// Reads a register of a device that a test mapped.
pub(crate) fn read32(address: u64) -> u32 {
    let value;
    // SAFETY: no memory of the compiler's is there.
    unsafe { asm!("mov {:e}, [{}]", out(reg) value, in(reg) address, options(nostack)) };
    value
}

/// Writes a register of a device that a test mapped.
pub(crate) fn write32(address: u64, value: u32) {
    // SAFETY: no memory of the compiler's is there, and the device writes to none.
    unsafe { asm!("mov [{}], {:e}", in(reg) address, in(reg) value, options(nostack)) };
}

/// Calls the code at an address that may well fault.
pub(crate) fn execute(address: u64) {
    // SAFETY: a test put a return instruction there, or the thread faults and goes no further.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("sysv64")) };
}

/// Divides by zero; goes on two bytes later if a handler skips the instruction.
pub(crate) fn divide_by_zero() {
    // SAFETY: the instruction raises an exception; a handler that answers it skips it.
    unsafe {
        asm!("xor edx, edx", "xor ecx, ecx", "div ecx",
             out("rax") _, out("rcx") _, out("rdx") _, options(nostack));
    }
}

/// Executes an undefined instruction of two bytes, which a handler may skip.
pub(crate) fn undefined_instruction() {
    // SAFETY: as above.
    unsafe { asm!("ud2", options(nostack)) };
}

/// Raises an exception while the direction and alignment-check flags are set.
pub(crate) fn fault_with_flags() {
    // SAFETY: a thread that executes this goes no further than the exception.
    unsafe {
        asm!("pushfq", "or dword ptr [rsp], 0x40400", "popfq", "ud2", "cld");
    }
}

/// Executes a breakpoint.
pub(crate) fn breakpoint() {
    // SAFETY: the instruction raises an exception and changes nothing.
    unsafe { asm!("int3", options(nostack)) };
}

/// Executes an instruction of one byte that user mode may not.
pub(crate) fn privileged_instruction() {
    // SAFETY: as above.
    unsafe { asm!("hlt", options(nostack)) };
}

/// Reads a port by the processor's own instruction (two bytes), which user mode may not.
pub(crate) fn port_instruction() {
    // SAFETY: as above.
    unsafe { asm!("in al, 0x80", out("al") _, options(nostack)) };
}

/// Loads from an address that is none.
pub(crate) fn non_canonical_read() {
    touch(0x8000_0000_0000_0000);
}

/// What an unknown system call left in the registers that its fault's answer may rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AfterSyscall {
    pub(crate) rax: u64,
    pub(crate) rdi: u64,
    pub(crate) r14: u64,
}

/// Makes a system call that does not exist, with values in some registers.
pub(crate) fn unknown_syscall(number: i64) -> AfterSyscall {
    let (mut rax, mut rdi, mut r14) = (0x1111u64, 0x2222u64, 0x3333u64);
    // SAFETY: the kernel sends a fault; its handler answers with registers that the operands name.
    unsafe {
        asm!(
            "syscall",
            inout("rax") rax, inout("rdi") rdi, inout("r14") r14,
            in("rdx") number, out("rcx") _, out("r11") _, options(nostack),
        );
    }
    AfterSyscall { rax, rdi, r14 }
}

/// The word at FS:0.
pub(crate) fn read_fs() -> u64 {
    let value;
    // SAFETY: a test set the FS base to an address of its own.
    unsafe { asm!("mov {}, fs:[0]", out(reg) value, options(nostack, readonly)) };
    value
}

/// FPU registers: XMM0, XMM15 and MXCSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct FpuValues {
    pub(crate) xmm0: u64,
    pub(crate) xmm15: u64,
    pub(crate) mxcsr: u32,
    /// What MXCSR has to be for compiled code.
    usual_mxcsr: u32,
}

impl FpuValues {
    pub(crate) const fn new(xmm0: u64, xmm15: u64, mxcsr: u32) -> Self {
        Self { xmm0, xmm15, mxcsr, usual_mxcsr: 0x1f80 }
    }
}

/// Loads the registers, makes a Yield system call, and tells what they are after it.
pub(crate) fn fpu_over_yield(mut values: FpuValues) -> FpuValues {
    let number: i64 = -11;
    // SAFETY: R12 points to `values` and, as all registers that the operands do not name, survives
    // the system call; RBX and RSP are put back.
    unsafe {
        asm!(
            "ldmxcsr [r12 + 16]",
            "movq xmm0, qword ptr [r12]",
            "movq xmm15, qword ptr [r12 + 8]",
            "mov r14, rbx",
            "mov rbx, rsp",
            "syscall",
            "mov rsp, rbx",
            "mov rbx, r14",
            "movq qword ptr [r12], xmm0",
            "movq qword ptr [r12 + 8], xmm15",
            "stmxcsr [r12 + 16]",
            "ldmxcsr [r12 + 20]",
            in("r12") &raw mut values,
            in("rdx") number,
            out("rax") _, out("rcx") _, out("r11") _, out("rdi") _, out("rsi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r13") _, out("r14") _, out("r15") _,
            out("xmm0") _, out("xmm15") _,
        );
    }
    values
}

/// Loads the registers, spins until the word at `flag` is not zero, and tells what they are then.
pub(crate) fn fpu_over_spin(mut values: FpuValues, flag: &AtomicU64) -> FpuValues {
    // SAFETY: both operands point to memory that lives on; the named registers are clobbered.
    unsafe {
        asm!(
            "ldmxcsr [{values} + 16]",
            "movq xmm0, qword ptr [{values}]",
            "movq xmm15, qword ptr [{values} + 8]",
            "2:",
            "pause",
            "cmp qword ptr [{flag}], 0",
            "je 2b",
            "movq qword ptr [{values}], xmm0",
            "movq qword ptr [{values} + 8], xmm15",
            "stmxcsr [{values} + 16]",
            "ldmxcsr [{values} + 20]",
            values = in(reg) &raw mut values,
            flag = in(reg) flag.as_ptr(),
            out("xmm0") _, out("xmm15") _,
            options(nostack),
        );
    }
    values
}

/// What the FPU registers hold now.
pub(crate) fn fpu_now() -> FpuValues {
    let mut values = FpuValues::new(0, 0, 0);
    // SAFETY: stores three registers where the operand points.
    unsafe {
        asm!(
            "movq qword ptr [{values}], xmm0",
            "movq qword ptr [{values} + 8], xmm15",
            "stmxcsr [{values} + 16]",
            values = in(reg) &raw mut values,
            options(nostack),
        );
    }
    values
}

/// Executes an SSE instruction of four bytes.
pub(crate) fn touch_fpu() {
    // SAFETY: the instruction changes a register that the operand names.
    unsafe { asm!("pxor xmm3, xmm3", out("xmm3") _, options(nostack)) };
}

/// The time stamp counter.
pub(crate) fn time() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Goes through extra BootInfo's chunks: id and payload.
pub(crate) fn boot_info_chunks(
    boot: &'static BootInfo,
) -> impl Iterator<Item = (u64, &'static [u8])> {
    let base = core::ptr::from_ref(boot).cast::<u8>().wrapping_add(4096);
    let length = usize::try_from(boot.extra_len).unwrap_or(0);
    // SAFETY: the kernel mapped so many bytes there, for good, and nobody writes to them.
    let mut rest = unsafe { core::slice::from_raw_parts(base, length) };
    core::iter::from_fn(move || {
        let head = rest.first_chunk::<{ size_of::<BootInfoHeader>() }>()?;
        let id = u64::from_le_bytes(*head.first_chunk()?);
        let bytes = usize::try_from(u64::from_le_bytes(*head.last_chunk()?)).ok()?;
        let (chunk, more) = rest.split_at_checked(bytes)?;
        rest = more;
        Some((id, chunk.get(size_of::<BootInfoHeader>()..)?))
    })
}

/// The IPC buffer of a thread that has no thread-local storage, reached by its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer(pub(crate) u64);

impl Buffer {
    /// Message word `index`.
    pub(crate) fn word(self, index: usize) -> u64 {
        read(self.0 + 8 * (1 + index as u64))
    }

    /// Sets message word `index`.
    pub(crate) fn set_word(self, index: usize, value: u64) {
        write(self.0 + 8 * (1 + index as u64), value);
    }

    /// Sets the `index`-th capability to send.
    pub(crate) fn set_cap(self, index: usize, cptr: u64) {
        write(self.caps() + 8 * index as u64, cptr);
    }

    /// Sets where a capability that comes is put.
    pub(crate) fn set_receive_slot(self, root: u64, index: u64, depth: u64) {
        for (place, value) in [root, index, depth].into_iter().enumerate() {
            write(self.caps() + 8 * (3 + place as u64), value);
        }
    }

    fn caps(self) -> u64 {
        self.0 + 8 * (2 + MAX_MESSAGE_LENGTH as u64)
    }
}

/// A system call as a member of a crowd makes it: registers, words of the message from the fifth on,
/// capabilities to send, and where to receive one.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Line {
    pub(crate) rdx: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) words: [u64; 4],
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) more_words: [u64; 8],
    pub(crate) caps: [u64; 3],
    pub(crate) receive: [u64; 3],
}

// What a member of a crowd executes: the lines from RBP to R14, with its IPC buffer at RBX, counting
// them 2048 bytes further, and beside that those whose answer has the label 0. Nothing in memory but
// the buffer is written, so whatever becomes of its registers, it harms nobody else. It is found in
// one page, wherever that is mapped.
core::arch::global_asm!(
    ".balign 128",
    "crowd_begin:",
    "cld",
    "2: cmp rbp, r14",
    "jae 3f",
    "lea rsi, [rbp + 72]",
    "lea rdi, [rbx + 40]",
    "mov ecx, 8",
    "rep movsq",
    "lea rdi, [rbx + 976]",
    "mov ecx, 6",
    "rep movsq",
    "mov rdx, [rbp]",
    "mov rdi, [rbp + 8]",
    "mov rsi, [rbp + 16]",
    "mov r10, [rbp + 24]",
    "mov r8, [rbp + 32]",
    "mov r9, [rbp + 40]",
    "mov r15, [rbp + 48]",
    "mov r12, [rbp + 56]",
    "mov r13, [rbp + 64]",
    "add rbp, {line}",
    "inc qword ptr [rbx + {counts}]",
    "syscall",
    "shr rsi, 12",
    "jnz 2b",
    "inc qword ptr [rbx + {counts} + 8]",
    "jmp 2b",
    "3: ud2",
    line = const size_of::<Line>(),
    counts = const CROWD_COUNTS,
);

/// Where a member of a crowd counts, from its IPC buffer on.
const CROWD_COUNTS: u64 = 2048;

unsafe extern "C" {
    safe fn crowd_begin() -> !;
}

/// The first instruction of a member of a crowd.
pub(crate) fn crowd_entry() -> u64 {
    (crowd_begin as extern "C" fn() -> !) as usize as u64
}

/// How many lines the member with its buffer's page at this address has begun, and how many of them
/// ended with an answer whose label is 0.
pub(crate) fn crowd_counts(page: u64) -> [u64; 2] {
    [read(page + CROWD_COUNTS), read(page + CROWD_COUNTS + 8)]
}

/// Writes lines to memory that a test has mapped for nothing else.
pub(crate) fn write_lines(address: u64, lines: &[Line]) {
    let address = usize::try_from(address).expect("64 bits");
    let to = core::ptr::with_exposed_provenance_mut::<Line>(address);
    // SAFETY: the caller mapped the memory, large enough and for this only; a line has no padding.
    unsafe { core::ptr::copy_nonoverlapping(lines.as_ptr(), to, lines.len()) };
}
