//! A datagram in a ring: the other side's address, then its bytes.
//!
//! ```text
//! 0..2   port, little-endian
//! 2      4 or 6: which protocol
//! 3      0
//! 4..20  the address; of version 4 the first four bytes
//! ```

use core::net::{IpAddr, SocketAddr};

/// Bytes before a datagram's own.
pub const DATAGRAM_HEADER: usize = 20;

const ADDRESS: usize = 4;

/// The bytes that stand before a datagram from, or to, this address.
#[must_use]
pub fn encode_header(address: SocketAddr) -> [u8; DATAGRAM_HEADER] {
    let mut header = [0; DATAGRAM_HEADER];
    header[..2].copy_from_slice(&address.port().to_le_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            header[2] = 4;
            header[ADDRESS..ADDRESS + 4].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            header[2] = 6;
            header[ADDRESS..].copy_from_slice(&ip.octets());
        }
    }
    header
}

/// The address before a datagram, and the datagram; `None` where it is no header.
#[must_use]
pub fn decode_sender(message: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (header, bytes) = message.split_first_chunk::<DATAGRAM_HEADER>()?;
    let (port, rest) = header.split_first_chunk()?;
    let (&[version, _], address) = rest.split_first_chunk()?;
    let ip: IpAddr = match version {
        4 => IpAddr::from(*address.first_chunk::<4>()?),
        6 => IpAddr::from(*address.first_chunk::<16>()?),
        _ => return None,
    };
    Some((SocketAddr::new(ip, u16::from_le_bytes(*port)), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_come_back(four: [u8; 4], six: [u8; 16], port: u16, bytes: Vec<u8>) {
            for ip in [IpAddr::from(four), IpAddr::from(six)] {
                let address = SocketAddr::new(ip, port);
                let message = [&encode_header(address)[..], &bytes].concat();
                prop_assert_eq!(decode_sender(&message), Some((address, &bytes[..])));
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let decoded = decode_sender(&bytes).map(|(_, rest)| rest.len() + DATAGRAM_HEADER);
            prop_assert!(decoded.is_none_or(|length| length == bytes.len()));
        }
    }
}
