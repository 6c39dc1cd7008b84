//! A host's stand-in for the kernel: whatever a test installs.

extern crate std;

use std::boxed::Box;
use std::cell::RefCell;
use std::thread_local;

use super::Registers;

/// A fake kernel: takes the system call's number and registers, returns the registers.
pub type Kernel<'a> = dyn FnMut(i64, Registers) -> Registers + 'a;

thread_local! {
    static KERNEL: RefCell<Option<Box<Kernel<'static>>>> = const { RefCell::new(None) };
}

/// Runs `body` while `kernel` takes this thread's system calls.
pub fn with_kernel<R>(
    kernel: impl FnMut(i64, Registers) -> Registers + 'static,
    body: impl FnOnce() -> R,
) -> R {
    KERNEL.with_borrow_mut(|slot| *slot = Some(Box::new(kernel)));
    let result = body();
    KERNEL.with_borrow_mut(|slot| *slot = None);
    result
}

pub(super) fn trap_without_words(number: i64, registers: Registers) -> Registers {
    trap(number, Registers { words: Default::default(), ..registers })
}

pub(super) fn trap(number: i64, registers: Registers) -> Registers {
    KERNEL.with_borrow_mut(|kernel| match kernel {
        Some(kernel) => kernel(number, registers),
        None => panic!("system call {number} on a host, where no kernel was installed"),
    })
}
