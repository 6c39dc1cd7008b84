//! Calls and faults: messages to a passive server in another address space.

use kernel_workbench::{VSPACE, Workbench};
use libd3os::abi::MessageInfo;
use libd3os::cap::{Capability, Endpoint, Error, Notification, Reply};
use libd3os::sys;

use crate::peer::{Peer, Terms};
use crate::{laps, machine};

/// The root task's.
const HIGHEST: u8 = 255;
const LOW: u8 = 100;

/// What a server receives with.
#[derive(Clone, Copy)]
struct Service {
    endpoint: Endpoint,
    reply: Reply,
    /// Signalled as the server waits.
    ready: Notification,
}

impl Service {
    fn new(bench: &mut Workbench) -> Result<Self, Error> {
        let (endpoint, reply) = (bench.endpoint()?, bench.reply()?);
        Ok(Self { endpoint, reply, ready: bench.notification()? })
    }

    /// Tells that it waits, and waits for the first message.
    fn open(self) {
        let (endpoint, reply) = (self.endpoint.cptr(), self.reply.cptr());
        let _ = sys::nb_send_recv(self.ready.cptr(), MessageInfo::default(), endpoint, reply);
    }

    /// Starts a passive server of this service in an address space of its own.
    fn serve(
        self,
        bench: &mut Workbench,
        priority: u8,
        body: impl Fn() + 'static,
    ) -> Result<(), Error> {
        let space = bench.twin_address_space()?;
        let terms = Terms::new(priority, space);
        let server = Peer::start(bench, terms, body)?;
        let _ = self.ready.wait();
        server.make_passive()
    }
}

/// `Call` and `ReplyRecv` with so many words each way.
pub(crate) fn call(bench: &mut Workbench, words: usize) -> Result<(), Error> {
    let service = Service::new(bench)?;
    let info = MessageInfo::new(1, 0, 0, words);
    service.serve(bench, HIGHEST, move || {
        service.open();
        loop {
            let _ = service.endpoint.reply_recv(info, service.reply);
        }
    })?;
    laps(|| {
        let _ = service.endpoint.call(info);
    });
    Ok(())
}

/// A page fault whose handler lets the thread go on, to the same fault. The handler counts.
pub(crate) fn fault(bench: &mut Workbench) -> Result<(), Error> {
    let service = Service::new(bench)?;
    let done = bench.notification()?;
    service.serve(bench, LOW + 1, move || {
        service.open();
        laps(|| {
            let _ = service.endpoint.reply_recv(MessageInfo::default(), service.reply);
        });
        done.signal();
    })?;
    let terms = Terms { fault_endpoint: service.endpoint.cptr(), ..Terms::new(LOW, VSPACE) };
    Peer::start(bench, terms, machine::fault)?;
    let _ = done.wait();
    Ok(())
}
