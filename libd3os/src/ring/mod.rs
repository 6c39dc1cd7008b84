//! Rings: messages from one core to another through shared memory.
//!
//! A ring carries messages from one [`Sender`] to one [`Receiver`]. A message has a tag and up to
//! half of the ring's bytes. Up to [`PAYLOAD_BYTES`] bytes fit in one cache line together with the
//! header that says that they are there, so that such a message costs one line's way from core to
//! core; longer ones take several lines.
//!
//! # Protocol
//!
//! - Each line's header has the number of the round over the ring in which it was written. The
//!   receiver knows the number that it expects next: a line with that number is there, one with
//!   the number before is not yet, and any other is an error. No index is shared.
//! - The sender writes the lines of a message with the first one's header last (release), so the
//!   receiver (acquire) sees all of a message or nothing.
//! - The receiver counts the lines that it has taken and writes the count to a line of its own
//!   every quarter of the ring (release). The sender reads it when it has no room left (acquire).
//! - A side that has nothing to do looks at the ring for a while and then sleeps at its
//!   [`Doorbell`]; how no wake-up is lost is said in `presence`. A side that ends says so.
//!
//! # When the ring is full
//!
//! Nothing is ever dropped or overwritten. [`Sender::try_send`] fails with [`SendError::Full`],
//! [`Sender::send`] waits. The receiver tells in batches, so the ring may be called full when up
//! to a quarter of it is free; an empty ring always has room for the longest message.
//!
//! # Trust
//!
//! The peer may write anything anywhere in the memory, at any time. It can make its own messages
//! wrong, stop sending, and signal in vain. It cannot make this side read or write outside of the
//! ring, panic, or undefined: sizes and indices are this side's own, every word read from the memory is
//! read once and checked, and what breaks the protocol is the typed error `Corrupt`. Bytes are
//! copied out before anybody decodes them.

mod bells;
mod clients;
mod directory;
mod doorbell;
mod error;
mod layout;
mod line;
#[expect(unsafe_code, reason = "takes mapped memory as lines")]
mod memory;
mod pair;
mod patience;
mod presence;
#[expect(unsafe_code, reason = "reaches the memory that init maps at fixed addresses")]
mod program_window;
mod receiver;
mod sender;
mod services;
mod sync;
mod transport;
#[cfg(any(target_os = "none", all(test, target_arch = "x86_64", not(miri))))]
#[expect(unsafe_code, reason = "copies lines by instructions that are wider than words")]
mod wide;
mod window;

#[cfg(test)]
pub(crate) mod host;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod interleaving_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod thread_tests;

pub use bells::CoreBell;
pub use clients::Clients;
pub use directory::{Directory, RingEntry};
pub use doorbell::{Doorbell, Polling};
pub use error::{ReceiveError, RingError, SendError};
pub use layout::{CONTROL_LINES, MIN_LINES};
pub use line::{LINE_BYTES, Line, PAYLOAD_BYTES};
pub use memory::{Mapping, directory_at};
pub use pair::{PAIR_LINES, Pair, Side, receiver_has_ended};
pub use program_window::{BellCounts, ProgramBell, ProgramWindow, WindowMemory, bell_counts};
pub use receiver::{Received, Receiver};
pub use sender::Sender;
pub use services::Services;
pub use transport::{RingServer, RingTransport, TakenCall};
pub use window::Window;
