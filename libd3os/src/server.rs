//! The server's side of typed calls: over kernel IPC, and over rings from other cores.
//!
//! A [`Server`] owns the receive side of an endpoint and some reply objects. Its loop is the
//! program's: take the [`Server::next`] event, handle it, take the next. One reply object is in
//! use for receiving; a call that is put off ([`crate::call::Reply::later`]) keeps the object
//! that it came with, and the server receives with another. When the last but one is taken,
//! putting off answers `Busy`.
//!
//! An answer given at once is kept until the next receive and goes out with it, in one system
//! call. An answer given later is a system call of its own.
//!
//! # Rings
//!
//! A program that takes part in rings has its clients on other cores served in the same loop.
//! The server sleeps at its endpoint, with its bell's notification bound to its thread, after it
//! has asked every ring to ring the bell. Of clients that always have another call none waits for
//! long: rings take turns, and after [`RING_CALLS_IN_A_ROW`] of their calls the endpoint and the
//! signals are looked at.
//!
//! # Being observed
//!
//! Calls of the library's own methods ([`crate::observe`]) are answered here, for whatever service
//! the server serves; [`Server::observe`] adds what the program itself counts and notes.
//!
//! ```no_run
//! use libd3os::server::{Event, Server, ServerError};
//! use libd3os::service::rtc::Rtc;
//!
//! fn serve(mut driver: impl Rtc, mut interrupt: impl FnMut(u64)) -> Result<(), ServerError> {
//!     let mut server = Server::serving("rtc")?;
//!     loop {
//!         match server.next() {
//!             Event::Request(request) => driver.dispatch(request),
//!             Event::Signal(bits) => interrupt(bits),
//!             Event::Message(message) => log::warn!("unexpected message {:#x}", message.label),
//!         }
//!     }
//! }
//! ```

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use d3os_abi::MessageInfo;

use crate::call::{Bytes, CallError, Caller, Reply, ReplySink, Request};
use crate::cap;
use crate::cap::Capability;
use crate::control;
use crate::ipc::{MissingGrant, REQUEST_LABEL, pack, unpack};
use crate::observe::{Observable, Watch, is_reserved};
use crate::program;
use crate::ring::{Clients, ProgramWindow, TakenCall, Window};
use crate::start::{GrantKind, HEARTBEAT, RING_BELL, SIGNAL_FLAG};
use crate::sys::{self, Cptr, Received};

/// Most words of a [`Message`] that are kept: as many as the longest fault message has.
pub const MESSAGE_WORDS: usize = 20;

/// Calls that are taken from rings, if they always have one, before the endpoint is looked at.
pub const RING_CALLS_IN_A_ROW: u32 = 16;

/// Something that a server deals with.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "boxing would allocate for every call")]
pub enum Event<'a> {
    /// A typed call, to be given to an interface's `dispatch`.
    Request(Request<'a>),
    /// Signals of the bound notification: their badges, or-ed, without
    /// [`crate::start::SIGNAL_FLAG`].
    Signal(u64),
    /// Any other message, for example a fault.
    Message(Message<'a>),
}

/// A message that is no typed call.
#[derive(Debug)]
pub struct Message<'a> {
    /// Badge of the sender's capability.
    pub badge: u64,
    /// Label.
    pub label: u64,
    /// Its words, [`MESSAGE_WORDS`] at most.
    pub words: heapless::Vec<u64, MESSAGE_WORDS>,
    /// The duty to answer, if it was a call or a fault. Dropping it answers with a label that is
    /// not 0, which leaves a faulted thread stopped.
    pub reply: Reply<'a>,
}

/// A server needs a reply object to receive with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// The manifest does not let the program serve this.
    NotGranted(MissingGrant<'static>),
    /// The manifest gives the program no reply objects (`replies`).
    NoReplies,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(missing) => missing.fmt(f),
            Self::NoReplies => f.write_str("this program's manifest entry grants no `replies`"),
        }
    }
}

impl core::error::Error for ServerError {}

/// Receives calls and signals, and sends answers.
pub struct Server<W: Window = ProgramWindow> {
    endpoint: cap::Endpoint,
    pool: Rc<ReplyPool>,
    sink: Rc<dyn ReplySink>,
    /// Clients on other cores, in a program that takes part in rings.
    clients: Option<Clients<W>>,
    /// Where the answer to the last call from a ring goes.
    client: Rc<dyn ReplySink>,
    /// Calls taken from rings since the endpoint was last looked at.
    in_a_row: u32,
    /// What is told to those who observe the server.
    watch: Watch,
}

