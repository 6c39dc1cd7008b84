//! What the inits of different cores tell each other, over the rings of the [board](crate::board).
//!
//! Core 0's init decides; the others are its hands. It sends [`Command`]s, and they send
//! [`Report`]s. Neither waits for the other: a message that finds no room in the ring stays in the
//! sender's [`Outbox`] until there is some. Messages arrive in order, so that a command may build on
//! those before it.
//!
//! A start has a serial number, unlike any other of the program: a report about an earlier start,
//! sent before the hand learnt of its end, is known by it and dropped.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use libd3os::region::Region;
use libd3os::ring::{Doorbell, Line, ReceiveError, Receiver, RingError, SendError, Sender};
use libd3os::service::log::Level;
use libd3os::service::supervisor::{FaultReport, StartFailure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::supervise::ProgramNumber;

/// Messages that wait for room at most. A core that lets so many wait does not work any more.
pub const OUTBOX_MESSAGES: usize = 256;
/// Bytes of a message at most.
pub const MESSAGE_BYTES: usize = 6 << 10;

/// A signal line of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bell {
    /// The core.
    pub core: u32,
    /// The line's number.
    pub line: u8,
}

/// A pair of rings to be put into a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The program.
    pub program: ProgramNumber,
    /// Place in its ring window.
    pub place: u16,
    /// The memory: of [`crate::board::POOL`].
    pub region: Region,
    /// What wakes the other side.
    pub peer: Bell,
    /// Badge of the client.
    pub caller: u64,
}

/// How a program that is to be started reaches a service on another core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The service.
    pub service: String,
    /// The pair's place in the program's ring window.
    pub place: u16,
    /// The pair, if the service's program runs: else one is attached when it does.
    pub pair: Option<Attachment>,
}

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which.
    pub program: ProgramNumber,
    /// Number of this start, in all reports about it.
    pub serial: u32,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The session that it belongs to.
    pub session: u8,
    /// Its signal line, if it takes part in rings.
    pub line: Option<u8>,
    /// Its ways to services on other cores.
    pub routes: Vec<Route>,
}

/// What becomes of the callers of a program that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absence {
    /// They wait: it will be started again.
    Passing,
    /// They are told that nobody serves them.
    Lasting,
}

/// What core 0's init wants of another core's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Make a program and let it run.
    Start(Start),
    /// End a program.
    Kill(ProgramNumber, Absence),
    /// Let a program end itself when it has noted so many more events in its trace.
    EndAfter(ProgramNumber, u32),
    /// A change of a program's rings.
    Rings(RingChange),
    /// The answer to a call that was passed on.
    Answer {
        /// The call.
        token: u32,
        /// The answer's bytes, or the number of a `CallError`.
        answer: Result<Vec<u8>, u16>,
    },
}

/// A change of a program's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RingChange {
    /// Put a pair in, and say so.
    Attach(Attachment),
    /// Wake the program: something happened in its rings.
    Wake(ProgramNumber),
    /// Say that there is no pair at this place any longer.
    Retract(ProgramNumber, u16),
    /// Take the memory away, which the program does not use any more.
    Detach(ProgramNumber, u16),
}

impl RingChange {
    /// Whose rings change.
    #[must_use]
    pub const fn program(&self) -> ProgramNumber {
        match self {
            Self::Attach(Attachment { program, .. })
            | Self::Wake(program)
            | Self::Retract(program, _)
            | Self::Detach(program, _) => *program,
        }
    }
}

/// Which of init's interfaces a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interface {
    /// The supervisor's.
    Supervisor,
    /// The log's.
    Log,
}

/// What another core's init tells core 0's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It is up and takes commands.
    Ready,
    /// It cannot come up.
    Failed(String),
    /// A program runs.
    Started(ProgramNumber, u32),
    /// A program could not be made.
    NotStarted(ProgramNumber, u32, StartFailure),
    /// A program's thread did something that it may not, and stands still.
    Fault(ProgramNumber, u32, FaultReport),
    /// A program ended itself at this event, as it was told.
    KilledAt(ProgramNumber, u32, u64),
    /// A program has not answered for so many microseconds whether it is alive.
    Unresponsive(ProgramNumber, u32, u64),
    /// A program's call, to be answered by [`Command::Answer`].
    Call {
        /// Names the call in the answer.
        token: u32,
        /// Who calls.
        program: ProgramNumber,
        /// What.
        interface: Interface,
        /// The method's number.
        method: u16,
        /// The arguments' bytes.
        bytes: Vec<u8>,
    },
    /// Something for the log, of the core's init itself.
    Log(Level, String),
}

/// Why a link does not work any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The other side broke the ring's protocol, or sent what is no message.
    Malformed,
    /// Too many messages wait for room.
    Overrun,
    /// A message that is longer than any may be.
    TooLong,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "its messages make no sense",
            Self::Overrun => "it does not take its messages",
            Self::TooLong => "a message for it is too long",
        })
    }
}

impl core::error::Error for LinkError {}

/// Encoded messages that are to be sent.
#[derive(Debug, Default)]
pub struct Outbox(VecDeque<Vec<u8>>);

