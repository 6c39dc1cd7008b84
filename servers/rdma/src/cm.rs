//! The communication manager: connections are agreed on by messages between the queue pairs of the
//! general services (specification, chapter 12).
//!
//! Sans-IO. Messages and time in; messages and events out. A program's part, which is to change its queue
//! pair's state, is done between an event and the call that answers it:
//!
//! | who asks | who is asked |
//! |---|---|
//! | `connect`: REQ | `Event::Request`; the queue pair goes to RTR |
//! | `Event::Reply`; the queue pair goes to RTR and RTS | `accept`: REP; the queue pair goes to RTS |
//! | `ready`: RTU | `Event::Established` |
//!
//! ```text
//! connect → Asking ─REP→ Answered ─ready→ Established ←RTU─ Accepting ←accept─ Asked ← REQ
//!                                 Established ─disconnect→ Parting ─DREP→ Over
//!                                 Established ─DREQ→ Over (answers DREP)
//! ```
//!
//! A message without an answer is sent again, the same bytes, a given number of times. A message that comes
//! again is answered as before. What is over is remembered for a while for that, then forgotten.
//! Whatever a peer does, it takes at most one place in the table for each request, and the table is
//! bounded. Absent: alternate paths (LAP, APR), peer-to-peer requests, and stale connections found by
//! their queue pairs.

mod messages;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use core::net::IpAddr;
use core::time::Duration;

pub use messages::{
    GENERAL_SERVICES_KEY, IP_BYTES, IpService, MAD_BYTES, Mad, MadError, Message, Path, Reason,
    Reply, Request, tcp_service, udp_service,
};

use crate::table::Table;

/// How long an answer to a message may take.
const TIMEOUT: Duration = Duration::from_millis(250);
/// How often a message is sent again.
const RETRIES: u32 = 15;
/// How long what is over is remembered.
const TIME_WAIT: Duration = Duration::from_secs(8);
/// Services that are offered at most.
const MOST_SERVICES: usize = 64;
/// Answers that belong to no connection and wait to be sent at most; a peer asks again for others.
const MOST_ANSWERS: usize = 64;

/// A connection, from a request on until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u32);

/// What a program is to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants a connection: [`Manager::accept`] or [`Manager::reject`] it.
    Request(ConnectionId, IpAddr, Request),
    /// The peer agrees: [`Manager::ready`] when the queue pair can send.
    Reply(ConnectionId, Reply),
    /// The peer can send, too.
    Established(ConnectionId),
    /// The peer refuses, or has given up.
    Rejected(ConnectionId, Reason),
    /// The peer does not answer.
    Unreachable(ConnectionId),
    /// The connection is over.
    Disconnected(ConnectionId),
    /// Somebody wants the queue pair of a datagram service: [`Manager::answer_service`].
    ServiceRequest(IpAddr, Mad),
    /// The answer to [`Manager::request_service`].
    ServiceReply(ConnectionId, Message),
}

/// Something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CmError {
    /// There are as many as there can be.
    #[error("no room for another one")]
    Full,
    /// There is no such connection, or it is not at that point.
    #[error("no connection at that point")]
    State,
    /// That service is offered already.
    #[error("that service is offered already")]
    Taken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asking,
    Answered,
    Asked,
    Accepting,
    Established,
    Parting,
    /// A service's queue pair was asked for.
    Seeking,
    Over,
}

#[derive(Clone, Debug)]
struct Connection {
    state: State,
    peer: IpAddr,
    transaction: u64,
    /// The peer's id of the connection; 0 as long as it is not known.
    remote: u32,
    /// The peer's queue pair.
    qpn: u32,
    /// What was said last, to be said again.
    said: Option<Message>,
    /// Whether it is to be said now.
    due: bool,
    retries: u32,
    deadline: Option<Duration>,
}

/// All connections of a host that are being made, are made, or are just over.
#[derive(Clone, Debug)]
pub struct Manager {
    connections: Table<Connection>,
    services: heapless::Vec<u64, MOST_SERVICES>,
    answers: VecDeque<(IpAddr, Mad)>,
    events: VecDeque<Event>,
    transactions: u64,
}

impl Manager {
    /// No connections yet, and room for so many. Transactions are numbered from a random number on, so
    /// that those from before a restart are not taken for ours.
    #[must_use]
    pub const fn new(connections: u16, transaction: u64) -> Self {
        Self {
            connections: Table::new(connections, 32),
            services: heapless::Vec::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            transactions: transaction,
        }
    }

