//! `net`: the network's interfaces and sockets.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use libd3os::service::net::{InterfaceAddress, InterfaceStatus, SocketStatus, Traffic};

use super::{Arguments, Background, Command, CommandError, trace};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::{bytes, counted};

/// The service that tells of the network.
pub(super) const NET_SERVICE: &str = "net";

pub(super) static NET: Command = Command {
    name: "net",
    summary: "shows the network's interfaces and sockets",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "For each interface, which has the name of its card's driver: the state of its line, its \
           Ethernet address and the longest packet; its addresses and where they came from; \
           routers and name servers; what it received and sent, and what was dropped and why.\n\n\
           Then the sockets of all programs, by the regions that they share with the network \
           server.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    trace::observable(session, NET_SERVICE)?;
    let interfaces = session.system.interfaces()?;
    let sockets = session.system.sockets()?;
    if interfaces.is_empty() {
        session.line("no network card is driven");
    }
    for (index, interface) in interfaces.iter().enumerate() {
        if index > 0 {
            session.line("");
        }
        show(session, interface);
    }
    if !sockets.is_empty() {
        session.line("");
        list(session, &sockets);
    }
    Ok(())
}

fn show(session: &mut Session<'_>, interface: &InterfaceStatus) {
    let InterfaceStatus { name, link, mtu, restarts, .. } = interface;
    let style = session.style();
    let again = match restarts {
        0 => String::new(),
        count => format!(", {}", counted(u64::from(*count), "restart", "restarts")),
    };
    let name = style.paint(Role::Name, name);
    session.line(format_args!("{name}: {link}, {}, MTU {mtu}{again}", mac(interface.mac)));
    let mut table = Table::new([Column::left(""), Column::left("")]);
    for (what, said) in facts(interface) {
        table.row([Cell::new(Role::Faint, format!("  {what}")), said.into()]);
    }
    session.table(&table);
}

/// What there is to say of an interface, by what it is about.
fn facts(interface: &InterfaceStatus) -> Vec<(&'static str, String)> {
    let addresses = interface.addresses.iter().map(|it| ("address", address(it)));
    let others = [
        ("router", joined(&interface.routers)),
        ("names", joined(&interface.name_servers)),
        ("received", traffic(interface.received)),
        ("sent", traffic(interface.sent)),
    ];
    let drops = interface.drops.iter().map(|(why, count)| format!("{count} {why}"));
    let drops = ("dropped", joined(&drops.collect::<Vec<_>>()));
    let all = addresses.chain(others).chain([drops]);
    all.filter(|(_, said)| !said.is_empty()).collect()
}

fn address(it: &InterfaceAddress) -> String {
    format!("{}/{} ({})", it.address, it.prefix, it.origin)
}

fn traffic(traffic: Traffic) -> String {
    format!("{}, {}", counted(traffic.frames, "frame", "frames"), bytes(traffic.bytes))
}

fn joined(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn list(session: &mut Session<'_>, sockets: &[SocketStatus]) {
    let mut table = Table::new([
        Column::left("REGION"),
        Column::left("SOCKET"),
        Column::left("LOCAL"),
        Column::left("REMOTE"),
        Column::elastic("STATE"),
    ]);
    for SocketStatus { region, kind, local, remote, state } in sockets {
        let remote = remote.map(|remote| remote.to_string()).unwrap_or_default();
        let (kind, local) = (kind.to_string(), local.to_string());
        table.row([
            Cell::new(Role::Name, region.as_str()),
            kind.into(),
            local.into(),
            remote.into(),
            state.as_str().into(),
        ]);
    }
    session.table(&table);
}