impl Outbox {
    /// Adds a message.
    ///
    /// # Errors
    /// [`LinkError::TooLong`], or [`LinkError::Overrun`]; the message is not added.
    pub fn push(&mut self, message: &impl Serialize) -> Result<(), LinkError> {
        let bytes = postcard::to_allocvec(message).map_err(|_| LinkError::TooLong)?;
        if bytes.len() > MESSAGE_BYTES {
            return Err(LinkError::TooLong);
        }
        if self.0.len() >= OUTBOX_MESSAGES {
            return Err(LinkError::Overrun);
        }
        self.0.push_back(bytes);
        Ok(())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One end of the pair of rings between two inits.
#[derive(Debug)]
pub struct Link<M: Deref<Target = [Line]>, D: Doorbell> {
    outgoing: Sender<M, D>,
    incoming: Receiver<M, D>,
}

impl<M: Deref<Target = [Line]>, D: Doorbell + Clone> Link<M, D> {
    /// Sends into one ring and receives from the other; `bell` wakes the other side.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] where a ring cannot carry [`MESSAGE_BYTES`].
    pub fn new(outgoing: M, incoming: M, bell: D) -> Result<Self, RingError> {
        let outgoing = Sender::new(outgoing, bell.clone())?;
        let incoming = Receiver::new(incoming, bell)?;
        if outgoing.longest().min(incoming.longest()) < MESSAGE_BYTES {
            return Err(RingError::TooSmall);
        }
        Ok(Self { outgoing, incoming })
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Link<M, D> {
    /// Sends what there is room for, and wakes the other side.
    ///
    /// # Errors
    /// [`LinkError::Malformed`] where the other side broke the protocol.
    pub fn send(&mut self, outbox: &mut Outbox) -> Result<(), LinkError> {
        if outbox.is_empty() {
            return Ok(());
        }
        while let Some(bytes) = outbox.0.front() {
            match self.outgoing.try_send(0, bytes) {
                Ok(()) => drop(outbox.0.pop_front()),
                Err(SendError::Full) => break,
                Err(_) => return Err(LinkError::Malformed),
            }
        }
        self.outgoing.flush().map_err(|_| LinkError::Malformed)
    }

    /// Takes the next message, if there is one.
    ///
    /// # Errors
    /// [`LinkError::Malformed`].
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LinkError> {
        let mut buffer = [0; MESSAGE_BYTES];
        match self.incoming.try_receive(&mut buffer) {
            Ok(None) => Ok(None),
            Ok(Some(received)) => {
                let decoded = postcard::from_bytes(&buffer[..received.length]);
                decoded.map(Some).map_err(|_| LinkError::Malformed)
            }
            Err(ReceiveError::TooLong { .. } | ReceiveError::Corrupt | ReceiveError::Closed) => {
                Err(LinkError::Malformed)
            }
        }
    }

    /// Asks to be woken by the next message. `true` where there is one already.
    pub fn arm(&mut self) -> bool {
        self.incoming.arm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libd3os::ring::Polling;
    use proptest::prelude::*;

    fn memory(bytes: u64) -> Vec<Line> {
        (0..bytes / 64).map(|_| Line::default()).collect()
    }

    fn number(number: u32) -> ProgramNumber {
        ProgramNumber::new(number).expect("not zero")
    }

    type End<'m> = Link<&'m [Line], Polling>;

    fn ends<'m>(there: &'m [Line], back: &'m [Line]) -> (End<'m>, End<'m>) {
        let link = |a, b| Link::new(a, b, Polling).expect("large enough");
        (link(there, back), link(back, there))
    }

    #[test]
    fn messages_arrive_as_they_were_sent_and_wait_for_room() {
        let half = crate::board::LINK_BYTES / 2;
        let (there, back) = (memory(half), memory(half));
        let (mut system, mut hand) = ends(&there, &back);
        let mut outbox = Outbox::default();
        let call = |n: u32| Command::Answer { token: n, answer: Ok(vec![7; 3000]) };
        for token in 0..20 {
            outbox.push(&call(token)).expect("room");
        }
        let mut received = 0;
        while received < 20 {
            system.send(&mut outbox).expect("sound");
            while let Some(command) = hand.receive::<Command>().expect("sound") {
                assert_eq!(command, call(received));
                received += 1;
            }
            assert!(!hand.arm());
        }
        assert!(outbox.is_empty());
        let mut reports = Outbox::default();
        reports.push(&Report::Started(number(3), 9)).expect("room");
        hand.send(&mut reports).expect("sound");
        assert!(system.arm());
        assert_eq!(system.receive::<Report>(), Ok(Some(Report::Started(number(3), 9))));
    }

    #[test]
    fn an_outbox_is_bounded() {
        let mut outbox = Outbox::default();
        let long = Report::Log(Level::Info, "x".repeat(MESSAGE_BYTES));
        assert_eq!(outbox.push(&long), Err(LinkError::TooLong));
        for _ in 0..OUTBOX_MESSAGES {
            outbox.push(&Report::Ready).expect("room");
        }
        assert_eq!(outbox.push(&Report::Ready), Err(LinkError::Overrun));
    }

    proptest! {
        /// Bytes that are no message are an error, never a panic.
        #[test]
        fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let half = crate::board::LINK_BYTES / 2;
            let (there, back) = (memory(half), memory(half));
            let mut sender = Sender::new(&there[..], Polling).expect("large enough");
            sender.try_send(0, &bytes).expect("room");
            let mut link = Link::new(&back[..], &there[..], Polling).expect("large enough");
            match link.receive::<Command>() {
                Ok(Some(command)) => {
                    let again = postcard::to_allocvec(&command).expect("encodes");
                    prop_assert_eq!(postcard::from_bytes::<Command>(&again).ok(), Some(command));
                }
                Ok(None) => prop_assert!(false, "there was a message"),
                Err(error) => prop_assert_eq!(error, LinkError::Malformed),
            }
        }
    }
}
