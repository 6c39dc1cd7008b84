//! A network card, as its driver offers it to the engine.

use core::fmt;

use libd3os::nic::{Checks, RxIndex, Sum};
use libd3os::service::nic::CardState;

/// Frames that a card can have to send at once, at most.
pub const SLOTS_MOST: usize = 256;

/// A place in the card's transmit ring, fewer than [`SLOTS_MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u16);

/// A receive buffer that the card has given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which.
    pub index: RxIndex,
    /// The frame in it, or nothing that could be handed on.
    pub frame: Result<Received, Flaw>,
}

/// A frame that has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its bytes.
    pub length: u16,
    /// Which of its checksums the card has found right.
    pub checks: Checks,
    /// Its last bytes, where they lie in another buffer.
    pub rest: Option<Rest>,
}

/// The end of a frame that a card has put into two buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The second buffer.
    pub index: RxIndex,
    /// Bytes of the frame that lie in it, from the place of a frame on.
    pub length: u16,
}

/// Why a receive buffer holds no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The frame is shorter than an Ethernet header.
    Short,
    /// The frame does not fit in a buffer.
    Long,
    /// The card found it damaged.
    Damaged,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Short => "short",
            Self::Long => "long",
            Self::Damaged => "damaged",
        })
    }
}

/// A card. It owns no memory of frames: it is told where they lie.
pub trait Card {
    /// The card does what no card may: it is to be stopped, and nothing of it to be believed.
    type Broken: fmt::Display;

    /// Ends the interrupt that has come, before the driver acknowledges it and looks. Tells whether
    /// the card says that its line may have changed.
    fn interrupted(&mut self) -> bool;

    /// Its address and the state of its line, asked anew.
    fn state(&mut self) -> CardState;

    /// Tells what the card has counted by itself since the last time, by name.
    fn statistics(&mut self, tell: &mut dyn FnMut(&'static str, u64)) {
        let _nothing = tell;
    }

    /// Receive buffers that it can have at once.
    fn receive_buffers(&self) -> u16;

    /// Gives it a receive buffer, one of those, that it does not have.
    fn refill(&mut self, index: RxIndex);

    /// Takes the next receive buffer that it is done with.
    ///
    /// # Errors
    /// [`Self::Broken`].
    fn receive(&mut self) -> Result<Option<Arrival>, Self::Broken>;

    /// Whether [`Self::transmit`] takes another frame.
    fn has_room(&self) -> bool;

    /// Whether it makes the checksums of frames to send.
    fn sums(&self) -> bool {
        false
    }

    /// Gives it a frame to send, which lies at this bus address, and of which it makes the checksum if it
    /// does that. `None` where there is no room.
    fn transmit(&mut self, bus: u64, length: u16, sum: Sum) -> Option<Slot>;

    /// Takes the next frame that it is done with.
    ///
    /// # Errors
    /// [`Self::Broken`].
    fn sent(&mut self) -> Result<Option<Slot>, Self::Broken>;

    /// Lets it see what it was given since the last time.
    fn publish(&mut self);

    /// Asks for interrupts: when a frame comes in, when the line changes, and, if `sent`, when
    /// frames have gone out. `true` where there is something to take already.
    fn arm(&mut self, sent: bool) -> bool;

    /// Asks for no interrupts: the driver looks by itself.
    fn disarm(&mut self);

    /// Ends everything: it reaches for no memory any more.
    fn stop(&mut self);
}
