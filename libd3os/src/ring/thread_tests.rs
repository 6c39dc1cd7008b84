//! Two threads, a ring between them, and typed calls over a pair of rings.

extern crate std;

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use std::sync::{Condvar, Mutex};
use std::thread;

use super::model_tests::memory;
use super::{Doorbell, Line, MIN_LINES, ReceiveError, Receiver, Sender};
use super::{RingError, RingServer, RingTransport};
use crate::call::{CallError, Caller, Error, Later, MAX_BYTES, Transport};

/// A doorbell of the host: what a notification is to a program.
#[derive(Clone, Default)]
struct HostBell {
    own: Arc<Flag>,
    peer: Arc<Flag>,
}

#[derive(Default)]
struct Flag {
    set: Mutex<bool>,
    changed: Condvar,
}

impl HostBell {
    fn pair() -> (Self, Self) {
        let one = Self::default();
        let other = Self { own: Arc::clone(&one.peer), peer: Arc::clone(&one.own) };
        (one, other)
    }
}

impl Doorbell for HostBell {
    fn signal(&self) {
        *self.peer.set.lock().expect("no thread panicked") = true;
        self.peer.changed.notify_one();
    }

    fn wait(&self) {
        let set = self.own.set.lock().expect("no thread panicked");
        let woken = self.own.changed.wait_while(set, |set| !*set);
        *woken.expect("no thread panicked") = false;
    }
}

type Memory = Arc<[Line]>;

/// Sends messages of all lengths through a ring of this size; pauses make both sides sleep.
fn stream(lines: usize, count: u16) {
    let memory = memory(lines);
    let (left, right) = HostBell::pair();
    let mut sender = Sender::new(Arc::clone(&memory), left).expect("large enough");
    let mut receiver = Receiver::new(memory, right).expect("large enough");
    let longest = sender.longest();
    let content = move |number: u16| {
        let length = usize::from(number) * 37 % (longest + 1);
        (0..length).map(|place| (usize::from(number) ^ place).to_le_bytes()[0]).collect::<Vec<u8>>()
    };
    let pause = |number: u16, every: u16| {
        if number.is_multiple_of(every) {
            thread::sleep(std::time::Duration::from_micros(200));
        }
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..count {
                pause(number, 251);
                sender.send(number, &content(number)).expect("the receiver lives");
            }
        });
        let mut buffer = alloc::vec![0; longest];
        for number in 0..count {
            pause(number, 167);
            let received = receiver.receive(&mut buffer).expect("the sender lives");
            assert_eq!(received.tag, number);
            assert_eq!(&buffer[..received.length], &content(number)[..]);
        }
        assert_eq!(receiver.receive(&mut buffer), Err(ReceiveError::Closed));
    });
}

#[test]
fn messages_arrive_whole_and_in_order() {
    for lines in [MIN_LINES, MIN_LINES + 1, 64] {
        stream(lines, if cfg!(miri) { 25 } else { 20_000 });
    }
}

/// Keeps a sum.
#[libd3os::service(name = "sums", version = 1)]
trait Sums {
    /// Adds to the sum, and tells it.
    fn add(amount: u64, note: String) -> Result<u64, String>;

    /// The sum, some time.
    #[deferred]
    fn later() -> Result<u64, String>;

    /// As many bytes as asked for.
    fn bytes(count: u32) -> Result<Vec<u8>, String>;
}

#[derive(Default)]
struct Process {
    sum: u64,
    kept: Vec<Later<Result<u64, String>>>,
    callers: Vec<Caller>,
}

impl Sums for Process {
    fn add(&mut self, caller: Caller, amount: u64, note: String) -> Result<u64, String> {
        self.callers.push(caller);
        self.sum = self.sum.checked_add(amount).ok_or(note)?;
        Ok(self.sum)
    }

    fn later(&mut self, _: Caller, later: Later<Result<u64, String>>) {
        self.kept.push(later);
    }

    fn bytes(&mut self, _: Caller, count: u32) -> Result<Vec<u8>, String> {
        Ok(alloc::vec![7; count.min(10_000) as usize])
    }
}

struct Pair {
    requests: Memory,
    answers: Memory,
    client: HostBell,
    server: HostBell,
}

impl Pair {
    fn new() -> Self {
        let (client, server) = HostBell::pair();
        Self { requests: memory(64), answers: memory(64), client, server }
    }

    fn client(&self) -> RingTransport<Memory, HostBell> {
        let (requests, answers) = (Arc::clone(&self.requests), Arc::clone(&self.answers));
        RingTransport::new(requests, answers, self.client.clone()).expect("large enough")
    }

    fn server(&self) -> RingServer<Memory, HostBell> {
        let (requests, answers) = (Arc::clone(&self.requests), Arc::clone(&self.answers));
        let bell = self.server.clone();
        RingServer::new(requests, answers, bell, Caller(9)).expect("large enough")
    }
}

/// Serves until the client is gone, and tells who called; a call that was put off is answered when it has been alone.
fn serve(pair: &Pair) -> Vec<Caller> {
    let mut server = pair.server();
    let mut process = Process::default();
    loop {
        match server.next() {
            Ok(request) => process.dispatch(request),
            Err(error) => {
                assert_eq!(error, ReceiveError::Closed);
                return process.callers;
            }
        }
        let sum = process.sum;
        process.kept.drain(..).for_each(|later| later.answer(&Ok(sum)));
    }
}

