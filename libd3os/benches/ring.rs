//! Messages of one cache line between two cores: libd3os's ring, rtrb, crossbeam-channel.
//!
//! Every queue carries the same 56 bytes, holds [`CAPACITY`] messages, and is polled by both
//! sides; crossbeam's and rtrb's are measured with the message as it is and aligned to a cache
//! line. Repetitions are short and take turns, so that what else the machine does meets all alike.
//!
//! Prints a line per mode and queue: mode, queue, median and lower quartile in nanoseconds per
//! message, separated by tabs. `cargo xtask bench ring` runs this and makes a table.

use std::env;
use std::hint::{black_box, spin_loop};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libd3os::ring::{CONTROL_LINES, Line, Polling, Receiver, Sender};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Messages that a queue holds.
const CAPACITY: usize = 256;

/// Round trips that are measured in a repetition: some 200 microseconds, so that many a
/// repetition is disturbed by nothing else.
const ROUND_TRIPS: u64 = 500;

/// Messages that are measured in a streaming repetition.
const STREAMED: u64 = 10_000;

/// Messages before those: once around the queue, and again for the processor to learn.
const WARM_UP: u64 = 2 * CAPACITY as u64;

const DEFAULT_REPETITIONS: usize = 400;

/// Looks at a queue after which the other thread is thought to have lost its core; this one then
/// lets others run.
const LOOKS_BEFORE_YIELD: u32 = 10_000;

/// Bytes of a message.
const BYTES: usize = 56;

type Message = [u8; BYTES];

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Aligned(Message);

/// One end of a queue, or both ends' type: each thread has one that sends and one that receives.
trait Queue {
    type Sender: Send;
    type Receiver: Send;
    fn new() -> (Self::Sender, Self::Receiver);
    fn try_send(sender: &mut Self::Sender, message: &Message) -> bool;
    fn try_receive(receiver: &mut Self::Receiver, message: &mut Message) -> bool;
}

struct Ours;

impl Queue for Ours {
    type Sender = Sender<Arc<[Line]>, Polling>;
    type Receiver = Receiver<Arc<[Line]>, Polling>;

    fn new() -> (Self::Sender, Self::Receiver) {
        let memory: Arc<[Line]> = (0..CONTROL_LINES + CAPACITY).map(|_| Line::default()).collect();
        let sender = Sender::new(Arc::clone(&memory), Polling).expect("large enough");
        (sender, Receiver::new(memory, Polling).expect("large enough"))
    }

    #[inline]
    fn try_send(sender: &mut Self::Sender, message: &Message) -> bool {
        sender.try_send(0, message).is_ok()
    }

    #[inline]
    fn try_receive(receiver: &mut Self::Receiver, message: &mut Message) -> bool {
        let received = receiver.try_receive(message).expect("an honest peer");
        received.is_some_and(|received| received.length == BYTES)
    }
}

/// Declares a queue of messages as they are and one of aligned messages, from their operations.
macro_rules! foreign {
    ($plain:ident, $aligned:ident, $new:expr, $tx:ident, $rx:ident, $send:ident, $receive:ident) => {
        foreign!(@one $plain, Message, |m| m, |m| m, $new, $tx, $rx, $send, $receive);
        foreign!(@one $aligned, Aligned, Aligned, |m: Aligned| m.0, $new, $tx, $rx, $send, $receive);
    };
    (@one $queue:ident, $item:ty, $wrap:expr, $unwrap:expr, $new:expr, $tx:ident, $rx:ident,
     $send:ident, $receive:ident) => {
        struct $queue;

        impl Queue for $queue {
            type Sender = $tx<$item>;
            type Receiver = $rx<$item>;

            fn new() -> (Self::Sender, Self::Receiver) {
                $new(CAPACITY)
            }

            #[inline]
            fn try_send(sender: &mut Self::Sender, message: &Message) -> bool {
                sender.$send($wrap(*message)).is_ok()
            }

            #[inline]
            fn try_receive(receiver: &mut Self::Receiver, message: &mut Message) -> bool {
                receiver.$receive().is_ok_and(|received| {
                    *message = $unwrap(received);
                    true
                })
            }
        }
    };
}

use crossbeam_channel::{Receiver as CrossbeamReceiver, Sender as CrossbeamSender};
use rtrb::{Consumer, Producer, RingBuffer};

foreign!(Rtrb, RtrbAligned, RingBuffer::new, Producer, Consumer, push, pop);
foreign!(
    Crossbeam,
    CrossbeamAligned,
    crossbeam_channel::bounded,
    CrossbeamSender,
    CrossbeamReceiver,
    try_send,
    try_recv
);

fn poll(mut done: impl FnMut() -> bool) {
    while !(0..LOOKS_BEFORE_YIELD).any(|_| done() || pause()) {
        thread::yield_now();
    }
}

#[inline]
fn pause() -> bool {
    spin_loop();
    false
}

fn send<Q: Queue>(sender: &mut Q::Sender, message: &Message) {
    poll(|| Q::try_send(sender, message));
}

fn receive<Q: Queue>(receiver: &mut Q::Receiver, message: &mut Message) {
    poll(|| Q::try_receive(receiver, message));
}

/// The number in the first bytes, and the same at the end: so that all of a line must arrive.
fn message(number: u64) -> Message {
    let mut message = [0; BYTES];
    message[..8].copy_from_slice(&number.to_le_bytes());
    message[BYTES - 8..].copy_from_slice(&number.to_le_bytes());
    message
}