    /// Offers a service.
    ///
    /// # Errors
    /// [`CmError::Full`], [`CmError::Taken`].
    pub fn listen(&mut self, service: u64) -> Result<(), CmError> {
        if self.services.contains(&service) {
            return Err(CmError::Taken);
        }
        self.services.push(service).map_err(|_| CmError::Full)
    }

    /// Offers a service no longer; connections stay.
    pub fn unlisten(&mut self, service: u64) {
        self.services.retain(|offered| *offered != service);
    }

    /// Asks for a connection.
    ///
    /// # Errors
    /// [`CmError::Full`].
    pub fn connect(
        &mut self,
        now: Duration,
        peer: IpAddr,
        request: Request,
    ) -> Result<ConnectionId, CmError> {
        self.begin(now, peer, State::Asking, Message::Request(request))
    }

    /// Asks for the queue pair of a datagram service.
    ///
    /// # Errors
    /// [`CmError::Full`].
    pub fn request_service(
        &mut self,
        now: Duration,
        peer: IpAddr,
        service: u64,
        partition: u16,
        private: [u8; 216],
    ) -> Result<ConnectionId, CmError> {
        let message = Message::ServiceRequest { service, partition, private };
        self.begin(now, peer, State::Seeking, message)
    }

    fn begin(
        &mut self,
        now: Duration,
        peer: IpAddr,
        state: State,
        message: Message,
    ) -> Result<ConnectionId, CmError> {
        self.transactions = self.transactions.wrapping_add(1);
        let mut connection = Connection::new(state, peer, self.transactions);
        connection.say(now, message, state);
        let id = self.connections.insert_with(|_| connection);
        id.map(ConnectionId).ok_or(CmError::Full)
    }

    /// Agrees to a connection.
    ///
    /// # Errors
    /// [`CmError::State`].
    pub fn accept(&mut self, now: Duration, id: ConnectionId, reply: Reply) -> Result<(), CmError> {
        let connection = self.at(id, &[State::Asked])?;
        connection.say(now, Message::Reply(reply), State::Accepting);
        Ok(())
    }

    /// Refuses a connection that was asked for, or one that was agreed to.
    ///
    /// # Errors
    /// [`CmError::State`].
    pub fn reject(
        &mut self,
        now: Duration,
        id: ConnectionId,
        reason: Reason,
        private: [u8; 148],
    ) -> Result<(), CmError> {
        let connection = self.at(id, &[State::Asked, State::Answered])?;
        connection.end(now, Message::Reject(reason, private));
        Ok(())
    }

    /// The queue pair of whoever asked can send.
    ///
    /// # Errors
    /// [`CmError::State`].
    pub fn ready(&mut self, id: ConnectionId) -> Result<(), CmError> {
        let connection = self.at(id, &[State::Answered])?;
        connection.state = State::Established;
        connection.said = Some(Message::ReadyToUse);
        connection.due = true;
        Ok(())
    }

    /// A packet came on a queue pair whose peer's last message did not: it is established.
    ///
    /// # Errors
    /// [`CmError::State`].
    pub fn communication_established(&mut self, id: ConnectionId) -> Result<(), CmError> {
        self.at(id, &[State::Accepting])?.establish();
        self.events.push_back(Event::Established(id));
        Ok(())
    }

    /// Ends a connection.
    ///
    /// # Errors
    /// [`CmError::State`].
    pub fn disconnect(&mut self, now: Duration, id: ConnectionId) -> Result<(), CmError> {
        let connection = self.at(id, &[State::Established])?;
        connection.say(now, Message::DisconnectRequest(connection.qpn), State::Parting);
        Ok(())
    }

    /// Tells whoever asked which queue pair a datagram service has.
    ///
    /// # Errors
    /// [`CmError::Full`]: it will ask again.
    pub fn answer_service(
        &mut self,
        peer: IpAddr,
        asked: &Mad,
        answer: Message,
    ) -> Result<(), CmError> {
        let Mad { transaction, local, .. } = *asked;
        self.answer(peer, Mad { transaction, local, remote: 0, message: answer })
    }

    fn answer(&mut self, peer: IpAddr, mad: Mad) -> Result<(), CmError> {
        if self.answers.len() >= MOST_ANSWERS {
            return Err(CmError::Full);
        }
        self.answers.push_back((peer, mad));
        Ok(())
    }

