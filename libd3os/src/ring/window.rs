//! A program's ring window and its bell, as the code needs them that calls and serves through it.
//!
//! [`super::ProgramWindow`] is the real one; tests have windows of their own.

use core::ops::Deref;

use super::{Directory, Doorbell, Line};

/// Where a program finds its rings, and how it is told that something happened in them.
pub trait Window {
    /// Memory of a ring.
    type Memory: Deref<Target = [Line]> + 'static;
    /// Wakes the peer of one pair, and waits for the program's own bell.
    type Bell: Doorbell + Clone + 'static;

    /// What is attached where.
    fn directory(&self) -> &Directory;

    /// Memory of the requests and of the answers of the pair that the directory says to lie at this
    /// place; `None` for a place that a window cannot have. Whoever asks uses the memory until it
    /// has said that it has ended, and not after.
    fn pair(&self, place: u64) -> Option<(Self::Memory, Self::Memory)>;

    /// The bell whose peer is woken by the capability in this slot.
    fn bell(&self, slot: u32) -> Self::Bell;

    /// Whether this place stands for a service that the program calls.
    fn calls_through(&self, place: u16) -> bool;

    /// Lets the program's own bell ring again. To be called after each of its signals, before the
    /// rings are looked at.
    fn acknowledge(&self);

    /// Takes the signals of other kinds that came while something waited for the bell alone.
    fn take_kept(&self) -> u64;
}