#[test]
fn typed_calls_go_over_rings_unchanged() {
    let pair = Pair::new();
    let calls = if cfg!(miri) { 8 } else { 5_000 };
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&pair));
        let client = SumsClient::new(pair.client());
        for amount in 1..=calls {
            let sum = client.add(amount, "too much".to_string());
            assert_eq!(sum, Ok(amount * (amount + 1) / 2));
        }
        let over = client.add(u64::MAX, "too much".to_string());
        assert_eq!(over, Err(Error::Service("too much".to_string())));
        assert_eq!(client.later(), Ok(calls * (calls + 1) / 2));
        assert_eq!(client.bytes(900), Ok(alloc::vec![7; 900]));
        assert_eq!(client.bytes(1_000), Err(Error::Call(CallError::TooLarge)));
        let long = "x".repeat(MAX_BYTES);
        assert_eq!(client.add(1, long), Err(Error::Call(CallError::TooLarge)));
        assert_eq!(client.transport().call(3, &[]), Err(CallError::UnknownMethod));
        assert_eq!(client.transport().call(0, &[1]), Err(CallError::Malformed));
        drop(client);
        let callers = server.join().expect("the server ended");
        assert!(callers.iter().all(|caller| *caller == Caller(9)));
    });
}

#[test]
fn a_server_that_ends_is_noticed() {
    let pair = Pair::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = pair.server();
            // The request is taken and its server ends without an answer: the duty, dropped,
            // answers by itself, and only the next call finds the server gone.
            drop(server.next().expect("a call"));
        });
        let client = SumsClient::new(pair.client());
        assert_eq!(client.later(), Err(Error::Call(CallError::Unanswered)));
        assert_eq!(client.later(), Err(Error::Call(CallError::Restarted)));
    });
}

/// A client's doorbell whose first ring is also the server's whole life.
#[derive(Clone)]
struct LastRing(Rc<RefCell<Option<RingServer<Memory, HostBell>>>>);

impl Doorbell for LastRing {
    fn signal(&self) {
        if let Some(mut server) = self.0.take() {
            drop(server.next().expect("a call"));
        }
    }

    fn wait(&self) {
        unreachable!("the answer is there before the client looks for it");
    }
}

#[test]
fn an_answer_counts_whose_server_ended_before_the_client_looked() {
    let pair = Pair::new();
    let mut server = pair.server();
    assert!(!server.requests().arm(), "it sleeps, and nothing is there to see");
    let bell = LastRing(Rc::new(RefCell::new(Some(server))));
    let (requests, answers) = (Arc::clone(&pair.requests), Arc::clone(&pair.answers));
    let client = RingTransport::new(requests, answers, bell).expect("large enough");
    let client = SumsClient::new(client);
    assert_eq!(client.later(), Err(Error::Call(CallError::Unanswered)));
    assert_eq!(client.later(), Err(Error::Call(CallError::Restarted)));
}

#[test]
fn one_call_is_put_off_and_the_next_is_busy() {
    let pair = Pair::new();
    let mut server = pair.server();
    let mut process = Process::default();
    // A client that does not wait for answers, as an honest one would.
    let mut requests = Sender::new(Arc::clone(&pair.requests), pair.client.clone()).expect("fits");
    let mut answers = Receiver::new(Arc::clone(&pair.answers), pair.client.clone()).expect("fits");
    let mut tag = || {
        let answer = answers.try_receive(&mut [0; MAX_BYTES]).expect("no nonsense");
        answer.map(|answer| answer.tag)
    };
    requests.try_send(1, &[]).expect("room");
    requests.try_send(1, &[]).expect("room");
    process.dispatch(server.poll().expect("sane").expect("a call"));
    assert_eq!(tag(), None);
    process.dispatch(server.poll().expect("sane").expect("a call"));
    assert_eq!(tag(), Some(CallError::Busy.number()));
    process.kept.clear();
    assert_eq!(tag(), Some(CallError::Unanswered.number()));
    assert!(server.poll().expect("sane").is_none());
}

#[test]
fn a_client_that_takes_no_answers_does_not_stop_its_server() {
    let pair = Pair::new();
    let mut server = pair.server();
    let mut process = Process::default();
    let mut requests = Sender::new(Arc::clone(&pair.requests), pair.client.clone()).expect("fits");
    for _ in 0..200 {
        requests.try_send(77, &[0; 1_000]).expect("room");
        assert!(server.poll().expect("sane").is_none(), "too large, answered at once");
        requests.try_send(0, &[0; 8]).expect("room");
        process.dispatch(server.poll().expect("sane").expect("a call"));
    }
}

#[test]
fn an_answer_to_nothing_is_not_taken_for_the_next_call() {
    let pair = Pair::new();
    let client = SumsClient::new(pair.client());
    let mut answers = Sender::new(Arc::clone(&pair.answers), pair.server.clone()).expect("fits");
    answers.try_send(0, &[0, 1]).expect("room");
    assert_eq!(client.later(), Err(Error::Call(CallError::Malformed)));
}

#[test]
fn rings_that_cannot_carry_a_call_are_refused() {
    let (bell, _) = HostBell::pair();
    // Half of 34 lines is 17, which is what 952 bytes take.
    let refused = |requests, answers| {
        RingTransport::new(memory(requests), memory(answers), bell.clone()).err()
    };
    assert_eq!(refused(42, 42), None);
    assert_eq!(refused(41, 42), Some(RingError::TooSmall));
    assert_eq!(refused(42, 41), Some(RingError::TooSmall));
}
