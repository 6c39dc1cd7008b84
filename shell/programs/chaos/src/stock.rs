//! What is held for all programs, which no restart may change.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use libd3os::service::net::{SocketKind, SocketStatus};
use libd3os::service::platform::{IommuUnit, PciAddress};
use libd3os::service::supervisor::Holding;

/// What init holds, what the IOMMU's tables say, and which sockets programs wait at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// By init.
    pub holdings: Vec<Holding>,
    /// Of each unit.
    pub tables: Vec<Table>,
    /// Region, kind and address of each socket that is not a connection: those end with the network
    /// server, and nobody but their users can make them anew.
    pub sockets: Vec<(String, String, SocketAddr)>,
}

/// The tables of a unit of the IOMMU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Pages of memory that they take.
    pub pages: u32,
    /// Entries of interrupts.
    pub interrupts: u32,
    /// Devices, with the number of pages that each reaches.
    pub devices: Vec<(PciAddress, u32)>,
    /// Accesses that were refused. Of a device that its driver's end finds at work it would be one
    /// that was taken its memory before it was told to stop.
    pub refused: u64,
}

impl Table {
    /// What a unit tells of itself.
    #[must_use]
    pub fn new(unit: IommuUnit) -> Self {
        let IommuUnit { table_pages, interrupts, mut devices, faults, .. } = unit;
        devices.sort_unstable();
        Self { pages: table_pages, interrupts, devices, refused: faults }
    }
}

impl Stock {
    /// Takes what each tells.
    pub fn new(
        holdings: Vec<Holding>,
        units: impl IntoIterator<Item = IommuUnit>,
        sockets: impl IntoIterator<Item = SocketStatus>,
    ) -> Self {
        let lasting = sockets.into_iter().filter(|socket| socket.kind != SocketKind::Stream);
        let row =
            |socket: SocketStatus| (socket.region, alloc::format!("{}", socket.kind), socket.local);
        let mut sockets: Vec<_> = lasting.map(row).collect();
        sockets.sort_unstable();
        Self { holdings, tables: units.into_iter().map(Table::new).collect(), sockets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(kind: SocketKind, port: u16) -> SocketStatus {
        let local = SocketAddr::from(([0, 0, 0, 0], port));
        SocketStatus { region: "serve".into(), kind, local, remote: None, state: "open".into() }
    }

    #[test]
    fn order_and_connections_do_not_count() {
        let device = |device| (PciAddress { device, ..PciAddress::default() }, 5);
        let unit = |devices: [u8; 2]| IommuUnit {
            devices: devices.map(device).into(),
            ..IommuUnit::default()
        };
        let [udp, tcp] = [socket(SocketKind::Datagram, 7), socket(SocketKind::Listener, 7)];
        let stream = socket(SocketKind::Stream, 7);
        let before = Stock::new(Vec::new(), [unit([1, 2])], [udp.clone(), tcp.clone()]);
        let after = Stock::new(Vec::new(), [unit([2, 1])], [stream, tcp, udp.clone()]);
        assert_eq!(before, after);
        assert_ne!(before, Stock::new(Vec::new(), [unit([1, 2])], [udp]));
        let refused = IommuUnit { faults: 1, ..unit([1, 2]) };
        assert_ne!(Table::new(unit([1, 2])), Table::new(refused));
    }
}
