//! Pings: ICMP echo requests (RFC 792, RFC 4443) that wait for their answers.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use libd3os::service::net::{EchoReply, EchoRequest, NetError};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr};

use crate::core::Ticket;
use crate::device::Card;
use crate::interface::{Interface, route};

/// Requests that wait for an answer at most.
const WAITING: usize = 32;
/// Bytes of a request at most.
const LONGEST: u16 = 1024;
/// How long an answer is waited for at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests that wait.
#[derive(Debug)]
pub struct Echoes {
    ident: u16,
    next: u16,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    sequence: u16,
    request: EchoRequest,
    sent: Duration,
    deadline: Duration,
}

impl Echoes {
    /// Requests of this machine carry `ident`, which is not 0.
    #[must_use]
    pub const fn new(ident: u16) -> Self {
        Self { ident, next: 0, waiting: Vec::new() }
    }

    /// What requests of this machine carry.
    #[must_use]
    pub const fn ident(&self) -> u16 {
        self.ident
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`NetError::TooMany`], [`NetError::NoRoute`], [`NetError::BadAddress`].
    pub fn send<C: Card>(
        &mut self,
        request: EchoRequest,
        interfaces: &mut [Interface<C>],
        ticket: Ticket,
        now: Duration,
    ) -> Result<(), NetError> {
        let EchoRequest { destination, bytes, timeout_ms } = request;
        if self.waiting.len() == WAITING {
            return Err(NetError::TooMany);
        }
        if destination.is_unspecified() || bytes > LONGEST {
            return Err(NetError::BadAddress);
        }
        let index = route(interfaces, destination).ok_or(NetError::NoRoute)?;
        let interface = interfaces.get_mut(index).ok_or(NetError::NoRoute)?;
        let source = interface.source(destination).ok_or(NetError::NoRoute)?;
        self.next = self.next.wrapping_add(1);
        let message = compose(self.ident, self.next, bytes, source, destination);
        let message = message.ok_or(NetError::BadAddress)?;
        let sent = interface.echo().send_slice(&message, destination.into());
        sent.map_err(|_| NetError::TooMany)?;
        let deadline = now + Duration::from_millis(timeout_ms.into()).min(PATIENCE);
        self.waiting.push(Waiting { ticket, sequence: self.next, request, sent: now, deadline });
        Ok(())
    }

    /// Takes the answers that have come, and gives up what is too late.
    pub fn turn<C: Card>(
        &mut self,
        interfaces: &mut [Interface<C>],
        now: Duration,
    ) -> Vec<(Ticket, Result<EchoReply, NetError>)> {
        let mut answers = Vec::new();
        for interface in interfaces {
            while let Ok((message, from)) = interface.echo().recv() {
                let answer = answered(message, from.into());
                answers
                    .extend(answer.and_then(|(sequence, bytes)| {
                        self.take(from.into(), sequence, bytes, now)
                    }));
            }
        }
        let late = self.waiting.extract_if(.., |waiting| now >= waiting.deadline);
        answers.extend(late.map(|waiting| (waiting.ticket, Err(NetError::TimedOut))));
        answers
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When [`Self::turn`] has something to do even if no answer comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.waiting.iter().map(|waiting| waiting.deadline).min()
    }

    fn take(
        &mut self,
        from: IpAddr,
        sequence: u16,
        bytes: u16,
        now: Duration,
    ) -> Option<(Ticket, Result<EchoReply, NetError>)> {
        let place = self.waiting.iter().position(|waiting| {
            let EchoRequest { destination, bytes: sent, .. } = waiting.request;
            (waiting.sequence, destination, sent) == (sequence, from, bytes)
        })?;
        let waiting = self.waiting.swap_remove(place);
        let time = now.saturating_sub(waiting.sent);
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Some((waiting.ticket, Ok(EchoReply { time_us, bytes })))
    }
}

/// An echo request's bytes; `None` where the addresses are of different kinds.
fn compose(ident: u16, seq_no: u16, bytes: u16, from: IpAddr, to: IpAddr) -> Option<Vec<u8>> {
    let content: Vec<u8> = (0..=u8::MAX).cycle().take(bytes.into()).collect();
    let (sums, data) = (ChecksumCapabilities::default(), &content[..]);
    match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let request = Icmpv4Repr::EchoRequest { ident, seq_no, data };
            let mut message = alloc::vec![0; request.buffer_len()];
            request.emit(&mut Icmpv4Packet::new_unchecked(&mut message), &sums);
            Some(message)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let request = Icmpv6Repr::EchoRequest { ident, seq_no, data };
            let mut message = alloc::vec![0; request.buffer_len()];
            let mut packet = Icmpv6Packet::new_unchecked(&mut message);
            request.emit(&from, &to, &mut packet, &sums);
            Some(message)
        }
        _ => None,
    }
}

/// Number and length of an echo answer; `None` for any other message. Its sum has been checked.
fn answered(message: &[u8], from: IpAddr) -> Option<(u16, u16)> {
    let sums = ChecksumCapabilities::ignored();
    let (sequence, data) = match from {
        IpAddr::V4(_) => {
            let packet = Icmpv4Packet::new_checked(message).ok()?;
            match Icmpv4Repr::parse(&packet, &sums).ok()? {
                Icmpv4Repr::EchoReply { seq_no, data, .. } => (seq_no, data),
                _ => return None,
            }
        }
        IpAddr::V6(from) => {
            let packet = Icmpv6Packet::new_checked(message).ok()?;
            match Icmpv6Repr::parse(&from, &Ipv6Addr::UNSPECIFIED, &packet, &sums).ok()? {
                Icmpv6Repr::EchoReply { seq_no, data, .. } => (seq_no, data),
                _ => return None,
            }
        }
    };
    Some((sequence, u16::try_from(data.len()).ok()?))
}
