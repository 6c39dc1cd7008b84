//! I/O ports: the control object and port ranges (manual, chapter 8.2.2).

use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Machine, Outcome, PortWidth, Ref, Slot, SyscallError,
    ensure,
};
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

/// A new port range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoPortControlRequest {
    first: u16,
    last: u16,
    dest: Ref<Slot>,
}

/// A port access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoPortRequest {
    port: u16,
    width: PortWidth,
    /// What to write, or nothing: then the port is read.
    value: Option<u32>,
}

fn check_port(value: u64) -> Decoded<u16> {
    u16::try_from(value).map_err(|_| SyscallError::Range { min: 0, max: u16::MAX.into() })
}

impl<M: Machine> Kernel<M> {
    /// Checks an invocation of the I/O port control object.
    pub(crate) fn decode_io_port_control(&self, inv: &Invocation) -> Decoded<IoPortControlRequest> {
        inv.ensure_label(Label::IoPortControlIssue)?;
        // Ports are the whole machine's: one instance hands them out.
        ensure(self.core == 0, SyscallError::IllegalOperation)?;
        let [first, last, index, depth] = self.arguments(inv, 0)?;
        let (_, root) = self.extra_cap(inv, 0)?;
        let (first, last) = (check_port(first)?, check_port(last)?);
        ensure(first <= last, SyscallError::InvalidArgument(1))?;
        ensure(!self.io_ports.any_issued(first, last), SyscallError::RevokeFirst)?;
        let dest = self.empty_slot(root, index, depth)?;
        Ok(IoPortControlRequest { first, last, dest })
    }

    /// Issues a port range.
    pub(crate) fn perform_io_port_control(
        &mut self,
        inv: &Invocation,
        request: IoPortControlRequest,
    ) -> Outcome {
        let IoPortControlRequest { first, last, dest } = request;
        self.io_ports.toggle(first, last);
        self.insert_derived(dest, Cap::IoPort { first, last }, inv.slot);
        Ok(Answer::Empty)
    }

    /// Checks an invocation of a port range.
    pub(crate) fn decode_io_port(&self, inv: &Invocation) -> Decoded<IoPortRequest> {
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
        let value = if reads { None } else { Some((self.argument(inv, 1)? & 0xffff_ffff) as u32) };
        Ok(IoPortRequest { port, width, value })
    }

    /// Accesses a port.
    pub(crate) fn perform_io_port(&mut self, request: IoPortRequest) -> Outcome {
        let IoPortRequest { port, width, value } = request;
        Ok(match value {
            None => Answer::Word(self.machine.port_in(port, width).into()),
            Some(value) => {
                self.machine.port_out(port, width, value);
                Answer::Empty
            }
        })
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
