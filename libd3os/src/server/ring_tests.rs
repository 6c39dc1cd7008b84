//! A server with clients at its endpoint and on other cores, all at once.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use proptest::prelude::*;

use super::*;
use crate::call::{Later, decode, encode};
use crate::observe::{COUNTERS_METHOD, CountPage, names};
use crate::ring::host::{
    Half, HostAnswer, HostBell, HostIpc, HostProgram, HostWindow, Ring, attach_client, kernel,
};
use crate::ring::{Pair, Receiver, Sender, Side};
use crate::sys::host::with_kernel;

/// Doubles numbers.
#[libd3os::service(name = "work", version = 1)]
pub(super) trait Work {
    /// Twice the number.
    fn double(number: u64) -> Result<u64, String>;

    /// The number itself, some time.
    #[deferred]
    fn later(number: u64) -> Result<u64, String>;
}

#[derive(Default)]
pub(super) struct Process {
    log: BTreeMap<u64, Vec<u64>>,
    kept: Vec<(u64, Later<Result<u64, String>>)>,
}

impl Work for Process {
    fn double(&mut self, caller: Caller, number: u64) -> Result<u64, String> {
        self.log.entry(caller.0).or_default().push(number);
        Ok(number.wrapping_mul(2))
    }

    fn later(&mut self, caller: Caller, number: u64, later: Later<Result<u64, String>>) {
        self.log.entry(caller.0).or_default().push(number);
        self.kept.push((number, later));
    }
}

impl Process {
    pub(super) fn release(&mut self) {
        self.kept.drain(..).for_each(|(number, later)| later.answer(&Ok(number)));
    }
}

const REPLIES: u64 = 4;

pub(super) fn serve(program: &Arc<HostProgram>) -> Server<HostWindow> {
    let objects = (0..REPLIES).map(|index| cap::Reply::new(Cptr::new(100 + index)));
    let window = HostWindow(Arc::clone(program));
    Server::with_rings(cap::Endpoint::new(Cptr::new(1)), objects, Some(window))
        .expect("has replies")
}

const IDLE: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Double,
    Later,
}

#[derive(Clone, Debug)]
enum Step {
    Attach { honest: bool },
    Send(usize, Method),
    Ipc(Method),
    Garbage(usize, u16, Vec<u8>),
    Scribble(usize, usize, u64),
    Close(usize),
    Detach(usize),
    Signal(u32),
    Release,
    Serve,
}

fn step() -> impl Strategy<Value = Step> {
    let method = || prop_oneof![3 => Just(Method::Double), 1 => Just(Method::Later)];
    let word = prop_oneof![
        any::<u64>(),
        0u64..64,
        (1u64..3, 0u64..70).prop_map(|(lap, n)| (lap << 32) | n)
    ];
    prop_oneof![
        2 => prop::bool::weighted(0.7).prop_map(|honest| Step::Attach { honest }),
        20 => (0usize..6, method()).prop_map(|(client, method)| Step::Send(client, method)),
        5 => method().prop_map(Step::Ipc),
        4 => (0usize..6, 0u16..4, prop::collection::vec(any::<u8>(), 0..1_200))
            .prop_map(|(client, method, bytes)| Step::Garbage(client, method, bytes)),
        4 => (0usize..6, 0usize..128, word).prop_map(|(c, line, word)| Step::Scribble(c, line, word)),
        1 => (0usize..6).prop_map(Step::Close),
        1 => (0usize..6).prop_map(Step::Detach),
        2 => (0u32..8).prop_map(Step::Signal),
        2 => Just(Step::Release),
        6 => Just(Step::Serve),
    ]
}

type Answer = Result<Result<u64, String>, CallError>;

/// A client that sends without waiting for answers.
struct Client {
    caller: u64,
    honest: bool,
    place: u16,
    memory: Arc<[crate::ring::Line]>,
    ends: Option<(Sender<Half, HostBell>, Receiver<Half, HostBell>)>,
    /// Sent, but not yet served.
    unserved: Vec<(u64, Method)>,
    /// What its methods were called with.
    served: Vec<u64>,
    parked: Option<u64>,
    expected: Vec<Answer>,
}

impl Client {
    fn send(&mut self, number: u64, method: Method) {
        let Some((sender, _)) = &mut self.ends else { return };
        if self.unserved.len() >= 30 {
            return;
        }
        let sent = sender.send(method as u16, &encode(&(number,)).expect("small"));
        if self.honest {
            assert_eq!(sent, Ok(()));
            self.unserved.push((number, method));
        }
    }

