//! Operations with more work than the kernel may do before it asks whether an interrupt waits.
//!
//! Each is carried out while a timer interrupts every 20 microseconds, which at one instruction a
//! nanosecond is 20,000 instructions, and a thread of higher priority takes the interrupt. An
//! operation that is broken off so is begun again by the kernel until it ends.

use kernel_workbench::{CNODE, TCB, Workbench, nth, slot_of, smallest_ram};
use libd3os::abi::{CapRights, ObjectType};
use libd3os::cap::{CNode, Capability, Error, Slot, SlotRun};
use libd3os::mark::{LongOperation, Phase, mark};
use libd3os::sys::Cptr;

use crate::crowd::{self, Crowd};
use crate::deep;
use crate::devices::Ticker;
use crate::spaces;

/// Of the thread that measures: below the ticker's and the crowds'.
pub(crate) const PRIORITY: u8 = 100;
/// log2 of the slots of CNodes; what has one size only ignores it.
const CNODE_RADIX: u8 = 4;
/// Objects that one invocation makes at most.
const FAN_OUT: u64 = 256;
/// log2 of the memory that large frames are made of.
const HUGE_BITS: u8 = 30;
/// Capabilities that are revoked.
const COPIES: u64 = 10_000;
/// log2 of the slots for them.
const COPIES_RADIX: u8 = 14;
/// log2 of the memory for a chain's reply objects.
const REPLIES_BITS: u8 = 16;
/// Objects in a chain or in a crowd.
pub(crate) const MANY: u64 = 1_000;

/// Carries out one of them.
pub(crate) fn measure(bench: &mut Workbench, operation: LongOperation) -> Result<(), Error> {
    match operation {
        LongOperation::RetypeHugeFrame => retype_large(bench, ObjectType::HugePage, 1),
        LongOperation::RetypeLargeFrames => retype_large(bench, ObjectType::LargePage, FAN_OUT),
        LongOperation::RetypeFrames => retype(bench, ObjectType::SmallPage),
        LongOperation::RetypeThreads => retype(bench, ObjectType::Tcb),
        LongOperation::RetypeCNodes => retype(bench, ObjectType::CNode),
        LongOperation::RetypeEndpoints => retype(bench, ObjectType::Endpoint),
        LongOperation::RetypeVSpaces => retype(bench, ObjectType::Pml4),
        LongOperation::Revoke => revoke(bench),
        LongOperation::DeleteCNode => delete_cnode(bench),
        LongOperation::DeleteNestedCNodes => delete_nested_cnodes(bench),
        LongOperation::CancelBadgedSends => cancel_badged_sends(bench),
        LongOperation::DeleteEndpoint => delete_endpoint(bench),
        LongOperation::DeleteNotification => delete_notification(bench),
        LongOperation::DeletePageTable => delete_page_table(bench),
        LongOperation::DeleteVSpace => delete_vspace(bench),
        LongOperation::DeleteAsidPool => delete_asid_pool(bench),
        LongOperation::DeleteReplies => delete_replies(bench),
        LongOperation::Release => release(bench),
        LongOperation::QueueCaller => queue_caller(bench),
        LongOperation::Postpone => postpone(bench),
        LongOperation::MergeRefills => merge_refills(bench),
        LongOperation::DeepMessages => deep::messages(bench),
    }
}

/// Carries out `operation` between marks, under a timer's interrupts.
pub(crate) fn interrupted(
    bench: &mut Workbench,
    operation: impl FnOnce(&mut Workbench) -> Result<(), Error>,
) -> Result<(), Error> {
    let ticker = Ticker::start(bench)?;
    mark(Phase::Long);
    let result = operation(bench);
    mark(Phase::Long);
    ticker.stop()?;
    result
}

fn retype(bench: &mut Workbench, kind: ObjectType) -> Result<(), Error> {
    let run = SlotRun::within(CNODE, bench.empty_slots(FAN_OUT).address());
    let memory = bench.memory();
    interrupted(bench, |_| memory.retype(kind, CNODE_RADIX, run, FAN_OUT))
}

/// From memory of its own, which is taken back at once.
fn retype_large(bench: &mut Workbench, kind: ObjectType, count: u64) -> Result<(), Error> {
    let memory = smallest_ram(bench.boot(), HUGE_BITS).expect("1 GiB of RAM in one piece");
    let run = SlotRun::within(CNODE, bench.empty_slots(count).address());
    interrupted(bench, |_| memory.retype(kind, 0, run, count))?;
    slot_of(memory.cptr()).revoke()
}

/// A CNode with many copies of one capability, and where both are.
fn copies(bench: &mut Workbench) -> Result<(Slot, Slot), Error> {
    let source = slot_of(bench.endpoint()?.cptr());
    let cnode = bench.cnode(COPIES_RADIX)?;
    for index in 0..COPIES {
        cnode.slot(index, COPIES_RADIX).mint_from(source, CapRights::ALL, 1 + index)?;
    }
    Ok((source, slot_of(cnode.cptr())))
}

fn revoke(bench: &mut Workbench) -> Result<(), Error> {
    let (source, _) = copies(bench)?;
    interrupted(bench, |_| source.revoke())
}

fn delete_cnode(bench: &mut Workbench) -> Result<(), Error> {
    let (_, cnode) = copies(bench)?;
    interrupted(bench, |_| cnode.delete())
}

