//! The arguments with which the server is started.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use crate::interface::Addressing;

/// What the arguments say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    fixed: Vec<(String, Addressing)>,
}

/// An argument that the server does not know, or a value that it does not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArgument(pub String);

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the network server cannot be started with `{}`", self.0)
    }
}

impl core::error::Error for BadArgument {}

impl Options {
    /// Reads the arguments: `--static INTERFACE ADDRESS/PREFIX[,ROUTER]`, as often as there are
    /// interfaces that are not to ask a DHCP server.
    ///
    /// # Errors
    /// [`BadArgument`] with the argument.
    pub fn parse(arguments: &[String]) -> Result<Self, BadArgument> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let bad = || BadArgument(argument.clone());
            let (name, value) = match argument.as_str() {
                "--static" => rest.next().zip(rest.next()).ok_or_else(bad)?,
                _ => return Err(bad()),
            };
            let addressing = address(value).ok_or_else(|| BadArgument(value.clone()))?;
            options.fixed.push((name.to_string(), addressing));
        }
        Ok(options)
    }

    /// How the interface of this name gets its address.
    #[must_use]
    pub fn addressing(&self, name: &str) -> Addressing {
        let fixed = self.fixed.iter().find(|(known, _)| known == name);
        fixed.map_or(Addressing::Dhcp, |(_, addressing)| *addressing)
    }
}

fn address(value: &str) -> Option<Addressing> {
    let (network, router) = match value.split_once(',') {
        Some((network, router)) => (network, Some(host(router)?)),
        None => (value, None),
    };
    let (address, prefix) = network.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?;
    Some(Addressing::Static { address: host(address)?, prefix, router })
}

fn host(text: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = text.parse().ok()?;
    let special = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
    (!special).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Options, BadArgument> {
        Options::parse(&arguments.split_whitespace().map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn an_interface_asks_unless_its_address_is_given() {
        let options = parse("--static e1000e 192.168.1.5/24,192.168.1.1").expect("sound");
        let address = Ipv4Addr::new(192, 168, 1, 5);
        let router = Some(Ipv4Addr::new(192, 168, 1, 1));
        assert_eq!(
            options.addressing("e1000e"),
            Addressing::Static { address, prefix: 24, router }
        );
        assert_eq!(options.addressing("virtio-net"), Addressing::Dhcp);
    }

    #[test]
    fn refuses_the_rest() {
        for (wrong, named) in [
            ("--static", "--static"),
            ("--static a", "--static"),
            ("--dynamic", "--dynamic"),
            ("--static a 1.2.3.4", "1.2.3.4"),
            ("--static a 1.2.3.4/33", "1.2.3.4/33"),
            ("--static a 1.2.3.4/0", "1.2.3.4/0"),
            ("--static a 255.255.255.255/8", "255.255.255.255/8"),
            ("--static a 1.2.3.4/8,x", "1.2.3.4/8,x"),
        ] {
            assert_eq!(parse(wrong), Err(BadArgument(named.to_string())), "{wrong}");
        }
    }
}
