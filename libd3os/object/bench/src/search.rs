//! The server's search over a gibibyte by two threads, beside `memchr`'s own and beside reading alone.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use libd3os_object::operators::{Operator, Outcome as Found, PIECE_BYTES, Pattern};
use memchr::memmem;

use crate::Outcome;
use crate::timing::{now, print};

const BYTES: usize = 1 << 30;
const PATTERN: &[u8] = b"near memory";
const THREADS: usize = 2;

pub(crate) fn measure() -> Outcome {
    let text = text();
    let pattern = Pattern::new(PATTERN)?;
    let operator = Operator::Search { pattern, limit: 10 };
    let pieces: Vec<_> = operator.pieces(BYTES)?.collect();
    let ours = together("ours", &pieces, |piece| match operator.carry_out(&text, piece) {
        Found::Found { count, .. } => count,
        Found::Sum(_) | Found::Word(_) => 0,
    })?;
    // One half each, so that nothing is lost at boundaries but in the middle.
    let halves = [0..BYTES / 2, BYTES / 2..BYTES];
    let finder = memmem::Finder::new(PATTERN);
    let theirs = together("memchr", &halves, |half| finder.find_iter(&text[half]).count() as u64)?;
    let sum = Operator::Sum;
    together("reading", &pieces, |piece| match sum.carry_out(&text, piece) {
        Found::Sum(sum) => u64::from(sum > 0),
        Found::Found { .. } | Found::Word(_) => 0,
    })?;
    if ours == theirs && ours > 0 { Ok(()) } else { Err(format!("{ours}, not {theirs}").into()) }
}

/// Words of a few letters, with the pattern once in a mebibyte.
fn text() -> Vec<u8> {
    let letters = (0_u64..).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59);
    let letter = |number| b"etaoin shrdlu cmfwyp vbgkjqxz  e"[usize::try_from(number).unwrap_or(0)];
    let mut text: Vec<u8> = letters.map(letter).take(PIECE_BYTES).collect();
    text[1000..1000 + PATTERN.len()].copy_from_slice(PATTERN);
    text.repeat(BYTES / PIECE_BYTES)
}

/// Has the threads do the pieces, whoever is free takes the next, and adds up what they found. What the
/// one took that worked longest is printed, per KiB.
fn together(
    store: &str,
    pieces: &[Range<usize>],
    work: impl Fn(Range<usize>) -> u64 + Sync,
) -> Result<u64, Box<dyn std::error::Error>> {
    let next = AtomicUsize::new(0);
    let one = || {
        let (before, mut found) = (now().ok()?, 0);
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            found += work(piece.clone());
        }
        Some((found, now().ok()? - before))
    };
    let done: Option<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().ok()?).collect()
    });
    let done = done.ok_or("a thread failed")?;
    let longest = done.iter().map(|(_, taken)| *taken).max().unwrap_or(0);
    print(store, "search a KiB, 2 threads", longest, BYTES as u64 >> 10);
    Ok(done.iter().map(|(found, _)| found).sum())
}
