//! The program's shared memory, out of its start information.

use super::{start_info, take_once};
use crate::shared::SharedMemory;

/// The memory of this name, the first time that it is asked for.
pub(super) fn take(name: &str) -> Option<SharedMemory> {
    let grant = start_info()?.region(name).filter(|grant| take_once(grant.base))?;
    // SAFETY: init has mapped the memory there for as long as the program lives, which is what its
    // start information says, and it is handed out once.
    unsafe { SharedMemory::new(grant) }.ok()
}
