//! The program: its first instructions, its stubs, what it sets up, and the loops that are counted.

use core::arch::{asm, global_asm};
use d3os_abi::{BootInfo, CapRights, IpcBuffer, Label, MessageInfo, ObjectType, Syscall, slot};

/// Rounds of the first loop; the second has twice as many.
const ROUNDS: u32 = 10_000;
/// Marks, as the bench's: a loop begins or ends, everything is over.
const LAP: u32 = 0xd305_0100;
const MEASURED: u32 = 0xd305_0101;
/// Where the linker puts the image: in the first 2 MiB from here.
const IMAGE: u64 = 0x40_0000;
/// log2 of the memory that everything is made of.
const MEMORY_BITS: u8 = 21;
/// The root task's priority, and a time slice that nobody uses up.
const PRIORITY: u64 = 255;
const SLICE_US: u64 = 10_000;

// The first thread begins without a stack. The server's thread is given its endpoint in RBX and its
// reply object in R12, which system calls keep.
global_asm!(
    ".section .text._start, \"ax\"",
    ".global _start",
    "_start:",
    "lea rsp, [rip + {stack} + {bytes}]",
    "xor ebp, ebp",
    "call {run}",
    "ud2",
    ".text",
    "serve:",
    "mov rdi, rbx",
    "mov rdx, {recv}",
    "syscall",
    "2: mov rdi, rbx",
    "xor esi, esi",
    "mov rdx, {reply_recv}",
    "syscall",
    "jmp 2b",
    stack = sym STACK,
    bytes = const STACK_BYTES,
    run = sym run,
    recv = const Syscall::Recv as i64,
    reply_recv = const Syscall::ReplyRecv as i64,
);

const STACK_BYTES: usize = 16 << 10;

#[repr(C, align(16))]
struct Stack([u8; STACK_BYTES]);

static mut STACK: Stack = Stack([0; STACK_BYTES]);

unsafe extern "C" {
    safe fn serve() -> !;
}

/// Nothing here panics but by mistake; then there are no marks, which the bench tells.
#[panic_handler]
fn stop(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: the instruction raises an exception that nobody handles: the thread stops.
        unsafe { asm!("ud2") };
    }
}

macro_rules! mark {
    ($mark:expr) => {
        // SAFETY: a no-operation of seven bytes.
        unsafe { asm!(".byte 0x0f, 0x1f, 0x80", ".long {}", const $mark, options(nomem, nostack)) }
    };
}

/// A system call that carries a message without words; the label of what it brings.
#[inline(always)]
fn trap(call: Syscall, target: u64, info: u64, reply: u64) -> u64 {
    let mut rsi = info;
    // SAFETY: the operands name what the kernel changes. RBX is the compiler's, so it is put back.
    unsafe {
        asm!(
            "syscall",
            in("rdx") call as i64, inout("rdi") target => _, inout("rsi") rsi,
            in("r12") reply, out("r10") _, out("r8") _, out("r9") _, out("r15") _,
            out("rcx") _, out("r11") _, out("rax") _,
        );
    }
    rsi >> 12
}

/// As `trap` by `Call`, with four words.
#[inline(always)]
fn call(target: u64, info: u64, words: [u64; 4]) -> u64 {
    let mut rsi = info;
    // SAFETY: as above.
    unsafe {
        asm!(
            "syscall",
            in("rdx") Syscall::Call as i64, inout("rdi") target => _, inout("rsi") rsi,
            inout("r10") words[0] => _, inout("r8") words[1] => _,
            inout("r9") words[2] => _, inout("r15") words[3] => _,
            out("rcx") _, out("r11") _, out("rax") _,
        );
    }
    rsi >> 12
}

/// What everything is made of.
struct Witness {
    buffer: *mut IpcBuffer,
    memory: u64,
    next: u64,
}

impl Witness {
    /// Invokes a capability, with words and capabilities; panics where that is refused.
    fn invoke(&self, target: u64, label: Label, words: &[u64], caps: &[u64]) {
        let mut first = [0; 4];
        for (index, word) in words.iter().enumerate() {
            match first.get_mut(index) {
                Some(place) => *place = *word,
                // SAFETY: the root task's own buffer, which nobody else has.
                None => unsafe { (*self.buffer).msg[index] = *word },
            }
        }
        for (index, cap) in caps.iter().enumerate() {
            // SAFETY: as above.
            unsafe { (*self.buffer).caps_or_badges[index] = *cap };
        }
        let info = MessageInfo::new(label.number(), 0, caps.len(), words.len());
        assert!(call(target, info.0, first) == 0, "{label:?} was refused");
    }