impl<W: Window> fmt::Debug for Server<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, clients, .. } = self;
        f.debug_struct("Server")
            .field("endpoint", endpoint)
            .field("clients", clients)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server at the endpoint that this program was granted for `service`, with all of the
    /// program's reply objects and rings.
    ///
    /// # Errors
    /// The manifest lacks `serves` or `replies`.
    pub fn serving(service: &'static str) -> Result<Self, ServerError> {
        let endpoint =
            program::grant(GrantKind::Serves, service).map_err(ServerError::NotGranted)?;
        let slots = program::start_info().into_iter().flat_map(|info| info.replies());
        let replies = slots.map(|slot| cap::Reply::new(Cptr::new(u64::from(slot))));
        Self::with_rings(cap::Endpoint::new(endpoint), replies, ProgramWindow::open())
    }

    /// A server at this endpoint, with these reply objects.
    ///
    /// # Errors
    /// [`ServerError::NoReplies`] where there are none.
    pub fn new(
        endpoint: cap::Endpoint,
        replies: impl IntoIterator<Item = cap::Reply>,
    ) -> Result<Self, ServerError> {
        Self::with_rings(endpoint, replies, None)
    }
}

impl<W: Window> Server<W> {
    /// A server at this endpoint, with these reply objects, and of the clients in this window.
    ///
    /// # Errors
    /// [`ServerError::NoReplies`] where there are no reply objects.
    pub fn with_rings(
        endpoint: cap::Endpoint,
        replies: impl IntoIterator<Item = cap::Reply>,
        window: Option<W>,
    ) -> Result<Self, ServerError> {
        let pool = Rc::new(ReplyPool::new(replies)?);
        let sink: Rc<dyn ReplySink> = pool.clone();
        let (clients, client) = (window.map(Clients::new), Rc::clone(&sink));
        let watch = Watch::default();
        Ok(Self { endpoint, pool, sink, clients, client, in_a_row: 0, watch })
    }

    /// From now on, tells whoever observes the server what this recorder has.
    pub fn observe(&mut self, recorder: &(impl Observable + Clone + 'static)) {
        self.watch.tell(Rc::new(recorder.clone()));
    }

    /// Sends the answer that is kept, if there is one, and waits for the next event.
    ///
    /// Requests whose bytes do not fit their length are answered here and not returned, and so are
    /// calls of the library's own methods.
    #[expect(clippy::should_implement_trait, reason = "an event borrows the server")]
    pub fn next(&mut self) -> Event<'_> {
        loop {
            let received = match self.next_of_all() {
                Incoming::Ring(call) if is_reserved(call.method) => {
                    self.tell_over_ring(&call);
                    continue;
                }
                Incoming::Ring(call) => return Event::Request(self.ring_request(call)),
                Incoming::Signals(bits) => {
                    self.watch.note_signal();
                    return Event::Signal(bits);
                }
                Incoming::Message(received) => received,
            };
            let label = received.info.label();
            let Some(method) = label.checked_sub(REQUEST_LABEL) else {
                return Event::Message(self.message(received));
            };
            match parse(method, received.info) {
                Ok((method, bytes)) if is_reserved(method) => self.tell(method, &bytes),
                Ok((method, bytes)) => {
                    return Event::Request(self.request(received, method, bytes));
                }
                Err(error) => self.pool.answer(self.pool.current.get(), Err(error)),
            }
        }
    }

    /// Calls that are put off at present.
    #[must_use]
    pub fn deferred(&self) -> usize {
        self.pool.parked.borrow().iter().filter(|parked| **parked).count()
    }

    /// What comes next, from wherever.
    fn next_of_all(&mut self) -> Incoming {
        loop {
            if let Some(incoming) = self.next_of_rings() {
                return incoming;
            }
            let received =
                if self.in_a_row >= RING_CALLS_IN_A_ROW { self.glance() } else { self.sleep() };
            self.in_a_row = 0;
            if let Some(incoming) = received.and_then(|received| self.sort(received)) {
                return incoming;
            }
        }
    }

