//! The Debug* system calls of debug builds: printing, naming, halting, telling types.

use crate::cap::RawCap;
use crate::fault::Fault;
use crate::objects::{DOMAINS, NAME_LENGTH, Tcb, TcbSlot};
use crate::{Cap, Kernel, Machine, Ref, TableLevel};
use core::fmt::{self, Write};
use d3os_abi::Syscall;

/// The kernel's console, to format onto.
struct Console<'a, M>(&'a mut M);

impl<M: Machine> Write for Console<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.0.put_char(byte));
        Ok(())
    }
}

impl<M: Machine> Kernel<M> {
    /// Does a debug call; `false`: it is none.
    pub(crate) fn handle_debug_syscall(&mut self, thread: Ref<Tcb>, number: i64) -> bool {
        let argument = self.get(thread).context.rdi;
        match Syscall::from_number(number) {
            Some(Syscall::DebugPutChar) => self.machine.put_char(argument.to_le_bytes()[0]),
            Some(Syscall::DebugDumpScheduler) => self.dump_scheduler(),
            Some(Syscall::DebugHalt) => self.machine.halt(),
            Some(Syscall::DebugCapIdentify) => {
                let slot = self.lookup(thread, argument);
                let kind = slot.map_or(0, |slot| type_number(self.get(slot).raw));
                self.get_mut(thread).context.rdi = kind;
            }
            Some(Syscall::DebugSnapshot) => self.dump_cspace(thread),
            Some(Syscall::DebugNameThread) => self.name_thread(thread, argument),
            Some(Syscall::DebugGetThreadAffinity) => {
                self.get_mut(thread).context.rdi = self.core.into();
            }
            _ => return false,
        }
        true
    }

    fn print(&mut self, text: fmt::Arguments<'_>) {
        // Writing to the console cannot fail.
        let _ = Console(&mut self.machine).write_fmt(text);
    }

    /// The name is a zero-terminated string where message words are.
    fn name_thread(&mut self, caller: Ref<Tcb>, cptr: u64) {
        let named = self.lookup(caller, cptr).map(|slot| self.cap_at(slot));
        let Ok(Cap::Thread { object }) = named else {
            self.print(format_args!("DebugNameThread: capability {cptr:#x} is no thread\n"));
            return;
        };
        let mut name = [0; NAME_LENGTH];
        for (index, bytes) in name.chunks_mut(8).enumerate() {
            let Some(word) = self.buffered_word(caller, index) else { return };
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LENGTH);
        name[end..].fill(0);
        self.get_mut(object).name = name;
    }

    fn dump_scheduler(&mut self) {
        let mut next = self.scheduler.current;
        let queues = (0..DOMAINS).flat_map(|domain| (0..=u8::MAX).rev().map(move |p| (domain, p)));
        for (domain, priority) in queues {
            while let Some(thread) = next.get() {
                let tcb = *self.get(thread);
                self.print(format_args!(
                    "thread {thread:?} domain {} priority {} at {:#x} {:?} {:?}\n",
                    tcb.domain, tcb.priority, tcb.context.rip, tcb.state, tcb.queued
                ));
                next = tcb.scheduled.next;
            }
            next = self.scheduler.first_ready(domain, priority);
        }
    }

    fn dump_cspace(&mut self, thread: Ref<Tcb>) {
        let Cap::CNode { object, radix, .. } = self.cap_at(Self::tcb_slot(thread, TcbSlot::CSpace))
        else {
            return;
        };
        for index in 0..1 << radix {
            let cap = self.cap_at(object.index(index));
            if cap != Cap::Null {
                self.print(format_args!("{index:#x}: {cap:?}\n"));
            }
        }
    }

    /// Tells that a thread has stopped because nobody handles its fault.
    pub(crate) fn print_unhandled(&mut self, thread: Ref<Tcb>, fault: Fault) {
        let ip = self.get(thread).context.instruction();
        let name = self.get(thread).name;
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LENGTH);
        let name = core::str::from_utf8(&name[..length]).unwrap_or("?");
        self.print(format_args!(
            "{fault:?} in thread {thread:?} \"{name}\" at {ip:#x}, no handler\n"
        ));
    }
}

/// seL4's numbers of the types, in the order of [`crate::cap::tag`]: 0 for none; kernel objects even,
/// those of the architecture odd. For a table that of the highest level stands; seL4 has no signals
/// and no core control, which are the last two.
const TYPE_NUMBERS: [u8; 22] =
    [0, 4, 6, 8, 10, 2, 1, 7, 9, 12, 22, 13, 18, 24, 11, 14, 16, 31, 19, 20, 33, 35];

fn type_number(cap: RawCap) -> u64 {
    match cap.unpack() {
        Cap::Table { level: TableLevel::PageTable, .. } => 3,
        Cap::Table { level: TableLevel::PageDirectory, .. } => 5,
        _ => usize::try_from(cap.tag()).map_or(0, |tag| TYPE_NUMBERS[tag].into()),
    }
}
