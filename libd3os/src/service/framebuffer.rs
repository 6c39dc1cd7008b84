//! The screen: memory that is shown. Served by the driver `framebuffer`.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Most rectangles of one [`Framebuffer::present`]: what fits in a message.
pub const MAX_RECTANGLES: usize = 32;

/// A screen. Whoever draws does so in the shared region `screen`: lines from the top, one directly
/// after another, each pixel four bytes, 0x00RRGGBB as a little-endian number. What was drawn is
/// shown when it is presented.
///
/// After a restart of the driver the screen is blank until everything is presented again: the driver
/// signals `screen-up` each time that it has started.
#[crate::service(name = "framebuffer", version = 1)]
pub trait Framebuffer {
    /// What the region holds. The size does not change while the driver runs.
    #[retryable]
    fn mode() -> Result<Mode, FramebufferError>;

    /// Shows these parts of the region, at most [`MAX_RECTANGLES`]. Answers when the device has
    /// them: they may be drawn to again.
    #[retryable]
    fn present(rectangles: Vec<Rectangle>) -> Result<(), FramebufferError>;
}

/// Size of what is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// A part of the screen, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rectangle {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// Why the screen refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FramebufferError {
    /// A rectangle is not within the screen, or there are too many of them.
    Outside,
    /// The device does not answer.
    NotResponding,
}

impl fmt::Display for FramebufferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outside => "a rectangle is not within the screen",
            Self::NotResponding => "the screen's device does not answer",
        })
    }
}

impl core::error::Error for FramebufferError {}
