//! Views that are drawn again and again, until a key ends them.

use alloc::string::String;

use crate::command::CommandError;
use crate::session::{Mode, Session};
use crate::system::System;

/// Keys that end a view: `q` and ^C.
const LEAVE: [u8; 2] = [b'q', 3];
/// How long a key waits at most before it is noticed, in milliseconds.
const SLICE_MS: u64 = 100;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;

const BEGIN: &str = "\x1b[?25l\x1b[2J";
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K\n";
const REST_OF_SCREEN: &str = "\x1b[J";
const END: &str = "\x1b[?25h";
/// What stands below every frame.
const HINT: &str = "q leaves; any other key draws at once";

/// How a view goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Milliseconds from one frame to the next.
    pub interval_ms: u64,
    /// How many frames there are; without a number, as many as the person wants, and one in a
    /// script.
    pub frames: Option<u64>,
}

/// What a key, or the lack of one, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The next frame is due, or wanted.
    Draw,
    /// The view is over.
    Leave,
}

/// Draws the frames that `frame` makes. It is called once before the first, so that it can begin to
/// count; what it returns then is not shown. In a script the frames follow each other as text.
///
/// # Errors
/// What `frame` fails with, or waiting.
pub fn show(
    session: &mut Session<'_>,
    pace: Pace,
    mut frame: impl FnMut(&mut dyn System) -> Result<String, CommandError>,
) -> Result<(), CommandError> {
    let _before = frame(session.system)?;
    let is_script = session.mode == Mode::Script;
    let frames = pace.frames.unwrap_or(if is_script { 1 } else { u64::MAX });
    if is_script {
        for _ in 0..frames {
            wait(session, pace.interval_ms)?;
            let text = frame(session.system)?;
            session.print(format_args!("{text}"));
        }
        return Ok(());
    }
    session.print(format_args!("{BEGIN}"));
    let shown = draw_frames(session, pace.interval_ms, frames, &mut frame);
    session.print(format_args!("{END}"));
    shown
}

fn draw_frames(
    session: &mut Session<'_>,
    interval_ms: u64,
    frames: u64,
    frame: &mut dyn FnMut(&mut dyn System) -> Result<String, CommandError>,
) -> Result<(), CommandError> {
    for _ in 0..frames {
        if wait_or_key(session, interval_ms)? == Then::Leave {
            break;
        }
        let text = frame(session.system)?;
        draw(session, &text);
    }
    Ok(())
}

/// Puts a frame over the last one, line by line: nothing flickers.
fn draw(session: &mut Session<'_>, text: &str) {
    session.print(format_args!("{HOME}"));
    for line in text.lines() {
        session.print(format_args!("{line}{END_OF_LINE}"));
    }
    session.print(format_args!("{HINT}{END_OF_LINE}{REST_OF_SCREEN}"));
    session.flush();
}

fn wait(session: &mut Session<'_>, ms: u64) -> Result<(), CommandError> {
    session.flush();
    let until_ns = now_ns(session)?.saturating_add(ms.saturating_mul(NS_PER_MS));
    Ok(session.system.wait_until(until_ns)?)
}

/// Waits for so many milliseconds, or until a key is pressed.
fn wait_or_key(session: &mut Session<'_>, ms: u64) -> Result<Then, CommandError> {
    session.flush();
    let mut left_ms = ms;
    loop {
        let keys = session.system.keys()?;
        if keys.iter().any(|key| LEAVE.contains(key)) {
            return Ok(Then::Leave);
        }
        if !keys.is_empty() || left_ms == 0 {
            return Ok(Then::Draw);
        }
        let slice_ms = left_ms.min(SLICE_MS);
        wait(session, slice_ms)?;
        left_ms -= slice_ms;
    }
}

fn now_ns(session: &mut Session<'_>) -> Result<u64, CommandError> {
    Ok(session.system.info()?.uptime_us.saturating_mul(NS_PER_US))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn shown(fake: &mut Fake, mode: Mode, frames: Option<u64>) -> (String, u32) {
        let mut session = Session::new(fake, mode);
        let mut count = 0;
        let pace = Pace { interval_ms: 250, frames };
        show(&mut session, pace, |_| {
            count += 1;
            Ok(format!("frame {count}\nend\n"))
        })
        .unwrap();
        session.settle().unwrap();
        (fake.text(), count)
    }

    #[test]
    fn a_script_gets_one_frame_without_escapes() {
        let mut fake = Fake::default();
        assert_eq!(shown(&mut fake, Mode::Script, None), ("frame 2\nend\n".into(), 2));
        assert_eq!(fake.done, ["wait until 200250000000"]);
        let two = shown(&mut Fake::default(), Mode::Script, Some(2));
        assert_eq!(two.0, "frame 2\nend\nframe 3\nend\n");
    }

    #[test]
    fn a_key_draws_and_q_leaves() {
        let mut fake = Fake::typing("xq");
        let (text, count) = shown(&mut fake, Mode::Interactive { width: 80, height: 24 }, None);
        assert_eq!(count, 2);
        assert!(text.contains("\x1b[Hframe 2\x1b[K\nend\x1b[K\nq leaves"), "{text:?}");
        assert!(text.starts_with(BEGIN) && text.ends_with(END), "{text:?}");
        assert!(fake.done.is_empty(), "nothing was waited for");
    }

    #[test]
    fn without_a_key_time_passes_in_slices() {
        let mut fake = Fake::default();
        let (_, count) = shown(&mut fake, Mode::Interactive { width: 80, height: 24 }, Some(1));
        assert_eq!((count, fake.done.len()), (2, 3), "250 ms are three slices");
    }
}
