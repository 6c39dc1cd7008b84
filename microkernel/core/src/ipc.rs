//! Messages: where their words are, how they move from thread to thread, who waits for whom
//! (manual, chapter 4).
//!
//! A message's first four words are in registers, the others in the sender's IPC buffer. Blocking
//! threads queue in the endpoint by priority; a blocked sender keeps what its capability allowed
//! ([`SendTerms`]), a blocked receiver the reply object that it offers.

use crate::cap::RawCap;
use crate::invocation::{NO_CAPS, SentCaps};
use crate::objects::{Context, Endpoint, Reply, SendTerms, Tcb, TcbSlot, ThreadState, Waiting};
use crate::syscall::Blocking;
use crate::{Kernel, Link, LookupFailure, Machine, Ref, Slot};
use d3os_abi::{CapRights, IPC_BUFFER_SIZE, MESSAGE_REGISTERS, MessageInfo};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPC buffer, as words (the layout is `d3os_abi::IpcBuffer`).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct BufferWords([u64; IPC_BUFFER_SIZE / 8]);

/// Word of the buffer that holds message word 0.
const FIRST_MESSAGE_WORD: usize = 1;
/// Word of the buffer that holds the first capability's address or badge.
const FIRST_CAP_WORD: usize = core::mem::offset_of!(d3os_abi::IpcBuffer, caps_or_badges) / 8;
/// Word of the buffer that holds the receive path's root, index and depth.
const RECEIVE_PATH_WORD: usize = core::mem::offset_of!(d3os_abi::IpcBuffer, receive_cnode) / 8;

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendMode {
    /// The sender then waits for a reply.
    pub(crate) is_call: bool,
    /// The sender waits until somebody receives; else the message is dropped if nobody does.
    pub(crate) blocks: bool,
    /// A receiver without time of its own gets the sender's.
    pub(crate) donates: bool,
}

impl SendMode {
    /// `Call`
    pub(crate) const CALL: Self = Self { is_call: true, blocks: true, donates: true };
    /// `Send`
    pub(crate) const SEND: Self = Self { is_call: false, blocks: true, donates: false };
    /// `NBSend`
    pub(crate) const NB_SEND: Self = Self { is_call: false, blocks: false, donates: false };
    /// The first half of `ReplyRecv`, `NBSendRecv`, `NBSendWait`.
    pub(crate) const FIRST_PHASE: Self = Self { is_call: false, blocks: false, donates: true };
    /// A fault's message to its handler.
    pub(crate) const FAULT: Self = Self { is_call: false, blocks: true, donates: true };
    /// A timeout's message to its handler, which has its own time.
    pub(crate) const TIMEOUT: Self = Self { is_call: false, blocks: true, donates: false };

    /// Whether a receive follows within the same system call.
    pub(crate) fn is_first_phase(self) -> bool {
        self == Self::FIRST_PHASE
    }
}

impl Context {
    /// Message word `index` (below 4).
    #[inline]
    pub(crate) fn message_register(&self, index: usize) -> u64 {
        match index {
            0 => self.r10,
            1 => self.r8,
            2 => self.r9,
            _ => self.r15,
        }
    }

    /// Writes message word `index` (below 4).
    #[inline]
    pub(crate) fn set_message_register(&mut self, index: usize, word: u64) {
        match index {
            0 => self.r10 = word,
            1 => self.r8 = word,
            2 => self.r9 = word,
            _ => self.r15 = word,
        }
    }
}

/// Message words.
impl<M: Machine> Kernel<M> {
    /// The slot of a thread's own capability.
    pub(crate) fn tcb_slot(thread: Ref<Tcb>, slot: TcbSlot) -> Ref<Slot> {
        thread.cast::<Slot>().index(slot as u64)
    }

    /// A thread's IPC buffer, to read.
    pub(crate) fn ipc_buffer(&self, thread: Ref<Tcb>) -> Option<Ref<BufferWords>> {
        let tcb = self.get(thread);
        if tcb.slots[TcbSlot::IpcBuffer as usize].is_empty() || tcb.ipc_buffer.0 == 0 {
            return None;
        }
        Some(Ref::at(tcb.ipc_buffer))
    }

    /// A thread's IPC buffer, to write.
    pub(crate) fn writable_ipc_buffer(&self, thread: Ref<Tcb>) -> Option<Ref<BufferWords>> {
        let writable = self.get(thread).ipc_buffer_writable != 0;
        if writable { self.ipc_buffer(thread) } else { None }
    }

