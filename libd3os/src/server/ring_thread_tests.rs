//! Servers and clients in threads of their own: wake-ups, restarts, a server that calls another.

extern crate std;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;

use super::ring_tests::{Process, Work, WorkClient, serve};
use super::*;
use crate::call::{Error, Transport};
use crate::ring::host::{HostIpc, HostProgram, HostWindow, attach_service, kernel};
use crate::ring::{Pair, Services, Side};
use crate::start::RingGrant;
use crate::sys::host::with_kernel;

type Program = Arc<HostProgram>;

/// Has a server release what it keeps, and end.
const TICK: u64 = 1 << 1;
const STOP: u64 = 1 << 2;

/// Calls over a program's rings.
struct OverRings(RefCell<Services<HostWindow>>, RingGrant);

impl OverRings {
    fn from(client: &Program, place: u16) -> Self {
        let services = RefCell::new(Services::new(HostWindow(Arc::clone(client))));
        Self(services, RingGrant { place, bell: 0 })
    }
}

impl Transport for OverRings {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        self.0.borrow_mut().call(self.1, method, request)
    }
}

/// Serves until it is told to stop; tells how many signals came.
fn run(program: &Program, process: &mut impl Serves) -> u64 {
    with_kernel(kernel(Arc::clone(program), || None), || {
        let mut server = serve(program);
        let mut signals = 0;
        loop {
            match server.next() {
                Event::Request(request) => process.request(request),
                Event::Signal(bits) if bits & STOP != 0 => return signals,
                Event::Signal(_) => {
                    signals += 1;
                    process.release();
                }
                Event::Message(_) => panic!("nobody sends any"),
            }
        }
    })
}

/// What the test's servers have in common.
trait Serves {
    fn request(&mut self, request: Request<'_>);
    fn release(&mut self);
}

impl Serves for Process {
    fn request(&mut self, request: Request<'_>) {
        self.dispatch(request);
    }

    fn release(&mut self) {
        Self::release(self);
    }
}

/// A server that has another one do its work.
struct Middle {
    other: WorkClient<OverRings>,
    kept: Vec<(u64, crate::call::Later<Result<u64, String>>)>,
}

impl Work for Middle {
    fn double(&mut self, _: Caller, number: u64) -> Result<u64, String> {
        self.other.double(number).map_err(|error| error.to_string())
    }

    fn later(&mut self, _: Caller, number: u64, later: crate::call::Later<Result<u64, String>>) {
        self.kept.push((number, later));
    }
}

impl Serves for Middle {
    fn request(&mut self, request: Request<'_>) {
        self.dispatch(request);
    }

