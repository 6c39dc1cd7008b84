//! The screen and the machine's keyboard: keys are pressed by QEMU's monitor, and what the screen
//! shows is read off its picture.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::lab::Lab;
use super::picture::Picture;
use super::session::Session;
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::qmp::Monitor;
use crate::vm::Machine;

pub(crate) const TESTS: [Test; 4] = [
    ("console::keys_reach_the_shell_on_the_screen", keys_reach_the_shell_on_the_screen),
    ("console::each_console_has_its_shell", each_console_has_its_shell),
    ("console::a_virtio_gpu_shows_the_same", a_virtio_gpu_shows_the_same),
    ("console::without_a_screen_the_serial_line_is_enough", without_a_screen),
];

/// Real time for anything that is waited for. Emulation on a loaded host is slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the screen, which tells nobody when it changes.
const PAUSE: Duration = Duration::from_millis(300);

/// A machine with a person at its screen; another one sits at the serial line.
struct Desk {
    /// Keeps the machine.
    session: Session,
    monitor: Monitor,
    picture: PathBuf,
}

impl Desk {
    /// Starts a machine with these arguments and waits for both prompts.
    fn start(lab: &Lab<'_>, name: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let socket = lab.place(&format!("{name}.qmp"));
        let mut machine = lab.machine();
        machine.extra.extend(arguments.iter().map(Into::into));
        machine.extra.push("-qmp".into());
        machine.extra.push(format!("unix:{},server=on,wait=off", socket.display()).into());
        let mut session = Session::start(&machine)?;
        let monitor = Monitor::connect(&socket)?;
        session.prompt()?;
        let mut desk = Self { session, monitor, picture: lab.place(&format!("{name}.ppm")) };
        desk.wait("the prompt", |text| text.contains("d3os>"))?;
        Ok(desk)
    }

    /// Presses keys together, by QEMU's names for them.
    fn press(&mut self, keys: &[&str]) -> Outcome {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.monitor.execute("send-key", json!({ "keys": keys }))?;
        Ok(())
    }

    /// Types small letters, digits and blanks, and Enter at the end.
    fn enter(&mut self, line: &str) -> Outcome {
        for character in line.chars() {
            let key = if character == ' ' { "spc".to_owned() } else { character.to_string() };
            self.press(&[&key])?;
        }
        self.press(&["ret"])
    }

    /// What the screen shows.
    fn look(&mut self) -> Result<Picture, Failure> {
        self.monitor.execute("screendump", json!({ "filename": self.picture }))?;
        let picture = fs::read(&self.picture).ok().as_deref().and_then(Picture::parse);
        picture.ok_or_else(|| unexpected("no picture", &self.picture.display().to_string()))
    }

    /// Waits until the text on the screen is so, and tells it.
    fn wait(&mut self, what: &str, is: impl Fn(&str) -> bool) -> Result<String, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.look()?.text();
            if is(&text) {
                return Ok(text);
            }
            if Instant::now() >= end {
                return Err(unexpected(format!("waited in vain for {what} on the screen"), &text));
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Whether a line of the text is this.
fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|shown| shown == line)
}

fn keys_reach_the_shell_on_the_screen(lab: &Lab<'_>) -> Outcome {
    let mut desk = Desk::start(lab, "console-keys", &[])?;
    let (width, height) = desk.look()?.size();
    if (width, height) != (1024, 768) {
        return Err(unexpected("a screen of another size", &format!("{width} by {height}")));
    }
    desk.enter("echo typed at the screen")?;
    desk.wait("the output", |text| has_line(text, "typed at the screen"))?;
    // The serial line has its own shell.
    let line = desk.session.run("echo typed at the line")?;
    contains(&line, &["typed at the line"])?;
    if desk.look()?.text().contains("typed at the line") {
        return Err(unexpected("the serial line's output on the screen", &line));
    }
    let shown = desk.session.run("screenshot")?;
    contains(&shown, &["1024 by 768 pixels", "console 1 of 4", "typed at the screen", "d3os  "])
}

fn each_console_has_its_shell(lab: &Lab<'_>) -> Outcome {
    let mut desk = Desk::start(lab, "console-switch", &[])?;
    desk.enter("echo first")?;
    desk.wait("the first console's output", |text| has_line(text, "first"))?;
    desk.press(&["alt", "f2"])?;
    let fresh = |text: &str| text.contains("d3os>") && !has_line(text, "first");
    desk.wait("the second console's prompt", fresh)?;
    desk.enter("echo second")?;
    desk.wait("the second console's output", |text| has_line(text, "second"))?;
    let programs = desk.session.run("ps")?;
    contains(&programs, &["shell-1", "shell-2"])?;
    desk.press(&["alt", "f1"])?;
    let back = |text: &str| has_line(text, "first") && !has_line(text, "second");
    desk.wait("the first console again", back)?;
    // German: the key right of T is Z.
    desk.enter("keyboard de")?;
    desk.enter("echo yes")?;
    desk.wait("German letters", |text| has_line(text, "zes"))?;
    Ok(())
}

fn a_virtio_gpu_shows_the_same(lab: &Lab<'_>) -> Outcome {
    let mut desk =
        Desk::start(lab, "console-virtio", &["-vga", "none", "-device", "virtio-gpu-pci"])?;
    desk.enter("echo by virtio")?;
    desk.wait("the output", |text| has_line(text, "by virtio"))?;
    contains(&desk.session.run("trace framebuffer")?, &["pixels shown"])
}

fn without_a_screen(lab: &Lab<'_>) -> Outcome {
    let mut machine: Machine = lab.machine();
    machine.extra.extend(["-vga", "none"].map(Into::into));
    let mut session = Session::at_prompt(&machine)?;
    contains(&session.run("screenshot")?, &["there is no screen"])?;
    contains(&session.run("echo enough")?, &["enough"])
}