    /// A word of the message that a thread sends; `None`: it has no buffer for so many.
    #[inline]
    pub(crate) fn message_word(&self, thread: Ref<Tcb>, index: usize) -> Option<u64> {
        if index < MESSAGE_REGISTERS {
            return Some(self.get(thread).context.message_register(index));
        }
        self.buffered_word(thread, index)
    }

    /// A message word as it stands in a thread's IPC buffer.
    pub(crate) fn buffered_word(&self, thread: Ref<Tcb>, index: usize) -> Option<u64> {
        let buffer = self.ipc_buffer(thread)?;
        self.get(buffer).0.get(FIRST_MESSAGE_WORD + index).copied()
    }

    /// Writes a word of the message that a thread receives, if it has room for it.
    pub(crate) fn set_message_word(&mut self, thread: Ref<Tcb>, index: usize, word: u64) -> bool {
        if index < MESSAGE_REGISTERS {
            self.get_mut(thread).context.set_message_register(index, word);
            return true;
        }
        let Some(buffer) = self.writable_ipc_buffer(thread) else { return false };
        match self.get_mut(buffer).0.get_mut(FIRST_MESSAGE_WORD + index) {
            Some(place) => *place = word,
            None => return false,
        }
        true
    }

    /// Writes a message's words; returns how many the receiver had room for.
    pub(crate) fn set_message_words(&mut self, thread: Ref<Tcb>, words: &[u64]) -> usize {
        for (index, word) in words.iter().enumerate() {
            if !self.set_message_word(thread, index, *word) {
                return index;
            }
        }
        words.len()
    }

    /// Completes a message with its badge and info.
    #[inline(always)]
    pub(crate) fn finish_message(&mut self, thread: Ref<Tcb>, badge: u64, info: MessageInfo) {
        let context = &mut self.get_mut(thread).context;
        context.rdi = badge;
        context.rsi = info.0;
    }

    /// Finds the capabilities that a thread sends with its message.
    ///
    /// # Errors
    /// The address that leads nowhere, and why.
    #[inline(always)]
    pub(crate) fn find_sent_caps(
        &self,
        thread: Ref<Tcb>,
        info: MessageInfo,
        slots: &mut SentCaps,
    ) -> Result<(), (u64, LookupFailure)> {
        if info.extra_caps() == 0 {
            return Ok(());
        }
        let Some(buffer) = self.ipc_buffer(thread) else { return Ok(()) };
        for (index, slot) in slots.iter_mut().enumerate().take(info.extra_caps()) {
            let cptr = self.get(buffer).0[FIRST_CAP_WORD + index];
            *slot = Link::to(self.lookup(thread, cptr).map_err(|failure| (cptr, failure))?);
        }
        Ok(())
    }
}

/// From thread to thread.
impl<M: Machine> Kernel<M> {
    /// Delivers a sender's message, or its fault, to a receiver. Capabilities are delivered if
    /// `rights` contain grant; those for `endpoint` itself are unwrapped to their badges.
    #[inline]
    pub(crate) fn transfer(
        &mut self,
        sender: Ref<Tcb>,
        endpoint: Option<Ref<Endpoint>>,
        badge: u64,
        rights: CapRights,
        receiver: Ref<Tcb>,
    ) {
        if self.get(sender).fault.label != 0 {
            self.transfer_fault(sender, badge, receiver);
            return;
        }
        let info = MessageInfo(self.get(sender).context.rsi);
        let mut received = self.copy_words(sender, receiver, info);
        if info.extra_caps() > 0 && rights.contains(CapRights::GRANT) {
            let (unwrapped, caps) = self.transfer_caps(sender, info, endpoint, receiver);
            received = MessageInfo::new(info.label(), unwrapped, caps, received.length());
        }
        self.finish_message(receiver, badge, received);
    }

    /// Copies a message's words; returns it as received, without capabilities.
    #[inline(always)]
    pub(crate) fn copy_words(
        &mut self,
        sender: Ref<Tcb>,
        receiver: Ref<Tcb>,
        info: MessageInfo,
    ) -> MessageInfo {
        let length = info.announced_length();
        if length >= MESSAGE_REGISTERS {
            (0..MESSAGE_REGISTERS).for_each(|index| self.copy_word(sender, receiver, index));
            if length > MESSAGE_REGISTERS {
                return info.received(self.copy_buffer(sender, receiver, info.length()));
            }
        } else {
            for index in 0..MESSAGE_REGISTERS {
                if index == length {
                    break;
                }
                self.copy_word(sender, receiver, index);
            }
        }
        info.without_caps()
    }

    #[inline(always)]
    fn copy_word(&mut self, sender: Ref<Tcb>, receiver: Ref<Tcb>, index: usize) {
        let word = self.get(sender).context.message_register(index);
        self.get_mut(receiver).context.set_message_register(index, word);
    }

