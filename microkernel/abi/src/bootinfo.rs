//! BootInfo: what the kernel tells the root task.

/// Untyped descriptors that BootInfo has room for.
pub const MAX_UNTYPED_DESCRIPTORS: usize = 230;

/// Slots of the root task's CNode that every boot fills alike.
pub mod slot {
    #![expect(missing_docs, reason = "each is the manual's own name")]
    pub const NULL: u64 = 0;
    pub const TCB: u64 = 1;
    pub const CNODE: u64 = 2;
    pub const VSPACE: u64 = 3;
    pub const IRQ_CONTROL: u64 = 4;
    pub const ASID_CONTROL: u64 = 5;
    pub const ASID_POOL: u64 = 6;
    pub const IO_PORT_CONTROL: u64 = 7;
    pub const IO_SPACE: u64 = 8;
    pub const BOOT_INFO_FRAME: u64 = 9;
    pub const IPC_BUFFER_FRAME: u64 = 10;
    pub const DOMAIN: u64 = 11;
    pub const SMMU_SID_CONTROL: u64 = 12;
    pub const SMMU_CB_CONTROL: u64 = 13;
    pub const SCHED_CONTEXT: u64 = 14;
    pub const SMC: u64 = 15;
    /// First slot whose use the kernel chooses.
    pub const FIRST_FREE: u64 = 16;
}

/// Ids of the chunks in extra BootInfo.
pub mod chunk {
    /// Fills up.
    pub const PADDING: u64 = 0;
    /// Multiboot memory map: length in bytes (u32), then packed 24-byte entries.
    pub const MEMORY_MAP: u64 = 2;
    /// The ACPI root pointer, as found.
    pub const ACPI_RSDP: u64 = 3;
    /// Framebuffer, as multiboot2 describes it.
    pub const FRAMEBUFFER: u64 = 4;
    /// Time stamp counter's frequency in MHz (u32).
    pub const TSC_FREQUENCY: u64 = 5;
    /// D3OS's own: [`super::MachineChunk`], then the command line (no terminator).
    pub const D3OS_MACHINE: u64 = 0xd305;
}

/// Capability slots from `start` to `end` (exclusive).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SlotRegion {
    /// First slot.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

/// One piece of untyped memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UntypedDescriptor {
    /// Physical address.
    pub paddr: u64,
    /// log2 of its size.
    pub size_bits: u8,
    /// 1 for device memory, 0 for RAM.
    pub is_device: u8,
    /// Zero.
    pub padding: [u8; 6],
}

/// The BootInfo frame. Extra BootInfo begins one page after it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// Bytes of extra BootInfo.
    pub extra_len: u64,
    /// Which kernel instance this is.
    pub node_id: u64,
    /// Kernel instances in this machine.
    pub num_nodes: u64,
    /// All ones: no IOMMU in the kernel.
    pub num_io_pt_levels: u64,
    /// The root task's IPC buffer, as it sees it.
    pub ipc_buffer: u64,
    /// Empty slots.
    pub empty: SlotRegion,
    /// Frames shared between nodes (none).
    pub shared_frames: SlotRegion,
    /// The root task's image, a 4 KiB frame each, by ascending address.
    pub user_image_frames: SlotRegion,
    /// Paging structures of the root task's address space.
    pub user_image_paging: SlotRegion,
    /// I/O spaces (none).
    pub io_space_caps: SlotRegion,
    /// Frames of extra BootInfo.
    pub extra_bi_pages: SlotRegion,
    /// log2 of the slots of the root CNode.
    pub init_cnode_size_bits: u64,
    /// Domain of the root task.
    pub init_thread_domain: u64,
    /// A SchedControl capability per core of this node.
    pub sched_control: SlotRegion,
    /// Untyped capabilities: device memory first.
    pub untyped: SlotRegion,
    /// What each of them covers.
    pub untyped_list: [UntypedDescriptor; MAX_UNTYPED_DESCRIPTORS],
}

const _: () = assert!(size_of::<BootInfo>() == 3864);
const _: () = assert!(core::mem::offset_of!(BootInfo, untyped_list) == 184);

/// Head of a chunk of extra BootInfo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootInfoHeader {
    /// One of [`chunk`].
    pub id: u64,
    /// Bytes, header included.
    pub len: u64,
}

/// Payload of [`chunk::D3OS_MACHINE`], followed by the command line's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MachineChunk {
    /// Processors that the MADT lists as usable.
    pub cores_present: u32,
    /// Bytes of the command line that follows.
    pub command_line_len: u32,
    /// Time stamp counter at the kernel's first instruction.
    pub boot_tsc: u64,
    /// Bytes of RAM of this kernel instance: all of the machine's if there is only one.
    pub ram_bytes: u64,
    /// Bytes of that RAM that the kernel keeps (its image, boot tables).
    pub kernel_bytes: u64,
    /// Local APIC of this core: where message-signalled interrupts are to be sent.
    pub apic_id: u32,
    /// Signal lines of every core.
    pub signal_lines: u32,
    /// Interrupt vector of this core's signal line 0.
    pub first_signal_vector: u64,
    /// Where the pool begins: memory that every instance has as device untyped.
    pub pool_base: u64,
    /// Bytes of the pool: zero with one instance.
    pub pool_bytes: u64,
    /// Where this instance's RAM begins. It is in one piece but for instance 0, which has what no
    /// other has.
    pub private_base: u64,
    /// Bytes of this instance's RAM.
    pub private_bytes: u64,
    /// Slot of the core control capability: zero where there is none (on other instances than 0,
    /// and where there is only one).
    pub core_control: u64,
}

const _: () = assert!(size_of::<MachineChunk>() == 88);
