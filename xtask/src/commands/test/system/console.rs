//! The screen and the machine's keyboard, beside the serial line.

use std::collections::BTreeSet;

use super::lab::Lab;
use super::nvdimm::of_size;
use super::session::Session;
use super::sight::{Sight, has_line};
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::vm::{Machine, Persistence};

pub(crate) const TESTS: [Test; 8] = [
    ("console::keys_reach_the_shell_on_the_screen", keys_reach_the_shell_on_the_screen),
    ("console::each_console_has_its_shell", each_console_has_its_shell),
    ("console::each_interrupt_key_has_its_program", each_interrupt_key_has_its_program),
    ("console::a_plot_is_drawn_in_pixels_while_it_goes_on", a_plot_is_drawn_in_pixels),
    ("console::an_object_is_drawn_in_pixels", an_object_is_drawn_in_pixels),
    ("console::a_text_is_edited_on_both_terminals", a_text_is_edited),
    ("console::a_virtio_gpu_shows_the_same", a_virtio_gpu_shows_the_same),
    ("console::without_a_screen_the_serial_line_is_enough", without_a_screen),
];

/// A machine with a person at its serial line and another one at its screen.
struct Desk {
    line: Session,
    screen: Sight,
}

impl Desk {
    /// Starts a machine with these arguments and waits for both prompts.
    fn start(lab: &Lab<'_>, name: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut machine = lab.machine();
        machine.extra.extend(arguments.iter().map(Into::into));
        Self::at(lab, name, machine)
    }

    /// Starts this machine and waits for both prompts.
    fn at(lab: &Lab<'_>, name: &str, mut machine: Machine) -> Result<Self, Failure> {
        Sight::prepare(lab, name, &mut machine);
        let mut line = Session::start(&machine)?;
        let mut screen = Sight::of(lab, name)?;
        line.prompt()?;
        screen.wait("the prompt", |text| text.contains("d3os>"))?;
        Ok(Self { line, screen })
    }
}

fn keys_reach_the_shell_on_the_screen(lab: &Lab<'_>) -> Outcome {
    let Desk { mut line, mut screen } = Desk::start(lab, "console-keys", &[])?;
    let (width, height) = screen.look()?.size();
    if (width, height) != (1024, 768) {
        return Err(unexpected("a screen of another size", &format!("{width} by {height}")));
    }
    screen.enter("echo typed at the screen")?;
    screen.wait("the output", |text| has_line(text, "typed at the screen"))?;
    // The serial line has its own shell.
    let output = line.run("echo typed at the line")?;
    contains(&output, &["typed at the line"])?;
    if screen.look()?.text().contains("typed at the line") {
        return Err(unexpected("the serial line's output on the screen", &output));
    }
    let shown = line.run("screenshot")?;
    contains(&shown, &["1024 by 768 pixels", "console 1 of 4", "typed at the screen", "d3os  "])
}

fn each_console_has_its_shell(lab: &Lab<'_>) -> Outcome {
    let Desk { mut line, mut screen } = Desk::start(lab, "console-switch", &[])?;
    screen.enter("echo first")?;
    screen.wait("the first console's output", |text| has_line(text, "first"))?;
    screen.press(&["alt", "f2"])?;
    let fresh = |text: &str| text.contains("d3os>") && !has_line(text, "first");
    screen.wait("the second console's prompt", fresh)?;
    screen.enter("echo second")?;
    screen.wait("the second console's output", |text| has_line(text, "second"))?;
    let programs = line.run("ps")?;
    contains(&programs, &["shell-1", "shell-2"])?;
    screen.press(&["alt", "f1"])?;
    let back = |text: &str| has_line(text, "first") && !has_line(text, "second");
    screen.wait("the first console again", back)?;
    // German: the key right of T is Z.
    screen.enter("keyboard de")?;
    screen.enter("echo yes")?;
    screen.wait("German letters", |text| has_line(text, "zes"))?;
    Ok(())
}

fn each_interrupt_key_has_its_program(lab: &Lab<'_>) -> Outcome {
    let Desk { mut line, mut screen } = Desk::start(lab, "console-interrupt", &[])?;
    screen.enter("serve")?;
    screen.wait("the server", |text| text.contains("serving at port 7"))?;
    line.keys("run hello --forever\r")?;
    line.text("(3).")?;
    line.keys("\x03")?;
    line.prompt()?;
    contains(&line.screen().last_output(), &["`hello` was interrupted"])?;
    let programs = line.run("ps")?;
    let serve = programs.lines().find(|row| row.starts_with("serve")).unwrap_or_default();
    contains(serve, &["running"])?;
    line.keys("run hello --forever\r")?;
    line.wait("hello again", |screen| screen.text().matches("(3).").count() == 2)?;
    screen.press(&["ctrl", "c"])?;
    screen.wait("the server's end", |text| text.contains("`serve` was interrupted"))?;
    // The other terminal's program goes on: what it has printed until now is not all.
    let printed = line.screen().text().len();
    Ok(line.wait("more of hello", |screen| screen.text().len() > printed + 100)?)
}

