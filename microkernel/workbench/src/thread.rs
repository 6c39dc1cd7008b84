//! Threads beside the root task's: a stack, and a first function that is a closure.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ptr;

use libd3os::abi::{Label, MessageInfo, Syscall, UserRegisters};
use libd3os::cap::{Capability, Tcb};
use libd3os::sys::{self, Registers};

use crate::Workbench;

/// What a thread is begun with.
struct Job {
    body: Box<dyn Fn()>,
    tcb: Tcb,
}

/// The stack of a thread.
#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; Stack::BYTES]>);

impl Stack {
    const BYTES: usize = 16 << 10;

    const fn new() -> Self {
        Self(UnsafeCell::new([0; Self::BYTES]))
    }

    /// What RSP is as a function begins that was called with it.
    fn entry_rsp(&self) -> u64 {
        let top = self.0.get().addr() + Self::BYTES;
        top as u64 - 8
    }
}

/// A thread's first function. It stops the thread by registers alone, as it may have no IPC buffer.
extern "C" fn begin(job: *const Job) -> ! {
    // SAFETY: `Workbench::registers` put the address of a job that the workbench keeps into RDI, and
    // what is kept is dropped after every thread of the workbench's memory is gone.
    let job = unsafe { &*job };
    (job.body)();
    let info = MessageInfo::new(Label::TcbSuspend.number(), 0, 0, 0).0;
    loop {
        let registers =
            Registers { rdi: job.tcb.cptr().address(), rsi: info, ..Registers::default() };
        let _ = sys::raw(Syscall::Call, registers);
    }
}

impl Workbench {
    /// Registers with which `tcb`, made of this workbench's memory, runs `body` on a stack of its
    /// own, and then stops. It has no thread-local storage unless the body sets some.
    pub fn registers(&mut self, tcb: Tcb, body: impl Fn() + 'static) -> UserRegisters {
        let job = ptr::from_ref(self.keep(Job { body: Box::new(body), tcb }));
        let rsp = self.keep(Stack::new()).entry_rsp();
        UserRegisters {
            rip: begin as extern "C" fn(*const Job) -> ! as usize as u64,
            rsp,
            rdi: job.addr() as u64,
            rflags: 0x202,
            ..UserRegisters::default()
        }
    }
}
