//! Typed capabilities and every invocation of the kernel's objects.
//!
//! A type here says what its holder believes to be in a slot; the kernel checks at each
//! invocation and answers with an [`Error`]. Types are plain addresses: copying one copies no
//! capability, dropping one deletes none.

mod device;
mod error;
mod ipc;
mod later;
mod memory;
mod sched;
mod slot;
mod thread;

pub use device::{
    CoreControl, IoPort, IoPortControl, IoPortRange, IrqControl, IrqHandler, IrqPin, MsiSource,
    Signal,
};
pub use error::{Error, LookupFailure};
pub use ipc::{Endpoint, Notification, Reply};
pub use memory::{AsidControl, AsidPool, Frame, PageDirectory, PageTable, Pdpt, Untyped, VSpace};
pub use sched::{Bandwidth, DomainSet, SchedContext, SchedControl, Server};
pub use slot::{CNode, Slot, SlotRun};
pub use thread::{CopyParts, Space, Tcb};

use d3os_abi::{Label, MESSAGE_REGISTERS, MessageInfo};

use crate::sys::{self, Cptr};

/// What every typed capability is underneath.
pub trait Capability: Copy {
    /// The capability at this address, believed to be of this type.
    fn from_cptr(cptr: Cptr) -> Self;

    /// Its address.
    fn cptr(self) -> Cptr;
}

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub struct $name($crate::sys::Cptr);

        impl $name {
            /// The capability at this address, believed to be of this type.
            #[must_use]
            pub const fn new(cptr: $crate::sys::Cptr) -> Self {
                Self(cptr)
            }
        }

        impl $crate::cap::Capability for $name {
            fn from_cptr(cptr: $crate::sys::Cptr) -> Self {
                Self(cptr)
            }

            fn cptr(self) -> $crate::sys::Cptr {
                self.0
            }
        }
    )*};
}
use capabilities;

/// Invokes `object` with these words and capabilities; results lie in the message's words.
///
/// # Errors
/// What the kernel answered.
#[inline(always)]
pub fn invoke(object: Cptr, label: Label, words: &[u64], caps: &[Cptr]) -> Result<(), Error> {
    invoke_raw(object, label.number(), words, caps)
}

/// Invokes with any label, also one that no object knows: for kernel tests.
///
/// # Errors
/// What the kernel answered.
///
/// # Panics
/// There are more words or capabilities than a message holds.
// Inlined, as callers know how many words and capabilities there are: then there are no loops.
#[inline(always)]
pub fn invoke_raw(object: Cptr, label: u64, words: &[u64], caps: &[Cptr]) -> Result<(), Error> {
    let (first, rest) = words.split_at(words.len().min(MESSAGE_REGISTERS));
    let mut registers = [0; MESSAGE_REGISTERS];
    registers[..first.len()].copy_from_slice(first);
    for (index, word) in (MESSAGE_REGISTERS..).zip(rest) {
        sys::set_word(index, *word);
    }
    for (index, cap) in caps.iter().enumerate() {
        sys::set_cap(index, *cap);
    }
    let answer =
        sys::call_with(object, MessageInfo::new(label, 0, caps.len(), words.len()), registers);
    if answer.label() == 0 { Ok(()) } else { Error::check(answer.label()) }
}

#[cfg(test)]
mod tests {
    //! Each invocation is compared with the label table: object, label, words, capabilities.

    use super::*;
    use crate::abi::{CapRights, ObjectType, UserRegisters, VmAttributes};
    use crate::sys::host::with_kernel;
    use crate::sys::{Registers, badge, word};
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    #[derive(Debug, Default, Clone, PartialEq, Eq)]
    pub(super) struct Seen {
        object: u64,
        label: u64,
        words: Vec<u64>,
        caps: Vec<u64>,
    }

