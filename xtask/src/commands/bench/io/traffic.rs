//! The host's side of the measured traffic, through QEMU's user network.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use libd3os::mark::io::{
    BEGIN, BYTES, DISCARD_PORT, ECHO_PORT, ECHOES, END, GENERATOR_PORT, STREAM_BUFFER,
};

use crate::vm::Forward;

/// How long a datagram may be under way before it counts as lost.
const LOST: Duration = Duration::from_secs(2);
/// How long an answer to a command is waited for, and how often a guest is asked that may not run
/// yet: it is under way at any time then, so that a driver that starts has its first frame at once.
const ANSWER: Duration = Duration::from_millis(200);
const KNOCK: Duration = Duration::from_millis(10);
/// How long the guest may take to boot, or to answer at all; counting makes emulation slow.
const PATIENCE: Duration = Duration::from_secs(300);

/// The ports of the guest's servers, as this host reaches them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    echo: u16,
    discard: u16,
    generator: u16,
}

impl Ports {
    /// Ports that nobody uses now.
    pub(super) fn free() -> io::Result<Self> {
        // All are held until all are chosen, so that they differ.
        let held: io::Result<Vec<TcpListener>> =
            (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
        let held = held?;
        let port = |index: usize| held[index].local_addr().map(|address| address.port());
        Ok(Self { echo: port(0)?, discard: port(1)?, generator: port(2)? })
    }

    /// Where they lead.
    pub(super) fn forwards(self) -> Vec<Forward> {
        let Self { echo, discard, generator } = self;
        let leads = [(echo, ECHO_PORT), (discard, DISCARD_PORT), (generator, GENERATOR_PORT)];
        leads.into_iter().map(|(host, guest)| Forward { host, guest }).collect()
    }
}

/// Traffic between this host and one guest.
pub(super) struct Traffic {
    ports: Ports,
    socket: UdpSocket,
}

impl Traffic {
    /// Waits until the guest echoes.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn with(ports: Ports) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(local(ports.echo))?;
        let traffic = Self { ports, socket };
        traffic.command(BEGIN, KNOCK)?;
        Ok(traffic)
    }

    /// Has the guest echo a measurement's datagrams of so many bytes, so many under way at a time.
    /// Returns how many were lost.
    pub(super) fn echo(&self, bytes: usize, window: u64) -> io::Result<u64> {
        self.command(BEGIN, ANSWER)?;
        self.socket.set_read_timeout(Some(LOST))?;
        let datagram = vec![b'd'; bytes];
        let mut buffer = vec![0; bytes + 1];
        let (mut sent, mut back, mut lost) = (0, 0, 0);
        while back + lost < ECHOES.total() {
            while sent < ECHOES.total() && sent - back - lost < window {
                self.socket.send(&datagram)?;
                sent += 1;
            }
            match self.socket.recv(&mut buffer) {
                Ok(length) if length == bytes => back += 1,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => lost = sent - back,
                Err(error) => return Err(error),
            }
        }
        Ok(lost)
    }

    /// Sends the guest a stream.
    pub(super) fn send_stream(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(local(self.ports.discard))?;
        let buffer = vec![b'd'; STREAM_BUFFER];
        let mut left = usize::try_from(BYTES.total()).unwrap_or(usize::MAX);
        while left > 0 {
            left -= stream.write(&buffer[..left.min(STREAM_BUFFER)])?;
        }
        stream.shutdown(std::net::Shutdown::Write)?;
        // The guest closes when it has read all.
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// Receives one from it. Returns its bytes.
    pub(super) fn receive_stream(&self) -> io::Result<u64> {
        let mut stream = TcpStream::connect(local(self.ports.generator))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        io::copy(&mut stream, &mut io::sink())
    }

    /// Ends the measurement, and with it the machine.
    pub(super) fn end(&self) -> io::Result<()> {
        self.socket.send(END).map(drop)
    }

    /// Sends a command, so often, until it is echoed.
    fn command(&self, command: &[u8], interval: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(interval))?;
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 2048];
        loop {
            // A port behind which nobody listens yet may refuse.
            let _refused = self.socket.send(command);
            match self.socket.recv(&mut buffer) {
                Ok(length) if &buffer[..length] == command => return self.drain(),
                // An echo of before.
                Ok(_) => {}
                Err(error) if Instant::now() > end => return Err(error),
                Err(error) if is_timeout(&error) || is_refused(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what is still under way: commands that were sent again.
    fn drain(&self) -> io::Result<()> {
        self.socket.set_read_timeout(Some(ANSWER))?;
        let mut buffer = [0; 2048];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(_) => {}
                Err(error) if is_timeout(&error) || is_refused(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}
