//! What can be done with an object.

use bitflags::bitflags;

bitflags! {
    /// What the holder of a capability for an object may do with it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Rights: u64 {
        /// Map it, and read what it holds.
        const READ = 1;
        /// Map it to be changed, in transactions.
        const WRITE = 2;
        /// Map it to be executed.
        const MAP_EXECUTE = 4;
        /// Delete it, and take names from it.
        const DELETE = 8;
        /// Hand a part of these rights on.
        const GRANT = 16;
    }
}
