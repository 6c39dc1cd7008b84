//! Typed calls: what lies between a client's method and a server's method.
//!
//! [`macro@crate::service`] turns a trait into a client and a dispatcher; both speak this module's types.
//! A request is a method number and the arguments' postcard bytes; an answer is the postcard
//! bytes of the method's `Result`, or a [`CallError`]. A [`Transport`] carries them: kernel IPC
//! today ([`crate::ipc`]), whatever else carries bytes later. The server's side of a transport is
//! a [`ReplySink`].

use alloc::rc::Rc;
use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::observe::note_call;

/// Most bytes of a request or of an answer: what a kernel message holds behind its length word.
pub const MAX_BYTES: usize = (d3os_abi::MAX_MESSAGE_LENGTH - 1) * 8;

/// Bytes of a request or of an answer.
pub type Bytes = heapless::Vec<u8, MAX_BYTES>;

/// What one method of an interface does, as its declaration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationDoc {
    /// Name.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Arguments and result, as declared.
    pub signature: &'static str,
    /// Whether a call that met the server's end may simply be made again: the client does so.
    pub retryable: bool,
    /// Whether the server may answer after it has served others.
    pub deferred: bool,
}

/// What an interface is for and what it offers, as its declaration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceDoc {
    /// The service's name.
    pub name: &'static str,
    /// Version of the interface; it changes when methods or types do.
    pub version: u32,
    /// Its documentation.
    pub doc: &'static str,
    /// Operations; the position is the method number.
    pub operations: &'static [OperationDoc],
}

/// Why a call did not reach the method, or its answer did not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CallError {
    /// The server ended before it answered. Whether it did what was asked is unknown.
    Restarted = 1,
    /// The server has no such method: client and server were built from different declarations.
    UnknownMethod = 2,
    /// The arguments' or the answer's bytes are not what the declaration says.
    Malformed = 3,
    /// The server does not serve this caller.
    Denied = 4,
    /// The arguments or the answer exceed [`MAX_BYTES`].
    TooLarge = 5,
    /// The server holds as many unanswered calls as it can; call again later.
    Busy = 6,
    /// The server let the call go without an answer.
    Unanswered = 7,
    /// Nobody serves this: the program behind the service does not run, and is not about to be
    /// started.
    Unavailable = 8,
}

impl CallError {
    /// Every error.
    pub const ALL: [Self; 8] = [
        Self::Restarted,
        Self::UnknownMethod,
        Self::Malformed,
        Self::Denied,
        Self::TooLarge,
        Self::Busy,
        Self::Unanswered,
        Self::Unavailable,
    ];

    /// Its number on the wire, not 0.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The error with this number; a number that no error has is [`Self::Malformed`].
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self::ALL
            .into_iter()
            .find(|error| u64::from(error.number()) == number)
            .unwrap_or(Self::Malformed)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restarted => "the server was restarted during the call",
            Self::UnknownMethod => "the server does not know this operation",
            Self::Malformed => "the message was malformed",
            Self::Denied => "the server does not serve this caller",
            Self::TooLarge => "the message is too large",
            Self::Busy => "the server is busy",
            Self::Unanswered => "the server did not answer",
            Self::Unavailable => "the program that serves it does not run",
        })
    }
}

impl core::error::Error for CallError {}

