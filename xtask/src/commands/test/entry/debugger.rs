//! QEMU as a debugger sees it: GDB's remote protocol (the GDB manual, appendix "Remote Protocol").
//!
//! One thread, hardware breakpoints, all registers in one piece; memory by virtual address, and, as QEMU
//! alone can, by physical address, which is how a message-signalled interrupt is sent: by writing where
//! the local APIC's messages go.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How long QEMU may take to begin, in steps of [`PAUSE`].
const ATTEMPTS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(50);
/// How long the guest may run between two stops.
const PATIENCE: Duration = Duration::from_secs(120);

/// Step by step, with interrupts and without timers (QEMU's bits 1 and 4).
const STEPPING: &str = "Qqemu.sstep=5";

/// QEMU does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DebugError {
    /// The connection broke: QEMU has ended, or the guest runs for too long.
    #[error("the connection to QEMU's debugger interface")]
    Connection(#[from] io::Error),
    /// An answer that the protocol does not have there.
    #[error("`{command}` was answered with `{answer}`")]
    Answer {
        /// What was asked.
        command: String,
        /// What came.
        answer: String,
    },
}

/// Why the guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At a breakpoint, or after a step.
    Trapped,
    /// QEMU has ended.
    Ended,
}

/// A register, by where it lies among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register {
    offset: usize,
    bytes: usize,
}

impl Register {
    /// The general registers in the order of their numbers: RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8 …
    pub(crate) const fn general(number: usize) -> Self {
        Self { offset: 8 * number, bytes: 8 }
    }

    pub(crate) const RDI: Self = Self::general(5);
    pub(crate) const RSP: Self = Self::general(7);
    pub(crate) const RIP: Self = Self::general(16);
    pub(crate) const FLAGS: Self = Self { offset: 136, bytes: 4 };
    pub(crate) const CS: Self = Self { offset: 140, bytes: 4 };
    pub(crate) const SS: Self = Self { offset: 144, bytes: 4 };
    pub(crate) const GS_BASE: Self = Self { offset: 172, bytes: 8 };
    pub(crate) const CR3: Self = Self { offset: 204, bytes: 8 };
}

/// All registers, those of the FPU included.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Registers(Vec<u8>);

impl Registers {
    pub(crate) fn get(&self, register: Register) -> u64 {
        let mut word = [0; 8];
        let place = register.offset..register.offset + register.bytes;
        if let Some(bytes) = self.0.get(place) {
            word[..register.bytes].copy_from_slice(bytes);
        }
        u64::from_le_bytes(word)
    }

    pub(crate) fn with(mut self, register: Register, value: u64) -> Self {
        let place = register.offset..register.offset + register.bytes;
        if let Some(bytes) = self.0.get_mut(place) {
            bytes.copy_from_slice(&value.to_le_bytes()[..register.bytes]);
        }
        self
    }

    pub(crate) fn rip(&self) -> u64 {
        self.get(Register::RIP)
    }

    pub(crate) fn rsp(&self) -> u64 {
        self.get(Register::RSP)
    }

    /// Offsets of the words in which they differ, for a message.
    pub(crate) fn differences(&self, other: &Self) -> Vec<usize> {
        let pairs = self.0.chunks(8).zip(other.0.chunks(8)).enumerate();
        pairs.filter(|(_, (a, b))| a != b).map(|(index, _)| 8 * index).collect()
    }
}

/// A connection to a guest that stands still.
pub(crate) struct Debugger {
    stream: UnixStream,
    /// What has come and was not looked at yet.
    input: Vec<u8>,
}

