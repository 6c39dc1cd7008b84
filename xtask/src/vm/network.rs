//! The machine's network cards and QEMU's user network behind them.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use super::Iommu;

/// Network cards to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NicChoice {
    /// A virtio card.
    #[default]
    Virtio,
    /// Intel's 82574L.
    E1000e,
    /// One of each; the second one's network is 10.0.3.0/24.
    Both,
    /// No card.
    None,
}

impl NicChoice {
    /// QEMU's names of the cards.
    fn cards(self) -> &'static [&'static str] {
        match self {
            Self::Virtio => &[VIRTIO],
            Self::E1000e => &["e1000e"],
            Self::Both => &[VIRTIO, "e1000e"],
            Self::None => &[],
        }
    }
}

const VIRTIO: &str = "virtio-net-pci";

/// A port of the host, on its loopback address, that leads to one of the guest, for TCP and UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Of the host.
    pub(crate) host: u16,
    /// Of the guest.
    pub(crate) guest: u16,
}

/// A text that is not `HOST:GUEST`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected two port numbers, as in 8080:80 (host:guest)")]
pub(crate) struct NotForward;

impl FromStr for Forward {
    type Err = NotForward;

    fn from_str(text: &str) -> Result<Self, NotForward> {
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0).ok_or(NotForward);
        let (host, guest) = text.split_once(':').ok_or(NotForward)?;
        Ok(Self { host: port(host)?, guest: port(guest)? })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, guest } = self;
        write!(f, "hostfwd=tcp:127.0.0.1:{host}-:{guest},hostfwd=udp:127.0.0.1:{host}-:{guest}")
    }
}

/// Network cards, and the ports that lead to them.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// The cards.
    pub(crate) nics: NicChoice,
    /// The ports of the first.
    pub(crate) forwards: Vec<Forward>,
    /// The ports of the second.
    pub(crate) second: Vec<Forward>,
}

/// No card: tests say what they want.
impl Default for Network {
    fn default() -> Self {
        Self::new(NicChoice::None)
    }
}

impl Network {
    /// These cards, and no ports that lead to them.
    pub(crate) const fn new(nics: NicChoice) -> Self {
        Self { nics, forwards: Vec::new(), second: Vec::new() }
    }

    /// QEMU's arguments.
    pub(super) fn arguments(&self, iommu: Iommu) -> Vec<OsString> {
        let cards = self.nics.cards().iter().enumerate();
        // Without this QEMU adds a card of its own choice.
        let none = ["-nic", "none"].map(OsString::from);
        let cards = cards.flat_map(|(number, card)| {
            let user = self.user_network(number);
            let obeys = match (*card, iommu) {
                (VIRTIO, Iommu::Present) => ",iommu_platform=on,disable-legacy=on",
                _ => "",
            };
            let device = format!("{card},netdev=net{number}{obeys}");
            ["-netdev", &user, "-device", &device].map(OsString::from)
        });
        none.into_iter().chain(cards).collect()
    }

    fn user_network(&self, number: usize) -> String {
        let mut user = format!("user,id=net{number}");
        if number > 0 {
            user += &format!(",net=10.0.{}.0/24", 2 + number);
        }
        let forwards = if number == 0 { &self.forwards } else { &self.second };
        forwards.iter().for_each(|forward| user += &format!(",{forward}"));
        user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(network: &Network, iommu: Iommu) -> String {
        let arguments = network.arguments(iommu);
        let arguments: Vec<_> =
            arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        arguments.join(" ")
    }

    #[test]
    fn forwards_are_two_ports() {
        assert_eq!("8080:80".parse(), Ok(Forward { host: 8080, guest: 80 }));
        for text in ["", "80", "80:", ":80", "0:80", "80:65536", "a:b", "1:2:3"] {
            assert_eq!(text.parse::<Forward>(), Err(NotForward), "{text}");
        }
    }

    #[test]
    fn cards_have_networks_of_their_own() {
        let forwards = vec![Forward { host: 7000, guest: 7 }];
        let second = vec![Forward { host: 7001, guest: 8 }];
        let both = Network { nics: NicChoice::Both, forwards, second };
        assert_eq!(
            line(&both, Iommu::Absent),
            "-nic none -netdev user,id=net0,hostfwd=tcp:127.0.0.1:7000-:7,hostfwd=udp:127.0.0.1:7000-:7 \
             -device virtio-net-pci,netdev=net0 -netdev user,id=net1,net=10.0.3.0/24,\
             hostfwd=tcp:127.0.0.1:7001-:8,hostfwd=udp:127.0.0.1:7001-:8 -device e1000e,netdev=net1"
        );
        assert_eq!(line(&Network::default(), Iommu::Present), "-nic none");
    }

    #[test]
    fn virtio_obeys_the_iommu() {
        let one = Network::new(NicChoice::Virtio);
        assert!(line(&one, Iommu::Present).ends_with("net0,iommu_platform=on,disable-legacy=on"));
    }
}
