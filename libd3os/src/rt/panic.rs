//! What happens when a program panics: its message and a backtrace go to the log, then it ends.
//!
//! Addresses stand bare in the backtrace: the program's symbols are not in its memory. `init`,
//! which has them, names the addresses of faults; `addr2line` names these.

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use super::PANIC_EXIT_CODE;
use super::entry::{stack_top, stop_root};
use super::memory::return_addresses;
use crate::{logging, program};

/// Callers that a backtrace names at most.
const MAX_DEPTH: usize = 24;

static PANICKED: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKED.swap(true, Ordering::Relaxed) {
        // A panic while telling of one: there is nothing left to tell it with.
        program::abort();
    }
    let mut text = Text::default();
    let _ = write!(text, "{info}");
    logging::emergency(&text.0);
    text.0.clear();
    let _ = write!(text, "backtrace:");
    let frame = program::frame_pointer();
    for address in return_addresses(frame, frame, stack_top()).take(MAX_DEPTH) {
        let _ = write!(text, " {address:#x}");
    }
    logging::emergency(&text.0);
    if program::start_info().is_some() { program::exit(PANIC_EXIT_CODE) } else { stop_root() }
}

/// Text without the heap, which may be what broke. What does not fit is cut.
#[derive(Default)]
struct Text(heapless::String<700>);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.0.capacity() - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]).map_err(|_| core::fmt::Error)
    }
}
