//! `obj edit`: an object's text on the terminal, kept in one transaction when that is wanted.

use alloc::string::{String, ToString};

use libd3os::service::console::InputEvent;
use libd3os::service::pmem::PmemError;
use libd3os::store::StoreError;

use super::super::CommandError;
use super::super::log::visible;
use crate::objects::NEW_PAGES;
use crate::page::{Page, Want};
use crate::session::{Mode, Session};
use crate::system::SystemError;

const CHANGED: &str = "somebody has changed it meanwhile: ^S again replaces that";
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What is known of the object.
struct Known {
    path: String,
    /// Its text when it was last read or written; nothing if there was no object.
    text: Option<String>,
    /// Whatever it is now, it is to be replaced.
    replace: bool,
}

pub(super) fn run(session: &mut Session<'_>, path: &str) -> Result<(), CommandError> {
    let Mode::Interactive { width, height } = session.mode else {
        return Err(CommandError::NeedsTerminal);
    };
    let text = existing(session, path)?;
    let page = Page::new(&visible(path).to_string(), text.as_deref().unwrap_or(""), width, height);
    let mut page = page.map_err(|_| CommandError::TooLong { path: path.into() })?;
    let known = Known { path: path.into(), text, replace: false };
    let edited = edit(session, &mut page, known);
    session.print(format_args!("{CLEAR}"));
    edited
}

/// An object's text; nothing if there is no object.
fn existing(session: &mut Session<'_>, path: &str) -> Result<Option<String>, CommandError> {
    match session.system.text(path) {
        Ok(text) => Ok(Some(text)),
        Err(SystemError::Store(StoreError::Refused(PmemError::NotFound))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn edit(session: &mut Session<'_>, page: &mut Page, mut known: Known) -> Result<(), CommandError> {
    loop {
        let drawn = page.draw();
        session.print(format_args!("{drawn}"));
        session.flush();
        let bytes = match session.system.read()? {
            InputEvent::Bytes(bytes) => bytes,
            InputEvent::Redraw => {
                page.forget();
                continue;
            }
        };
        for byte in bytes {
            match page.push(byte) {
                Some(Want::Save(text)) => save(session, page, &mut known, text),
                Some(Want::Leave) => return Ok(()),
                None => {}
            }
        }
    }
}

/// Keeps a text, and says in the page what came of it: what was typed must not be lost by an error.
fn save(session: &mut Session<'_>, page: &mut Page, known: &mut Known, text: String) {
    match keep(session, known, &text) {
        Ok(true) => {
            known.replace = false;
            known.text = Some(text);
            page.saved();
        }
        Ok(false) => {
            known.replace = true;
            page.note(CHANGED);
        }
        Err(error) => page.note(&error.to_string()),
    }
}

/// Keeps a text; false if somebody has changed what is there.
fn keep(session: &mut Session<'_>, known: &Known, text: &str) -> Result<bool, SystemError> {
    let path = &known.path;
    match &known.text {
        _ if known.replace => session.system.set_text(path, text).map(|()| true),
        Some(before) => session.system.change_text(path, before, text),
        None => {
            session.system.make_text(path, NEW_PAGES, None)?;
            session.system.change_text(path, "", text)
        }
    }
}
