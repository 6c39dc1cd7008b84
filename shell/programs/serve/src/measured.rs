//! What `cargo xtask bench io` measures: the same servers that its Linux guest runs, with the marks
//! between which instructions are counted.

use alloc::boxed::Box;
use alloc::vec;
use core::convert::Infallible;

use libd3os::call::Transport;
use libd3os::mark::{Laps, Phase, io as plan, mark};
use libd3os::net::{SocketError, Stack, TcpListener, TcpStream, UdpSocket};
use libd3os::task::{Either, select};

/// The host opens one connection at a time.
const BACKLOG: u8 = 1;

/// Serves until the network fails.
///
/// # Errors
/// [`SocketError`].
pub async fn serve_measured<T: Transport>(stack: &Stack<T>) -> Result<Infallible, SocketError> {
    let discard = stack.listen(plan::DISCARD_PORT, BACKLOG).await?;
    let generator = stack.listen(plan::GENERATOR_PORT, BACKLOG).await?;
    let socket = stack.bind(plan::ECHO_PORT).await?;
    let streams = select(swallow_all(&discard), generate_all(&generator));
    match select(echo(socket), streams).await {
        Either::First(failed) | Either::Second(Either::First(failed) | Either::Second(failed)) => {
            failed
        }
    }
}

async fn echo<T: Transport>(mut socket: UdpSocket<T>) -> Result<Infallible, SocketError> {
    let mut laps = Laps::new(plan::ECHOES);
    let mut buffer: Box<[u8]> = vec![0; socket.longest()].into();
    loop {
        let (count, from) = socket.receive_from(&mut buffer).await?;
        let datagram = buffer.get(..count).unwrap_or(&[]);
        match datagram {
            plan::BEGIN => laps = Laps::new(plan::ECHOES),
            plan::END => mark(Phase::Measured),
            _ => laps.pass(1),
        }
        socket.send_to(datagram, from).await?;
    }
}

async fn swallow_all<T: Transport>(listener: &TcpListener<T>) -> Result<Infallible, SocketError> {
    loop {
        // A connection that fails is the host's loss: it sees fewer marks.
        let _failed = swallow(listener.accept().await?).await;
    }
}

async fn swallow<T: Transport>(mut stream: TcpStream<T>) -> Result<(), SocketError> {
    let mut laps = Laps::new(plan::BYTES);
    let mut buffer: Box<[u8]> = vec![0; plan::STREAM_BUFFER].into();
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => laps.pass(count as u64),
        }
    }
}

async fn generate_all<T: Transport>(listener: &TcpListener<T>) -> Result<Infallible, SocketError> {
    loop {
        // As above.
        let _failed = generate(listener.accept().await?).await;
    }
}

async fn generate<T: Transport>(mut stream: TcpStream<T>) -> Result<(), SocketError> {
    let mut laps = Laps::new(plan::BYTES);
    let buffer: Box<[u8]> = vec![b'd'; plan::STREAM_BUFFER].into();
    while !laps.is_over() {
        stream.write_all(&buffer).await?;
        laps.pass(buffer.len() as u64);
    }
    Ok(())
}
