//! Printing to the console.
//!
//! [`crate::print!`] and [`crate::println!`] write to the Console service. A program that was not granted
//! it prints into the log instead, so that nothing said is lost silently.

use core::fmt::{self, Write};

use crate::call::{CallError, Error, Transport};
use crate::service::console::ConsoleClient;
use crate::sys;

/// Bytes that go to the console in one call.
const CHUNK: usize = 900;
/// How often a call is made again when the console is busy or was restarted.
const ATTEMPTS: u32 = 100;

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::stdio::print(::core::format_args!($($argument)*))
    };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => {
        $crate::print!("\n")
    };
    ($($argument:tt)*) => {
        $crate::stdio::print(::core::format_args!("{}\n", ::core::format_args!($($argument)*)))
    };
}

/// Prints formatted text: what the macros call.
pub fn print(text: fmt::Arguments<'_>) {
    match ConsoleClient::connect() {
        Ok(console) => {
            let mut writer = Writer::new(&console);
            // A console that cannot be reached leaves nobody to tell.
            let _ = writer.write_fmt(text).and_then(|()| writer.flush());
        }
        Err(_) => log::info!(target: "print", "{text}"),
    }
}

/// Collects text and writes it to a console in chunks.
#[derive(Debug)]
pub struct Writer<'a, T: Transport> {
    console: &'a ConsoleClient<T>,
    pending: heapless::Vec<u8, CHUNK>,
}

impl<'a, T: Transport> Writer<'a, T> {
    /// A writer to this console.
    #[must_use]
    pub const fn new(console: &'a ConsoleClient<T>) -> Self {
        Self { console, pending: heapless::Vec::new() }
    }

    /// Writes what was collected.
    ///
    /// # Errors
    /// The console refused it, or stayed busy.
    pub fn flush(&mut self) -> fmt::Result {
        if self.pending.is_empty() {
            return Ok(());
        }
        let bytes = core::mem::take(&mut self.pending);
        for _ in 0..ATTEMPTS {
            match self.console.write(bytes.to_vec()) {
                Ok(()) => return Ok(()),
                Err(Error::Call(CallError::Busy | CallError::Restarted)) => sys::yield_now(),
                Err(_) => return Err(fmt::Error),
            }
        }
        Err(fmt::Error)
    }
}

impl<T: Transport> Writer<'_, T> {
    /// Adds bytes, which need not be text.
    ///
    /// # Errors
    /// The console refused it, or stayed busy.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = CHUNK - self.pending.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            self.pending.extend_from_slice(now).map_err(|_| fmt::Error)?;
            if self.pending.is_full() {
                self.flush()?;
            }
            rest = later;
        }
        Ok(())
    }
}

impl<T: Transport> Write for Writer<'_, T> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Caller, Later, Loopback};
    use crate::service::Page;
    use crate::service::console::{
        Console, ConsoleError, Graph, InputEvent, InputMode, ScreenStatus,
    };
    use alloc::string::String;
    use alloc::vec::Vec;

    #[derive(Default)]
    struct Screen(Vec<Vec<u8>>);

    impl Console for Screen {
        fn write(&mut self, _: Caller, bytes: Vec<u8>, later: Later<Result<(), ConsoleError>>) {
            self.0.push(bytes);
            later.answer(&Ok(()));
        }

        fn read(
            &mut self,
            _: Caller,
            _: InputMode,
            later: Later<Result<InputEvent, ConsoleError>>,
        ) {
            later.answer(&Err(ConsoleError::Disconnected));
        }

        fn draw_graph(&mut self, _: Caller, _: Graph) -> Result<(), ConsoleError> {
            Err(ConsoleError::NoScreen)
        }

        fn poll(&mut self, _: Caller) -> Result<Vec<u8>, ConsoleError> {
            Err(ConsoleError::Disconnected)
        }

        fn screen(&mut self, _: Caller) -> Result<ScreenStatus, ConsoleError> {
            Err(ConsoleError::NoScreen)
        }

        fn text(&mut self, _: Caller, _: u32) -> Result<Page<String>, ConsoleError> {
            Err(ConsoleError::NoScreen)
        }
    }

    #[test]
    fn text_is_written_whole_and_in_few_calls() {
        let screen = Loopback::new(Screen::default(), Caller(1), Console::dispatch);
        let console = ConsoleClient::new(screen);
        let text = "0123456789".repeat(250);
        let mut writer = Writer::new(&console);
        writer.write_str("a").and_then(|()| writer.write_str(&text)).expect("written");
        writer.flush().expect("written");
        let written = &console.transport().server().0;
        assert_eq!(written.len(), 3);
        assert_eq!(written.concat(), alloc::format!("a{text}").into_bytes());
    }
}