    /// Copies the words that are not in registers.
    #[inline(always)]
    fn copy_buffer(&mut self, sender: Ref<Tcb>, receiver: Ref<Tcb>, length: usize) -> usize {
        let (Some(from), Some(to)) = (self.ipc_buffer(sender), self.writable_ipc_buffer(receiver))
        else {
            return MESSAGE_REGISTERS;
        };
        // That no word lies outside the buffer is what the compiler learns here.
        let end = (FIRST_MESSAGE_WORD + length).min(IPC_BUFFER_SIZE / 8);
        for index in FIRST_MESSAGE_WORD + MESSAGE_REGISTERS..end {
            let word = self.get(from).0[index];
            self.get_mut(to).0[index] = word;
        }
        length
    }

    /// Moves capabilities along with a message; returns which were unwrapped, and how many were
    /// received in all. It ends at the first that cannot be received.
    fn transfer_caps(
        &mut self,
        sender: Ref<Tcb>,
        info: MessageInfo,
        endpoint: Option<Ref<Endpoint>>,
        receiver: Ref<Tcb>,
    ) -> (u64, usize) {
        let Some(buffer) = self.writable_ipc_buffer(receiver) else { return (0, 0) };
        let mut sources = NO_CAPS;
        if self.find_sent_caps(sender, info, &mut sources).is_err() {
            return (0, 0);
        }
        let mut destination = self.receive_slot(receiver, buffer);
        let (mut unwrapped, mut count) = (0, 0);
        for source in sources.into_iter().filter_map(Link::get) {
            let cap = self.get(source).raw;
            if let Some((object, badge, _)) = cap.as_endpoint()
                && Some(object) == endpoint
            {
                self.get_mut(buffer).0[FIRST_CAP_WORD + count] = badge;
                unwrapped |= 1 << count;
            } else {
                let Some(slot) = destination.take() else { break };
                match self.derive_cap(source, cap) {
                    Ok(RawCap::NULL) | Err(_) => break,
                    Ok(derived) => self.insert_derived(slot, derived, source),
                }
            }
            count += 1;
        }
        (unwrapped, count)
    }

    /// The empty slot in which a receiver wants a capability.
    fn receive_slot(&self, receiver: Ref<Tcb>, buffer: Ref<BufferWords>) -> Option<Ref<Slot>> {
        let words = &self.get(buffer).0;
        let (root, index, depth) =
            (words[RECEIVE_PATH_WORD], words[RECEIVE_PATH_WORD + 1], words[RECEIVE_PATH_WORD + 2]);
        let root = self.get(self.lookup(receiver, root).ok()?).raw;
        let slot = self.lookup_target_slot(root, index, depth, false).ok()?;
        self.get(slot).is_empty().then_some(slot)
    }

    /// Sends a thread's message, or its fault, to an endpoint.
    #[inline]
    pub(crate) fn send_ipc(
        &mut self,
        thread: Ref<Tcb>,
        endpoint: Ref<Endpoint>,
        terms: SendTerms,
        mode: SendMode,
    ) {
        match self.get(endpoint).queue() {
            (Waiting::Receivers, queue) if let Some(receiver) = queue.head.get() => {
                let queue = self.remove_waiting(queue, receiver);
                self.get_mut(endpoint).set_queue(Waiting::Receivers, queue);
                self.deliver(thread, endpoint, terms, mode, receiver);
            }
            (_, queue) if mode.blocks => {
                let tcb = self.get_mut(thread);
                tcb.state = ThreadState::BLOCKED_ON_SEND;
                tcb.blocked_on = endpoint.address();
                tcb.sending = terms;
                let queue = self.insert_waiting(queue, thread);
                self.get_mut(endpoint).set_queue(Waiting::Senders, queue);
            }
            _ => {}
        }
    }

    /// Hands a message to a receiver that waited for it.
    #[inline]
    fn deliver(
        &mut self,
        thread: Ref<Tcb>,
        endpoint: Ref<Endpoint>,
        terms: SendTerms,
        mode: SendMode,
        receiver: Ref<Tcb>,
    ) {
        let rights = CapRights::from_word(terms.rights);
        self.transfer(thread, Some(endpoint), terms.badge, rights, receiver);
        let offered = self.get(receiver).reply;
        if let Some(reply) = offered.get() {
            self.unlink_reply(reply, receiver);
        }
        if mode.is_call || self.get(thread).fault.label != 0 {
            self.await_reply(thread, rights, receiver, offered, mode.donates);
        } else if mode.donates && self.get(receiver).sched_context.is_none() {
            self.donate_from(thread, receiver);
        }
        self.get_mut(receiver).state = ThreadState::RUNNING;
        self.wake_with_refills(receiver);
    }

