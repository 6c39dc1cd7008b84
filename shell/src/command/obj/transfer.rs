//! `obj import` and `export`: objects of the host's files, and files of objects.
//!
//! An object that is being imported has another name, with [`PART`] behind it, until it is whole; what an
//! import that was interrupted has left under that name is replaced.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::object::object::OpenError;
use libd3os::service::pmem::{NamedObject, ObjectKind, PmemError};
use libd3os::service::share::{Entry, Errno, FileKind, ShareError};
use libd3os::store::StoreError;

use super::super::log::visible;
use super::super::{CommandError, share};
use crate::objects::Holds;
use crate::page::MAX_TEXT;
use crate::session::Session;
use crate::style::Role;
use crate::system::SystemError;
use crate::units::bytes;

/// What follows the name of an object that is not whole.
const PART: &str = ".part";
/// Bytes that are moved in one session, and after which it is told how far a file is.
const TOLD: u64 = 128 << 10;
/// Directories within each other.
const MOST_DEEP: usize = 16;

type Done<T> = Result<T, CommandError>;

/// Makes objects at `path` of what is at `host`.
pub(super) fn import(session: &mut Session<'_>, path: &str, host: Option<&String>) -> Done<()> {
    share::present(session)?;
    let host = host.map_or("", |host| host.trim_matches('/'));
    match host_entry(session, host)? {
        Some(file) => import_entry(session, path, host, &file, MOST_DEEP),
        None => import_directory(session, path, host, MOST_DEEP),
    }
}

/// What the share has at a path; nothing is the share itself.
fn host_entry(session: &mut Session<'_>, host: &str) -> Done<Option<Entry>> {
    if host.is_empty() {
        return Ok(None);
    }
    let (directory, name) = host.rsplit_once('/').unwrap_or(("", host));
    let mut entries = session.system.host_files(directory)?.into_iter();
    let found = entries.find(|entry| entry.name == name);
    let absent = SystemError::Share(ShareError::Host(Errno::ENOENT));
    found.map(Some).ok_or(absent.into())
}

fn import_entry(
    session: &mut Session<'_>,
    path: &str,
    host: &str,
    Entry { status, .. }: &Entry,
    deep: usize,
) -> Done<()> {
    match status.kind {
        FileKind::File => import_file(session, path, host, status.bytes),
        FileKind::Directory if deep > 0 => import_directory(session, path, host, deep - 1),
        FileKind::Directory | FileKind::Link | FileKind::Other => {
            left_out(session, host, &format!("a {}", status.kind));
            Ok(())
        }
    }
}

fn import_directory(session: &mut Session<'_>, path: &str, host: &str, deep: usize) -> Done<()> {
    match session.system.make_object_directory(path, None) {
        Ok(()) => {}
        Err(SystemError::Store(StoreError::Refused(PmemError::Exists)))
            if session.system.object(path)?.kind == ObjectKind::Directory => {}
        // The one above all others, whose path has no name.
        Err(_) if path.is_empty() => {}
        Err(error) => return Err(error.into()),
    }
    let mut entries = session.system.host_files(host)?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    for entry in entries {
        let (path, host) = (below(path, &entry.name), below(host, &entry.name));
        import_entry(session, &path, &host, &entry, deep)?;
    }
    Ok(())
}

fn import_file(session: &mut Session<'_>, path: &str, host: &str, size: u64) -> Done<()> {
    if session.system.object(path).is_ok() {
        return Err(SystemError::from(StoreError::Refused(PmemError::Exists)).into());
    }
    let (head, is_all) = head(session, host)?;
    let holds = match core::str::from_utf8(&head) {
        Ok(_) if is_all => Holds::Text,
        _ => Holds::File,
    };
    let part = format!("{path}{PART}");
    begin(session, &part, holds, size)?;
    let (mut progress, mut at) = (Progress::new(path, size), 0);
    loop {
        let done = session.system.fill_object(&part, holds, at, host, TOLD)?;
        at += done;
        if done < TOLD {
            break;
        }
        progress.tell(session, at);
    }
    session.system.rename_object(&part, path)?;
    progress.end(session, at);
    Ok(())
}

