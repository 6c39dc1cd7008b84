//! BootInfo and the capabilities that a root task starts with.

use libd3os::abi::{FrameSize, Label, MAX_UNTYPED_DESCRIPTORS, chunk, slot};
use libd3os::cap::{Capability, Error, Frame, invoke};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{Arena, IMAGE_BASE, untypeds};
use crate::check::{Outcome, check, check_eq};
use crate::machine;

tests![
    regions_follow_each_other,
    untypeds_are_apart_and_device_memory_first,
    chunks_describe_the_machine,
    initial_capabilities_are_what_they_should_be,
    image_frames_back_the_image,
];

fn regions_follow_each_other(arena: &mut Arena) -> Outcome {
    let boot = arena.boot();
    let regions = [
        boot.sched_control,
        boot.user_image_paging,
        boot.extra_bi_pages,
        boot.user_image_frames,
        boot.untyped,
        boot.empty,
    ];
    check_eq!(regions[0].start, slot::FIRST_FREE);
    check!(regions.windows(2).all(|pair| pair[0].end == pair[1].start), "{regions:?}");
    check_eq!(boot.empty.end, 1 << boot.init_cnode_size_bits);
    check_eq!(boot.init_cnode_size_bits, 13);
    check_eq!((boot.node_id, boot.num_nodes), (0, 1));
    check_eq!(boot.num_io_pt_levels, u64::MAX);
    check_eq!(boot.ipc_buffer % 4096, 0);
    Ok(())
}

fn untypeds_are_apart_and_device_memory_first(arena: &mut Arena) -> Outcome {
    let boot = arena.boot();
    let count = boot.untyped.end - boot.untyped.start;
    check!(count <= MAX_UNTYPED_DESCRIPTORS as u64, "{count} untypeds");
    let mut ends = alloc::vec::Vec::new();
    let mut ram_began = false;
    for (_, about) in untypeds(boot) {
        check_eq!(about.paddr % (1 << about.size_bits), 0);
        check!(!(ram_began && about.is_device == 1), "device memory after RAM");
        ram_began |= about.is_device == 0;
        let range = about.paddr..about.paddr + (1 << about.size_bits);
        let apart =
            |other: &core::ops::Range<u64>| range.end <= other.start || other.end <= range.start;
        check!(ends.iter().all(apart), "{range:x?} overlaps another");
        check!(!range.contains(&0xfee0_0000), "user space gets the local APIC");
        check!(!range.contains(&0xfec0_0000), "user space gets the IOAPIC");
        ends.push(range);
    }
    check!(ram_began, "there is no RAM");
    Ok(())
}

fn chunks_describe_the_machine(arena: &mut Arena) -> Outcome {
    let find = |id| {
        machine::boot_info_chunks(arena.boot())
            .find(|(found, _)| *found == id)
            .map(|(_, bytes)| bytes)
            .ok_or_else(|| crate::check::Failure::new(alloc::format!("chunk {id:#x} is missing")))
    };
    let rsdp = find(chunk::ACPI_RSDP)?;
    check_eq!(&rsdp[..8], b"RSD PTR ");
    let frequency = find(chunk::TSC_FREQUENCY)?;
    check_eq!(frequency.len(), 4);
    check!(frequency.iter().any(|byte| *byte != 0), "the clock stands still");
    let map = find(chunk::MEMORY_MAP)?;
    check!(
        map.len() > 4 && (map.len() - 4).is_multiple_of(24),
        "{} bytes of memory map",
        map.len()
    );
    let machine = find(chunk::D3OS_MACHINE)?;
    let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|n| machine[at + n]));
    let (cores, ram, kernel) = (word(0) & 0xffff_ffff, word(16), word(24));
    check!(cores >= 1, "{cores} cores");
    let free: u64 = untypeds(arena.boot())
        .filter(|(_, about)| about.is_device == 0)
        .map(|(_, about)| 1u64 << about.size_bits)
        .sum();
    check!(
        free + kernel <= ram && ram < 2 * (free + kernel),
        "{free} free, {kernel} kernel, {ram} RAM"
    );
    Ok(())
}

/// Each capability answers its own invocations and none of another object's.
fn initial_capabilities_are_what_they_should_be(_: &mut Arena) -> Outcome {
    let answers = |slot, label| invoke(Cptr::new(slot), label, &[], &[]);
    for (slot, label) in [
        (slot::ASID_CONTROL, Label::AsidControlMakePool),
        (slot::ASID_POOL, Label::AsidPoolAssign),
        (slot::IRQ_CONTROL, Label::IrqControlGetIoApic),
        (slot::IO_PORT_CONTROL, Label::IoPortControlIssue),
        (slot::DOMAIN, Label::DomainSetSet),
        (slot::TCB, Label::TcbSetPriority),
        (slot::CNODE, Label::CNodeCopy),
    ] {
        check_eq!(answers(slot, label), Err(Error::TruncatedMessage), "slot {slot}");
        check_eq!(answers(slot, Label::PageUnmap), Err(Error::IllegalOperation), "slot {slot}");
    }
    check_eq!(answers(slot::VSPACE, Label::PageMap), Err(Error::IllegalOperation));
    check_eq!(answers(slot::SCHED_CONTEXT, Label::SchedContextConsumed), Ok(()));
    for slot in [slot::IO_SPACE, slot::SMMU_SID_CONTROL, slot::SMMU_CB_CONTROL, slot::SMC] {
        let copied =
            crate::arena::CNODE.slot(slot, 64).mutate_from(crate::arena::CNODE.slot(slot, 64), 0);
        check!(copied.is_err(), "slot {slot} is not empty");
    }
    Ok(())
}

fn image_frames_back_the_image(arena: &mut Arena) -> Outcome {
    let boot = arena.boot();
    let first = Cptr::new(boot.user_image_frames.start);
    let copy = Frame::from_cptr(arena.copy(first)?);
    check_eq!(copy.address()?, Frame::from_cptr(first).address()?);
    let alias = arena.map(copy, FrameSize::Small)?;
    for offset in (0..4096).step_by(8) {
        check_eq!(machine::read(alias + offset), machine::read(IMAGE_BASE + offset));
    }
    let pages = boot.user_image_frames.end - boot.user_image_frames.start;
    check_eq!(boot.ipc_buffer, IMAGE_BASE + pages * 4096, "the IPC buffer follows the image");
    Ok(())
}