    /// Makes a sender wait for the reply of the thread that has received its message, if it may
    /// and there is a reply object; else it stops.
    fn await_reply(
        &mut self,
        sender: Ref<Tcb>,
        rights: CapRights,
        receiver: Ref<Tcb>,
        offered: Link<Reply>,
        donates: bool,
    ) {
        let may = !rights.and(CapRights::GRANT.or(CapRights::GRANT_REPLY)).eq(&CapRights::NONE);
        match offered.get() {
            Some(reply) if may => self.push_reply(sender, receiver, reply, donates),
            _ => self.get_mut(sender).state = ThreadState::INACTIVE,
        }
    }

    /// Wakes a thread; if it is a sporadic server, its budget counts from now.
    #[inline]
    pub(crate) fn wake_with_refills(&mut self, thread: Ref<Tcb>) {
        if let Some(context) = self.get(thread).sched_context.get() {
            self.wake_sporadic(context);
        }
        self.wake(thread);
    }

    /// Receives from an endpoint; a pending signal of the bound notification comes first.
    #[inline]
    pub(crate) fn receive_ipc(
        &mut self,
        thread: Ref<Tcb>,
        endpoint: Ref<Endpoint>,
        blocking: Blocking,
        offer: Option<Ref<Reply>>,
    ) {
        if let Some(reply) = offer
            && let Some(other) = self.get(reply).thread.get()
            && other != thread
        {
            self.cancel_ipc(other);
        }
        if let Some(notification) = self.get(thread).notification.get() {
            if self.take_signal(thread, notification) {
                return;
            }
            if blocking == Blocking::Wait {
                self.return_sched_context(notification, thread);
            }
        }
        match self.get(endpoint).queue() {
            (Waiting::Senders, queue) if let Some(sender) = queue.head.get() => {
                let queue = self.remove_waiting(queue, sender);
                self.get_mut(endpoint).set_queue(Waiting::Senders, queue);
                self.accept(thread, endpoint, sender, offer);
            }
            (_, queue) if blocking == Blocking::Wait => {
                let tcb = self.get_mut(thread);
                tcb.state = ThreadState::BLOCKED_ON_RECEIVE;
                tcb.blocked_on = endpoint.address();
                tcb.reply = offer.into();
                if let Some(reply) = offer {
                    self.get_mut(reply).thread = Link::to(thread);
                }
                let queue = self.insert_waiting(queue, thread);
                self.get_mut(endpoint).set_queue(Waiting::Receivers, queue);
            }
            _ => self.finish_message(thread, 0, MessageInfo(0)),
        }
    }

    /// Takes the message of a sender that waited.
    fn accept(
        &mut self,
        thread: Ref<Tcb>,
        endpoint: Ref<Endpoint>,
        sender: Ref<Tcb>,
        offer: Option<Ref<Reply>>,
    ) {
        let terms = self.get(sender).sending;
        let rights = CapRights::from_word(terms.rights);
        self.transfer(sender, Some(endpoint), terms.badge, rights, thread);
        if let Some(context) = self.get(sender).sched_context.get() {
            self.wake_sporadic(context);
        }
        let fault = self.get(sender).fault.label;
        if terms.is_call != 0 || fault != 0 {
            let donates = fault != d3os_abi::FaultLabel::Timeout as u64;
            self.await_reply(sender, rights, thread, offer.into(), donates);
        } else {
            self.get_mut(sender).state = ThreadState::RUNNING;
            self.wake(sender);
        }
    }

    /// Ends what a thread waits for, and the fault that it has not recovered from. It is left
    /// inactive.
    pub(crate) fn cancel_ipc(&mut self, thread: Ref<Tcb>) {
        let tcb = self.get_mut(thread);
        tcb.fault.label = 0;
        let (state, blocked_on, reply) = (tcb.state, tcb.blocked_on, tcb.reply);
        match state {
            ThreadState::BLOCKED_ON_SEND | ThreadState::BLOCKED_ON_RECEIVE => {
                self.leave_endpoint(Ref::at(blocked_on), thread);
                if let Some(reply) = reply.get() {
                    self.unlink_reply(reply, thread);
                }
            }
            ThreadState::BLOCKED_ON_NOTIFICATION => {
                self.remove_signal_waiter(Ref::at(blocked_on), thread);
            }
            ThreadState::BLOCKED_ON_REPLY => {
                if let Some(reply) = reply.get() {
                    self.abandon_reply(reply, thread);
                }
            }
            _ => return,
        }
        self.get_mut(thread).state = ThreadState::INACTIVE;
    }
}