/// Why a client's method failed: on the way, or in the server by the method's own error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The call itself failed.
    Call(CallError),
    /// The server answered with an error.
    Service(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Service(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for Error<E> {}

/// Carries requests to one server and answers back.
pub trait Transport {
    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The [`CallError`] that the server sent instead of an answer, or that the transport met.
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError>;
}

impl<T: Transport + ?Sized> Transport for &T {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        (**self).call(method, request)
    }
}

/// Who calls: the badge of the capability that was used, which the caller cannot choose. On the way to a
/// program's service it is the caller's program number (bits 0 to 15) and session (bits 16 to 23); init
/// gives its own clients other badges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller(pub u64);

impl Caller {
    /// A program of a session, as its servers see it.
    #[must_use]
    pub const fn new(program: u16, session: u8) -> Self {
        Self(program as u64 | (session as u64) << 16)
    }

    /// The program's number: its place in the image, counted from 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the number is the badge's low part")]
    pub const fn program(self) -> u16 {
        self.0 as u16
    }

    /// The terminal that the program belongs to; 0 is the serial line.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the session is eight bits of the badge")]
    pub const fn session(self) -> u8 {
        (self.0 >> 16) as u8
    }
}

/// The server's end of a transport: takes answers.
pub trait ReplySink {
    /// Takes the answer of call `token`. After this the token means nothing.
    fn answer(&self, token: u32, answer: Result<&[u8], CallError>);

    /// Sets call `token` aside, to be answered after others; `false` where there is no room for
    /// another such call.
    fn park(&self, token: u32) -> bool;
}

/// The duty to answer one call, now. Dropped without an answer it tells the caller so.
#[must_use = "a call must be answered"]
pub struct Reply<'a> {
    sink: &'a Rc<dyn ReplySink>,
    token: Option<u32>,
}

impl<'a> Reply<'a> {
    /// The duty to answer call `token` of `sink`: for transports.
    pub fn new(sink: &'a Rc<dyn ReplySink>, token: u32) -> Self {
        Self { sink, token: Some(token) }
    }

    /// Answers with a method's result.
    pub fn answer<R: Serialize>(self, result: &R) {
        match encode(result) {
            Ok(bytes) => self.send(Ok(&bytes)),
            Err(error) => self.send(Err(error)),
        }
    }

    /// Answers that the call failed.
    pub fn fail(self, error: CallError) {
        self.send(Err(error));
    }

    /// Puts the duty off, or answers [`CallError::Busy`] where the server can hold no more.
    #[must_use]
    pub fn later<R>(mut self) -> Option<Later<R>> {
        let token = self.token?;
        if !self.sink.park(token) {
            self.fail(CallError::Busy);
            return None;
        }
        self.token = None;
        Some(Later { sink: Rc::clone(self.sink), token: Some(token), result: PhantomData })
    }

    fn send(mut self, answer: Result<&[u8], CallError>) {
        if let Some(token) = self.token.take() {
            self.sink.answer(token, answer);
        }
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.sink.answer(token, Err(CallError::Unanswered));
        }
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("token", &self.token).finish_non_exhaustive()
    }
}

/// The duty to answer one call, some time. Dropped without an answer it tells the caller so.
#[must_use = "a call must be answered"]
pub struct Later<R> {
    sink: Rc<dyn ReplySink>,
    token: Option<u32>,
    result: PhantomData<fn(R)>,
}

impl<R> Later<R> {
    /// Answers with the method's result.
    pub fn answer(self, result: &R)
    where
        R: Serialize,
    {
        match encode(result) {
            Ok(bytes) => self.send(Ok(&bytes)),
            Err(error) => self.send(Err(error)),
        }
    }

    /// Answers that the call failed.
    pub fn fail(self, error: CallError) {
        self.send(Err(error));
    }

    /// Passes on an answer that was encoded elsewhere: for who hands calls on to another server.
    pub fn pass_on(self, answer: Result<&[u8], CallError>) {
        self.send(answer);
    }

    /// A duty that answers to the [`Answer`] beside it: for tests of a server's logic.
    pub fn channel() -> (Self, Answer<R>) {
        let slot = Rc::new(Mailbox::default());
        let sink: Rc<dyn ReplySink> = slot.clone();
        (Self { sink, token: Some(0), result: PhantomData }, Answer { slot, result: PhantomData })
    }

    fn send(mut self, answer: Result<&[u8], CallError>) {
        if let Some(token) = self.token.take() {
            self.sink.answer(token, answer);
        }
    }
}

impl<R> Drop for Later<R> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.sink.answer(token, Err(CallError::Unanswered));
        }
    }
}