/// The beginning of a file, and whether that is all of it: then it may be a text.
fn head(session: &mut Session<'_>, host: &str) -> Done<(Vec<u8>, bool)> {
    let mut head = Vec::new();
    while head.len() <= MAX_TEXT {
        let more = session.system.read_host(host, head.len() as u64)?;
        if more.is_empty() {
            return Ok((head, true));
        }
        head.extend(more);
    }
    Ok((head, false))
}

/// Makes the object that is not whole yet, in place of what an earlier import has left.
fn begin(session: &mut Session<'_>, part: &str, holds: Holds, size: u64) -> Done<()> {
    match session.system.make_holder(part, holds, size) {
        Err(SystemError::Store(StoreError::Refused(PmemError::Exists))) => {
            session.system.remove_object(part)?;
            Ok(session.system.make_holder(part, holds, size)?)
        }
        made => Ok(made?),
    }
}

/// Makes files at `host` of what is at `path`.
pub(super) fn export(session: &mut Session<'_>, path: &str, host: Option<&String>) -> Done<()> {
    share::present(session)?;
    let name = path.rsplit('/').next().unwrap_or(path);
    match session.system.object(path)?.kind {
        ObjectKind::Object | ObjectKind::Snapshot => {
            let host = host.map_or(name, String::as_str);
            export_object(session, path, host.trim_matches('/'))
        }
        ObjectKind::Directory => {
            let host = host.map_or("", String::as_str);
            export_directory(session, path, host.trim_matches('/'))
        }
    }
}

fn export_directory(session: &mut Session<'_>, path: &str, host: &str) -> Done<()> {
    if !host.is_empty() {
        match session.system.make_host_directory(host) {
            Ok(()) | Err(SystemError::Share(ShareError::Host(Errno::EEXIST))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for NamedObject { name, status } in session.system.objects(path)? {
        let (path, host) = (below(path, &name), below(host, &name));
        match status.kind {
            ObjectKind::Directory => export_directory(session, &path, &host)?,
            ObjectKind::Object | ObjectKind::Snapshot => match export_object(session, &path, &host)
            {
                Err(error) if is_other_type(&error) => {
                    left_out(session, &path, &format!("a {}", visible(&status.of)));
                }
                exported => exported?,
            },
        }
    }
    Ok(())
}

fn is_other_type(error: &CommandError) -> bool {
    let wanted = |error: &StoreError| matches!(error, StoreError::Object(OpenError::Type { .. }));
    matches!(error, CommandError::System(SystemError::Store(error)) if wanted(error))
}

fn export_object(session: &mut Session<'_>, path: &str, host: &str) -> Done<()> {
    let (mut progress, mut at) = (Progress::new(host, 0), 0);
    loop {
        let done = session.system.spill_object(path, at, host, TOLD)?;
        at += done;
        if done < TOLD {
            break;
        }
        progress.tell(session, at);
    }
    progress.end(session, at);
    Ok(())
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}/{name}") }
}

fn left_out(session: &mut Session<'_>, path: &str, why: &str) {
    session.painted_line(Role::Faint, &format!("{} is left out: {why}", visible(path)));
}

/// How far a file is.
struct Progress {
    name: String,
    /// Its bytes, 0 if that is not known.
    size: u64,
}

impl Progress {
    fn new(name: &str, size: u64) -> Self {
        Self { name: visible(name).to_string(), size }
    }

    fn tell(&mut self, session: &mut Session<'_>, done: u64) {
        let of = if self.size == 0 { String::new() } else { format!(" of {}", bytes(self.size)) };
        session.painted_line(Role::Faint, &format!("{}: {}{of}", self.name, bytes(done)));
        session.flush();
    }

    fn end(&self, session: &mut Session<'_>, done: u64) {
        session.line(format!("{}: {}", self.name, bytes(done)));
        session.flush();
    }
}
