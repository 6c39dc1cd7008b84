//! The network, with QEMU's user network at the other end and this program as the peer.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::lab::Lab;
use super::session::{Session, SessionError};
use super::{Case, Outcome, contains, unexpected};
use crate::vm::{Forward, Machine, Network, NicChoice};

/// Real time for an answer. Emulation on a loaded host is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// The echo server's port in the machine.
const GUEST: u16 = 7;

pub(crate) fn cases() -> Vec<Case> {
    [(NicChoice::Virtio, "virtio-net"), (NicChoice::E1000e, "e1000e")]
        .into_iter()
        .flat_map(|(nic, driver)| {
            [
                Case::new(format!("net::{driver}_gets_an_address_and_pings"), move |lab| {
                    pings(lab, nic, driver)
                }),
                Case::new(format!("net::{driver}_carries_echoes"), move |lab| echoes(lab, nic)),
            ]
        })
        .collect()
}

fn machine(lab: &Lab<'_>, nic: NicChoice, forwards: Vec<Forward>) -> Machine {
    let mut machine = lab.machine();
    machine.network = Network { forwards, ..Network::new(nic) };
    machine
}

/// An address by DHCP, the router's answer, and the same again after the driver was killed.
fn pings(lab: &Lab<'_>, nic: NicChoice, driver: &str) -> Outcome {
    let mut session = Session::at_prompt(&machine(lab, nic, Vec::new()))?;
    contains(&session.run("ping -n 2 10.0.2.2")?, &["2 sent, 2 answered, 0 % lost"])?;
    contains(&session.run("net")?, &[&format!("{driver}: up"), "10.0.2.15/24 (DHCP)", "10.0.2.3"])?;
    contains(&session.run(&format!("kill {driver}"))?, &["was ended"])?;
    contains(&session.run("ping -n 3 10.0.2.2")?, &[" answered", "ms on average"])?;
    contains(&session.run("net")?, &["1 restart", "10.0.2.15/24 (DHCP)"])
}

/// Echoes over TCP and UDP, with this program as the one that asks.
fn echoes(lab: &Lab<'_>, nic: NicChoice) -> Outcome {
    let host = free_port().map_err(SessionError::from)?;
    let forward = Forward { host, guest: GUEST };
    let mut session = Session::at_prompt(&machine(lab, nic, vec![forward]))?;
    contains(&session.run("ping -n 1 10.0.2.2")?, &["1 answered"])?;
    session.keys("serve &\r")?;
    session.text(&format!("serving at port {GUEST}"))?;
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, host));
    stream(peer, 200_000).map_err(|error| unexpected(format!("TCP: {error}"), ""))?;
    datagrams(peer).map_err(|error| unexpected(format!("UDP: {error}"), ""))
}

/// Sends so many bytes and reads them back.
fn stream(peer: SocketAddr, length: u32) -> io::Result<()> {
    let mut stream = TcpStream::connect(peer)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let sent: Vec<u8> =
        (0..length).flat_map(|number| number.to_le_bytes().into_iter().take(1)).collect();
    let mut writer = stream.try_clone()?;
    let bytes = sent.clone();
    let writes = std::thread::spawn(move || {
        writer.write_all(&bytes)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got)?;
    writes.join().map_err(|_| io::Error::other("the writer panicked"))??;
    match got == sent {
        true => Ok(()),
        false => Err(io::Error::other(format!("{} of {length} bytes came back", got.len()))),
    }
}

/// Datagrams of several lengths come back. One may be lost on the way, so it is sent again.
fn datagrams(peer: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(peer)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    for length in [1, 64, 1400] {
        let sent = vec![b'x'; length];
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 2000];
        loop {
            socket.send(&sent)?;
            match socket.recv(&mut buffer) {
                Ok(count) if buffer[..count] == sent[..] => break,
                Err(error) if Instant::now() >= end => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// A port of this host that nobody uses at present.
fn free_port() -> io::Result<u16> {
    free_ports().map(|[port]| port)
}

/// Different ports of this host that nobody uses at present.
pub(super) fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    // All are held at the same time, so none is given out twice.
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