impl<R> fmt::Debug for Later<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Where the answer of a call that was made without a kernel arrives.
#[derive(Debug)]
pub struct Answer<R> {
    slot: Rc<Mailbox>,
    result: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Answer<R> {
    /// Takes the answer, or `None` while there is none.
    #[must_use]
    pub fn take(&self) -> Option<Result<R, CallError>> {
        let answer = self.slot.0.borrow_mut().take()?;
        Some(answer.and_then(|bytes| decode(&bytes)))
    }
}

/// A sink that keeps one answer and can hold its one call for as long as it likes.
#[derive(Debug, Default)]
struct Mailbox(RefCell<Option<Result<Bytes, CallError>>>);

impl ReplySink for Mailbox {
    fn answer(&self, _: u32, answer: Result<&[u8], CallError>) {
        let answer =
            answer.and_then(|bytes| Bytes::from_slice(bytes).map_err(|_| CallError::TooLarge));
        *self.0.borrow_mut() = Some(answer);
    }

    fn park(&self, _: u32) -> bool {
        true
    }
}

/// One call, as it reached the server.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who calls.
    pub caller: Caller,
    /// Which method.
    pub method: u16,
    /// Its arguments.
    pub bytes: Bytes,
    /// The duty to answer.
    pub reply: Reply<'a>,
}

/// Calls a server in the same program, without a kernel: for tests of clients and servers.
///
/// `dispatch` is the interface's, for example `|server, request| Uart::dispatch(server, request)`.
/// A deferred call that the server has not answered when its method returns fails with
/// [`CallError::Unanswered`].
#[derive(Debug)]
pub struct Loopback<S, D> {
    server: RefCell<S>,
    dispatch: D,
    caller: Caller,
}

impl<S, D: Fn(&mut S, Request<'_>)> Loopback<S, D> {
    /// A transport that calls `server` as `caller`.
    pub fn new(server: S, caller: Caller, dispatch: D) -> Self {
        Self { server: RefCell::new(server), dispatch, caller }
    }

    /// The server behind it.
    pub fn server(&self) -> core::cell::RefMut<'_, S> {
        self.server.borrow_mut()
    }
}

impl<S, D: Fn(&mut S, Request<'_>)> Transport for Loopback<S, D> {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        let bytes = Bytes::from_slice(request).map_err(|_| CallError::TooLarge)?;
        let slot = Rc::new(Mailbox::default());
        let sink: Rc<dyn ReplySink> = slot.clone();
        let reply = Reply::new(&sink, 0);
        let request = Request { caller: self.caller, method, bytes, reply };
        (self.dispatch)(&mut self.server.borrow_mut(), request);
        slot.0.borrow_mut().take().unwrap_or(Err(CallError::Unanswered))
    }
}

/// The postcard bytes of a value.
///
/// # Errors
/// [`CallError::TooLarge`] where they exceed [`MAX_BYTES`].
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CallError> {
    let mut buffer = [0; MAX_BYTES];
    let used = postcard::to_slice(value, &mut buffer).map_err(|_| CallError::TooLarge)?;
    Bytes::from_slice(used).map_err(|_| CallError::TooLarge)
}

/// The value that postcard bytes stand for.
///
/// # Errors
/// [`CallError::Malformed`] where they stand for none, or bytes are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(CallError::Malformed),
    }
}

/// How often a call that may be repeated is made at most. A server that ends in the middle of the same
/// call so often does so because of it.
pub const MOST_ATTEMPTS: u32 = 4;

/// What a generated client method does: encode, call, decode.
///
/// # Errors
/// [`Error::Call`] from the way there and back, [`Error::Service`] from the method.
pub fn invoke<A, R, E>(
    transport: &(impl Transport + ?Sized),
    method: u16,
    arguments: &A,
) -> Result<R, Error<E>>
where
    A: Serialize,
    R: DeserializeOwned,
    E: DeserializeOwned,
{
    let request = encode(arguments).map_err(Error::Call)?;
    conclude(call_once(transport, method, &request))
}

/// What a generated client method does whose operation is `#[retryable]`: the same, and again where the
/// server ended during the call. A call waits for the server's next life by itself, so there is no
/// pause in between.
///
/// # Errors
/// As [`invoke`]; [`CallError::Restarted`] after [`MOST_ATTEMPTS`].
pub fn invoke_again<A, R, E>(
    transport: &(impl Transport + ?Sized),
    method: u16,
    arguments: &A,
) -> Result<R, Error<E>>
where
    A: Serialize,
    R: DeserializeOwned,
    E: DeserializeOwned,
{
    let request = encode(arguments).map_err(Error::Call)?;
    conclude(call_again(transport, method, &request))
}

