//! Typed calls over a pair of rings: requests in one, answers in the other.
//!
//! A request's tag is the method's number. An answer's tag is 0, or the number of a
//! [`CallError`]. A client makes one call at a time, so answers need no numbers.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::Deref;

use super::{Doorbell, Line, ReceiveError, Received, Receiver, RingError, SendError, Sender};
use crate::call::{Bytes, CallError, Caller, MAX_BYTES, Reply, ReplySink, Request, Transport};

/// The client's end of a pair of rings.
#[derive(Debug)]
pub struct RingTransport<M: Deref<Target = [Line]>, D: Doorbell>(RefCell<Link<M, D>>);

impl<M: Deref<Target = [Line]>, D: Doorbell + Clone> RingTransport<M, D> {
    /// Calls the [`RingServer`] at the other end of these rings.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] where one of the rings cannot carry [`MAX_BYTES`].
    pub fn new(requests: M, answers: M, bell: D) -> Result<Self, RingError> {
        Link::new(requests, answers, bell).map(|link| Self(RefCell::new(link)))
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Transport for RingTransport<M, D> {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        self.0.borrow_mut().call(method, request).map_err(|failed| match failed {
            Failed::Call(error) | Failed::Link(error) => error,
        })
    }
}

/// The client's ends of a pair of rings.
#[derive(Debug)]
pub(super) struct Link<M: Deref<Target = [Line]>, D: Doorbell> {
    requests: Sender<M, D>,
    answers: Receiver<M, D>,
}

/// Why a call over a link failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The server said so, or the request was never sent. The next call may succeed.
    Call(CallError),
    /// The server is gone or has broken the protocol. No other call will succeed.
    Link(CallError),
}

impl<M: Deref<Target = [Line]>, D: Doorbell + Clone> Link<M, D> {
    pub(super) fn new(requests: M, answers: M, bell: D) -> Result<Self, RingError> {
        let requests = Sender::new(requests, bell.clone())?;
        let answers = Receiver::new(answers, bell)?;
        check(requests.longest(), answers.longest())?;
        Ok(Self { requests, answers })
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Link<M, D> {
    /// Whether the server is gone: a call would fail without having been made.
    pub(super) fn is_over(&self) -> bool {
        self.requests.is_closed()
    }

    pub(super) fn call(&mut self, method: u16, request: &[u8]) -> Result<Bytes, Failed> {
        if request.len() > MAX_BYTES {
            return Err(Failed::Call(CallError::TooLarge));
        }
        if self.answers.is_ready() {
            // An answer to nothing: it would be taken for this call's.
            return Err(Failed::Link(CallError::Malformed));
        }
        match self.requests.send(method, request) {
            // The server took the request, answered and came to its end, all before this side
            // looked whether it is there: what it wrote before its end is the answer.
            Err(SendError::Closed) if self.answers.is_ready() => {}
            sent => sent.map_err(not_sent)?,
        }
        let mut bytes = Bytes::from_array([0; MAX_BYTES]);
        let answer = self.answers.receive(&mut bytes).map_err(not_answered)?;
        bytes.truncate(answer.length);
        match answer.tag {
            0 => Ok(bytes),
            number => Err(Failed::Call(CallError::from_number(number.into()))),
        }
    }
}

const fn not_sent(error: SendError) -> Failed {
    Failed::Link(match error {
        SendError::Full => CallError::Busy,
        SendError::TooLong => CallError::TooLarge,
        SendError::Corrupt => CallError::Malformed,
        SendError::Closed => CallError::Restarted,
    })
}

const fn not_answered(error: ReceiveError) -> Failed {
    Failed::Link(match error {
        ReceiveError::TooLong { .. } => CallError::TooLarge,
        ReceiveError::Corrupt => CallError::Malformed,
        ReceiveError::Closed => CallError::Restarted,
    })
}

/// A call that was taken from a ring, and where its answer goes: what a [`Request`] is made of.
pub struct TakenCall {
    pub(crate) caller: Caller,
    pub(crate) method: u16,
    pub(crate) bytes: Bytes,
    pub(crate) sink: Rc<dyn ReplySink>,
    pub(crate) token: u32,
}

/// The server's end of a pair of rings: one client's calls.
///
/// One call may be put off ([`Reply::later`]) while others are served; honest clients have no
/// second one. A client never makes its server wait: an answer that finds no room, because the
/// client has not taken earlier ones, is dropped. Dropping the server ends both rings, also where
/// a call that was put off has not been answered.
pub struct RingServer<M: Deref<Target = [Line]>, D: Doorbell> {
    requests: Receiver<M, D>,
    calls: Rc<Calls<M, D>>,
    sink: Rc<dyn ReplySink>,
    caller: Caller,
}

impl<M: Deref<Target = [Line]> + 'static, D: Doorbell + Clone + 'static> RingServer<M, D> {
    /// Serves the [`RingTransport`] at the other end of these rings, whose calls are `caller`'s:
    /// whoever gave the client its end decides that, not the client.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] where one of the rings cannot carry [`MAX_BYTES`].
    pub fn new(requests: M, answers: M, bell: D, caller: Caller) -> Result<Self, RingError> {
        let requests = Receiver::new(requests, bell.clone())?;
        let answers = Sender::new(answers, bell)?;
        check(requests.longest(), answers.longest())?;
        let calls = Rc::new(Calls { answers: RefCell::new(Some(answers)), open: Cell::default() });
        let sink: Rc<dyn ReplySink> = calls.clone();
        Ok(Self { requests, calls, sink, caller })
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> RingServer<M, D> {
    /// Takes a request if there is one, and returns at once. A request that is too large is
    /// answered here and not returned.
    ///
    /// # Errors
    /// [`ReceiveError::Corrupt`].
    pub fn poll(&mut self) -> Result<Option<Request<'_>>, ReceiveError> {
        Ok(self.take()?.map(|call| self.request(call)))
    }

    /// Waits for a request.
    ///
    /// # Errors
    /// [`ReceiveError::Corrupt`], and [`ReceiveError::Closed`] where the client is gone.
    #[expect(clippy::should_implement_trait, reason = "a request borrows the server")]
    pub fn next(&mut self) -> Result<Request<'_>, ReceiveError> {
        loop {
            if let Some(call) = self.take()? {
                return Ok(self.request(call));
            }
            self.requests.wait()?;
        }
    }

    /// The ring of requests, for a server that waits for several: see [`Receiver::arm`].
    pub const fn requests(&mut self) -> &mut Receiver<M, D> {
        &mut self.requests
    }

    /// The next call, if there is one.
    pub(super) fn take(&mut self) -> Result<Option<TakenCall>, ReceiveError> {
        let mut bytes = Bytes::from_array([0; MAX_BYTES]);
        match self.requests.try_receive(&mut bytes) {
            Ok(None) => Ok(None),
            Ok(Some(Received { tag, length })) => {
                bytes.truncate(length);
                let (sink, token) = (Rc::clone(&self.sink), self.calls.begin());
                Ok(Some(TakenCall { caller: self.caller, method: tag, bytes, sink, token }))
            }
            Err(ReceiveError::TooLong { .. }) => self.refuse().map(|()| None),
            Err(error) => Err(error),
        }
    }

    fn request(&self, call: TakenCall) -> Request<'_> {
        let TakenCall { caller, method, bytes, token, .. } = call;
        Request { caller, method, bytes, reply: Reply::new(&self.sink, token) }
    }

    fn refuse(&mut self) -> Result<(), ReceiveError> {
        self.requests.discard()?;
        self.calls.answer(self.calls.begin(), Err(CallError::TooLarge));
        Ok(())
    }
}

/// Whoever still has a call to answer must not reach for the memory any more.
impl<M: Deref<Target = [Line]>, D: Doorbell> Drop for RingServer<M, D> {
    fn drop(&mut self) {
        drop(self.calls.answers.take());
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> fmt::Debug for RingServer<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, caller, .. } = self;
        f.debug_struct("RingServer")
            .field("requests", requests)
            .field("caller", caller)
            .finish_non_exhaustive()
    }
}