    /// What the server answers to what it finds in the ring.
    fn expect_served(&mut self) {
        for (number, method) in core::mem::take(&mut self.unserved) {
            match method {
                Method::Double => self.expected.push(Ok(Ok(2 * number))),
                Method::Later if self.parked.is_none() => self.parked = Some(number),
                Method::Later => {
                    self.expected.push(Err(CallError::Busy));
                    continue;
                }
            }
            self.served.push(number);
        }
    }

    fn check_answers(&mut self) -> Result<(), TestCaseError> {
        let Some((_, receiver)) = &mut self.ends else { return Ok(()) };
        let mut buffer = [0; crate::call::MAX_BYTES];
        let mut answers = Vec::new();
        while let Some(answer) = receiver.try_receive(&mut buffer).expect("an honest server") {
            answers.push(match answer.tag {
                0 => Ok(decode(&buffer[..answer.length]).expect("a result")),
                error => Err(CallError::from_number(error.into())),
            });
        }
        prop_assert_eq!(answers, core::mem::take(&mut self.expected));
        Ok(())
    }
}

/// The server, what it serves, and what is expected of it.
struct Bench {
    program: Arc<HostProgram>,
    peer: Arc<HostProgram>,
    server: Server<HostWindow>,
    process: Process,
    clients: Vec<Client>,
    next_number: u64,
    signals: u64,
    ipc_served: Vec<u64>,
    ipc_unserved: Vec<(u64, Method, HostAnswer)>,
    ipc_parked: Vec<(u64, HostAnswer)>,
}

/// Badge of the caller at the endpoint.
const IPC: u64 = 7;

