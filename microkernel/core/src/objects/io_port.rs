//! I/O ports: the control object and port ranges (manual, chapter 8.2.2).

use crate::{Answer, Cap, Decoded, Invocation, Kernel, Machine, PortWidth, SyscallError, ensure};
use core::ops::Range;
use d3os_abi::Label;

const WORD_BITS: usize = 64;

/// Which ports are in issued ranges: a bit each.
#[derive(Debug)]
pub(crate) struct IoPorts {
    issued: [u64; (1 << 16) / WORD_BITS],
}

impl IoPorts {
    /// None issued.
    pub(crate) const fn new() -> Self {
        Self { issued: [0; (1 << 16) / WORD_BITS] }
    }

    fn any_issued(&self, first: u16, last: u16) -> bool {
        words(first, last).any(|(word, mask)| self.issued[word] & mask != 0)
    }

    /// Makes issued ports free, or free ones issued.
    fn toggle(&mut self, first: u16, last: u16) {
        words(first, last).for_each(|(word, mask)| self.issued[word] ^= mask);
    }
}

/// The words that hold ports `first` to `last`, each with the bits of those ports.
fn words(first: u16, last: u16) -> impl Iterator<Item = (usize, u64)> {
    let ports = Range { start: usize::from(first), end: usize::from(last) + 1 };
    (ports.start / WORD_BITS..ports.end.div_ceil(WORD_BITS)).map(move |word| {
        let from = ports.start.saturating_sub(word * WORD_BITS);
        let to = (ports.end - word * WORD_BITS).min(WORD_BITS);
        (word, u64::MAX << from & u64::MAX >> (WORD_BITS - to))
    })
}

fn check_port(value: u64) -> Decoded<u16> {
    u16::try_from(value).map_err(|_| SyscallError::Range { min: 0, max: u16::MAX.into() })
}

impl<M: Machine> Kernel<M> {
    /// Issues a port range.
    pub(crate) fn invoke_io_port_control(&mut self, inv: &Invocation) -> Decoded<Answer> {
        inv.ensure_label(Label::IoPortControlIssue)?;
        // Ports are the whole machine's: one instance hands them out.
        ensure(self.core == 0, SyscallError::IllegalOperation)?;
        let [first, last, index, depth] = self.arguments(inv, 0)?;
        let (_, root) = self.extra_cap(inv, 0)?;
        let (first, last) = (check_port(first)?, check_port(last)?);
        ensure(first <= last, SyscallError::InvalidArgument(1))?;
        ensure(!self.io_ports.any_issued(first, last), SyscallError::RevokeFirst)?;
        let dest = self.empty_slot(root, index, depth)?;
        self.io_ports.toggle(first, last);
        self.insert_derived(dest, Cap::IoPort { first, last }, inv.slot);
        Ok(Answer::Empty)
    }

    /// Reads or writes a port.
    pub(crate) fn invoke_io_port(&mut self, inv: &Invocation) -> Decoded<Answer> {
        let (width, reads) = match inv.label()? {
            Label::IoPortIn8 => (PortWidth::Byte, true),
            Label::IoPortIn16 => (PortWidth::Word, true),
            Label::IoPortIn32 => (PortWidth::Long, true),
            Label::IoPortOut8 => (PortWidth::Byte, false),
            Label::IoPortOut16 => (PortWidth::Word, false),
            Label::IoPortOut32 => (PortWidth::Long, false),
            _ => return Err(SyscallError::IllegalOperation),
        };
        // Ports have 16 bits and values 32: what is above means nothing.
        let port = (self.argument(inv, 0)? & 0xffff) as u16;
        check_access(self.invoked(inv).unpack(), port, width)?;
        if reads {
            return Ok(Answer::Word(self.machine.port_in(port, width).into()));
        }
        let value = (self.argument(inv, 1)? & 0xffff_ffff) as u32;
        self.machine.port_out(port, width, value);
        Ok(Answer::Empty)
    }

    /// The last capability to a port range goes away: it may be issued again.
    pub(crate) fn finalise_io_port(&mut self, first: u16, last: u16) {
        self.io_ports.toggle(first, last);
    }
}

/// Every port that the access touches must be in the range.
fn check_access(cap: Cap, port: u16, width: PortWidth) -> Decoded<()> {
    let end = port.checked_add(width as u16 - 1);
    match (cap, end) {
        (Cap::IoPort { first, last }, Some(end)) if first <= port && end <= last => Ok(()),
        _ => Err(SyscallError::IllegalOperation),
    }
}
