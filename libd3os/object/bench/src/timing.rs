//! The CPU time of this thread, which other programs on the machine lengthen less than the time on a
//! clock.

use std::error::Error;

use nix::time::{ClockId, clock_gettime};

/// Does `work` and prints what an operation took, of which there are so many.
pub(crate) fn figure<R>(
    store: &str,
    name: &str,
    operations: u64,
    work: impl FnOnce() -> Result<R, Box<dyn Error>>,
) -> Result<R, Box<dyn Error>> {
    let before = now()?;
    let result = work()?;
    print(store, name, now()? - before, operations);
    Ok(result)
}

/// Prints what an operation took, of which so many took so many nanoseconds.
pub(crate) fn print(store: &str, name: &str, taken: u64, operations: u64) {
    println!("{store}\t{name}\t{:.2}", per(taken, operations));
}

/// In nanoseconds.
pub(crate) fn now() -> Result<u64, Box<dyn Error>> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(u64::try_from(time.tv_sec())? * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per(nanoseconds: u64, operations: u64) -> f64 {
    nanoseconds as f64 / operations.max(1) as f64
}
