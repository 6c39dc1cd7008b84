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
    eprintln!("xtask: error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        eprintln!("  because: {inner}");
        cause = inner.source();
    }
}
