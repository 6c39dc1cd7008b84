//! A host's stand-in for programs on cores of their own: windows, bells, and endpoints.
//!
//! A [`HostProgram`] has what `init` and the kernel give a program that takes part in rings: a
//! directory, memory at the places of its window, a signal line that is masked from a signal to its
//! acknowledgement and keeps one signal meanwhile, and an endpoint with its notification bound.

extern crate std;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard};

use d3os_abi::{Label, MessageInfo, Syscall};

use super::model_tests::memory;
use super::pair::PAIR_LINES;
use super::sync::Ordering;
use super::{Directory, Doorbell, Line, Pair, Window};
use crate::call::{Bytes, CallError, Transport};
use crate::ipc::REQUEST_LABEL;
use crate::start::layout::RING_PLACES;
use crate::start::{RING_BELL, SIGNAL_FLAG};
use crate::sys::{self, Registers};

pub(crate) type Memory = Arc<[Line]>;

/// A program's core, window and endpoint.
#[derive(Default)]
pub(crate) struct HostProgram {
    pub(crate) directory: Directory,
    pairs: Mutex<BTreeMap<u64, Memory>>,
    peers: Mutex<Vec<Arc<HostProgram>>>,
    services: Mutex<Vec<u16>>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Between a signal of the line and its acknowledgement.
    masked: bool,
    /// A signal came meanwhile.
    pending: bool,
    /// Bits of the notification.
    bits: u64,
    /// Messages at the endpoint.
    inbox: VecDeque<Message>,
    kept: u64,
}

/// A message at the endpoint, and where its answer goes.
struct Message {
    badge: u64,
    label: u64,
    words: Vec<u64>,
    answer: Sender<(MessageInfo, Vec<u64>)>,
}

impl HostProgram {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no thread panicked")
    }

    /// What a signal on the program's line does.
    pub(crate) fn ring(&self) {
        let mut waiting = self.waiting();
        if waiting.masked {
            waiting.pending = true;
        } else {
            waiting.masked = true;
            waiting.bits |= SIGNAL_FLAG | RING_BELL;
            self.changed.notify_all();
        }
    }

    fn acknowledge(&self) {
        let mut waiting = self.waiting();
        waiting.masked = core::mem::take(&mut waiting.pending);
        if waiting.masked {
            waiting.bits |= SIGNAL_FLAG | RING_BELL;
            self.changed.notify_all();
        }
    }

    /// Signals the program's notification in another way than by its line.
    pub(crate) fn signal(&self, bits: u64) {
        self.waiting().bits |= SIGNAL_FLAG | bits;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let waiting = self.changed.wait_while(self.waiting(), |waiting| waiting.bits == 0);
        let mut waiting = waiting.expect("no thread panicked");
        let bits = core::mem::take(&mut waiting.bits);
        waiting.kept |= bits & !(SIGNAL_FLAG | RING_BELL);
        drop(waiting);
        if bits & RING_BELL != 0 {
            self.acknowledge();
        }
    }

    /// What the kernel delivers at the endpoint; without `block`, what is there.
    fn receive(&self, block: bool) -> Option<Result<u64, Message>> {
        let idle = |waiting: &mut Waiting| waiting.bits == 0 && waiting.inbox.is_empty();
        let mut waiting = self.waiting();
        if block {
            waiting = self.changed.wait_while(waiting, idle).expect("no thread panicked");
        }
        if waiting.bits != 0 {
            return Some(Ok(core::mem::take(&mut waiting.bits)));
        }
        waiting.inbox.pop_front().map(Err)
    }

    /// Memory of the pair at this place.
    pub(crate) fn memory(&self, place: u16) -> Memory {
        let pairs = self.pairs.lock().expect("no thread panicked");
        Arc::clone(pairs.get(&place.into()).expect("a pair is there"))
    }

    /// Takes a pair away from the program, as `init` may do once the program has ended its side.
    pub(crate) fn withdraw(&self, place: u16) {
        self.pairs.lock().expect("no thread panicked").remove(&place.into());
        self.directory.detach(place);
        self.ring();
    }

    fn peer_slot(&self, peer: &Arc<Self>) -> u32 {
        let mut peers = self.peers.lock().expect("no thread panicked");
        peers.push(Arc::clone(peer));
        u32::try_from(peers.len() - 1).expect("few peers")
    }

    fn place(&self, memory: &Memory) -> u16 {
        let mut pairs = self.pairs.lock().expect("no thread panicked");
        let services = self.services.lock().expect("no thread panicked");
        let taken =
            |place: &u16| pairs.contains_key(&u64::from(*place)) || services.contains(place);
        let place = (0..RING_PLACES).find(|place| !taken(place)).expect("a free place");
        pairs.insert(place.into(), Arc::clone(memory));
        place
    }
}

