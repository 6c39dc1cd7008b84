//! Sends back what comes, over TCP and UDP at once: for tests, and for measuring.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod measured;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt;
use core::future::{pending, poll_fn};
use core::net::SocketAddr;
use core::task::Poll;

use libd3os::call::Transport;
use libd3os::net::{SocketError, Stack, TcpListener, TcpStream, UdpSocket};
use libd3os::task::{Either, Tasks, select};

pub use measured::serve_measured;

/// The port without an argument: the echo protocol's (RFC 862).
pub const DEFAULT_PORT: u16 = 7;
/// Connections that may wait to be accepted.
const BACKLOG: u8 = 4;
/// Bytes that are sent back at a time.
const CHUNK: usize = 4096;

/// The arguments make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage;

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("usage: serve [PORT | --measured]")
    }
}

impl core::error::Error for Usage {}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Send back what comes at this port.
    Echo(u16),
    /// Be measured.
    Measured,
}

/// What the arguments ask for.
///
/// # Errors
/// [`Usage`].
pub fn task(arguments: &[String]) -> Result<Task, Usage> {
    match arguments {
        [] => Ok(Task::Echo(DEFAULT_PORT)),
        [option] if option == "--measured" => Ok(Task::Measured),
        [port] => port.parse().ok().filter(|port| *port > 0).map(Task::Echo).ok_or(Usage),
        _ => Err(Usage),
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It takes connections and datagrams.
    Serves(u16),
    /// This connection began.
    Began(SocketAddr),
    /// It has ended after so many bytes.
    Ended(SocketAddr, u64),
    /// It has failed.
    Failed(SocketAddr, SocketError),
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serves(port) => write!(f, "serving at port {port}, TCP and UDP"),
            Self::Began(peer) => write!(f, "{peer} connected"),
            Self::Ended(peer, bytes) => write!(f, "{peer} ended after {bytes} bytes"),
            Self::Failed(peer, error) => write!(f, "{peer}: {error}"),
        }
    }
}

/// Serves until the network fails.
///
/// # Errors
/// [`SocketError`].
pub async fn serve<T: Transport>(
    stack: &Stack<T>,
    port: u16,
    tell: &dyn Fn(News),
) -> Result<Infallible, SocketError> {
    let listener = stack.listen(port, BACKLOG).await?;
    let socket = stack.bind(port).await?;
    tell(News::Serves(port));
    let streams = RefCell::new(Tasks::default());
    let both = select(accept(&listener, &streams, tell), echo_datagrams(socket));
    match select(both, run_all(&streams)).await {
        Either::First(Either::First(failed) | Either::Second(failed)) => failed,
        Either::Second(never) => match never {},
    }
}

/// Accepts connections and has each served.
async fn accept<'a, T: Transport + 'a>(
    listener: &TcpListener<T>,
    streams: &RefCell<Tasks<'a>>,
    tell: &'a dyn Fn(News),
) -> Result<Infallible, SocketError> {
    loop {
        let stream = listener.accept().await?;
        tell(News::Began(stream.peer()));
        streams.borrow_mut().add(echo_stream(stream, tell));
    }
}

/// Lets all connections go on, for ever.
async fn run_all(streams: &RefCell<Tasks<'_>>) -> Infallible {
    poll_fn(|context| {
        streams.borrow_mut().poll(context);
        Poll::<()>::Pending
    })
    .await;
    pending().await
}

async fn echo_stream<T: Transport>(mut stream: TcpStream<T>, tell: &dyn Fn(News)) {
    let peer = stream.peer();
    match echo(&mut stream).await {
        Ok(bytes) => tell(News::Ended(peer, bytes)),
        Err(error) => tell(News::Failed(peer, error)),
    }
}

async fn echo<T: Transport>(stream: &mut TcpStream<T>) -> Result<u64, SocketError> {
    let mut buffer: Box<[u8]> = vec![0; CHUNK].into();
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(bytes),
            count => {
                stream.write_all(buffer.get(..count).unwrap_or(&[])).await?;
                bytes += count as u64;
            }
        }
    }
}

async fn echo_datagrams<T: Transport>(mut socket: UdpSocket<T>) -> Result<Infallible, SocketError> {
    let mut buffer: Box<[u8]> = vec![0; socket.longest()].into();
    loop {
        let (count, from) = socket.receive_from(&mut buffer).await?;
        socket.send_to(buffer.get(..count).unwrap_or(&[]), from).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |words: &[&str]| {
            task(&words.iter().map(|word| String::from(*word)).collect::<alloc::vec::Vec<_>>())
        };
        assert_eq!((parse(&[]), parse(&["80"])), (Ok(Task::Echo(7)), Ok(Task::Echo(80))));
        assert_eq!(parse(&["--measured"]), Ok(Task::Measured));
        for wrong in [&["0"][..], &["x"], &["65536"], &["1", "2"]] {
            assert_eq!(parse(wrong), Err(Usage));
        }
    }
}