/// The calls that were not yet answered, and where answers go.
struct Calls<M: Deref<Target = [Line]>, D: Doorbell> {
    /// `None` after the server's end.
    answers: RefCell<Option<Sender<M, D>>>,
    open: Cell<Open>,
}

/// Tokens of the calls that were not yet answered.
#[derive(Clone, Copy, Default)]
struct Open {
    last: u32,
    current: Option<u32>,
    parked: Option<u32>,
}

impl<M: Deref<Target = [Line]>, D: Doorbell> Calls<M, D> {
    /// A token for the call that was just received.
    fn begin(&self) -> u32 {
        let open = self.open.get();
        let token = open.last.wrapping_add(1);
        self.open.set(Open { last: token, current: Some(token), ..open });
        token
    }

    /// Whether the call waits for an answer; from now on it does not.
    fn end(&self, token: u32) -> bool {
        let mut open = self.open.get();
        let place = [&mut open.current, &mut open.parked].into_iter().find(|p| **p == Some(token));
        let found = place.and_then(Option::take).is_some();
        self.open.set(open);
        found
    }

    fn send(&self, tag: u16, bytes: &[u8]) {
        let mut answers = self.answers.borrow_mut();
        let Some(answers) = answers.as_mut() else { return };
        // A client that is gone, or does not take its answers, gets none.
        let _dropped = answers.try_send(tag, bytes).and_then(|()| answers.flush());
    }
}

impl<M: Deref<Target = [Line]>, D: Doorbell> ReplySink for Calls<M, D> {
    fn answer(&self, token: u32, answer: Result<&[u8], CallError>) {
        if self.end(token) {
            match answer {
                Ok(bytes) => self.send(0, bytes),
                Err(error) => self.send(error.number(), &[]),
            }
        }
    }

    fn park(&self, token: u32) -> bool {
        let open = self.open.get();
        let may = open.parked.is_none() && open.current == Some(token);
        if may {
            self.open.set(Open { current: None, parked: Some(token), ..open });
        }
        may
    }
}

/// Whether rings with such longest messages can carry calls.
const fn check(requests: usize, answers: usize) -> Result<(), RingError> {
    if requests < MAX_BYTES || answers < MAX_BYTES { Err(RingError::TooSmall) } else { Ok(()) }
}
