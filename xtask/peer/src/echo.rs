//! The servers that are measured: UDP echo, TCP discard, TCP character generator.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;

use libd3os::mark::{Laps, Phase, io as plan, mark};

/// Serves until it is told to end the measurement.
///
/// # Errors
/// A socket fails.
pub(crate) fn serve() -> io::Result<Infallible> {
    let discard = TcpListener::bind((Ipv4Addr::UNSPECIFIED, plan::DISCARD_PORT))?;
    let generator = TcpListener::bind((Ipv4Addr::UNSPECIFIED, plan::GENERATOR_PORT))?;
    thread::spawn(move || streams(&discard, swallow));
    thread::spawn(move || streams(&generator, generate));
    echo(&UdpSocket::bind((Ipv4Addr::UNSPECIFIED, plan::ECHO_PORT))?)
}

fn echo(socket: &UdpSocket) -> io::Result<Infallible> {
    let mut laps = Laps::new(plan::ECHOES);
    let mut buffer = [0; 2048];
    loop {
        let (length, sender) = socket.recv_from(&mut buffer)?;
        match buffer.get(..length) {
            Some(plan::BEGIN) => laps = Laps::new(plan::ECHOES),
            Some(plan::END) => mark(Phase::Measured),
            _ => laps.pass(1),
        }
        socket.send_to(&buffer[..length], sender)?;
    }
}

fn streams(listener: &TcpListener, serve: fn(std::net::TcpStream) -> io::Result<()>) {
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(serve) {
            eprintln!("linux-peer: {error}");
        }
    }
}

fn swallow(mut stream: std::net::TcpStream) -> io::Result<()> {
    let mut laps = Laps::new(plan::BYTES);
    let mut buffer = vec![0; plan::STREAM_BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => laps.pass(length as u64),
        }
    }
}

fn generate(mut stream: std::net::TcpStream) -> io::Result<()> {
    let mut laps = Laps::new(plan::BYTES);
    let buffer = vec![b'd'; plan::STREAM_BUFFER];
    while !laps.is_over() {
        let length = stream.write(&buffer)?;
        laps.pass(length as u64);
    }
    Ok(())
}
