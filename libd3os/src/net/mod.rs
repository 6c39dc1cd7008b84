//! Sockets: TCP and UDP through the server `net`.
//!
//! A program and the server share a region ([`plan`]). The bytes of a connection go through two
//! rings there ([`crate::ring`]), never through messages; only opening a socket is a call
//! ([`crate::service::net`]). Sockets are asynchronous: their operations are futures, which
//! [`crate::task`] runs. A program has one thread and one notification; whatever happens to one
//! of its sockets signals that, and all futures look again.
//!
//! ```no_run
//! use libd3os::net::{Names, Network, NetworkError};
//!
//! fn fetch(names: Names, server: core::net::SocketAddr) -> Result<usize, NetworkError> {
//!     let network = Network::open(names)?;
//!     let fetched = network.run(async {
//!         let mut stream = network.stack.connect(server).await?;
//!         stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
//!         stream.read(&mut [0; 512]).await
//!     });
//!     fetched.map_err(NetworkError::Socket)
//! }
//! ```
//!
//! # Closing
//!
//! A dropped socket says so in its rings, and that is all: the server sends what lies there, ends
//! the connection in the background, and then gives the place free.
//!
//! # When the server ends
//!
//! Its successor writes a new *instance number* into the region. Every operation of a socket
//! that was opened before fails with [`SocketError::Restarted`]; [`Stack::attach_again`] is the
//! way back. Connections do not outlive the server: their state was its.

mod datagram;
mod error;
pub mod plan;
mod program;
mod socket;
mod stack;
mod status;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use datagram::{DATAGRAM_HEADER, decode_sender, encode_header};
pub use error::SocketError;
pub use program::{Names, Network, NetworkError};
pub use stack::{Bell, Stack};
pub use status::{Phase, Status};
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;

/// Bytes of a stream that go into one message of a ring, at most.
pub const STREAM_CHUNK: usize = 4096;