impl Debugger {
    /// Connects to a QEMU that was just started with `-S` and this socket.
    pub(crate) fn connect(socket: &Path) -> Result<Self, DebugError> {
        let mut attempts = 0;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if attempts == ATTEMPTS => return Err(error.into()),
                Err(_) => attempts += 1,
            }
            thread::sleep(PAUSE);
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut debugger = Self { stream, input: Vec::new() };
        // Without being told so, QEMU would not show control registers and bases.
        debugger.ask("qSupported:xmlRegisters=i386")?;
        debugger.must(STEPPING)?;
        Ok(debugger)
    }

    pub(crate) fn registers(&mut self) -> Result<Registers, DebugError> {
        Ok(Registers(self.ask_for_bytes("g")?))
    }

    pub(crate) fn set_registers(&mut self, registers: &Registers) -> Result<(), DebugError> {
        self.must(&format!("G{}", hex(&registers.0)))
    }

    /// Executes an instruction, or takes what interrupts it. QEMU may stop before it has: what changes
    /// nothing has not happened yet.
    pub(crate) fn step(&mut self) -> Result<Registers, DebugError> {
        let before = self.registers()?;
        let mut after = before.clone();
        for _ in 0..4 {
            self.ask("s")?;
            after = self.registers()?;
            if after != before {
                break;
            }
        }
        Ok(after)
    }

    /// Lets the guest run to a breakpoint or to its end.
    pub(crate) fn run(&mut self) -> Result<Stop, DebugError> {
        match self.ask("c") {
            Ok(answer) if answer.starts_with('W') => Ok(Stop::Ended),
            Ok(_) => Ok(Stop::Trapped),
            Err(DebugError::Connection(error))
                if error.kind() == io::ErrorKind::UnexpectedEof
                    || error.kind() == io::ErrorKind::ConnectionReset =>
            {
                Ok(Stop::Ended)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the guest run, alone from now on.
    pub(crate) fn leave(mut self) -> Result<(), DebugError> {
        self.must("D")
    }

    pub(crate) fn set_breakpoint(&mut self, address: u64) -> Result<(), DebugError> {
        self.must(&format!("Z1,{address:x},1"))
    }

    pub(crate) fn clear_breakpoint(&mut self, address: u64) -> Result<(), DebugError> {
        self.must(&format!("z1,{address:x},1"))
    }

    /// So many words at a virtual address.
    pub(crate) fn words(&mut self, address: u64, count: usize) -> Result<Vec<u64>, DebugError> {
        let bytes = self.ask_for_bytes(&format!("m{address:x},{:x}", 8 * count))?;
        let (words, _) = bytes.as_chunks();
        Ok(words.iter().copied().map(u64::from_le_bytes).collect())
    }

    pub(crate) fn set_word(&mut self, address: u64, value: u64) -> Result<(), DebugError> {
        self.must(&format!("M{address:x},8:{}", hex(&value.to_le_bytes())))
    }

    /// Writes 32 bits to a physical address, as a device would.
    pub(crate) fn write_physical(&mut self, address: u64, value: u32) -> Result<(), DebugError> {
        self.must("Qqemu.PhyMemMode:1")?;
        self.must(&format!("M{address:x},4:{}", hex(&value.to_le_bytes())))?;
        self.must("Qqemu.PhyMemMode:0")
    }

    /// Gives QEMU's monitor a command that says nothing unless it fails.
    pub(crate) fn command_monitor(&mut self, command: &str) -> Result<(), DebugError> {
        self.must(&format!("qRcmd,{}", hex(command.as_bytes())))
    }

    fn must(&mut self, command: &str) -> Result<(), DebugError> {
        let answer = self.ask(command)?;
        if answer == "OK" {
            return Ok(());
        }
        Err(DebugError::Answer { command: command.into(), answer })
    }

    fn ask_for_bytes(&mut self, command: &str) -> Result<Vec<u8>, DebugError> {
        let answer = self.ask(command)?;
        unhex(&answer).ok_or(DebugError::Answer { command: command.into(), answer })
    }

    fn ask(&mut self, command: &str) -> Result<String, DebugError> {
        self.stream.write_all(&packet(command))?;
        loop {
            if let Some((answer, used)) = first_packet(&self.input) {
                self.input.drain(..used);
                self.stream.write_all(b"+")?;
                return Ok(answer);
            }
            let mut piece = [0; 8192];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                count => self.input.extend(&piece[..count]),
            }
        }
    }
}

fn packet(text: &str) -> Vec<u8> {
    let sum = text.bytes().fold(0u8, u8::wrapping_add);
    format!("${text}#{sum:02x}").into_bytes()
}

/// The first whole packet and how many bytes it takes, with what lies before it.
fn first_packet(input: &[u8]) -> Option<(String, usize)> {
    let start = input.iter().position(|byte| *byte == b'$')? + 1;
    let length = input[start..].iter().position(|byte| *byte == b'#')?;
    let used = start + length + 3;
    let text = String::from_utf8_lossy(&input[start..start + length]).into_owned();
    (input.len() >= used).then_some((text, used))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_a_sum_and_are_found_in_pieces() {
        assert_eq!(packet("OK"), b"$OK#9a");
        assert_eq!(first_packet(b"+$OK#9"), None);
        assert_eq!(first_packet(b"+$OK#9a$T"), Some(("OK".into(), 7)));
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(unhex(&hex(&[0, 0x7f, 0xff])), Some(vec![0, 0x7f, 0xff]));
        assert_eq!(unhex("E14"), None);
        assert_eq!(unhex("zz"), None);
    }

    #[test]
    fn registers_have_their_places() {
        let registers = Registers(vec![0; 608]).with(Register::RIP, 0x1234).with(Register::CS, 8);
        assert_eq!((registers.rip(), registers.get(Register::CS)), (0x1234, 8));
        assert_eq!(registers.get(Register::SS), 0);
        let other = registers.clone().with(Register::RSP, 1);
        assert_eq!(registers.differences(&other), [56]);
    }
}
