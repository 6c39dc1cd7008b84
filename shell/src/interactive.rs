//! The shell with a person: reads lines, runs them, until the machine is switched off.

use alloc::vec::Vec;

use libd3os::service::console::InputEvent;

use crate::completion::complete;
use crate::editor::{Editor, Event};
use crate::runner::run_line;
use crate::session::{Course, Mode, Session};
use crate::system::{System, SystemError};

/// What stands before each line.
pub const PROMPT: &str = "d3os> ";

const HOW_TO_LEAVE: &str = "^D does not end the shell; `poweroff` switches the machine off\r\n";

/// Greets, then reads and runs lines until a command ends the machine.
///
/// # Errors
/// The console does not answer any more; there is nobody to tell.
pub fn run(system: &mut dyn System) -> Result<(), SystemError> {
    let mut terminal = Terminal { editor: Editor::new(PROMPT), out: Vec::new() };
    terminal.greet(system);
    terminal.send(system)?;
    system.ready();
    loop {
        let event = system.read()?;
        if terminal.take(event, system)? == Course::End {
            return Ok(());
        }
    }
}

/// The editor and what it has written and not sent.
struct Terminal {
    editor: Editor,
    out: Vec<u8>,
}

impl Terminal {
    fn greet(&mut self, system: &mut dyn System) {
        self.editor.ask_size(&mut self.out);
        let version = system.info().map(|info| info.version).unwrap_or_default();
        let name = if version.is_empty() { "D3OS" } else { "D3OS " };
        for part in [name, &version, ". `help` lists the commands, `poweroff` leaves.\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        self.editor.begin(&mut self.out);
    }

    fn send(&mut self, system: &mut dyn System) -> Result<(), SystemError> {
        let sent = system.write(&self.out);
        self.out.clear();
        sent
    }

    fn take(&mut self, event: InputEvent, system: &mut dyn System) -> Result<Course, SystemError> {
        match event {
            InputEvent::Bytes(bytes) => self.editor.push(&bytes, &mut self.out),
            InputEvent::Redraw => self.editor.redraw(&mut self.out),
        }
        while let Some(event) = self.editor.step(&mut self.out) {
            if self.act(event, system)? == Course::End {
                return Ok(Course::End);
            }
        }
        self.send(system)?;
        Ok(Course::Continue)
    }

    fn act(&mut self, event: Event, system: &mut dyn System) -> Result<Course, SystemError> {
        match event {
            Event::Line(line) => return self.run(&line, system),
            Event::Cancelled => self.editor.begin(&mut self.out),
            Event::EndOfInput => {
                self.out.extend_from_slice(HOW_TO_LEAVE.as_bytes());
                self.editor.begin(&mut self.out);
            }
            Event::Complete(before) => {
                let offer = complete(&before, system);
                self.editor.offer(&offer, &mut self.out);
            }
        }
        Ok(Course::Continue)
    }

    fn run(&mut self, line: &str, system: &mut dyn System) -> Result<Course, SystemError> {
        self.send(system)?;
        let (width, height) = (self.editor.width(), self.editor.height());
        let mut session = Session::new(system, Mode::Interactive { width, height });
        run_line(&mut session, line);
        let course = session.course();
        if course == Course::Continue {
            self.editor.begin(&mut self.out);
        }
        Ok(course)
    }
}