    /// The connection of this id, if it is in one of these states.
    fn at(&mut self, id: ConnectionId, states: &[State]) -> Result<&mut Connection, CmError> {
        let connection = self.connections.get_mut(id.0).ok_or(CmError::State)?;
        if states.contains(&connection.state) { Ok(connection) } else { Err(CmError::State) }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// It is none. Messages for connections that there are not, or that come too late, are no errors.
    pub fn receive(&mut self, now: Duration, peer: IpAddr, bytes: &[u8]) -> Result<(), MadError> {
        let mad = Mad::parse(bytes)?;
        match mad.message {
            Message::Request(request) => self.on_request(peer, &mad, request),
            Message::ServiceRequest { service, .. } => self.on_service_request(peer, &mad, service),
            Message::ServiceReply { .. } => self.on_service_reply(peer, &mad),
            _ => self.on_message(now, peer, &mad),
        }
        Ok(())
    }

    fn on_request(&mut self, peer: IpAddr, mad: &Mad, request: Request) {
        let known = self.connections.values_mut().find(|connection| {
            (connection.peer, connection.transaction) == (peer, mad.transaction)
                && connection.remote == mad.local
        });
        if let Some(connection) = known {
            // It asks again because our answer was lost.
            connection.due = connection.said.is_some();
            return;
        }
        if !self.services.contains(&request.service) {
            self.refuse(peer, mad, Reason::INVALID_SERVICE);
            return;
        }
        let mut connection = Connection::new(State::Asked, peer, mad.transaction);
        connection.remote = mad.local;
        connection.qpn = request.qpn;
        match self.connections.insert_with(|_| connection) {
            Some(id) => self.events.push_back(Event::Request(ConnectionId(id), peer, request)),
            None => self.refuse(peer, mad, Reason::NO_RESOURCES),
        }
    }

    fn refuse(&mut self, peer: IpAddr, mad: &Mad, reason: Reason) {
        let message = Message::Reject(reason, [0; 148]);
        let Mad { transaction, local: remote, .. } = *mad;
        // If there is no room, it will ask again.
        let _ = self.answer(peer, Mad { transaction, local: 0, remote, message });
    }

    fn on_service_request(&mut self, peer: IpAddr, mad: &Mad, service: u64) {
        if self.services.contains(&service) {
            self.events.push_back(Event::ServiceRequest(peer, *mad));
            return;
        }
        /// "Service ID not supported".
        const UNSUPPORTED: u8 = 1;
        let (qpn, queue_key, private) = (0, 0, [0; 136]);
        let answer =
            Message::ServiceReply { status: UNSUPPORTED, qpn, service, queue_key, private };
        // If there is no room, it will ask again.
        let _ = self.answer_service(peer, mad, answer);
    }

    fn on_service_reply(&mut self, peer: IpAddr, mad: &Mad) {
        let Some(connection) = self.connections.get(mad.local) else { return };
        let right = (connection.state, connection.peer, connection.transaction);
        if right == (State::Seeking, peer, mad.transaction) {
            self.connections.remove(mad.local);
            self.events.push_back(Event::ServiceReply(ConnectionId(mad.local), mad.message));
        }
    }

    /// A message of a connection that is not its first one.
    fn on_message(&mut self, now: Duration, peer: IpAddr, mad: &Mad) {
        let id = ConnectionId(mad.remote);
        let known = self.connections.get_mut(mad.remote).filter(|connection| {
            connection.peer == peer && [0, mad.local].contains(&connection.remote)
        });
        let Some(connection) = known else {
            self.on_stray(peer, mad);
            return;
        };
        if let Some(event) = connection.take(now, id, mad) {
            self.events.push_back(event);
        }
    }

    /// Whoever parts from a connection that is forgotten here is told that it is over.
    fn on_stray(&mut self, peer: IpAddr, mad: &Mad) {
        if let Message::DisconnectRequest(_) = mad.message {
            let Mad { transaction, local: remote, remote: local, .. } = *mad;
            let message = Message::DisconnectReply;
            // If there is no room, it will ask again.
            let _ = self.answer(peer, Mad { transaction, local, remote, message });
        }
    }

    /// The next message to send, from this host's queue pair of the general services to that of another.
    pub fn transmit(&mut self) -> Option<(IpAddr, [u8; MAD_BYTES])> {
        if let Some((peer, mad)) = self.answers.pop_front() {
            return Some((peer, mad.to_bytes()));
        }
        let (handle, connection) = self.connections.entries_mut().find(|(_, one)| one.due)?;
        connection.due = false;
        let message = connection.said?;
        let Connection { transaction, remote, peer, .. } = *connection;
        Some((peer, Mad { transaction, local: handle, remote, message }.to_bytes()))
    }

    /// The next event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Manager::tick`] is to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.connections.values().filter_map(|connection| connection.deadline).min()
    }