    fn release(&mut self) {
        self.kept.drain(..).for_each(|(number, later)| later.answer(&Ok(number)));
    }
}

/// Makes calls of both kinds; a server with too few reply objects may be busy.
fn call_often(client: &WorkClient<impl Transport>, calls: u64) {
    for number in 0..calls {
        if number % 16 == 15 {
            match client.later(number) {
                Ok(answer) => assert_eq!(answer, number),
                Err(error) => assert_eq!(error, Error::Call(CallError::Busy)),
            }
        } else {
            assert_eq!(client.double(number), Ok(2 * number));
        }
    }
}

fn signal_until(stop: &AtomicBool, programs: &[&Program]) {
    while !stop.load(Ordering::Relaxed) {
        programs.iter().for_each(|program| program.signal(TICK));
        thread::sleep(Duration::from_micros(100));
    }
}

const CALLS: u64 = if cfg!(miri) { 20 } else { 5_000 };

#[test]
fn clients_on_all_cores_are_served_at_once() {
    let server = Program::default();
    let stop = AtomicBool::new(false);
    let (server, stop) = (&server, &stop);
    thread::scope(|scope| {
        let serving = scope.spawn(|| run(server, &mut Process::default()));
        scope.spawn(|| signal_until(stop, &[server]));
        let over_rings = (1..4).map(|badge| {
            scope.spawn(move || {
                let client = Program::default();
                let (service, _) = attach_service(server, &client, None, badge);
                call_often(&WorkClient::new(OverRings::from(&client, service)), CALLS);
            })
        });
        let by_ipc = (4..6).map(|badge| {
            let ipc = HostIpc { server: Arc::clone(server), badge };
            scope.spawn(move || call_often(&WorkClient::new(ipc), CALLS))
        });
        let clients: Vec<_> = over_rings.chain(by_ipc).collect();
        clients.into_iter().for_each(|client| client.join().expect("all answers were right"));
        stop.store(true, Ordering::Relaxed);
        server.signal(STOP);
        assert!(serving.join().expect("the server ended") > 0, "signals came through");
    });
}

#[test]
fn a_server_that_calls_another_loses_neither_calls_nor_signals() {
    let (back, middle, client) = (Program::default(), Program::default(), Program::default());
    let (to_back, _) = attach_service(&back, &middle, None, 1);
    let (to_middle, _) = attach_service(&middle, &client, None, 2);
    let stop = AtomicBool::new(false);
    let (back, middle, stop) = (&back, &middle, &stop);
    thread::scope(|scope| {
        scope.spawn(|| run(back, &mut Process::default()));
        let serving = scope.spawn(move || {
            let other = WorkClient::new(OverRings::from(middle, to_back));
            run(middle, &mut Middle { other, kept: Vec::new() })
        });
        scope.spawn(|| signal_until(stop, &[back, middle]));
        let ipc = HostIpc { server: Arc::clone(middle), badge: 3 };
        let caller = scope.spawn(move || call_often(&WorkClient::new(ipc), CALLS));
        call_often(&WorkClient::new(OverRings::from(&client, to_middle)), CALLS);
        caller.join().expect("all answers were right");
        stop.store(true, Ordering::Relaxed);
        middle.signal(STOP);
        assert!(serving.join().expect("the server ended") > 0, "signals came through");
        back.signal(STOP);
    });
}

/// Waits until a program has ended its side of a pair.
fn await_end(memory: &[crate::ring::Line], side: Side) {
    while !Pair::new(memory).expect("a pair").has_ended(side) {
        thread::yield_now();
    }
}

#[test]
fn a_call_waits_for_a_service_that_is_restarted() {
    let (first, second, client) = (Program::default(), Program::default(), Program::default());
    let (service, at_first) = attach_service(&first, &client, None, 1);
    let old = first.memory(at_first);
    let calls = WorkClient::new(OverRings::from(&client, service));
    thread::scope(|scope| {
        let serving = scope.spawn(|| run(&first, &mut Process::default()));
        assert_eq!(calls.double(1), Ok(2));
        first.signal(STOP);
        serving.join().expect("it ended");
        assert!(!Pair::new(&old).expect("a pair").has_ended(Side::Client), "it has not called");

        let next = scope.spawn(|| {
            // As init does: the client's side of the old pair first.
            await_end(&old, Side::Client);
            attach_service(&second, &client, Some(service), 1);
            run(&second, &mut Process::default())
        });
        assert_eq!([calls.double(2), calls.double(3)], [Ok(4), Ok(6)]);
        second.signal(STOP);
        next.join().expect("it ended");

        let withdrawn = scope.spawn(|| {
            client.ring();
            client.directory.detach(service);
            client.ring();
        });
        assert_eq!(calls.double(4), Err(Error::Call(CallError::Unavailable)));
        withdrawn.join().expect("it did");
    });
}

/// A client that has not called since its service was attached anew says in the old pair's memory,
/// which is there until it does, that it is done with it.
#[test]
fn a_pair_that_was_replaced_is_let_go_at_the_next_call() {
    let (first, second, client) = (Program::default(), Program::default(), Program::default());
    let (service, at_first) = attach_service(&first, &client, None, 1);
    let old = first.memory(at_first);
    let calls = WorkClient::new(OverRings::from(&client, service));
    thread::scope(|scope| {
        let serving = scope.spawn(|| run(&first, &mut Process::default()));
        assert_eq!(calls.double(1), Ok(2));
        first.signal(STOP);
        serving.join().expect("it ended");
        scope.spawn(|| run(&second, &mut Process::default()));
        attach_service(&second, &client, Some(service), 1);
        assert!(!Pair::new(&old).expect("a pair").has_ended(Side::Client));
        assert_eq!(calls.double(2), Ok(4));
        assert!(Pair::new(&old).expect("a pair").has_ended(Side::Client));
        second.signal(STOP);
    });
}

/// A server that breaks the protocol and goes on living does not keep its clients waiting.
#[test]
fn a_broken_service_fails_at_once_from_then_on() {
    let (server, client) = (Program::default(), Program::default());
    let (service, at_server) = attach_service(&server, &client, None, 1);
    let memory = server.memory(at_server);
    // An answer from nowhere.
    crate::ring::host::scribble(&memory, 64 + 8, 0x5_0000_0001);
    let calls = WorkClient::new(OverRings::from(&client, service));
    let malformed = || Err(Error::Call(CallError::Malformed));
    assert_eq!([calls.double(1), calls.double(2)], [malformed(), malformed()]);
    assert!(Pair::new(&memory).expect("a pair").has_ended(Side::Client));
}

#[test]
fn a_client_that_waits_for_a_server_that_died_is_told() {
    let (server, client) = (Program::default(), Program::default());
    let (service, at_server) = attach_service(&server, &client, None, 1);
    let memory = server.memory(at_server);
    thread::scope(|scope| {
        let calls = scope.spawn(|| WorkClient::new(OverRings::from(&client, service)).later(1));
        let requests = Pair::new(&memory).expect("a pair").requests();
        let asked = crate::ring::Receiver::new(requests, crate::ring::Polling).expect("a ring");
        while !asked.is_ready() {
            thread::yield_now();
        }
        // There is no server at all: whoever supervised it says so in its place.
        Pair::new(&memory).expect("a pair").end(Side::Server);
        client.ring();
        let result = calls.join().expect("it came back");
        assert_eq!(result, Err(Error::Call(CallError::Restarted)));
    });
    assert!(Pair::new(&memory).expect("a pair").has_ended(Side::Client));
}

/// A client that has broken its rings fails alone; another is served meanwhile.
#[test]
fn garbage_ends_only_its_own_pair() {
    let (server, good, bad) = (Program::default(), Program::default(), Program::default());
    let (to_good, _) = attach_service(&server, &good, None, 1);
    let (to_bad, at_server) = attach_service(&server, &bad, None, 2);
    let memory = server.memory(at_server);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| run(&server, &mut Process::default()));
        scope.spawn(|| {
            for line in (0..128).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                crate::ring::host::scribble(&memory, line, 0x5_0000_0001);
                // Both, for the words that say that an end is gone are overwritten as well.
                server.ring();
                bad.ring();
            }
        });
        let broken = WorkClient::new(OverRings::from(&bad, to_bad));
        while broken.double(1).is_ok() {}
        let client = WorkClient::new(OverRings::from(&good, to_good));
        (0..CALLS).for_each(|number| assert_eq!(client.double(number), Ok(2 * number)));
        stop.store(true, Ordering::Relaxed);
        server.signal(STOP);
    });
}