impl Bench {
    fn new(program: Arc<HostProgram>) -> Self {
        let server = serve(&program);
        Self {
            program,
            peer: Arc::default(),
            server,
            process: Process::default(),
            clients: Vec::new(),
            next_number: 1,
            signals: 0,
            ipc_served: Vec::new(),
            ipc_unserved: Vec::new(),
            ipc_parked: Vec::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn client(&mut self, index: usize) -> Option<&mut Client> {
        self.clients.get_mut(index)
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let number = self.number();
        match step {
            Step::Attach { honest } => self.attach(number + 1_000_000, honest),
            Step::Send(client, method) => {
                if let Some(client) = self.client(client) {
                    client.send(number, method);
                }
            }
            Step::Ipc(method) => self.send_ipc(number, method),
            Step::Garbage(client, method, bytes) => {
                if let Some(Client { honest: false, ends: Some((sender, _)), .. }) =
                    self.client(client)
                {
                    let _refused = sender.try_send(method, &bytes).and(sender.flush());
                }
            }
            Step::Scribble(client, line, value) => {
                if let Some(Client { honest: false, memory, .. }) = self.client(client) {
                    crate::ring::host::scribble(memory, line, value);
                }
            }
            Step::Close(client) => {
                if let Some(client) = self.client(client) {
                    client.ends = None;
                    client.expected.clear();
                }
            }
            Step::Detach(client) => self.detach(client)?,
            Step::Signal(bit) => {
                self.signals |= 1 << bit;
                self.program.signal(1 << bit);
            }
            Step::Release => self.release(),
            Step::Serve => self.serve()?,
        }
        Ok(())
    }

    fn attach(&mut self, caller: u64, honest: bool) {
        if self.clients.len() >= 6 {
            return;
        }
        let (place, memory) = attach_client(&self.program, &self.peer, caller);
        let bell = HostBell { peer: Arc::clone(&self.program), own: Arc::clone(&self.peer) };
        let requests = Half(Arc::clone(&memory), Ring::Requests);
        let answers = Half(Arc::clone(&memory), Ring::Answers);
        let sender = Sender::new(requests, bell.clone()).expect("large enough");
        let receiver = Receiver::new(answers, bell).expect("large enough");
        self.clients.push(Client {
            caller,
            honest,
            place,
            memory,
            ends: Some((sender, receiver)),
            unserved: Vec::new(),
            served: Vec::new(),
            parked: None,
            expected: Vec::new(),
        });
    }

    fn send_ipc(&mut self, number: u64, method: Method) {
        let ipc = HostIpc { server: Arc::clone(&self.program), badge: IPC };
        let answer = ipc.send(method as u16, &encode(&(number,)).expect("small"));
        self.ipc_unserved.push((number, method, answer));
    }

    /// Withdraws a client's pair, whose place may be taken before the server has noticed.
    fn detach(&mut self, index: usize) -> Result<(), TestCaseError> {
        if index >= self.clients.len() {
            return Ok(());
        }
        let client = self.clients.remove(index);
        self.program.withdraw(client.place);
        if client.honest {
            let log = self.process.log.get(&client.caller).cloned().unwrap_or_default();
            prop_assert_eq!(log, client.served);
        }
        Ok(())
    }

    fn release(&mut self) {
        self.process.release();
        for client in &mut self.clients {
            let answer = client.parked.take().map(|number| Ok(Ok(number)));
            client.expected.extend(answer.filter(|_| client.ends.is_some()));
        }
        for (number, answer) in self.ipc_parked.drain(..) {
            let answer = answer.take().expect("an answer").expect("no failure");
            assert_eq!(decode::<Result<u64, String>>(&answer), Ok(Ok(number)));
        }
    }

    /// Lets the server run until it sleeps, and looks at what it did.
    fn serve(&mut self) -> Result<(), TestCaseError> {
        let mut signals = 0;
        loop {
            match self.server.next() {
                Event::Request(request) => self.process.dispatch(request),
                Event::Signal(IDLE) => break,
                Event::Signal(bits) => signals |= bits,
                Event::Message(_) => panic!("nobody sends any"),
            }
        }
        prop_assert_eq!(signals, core::mem::take(&mut self.signals));
        for client in self.clients.iter_mut().filter(|client| client.honest) {
            client.expect_served();
            client.check_answers()?;
            let log = self.process.log.get(&client.caller).cloned().unwrap_or_default();
            prop_assert_eq!(&log, &client.served, "each call once and in order");
            let pair = Pair::new(&client.memory).expect("a pair");
            prop_assert_eq!(pair.has_ended(Side::Server), client.ends.is_none());
        }
        self.serve_ipc()
    }

    fn serve_ipc(&mut self) -> Result<(), TestCaseError> {
        for (number, method, answer) in core::mem::take(&mut self.ipc_unserved) {
            let result = answer.take();
            let parks = (self.ipc_parked.len() as u64) < REPLIES - 1;
            if method == Method::Later && parks {
                prop_assert_eq!(result, None);
                self.ipc_served.push(number);
                self.ipc_parked.push((number, answer));
                continue;
            }
            let result = result.expect("an answer").map(|bytes| decode(&bytes).expect("a result"));
            let expected: Answer = match method {
                Method::Double => {
                    self.ipc_served.push(number);
                    Ok(Ok(2 * number))
                }
                Method::Later => Err(CallError::Busy),
            };
            prop_assert_eq!(result, expected);
        }
        let log = self.process.log.get(&IPC).cloned().unwrap_or_default();
        prop_assert_eq!(log, self.ipc_served.clone());
        Ok(())
    }
}

#[test]
fn whoever_observes_over_a_ring_is_answered() {
    let program = Arc::<HostProgram>::default();
    with_kernel(kernel(Arc::clone(&program), || Some(IDLE)), || {
        let mut bench = Bench::new(program);
        bench.attach(5, true);
        let Bench { server, clients, .. } = &mut bench;
        let (sender, receiver) = clients[0].ends.as_mut().expect("open");
        sender.send(COUNTERS_METHOD, &encode(&(0u32,)).expect("small")).expect("sent");
        assert!(matches!(server.next(), Event::Signal(IDLE)), "the program hears nothing of it");
        let mut buffer = [0; crate::call::MAX_BYTES];
        let answer = receiver.try_receive(&mut buffer).expect("an honest server").expect("one");
        let page: CountPage = decode(&buffer[..answer.length]).expect("counters");
        assert_eq!((answer.tag, page.items[0].name.as_str()), (0, names::REQUESTS));
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_call_is_served_once_whoever_else_calls(
        steps in prop::collection::vec(step(), 0..if cfg!(miri) { 30 } else { 150 }),
    ) {
        let program = Arc::<HostProgram>::default();
        with_kernel(kernel(Arc::clone(&program), || Some(IDLE)), || {
            let mut bench = Bench::new(program);
            for step in steps {
                bench.step(step)?;
            }
            bench.serve()?;
            bench.release();
            bench.serve()
        })?;
    }
}
