//! Questions to name servers: both kinds of addresses at once, at the first interface that knows a
//! server.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use libd3os::service::net::NetError;
use smoltcp::socket::dns::{GetQueryResultError, QueryHandle, StartQueryError};
use smoltcp::wire::DnsQueryType;

use crate::core::Ticket;
use crate::device::Card;
use crate::interface::Interface;

/// Names that are asked for at most at a time.
const QUESTIONS: usize = 16;
/// How long the other kind of address is waited for when one is known (RFC 8305 waits 50 ms; an
/// emulated machine is slower).
const RESOLUTION_DELAY: Duration = Duration::from_millis(250);
/// The stack gives up at a server after 10 s; an answer that comes earlier and says no is a no.
const PATIENCE: Duration = Duration::from_secs(9);

/// Names that are being asked for.
#[derive(Debug, Default)]
pub struct Names(Vec<Question>);

#[derive(Debug)]
struct Question {
    ticket: Ticket,
    interface: usize,
    open: Vec<Query>,
    addresses: Vec<IpAddr>,
    asked: Duration,
    /// When what is known is all that is waited for.
    enough: Option<Duration>,
}

/// A handle that can be shown.
#[derive(Clone, Copy)]
struct Query(QueryHandle);

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Query")
    }
}

impl Names {
    /// Begins to ask for a name.
    ///
    /// # Errors
    /// [`NetError::TooMany`], [`NetError::NoNameServer`], [`NetError::BadName`].
    pub fn ask<C: Card>(
        &mut self,
        name: &str,
        interfaces: &mut [Interface<C>],
        ticket: Ticket,
        now: Duration,
    ) -> Result<(), NetError> {
        if self.0.len() == QUESTIONS {
            return Err(NetError::TooMany);
        }
        let knows = |interface: &Interface<C>| !interface.name_servers().is_empty();
        let index = interfaces.iter().position(knows).ok_or(NetError::NoNameServer)?;
        let interface = interfaces.get_mut(index).ok_or(NetError::NoNameServer)?;
        let mut open = Vec::new();
        for kind in [DnsQueryType::A, DnsQueryType::Aaaa] {
            let (socket, context) = interface.dns();
            match socket.start_query(context, name, kind) {
                Ok(query) => open.push(Query(query)),
                Err(error) => {
                    open.iter().for_each(|query| interface.dns().0.cancel_query(query.0));
                    return Err(refused(error));
                }
            }
        }
        let addresses = Vec::new();
        self.0.push(Question {
            ticket,
            interface: index,
            open,
            addresses,
            asked: now,
            enough: None,
        });
        Ok(())
    }

    /// Takes the answers that have come.
    pub fn turn<C: Card>(
        &mut self,
        interfaces: &mut [Interface<C>],
        now: Duration,
    ) -> Vec<(Ticket, Result<Vec<IpAddr>, NetError>)> {
        let mut answers = Vec::new();
        self.0.retain_mut(|question| {
            if let Some(interface) = interfaces.get_mut(question.interface) {
                question.look(interface, now);
            }
            let answer = question.answer(now);
            answers.extend(answer.map(|answer| (question.ticket, answer)));
            !question.open.is_empty()
        });
        answers
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When [`Self::turn`] has something to do even if no answer comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.0.iter().filter_map(|question| question.enough).min()
    }
}

impl Question {
    fn look<C: Card>(&mut self, interface: &mut Interface<C>, now: Duration) {
        let Self { open, addresses, enough, .. } = self;
        open.retain(|query| match interface.dns().0.get_query_result(query.0) {
            Err(GetQueryResultError::Pending) => true,
            Err(GetQueryResultError::Failed) => false,
            Ok(found) => {
                addresses.extend(found.iter().map(|address| IpAddr::from(*address)));
                enough.get_or_insert(now + RESOLUTION_DELAY);
                false
            }
        });
        if enough.is_some_and(|enough| now >= enough && !addresses.is_empty()) {
            open.drain(..).for_each(|query| interface.dns().0.cancel_query(query.0));
        }
    }

    /// The answer, when nothing is open any more.
    fn answer(&mut self, now: Duration) -> Option<Result<Vec<IpAddr>, NetError>> {
        if !self.open.is_empty() {
            return None;
        }
        let mut addresses = core::mem::take(&mut self.addresses);
        addresses.sort_by_key(IpAddr::is_ipv6);
        Some(match addresses.is_empty() {
            false => Ok(addresses),
            true if now.saturating_sub(self.asked) >= PATIENCE => Err(NetError::TimedOut),
            true => Err(NetError::NoSuchName),
        })
    }
}

fn refused(error: StartQueryError) -> NetError {
    match error {
        StartQueryError::NoFreeSlot => NetError::TooMany,
        StartQueryError::InvalidName | StartQueryError::NameTooLong => NetError::BadName,
    }
}

/// The address that a text is, if it is one; a name otherwise.
///
/// # Errors
/// [`NetError::BadName`] for an empty one.
pub fn parse(text: String) -> Result<Result<IpAddr, String>, NetError> {
    match text.parse() {
        Ok(address) => Ok(Ok(address)),
        Err(_) if text.is_empty() || !text.is_ascii() => Err(NetError::BadName),
        Err(_) => Ok(Err(text)),
    }
}
