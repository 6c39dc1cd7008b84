//! The program itself: what it was given at its start, and how it ends.

use alloc::collections::BTreeSet;

use spin::{Mutex, Once};

use crate::cap::IoPort;
use crate::device::{Device, DeviceError};
use crate::ipc::MissingGrant;
use crate::port::Ports;
use crate::shared::SharedMemory;
use crate::start::{GrantKind, Hardware, StartInfo};
use crate::sys::Cptr;

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "reads the frame pointer, and ends a program by an instruction")]
mod instructions;

mod death;
#[expect(unsafe_code, reason = "makes shared memory of what init has mapped")]
mod region;

pub use death::Death;
#[cfg(target_os = "none")]
pub use instructions::abort;
#[cfg(target_os = "none")]
pub(crate) use instructions::frame_pointer;

static START: Once<StartInfo> = Once::new();

/// The program's start information, or `None` in a root task, which has none.
#[must_use]
pub fn start_info() -> Option<&'static StartInfo> {
    START.get()
}

/// Keeps the start information for the rest of the program's life. Only the first call counts;
/// the runtime makes it, on a host a test may.
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

/// The I/O ports that the program was granted under this name.
///
/// # Errors
/// [`MissingGrant`] where the manifest does not grant them.
pub fn ports(name: &str) -> Result<Ports, MissingGrant<'_>> {
    start_info()
        .and_then(|info| info.ports(name))
        .map(|(slot, range)| Ports::new(IoPort::new(Cptr::new(u64::from(slot))), range.first))
        .ok_or(MissingGrant { kind: GrantKind::Ports, name })
}

/// The device that the program was granted under this name.
///
/// # Errors
/// [`DeviceError::NotGranted`] where the manifest does not grant it, [`DeviceError::Absent`] where
/// the machine does not have it.
pub fn device(name: &str) -> Result<Device, DeviceError<'_>> {
    let kind = GrantKind::Devices;
    let grant = start_info().and_then(|info| info.grant(kind, name));
    let grant = grant.ok_or(DeviceError::NotGranted(MissingGrant { kind, name }))?;
    match &grant.hardware {
        Some(Hardware::Device(device)) => Ok(Device::new(device, grant.slot)),
        _ => Err(DeviceError::Absent { name }),
    }
}

/// The shared memory that the program was granted under this name, to read, to read and write, or
/// for its devices, too. It can be had once.
///
/// # Errors
/// [`MissingGrant`] where the manifest does not grant it, or the program has taken it before.
pub fn region(name: &str) -> Result<SharedMemory, MissingGrant<'_>> {
    region::take(name).ok_or(MissingGrant { kind: GrantKind::Regions, name })
}

/// First addresses of what was handed out and must not be a second time.
static TAKEN: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// Whether what begins at this address was not handed out before.
pub(crate) fn take_once(base: u64) -> bool {
    TAKEN.lock().insert(base)
}

/// Ends the program with this exit code; 0 is success. A program that was not granted the
/// supervisor cannot tell a code: it ends by an illegal instruction, which its supervisor sees.
#[cfg(target_os = "none")]
pub fn exit(code: i32) -> ! {
    if let Ok(supervisor) = crate::service::supervisor::SupervisorClient::connect() {
        // The supervisor ends the program instead of answering.
        let _ = supervisor.exit(code);
    }
    abort()
}
