//! A signal that goes out with the next wait.
//!
//! A program that hands something to another and then waits makes one system call of the two
//! (`NBSendRecv`, `NBSendWait`), and the kernel switches once: to whom was signalled, and not there,
//! back, and away. One signal is kept; it goes out at the latest with the program's next system
//! call that may wait.

use crate::sys::{self, Cptr};

/// Keeps a signal. One that is kept for another notification goes out now.
pub(super) fn keep(notification: Cptr) {
    let kept = place::replace(Some(notification));
    if let Some(other) = kept.filter(|other| *other != notification) {
        sys::signal(other);
    }
}

/// Takes the signal that is kept: the caller sends it.
#[inline]
pub(super) fn take() -> Option<Cptr> {
    if place::is_empty() { None } else { place::replace(None) }
}

/// Sends the signal that is kept, if there is one.
#[inline]
pub(super) fn send() {
    if let Some(notification) = take() {
        sys::signal(notification);
    }
}

#[cfg(target_os = "none")]
mod place {
    //! The program's: it has one thread.

    use core::sync::atomic::{AtomicU64, Ordering};

    use crate::sys::Cptr;

    /// The notification's address; 0, where no capability can be, for none.
    static KEPT: AtomicU64 = AtomicU64::new(0);

    #[inline]
    pub(super) fn is_empty() -> bool {
        KEPT.load(Ordering::Relaxed) == 0
    }

    pub(super) fn replace(new: Option<Cptr>) -> Option<Cptr> {
        let old = KEPT.load(Ordering::Relaxed);
        KEPT.store(new.map_or(0, Cptr::address), Ordering::Relaxed);
        (old != 0).then_some(Cptr::new(old))
    }
}

#[cfg(not(target_os = "none"))]
mod place {
    //! One for each thread of a test.

    extern crate std;

    use core::cell::Cell;

    use crate::sys::Cptr;

    std::thread_local! {
        static KEPT: Cell<Option<Cptr>> = const { Cell::new(None) };
    }

    pub(super) fn is_empty() -> bool {
        KEPT.get().is_none()
    }

    pub(super) fn replace(new: Option<Cptr>) -> Option<Cptr> {
        KEPT.replace(new)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::cell::RefCell;
    use std::rc::Rc;
    use std::vec::Vec;

    use d3os_abi::Syscall;

    use crate::cap::{Endpoint, Notification, Reply};
    use crate::sys::{Cptr, Registers, host};

    /// The system calls that `work` makes: number, what it waits at, and what the rest names.
    fn calls(work: impl FnOnce()) -> Vec<(i64, [u64; 3])> {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&calls);
        let kernel = move |number, input: Registers| {
            log.borrow_mut().push((number, [input.rdi, input.r12, input.r13]));
            input
        };
        host::with_kernel(kernel, work);
        calls.take()
    }

    fn notification(slot: u64) -> Notification {
        Notification::new(Cptr::new(slot))
    }

    #[test]
    fn a_signal_and_a_wait_are_one_call() {
        let made = calls(|| {
            notification(1).signal_later();
            notification(1).signal_later();
            let _ = notification(2).wait();
            let _ = notification(2).wait();
        });
        let both = (Syscall::NBSendWait.number(), [2, 1, 0]);
        assert_eq!(made, [both, (Syscall::Wait.number(), [2, 0, 0])]);
    }

    #[test]
    fn so_are_a_signal_and_a_receive() {
        let made = calls(|| {
            notification(1).signal_later();
            let _ = Endpoint::new(Cptr::new(3)).recv(Reply::new(Cptr::new(4)));
        });
        assert_eq!(made, [(Syscall::NBSendRecv.number(), [3, 4, 1])]);
    }

    #[test]
    fn one_signal_is_kept() {
        let made = calls(|| {
            notification(1).signal_later();
            notification(5).signal_later();
            Notification::send_kept();
            Notification::send_kept();
        });
        let signal = Syscall::Send.number();
        assert_eq!(made, [(signal, [1, 0, 0]), (signal, [5, 0, 0])]);
    }
}