/// Calls, and calls again where the server ended during the call, [`MOST_ATTEMPTS`] times at most.
///
/// # Errors
/// That of the last call.
pub(crate) fn call_again(
    transport: &(impl Transport + ?Sized),
    method: u16,
    request: &[u8],
) -> Result<Bytes, CallError> {
    let mut answer = call_once(transport, method, request);
    for _ in 1..MOST_ATTEMPTS {
        if !matches!(answer, Err(CallError::Restarted)) {
            break;
        }
        answer = call_once(transport, method, request);
    }
    answer
}

fn call_once(
    transport: &(impl Transport + ?Sized),
    method: u16,
    request: &[u8],
) -> Result<Bytes, CallError> {
    let answer = transport.call(method, request);
    note_call(&answer);
    answer
}

fn conclude<R, E>(answer: Result<Bytes, CallError>) -> Result<R, Error<E>>
where
    R: DeserializeOwned,
    E: DeserializeOwned,
{
    let result: Result<R, E> = decode(&answer.map_err(Error::Call)?).map_err(Error::Call)?;
    result.map_err(Error::Service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Keeps one number.
    #[libd3os::service(name = "counter", version = 2)]
    trait Counter {
        /// Adds to the number.
        fn add(amount: u32, note: String) -> Result<u32, String>;

        /// The number, some time.
        #[deferred]
        fn later() -> Result<u32, String>;

        /// As many bytes as asked for.
        #[retryable]
        fn bytes(count: u32) -> Result<Vec<u8>, String>;
    }

    #[derive(Default)]
    struct Server {
        sum: u32,
        notes: Vec<(u64, String)>,
        kept: Vec<Later<Result<u32, String>>>,
        keeps: bool,
    }

    impl Counter for Server {
        fn add(&mut self, caller: Caller, amount: u32, note: String) -> Result<u32, String> {
            self.notes.push((caller.0, note));
            self.sum = self.sum.checked_add(amount).ok_or_else(|| "too much".to_string())?;
            Ok(self.sum)
        }

        fn later(&mut self, _: Caller, later: Later<Result<u32, String>>) {
            if self.keeps {
                self.kept.push(later);
            } else {
                later.answer(&Ok(self.sum));
            }
        }

        fn bytes(&mut self, _: Caller, count: u32) -> Result<Vec<u8>, String> {
            Ok(alloc::vec![7; count.min(10_000) as usize])
        }
    }

    type Dispatch = fn(&mut Server, Request<'_>);

    fn client(server: Server) -> CounterClient<Loopback<Server, Dispatch>> {
        CounterClient::new(Loopback::new(server, Caller(5), Counter::dispatch))
    }

    #[test]
    fn calls_reach_the_server_and_results_come_back() {
        let client = client(Server::default());
        assert_eq!(client.add(3, "a".to_string()), Ok(3));
        let over = client.add(u32::MAX, "b".to_string());
        assert_eq!(over, Err(Error::Service("too much".to_string())));
        assert_eq!(client.later(), Ok(3));
        let notes = &client.transport().server().notes;
        assert_eq!(*notes, [(5, "a".to_string()), (5, "b".to_string())]);
    }

    #[test]
    fn what_does_not_fit_is_an_error_on_either_side() {
        let client = client(Server::default());
        let long = client.add(1, "x".repeat(MAX_BYTES));
        assert_eq!(long, Err(Error::Call(CallError::TooLarge)));
        assert!(client.transport().server().notes.is_empty(), "it was not sent");
        assert_eq!(client.bytes(2000), Err(Error::Call(CallError::TooLarge)));
        assert_eq!(client.bytes(900).map(|bytes| bytes.len()), Ok(900));
    }

    #[test]
    fn a_call_that_is_kept_or_dropped_does_not_hang_the_caller() {
        let client = client(Server { keeps: true, ..Server::default() });
        assert_eq!(client.later(), Err(Error::Call(CallError::Unanswered)));
        let (later, answer) = Later::<Result<u32, String>>::channel();
        drop(later);
        assert_eq!(answer.take(), Some(Err(CallError::Unanswered)));
    }

    #[test]
    fn an_answer_arrives_when_it_is_given() {
        let (later, answer) = Later::<Result<u32, String>>::channel();
        assert_eq!(answer.take(), None);
        later.answer(&Ok(4));
        assert_eq!(answer.take(), Some(Ok(Ok(4))));
    }

    #[test]
    fn a_full_server_says_so() {
        struct Full(RefCell<Option<CallError>>);
        impl ReplySink for Full {
            fn answer(&self, _: u32, answer: Result<&[u8], CallError>) {
                *self.0.borrow_mut() = answer.err();
            }
            fn park(&self, _: u32) -> bool {
                false
            }
        }
        let full = Rc::new(Full(RefCell::default()));
        let sink: Rc<dyn ReplySink> = full.clone();
        assert!(Reply::new(&sink, 0).later::<()>().is_none());
        assert_eq!(*full.0.borrow(), Some(CallError::Busy));
    }

    /// A server that ends during so many calls before it answers.
    struct Falling(core::cell::Cell<u32>);

    impl Transport for Falling {
        fn call(&self, _: u16, _: &[u8]) -> Result<Bytes, CallError> {
            let Some(left) = self.0.get().checked_sub(1) else {
                return encode(&Ok::<_, String>(alloc::vec![7_u8]));
            };
            self.0.set(left);
            Err(CallError::Restarted)
        }
    }

    #[test]
    fn what_may_be_repeated_is_repeated_and_nothing_else() {
        let client = |falls| CounterClient::new(Falling(core::cell::Cell::new(falls)));
        let restarted = Err(Error::Call(CallError::Restarted));
        assert_eq!(client(MOST_ATTEMPTS - 1).bytes(1), Ok(alloc::vec![7]));
        let never_up = client(MOST_ATTEMPTS + 5);
        assert_eq!(never_up.bytes(1), restarted);
        assert_eq!(never_up.transport().0.get(), 5, "not for ever");
        let once = client(1);
        assert_eq!(once.later(), Err(Error::Call(CallError::Restarted)));
        assert_eq!(once.transport().0.get(), 0, "it is not known whether that was done");
    }

    #[test]
    fn the_declaration_becomes_a_document() {
        assert_eq!(
            (COUNTER.name, COUNTER.version, COUNTER.doc),
            ("counter", 2, "Keeps one number.")
        );
        let [add, later, bytes] = COUNTER.operations else { panic!("three operations") };
        assert_eq!(add.signature, "add(amount: u32, note: String) -> Result<u32, String>");
        assert!(later.deferred && !later.retryable && bytes.retryable);
    }

    #[test]
    fn a_caller_is_a_program_and_its_session() {
        for (program, session) in [(1, 0), (7, 3), (u16::MAX, u8::MAX)] {
            let caller = Caller::new(program, session);
            assert_eq!((caller.program(), caller.session(), caller.0 >> 24), (program, session, 0));
        }
        assert_eq!(Caller::new(5, 0), Caller(5), "a program of the serial line is its number");
    }

    #[test]
    fn error_numbers_are_read_back() {
        for error in CallError::ALL {
            assert_eq!(CallError::from_number(u64::from(error.number())), error);
        }
    }

    proptest! {
        /// Whatever arrives, the caller gets a typed answer and a refused call changes nothing.
        #[test]
        fn random_requests_are_answered(method in 0u16..5, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let client = client(Server::default());
            match client.transport().call(method, &bytes) {
                Ok(answer) if method == 2 => {
                    let result: Result<Result<Vec<u8>, String>, _> = decode(&answer);
                    prop_assert!(result.is_ok());
                }
                Ok(answer) => {
                    let result: Result<Result<u32, String>, _> = decode(&answer);
                    prop_assert!(result.is_ok());
                }
                Err(error) => {
                    prop_assert!(client.transport().server().notes.is_empty());
                    let expected = [CallError::Malformed, CallError::UnknownMethod, CallError::TooLarge];
                    prop_assert!(expected.contains(&error));
                    prop_assert_eq!(error == CallError::UnknownMethod, method > 2);
                }
            }
        }
    }
}
