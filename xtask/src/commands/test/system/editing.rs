//! Line editing, history, completion and ^C over the real serial line.

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, contains, equals};

pub(crate) const TESTS: [Test; 6] = [
    ("editing::keys", keys),
    ("editing::history", history),
    ("editing::completion", completion),
    ("editing::cancel_and_clear", cancel_and_clear),
    ("editing::interrupt", interrupt),
    ("editing::a_long_paste_arrives_whole", paste),
];

const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const HOME: &str = "\x1b[H";
const END: &str = "\x1b[F";
const DELETE: &str = "\x1b[3~";
const WORD_LEFT: &str = "\x1b[1;5D";
const CTRL_C: &str = "\x03";
const CTRL_K: &str = "\x0b";
const CTRL_L: &str = "\x0c";
const CTRL_R: &str = "\x12";
const CTRL_W: &str = "\x17";
const CTRL_Y: &str = "\x19";

fn keys(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    let typed = |keys: &[&str]| keys.concat();
    let table = [
        (typed(&["echo ac", LEFT, "b"]), "abc"),
        (typed(&["cho x", HOME, "e", END, "y"]), "xy"),
        (typed(&["echo one three", WORD_LEFT, "two "]), "one two three"),
        (typed(&["echo abc", LEFT, LEFT, DELETE, END]), "ac"),
        (typed(&["echo good bad", CTRL_W, "better"]), "good better"),
        (
            typed(&["echo cut", HOME, CTRL_K, CTRL_Y, CTRL_C, "echo kept", HOME, CTRL_K, CTRL_Y]),
            "kept",
        ),
        (typed(&["echo a\u{e4}\u{20ac}\x7f!"]), "a\u{e4}!"),
    ];
    for (keys, output) in table {
        session.keys(&keys)?;
        session.wait("the edited line", |screen| {
            let text = screen.text();
            text.lines().last().is_some_and(|line| line == format!("d3os> echo {output}"))
        })?;
        equals(&session.enter()?, output)?;
    }
    Ok(())
}

fn history(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    session.run("echo first")?;
    session.run("echo second")?;
    session.edit(UP, "echo second")?;
    session.edit(UP, "echo first")?;
    session.edit(DOWN, "echo second")?;
    equals(&session.enter()?, "second")?;
    session.keys(&format!("{CTRL_R}fir"))?;
    session.wait("the found line", |screen| {
        screen.text().lines().last().is_some_and(|line| line.contains("echo first"))
    })?;
    equals(&session.enter()?, "first")
}

fn completion(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    session.edit("ver\t", "version ")?;
    contains(&session.enter()?, &["D3OS"])?;
    session.edit("caps cons\t", "caps console ")?;
    contains(&session.enter()?, &["serves console"])?;
    session.edit("fault re\t", "fault readonly ")?;
    Ok(())
}

fn cancel_and_clear(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    session.edit("echo never run", "echo never run")?;
    session.keys(CTRL_C)?;
    session.prompt()?;
    equals(&session.run("echo run")?, "run")?;
    session.keys(CTRL_L)?;
    session.wait("an empty screen", |screen| screen.text().trim_end() == "d3os>")?;
    equals(&session.run("echo still here")?, "still here")
}

fn interrupt(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    session.edit("run hello --forever", "run hello --forever")?;
    session.keys("\r")?;
    session.text("(3).")?;
    session.keys(CTRL_C)?;
    session.prompt()?;
    contains(&session.screen().last_output(), &["`hello` was interrupted"])?;
    let ps = session.run("ps")?;
    let hello = ps.lines().find(|line| line.starts_with("hello")).unwrap_or_default();
    contains(hello, &["stopped"])
}

/// Faster than a person types: nothing may be lost between driver, console and shell.
fn paste(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    let text: String = (0..100).map(|number| format!("{number:03}")).collect();
    session.keys(&format!("echo {text}\r"))?;
    session.wait("the pasted text, printed", |screen| {
        screen.at_prompt() && screen.last_output().replace('\n', "").ends_with(&text)
    })?;
    Ok(())
}
