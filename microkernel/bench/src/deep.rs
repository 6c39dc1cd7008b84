//! A capability space as deep as one can be, and the longest messages that can be sent in it.

use kernel_workbench::{TCB, VSPACE, Workbench, nth, slot_of};
use libd3os::abi::{CapRights, MAX_MESSAGE_LENGTH, MessageInfo, ObjectType};
use libd3os::cap::{CNode, Capability, Endpoint, Error, Notification, Reply};
use libd3os::sys::{self, Cptr};

use crate::long;
use crate::peer::{Peer, Terms};

/// Of who calls: it runs at once until it waits.
const CALLER: u8 = long::PRIORITY + 1;
/// Of who is called: it runs only when the thread that measures lets it.
const SERVER: u8 = long::PRIORITY - 1;
/// CNodes on the way to a slot: each takes one bit.
const DEPTH: u64 = 64;

/// What the addresses name; all other bits are zero.
const ENDPOINT: Endpoint = Endpoint::new(Cptr::new(0));
const REPLY: Reply = Reply::new(Cptr::new(1));
const NOTIFICATION: Notification = Notification::new(Cptr::new(2));
const ROOT: Cptr = Cptr::new(3);
/// Empty, to receive to.
const EMPTY: u64 = 4;

/// Makes the space; its root.
///
/// ```text
/// root -0- ... -0- node 61 -0- node 62 -0- node 63: endpoint, reply object
///                     |           +----1- node 64: notification, the root
///                     +----1- node 65 -0- node 66: two empty slots
/// ```
fn space(bench: &mut Workbench) -> Result<CNode, Error> {
    let nodes = bench.make_many(ObjectType::CNode, 1, DEPTH + 3)?;
    let node = |n| CNode::new(nth(nodes, n));
    for n in 0..DEPTH - 1 {
        put(node(n), 0, nth(nodes, n + 1))?;
    }
    put(node(62), 1, nth(nodes, 64))?;
    put(node(61), 1, nth(nodes, 65))?;
    put(node(65), 0, nth(nodes, 66))?;
    put(node(63), 0, bench.endpoint()?.cptr())?;
    put(node(63), 1, bench.reply()?.cptr())?;
    put(node(64), 0, bench.notification()?.cptr())?;
    put(node(64), 1, nodes)?;
    Ok(node(0))
}

fn put(node: CNode, index: u64, cptr: Cptr) -> Result<(), Error> {
    node.slot(index, 1).copy_from(slot_of(cptr), CapRights::ALL)
}

/// The longest message, with capabilities to send and a place to receive one.
fn prepare() -> MessageInfo {
    (0..3).for_each(|index| sys::set_cap(index, NOTIFICATION.cptr()));
    sys::set_receive_slot(ROOT, EMPTY, DEPTH);
    MessageInfo::new(1, 0, 3, MAX_MESSAGE_LENGTH)
}

/// A server answers one caller and receives what another has sent meanwhile: in one system call it
/// names its endpoint and its reply object, three capabilities go each way, and each of the
/// receivers names a CNode and a slot.
pub(crate) fn messages(bench: &mut Workbench) -> Result<(), Error> {
    let cspace = space(bench)?;
    long::interrupted(bench, |bench| {
        let terms = |priority| Terms { cspace, ..Terms::new(priority, VSPACE) };
        Peer::start(bench, terms(SERVER), serve)?;
        Peer::start(bench, terms(CALLER), call)?;
        Peer::start(bench, terms(CALLER), call)?;
        // Both wait; below the server's priority this thread runs when that waits too.
        TCB.set_priority(TCB, SERVER - 1)
    })
}

fn call() {
    loop {
        let _ = ENDPOINT.call(prepare());
    }
}

fn serve() {
    let info = prepare();
    let _ = ENDPOINT.recv(REPLY);
    let _ = prepare();
    let _ = ENDPOINT.reply_recv(info, REPLY);
    loop {
        let _ = NOTIFICATION.wait();
    }
}
