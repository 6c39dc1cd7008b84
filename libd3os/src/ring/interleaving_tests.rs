//! Every interleaving of two sides of a small ring, by loom.
//!
//! The ring's own files are compiled a second time here, with loom's atomic operations in the
//! place of the processor's: what is checked is what is shipped. Loom also lets a load return any
//! older value that the memory model allows, so a missing fence, or a header that is not released
//! and acquired, is found on any machine. It does not let a load return what is stored later, and
//! so cannot tell whether the acknowledgement needs its release and acquire; that they are there
//! follows from reading. Preemptions are bounded, which keeps a run within seconds.
#![expect(
    dead_code,
    unreachable_pub,
    clippy::duplicate_mod,
    reason = "the library's files, of which a test uses a part"
)]

use loom::model::Builder;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

mod sync {
    //! Loom's atomic operations.

    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering, fence};

    /// Looking at the ring more often only adds interleavings.
    pub(super) const LOOKS_BEFORE_SLEEP: u32 = 1;
}

#[path = "doorbell.rs"]
mod doorbell;
#[path = "error.rs"]
mod error;
#[path = "layout.rs"]
mod layout;
#[path = "line.rs"]
mod line;
#[path = "patience.rs"]
mod patience;
#[path = "presence.rs"]
mod presence;
#[path = "receiver.rs"]
mod receiver;
#[path = "sender.rs"]
mod sender;

use doorbell::{Doorbell, Polling};
use error::{ReceiveError, SendError};
use layout::MIN_LINES;
use line::Line;
use receiver::{Received, Receiver};
use sender::Sender;

type Memory = alloc::sync::Arc<[Line]>;

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// The smallest ring: two lines.
fn ring<D: Doorbell>(left: D, right: D) -> (Sender<Memory, D>, Receiver<Memory, D>) {
    let memory: Memory = (0..MIN_LINES).map(|_| Line::default()).collect();
    let sender = Sender::new(alloc::sync::Arc::clone(&memory), left).expect("large enough");
    (sender, Receiver::new(memory, right).expect("large enough"))
}

/// A doorbell that forgets nothing and never rings by itself: a lost wake-up is a deadlock, which
/// loom reports.
#[derive(Clone)]
struct Bell {
    own: Arc<(Mutex<bool>, Condvar)>,
    peer: Arc<(Mutex<bool>, Condvar)>,
}

impl Bell {
    fn pair() -> (Self, Self) {
        let flag = || Arc::new((Mutex::new(false), Condvar::new()));
        let (own, peer) = (flag(), flag());
        (Self { own: Arc::clone(&own), peer: Arc::clone(&peer) }, Self { own: peer, peer: own })
    }
}

impl Doorbell for Bell {
    fn signal(&self) {
        *self.peer.0.lock().expect("no thread panicked") = true;
        self.peer.1.notify_one();
    }

    fn wait(&self) {
        let mut set = self.own.0.lock().expect("no thread panicked");
        while !*set {
            set = self.own.1.wait(set).expect("no thread panicked");
        }
        *set = false;
    }
}

fn expect(received: Received, buffer: &[u8], number: u8) {
    assert_eq!(received, Received { tag: number.into(), length: 9 });
    assert_eq!(buffer[..9], [number; 9]);
}

#[test]
fn polled_messages_are_whole_and_in_order() {
    const COUNT: u8 = 4;
    check(2, || {
        let (mut sender, mut receiver) = ring(Polling, Polling);
        let peer = thread::spawn(move || {
            for number in 0..COUNT {
                while sender.try_send(number.into(), &[number; 9]) == Err(SendError::Full) {
                    thread::yield_now();
                }
            }
        });
        let mut buffer = [0; 16];
        for number in 0..COUNT {
            let received = loop {
                match receiver.try_receive(&mut buffer).expect("an honest peer") {
                    Some(received) => break received,
                    None => thread::yield_now(),
                }
            };
            expect(received, &buffer, number);
        }
        peer.join().expect("the sender ended");
    });
}

#[test]
fn messages_of_several_lines_are_whole() {
    check(2, || {
        let memory: Memory = (0..MIN_LINES + 2).map(|_| Line::default()).collect();
        let mut sender = Sender::new(alloc::sync::Arc::clone(&memory), Polling).expect("fits");
        let mut receiver = Receiver::new(memory, Polling).expect("fits");
        let peer = thread::spawn(move || {
            for number in 0..3 {
                while sender.try_send(number.into(), &[number; 64]) == Err(SendError::Full) {
                    thread::yield_now();
                }
            }
        });
        let mut buffer = [0xff; 64];
        for number in 0..3 {
            while receiver.try_receive(&mut buffer).expect("an honest peer").is_none() {
                thread::yield_now();
            }
            assert_eq!(buffer, [number; 64]);
        }
        peer.join().expect("the sender ended");
    });
}

/// Sends a few messages over a ring with these bells, to its end.
fn check_wake_ups<B: Doorbell + Send + 'static>(bells: fn() -> (B, B)) {
    const COUNT: u8 = 3;
    check(2, move || {
        let (left, right) = bells();
        let (mut sender, mut receiver) = ring(left, right);
        let peer = thread::spawn(move || {
            for number in 0..COUNT {
                sender.send(number.into(), &[number; 9]).expect("the receiver waits for it");
            }
        });
        let mut buffer = [0; 16];
        for number in 0..COUNT {
            let received = receiver.receive(&mut buffer).expect("an honest peer");
            expect(received, &buffer, number);
        }
        // The sender's end wakes too.
        assert_eq!(receiver.receive(&mut buffer), Err(ReceiveError::Closed));
        peer.join().expect("the sender ended");
    });
}

