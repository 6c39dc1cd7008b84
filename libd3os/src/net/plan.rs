//! Where things lie in the region that a program shares with the server `net`.
//!
//! ```text
//! line 0        the server's instance number           written by the server
//! line 1        the proof of possession                written by the program
//! line 2 + p    the status of place p                  written by the server
//! line 64 …     the places: two rings each, from the program, then to it
//! ```
//!
//! Both sides know the region's size and compute the same; nothing here is read from the memory.

use crate::ring::{LINE_BYTES, Line, RingError};

/// Lines before the places.
const BOARD_LINES: usize = 64;
const INSTANCE: usize = 0;
const PROOF: usize = 1;
const FIRST_STATUS: usize = 2;
/// Lines of one ring: 16 KiB.
pub const RING_LINES: usize = 256;
const PLACE_LINES: usize = 2 * RING_LINES;
/// Places at most, however large the region is.
pub const MAX_PLACES: u16 = 62;

// A place for each status and a status for each place.
const _: () = assert!(FIRST_STATUS + MAX_PLACES as usize == BOARD_LINES);

/// The region's lines by their purposes.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'m> {
    board: &'m [Line],
    places: &'m [Line],
}

impl<'m> Plan<'m> {
    /// Bytes of the smallest region: with one place.
    pub const SMALLEST: usize = (BOARD_LINES + PLACE_LINES) * LINE_BYTES;

    /// The region in this memory.
    ///
    /// # Errors
    /// [`RingError::TooSmall`] for fewer bytes than [`Self::SMALLEST`].
    pub fn new(memory: &'m [Line]) -> Result<Self, RingError> {
        if memory.len() < BOARD_LINES + PLACE_LINES {
            return Err(RingError::TooSmall);
        }
        let (board, places) = memory.split_at(BOARD_LINES);
        Ok(Self { board, places })
    }

    /// How many sockets the program can have.
    #[must_use]
    pub fn places(&self) -> u16 {
        let places = self.places.len() / PLACE_LINES;
        u16::try_from(places).unwrap_or(MAX_PLACES).min(MAX_PLACES)
    }

    /// Which instance of the server serves the region.
    #[must_use]
    pub fn instance(&self) -> &'m Line {
        &self.board[INSTANCE]
    }

    /// What the program writes to show that the region is its own.
    #[must_use]
    pub fn proof(&self) -> &'m Line {
        &self.board[PROOF]
    }

    /// The status of a place, or `None` where there is no such place.
    #[must_use]
    pub fn status(&self, place: u16) -> Option<&'m Line> {
        let index = FIRST_STATUS + usize::from(place);
        self.board.get(index).filter(|_| place < self.places())
    }

    /// The ring from the program to the server, and the one back.
    #[must_use]
    pub fn rings(&self, place: u16) -> Option<(&'m [Line], &'m [Line])> {
        let first = usize::from(place) * PLACE_LINES;
        let lines = self.places.get(first..first + PLACE_LINES)?;
        (place < self.places()).then(|| lines.split_at(RING_LINES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::ptr;

    fn memory(lines: usize) -> Vec<Line> {
        (0..lines).map(|_| Line::default()).collect()
    }

    #[test]
    fn places_fill_the_region_and_do_not_overlap() {
        let memory = memory((256 << 10) / LINE_BYTES);
        let plan = Plan::new(&memory).expect("large enough");
        assert_eq!(plan.places(), 7);
        let mut last = plan.status(6).map(ptr::from_ref).expect("a place");
        for place in 0..7 {
            let (out, back) = plan.rings(place).expect("a place");
            assert!(last < out.as_ptr() && out.as_ptr_range().end == back.as_ptr());
            last = &raw const back[RING_LINES - 1];
        }
        assert!(plan.status(7).is_none() && plan.rings(7).is_none());
    }

    #[test]
    fn small_and_huge_regions() {
        let small = memory(Plan::SMALLEST / LINE_BYTES);
        assert_eq!(Plan::new(&small).map(|plan| plan.places()), Ok(1));
        assert!(Plan::new(&small[1..]).is_err());
        let huge = memory(BOARD_LINES + 70 * PLACE_LINES);
        let plan = Plan::new(&huge).expect("large enough");
        assert_eq!(plan.places(), MAX_PLACES);
        assert!(plan.status(61).is_some() && plan.status(62).is_none());
        assert!(plan.rings(62).is_none());
    }
}
