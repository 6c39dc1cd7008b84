//! Traffic that goes on by itself: threads that talk to the machine's echo server all the time, check
//! every byte that comes back, and begin anew where a connection breaks.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Datagrams that are on their way at a time.
const WINDOW: u64 = 4;
/// Bytes of a datagram.
const DATAGRAM: usize = 1024;
/// Bytes that a connection has on its way at a time.
const PIECE: usize = 4096;
/// After this time a datagram counts as lost.
const LOST: Duration = Duration::from_millis(200);
/// After this time a connection counts as broken: what one side has sent and the other's server has
/// taken with it, nobody sends again.
const BROKEN: Duration = Duration::from_secs(3);
/// Before a connection is tried again, and between two looks at what threads have counted.
const PAUSE: Duration = Duration::from_millis(20);

/// What two threads, or three, are busy with until it is dropped.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    flows: Vec<Flow>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
}

struct Flow {
    name: String,
    count: Arc<Count>,
    thread: Option<JoinHandle<()>>,
}

/// What came back on a flow.
#[derive(Default)]
struct Count {
    good: AtomicU64,
    /// Bytes that are not those that were sent.
    bad: AtomicU64,
}

impl Traffic {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), flows: Vec::new() }
    }

    /// Sends datagrams to an echo server.
    pub(crate) fn datagrams(&mut self, name: &str, peer: SocketAddr) {
        self.begin(format!("UDP by {name}"), move |shared, count| {
            // A socket that cannot be opened echoes nothing, and that is found.
            let _failed = datagrams(peer, shared, count);
        });
    }

    /// Keeps a connection to an echo server busy.
    pub(crate) fn stream(&mut self, name: &str, peer: SocketAddr) {
        self.begin(format!("TCP by {name}"), move |shared, count| {
            while !shared.is_over() {
                // One that breaks is made anew.
                let _broken = stream(peer, shared, count);
                thread::sleep(PAUSE);
            }
        });
    }

    fn begin(&mut self, name: String, work: impl FnOnce(&Shared, &Count) + Send + 'static) {
        let (shared, count) = (Arc::clone(&self.shared), Arc::<Count>::default());
        let theirs = Arc::clone(&count);
        let thread = thread::spawn(move || work(&shared, &theirs));
        self.flows.push(Flow { name, count, thread: Some(thread) });
    }

    /// Waits until more has come back on each flow, and all of it was right.
    ///
    /// # Errors
    /// The flow on which nothing did in this time, or something else did.
    pub(crate) fn goes_on(&self, patience: Duration) -> Result<(), String> {
        let before: Vec<u64> = self.flows.iter().map(|flow| flow.count.good()).collect();
        let end = Instant::now() + patience;
        for (flow, before) in self.flows.iter().zip(before) {
            while flow.count.good() == before {
                if Instant::now() >= end {
                    return Err(format!("{}: nothing comes back", flow.name));
                }
                thread::sleep(PAUSE);
            }
            match flow.count.bad.load(Ordering::Relaxed) {
                0 => {}
                bad => return Err(format!("{}: {bad} pieces came back changed", flow.name)),
            }
        }
        Ok(())
    }

    /// How much has come back, in words.
    pub(crate) fn words(&self) -> String {
        let words = |flow: &Flow| format!("{} {}", flow.count.good(), flow.name);
        self.flows.iter().map(words).collect::<Vec<_>>().join(", ")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.flows.iter_mut().filter_map(|flow| flow.thread.take()) {
            // It panics nowhere; if it did, its flow would have stood still.
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Count {
    fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    fn note(&self, is_good: bool) {
        let counter = if is_good { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn datagrams(peer: SocketAddr, shared: &Shared, count: &Count) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(peer)?;
    socket.set_read_timeout(Some(LOST))?;
    let mut next = 0;
    while !shared.is_over() {
        for number in next..next + WINDOW {
            // A refusal is one of an earlier datagram: nobody was there.
            let _refused = socket.send(&bytes(number, DATAGRAM));
        }
        next += WINDOW;
        let mut buffer = [0; DATAGRAM + 1];
        for _ in 0..WINDOW {
            match socket.recv(&mut buffer) {
                Ok(length) => count.note(is_sent(&buffer[..length])),
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// Whether a datagram is one of those that were sent.
fn is_sent(datagram: &[u8]) -> bool {
    let number = datagram.first_chunk::<8>().map(|number| u64::from_le_bytes(*number));
    number.is_some_and(|number| datagram == bytes(number, DATAGRAM))
}

fn stream(peer: SocketAddr, shared: &Shared, count: &Count) -> io::Result<()> {
    let mut stream = TcpStream::connect(peer)?;
    stream.set_read_timeout(Some(BROKEN))?;
    stream.set_write_timeout(Some(BROKEN))?;
    for number in 0.. {
        if shared.is_over() {
            break;
        }
        let sent = bytes(number, PIECE);
        stream.write_all(&sent)?;
        let mut got = vec![0; PIECE];
        stream.read_exact(&mut got)?;
        count.note(got == sent);
    }
    Ok(())
}

/// So many bytes, which the number at their beginning tells.
fn bytes(number: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    number
        .to_le_bytes()
        .into_iter()
        .chain(std::iter::repeat_with(|| random.u8(..)))
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_known_again() {
        let datagram = bytes(7, DATAGRAM);
        assert!(is_sent(&datagram) && !is_sent(&datagram[..DATAGRAM - 1]) && !is_sent(&[]));
        let mut changed = datagram.clone();
        changed[DATAGRAM - 1] ^= 1;
        assert!(!is_sent(&changed));
    }

    /// Answers one datagram after the other, until it is sent an empty one.
    fn echo(socket: &UdpSocket) {
        let mut buffer = [0; 2 * DATAGRAM];
        while let Ok((length @ 1.., from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from).expect("an answer");
        }
    }

    #[test]
    fn what_comes_back_is_counted() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let peer = server.local_addr().expect("an address");
        let echo = thread::spawn(move || echo(&server));
        let mut traffic = Traffic::new();
        traffic.datagrams("loopback", peer);
        traffic.goes_on(Duration::from_secs(60)).expect("echoes");
        drop(traffic);
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(&[], peer))
            .expect("the end");
        echo.join().expect("the echo server");
    }

    #[test]
    fn a_flow_that_stands_still_is_found() {
        let mut traffic = Traffic::new();
        traffic.begin("nobody".into(), |_, _| {});
        assert_eq!(traffic.goes_on(Duration::ZERO), Err("nobody: nothing comes back".into()));
    }
}
