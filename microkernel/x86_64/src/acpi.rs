//! ACPI's tables, as far as a kernel needs them: who interrupts whom (MADT) and the power
//! management timer (FADT), and which memory is near which processor (SRAT, see
//! [`crate::affinity`]). Everything else is user space's.

use crate::affinity::Affinity;
use crate::bytes::{PhysicalMemory, u8_at, u32_at, u64_at};
use d3os_abi::MAX_CORES;
use heapless::Vec;

/// I/O interrupt controllers that are kept track of.
pub const MAX_IO_APICS: usize = 8;
/// Where the local APIC lies unless a table says otherwise.
pub const DEFAULT_LOCAL_APIC: u64 = 0xfee0_0000;

/// Longest root pointer (ACPI 2.0 and later).
const RSDP_LENGTH: usize = 36;
/// The bytes of ACPI's root pointer.
pub type RootPointer = Vec<u8, RSDP_LENGTH>;

const HEADER: usize = 36;
/// A table's header, as lengths count.
const MIN_TABLE: u32 = 36;
/// Longer tables are not believed.
const MAX_TABLE: u32 = 1 << 20;
/// Where BIOSes leave the root pointer when nobody tells.
const BIOS_AREA: core::ops::Range<u64> = 0xe_0000..0x10_0000;

/// What the tables tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// Physical address of the local APICs' registers.
    pub local_apic: u64,
    /// Processors that may be used.
    pub processors: u32,
    /// Local APICs of the first of them, as many as the kernel can use.
    pub apics: Vec<u32, MAX_CORES>,
    /// Which memory is near which processor.
    pub affinity: Affinity,
    /// Physical addresses of the I/O APICs' registers, in the tables' order.
    pub io_apics: Vec<u64, MAX_IO_APICS>,
    /// The root pointer.
    pub rsdp: RootPointer,
    /// I/O port of the power management timer.
    pub timer_port: Option<u16>,
}

/// Why there is nothing to learn from the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcpiError {
    /// No root pointer was told or found.
    #[error("no ACPI root pointer")]
    NoRootPointer,
    /// The table's length or checksum is wrong.
    #[error("ACPI table {} at {address:#x} is damaged", table.escape_ascii())]
    Damaged {
        /// Its signature, as far as known.
        table: [u8; 4],
        /// Its physical address.
        address: u64,
    },
    /// There is no MADT.
    #[error("no MADT among the ACPI tables")]
    NoInterruptTable,
}

/// Reads the tables of the machine whose root pointer was `told` to lie there.
///
/// # Errors
/// If root pointer, root table or MADT are missing or damaged. A damaged FADT only costs the timer, a
/// damaged SRAT the knowledge of what is near.
pub fn read(memory: &impl PhysicalMemory, told: Option<u64>) -> Result<Platform, AcpiError> {
    let rsdp = root_pointer(memory, told).ok_or(AcpiError::NoRootPointer)?;
    let tables = root_table(memory, &rsdp)?;
    let find = |signature| find(memory, tables.clone(), signature);
    let madt = find(*b"APIC")?.ok_or(AcpiError::NoInterruptTable)?;
    let (fadt, srat) = (find(*b"FACP").ok().flatten(), find(*b"SRAT").ok().flatten());
    let timer_port = fadt.and_then(timer_port);
    let affinity = srat.map(Affinity::read).unwrap_or_default();
    Ok(Platform { timer_port, affinity, rsdp: rsdp.clone(), ..read_madt(madt) })
}

/// The root pointer's bytes: where it was told to be, or found in the BIOS area.
fn root_pointer(memory: &impl PhysicalMemory, told: Option<u64>) -> Option<RootPointer> {
    match told {
        Some(address) => copy_root_pointer(memory, address),
        None => BIOS_AREA.step_by(16).find_map(|address| copy_root_pointer(memory, address)),
    }
}