    /// The next call of a client on another core, unless they had their turn; and what a wait for
    /// an answer over a ring has left.
    fn next_of_rings(&mut self) -> Option<Incoming> {
        let clients = self.clients.as_mut()?;
        let kept = clients.window().take_kept();
        if kept != 0
            && let Some(bits) = for_the_program(kept)
        {
            return Some(Incoming::Signals(bits));
        }
        if self.in_a_row >= RING_CALLS_IN_A_ROW {
            return None;
        }
        let call = clients.take()?;
        self.in_a_row += 1;
        // The caller at the endpoint does not wait for this one's answer.
        self.pool.flush();
        Some(Incoming::Ring(call))
    }

    /// What is at the endpoint, if anything is.
    fn glance(&self) -> Option<Received> {
        self.pool.flush();
        let received = self.endpoint.nb_recv(self.pool.current_object());
        Some(received).filter(|received| *received != Received::default())
    }

    /// Waits for something at the endpoint, unless something comes over a ring first.
    fn sleep(&mut self) -> Option<Received> {
        let Some(clients) = &mut self.clients else {
            return Some(receive(self.endpoint, &self.pool));
        };
        // The look may take its time.
        cap::Notification::send_kept();
        // Who was just answered at the endpoint needs this core, so it is given up at once.
        if !self.pool.has_staged() && clients.look() {
            return None;
        }
        let received = (!clients.arm()).then(|| receive(self.endpoint, &self.pool));
        clients.disarm();
        received
    }

    /// Tells signals from messages. The bell is answered here, before the rings are looked at.
    fn sort(&self, received: Received) -> Option<Incoming> {
        let badge = received.badge;
        if badge & SIGNAL_FLAG == 0 {
            return Some(Incoming::Message(received));
        }
        if let Some(clients) = &self.clients
            && badge & RING_BELL != 0
        {
            clients.window().acknowledge();
        }
        for_the_program(badge & !SIGNAL_FLAG).map(Incoming::Signals)
    }

    /// Answers whoever observes the server, at the endpoint.
    fn tell(&self, method: u16, arguments: &[u8]) {
        let answer = self.watch.answer(method, arguments);
        self.pool.answer(self.pool.current.get(), answer.as_deref().map_err(|error| *error));
    }

    /// Answers whoever observes the server from another core.
    fn tell_over_ring(&self, call: &TakenCall) {
        let answer = self.watch.answer(call.method, &call.bytes);
        call.sink.answer(call.token, answer.as_deref().map_err(|error| *error));
    }

    fn ring_request(&mut self, call: TakenCall) -> Request<'_> {
        self.watch.note_request();
        let TakenCall { caller, method, bytes, sink, token } = call;
        self.client = sink;
        Request { caller, method, bytes, reply: Reply::new(&self.client, token) }
    }

    fn reply(&self) -> Reply<'_> {
        Reply::new(&self.sink, self.pool.current.get())
    }

    fn request(&self, received: Received, method: u16, bytes: Bytes) -> Request<'_> {
        self.watch.note_request();
        Request { caller: Caller(received.badge), method, bytes, reply: self.reply() }
    }

    fn message(&self, received: Received) -> Message<'_> {
        let words = (0..received.info.length().min(MESSAGE_WORDS)).map(sys::word).collect();
        let label = received.info.label();
        Message { badge: received.badge, label, words, reply: self.reply() }
    }
}

/// What a server was woken by.
#[expect(clippy::large_enum_variant, reason = "boxing would allocate for every call")]
enum Incoming {
    /// A call of a client on another core.
    Ring(TakenCall),
    /// Signals, without the flag and the bell.
    Signals(u64),
    /// A message at the endpoint.
    Message(Received),
}

/// What of these signals is for the program itself, unless nothing is. The question whether it is alive
/// is answered here: it has come back to its event loop.
fn for_the_program(bits: u64) -> Option<u64> {
    if bits & HEARTBEAT != 0 {
        control::beat();
    }
    let own = RING_BELL | HEARTBEAT;
    (bits & !own != 0 || bits & own == 0).then_some(bits & !own)
}

/// Sends the answer that is kept, and waits.
fn receive(endpoint: cap::Endpoint, pool: &ReplyPool) -> Received {
    let reply = pool.current_object();
    if !pool.has_staged() {
        return endpoint.recv(reply);
    }
    match pool.take_staged() {
        Some(info) => endpoint.reply_recv(info, reply),
        None => endpoint.recv(reply),
    }
}

