//! The guest's network card: its address, and up.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Gives the first card this address in a network of 24 bits, and waits until it has a link.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn bring_up(address: Ipv4Addr) -> io::Result<()> {
    let name = card()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut request = request(&name);
    request.ifr_ifru.ifru_addr = internet(address);
    control(&socket, libc::SIOCSIFADDR, &mut request)?;
    request.ifr_ifru.ifru_addr = internet(Ipv4Addr::new(255, 255, 255, 0));
    control(&socket, libc::SIOCSIFNETMASK, &mut request)?;
    request.ifr_ifru.ifru_flags = UP;
    control(&socket, libc::SIOCSIFFLAGS, &mut request)?;
    let carrier = format!("/sys/class/net/{name}/carrier");
    while fs::read_to_string(&carrier).map_or(true, |text| text.trim() != "1") {
        thread::sleep(POLL);
    }
    Ok(())
}

/// Between two looks at what has no event.
const POLL: Duration = Duration::from_millis(10);
#[expect(clippy::cast_possible_truncation, reason = "the flags are among the low 16 bits")]
const UP: libc::c_short = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
#[expect(clippy::cast_possible_truncation, reason = "families are small numbers")]
const INTERNET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;

/// The first card that is not the loopback.
fn card() -> io::Result<String> {
    loop {
        for entry in fs::read_dir(Path::new("/sys/class/net"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "lo" {
                return Ok(name);
            }
        }
        thread::sleep(POLL);
    }
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: a structure of numbers, addresses and a pointer, for all of which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    request
}

fn internet(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr { sa_family: INTERNET, sa_data: data }
}

fn control(socket: &UdpSocket, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: these requests read the structure, which lives during the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), what, std::ptr::from_mut(request)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