fn check(received: &Message, number: u64) {
    let received = black_box(received);
    assert_eq!(received[..8], number.to_le_bytes());
    assert_eq!(received[BYTES - 8..], number.to_le_bytes());
}

/// Two cores that this process may use.
#[derive(Clone, Copy)]
struct Cores {
    leader: usize,
    follower: usize,
}

impl Cores {
    fn find() -> Option<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
        Some(Self { leader: cores.next()?, follower: cores.next()? })
    }
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    pinned.expect("the core is one of those that this process may use");
}

/// Runs `lead` here and `follow` on the other core; returns what `lead` does.
fn together<R>(cores: Cores, lead: impl FnOnce() -> R, follow: impl FnOnce() + Send) -> R {
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(cores.follower);
            ready.store(true, Ordering::Release);
            follow();
        });
        while !ready.load(Ordering::Acquire) {
            // The other thread begins on this core.
            thread::yield_now();
        }
        lead()
    })
}

/// Nanoseconds per message, back and forth. Each end of a queue lies on its own thread's stack:
/// beside each other, their caches' lines would go back and forth as well.
fn ping_pong<Q: Queue>(cores: Cores) -> f64 {
    let (mut there, mut at_peer) = Q::new();
    let (mut from_peer, mut back) = Q::new();
    let lead = move || {
        let mut received = [0; BYTES];
        let mut round_trips = |numbers: Range<u64>| {
            for number in numbers {
                send::<Q>(&mut there, &message(number));
                receive::<Q>(&mut back, &mut received);
                check(&received, number);
            }
        };
        round_trips(0..WARM_UP);
        let start = Instant::now();
        round_trips(0..ROUND_TRIPS);
        start.elapsed()
    };
    let follow = move || {
        let mut received = [0; BYTES];
        for _ in 0..WARM_UP + ROUND_TRIPS {
            receive::<Q>(&mut at_peer, &mut received);
            send::<Q>(&mut from_peer, &received);
        }
    };
    // A round trip is two messages.
    per_message(together(cores, lead, follow), 2 * ROUND_TRIPS)
}

/// Nanoseconds per message from the first that is sent until the last has been received.
fn streaming<Q: Queue>(cores: Cores) -> f64 {
    let (mut sender, mut receiver) = Q::new();
    let done = &AtomicBool::new(false);
    let lead = move || {
        (0..WARM_UP).for_each(|number| send::<Q>(&mut sender, &message(number)));
        let start = Instant::now();
        (0..STREAMED).for_each(|number| send::<Q>(&mut sender, &message(number)));
        poll(|| done.load(Ordering::Acquire));
        start.elapsed()
    };
    let follow = move || {
        let mut received = [0; BYTES];
        for number in (0..WARM_UP).chain(0..STREAMED) {
            receive::<Q>(&mut receiver, &mut received);
            check(&received, number);
        }
        done.store(true, Ordering::Release);
    };
    per_message(together(cores, lead, follow), STREAMED)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn per_message(elapsed: Duration, messages: u64) -> f64 {
    elapsed.as_nanos() as f64 / messages as f64
}

/// What is measured, of which queue.
struct Subject {
    mode: &'static str,
    queue: &'static str,
    run: fn(Cores) -> f64,
}

const SUBJECTS: [Subject; 10] = [
    Subject { mode: "ping-pong", queue: "libd3os", run: ping_pong::<Ours> },
    Subject { mode: "ping-pong", queue: "rtrb", run: ping_pong::<Rtrb> },
    Subject { mode: "ping-pong", queue: "rtrb, aligned", run: ping_pong::<RtrbAligned> },
    Subject { mode: "ping-pong", queue: "crossbeam-channel", run: ping_pong::<Crossbeam> },
    Subject {
        mode: "ping-pong",
        queue: "crossbeam-channel, aligned",
        run: ping_pong::<CrossbeamAligned>,
    },
    Subject { mode: "streaming", queue: "libd3os", run: streaming::<Ours> },
    Subject { mode: "streaming", queue: "rtrb", run: streaming::<Rtrb> },
    Subject { mode: "streaming", queue: "rtrb, aligned", run: streaming::<RtrbAligned> },
    Subject { mode: "streaming", queue: "crossbeam-channel", run: streaming::<Crossbeam> },
    Subject {
        mode: "streaming",
        queue: "crossbeam-channel, aligned",
        run: streaming::<CrossbeamAligned>,
    },
];

/// Repetitions: the argument that is a number, if there is one.
fn repetitions() -> usize {
    let given = env::args().skip(1).find_map(|argument| argument.parse().ok());
    given.unwrap_or(DEFAULT_REPETITIONS).max(1)
}

fn main() {
    let Some(cores) = Cores::find() else {
        eprintln!("this takes two cores");
        return;
    };
    pin(cores.leader);
    let mut samples = SUBJECTS.map(|_| Vec::new());
    for _ in 0..repetitions() {
        for (subject, samples) in SUBJECTS.iter().zip(&mut samples) {
            samples.push((subject.run)(cores));
        }
    }
    for (Subject { mode, queue, .. }, samples) in SUBJECTS.iter().zip(&mut samples) {
        samples.sort_by(f64::total_cmp);
        let (median, quartile) = (samples[samples.len() / 2], samples[samples.len() / 4]);
        println!("{mode}\t{queue}\t{median:.2}\t{quartile:.2}");
    }
}