fn parse(method: u64, info: MessageInfo) -> Result<(u16, Bytes), CallError> {
    let method = u16::try_from(method).map_err(|_| CallError::UnknownMethod)?;
    Ok((method, unpack(info)?))
}

/// The reply objects of a server. A call's token is the index of its object.
struct ReplyPool {
    objects: Vec<cap::Reply>,
    parked: RefCell<Vec<bool>>,
    current: Cell<u32>,
    staged: RefCell<Option<Result<Bytes, CallError>>>,
}

impl ReplyPool {
    fn new(replies: impl IntoIterator<Item = cap::Reply>) -> Result<Self, ServerError> {
        let objects: Vec<cap::Reply> = replies.into_iter().collect();
        if objects.is_empty() {
            return Err(ServerError::NoReplies);
        }
        let parked = RefCell::new(alloc::vec![false; objects.len()]);
        Ok(Self { objects, parked, current: Cell::new(0), staged: RefCell::new(None) })
    }

    fn current_object(&self) -> cap::Reply {
        self.objects[self.current.get() as usize]
    }

    /// Composes the answer that is kept.
    fn take_staged(&self) -> Option<MessageInfo> {
        self.staged.borrow_mut().take().map(compose)
    }

    /// Whether an answer is kept.
    fn has_staged(&self) -> bool {
        self.staged.borrow().is_some()
    }

    /// Sends the answer that is kept, if there is one.
    fn flush(&self) {
        if let Some(info) = self.take_staged() {
            self.current_object().send(info);
        }
    }

    /// An object, other than the current one, that no call holds.
    fn free(&self) -> Option<u32> {
        let parked = self.parked.borrow();
        (0u32..)
            .zip(parked.iter())
            .find(|(index, parked)| !**parked && *index != self.current.get())
            .map(|(index, _)| index)
    }
}

impl ReplySink for ReplyPool {
    fn answer(&self, token: u32, answer: Result<&[u8], CallError>) {
        let answer =
            answer.and_then(|bytes| Bytes::from_slice(bytes).map_err(|_| CallError::TooLarge));
        let index = token as usize;
        let was_parked = self.parked.borrow_mut().get_mut(index).is_some_and(core::mem::take);
        if was_parked {
            let info = compose(answer);
            sys::send(self.objects[index].cptr(), info);
        } else {
            *self.staged.borrow_mut() = Some(answer);
        }
    }

    fn park(&self, token: u32) -> bool {
        let Some(next) = self.free() else { return false };
        self.parked.borrow_mut()[token as usize] = true;
        self.current.set(next);
        true
    }
}

/// Puts an answer into the message to be sent.
fn compose(answer: Result<Bytes, CallError>) -> MessageInfo {
    answer
        .and_then(|bytes| pack(0, &bytes))
        .unwrap_or_else(|error| MessageInfo::new(u64::from(error.number()), 0, 0, 0))
}