#[test]
fn no_wake_up_is_lost() {
    check_wake_ups(Bell::pair);
}

#[test]
fn a_receiver_that_ends_wakes_the_sender() {
    check(3, || {
        let (left, right) = Bell::pair();
        let (mut sender, mut receiver) = ring(left, right);
        let peer = thread::spawn(move || {
            let mut buffer = [0; 16];
            let received = receiver.receive(&mut buffer).expect("an honest peer");
            expect(received, &buffer, 0);
        });
        let sent = (0..5).map(|number| sender.send(number.into(), &[number; 9]));
        let closed = sent.filter(|outcome| *outcome == Err(SendError::Closed)).count();
        assert!(closed > 0, "two lines and one that was taken do not hold five messages");
        peer.join().expect("the receiver ended");
    });
}

/// What a program does that waits at one place for everything: it tries, arms, waits, disarms.
#[test]
fn a_sender_that_armed_is_woken_by_room() {
    const COUNT: u8 = 4;
    check(2, || {
        let (left, right) = Bell::pair();
        let own = left.clone();
        let (mut sender, mut receiver) = ring(left, right);
        let peer = thread::spawn(move || {
            for number in 0..COUNT {
                while sender.try_send(number.into(), &[number; 9]) == Err(SendError::Full) {
                    if !sender.arm(9) {
                        own.wait();
                    }
                    sender.disarm();
                }
                sender.flush().expect("the receiver waits for it");
            }
        });
        let mut buffer = [0; 16];
        for number in 0..COUNT {
            let received = receiver.receive(&mut buffer).expect("an honest peer");
            expect(received, &buffer, number);
        }
        peer.join().expect("the sender ended");
    });
}

/// A signal line of a core and the notification that it is bound to: masked from a signal to the
/// acknowledgement, with one bit for the signals that come meanwhile.
#[derive(Default)]
struct SignalLine {
    state: Mutex<LineState>,
    signalled: Condvar,
}

#[derive(Default)]
struct LineState {
    masked: bool,
    pending: bool,
    notified: bool,
}

impl SignalLine {
    fn signal(&self) {
        let mut state = self.state.lock().expect("no thread panicked");
        if state.masked {
            state.pending = true;
        } else {
            (state.masked, state.notified) = (true, true);
            self.signalled.notify_one();
        }
    }

    /// Two steps, as a program takes them: signals may come between them.
    fn wait_and_acknowledge(&self) {
        let mut state = self.state.lock().expect("no thread panicked");
        while !state.notified {
            state = self.signalled.wait(state).expect("no thread panicked");
        }
        state.notified = false;
        drop(state);
        let mut state = self.state.lock().expect("no thread panicked");
        let pending = core::mem::take(&mut state.pending);
        (state.masked, state.notified) = (pending, pending);
    }
}

/// Wakes the peer by its line, waits for the own.
#[derive(Clone)]
struct LineBell {
    own: Arc<SignalLine>,
    peer: Arc<SignalLine>,
}

impl LineBell {
    fn pair() -> (Self, Self) {
        let (own, peer) = (Arc::new(SignalLine::default()), Arc::new(SignalLine::default()));
        (Self { own: Arc::clone(&own), peer: Arc::clone(&peer) }, Self { own: peer, peer: own })
    }
}

impl Doorbell for LineBell {
    fn signal(&self) {
        self.peer.signal();
    }

    fn wait(&self) {
        self.own.wait_and_acknowledge();
    }
}

#[test]
fn no_wake_up_is_lost_between_signal_and_acknowledgement() {
    check_wake_ups(LineBell::pair);
}

/// What a server does: arms all of its rings, sleeps if none has anything, looks at all of them.
#[test]
fn one_line_wakes_for_every_ring() {
    check_servers(|receivers| receivers.iter_mut().for_each(Receiver::disarm));
}

/// The same, where only what is taken ends a ring's arming.
#[test]
fn rings_that_stay_armed_wake_again() {
    check_servers(|_| {});
}

fn check_servers(awake: impl Fn(&mut [Receiver<Memory, LineBell>]) + Sync + Send + 'static) {
    check(2, move || {
        let server = Arc::new(SignalLine::default());
        let client = || LineBell { own: Arc::default(), peer: Arc::clone(&server) };
        let serves = || LineBell { own: Arc::clone(&server), peer: Arc::default() };
        let pairs = [ring(client(), serves()), ring(client(), serves())];
        let [(first, mine), (second, yours)] = pairs;
        let peers = [first, second].map(|mut sender| {
            thread::spawn(move || {
                sender.try_send(1, &[1; 9]).expect("room");
                // Its end wakes.
            })
        });
        let (mut receivers, mut next) = ([mine, yours], [1_u8; 2]);
        let mut buffer = [0; 16];
        while next != [2; 2] {
            // A ring that has come to its end is looked at no more, as a server drops it.
            let open = receivers.iter_mut().filter(|receiver| !receiver.is_closed());
            if open.map(|receiver| receiver.arm()).filter(|news| *news).count() == 0 {
                server.wait_and_acknowledge();
            }
            awake(&mut receivers);
            for (receiver, next) in receivers.iter_mut().zip(&mut next) {
                while receiver.try_receive(&mut buffer).expect("an honest peer").is_some() {
                    assert_eq!(buffer[..9], [*next; 9]);
                    *next += 1;
                }
            }
        }
        peers.into_iter().for_each(|peer| peer.join().expect("the sender ended"));
    });
}