/// Writes a word that the protocol reads, as a hostile peer may.
pub(crate) fn scribble(memory: &Memory, line: usize, value: u64) {
    memory[line % memory.len()].header.store(value, Ordering::Relaxed);
}

/// Fresh memory for a pair.
pub(crate) fn pair_memory() -> Memory {
    memory(PAIR_LINES)
}

/// Attaches a new client of `server` that is known as `caller`; tells the place in the server's
/// window, and the memory.
pub(crate) fn attach_client(
    server: &Arc<HostProgram>,
    client: &Arc<HostProgram>,
    caller: u64,
) -> (u16, Memory) {
    let memory = pair_memory();
    let place = server.place(&memory);
    server.directory.attach_client(place, server.peer_slot(client), caller);
    server.ring();
    (place, memory)
}

/// Attaches `server` as the service that `service` stands for in the client, or stands for from
/// now on. Tells the places: the service's, and the pair's in the server's window.
pub(crate) fn attach_service(
    server: &Arc<HostProgram>,
    client: &Arc<HostProgram>,
    service: Option<u16>,
    caller: u64,
) -> (u16, u16) {
    let (at_server, memory) = attach_client(server, client, caller);
    let at_client = client.place(&memory);
    let service = service.unwrap_or(at_client);
    client.services.lock().expect("no thread panicked").push(service);
    client.directory.attach_service(service, client.peer_slot(server), at_client);
    client.ring();
    (service, at_server)
}

/// A program's window.
#[derive(Clone)]
pub(crate) struct HostWindow(pub(crate) Arc<HostProgram>);

impl Window for HostWindow {
    type Memory = Half;
    type Bell = HostBell;

    fn directory(&self) -> &Directory {
        &self.0.directory
    }

    fn pair(&self, place: u64) -> Option<(Half, Half)> {
        let memory = self.0.pairs.lock().expect("no thread panicked").get(&place).cloned()?;
        Some((Half(Arc::clone(&memory), Ring::Requests), Half(memory, Ring::Answers)))
    }

    fn bell(&self, slot: u32) -> HostBell {
        let peers = self.0.peers.lock().expect("no thread panicked");
        HostBell { peer: Arc::clone(&peers[slot as usize]), own: Arc::clone(&self.0) }
    }

    fn calls_through(&self, place: u16) -> bool {
        self.0.services.lock().expect("no thread panicked").contains(&place)
    }

    fn acknowledge(&self) {
        self.0.acknowledge();
    }

    fn take_kept(&self) -> u64 {
        core::mem::take(&mut self.0.waiting().kept)
    }
}

/// One ring of a pair.
#[derive(Clone)]
pub(crate) struct Half(pub(crate) Memory, pub(crate) Ring);

#[derive(Clone, Copy)]
pub(crate) enum Ring {
    Requests,
    Answers,
}

impl core::ops::Deref for Half {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        let pair = Pair::new(&self.0).expect("memory of a pair");
        match self.1 {
            Ring::Requests => pair.requests(),
            Ring::Answers => pair.answers(),
        }
    }
}

/// The bell of one pair.
#[derive(Clone)]
pub(crate) struct HostBell {
    pub(crate) peer: Arc<HostProgram>,
    pub(crate) own: Arc<HostProgram>,
}

impl Doorbell for HostBell {
    fn signal(&self) {
        self.peer.ring();
    }

    fn wait(&self) {
        self.own.wait();
    }
}

