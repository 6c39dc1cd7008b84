//! What is told to programs without being asked for, and what is counted.

use alloc::collections::VecDeque;

use crate::wire::WireError;

/// Events that wait to be told at most; further ones are counted as lost.
pub const MOST_EVENTS: usize = 4096;

/// Something that happened beside the completions (`IBV_EVENT_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A completion queue that was armed has a completion.
    Completion(u32),
    /// A completion queue had no room; it is of no use any more.
    CqErr(u32),
    /// A queue pair failed by itself.
    QpFatal(u32),
    /// A peer's request was invalid.
    QpReqErr(u32),
    /// A peer's request had no right to what it wanted.
    QpAccessErr(u32),
    /// The first packet came before the queue pair could send.
    CommEst(u32),
    /// What the send queue had begun is done.
    SqDrained(u32),
    /// A queue pair in error takes no more receives from its shared queue.
    QpLastWqeReached(u32),
    /// A shared receive queue has fewer receives than its limit.
    SrqLimitReached(u32),
}

/// Why a packet was dropped that is a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Dropped {
    /// It is not one.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It is for another host.
    #[error("for another host")]
    Host,
    /// There is no such queue pair.
    #[error("no such queue pair")]
    QueuePair,
    /// The queue pair is of another service.
    #[error("a queue pair of another service")]
    Service,
    /// The queue pair is in a state in which it takes none.
    #[error("the queue pair is not ready for it")]
    State,
    /// The partition key is another one.
    #[error("another partition")]
    Partition,
    /// It is not from the queue pair's peer.
    #[error("not from the peer")]
    Peer,
    /// The queue key is another one.
    #[error("another queue key")]
    QueueKey,
    /// An unreliable message found no receive, or none that is long enough.
    #[error("no receive for it")]
    NoReceive,
    /// An unreliable message that lost a part, or may not do what it wants.
    #[error("a message that cannot be carried out")]
    Message,
    /// A packet of a number that cannot be used now.
    #[error("out of sequence")]
    Sequence,
    /// An answer to nothing that was asked.
    #[error("an answer to nothing")]
    Answer,
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were written.
    pub sent: u64,
    /// Packets that came and were sound.
    pub received: u64,
    /// Datagrams with a wrong invariant CRC.
    pub wrong_icrc: u64,
    /// Datagrams that are no packets for another reason.
    pub malformed: u64,
    /// Packets for queue pairs that there are not, or for other hosts.
    pub unknown: u64,
    /// Packets of other partitions.
    pub foreign_partition: u64,
    /// Packets that were dropped for another reason.
    pub dropped: u64,
    /// Requests that came again.
    pub duplicates: u64,
    /// Requests that came before one that is missing.
    pub out_of_sequence: u64,
    /// Times that a requester went back.
    pub retries: u64,
    /// Times that nothing was answered in time.
    pub timeouts: u64,
    /// Requests of peers that were refused for good.
    pub refused: u64,
    /// Requests of peers that found no receive.
    pub not_ready: u64,
    /// Congestion notifications that were sent.
    pub notifications_sent: u64,
    /// Congestion notifications that came.
    pub notifications_received: u64,
    /// Events that nobody fetched in time.
    pub events_lost: u64,
}

/// Events and counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    events: VecDeque<Event>,
    pub(crate) counters: Counters,
}

impl Journal {
    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() < MOST_EVENTS {
            self.events.push_back(event);
        } else {
            self.counters.events_lost += 1;
        }
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) const fn count_dropped(&mut self, dropped: Dropped) {
        let counters = &mut self.counters;
        let counter = match dropped {
            Dropped::Wire(WireError::Icrc) => &mut counters.wrong_icrc,
            Dropped::Wire(_) => &mut counters.malformed,
            Dropped::QueuePair | Dropped::Host => &mut counters.unknown,
            Dropped::Partition => &mut counters.foreign_partition,
            _ => &mut counters.dropped,
        };
        *counter += 1;
    }
}