/// CNodes of two slots, each holding the only capability to the next.
fn delete_nested_cnodes(bench: &mut Workbench) -> Result<(), Error> {
    let first = bench.make_many(ObjectType::CNode, 1, MANY)?;
    for outer in (0..MANY - 1).rev() {
        let inner = slot_of(nth(first, outer + 1));
        CNode::new(nth(first, outer)).slot(0, 1).move_from(inner)?;
    }
    interrupted(bench, |_| slot_of(first).delete())
}

/// An endpoint and a badged capability to it, through which all of a crowd call.
fn callers(bench: &mut Workbench) -> Result<(Cptr, Cptr), Error> {
    let endpoint = bench.endpoint()?.cptr();
    let badged = bench.mint(endpoint, CapRights::ALL, 7)?;
    let crowd = Crowd::new(bench, MANY)?;
    crowd.start(|_| crowd::Script::call(badged))?;
    Ok((endpoint, badged))
}

fn cancel_badged_sends(bench: &mut Workbench) -> Result<(), Error> {
    let (_, badged) = callers(bench)?;
    // Whom it sends back calls again: that must not be possible while it works.
    TCB.set_priority(TCB, crowd::PRIORITY + 1)?;
    interrupted(bench, |_| slot_of(badged).cancel_badged_sends())
}

fn delete_endpoint(bench: &mut Workbench) -> Result<(), Error> {
    let (endpoint, badged) = callers(bench)?;
    TCB.set_priority(TCB, crowd::PRIORITY + 1)?;
    slot_of(badged).delete()?;
    interrupted(bench, |_| slot_of(endpoint).delete())
}

fn delete_notification(bench: &mut Workbench) -> Result<(), Error> {
    let notification = bench.notification()?.cptr();
    let crowd = Crowd::new(bench, MANY)?;
    crowd.start(|_| crowd::Script::wait(notification))?;
    TCB.set_priority(TCB, crowd::PRIORITY + 1)?;
    interrupted(bench, |_| slot_of(notification).delete())
}

fn delete_page_table(bench: &mut Workbench) -> Result<(), Error> {
    let space = bench.address_space()?;
    let table = spaces::full_page_table(bench, space)?;
    interrupted(bench, |_| {
        table.unmap()?;
        table.map(space, spaces::BASE, spaces::CACHED)?;
        slot_of(table.cptr()).delete()
    })
}

fn delete_vspace(bench: &mut Workbench) -> Result<(), Error> {
    let space = bench.address_space()?;
    spaces::fill_with_tables(bench, space)?;
    interrupted(bench, |_| slot_of(space.cptr()).delete())
}

fn delete_asid_pool(bench: &mut Workbench) -> Result<(), Error> {
    let pool = spaces::full_asid_pool(bench)?;
    interrupted(bench, |_| slot_of(pool.cptr()).delete())
}

/// Servers that each call the next; the last calls where nobody answers.
fn delete_replies(bench: &mut Workbench) -> Result<(), Error> {
    let memory = bench.untyped(REPLIES_BITS)?;
    let replies = bench.make_many_of(memory, ObjectType::Reply, 0, MANY)?;
    let endpoints = bench.make_many(ObjectType::Endpoint, 0, MANY + 1)?;
    let servers = Crowd::new(bench, MANY)?;
    servers.start(|n| {
        crowd::Script::serve_by_call(nth(endpoints, n), nth(replies, n), nth(endpoints, n + 1))
    })?;
    servers.make_passive()?;
    let client = Crowd::new(bench, 1)?;
    client.start(|_| crowd::Script::call(endpoints))?;
    TCB.set_priority(TCB, crowd::PRIORITY + 1)?;
    interrupted(bench, |_| slot_of(memory.cptr()).revoke())
}

/// Threads that give their budgets away, one every few microseconds, and get them back all at once.
fn release(bench: &mut Workbench) -> Result<(), Error> {
    let crowd = Crowd::new(bench, MANY)?;
    let due = crowd.spend_budgets(bench)?;
    TCB.set_priority(TCB, crowd::PRIORITY + 1)?;
    interrupted(bench, |_| {
        due.wait();
        Ok(())
    })
}

fn queue_caller(bench: &mut Workbench) -> Result<(), Error> {
    let (endpoint, _) = callers(bench)?;
    let first = Crowd::of_priority(bench, 1, crowd::PRIORITY + 1)?;
    interrupted(bench, |_| first.start(|_| crowd::Script::call(endpoint)))
}

/// The others' budgets are due at one time, this one's before that.
fn postpone(bench: &mut Workbench) -> Result<(), Error> {
    let (crowd, first) = (Crowd::new(bench, MANY)?, Crowd::new(bench, 1)?);
    first.set_budget(bench, 0, crowd::Budget { amount_us: 100, period_us: 1_000 })?;
    crowd.spend_budgets(bench)?;
    interrupted(bench, |_| first.start(|_| crowd::Script::give_way()))
}

/// A sporadic server that has used a little of its budget as often as it may have refills, and wakes
/// up when all of them have come.
fn merge_refills(bench: &mut Workbench) -> Result<(), Error> {
    let wake = bench.notification()?;
    let server = Crowd::new(bench, 1)?;
    let due = server.split_budget(bench, wake, MANY)?;
    interrupted(bench, |_| {
        due.wait();
        wake.signal();
        Ok(())
    })
}