#[cfg(test)]
mod ring_tests;
#[cfg(test)]
mod ring_thread_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Later, decode, encode};
    use crate::observe::{COUNTERS_METHOD, RESERVED_METHODS, Recorder};
    use crate::service::Page;
    use crate::service::console::{
        Console, ConsoleError, Graph, InputEvent, InputMode, ScreenStatus,
    };
    use crate::sys::Registers;
    use crate::sys::host::with_kernel;
    use alloc::collections::VecDeque;
    use alloc::string::String;
    use d3os_abi::Syscall;
    use proptest::prelude::*;

    /// What the server asked of the kernel: call number, reply object, label and word 1.
    type Trace = Rc<RefCell<Vec<(i64, u64, u64)>>>;

    /// A kernel that delivers these messages (badge, label, words) and records what is sent.
    fn kernel(
        mut inbox: VecDeque<(u64, u64, Vec<u64>)>,
        trace: &Trace,
    ) -> impl FnMut(i64, Registers) -> Registers + 'static {
        let trace = Rc::clone(trace);
        move |number, input| {
            let label = MessageInfo(input.rsi).label();
            let object = if number == Syscall::Send.number() { input.rdi } else { input.r12 };
            trace.borrow_mut().push((number, object, label));
            if number == Syscall::Send.number() {
                return input;
            }
            let (badge, label, words) = inbox.pop_front().expect("a message for the server");
            let mut registers = [0; 4];
            for (index, word) in words.iter().enumerate() {
                match registers.get_mut(index) {
                    Some(register) => *register = *word,
                    None => sys::set_word(index, *word),
                }
            }
            let info = MessageInfo::new(label, 0, 0, words.len());
            Registers { rdi: badge, rsi: info.0, words: registers, ..input }
        }
    }

    fn request<T: serde::Serialize>(
        badge: u64,
        method: u64,
        arguments: &T,
    ) -> (u64, u64, Vec<u64>) {
        let bytes = encode(arguments).expect("small");
        let mut words = alloc::vec![bytes.len() as u64];
        for chunk in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            words.push(u64::from_le_bytes(padded));
        }
        (badge, REQUEST_LABEL + method, words)
    }

    fn server(replies: u64) -> Server {
        let objects = (0..replies).map(|index| cap::Reply::new(Cptr::new(100 + index)));
        Server::new(cap::Endpoint::new(Cptr::new(1)), objects).expect("has replies")
    }

    #[derive(Default)]
    struct Fake {
        written: Vec<u8>,
        readers: Vec<Later<Result<InputEvent, ConsoleError>>>,
    }

    impl Console for Fake {
        fn write(&mut self, _: Caller, bytes: Vec<u8>, later: Later<Result<(), ConsoleError>>) {
            self.written.extend(bytes);
            later.answer(&Ok(()));
        }

        fn read(
            &mut self,
            _: Caller,
            _: InputMode,
            later: Later<Result<InputEvent, ConsoleError>>,
        ) {
            self.readers.push(later);
        }

        fn draw_graph(&mut self, _: Caller, _: Graph) -> Result<(), ConsoleError> {
            Err(ConsoleError::NoScreen)
        }

        fn poll(&mut self, _: Caller) -> Result<Vec<u8>, ConsoleError> {
            Err(ConsoleError::Disconnected)
        }

        fn screen(&mut self, _: Caller) -> Result<ScreenStatus, ConsoleError> {
            Err(ConsoleError::NoScreen)
        }

        fn text(&mut self, _: Caller, _: u32) -> Result<Page<String>, ConsoleError> {
            Err(ConsoleError::NoScreen)
        }
    }

    const RECV: i64 = Syscall::Recv.number();
    const REPLY_RECV: i64 = Syscall::ReplyRecv.number();
    const SEND: i64 = Syscall::Send.number();

    #[test]
    fn deferred_calls_keep_their_reply_objects_and_the_last_is_refused() {
        let inbox = VecDeque::from([
            request(5, 1, &(InputMode::Raw,)),
            request(6, 1, &(InputMode::Raw,)),
            (SIGNAL_FLAG | 4, 0, Vec::new()),
        ]);
        let trace = Trace::default();
        let (mut server, mut fake) = (server(2), Fake::default());
        with_kernel(kernel(inbox, &trace), || {
            for _ in 0..2 {
                let Event::Request(request) = server.next() else { panic!("a request") };
                Console::dispatch(&mut fake, request);
            }
            assert_eq!(server.deferred(), 1);
            assert!(matches!(server.next(), Event::Signal(4)));
            fake.readers.pop().expect("the first").answer(&Ok(InputEvent::Redraw));
        });
        let busy = u64::from(CallError::Busy.number());
        let expected = [(RECV, 100, 0), (RECV, 101, 0), (REPLY_RECV, 101, busy), (SEND, 100, 0)];
        assert_eq!(*trace.borrow(), expected);
        assert_eq!(server.deferred(), 0);
    }

    #[test]
    fn a_dropped_duty_is_answered() {
        let inbox = VecDeque::from([request(5, 1, &(InputMode::Raw,)), (7, 6, alloc::vec![1, 2])]);
        let trace = Trace::default();
        let (mut server, mut fake) = (server(2), Fake::default());
        with_kernel(kernel(inbox, &trace), || {
            let Event::Request(request) = server.next() else { panic!("a request") };
            Console::dispatch(&mut fake, request);
            fake.readers.clear();
            let Event::Message(message) = server.next() else { panic!("a message") };
            assert_eq!((message.badge, message.label, &message.words[..]), (7, 6, &[1, 2][..]));
        });
        let unanswered = u64::from(CallError::Unanswered.number());
        assert_eq!(*trace.borrow(), [(RECV, 100, 0), (SEND, 100, unanswered), (RECV, 101, 0)]);
    }

    #[test]
    fn impossible_lengths_are_refused_and_the_server_goes_on() {
        let inbox = VecDeque::from([
            (5, REQUEST_LABEL, alloc::vec![9, 0]),
            (5, REQUEST_LABEL, Vec::new()),
            (5, REQUEST_LABEL + 0x1_0000, alloc::vec![0]),
            (SIGNAL_FLAG, 0, Vec::new()),
        ]);
        let trace = Trace::default();
        let mut server = server(1);
        with_kernel(kernel(inbox, &trace), || assert!(matches!(server.next(), Event::Signal(0))));
        let labels: Vec<u64> = trace.borrow().iter().map(|(_, _, label)| *label).collect();
        let malformed = u64::from(CallError::Malformed.number());
        let unknown = u64::from(CallError::UnknownMethod.number());
        assert_eq!(labels, [0, malformed, malformed, unknown]);
    }

    #[test]
    fn whoever_observes_is_answered_and_the_program_hears_nothing_of_it() {
        let counters = u64::from(COUNTERS_METHOD);
        let inbox = VecDeque::from([
            request(5, 0, &(Vec::<u8>::new(),)),
            request(5, counters, &(0u32,)),
            request(5, counters, &()),
            request(5, u64::from(RESERVED_METHODS) + 9, &(0u32,)),
            (SIGNAL_FLAG | 2, 0, Vec::new()),
        ]);
        let trace = Trace::default();
        let (mut server, mut fake) = (server(2), Fake::default());
        server.observe(&Recorder::<u32, 1>::default());
        with_kernel(kernel(inbox, &trace), || {
            let Event::Request(request) = server.next() else { panic!("a request") };
            Console::dispatch(&mut fake, request);
            assert!(matches!(server.next(), Event::Signal(2)));
        });
        let malformed = u64::from(CallError::Malformed.number());
        let unknown = u64::from(CallError::UnknownMethod.number());
        let labels: Vec<u64> = trace.borrow().iter().map(|(_, _, label)| *label).collect();
        assert_eq!(labels, [0, 0, 0, 0, malformed, unknown]);
        let told = crate::observe::ObserveClient::new(&server.watch).counters().expect("told");
        assert_eq!((told[0].value, told[1].value), (1, 1), "requests and signals");
    }

    #[test]
    fn whether_it_is_alive_is_answered_and_not_told() {
        use crate::control::of_this_thread;
        use crate::start::HEARTBEAT;
        let inbox = VecDeque::from([
            (SIGNAL_FLAG | HEARTBEAT, 0, Vec::new()),
            (SIGNAL_FLAG | HEARTBEAT | 2, 0, Vec::new()),
        ]);
        let before = of_this_thread().read().beats;
        let mut server = server(1);
        with_kernel(kernel(inbox, &Trace::default()), || {
            assert!(matches!(server.next(), Event::Signal(2)));
        });
        assert_eq!(of_this_thread().read().beats, before + 2);
    }

    #[test]
    fn a_server_needs_replies() {
        let none = Server::new(cap::Endpoint::new(Cptr::new(1)), []);
        assert_eq!(none.err(), Some(ServerError::NoReplies));
    }

    proptest! {
        #[test]
        fn no_bytes_stop_a_server(
            calls in prop::collection::vec((0u16..6, prop::collection::vec(any::<u8>(), 0..40)), 1..20),
        ) {
            use crate::call::{Loopback, Transport};
            use crate::service::console::CONSOLE;
            let fake = Loopback::new(Fake::default(), Caller(1), Console::dispatch);
            for (method, bytes) in calls {
                let answer = fake.call(method, &bytes);
                if usize::from(method) >= CONSOLE.operations.len() {
                    prop_assert_eq!(answer.err(), Some(CallError::UnknownMethod));
                } else if method == 0 && let Ok(bytes) = answer {
                    let result: Result<Result<(), ConsoleError>, _> = decode(&bytes);
                    prop_assert_eq!(result, Ok(Ok(())));
                }
            }
        }
    }
}