    /// An empty slot.
    fn slot(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn make(&mut self, kind: ObjectType, size: u64) -> u64 {
        let slot = self.slot();
        let words = [kind.number(), size, 0, 0, slot, 1];
        self.invoke(self.memory, Label::UntypedRetype, &words, &[slot::CNODE]);
        slot
    }

    fn copy(&self, from: u64, to: u64) {
        let words = [to, 64, from, 64, CapRights::ALL.word()];
        self.invoke(slot::CNODE, Label::CNodeCopy, &words, &[slot::CNODE]);
    }

    /// An address space with the image in it.
    fn space(&mut self, boot: &BootInfo) -> u64 {
        let root = self.make(ObjectType::Pml4, 0);
        self.invoke(slot::ASID_POOL, Label::AsidPoolAssign, &[], &[root]);
        let tables = [
            (ObjectType::Pdpt, Label::PdptMap),
            (ObjectType::PageDirectory, Label::PageDirectoryMap),
            (ObjectType::PageTable, Label::PageTableMap),
        ];
        for (kind, label) in tables {
            let table = self.make(kind, 0);
            self.invoke(table, label, &[IMAGE, 0], &[root]);
        }
        let frames = boot.user_image_frames;
        for (frame, page) in (frames.start..frames.end).zip(0..) {
            let copy = self.slot();
            self.copy(frame, copy);
            let words = [IMAGE + 4096 * page, CapRights::READ_WRITE.word(), 0];
            self.invoke(copy, Label::PageMap, &words, &[root]);
        }
        root
    }

    /// A passive server that waits; its endpoint.
    fn server(&mut self, boot: &BootInfo) -> u64 {
        let space = self.space(boot);
        let endpoint = self.make(ObjectType::Endpoint, 0);
        let reply = self.make(ObjectType::Reply, 0);
        let thread = self.make(ObjectType::Tcb, 0);
        let context = self.make(ObjectType::SchedContext, 8);
        // Without an IPC buffer: its messages have no words.
        let spaces = [slot::CNODE, space, slot::NULL];
        self.invoke(thread, Label::TcbConfigure, &[0, 0, 0], &spaces);
        let slice = [SLICE_US, SLICE_US, 0, 0, 0];
        let control = boot.sched_control.start;
        self.invoke(control, Label::SchedControlConfigureFlags, &slice, &[context]);
        let caps = [slot::TCB, context, slot::NULL];
        self.invoke(thread, Label::TcbSetSchedParams, &[PRIORITY, PRIORITY], &caps);
        // RIP, RSP, RFLAGS, RAX, RBX, then RCX to R11, R12.
        let begin = serve as extern "C" fn() -> ! as usize as u64;
        let mut registers = [0; 18];
        registers[..7].copy_from_slice(&[1, 16, begin, 0, 0x202, 0, endpoint]);
        registers[16] = reply;
        // Threads have thread-local storage, each at its place: switching between them loads that.
        self.invoke(thread, Label::TcbSetTlsBase, &[0x2000], &[]);
        trap(Syscall::SetTLSBase, 0x1000, 0, 0);
        self.invoke(thread, Label::TcbWriteRegisters, &registers, &[]);
        // It has the same priority: it runs when this thread gives way, until it waits.
        trap(Syscall::Yield, 0, 0, 0);
        self.invoke(context, Label::SchedContextUnbind, &[], &[]);
        endpoint
    }
}

#[inline(always)]
fn laps(mut round: impl FnMut()) {
    round();
    mark!(LAP);
    for _ in 0..ROUNDS {
        round();
    }
    mark!(LAP);
    for _ in 0..2 * ROUNDS {
        round();
    }
    mark!(LAP);
}

extern "C" fn run(boot: &'static BootInfo) -> ! {
    let memory = (boot.untyped.start..)
        .zip(&boot.untyped_list)
        .find(|(_, about)| about.is_device == 0 && about.size_bits >= MEMORY_BITS);
    let (memory, _) = memory.expect("2 MiB of RAM in one piece");
    let buffer = usize::try_from(boot.ipc_buffer).expect("64 bits");
    let buffer = core::ptr::with_exposed_provenance_mut(buffer);
    let mut witness = Witness { buffer, memory, next: boot.empty.start };
    let endpoint = witness.server(boot);
    laps(|| {
        trap(Syscall::Call, endpoint, 0, 0);
    });
    let notification = witness.make(ObjectType::Notification, 0);
    laps(|| {
        trap(Syscall::Send, notification, 0, 0);
        trap(Syscall::Wait, notification, 0, 0);
    });
    laps(|| {
        trap(Syscall::Yield, 0, 0, 0);
    });
    let copy = witness.slot();
    let delete = MessageInfo::new(Label::CNodeDelete.number(), 0, 0, 2).0;
    laps(|| {
        witness.copy(endpoint, copy);
        call(slot::CNODE, delete, [copy, 64, 0, 0]);
    });
    mark!(MEASURED);
    stop_here()
}

fn stop_here() -> ! {
    loop {
        trap(Syscall::Yield, 0, 0, 0);
    }
}
