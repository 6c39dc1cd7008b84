//! `numa`: what belongs together, and how far it is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::device::PersistenceDomain;
use libd3os::service::platform::{MemoryInfo, MemoryKind, NodeInfo, PersistentRange};

use super::lspci::answering;
use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::bytes;

pub(super) static NUMA: Command = Command {
    name: "numa",
    summary: "shows nodes: processors, memory, distances",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "A node is processors and memory that are near each other. For each: its processors, by \
           the ids of their local APICs, and its ranges of memory; then how far its processors have \
           it to the memory of each node, where 10 is the own; then ranges of persistent memory, and \
           what of it is safe when power fails. A machine that does not tell has one node.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    answering(session)?;
    let nodes = session.system.nodes()?;
    let persistent = session.system.persistent()?;
    members(session, &nodes);
    distances(session, &nodes);
    ranges(session, &persistent);
    Ok(())
}

fn members(session: &mut Session<'_>, nodes: &[NodeInfo]) {
    let mut table = Table::new([
        Column::right("NODE"),
        Column::left("PROCESSORS"),
        Column::right("FROM").sparse(),
        Column::right("SIZE").sparse(),
        Column::left("MEMORY").sparse(),
    ]);
    for node in nodes {
        let mut names = Some((node.node.to_string(), processors(node)));
        if node.memory.is_empty() {
            let (number, processors) = names.take().unwrap_or_default();
            let name = Cell::new(Role::Name, number);
            table.row([name, processors.into(), "".into(), "".into(), "".into()]);
        }
        for range in &node.memory {
            let (number, processors) = names.take().unwrap_or_default();
            let MemoryInfo { start, bytes: size, kind } = *range;
            table.row([
                Cell::new(Role::Name, number),
                processors.into(),
                format!("{start:#x}").into(),
                bytes(size).into(),
                what(kind).into(),
            ]);
        }
    }
    session.table(&table);
}

fn processors(node: &NodeInfo) -> String {
    let range = |&(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let ranges: Vec<String> = node.processors.iter().map(range).collect();
    if ranges.is_empty() { "none".into() } else { ranges.join(",") }
}

const fn what(kind: MemoryKind) -> &'static str {
    match kind {
        MemoryKind::Ram => "RAM",
        MemoryKind::Persistent => "persistent",
        MemoryKind::Room => "room for more",
    }
}

/// A row for each node and a column for each; as wide as there are nodes, so it is no [`Table`].
fn distances(session: &mut Session<'_>, nodes: &[NodeInfo]) {
    if nodes.iter().all(|node| node.distances.is_empty()) {
        return;
    }
    session.line("");
    let titles: String = nodes.iter().map(|node| format!("{:>6}", node.node)).collect();
    session.painted_line(Role::Title, &format!("DISTANCE{titles}"));
    for node in nodes {
        let cell = |to: &NodeInfo| {
            let found = node.distances.iter().find(|(number, _)| *number == to.node);
            format!("{:>6}", found.map_or("?".into(), |(_, distance)| distance.to_string()))
        };
        let cells: String = nodes.iter().map(cell).collect();
        session.line(format_args!("{:>8}{cells}", node.node));
    }
}

fn ranges(session: &mut Session<'_>, persistent: &[PersistentRange]) {
    if persistent.is_empty() {
        return;
    }
    session.line("");
    let mut table = Table::new([
        Column::right("PERSISTENT"),
        Column::right("FROM"),
        Column::right("SIZE"),
        Column::right("NODE"),
        Column::left("STATE"),
        Column::elastic("SAFE WHEN POWER FAILS"),
    ]);
    for range in persistent {
        let state = match range.unarmed {
            true => Cell::new(Role::Bad, "not armed"),
            false => "armed".into(),
        };
        table.row([
            Cell::new(Role::Name, range.index.to_string()),
            format!("{:#x}", range.start).into(),
            bytes(range.bytes).into(),
            range.node.map_or("?".into(), |node| node.to_string()).into(),
            state,
            safe(range.domain).into(),
        ]);
    }
    session.table(&table);
}

pub(super) const fn safe(domain: Option<PersistenceDomain>) -> &'static str {
    match domain {
        None => "the firmware does not say",
        Some(PersistenceDomain::Caches) => "what is in the caches",
        Some(PersistenceDomain::MemoryControllers) => "what has reached the memory controllers",
        Some(PersistenceDomain::Medium) => "what has reached the medium",
    }
}