/// Calls through a program's endpoint.
pub(crate) struct HostIpc {
    pub(crate) server: Arc<HostProgram>,
    pub(crate) badge: u64,
}

impl HostIpc {
    /// Sends a request; the answer will be there some time.
    pub(crate) fn send(&self, method: u16, request: &[u8]) -> HostAnswer {
        let (answer, receiver) = channel();
        let mut words = alloc::vec![request.len() as u64];
        words.extend(request.chunks(8).map(|chunk| {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(padded)
        }));
        let label = REQUEST_LABEL + u64::from(method);
        self.server.waiting().inbox.push_back(Message { badge: self.badge, label, words, answer });
        self.server.changed.notify_all();
        HostAnswer(receiver)
    }
}

impl Transport for HostIpc {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        self.send(method, request).wait()
    }
}

/// Where the answer to a message arrives.
pub(crate) struct HostAnswer(Receiver<(MessageInfo, Vec<u64>)>);

impl HostAnswer {
    fn wait(self) -> Result<Bytes, CallError> {
        let (info, words) = self.0.recv().map_err(|_| CallError::Restarted)?;
        answer_of(info, &words)
    }

    /// The answer, if it is there.
    pub(crate) fn take(&self) -> Option<Result<Bytes, CallError>> {
        self.0.try_recv().ok().map(|(info, words)| answer_of(info, &words))
    }
}

fn answer_of(info: MessageInfo, words: &[u64]) -> Result<Bytes, CallError> {
    if info.label() != 0 {
        return Err(CallError::from_number(info.label()));
    }
    let length = usize::try_from(words[0]).expect("a length");
    let bytes = words[1..].iter().flat_map(|word| word.to_le_bytes()).take(length);
    Ok(bytes.collect())
}

/// A kernel for the program's thread: its endpoint, its notification, its reply objects. Before it
/// blocks, `idle` is asked whether it may; where not, the program gets the signal that `idle` tells.
pub(crate) fn kernel(
    program: Arc<HostProgram>,
    mut idle: impl FnMut() -> Option<u64> + 'static,
) -> impl FnMut(i64, Registers) -> Registers + 'static {
    let mut callers: BTreeMap<u64, Sender<(MessageInfo, Vec<u64>)>> = BTreeMap::new();
    move |number, input| {
        let info = MessageInfo(input.rsi);
        let sent = || (info, (0..info.length()).map(sys::word).collect());
        let syscall = |syscall: Syscall| number == syscall.number();
        if syscall(Syscall::Call) {
            assert_eq!(info.label(), Label::IrqHandlerAck as u64);
            program.acknowledge();
            return Registers::default();
        }
        let replied = if syscall(Syscall::Send) { input.rdi } else { input.r12 };
        if syscall(Syscall::Send) || syscall(Syscall::ReplyRecv) {
            // A client that does not wait for its answer is no concern of the kernel's.
            let _gone = callers.remove(&replied).map(|caller| caller.send(sent()));
        }
        if syscall(Syscall::Send) {
            return input;
        }
        assert!(!callers.contains_key(&input.r12), "a reply object that holds a caller");
        let mut came = program.receive(false);
        if came.is_none() && !syscall(Syscall::NBRecv) {
            came = idle().map(|bits| Ok(SIGNAL_FLAG | bits)).or_else(|| program.receive(true));
        }
        match came {
            None => Registers::default(),
            Some(Ok(bits)) => Registers { rdi: bits, ..Registers::default() },
            Some(Err(message)) => {
                callers.insert(input.r12, message.answer);
                deliver(message.badge, message.label, &message.words)
            }
        }
    }
}

/// Registers and IPC buffer as the kernel fills them.
fn deliver(badge: u64, label: u64, words: &[u64]) -> Registers {
    for (index, word) in words.iter().enumerate() {
        sys::set_word(index, *word);
    }
    let info = MessageInfo::new(label, 0, 0, words.len());
    let registers = core::array::from_fn(|index| words.get(index).copied().unwrap_or(0));
    Registers { rdi: badge, rsi: info.0, words: registers, ..Registers::default() }
}
