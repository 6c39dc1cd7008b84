//! The prompt and every command, in a session.

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, contains, equals, unexpected};

pub(crate) const TESTS: [Test; 7] = [
    ("shell::commands", commands),
    ("shell::live_views", live_views),
    ("shell::help_of_every_command", help_of_every_command),
    ("shell::lines", lines),
    ("shell::mistakes_have_hints", mistakes_have_hints),
    ("shell::reboot", reboot),
    ("shell::poweroff", poweroff),
];

/// Every command that ends, with what its output must hold.
const COMMANDS: [(&str, &[&str]); 19] = [
    ("help", &["help [COMMAND]", "fault [--core N] KIND", "poweroff"]),
    (
        "ps",
        &["PROGRAM", "BUDGET/PERIOD", "uart", "console", "shell", "running", "hello", "stopped"],
    ),
    ("mem", &["MiB", "untyped", "frames", "kept by the kernel"]),
    ("caps shell", &["SLOT", "endpoint", "calls console", "calls supervisor", "calls log"]),
    ("caps uart", &["serves uart", "com1, 0x3f8 to 0x3ff", "IRQ handler", "signals console-input"]),
    ("svc", &["SERVICE", "supervisor", "console", "uart", "log", "RESTARTS", "A serial line."]),
    ("trace -n 4 uart", &["requests", "interrupts", "bytes sent", "LATEST", "sent "]),
    ("sleep 20; trace timer", &["deadlines met", "LATEST"]),
    ("date", &["-", ":", " UTC"]),
    ("trace log", &["calls made", "events"]),
    ("svc console", &["console, version 3", "log records shown"]),
    ("svc supervisor", &["supervisor, version 7", "init", "power_off"]),
    ("log", &["uart was started"]),
    ("uptime", &["up ", "time stamp counter at", "MHz"]),
    ("cores", &["CORE", "HEARD", "0  running", "1  running"]),
    ("version", &["D3OS 0.1.0", "image `default`", "2 cores", "MiB of RAM"]),
    ("echo one 'two  three'", &["one two  three"]),
    ("run hello a 'b c'", &["Hello from hello on core 0", "argument 1: b c"]),
    ("help kill", &["kill [--after N] NAME", "ends a program"]),
];

fn commands(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    for (line, wanted) in COMMANDS {
        contains(&session.run(line)?, wanted)?;
    }
    session.edit("clear", "clear")?;
    session.keys("\r")?;
    session.wait("an empty screen", |screen| screen.text().trim_end() == "d3os>")?;
    Ok(())
}

/// Views clear the screen and draw over what they drew, so there is no output to collect.
fn live_views(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    let views = [("top -d 200", "MESSAGES/S"), ("plot -d 200 uart bytes", "uart: bytes sent in a")];
    for (line, wanted) in views {
        session.edit(line, line)?;
        session.keys("\r")?;
        session.text(wanted)?;
        session.keys("q")?;
        session.prompt()?;
    }
    Ok(())
}

fn help_of_every_command(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    let list = session.run("help")?;
    let names = ["help", "ps", "mem", "caps", "log", "svc", "run", "kill", "fault", "uptime"];
    let more =
        ["date", "sleep", "trace", "cores", "echo", "clear", "version", "reboot", "poweroff"];
    for name in names.into_iter().chain(more) {
        contains(&list, &[name])?;
        let explained = session.run(&format!("help {name}"))?;
        if !explained.starts_with(name) || explained.lines().count() < 3 {
            return Err(unexpected(format!("no explanation of {name}"), &explained));
        }
    }
    Ok(())
}

fn lines(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    equals(&session.run("echo a; echo b")?, "a\nb")?;
    equals(&session.run("echo a && echo b")?, "a\nb")?;
    let stopped = session.run("kill nobody && echo never")?;
    contains(&stopped, &["kill: "])?;
    if stopped.contains("never") {
        return Err(unexpected("`&&` went on after a failure", &stopped));
    }
    contains(&session.run("kill nobody; echo still")?, &["still"])?;
    equals(&session.run(r#"echo "a  b" 'c;d' e\ f"#)?, "a  b c;d e f")
}

fn mistakes_have_hints(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    contains(&session.run("hlep")?, &["there is no command `hlep`", "did you mean `help`?"])?;
    contains(&session.run("run helo")?, &["did you mean `hello`?"])?;
    contains(&session.run("svc urt")?, &["there is no service `urt`", "did you mean `uart`?"])?;
    contains(&session.run("fault slowly")?, &["usage: fault [--core N] KIND"])?;
    contains(&session.run("caps")?, &["usage: caps NAME"])
}

fn reboot(lab: &Lab<'_>) -> Outcome {
    let machine = crate::vm::Machine { on_reset: crate::vm::OnReset::Restart, ..lab.machine() };
    let mut session = Session::at_prompt(&machine)?;
    session.run("echo before")?;
    session.edit("reboot", "reboot")?;
    session.keys("\r")?;
    let prompts = |text: &str| text.lines().filter(|line| line.starts_with("d3os>")).count();
    session.wait("a prompt after the boot", |screen| {
        screen.at_prompt() && prompts(&screen.text()) != 2
    })?;
    equals(&session.run("echo after")?, "after")
}

/// Also when the program is new that has told how. It answers before it is ended: who is ended while he
/// waits to be started is not started.
fn poweroff(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    contains(&session.run("acpi")?, &["FACP"])?;
    contains(&session.run("kill platform")?, &["`platform` was ended"])?;
    contains(&session.run("acpi")?, &["FACP"])?;
    session.edit("poweroff", "poweroff")?;
    session.keys("\r")?;
    let (status, screen) = session.end()?;
    match status.code() {
        Some(0) => Ok(()),
        _ => Err(unexpected(format!("QEMU ended with {status}"), &screen)),
    }
}
