//! `svc`: the services, what they offer, and how they are doing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::call::{InterfaceDoc, OperationDoc};
use libd3os::service::interface;
use libd3os::service::supervisor::{ProgramState, ServiceStatus};

use super::trace::{find, show_counters};
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence, ps};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::system::SystemError;
use crate::table::{Cell, Column, Table};
use crate::units::{counted, microseconds};

pub(super) static SVC: Command = Command {
    name: "svc",
    summary: "lists services, or documents one",
    arguments: &[Argument {
        name: "NAME",
        kind: Kind::Service,
        presence: Presence::Optional,
        about: "the service to document",
    }],
    flags: &[],
    background: Background::Refused,
    help: "Without an argument: every service of the image with the program behind it, that \
           program's state, how long it has run and how often it was started again. With a service's name: its \
           documentation, and of each operation the arguments, the result, and whether the \
           client repeats a call when the service was restarted during it. The text comes from the \
           interface's declaration, from which client and server are generated. Below that, what \
           the server has counted since it started, if the shell may call it; `trace NAME` also \
           shows what it did last.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    match arguments.get("NAME") {
        None => {
            let services = session.system.services()?;
            overview(session, &services);
        }
        Some(name) => {
            let service = find(session, name)?;
            document(session, &service);
            counters(session, &service)?;
        }
    }
    Ok(())
}

fn overview(session: &mut Session<'_>, services: &[ServiceStatus]) {
    let mut table = Table::new([
        Column::left("SERVICE"),
        Column::left("PROGRAM"),
        Column::right("CORE"),
        Column::left("STATE"),
        Column::right("UP"),
        Column::right("RESTARTS"),
        Column::elastic("WHAT IT IS"),
    ]);
    for service in services {
        table.row([
            Cell::new(Role::Name, service.name.as_str()),
            service.program.as_str().into(),
            format!("{}", service.core).into(),
            ps::state(service.state),
            uptime(service).into(),
            format!("{}", service.restarts).into(),
            purpose(service),
        ]);
    }
    session.table(&table);
}

/// What a service is for, in a sentence.
fn purpose(service: &ServiceStatus) -> Cell {
    let sentence = interface(&service.name).map(|doc| first_sentence(doc.doc));
    Cell::new(Role::Faint, sentence.unwrap_or_default())
}

fn document(session: &mut Session<'_>, service: &ServiceStatus) {
    let Some(doc) = interface(&service.name) else {
        let name = &service.name;
        session.line(format_args!("{name}: its interface is not known to the shell"));
        return;
    };
    session.painted_line(Role::Title, &format!("{}, version {}", doc.name, doc.version));
    session.line(format_args!("  {}", standing(service)));
    session.line("");
    paragraphs(session, 2, doc.doc);
    document_operations(session, doc);
}

fn document_operations(session: &mut Session<'_>, doc: &InterfaceDoc) {
    for operation in doc.operations {
        session.line("");
        session.painted_line(Role::Name, &format!("  {}", signature(operation)));
        paragraphs(session, 6, operation.doc);
        session.text(6, manner(operation));
    }
}

/// What the server has counted, if it runs and the shell may ask.
fn counters(session: &mut Session<'_>, service: &ServiceStatus) -> Result<(), CommandError> {
    if service.state != ProgramState::Running {
        return Ok(());
    }
    match session.system.counters(&service.name) {
        Ok(counters) => {
            session.line("");
            show_counters(session, &counters);
            Ok(())
        }
        Err(SystemError::NotGranted { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn signature(operation: &OperationDoc) -> String {
    match operation.signature.starts_with('(') {
        true => format!("{}{}", operation.name, operation.signature),
        false => operation.signature.to_string(),
    }
}

fn manner(operation: &OperationDoc) -> &'static str {
    match operation.retryable {
        true => "(Repeated by the client when the service was restarted during it.)",
        false => "(After a restart of the service it is unknown whether it was done.)",
    }
}

fn standing(service: &ServiceStatus) -> String {
    let restarts = counted(u64::from(service.restarts), "restart", "restarts");
    let ServiceStatus { program, state, .. } = service;
    match service.state {
        ProgramState::Running => {
            format!("served by `{program}`, {state} for {}, {restarts}", uptime(service))
        }
        _ => format!("served by `{program}`, {state}, {restarts}"),
    }
}

fn uptime(service: &ServiceStatus) -> String {
    match service.state {
        ProgramState::Running => microseconds(service.uptime_us),
        _ => String::new(),
    }
}

fn paragraphs(session: &mut Session<'_>, indent: usize, doc: &str) {
    for (index, paragraph) in doc.trim().split("\n\n").enumerate() {
        if index > 0 {
            session.line("");
        }
        session.text(indent, &readable(paragraph));
    }
}

fn first_sentence(doc: &str) -> String {
    let first = doc.trim().split("\n\n").next().unwrap_or_default();
    let text = readable(first).split_whitespace().collect::<Vec<_>>().join(" ");
    match text.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => text,
    }
}

/// Documentation without the marks that only its rendered form needs.
fn readable(doc: &str) -> String {
    doc.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_at_its_full_stop() {
        assert_eq!(first_sentence(" Reads [`Foo`]s.  Then\nmore. "), "Reads `Foo`s.");
        assert_eq!(first_sentence("One line\nand another.\n\nSecond."), "One line and another.");
        assert_eq!(first_sentence(""), "");
    }
}
