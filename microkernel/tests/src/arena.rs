//! What a test makes its objects of, and what it may want to know beside.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use kernel_workbench::Workbench;
pub(crate) use kernel_workbench::{
    ASID_CONTROL, ASID_POOL, CNODE, DEPTH, DOMAIN, IMAGE_BASE, IO_PORT_CONTROL, IRQ_CONTROL, TCB,
    VSPACE, slot_of, smallest_ram, untypeds,
};
use libd3os::abi::BootInfo;
use libd3os::cap::IoPort;

use crate::console::Console;

/// A workbench, on which objects are made as if it were one.
pub(crate) struct Arena {
    bench: Workbench,
    domains: u8,
    serial: IoPort,
    notes: Vec<String>,
}

impl Arena {
    /// Takes over what the root task has, but for the console and the slots that it took.
    pub(crate) fn new(boot: &'static BootInfo, console: Console, domains: u8) -> Self {
        let bench = Workbench::new(boot, Console::SLOTS);
        Self { bench, domains, serial: console.serial(), notes: Vec::new() }
    }

    /// Scheduling domains of this kernel.
    pub(crate) fn domains(&self) -> u8 {
        self.domains
    }

    /// The first serial port, which results are printed to between tests.
    pub(crate) fn serial(&self) -> IoPort {
        self.serial
    }

    /// Something to be told beside the test's result.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What was noted since this was last asked.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        core::mem::take(&mut self.notes)
    }
}

impl Deref for Arena {
    type Target = Workbench;

    fn deref(&self) -> &Workbench {
        &self.bench
    }
}

impl DerefMut for Arena {
    fn deref_mut(&mut self) -> &mut Workbench {
        &mut self.bench
    }
}
