//! QEMU's plugin interface: the few prototypes that are needed (no header is packaged) and the
//! callbacks. Versions 1 (QEMU 7) to 4 (QEMU 10) are understood.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use crate::counter::{APART, Counter, FIRST_REPEATED, Side};
use crate::mark;

/// The interface's version that this build claims: QEMU up to 8 knows 1 at most, QEMU from 9 on
/// wants 2 at least. The build passes what fits the QEMU it found.
// Read by QEMU under this name.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: c_int = match option_env!("QEMU_PLUGIN_API") {
    Some(text) => match text.as_bytes() {
        [b'2'] => 2,
        _ => 1,
    },
    None => 1,
};

type PluginId = u64;

/// What QEMU tells about itself.
#[repr(C)]
struct Info {
    target_name: *const c_char,
    version_min: c_int,
    version_cur: c_int,
    // More follows that nobody here reads.
}

/// A block being translated.
#[repr(C)]
struct Block {
    _opaque: [u8; 0],
}

/// An instruction of it.
#[repr(C)]
struct Instruction {
    _opaque: [u8; 0],
}

type TranslateCallback = unsafe extern "C" fn(PluginId, *mut Block);
type ExecuteCallback = unsafe extern "C" fn(c_uint, *mut c_void);

/// The callback looks at no registers.
const NO_REGISTERS: c_int = 0;

/// From this version on `qemu_plugin_insn_data` copies instead of pointing.
const COPYING_VERSION: c_int = 3;

/// Longest x86 instruction.
const LONGEST: usize = 16;

// SAFETY: as QEMU's plugin interface declares them; all are there from version 1 on, except that
// `qemu_plugin_insn_data` has one parameter before version 3 (the caller passes what it reads in
// registers, so more than it reads is harmless in the C calling convention of x86-64).
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: PluginId, callback: TranslateCallback);
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        callback: ExecuteCallback,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    fn qemu_plugin_insn_size(instruction: *const Instruction) -> usize;
    fn qemu_plugin_insn_data(instruction: *const Instruction, to: *mut u8, len: usize)
    -> *const u8;
    fn _exit(status: c_int) -> !;
}

/// What the command line said, and the count.
struct Session {
    entry: Option<u64>,
    poll: Option<u64>,
    last: u32,
    out: String,
    copying: bool,
    counter: Counter,
}

static SESSION: OnceLock<Session> = OnceLock::new();

/// Called by QEMU when it has loaded the plugin.
///
/// # Safety
/// `info` points to QEMU's description of itself and `argv` to `argc` C strings.
// Called by QEMU under this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU passes a pointer to its own, live structure, which begins as `Info` does.
    let version = unsafe { (*info).version_cur };
    let arguments = (0..usize::try_from(argc).unwrap_or(0)).map(|index| {
        // SAFETY: `argv` holds `argc` pointers, the index is below.
        let place = unsafe { argv.add(index) };
        // SAFETY: as above.
        let argument = unsafe { *place };
        // SAFETY: each points to a C string that lives as long as this call.
        unsafe { CStr::from_ptr(argument) }.to_string_lossy().into_owned()
    });
    let Some(session) = Session::from_arguments(arguments, version >= COPYING_VERSION) else {
        eprintln!(
            "boot-counter: needs last=N,out=FILE, and may have entry=0xADDRESS,poll=0xADDRESS,first=N"
        );
        return 1;
    };
    // A second installation would count everything twice.
    if SESSION.set(session).is_err() {
        return 1;
    }
    // SAFETY: `id` is the one that QEMU gave; the callback lives as long as the plugin.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

impl Session {
    fn from_arguments(arguments: impl Iterator<Item = String>, copying: bool) -> Option<Self> {
        let (mut entry, mut poll, mut last, mut out) = (None, None, None, None);
        let mut first = FIRST_REPEATED;
        for argument in arguments {
            let (key, value) = argument.split_once('=')?;
            match key {
                "entry" => entry = address(value),
                "poll" => poll = address(value),
                "first" => first = value.parse().ok()?,
                "last" => last = value.parse().ok(),
                "out" => out = Some(value.to_owned()),
                _ => return None,
            }
        }
        // Without a first instruction to wait for, a mark begins it.
        let counter = Counter::beginning(if entry.is_some() { 0 } else { first });
        let (last, out) = (last?, out?);
        Some(Self { entry, poll, last, out, copying, counter })
    }