/// The colour of a graph's surface, which no text has.
const SURFACE: [u8; 3] = [0x1e, 0x3c, 0x40];
/// Pixels of it that are a surface and not a speck.
const PIXELS: usize = 500;

fn a_plot_is_drawn_in_pixels(lab: &Lab<'_>) -> Outcome {
    let Desk { line: _running, mut screen } = Desk::start(lab, "console-plot", &[])?;
    let begun = |text: &str| text.contains("console: requests in a second, 500 ms a column");
    screen.enter("plot console")?;
    screen.wait("the plot's title", begun)?;
    screen.wait_for_picture("the graph", |picture| picture.count(SURFACE) > PIXELS)?;
    screen.press(&["q"])?;
    screen.wait("the prompt", |text| begun(text) && text.contains("d3os>"))?;
    screen.wait_for_picture("no graph", |picture| picture.count(SURFACE) == 0)?;
    Ok(())
}

/// The colours of a page with a large block, and of a pointer.
const LARGE: [u8; 3] = [0x4f, 0x8f, 0xd6];
const POINTER: [u8; 3] = [0xf0, 0xb4, 0x4c];

fn an_object_is_drawn_in_pixels(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "drawn.pmem", "64M", Persistence::Adr)?;
    let machine = lab.machine().with_pmem(pmem)?;
    let Desk { mut line, mut screen } = Desk::at(lab, "console-object", machine)?;
    line.run("obj new notes")?;
    line.run("obj put notes text")?;
    // The serial line has no graphics, so there are tables only.
    contains(&line.run("obj map notes")?, &["large block", "text.bytes.elements"])?;
    let begun = |text: &str| text.contains("notes: a tile is 1 page, a line a pointer");
    screen.enter("obj map notes")?;
    screen.wait("the picture's title", begun)?;
    screen.wait_for_picture("the pages", |picture| picture.count(LARGE) > 100)?;
    screen.wait_for_picture("the pointer", |picture| picture.count(POINTER) > 40)?;
    screen.press(&["q"])?;
    screen.wait("the tables", |text| text.contains("text.bytes.elements"))?;
    screen.wait_for_picture("no picture", |picture| picture.count(LARGE) == 0)?;
    Ok(())
}

fn a_text_is_edited(lab: &Lab<'_>) -> Outcome {
    let pmem = of_size(lab, "edited.pmem", "64M", Persistence::Adr)?;
    let machine = lab.machine().with_pmem(pmem)?;
    let Desk { mut line, mut screen } = Desk::at(lab, "console-edit", machine)?;
    screen.enter("obj edit notes")?;
    screen.wait("the page", |text| text.contains("notes  1:1  ^S saves, ^Q leaves"))?;
    screen.enter("first")?;
    screen.enter("third")?;
    screen.press(&["ctrl", "s"])?;
    screen.wait("the note", |text| text.contains("notes  3:1  saved"))?;
    screen.press(&["ctrl", "q"])?;
    screen.wait("the prompt", |text| text.contains("d3os>") && !text.contains("saved"))?;
    contains(&line.run("obj get notes")?, &["first", "third"])?;
    line.keys("obj edit notes\r")?;
    line.wait("the page", |screen| screen.text().contains("notes  1:1  ^S saves"))?;
    line.keys("\x1b[B2\r\x13")?;
    line.wait("the note", |screen| screen.text().contains("notes  3:1  saved"))?;
    line.keys("\x11")?;
    line.prompt()?;
    contains(&line.run("obj search notes 2")?, &["at byte 6", "1 place in 14 bytes of text"])
}

fn a_virtio_gpu_shows_the_same(lab: &Lab<'_>) -> Outcome {
    let Desk { mut line, mut screen } =
        Desk::start(lab, "console-virtio", &["-vga", "none", "-device", "virtio-gpu-pci"])?;
    screen.enter("echo by virtio")?;
    screen.wait("the output", |text| has_line(text, "by virtio"))?;
    contains(&line.run("trace framebuffer")?, &["pixels shown"])
}

fn without_a_screen(lab: &Lab<'_>) -> Outcome {
    let mut machine: Machine = lab.machine();
    machine.extra.extend(["-vga", "none"].map(Into::into));
    let mut session = Session::at_prompt(&machine)?;
    contains(&session.run("screenshot")?, &["there is no screen"])?;
    session.text("init: share cannot be started")?;
    contains(&session.run("echo enough")?, &["enough"])?;
    // Init shows the log where the console cannot, and only there.
    let records = session.screen().records();
    match records.iter().collect::<BTreeSet<_>>().len() == records.len() {
        true => Ok(()),
        false => Err(unexpected("a record was shown twice", &records.join("\n"))),
    }
}
