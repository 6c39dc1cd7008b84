//! What this program was given at its start.

use spin::Once;

use crate::ipc::MissingGrant;
use crate::start::{GrantKind, StartInfo};
use crate::sys::Cptr;

static START: Once<StartInfo> = Once::new();

/// The program's start information, or `None` in a root task, which has none.
#[must_use]
pub fn start_info() -> Option<&'static StartInfo> {
    START.get()
}

/// Keeps the start information for the rest of the program's life. Only the first call counts.
pub fn set_start_info(info: StartInfo) -> &'static StartInfo {
    START.call_once(|| info)
}

/// The capability that the program was granted under this kind and name.
///
/// # Errors
/// [`MissingGrant`] where the manifest does not grant it.
pub fn grant(kind: GrantKind, name: &str) -> Result<Cptr, MissingGrant<'_>> {
    start_info()
        .and_then(|info| info.slot(kind, name))
        .map(|slot| Cptr::new(u64::from(slot)))
        .ok_or(MissingGrant { kind, name })
}