    fn finish(&self) -> ! {
        let written = std::fs::write(&self.out, self.counter.report());
        // SAFETY: ends the process at once. QEMU's own clean-up would wait for this very thread.
        unsafe { _exit(c_int::from(written.is_err())) }
    }
}

fn address(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Called for each block before it runs first: asks to be called for each instruction.
unsafe extern "C" fn translated(_id: PluginId, block: *mut Block) {
    let Some(session) = SESSION.get() else { return };
    // SAFETY: QEMU passes a block that is valid during this call.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    for index in 0..count {
        // SAFETY: the index is below the block's count.
        let instruction = unsafe { qemu_plugin_tb_get_insn(block, index) };
        let (callback, data) = callback(session, instruction);
        // SAFETY: the instruction belongs to the block being translated; the data is a number.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(
                instruction,
                callback,
                NO_REGISTERS,
                std::ptr::without_provenance_mut(data),
            );
        }
    }
}

/// What is called before an instruction is executed, and with which data.
fn callback(session: &Session, instruction: *const Instruction) -> (ExecuteCallback, usize) {
    // SAFETY: the caller passes an instruction of the block being translated.
    let address = unsafe { qemu_plugin_insn_vaddr(instruction) };
    let mut copy = [0; LONGEST];
    let bytes = bytes(session, instruction, &mut copy);
    if Some(address) == session.entry {
        return (marked, 0);
    }
    if let Some(phase) = mark::phase(bytes) {
        return (marked, phase as usize);
    }
    match side(address) {
        Side::User => (executed_by_user, 0),
        Side::Kernel if Some(address) == session.poll => (asked, 0),
        Side::Kernel if mark::leaves_kernel(bytes) => (left, 0),
        Side::Kernel => (executed_by_kernel, 0),
    }
}

fn bytes<'a>(
    session: &Session,
    instruction: *const Instruction,
    copy: &'a mut [u8; LONGEST],
) -> &'a [u8] {
    // SAFETY: the caller passes an instruction of the block being translated.
    let size = unsafe { qemu_plugin_insn_size(instruction) }.min(LONGEST);
    // SAFETY: as above; a copying version writes at most `size` bytes, which the copy has.
    let pointer = unsafe { qemu_plugin_insn_data(instruction, copy.as_mut_ptr(), size) };
    if !session.copying {
        // SAFETY: an older version returns a pointer to the instruction's bytes, valid in this call.
        copy[..size].copy_from_slice(unsafe { std::slice::from_raw_parts(pointer, size) });
    }
    &copy[..size]
}

fn side(address: u64) -> Side {
    if address.cast_signed() < 0 { Side::Kernel } else { Side::User }
}

/// Called before each ordinary instruction of the lower half.
unsafe extern "C" fn executed_by_user(_cpu: c_uint, _data: *mut c_void) {
    if let Some(session) = SESSION.get() {
        session.counter.instruction(Side::User);
    }
}

/// Called before each ordinary instruction of the upper half.
unsafe extern "C" fn executed_by_kernel(_cpu: c_uint, _data: *mut c_void) {
    if let Some(session) = SESSION.get() {
        session.counter.instruction(Side::Kernel);
    }
}

/// Called before the kernel asks whether an interrupt waits.
unsafe extern "C" fn asked(_cpu: c_uint, _data: *mut c_void) {
    if let Some(session) = SESSION.get() {
        session.counter.end_stretch();
        session.counter.instruction(Side::Kernel);
    }
}

/// Called before each instruction that leaves the kernel.
unsafe extern "C" fn left(_cpu: c_uint, _data: *mut c_void) {
    if let Some(session) = SESSION.get() {
        session.counter.instruction(Side::Kernel);
        session.counter.end_stretch();
    }
}

/// Called before each instruction that begins a phase, with the phase as data.
unsafe extern "C" fn marked(_cpu: c_uint, data: *mut c_void) {
    let Some(session) = SESSION.get() else { return };
    let phase = u32::try_from(data.addr()).unwrap_or(u32::MAX);
    session.counter.reach(phase);
    if phase != APART {
        session.counter.instruction(Side::User);
    }
    if phase == session.last {
        session.finish();
    }
}