    /// Says again what was not answered, gives up, and forgets.
    pub fn tick(&mut self, now: Duration) {
        while let Some(handle) = self.overdue(now) {
            self.expire(now, handle);
        }
    }

    fn overdue(&mut self, now: Duration) -> Option<u32> {
        let mut entries = self.connections.entries_mut();
        let late = |one: &Connection| one.deadline.is_some_and(|deadline| deadline <= now);
        entries.find_map(|(handle, connection)| late(connection).then_some(handle))
    }

    fn expire(&mut self, now: Duration, handle: u32) {
        let Some(connection) = self.connections.get_mut(handle) else { return };
        if let State::Over = connection.state {
            self.connections.remove(handle);
            return;
        }
        if connection.retries > 0 {
            connection.retries -= 1;
            connection.due = true;
            connection.deadline = Some(now + TIMEOUT);
            return;
        }
        let id = ConnectionId(handle);
        self.events.push_back(match connection.state {
            State::Parting => {
                connection.fall_silent(now);
                Event::Disconnected(id)
            }
            State::Seeking => {
                self.connections.remove(handle);
                Event::Unreachable(id)
            }
            _ => {
                connection.end(now, Message::Reject(Reason::TIMEOUT, [0; 148]));
                Event::Unreachable(id)
            }
        });
    }
}

impl Connection {
    const fn new(state: State, peer: IpAddr, transaction: u64) -> Self {
        Self {
            state,
            peer,
            transaction,
            remote: 0,
            qpn: 0,
            said: None,
            due: false,
            retries: 0,
            deadline: None,
        }
    }

    /// Says something until it is answered.
    fn say(&mut self, now: Duration, message: Message, state: State) {
        self.said = Some(message);
        self.due = true;
        self.state = state;
        self.retries = RETRIES;
        self.deadline = Some(now + TIMEOUT);
    }

    /// Says a last thing, and is over.
    fn end(&mut self, now: Duration, message: Message) {
        self.said = Some(message);
        self.due = true;
        self.state = State::Over;
        self.deadline = Some(now + TIME_WAIT);
    }

    /// Is over without another word.
    fn fall_silent(&mut self, now: Duration) {
        (self.said, self.due) = (None, false);
        self.state = State::Over;
        self.deadline = Some(now + TIME_WAIT);
    }

    const fn establish(&mut self) {
        self.state = State::Established;
        self.said = None;
        self.deadline = None;
    }

    /// What a message of the peer's leads to.
    fn take(&mut self, now: Duration, id: ConnectionId, mad: &Mad) -> Option<Event> {
        match (mad.message, self.state) {
            (Message::Reply(reply), State::Asking) => {
                self.remote = mad.local;
                self.qpn = reply.qpn;
                self.state = State::Answered;
                (self.said, self.deadline) = (None, None);
                Some(Event::Reply(id, reply))
            }
            // Our answer was lost.
            (Message::Reply(_), State::Established) => {
                self.due = self.said.is_some();
                None
            }
            (Message::ReadyToUse, State::Accepting) => {
                self.establish();
                Some(Event::Established(id))
            }
            (Message::Reject(reason, _), state)
                if !matches!(state, State::Over | State::Parting) =>
            {
                self.fall_silent(now);
                Some(Event::Rejected(id, reason))
            }
            (Message::DisconnectRequest(_), _) => self.part(now, id),
            (Message::DisconnectReply, State::Parting) => {
                self.fall_silent(now);
                Some(Event::Disconnected(id))
            }
            (Message::MoreTime(code), State::Asking | State::Accepting | State::Parting) => {
                let more = Duration::from_nanos(4096 << (code & 31));
                self.deadline = Some(now + TIMEOUT + more);
                None
            }
            _ => None,
        }
    }

    /// The peer wants an end.
    fn part(&mut self, now: Duration, id: ConnectionId) -> Option<Event> {
        let over = self.state == State::Over;
        self.end(now, Message::DisconnectReply);
        (!over).then_some(Event::Disconnected(id))
    }
}