fn copy_root_pointer(memory: &impl PhysicalMemory, address: u64) -> Option<RootPointer> {
    let sound = |bytes: &&[u8]| bytes.starts_with(b"RSD PTR ") && sum(bytes) == 0;
    let old = memory.bytes(address, 20).filter(sound)?;
    let bytes = match old[15] {
        0 | 1 => old,
        _ => memory.bytes(address, RSDP_LENGTH as u64).filter(sound)?,
    };
    RootPointer::from_slice(bytes).ok()
}

/// The addresses in RSDT or XSDT: where the other tables lie.
fn root_table(
    memory: &impl PhysicalMemory,
    rsdp: &[u8],
) -> Result<impl Iterator<Item = u64> + Clone, AcpiError> {
    let extended = u64_at(rsdp, 24).filter(|address| *address != 0);
    let (address, signature, size) = match extended {
        Some(address) => (address, *b"XSDT", 8),
        None => (u32_at(rsdp, 16).ok_or(AcpiError::NoRootPointer)?.into(), *b"RSDT", 4),
    };
    let table = table(memory, address).filter(|bytes| bytes.starts_with(&signature));
    let pointers = &table.ok_or(AcpiError::Damaged { table: signature, address })?[HEADER..];
    let pointer = |bytes| u64_at(bytes, 0).or(u32_at(bytes, 0).map(u64::from)).unwrap_or(0);
    Ok(pointers.chunks_exact(size).map(pointer))
}

/// The first of the tables that has this signature, header included.
fn find(
    memory: &impl PhysicalMemory,
    mut tables: impl Iterator<Item = u64>,
    signature: [u8; 4],
) -> Result<Option<&[u8]>, AcpiError> {
    let address = tables.find(|address| memory.bytes(*address, 4) == Some(&signature));
    let damaged = |address| AcpiError::Damaged { table: signature, address };
    address.map(|address| table(memory, address).ok_or(damaged(address))).transpose()
}

/// A whole table, if length and checksum are right.
fn table(memory: &impl PhysicalMemory, address: u64) -> Option<&[u8]> {
    let length = u32_at(memory.bytes(address, HEADER as u64)?, 4)?;
    if !(MIN_TABLE..=MAX_TABLE).contains(&length) {
        return None;
    }
    memory.bytes(address, length.into()).filter(|bytes| sum(bytes) == 0)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The entries of a table's body: type and bytes, the two of the head included.
pub(crate) fn entries(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        let [kind, length, ..] = *rest else { return None };
        let (entry, others) = rest.split_at_checked(length.max(2).into())?;
        rest = others;
        Some((kind, entry))
    })
}

fn read_madt(madt: &[u8]) -> Platform {
    let local_apic = u32_at(madt, HEADER).map_or(DEFAULT_LOCAL_APIC, u64::from);
    let mut platform = Platform { local_apic, ..Platform::default() };
    for (kind, entry) in entries(madt.get(HEADER + 8..).unwrap_or_default()) {
        read_madt_entry(&mut platform, kind, entry);
    }
    platform.processors = platform.processors.max(1);
    platform
}

/// Takes what an entry tells; more than is kept track of, and what makes no sense, is left out.
fn read_madt_entry(platform: &mut Platform, kind: u8, entry: &[u8]) -> Option<()> {
    let enabled = |offset| u32_at(entry, offset).is_some_and(|flags| flags & 1 == 1);
    let apic = match kind {
        0 if enabled(4) => u8_at(entry, 3)?.into(),
        1 => {
            return platform.io_apics.push(u32_at(entry, 4)?.into()).ok();
        }
        5 => {
            platform.local_apic = u64_at(entry, 4)?;
            return None;
        }
        9 if enabled(8) => u32_at(entry, 4)?,
        _ => return None,
    };
    platform.processors += 1;
    platform.apics.push(apic).ok()
}

