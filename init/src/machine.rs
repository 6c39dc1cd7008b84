//! What the kernel tells about the machine: the chunks of extra BootInfo.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use libd3os::abi::{BootInfoHeader, MachineChunk, chunk};

/// The machine, as far as init wants to know it. What a kernel does not tell is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Ticks of the time stamp counter per microsecond.
    pub tsc_mhz: u32,
    /// Time stamp counter at the kernel's first instruction.
    pub boot_tsc: u64,
    /// Processors present.
    pub cores_present: u32,
    /// Bytes of RAM of this kernel instance.
    pub ram_bytes: u64,
    /// Bytes of RAM that the kernel keeps.
    pub kernel_bytes: u64,
    /// Local APIC of this core.
    pub apic_id: u32,
    /// Signal lines of every core.
    pub signal_lines: u32,
    /// Physical addresses of the memory that all instances share.
    pub pool: Range<u64>,
    /// Slot of the core control capability.
    pub core_control: Option<u64>,
    /// The kernel's command line.
    pub command_line: String,
    /// The ACPI root pointer's bytes.
    pub rsdp: Vec<u8>,
    /// The screen, as multiboot2's tag has it.
    pub framebuffer: Vec<u8>,
}

const HEADER_BYTES: usize = size_of::<BootInfoHeader>();
const MACHINE_BYTES: usize = size_of::<MachineChunk>();

impl Machine {
    /// Reads the chunks in `extra`, up to the first one whose length cannot be.
    #[must_use]
    pub fn parse(extra: &[u8]) -> Self {
        let mut machine = Self::default();
        for (id, payload) in Chunks(extra) {
            match id {
                chunk::TSC_FREQUENCY => machine.tsc_mhz = int(payload, 0),
                chunk::ACPI_RSDP => machine.rsdp = payload.to_vec(),
                chunk::FRAMEBUFFER => machine.framebuffer = payload.to_vec(),
                chunk::D3OS_MACHINE => machine.take_machine_chunk(payload),
                _ => {}
            }
        }
        machine
    }

    /// Bytes of the memory that all instances share.
    #[must_use]
    pub fn pool_bytes(&self) -> u64 {
        self.pool.end.saturating_sub(self.pool.start)
    }

    /// Microseconds since the machine started, at this reading of the time stamp counter.
    #[must_use]
    pub fn uptime_us(&self, tsc: u64) -> u64 {
        tsc.saturating_sub(self.boot_tsc) / u64::from(self.tsc_mhz.max(1))
    }

    /// The port at which an emulator takes an exit status, where the command line tells it
    /// (`exit_port=0xf4`): for a system that does not get as far as its own configuration.
    #[must_use]
    pub fn exit_port(&self) -> Option<u16> {
        let mut options = self.command_line.split_ascii_whitespace();
        let port = options.find_map(|option| option.strip_prefix("exit_port="))?;
        match port.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => port.parse().ok(),
        }
    }

    /// Field by field in the order of [`MachineChunk`].
    fn take_machine_chunk(&mut self, payload: &[u8]) {
        self.cores_present = int(payload, 0);
        let length = int(payload, 4) as usize;
        self.boot_tsc = long(payload, 8);
        self.ram_bytes = long(payload, 16);
        self.kernel_bytes = long(payload, 24);
        self.apic_id = int(payload, 32);
        self.signal_lines = int(payload, 36);
        let pool_base = long(payload, 48);
        self.pool = pool_base..pool_base.saturating_add(long(payload, 56));
        self.core_control = Some(long(payload, 80)).filter(|slot| *slot != 0);
        let text = payload.get(MACHINE_BYTES..).and_then(|rest| rest.get(..length)).unwrap_or(&[]);
        self.command_line = String::from_utf8_lossy(text).into_owned();
    }
}

struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(long(self.0, 8)).ok()?;
        let chunk = self.0.get(..length).filter(|chunk| chunk.len() >= HEADER_BYTES)?;
        let id = long(chunk, 0);
        self.0 = &self.0[length..];
        Some((id, &chunk[HEADER_BYTES..]))
    }
}

fn int(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(core::array::from_fn(|i| bytes.get(at + i).copied().unwrap_or(0)))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|i| bytes.get(at + i).copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk_bytes(id: u64, payload: &[u8]) -> Vec<u8> {
        let length = (HEADER_BYTES + payload.len()) as u64;
        [&id.to_le_bytes()[..], &length.to_le_bytes(), payload].concat()
    }

    fn sample() -> Vec<u8> {
        let mut machine = Vec::new();
        machine.extend(4u32.to_le_bytes());
        machine.extend(5u32.to_le_bytes());
        machine.extend(1000u64.to_le_bytes());
        machine.extend((512u64 << 20).to_le_bytes());
        machine.extend(77u64.to_le_bytes());
        machine.extend(3u32.to_le_bytes());
        machine.extend(16u32.to_le_bytes());
        for word in [112u64, 0x800_0000, 0x20_0000, 0x20_0000, 0x600_0000, 321] {
            machine.extend(word.to_le_bytes());
        }
        machine.extend(b"quiet rest");
        [
            chunk_bytes(chunk::ACPI_RSDP, b"RSD PTR "),
            chunk_bytes(chunk::PADDING, &[0; 3]),
            chunk_bytes(chunk::TSC_FREQUENCY, &2400u32.to_le_bytes()),
            chunk_bytes(chunk::D3OS_MACHINE, &machine),
        ]
        .concat()
    }

    #[test]
    fn reads_every_chunk() {
        let machine = Machine::parse(&sample());
        assert_eq!((machine.tsc_mhz, machine.cores_present, machine.boot_tsc), (2400, 4, 1000));
        assert_eq!((machine.ram_bytes, machine.kernel_bytes), (512 << 20, 77));
        assert_eq!((machine.apic_id, machine.signal_lines), (3, 16));
        assert_eq!(
            (machine.pool.clone(), machine.core_control),
            (0x800_0000..0x820_0000, Some(321))
        );
        assert_eq!((&*machine.command_line, &*machine.rsdp), ("quiet", &b"RSD PTR "[..]));
        assert_eq!(machine.uptime_us(1000 + 2400 * 7), 7);
    }

    #[test]
    fn a_kernel_that_tells_nothing_is_no_reason_to_fail() {
        assert_eq!(Machine::parse(&[]), Machine::default());
        assert_eq!(Machine::default().uptime_us(5), 5);
    }

    #[test]
    fn the_command_line_tells_the_exit_port() {
        let port = |command_line: &str| {
            Machine { command_line: command_line.into(), ..Machine::default() }.exit_port()
        };
        assert_eq!(port("quiet exit_port=0xf4"), Some(0xf4));
        assert_eq!(port("exit_port=244 quiet"), Some(0xf4));
        for none in ["", "quiet", "exit_port=", "exit_port=0x", "exit_port=70000", "no_exit_port=1"]
        {
            assert_eq!(port(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in any::<prop::sample::Index>(), value: u8, cut in any::<prop::sample::Index>()) {
            let mut bytes = sample();
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(cut.index(bytes.len() + 1));
            let _ = Machine::parse(&bytes);
        }
    }
}
