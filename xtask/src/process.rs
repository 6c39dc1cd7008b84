//! Running other programs, with errors that name the command line at fault.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, ExitStatus, Stdio};

/// A program that did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It could not be started at all.
    #[error("cannot start `{line}`")]
    NotStarted {
        /// The command line.
        line: String,
        /// Why.
        source: io::Error,
    },
    /// It ran and said no.
    #[error("`{line}` failed: {status}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Its output is not text.
    #[error("`{line}` printed something that is not UTF-8")]
    NotText {
        /// The command line.
        line: String,
    },
}

/// Runs to the end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<(), CommandError> {
    let status = status(command)?;
    check(command, status)
}

/// Runs to the end with its standard output on our standard error.
pub(crate) fn run_aside(command: &mut Command) -> Result<(), CommandError> {
    run(command.stdout(io::stderr()))
}

/// Runs to the end and says how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus, CommandError> {
    command.status().map_err(|source| CommandError::NotStarted { line: line(command), source })
}

/// Runs to the end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String, CommandError> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| CommandError::NotStarted { line: line(command), source })?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).map_err(|_| CommandError::NotText { line: line(command) })
}

/// Runs to the end without a word; a failure comes with what the program said.
pub(crate) fn run_silent(command: &mut Command) -> Result<(), (CommandError, String)> {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(source) => {
            let line = line(command);
            return Err((CommandError::NotStarted { line, source }, String::new()));
        }
    };
    let said = [output.stdout, output.stderr].concat();
    check(command, output.status)
        .map_err(|error| (error, String::from_utf8_lossy(&said).into_owned()))
}

/// Whether the program starts and succeeds, whatever it prints.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(shell_word).collect::<Vec<_>>().join(" ")
}

fn check(command: &Command, status: ExitStatus) -> Result<(), CommandError> {
    match status.success() {
        true => Ok(()),
        false => Err(CommandError::Failed { line: line(command), status }),
    }
}

fn shell_word(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_quotes_what_a_shell_would_split() {
        let mut command = Command::new("qemu");
        command.args(["-append", "it's quiet", "-m", "512M", ""]);
        assert_eq!(line(&command), r"qemu -append 'it'\''s quiet' -m 512M ''");
    }

    #[test]
    fn a_failing_program_is_named() {
        let error = run(&mut Command::new("false")).expect_err("false fails");
        assert!(error.to_string().starts_with("`false` failed: exit status"));
        let error = run(&mut Command::new("no-such-program-here")).expect_err("cannot start");
        assert!(matches!(error, CommandError::NotStarted { .. }));
    }
}