/// The timer's port from the FADT (ACPI 6.5, section 5.2.9): the extended address where it is a
/// port, else the old one.
fn timer_port(fadt: &[u8]) -> Option<u16> {
    let is_port = u8_at(fadt, 208) == Some(1);
    let extended = if is_port { u64_at(fadt, 212) } else { None };
    let port = extended.filter(|port| *port != 0).or(u32_at(fadt, 76).map(u64::from))?;
    u16::try_from(port).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::testing::Pieces;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn sealed(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
        bytes[at] = 0;
        bytes[at] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }

    fn table_bytes(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = signature.to_vec();
        bytes.extend(u32::try_from(HEADER + body.len()).unwrap().to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(body);
        sealed(bytes, 9)
    }

    fn madt() -> Vec<u8> {
        let mut body = [&0xfee0_0000u32.to_le_bytes()[..], &[1, 0, 0, 0]].concat();
        body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        body.extend([0, 8, 1, 1, 0, 0, 0, 0]);
        body.extend([0, 8, 2, 2, 1, 0, 0, 0]);
        body.extend([&[1, 12, 0, 0][..], &0xfec0_0000u32.to_le_bytes(), &[0; 4]].concat());
        body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        table_bytes(b"APIC", &body)
    }

    fn fadt() -> Vec<u8> {
        let mut body = vec![0; 244 - HEADER];
        body[76 - HEADER..80 - HEADER].copy_from_slice(&0x608u32.to_le_bytes());
        table_bytes(b"FACP", &body)
    }

    fn rsdp_1(rsdt: u32) -> Vec<u8> {
        let mut bytes = b"RSD PTR \0OEMID \0".to_vec();
        bytes.extend(rsdt.to_le_bytes());
        sealed(bytes, 8)
    }

    fn machine() -> Pieces {
        let pointers = [0x3000u32.to_le_bytes(), 0x4000u32.to_le_bytes()].concat();
        Pieces(vec![
            (0xe_0000, vec![0; 0x100]),
            (0xe_0100, rsdp_1(0x2000)),
            (0x2000, table_bytes(b"RSDT", &pointers)),
            (0x3000, fadt()),
            (0x4000, madt()),
        ])
    }

    #[test]
    fn tables_are_found_from_the_bios_area() {
        let machine = machine();
        let platform = read(&machine, None).unwrap();
        assert_eq!(platform.rsdp[..], rsdp_1(0x2000));
        assert_eq!((platform.processors, platform.timer_port), (2, Some(0x608)));
        assert_eq!(platform.apics[..], [0, 2], "the second one is disabled");
        assert_eq!(platform.io_apics[..], [0xfec0_0000]);
        assert_eq!(read(&machine, Some(0xe_0100)), Ok(platform));
        assert_eq!(read(&machine, Some(0x2000)), Err(AcpiError::NoRootPointer));
    }

    #[test]
    fn extended_tables_are_preferred() {
        let mut rsdp = rsdp_1(0x1);
        rsdp[15] = 2;
        rsdp = sealed(rsdp, 8);
        rsdp.extend(36u32.to_le_bytes());
        rsdp.extend(0x5000u64.to_le_bytes());
        rsdp.extend([0; 4]);
        let rsdp = sealed(rsdp, 32);
        let mut machine = machine();
        machine.0.push((0x5000, table_bytes(b"XSDT", &0x4000u64.to_le_bytes())));
        machine.0.push((0x6000, rsdp));
        let platform = read(&machine, Some(0x6000)).unwrap();
        assert_eq!((platform.processors, platform.timer_port), (2, None));
    }

    #[test]
    fn a_damaged_table_is_named() {
        let mut machine = machine();
        machine.0[4].1[50] ^= 1;
        let damaged = AcpiError::Damaged { table: *b"APIC", address: 0x4000 };
        assert_eq!(read(&machine, None), Err(damaged));
        assert!(damaged.to_string().contains("APIC at 0x4000"));
        machine.0.pop();
        assert_eq!(read(&machine, None), Err(AcpiError::NoInterruptTable));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200), which in 1usize..5, at in 0usize..200, value in any::<u8>()) {
            let _ = read_madt(&table_bytes(b"APIC", &body));
            let _ = timer_port(&table_bytes(b"FACP", &body));
            let mut machine = machine();
            let piece = &mut machine.0[which].1;
            if at < piece.len() {
                piece[at] = value;
                // A right checksum lets the damage through to the fields.
                if which > 1 && at != 9 {
                    *piece = sealed(piece.clone(), 9);
                }
            }
            let _ = read(&machine, None);
        }
    }
}