    /// Runs an invocation against a kernel that answers `label` and `result`, tells what it saw.
    pub(super) fn observe<R: 'static>(
        label: u64,
        result: [u64; 4],
        body: impl FnOnce() -> R,
    ) -> (Seen, R) {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let record = Rc::clone(&seen);
        let kernel = move |_, input: Registers| {
            let info = MessageInfo(input.rsi);
            let mut words: Vec<u64> = input.words.to_vec();
            words.extend((4..info.length()).map(word));
            words.truncate(info.length());
            *record.borrow_mut() = Seen {
                object: input.rdi,
                label: info.label(),
                words,
                caps: (0..info.extra_caps()).map(badge).collect(),
            };
            Registers { rsi: MessageInfo::new(label, 0, 0, 4).0, words: result, ..input }
        };
        let outcome = with_kernel(kernel, body);
        let seen = seen.borrow().clone();
        (seen, outcome)
    }

    fn check<R: 'static>(
        object: u64,
        label: Label,
        words: &[u64],
        caps: &[u64],
        body: impl FnOnce() -> Result<R, Error>,
    ) -> R {
        let (seen, outcome) = observe(0, [11, 12, 13, 14], body);
        let expected =
            Seen { object, label: label.number(), words: words.to_vec(), caps: caps.to_vec() };
        assert_eq!(seen, expected, "{label:?}");
        outcome.expect("the kernel said yes")
    }

    fn cap<C: Capability>(address: u64) -> C {
        C::from_cptr(Cptr::new(address))
    }

    #[test]
    fn untyped_and_slots() {
        let root: CNode = cap(2);
        let run = SlotRun { root, index: 3, depth: 4, offset: 5 };
        check(1, Label::UntypedRetype, &[4, 8, 3, 4, 5, 6], &[2], || {
            cap::<Untyped>(1).retype(ObjectType::CNode, 8, run, 6)
        });
        let (dest, src) = (root.slot(20, 13), cap::<CNode>(3).slot(30, 12));
        check(2, Label::CNodeRevoke, &[20, 13], &[], || dest.revoke());
        check(2, Label::CNodeDelete, &[20, 13], &[], || dest.delete());
        check(2, Label::CNodeCancelBadgedSends, &[20, 13], &[], || dest.cancel_badged_sends());
        let rights = CapRights::READ_WRITE;
        check(2, Label::CNodeCopy, &[20, 13, 30, 12, 3], &[3], || dest.copy_from(src, rights));
        check(2, Label::CNodeMint, &[20, 13, 30, 12, 3, 9], &[3], || {
            dest.mint_from(src, rights, 9)
        });
        check(2, Label::CNodeMove, &[20, 13, 30, 12], &[3], || dest.move_from(src));
        check(2, Label::CNodeMutate, &[20, 13, 30, 12, 7], &[3], || dest.mutate_from(src, 7));
        let pivot = cap::<CNode>(4).slot(40, 11);
        check(2, Label::CNodeRotate, &[20, 13, 1, 40, 11, 2, 30, 12], &[4, 3], || {
            dest.rotate(1, pivot, 2, src)
        });
    }

    #[test]
    fn threads() {
        let tcb: Tcb = cap(1);
        let (cspace, vspace, frame) = (cap::<CNode>(2), cap::<VSpace>(3), cap::<Frame>(4));
        let space = Space { cspace, cspace_data: 5, vspace };
        let notification: Notification = cap(6);
        check(1, Label::TcbConfigure, &[5, 0, 0x1000], &[2, 3, 4], || {
            tcb.configure(space, 0x1000, frame)
        });
        check(1, Label::TcbSetSpace, &[5, 0], &[9, 2, 3], || tcb.set_space(Cptr::new(9), space));
        check(1, Label::TcbSetIpcBuffer, &[0x1000], &[4], || tcb.set_ipc_buffer(0x1000, frame));
        check(1, Label::TcbSetPriority, &[7], &[8], || tcb.set_priority(cap(8), 7));
        check(1, Label::TcbSetMcPriority, &[7], &[8], || tcb.set_mc_priority(cap(8), 7));
        check(1, Label::TcbSetSchedParams, &[254, 100], &[8, 9, 10], || {
            tcb.set_sched_params(cap(8), 254, 100, cap(9), Cptr::new(10))
        });
        check(1, Label::TcbSetTimeoutEndpoint, &[], &[9], || {
            tcb.set_timeout_endpoint(Cptr::new(9))
        });
        check(1, Label::TcbSuspend, &[], &[], || tcb.suspend());
        check(1, Label::TcbResume, &[], &[], || tcb.resume());
        check(1, Label::TcbBindNotification, &[], &[6], || tcb.bind_notification(notification));
        check(1, Label::TcbUnbindNotification, &[], &[], || tcb.unbind_notification());
        check(1, Label::TcbSetTlsBase, &[0x2000], &[], || tcb.set_tls_base(0x2000));
        let flags = check(1, Label::TcbSetFlags, &[1, 0], &[], || tcb.set_flags(1, 0));
        assert_eq!(flags, 11);
    }

    #[test]
    fn registers() {
        let tcb: Tcb = cap(1);
        let registers = UserRegisters { rip: 1, rsp: 2, gs_base: 20, ..UserRegisters::default() };
        let mut words = alloc::vec![1, 20];
        words.extend(registers.to_words());
        check(1, Label::TcbWriteRegisters, &words, &[], || tcb.write_registers(&registers, true));
        let read = check(1, Label::TcbReadRegisters, &[1, 20], &[], || tcb.read_registers(true));
        assert_eq!((read.rip, read.rsp, read.rflags, read.rax), (11, 12, 13, 14));
        check(1, Label::TcbCopyRegisters, &[0b1010], &[5], || {
            let parts = CopyParts { integer: true, ..CopyParts::default() };
            tcb.copy_registers(cap(5), false, true, parts)
        });
    }

    #[test]
    fn scheduling() {
        let bandwidth = Bandwidth {
            budget_us: 5,
            period_us: 10,
            extra_refills: 2,
            badge: 3,
            ..Bandwidth::default()
        };
        check(1, Label::SchedControlConfigureFlags, &[5, 10, 2, 3, 0], &[4], || {
            cap::<SchedControl>(1).configure(cap(4), bandwidth)
        });
        let sporadic = Bandwidth { server: Server::Sporadic, ..bandwidth };
        check(1, Label::SchedControlConfigureFlags, &[5, 10, 2, 3, 1], &[4], || {
            cap::<SchedControl>(1).configure(cap(4), sporadic)
        });
        let context: SchedContext = cap(1);
        check(1, Label::SchedContextBind, &[], &[4], || context.bind(Cptr::new(4)));
        check(1, Label::SchedContextUnbind, &[], &[], || context.unbind());
        check(1, Label::SchedContextUnbindObject, &[], &[4], || {
            context.unbind_object(Cptr::new(4))
        });
        assert_eq!(check(1, Label::SchedContextConsumed, &[], &[], || context.consumed()), 11);
        assert_eq!(check(1, Label::SchedContextYieldTo, &[], &[], || context.yield_to()), 11);
        let domains: DomainSet = cap(1);
        check(1, Label::DomainSetSet, &[0], &[4], || domains.set(0, cap(4)));
        check(1, Label::DomainSetScheduleConfigure, &[1, 0, 9], &[], || {
            domains.schedule_configure(1, 0, 9)
        });
        check(1, Label::DomainSetScheduleSetStart, &[1], &[], || domains.schedule_set_start(1));
    }

    #[test]
    fn paging() {
        let vspace: VSpace = cap(9);
        let attributes = VmAttributes::WriteThrough;
        let pdpt: Pdpt = cap(1);
        check(1, Label::PdptMap, &[0x1000, 1], &[9], || pdpt.map(vspace, 0x1000, attributes));
        check(1, Label::PdptUnmap, &[], &[], || pdpt.unmap());
        let directory: PageDirectory = cap(1);
        check(1, Label::PageDirectoryMap, &[0x1000, 1], &[9], || {
            directory.map(vspace, 0x1000, attributes)
        });
        check(1, Label::PageDirectoryUnmap, &[], &[], || directory.unmap());
        let table: PageTable = cap(1);
        check(1, Label::PageTableMap, &[0x1000, 1], &[9], || table.map(vspace, 0x1000, attributes));
        check(1, Label::PageTableUnmap, &[], &[], || table.unmap());
        let frame: Frame = cap(1);
        check(1, Label::PageMap, &[0x1000, 2, 1], &[9], || {
            frame.map(vspace, 0x1000, CapRights::READ, attributes)
        });
        check(1, Label::PageUnmap, &[], &[], || frame.unmap());
        assert_eq!(check(1, Label::PageGetAddress, &[], &[], || frame.address()), 11);
        let dest = cap::<CNode>(5).slot(6, 7);
        check(1, Label::AsidControlMakePool, &[6, 7], &[4, 5], || {
            cap::<AsidControl>(1).make_pool(cap(4), dest)
        });
        check(1, Label::AsidPoolAssign, &[], &[9], || cap::<AsidPool>(1).assign(vspace));
    }

    #[test]
    fn devices() {
        let dest = cap::<CNode>(5).slot(6, 7);
        let control: IrqControl = cap(1);
        check(1, Label::IrqControlGet, &[3, 6, 7], &[5], || control.get(3, dest));
        check(1, Label::IrqControlGetIoApic, &[6, 7, 0, 4, 1, 0, 20], &[5], || {
            let pin = IrqPin { io_apic: 0, pin: 4, level_triggered: true, active_low: false };
            control.get_io_apic(dest, pin, 20)
        });
        check(1, Label::IrqControlGetMsi, &[6, 7, 1, 2, 3, 4, 20], &[5], || {
            let source = MsiSource { bus: 1, device: 2, function: 3, handle: 4 };
            control.get_msi(dest, source, 20)
        });
        check(1, Label::IrqControlIssueSignal, &[3, 2, 6, 7], &[5], || {
            control.issue_signal(dest, 3, 2)
        });
        check(1, Label::IrqControlGetSignal, &[2, 6, 7], &[5], || control.get_signal(dest, 2));
        check(1, Label::CoreControlStop, &[3], &[], || cap::<CoreControl>(1).stop(3));
        check(1, Label::CoreControlStart, &[3], &[], || cap::<CoreControl>(1).start(3));
        let handler: IrqHandler = cap(1);
        check(1, Label::IrqHandlerAck, &[], &[], || handler.ack());
        check(1, Label::IrqHandlerClear, &[], &[], || handler.clear());
        check(1, Label::IrqHandlerSetNotification, &[], &[4], || handler.set_notification(cap(4)));
        let range = IoPortRange { first: 0x3f8, last: 0x3ff };
        check(1, Label::IoPortControlIssue, &[0x3f8, 0x3ff, 6, 7], &[5], || {
            cap::<IoPortControl>(1).issue(range, dest)
        });
        let port: IoPort = cap(1);
        assert_eq!(check(1, Label::IoPortIn8, &[9], &[], || port.in8(9)), 11);
        assert_eq!(check(1, Label::IoPortIn16, &[9], &[], || port.in16(9)), 11);
        assert_eq!(check(1, Label::IoPortIn32, &[9], &[], || port.in32(9)), 11);
        check(1, Label::IoPortOut8, &[9, 1], &[], || port.out8(9, 1));
        check(1, Label::IoPortOut16, &[9, 2], &[], || port.out16(9, 2));
        check(1, Label::IoPortOut32, &[9, 3], &[], || port.out32(9, 3));
    }

    #[test]
    fn errors_carry_their_details() {
        let fail = |label, words| observe(label, words, || cap::<IrqHandler>(1).ack()).1;
        for (label, words, expected) in [
            (1, [2, 0, 0, 0], Error::InvalidArgument { index: 2 }),
            (2, [1, 0, 0, 0], Error::InvalidCapability { index: 1 }),
            (3, [0; 4], Error::IllegalOperation),
            (4, [1, 9, 0, 0], Error::Range { least: 1, greatest: 9 }),
            (5, [0; 4], Error::Alignment),
            (
                6,
                [1, 2, 51, 0],
                Error::FailedLookup {
                    source: true,
                    failure: LookupFailure::MissingCapability { bits_left: 51 },
                },
            ),
            (7, [0; 4], Error::TruncatedMessage),
            (8, [0; 4], Error::DeleteFirst),
            (9, [0; 4], Error::RevokeFirst),
            (10, [4096, 0, 0, 0], Error::NotEnoughMemory { available: 4096 }),
            (11, [0; 4], Error::Unknown { label: 11 }),
        ] {
            assert_eq!(fail(label, words), Err(expected));
        }
    }
}
