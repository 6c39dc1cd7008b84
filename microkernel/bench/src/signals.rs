//! Notifications, and giving up the core.

use kernel_workbench::{TCB, Workbench};
use libd3os::cap::Error;
use libd3os::sys;

use crate::laps;
use crate::peer::{Peer, Terms};

/// Of the thread that counts, while its peer is to run first.
const LOWER: u8 = 100;
const HIGHER: u8 = 101;
const HIGHEST: u8 = 255;

/// A signal and its receipt by the same thread.
pub(crate) fn signal_wait(bench: &mut Workbench) -> Result<(), Error> {
    let notification = bench.notification()?;
    laps(|| {
        notification.signal();
        let _ = notification.wait();
    });
    Ok(())
}

/// A signal to a higher-priority thread in another address space, and its signal back.
pub(crate) fn ping_pong(bench: &mut Workbench) -> Result<(), Error> {
    let (ping, pong) = (bench.notification()?, bench.notification()?);
    let space = bench.twin_address_space()?;
    TCB.set_priority(TCB, LOWER)?;
    let terms = Terms::new(HIGHER, space);
    Peer::start(bench, terms, move || {
        loop {
            let _ = ping.wait();
            pong.signal();
        }
    })?;
    laps(|| {
        ping.signal();
        let _ = pong.wait();
    });
    TCB.set_priority(TCB, HIGHEST)
}

/// `Yield` with nobody to yield to.
pub(crate) fn yield_alone() -> Result<(), Error> {
    laps(sys::yield_now);
    Ok(())
}
