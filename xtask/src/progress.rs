//! What the commands say while they work: always on standard error, so that standard output
//! holds results only (`--run` prints what the guest printed and nothing else).

use std::error::Error;

/// Says what is being done now.
pub(crate) fn step(what: &str) {
    eprintln!("xtask: {what}");
}

/// Says that something is not as it should be, but the work goes on.
pub(crate) fn note(what: &str) {
    eprintln!("xtask: note: {what}");
}

/// Prints an error with everything that caused it, each on its own line.
pub(crate) fn failure(error: &dyn Error) {
    eprint!("xtask: error: {}", explanation(error));
}

/// The error and its causes. A cause whose words its consequence has repeated is left out.
fn explanation(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut text = format!("{said}\n");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !said.contains(&words) {
            text += &format!("  because: {words}\n");
            said = words;
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Cause {
        text: &'static str,
        source: Option<Box<Cause>>,
    }

    fn cause(text: &'static str, source: Option<Cause>) -> Cause {
        Cause { text, source: source.map(Box::new) }
    }

    #[test]
    fn causes_are_told_once() {
        let root = cause("no such file", None);
        let middle = cause("cannot be read", Some(root));
        let error = cause("x.toml: cannot be read", Some(middle));
        assert_eq!(explanation(&error), "x.toml: cannot be read\n  because: no such file\n");
    }
}
